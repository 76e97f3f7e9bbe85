//! `redrive`: puts dead letters back into the queue that they came from.

use std::time::Duration;

use anyhow::{Context, bail};
use aws_sdk_sqs::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::QueueAttributeName,
};
use lambda_kit::Settings;
use serde_json::Value;

use crate::End;

/// The queues by the name that the operator calls them, and the setting that holds their URL.
pub(crate) const QUEUES: [(&str, &str); 4] = [
    ("images", "IMAGE_QUEUE_URL"),
    ("uploads", "UPLOAD_QUEUE_URL"),
    ("generation-jobs", "GENERATION_QUEUE_URL"),
    ("erasures", "ERASURE_QUEUE_URL"),
];

/// While it is put back by hand, a dead letter is nobody else's for as long.
const HOLD_SECONDS: i32 = 30;
/// How often, and how many times, SQS is asked whether it is done.
const LOOKS: (Duration, usize) = (Duration::from_secs(1), 60);

/// Puts back what lies among the dead letters of `queue`, or of all; with `dry_run` only counts it.
pub(crate) async fn redrive(
    settings: &Settings,
    queue: Option<&str>,
    dry_run: bool,
    say: &mut (dyn FnMut(&str) + Send),
) -> anyhow::Result<End> {
    let sqs = Client::new(&aws_setup::sdk_config_of_a_shell().await);
    let mut well = true;
    for (name, setting) in QUEUES.into_iter().filter(|(name, _)| queue.is_none_or(|queue| queue == *name)) {
        let letters = DeadLetters::of(&sqs, settings.text(setting)?).await.with_context(|| format!("queue {name}"))?;
        let (sentence, done) = match letters.count {
            0 => ("no dead letters".to_owned(), true),
            count if dry_run => (format!("{count} dead letters; without --dry-run they go back"), true),
            count => {
                let moved = letters.put_back(&sqs).await.with_context(|| format!("queue {name}"))?;
                (format!("{moved} of {count} dead letters put back"), moved >= count)
            }
        };
        say(&format!("{name}: {sentence}."));
        well &= done;
    }
    Ok(End::well_if(well))
}

/// The dead letters of a queue, as many as there were when it was asked.
pub(crate) struct DeadLetters {
    queue_url: String,
    arn: String,
    url: String,
    /// How many, about.
    pub(crate) count: u64,
}

impl DeadLetters {
    /// Those of this queue.
    pub(crate) async fn of(sqs: &Client, queue_url: String) -> anyhow::Result<Self> {
        let policy = attribute(sqs, &queue_url, QueueAttributeName::RedrivePolicy).await?;
        let policy: Value = serde_json::from_str(&policy).context("it has a redrive policy that cannot be read")?;
        let arn = policy["deadLetterTargetArn"].as_str().context("it has no dead letters")?.to_owned();
        let name = arn.rsplit(':').next().unwrap_or_default();
        let found = sqs.get_queue_url().queue_name(name).send().await.map_err(refused)?;
        let url = found.queue_url.context("SQS does not say where the dead letters lie")?;
        let count = attribute(sqs, &url, QueueAttributeName::ApproximateNumberOfMessages).await?.parse()?;
        Ok(Self { queue_url, arn, url, count })
    }

    /// By SQS itself, which goes on when we are gone. Answers how many went back.
    async fn put_back(&self, sqs: &Client) -> anyhow::Result<u64> {
        match sqs.start_message_move_task().source_arn(&self.arn).send().await {
            Ok(_) => {}
            Err(error) if is_unknown(&error) => return self.put_back_by_hand(sqs).await,
            Err(error) => return Err(refused(error)),
        }
        let (pause, times) = LOOKS;
        for _ in 0..times {
            let tasks = sqs.list_message_move_tasks().source_arn(&self.arn).max_results(1).send().await;
            let tasks = tasks.map_err(refused)?.results.unwrap_or_default();
            let task = tasks.first().context("SQS does not know of the move that it began")?;
            let moved = task.approximate_number_of_messages_moved.try_into().unwrap_or(0);
            match task.status.as_deref() {
                Some("RUNNING") => tokio::time::sleep(pause).await,
                Some("COMPLETED") => return Ok(moved),
                status => bail!("SQS moved {moved} and ended as {}", status.unwrap_or("something unknown")),
            }
        }
        bail!("SQS is still at it; it goes on by itself")
    }

    /// One by one, where SQS cannot (moto): not more than there were, since what fails again at once comes back. Killed
    /// between sending and deleting, a message is there twice, which every reader bears.
    async fn put_back_by_hand(&self, sqs: &Client) -> anyhow::Result<u64> {
        for moved in 0..self.count {
            let received = sqs.receive_message().queue_url(&self.url).visibility_timeout(HOLD_SECONDS);
            let received = received.message_attribute_names("All").send().await;
            let Some(message) = received.map_err(refused)?.messages.unwrap_or_default().pop() else { return Ok(moved) };
            let send = sqs.send_message().queue_url(&self.queue_url).set_message_body(message.body);
            send.set_message_attributes(message.message_attributes).send().await.map_err(refused)?;
            let delete = sqs.delete_message().queue_url(&self.url).set_receipt_handle(message.receipt_handle);
            delete.send().await.map_err(refused)?;
        }
        Ok(self.count)
    }
}

async fn attribute(sqs: &Client, url: &str, name: QueueAttributeName) -> anyhow::Result<String> {
    let answer = sqs.get_queue_attributes().queue_url(url).attribute_names(name.clone()).send().await;
    let mut attributes = answer.map_err(refused)?.attributes.unwrap_or_default();
    attributes.remove(&name).with_context(|| format!("it has no {name}"))
}

/// Whether this is an SQS that does not know the action: moto answers something that is no error of AWS's.
fn is_unknown<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    error.code().is_none() && error.raw_response().is_some()
}

/// What a refusal means for who runs this.
fn refused<E: ProvideErrorMetadata, R>(error: SdkError<E, R>) -> anyhow::Error {
    match error.code() {
        Some(code) => anyhow::anyhow!("SQS refuses with {code}: check the URL, AWS_REGION and your credentials"),
        None => anyhow::anyhow!("SQS could not be reached: check AWS_REGION and your credentials"),
    }
}
