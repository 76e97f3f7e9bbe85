//! The messages that functions send each other, and the sender.

use std::time::Instant;

use anyhow::Context;
use aws_sdk_sqs::{
    Client,
    types::{MessageSystemAttributeNameForSends as Name, MessageSystemAttributeValue as Value},
};
use domain::id::{InfluencerId, JobId, UserId};
use lambda_kit::{metrics, trace};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use url::Url;

/// Asks fetch-image to bring an influencer's first image into the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchImage {
    /// Whose image.
    pub influencer_id: InfluencerId,
    /// Whose she is.
    pub user_id: UserId,
    /// Which start of the set-up it belongs to.
    pub attempt: i32,
    /// The vendor's temporary URL; a stranger's, to be fetched with care.
    pub image_url: String,
}

/// Asks process-generation-job to look at a job, whatever it needs next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerateImage {
    /// Which.
    pub job_id: JobId,
}

/// Asks erase-account to bring the end of an account to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraseAccount {
    /// Whose it was.
    pub user_id: UserId,
}

/// Sends messages to one SQS queue. Connects when first needed.
#[derive(Debug)]
pub struct Queue {
    client: OnceCell<Client>,
    url: Url,
}

impl Queue {
    /// The queue at `url`.
    pub fn new(url: Url) -> Self {
        Self { client: OnceCell::new(), url }
    }

    /// Sends one message, which carries the trace that we are in.
    ///
    /// # Errors
    /// When SQS did not say that it has the message; sending it again is safe, as every reader bears a message twice.
    pub async fn send(&self, message: &impl Serialize) -> anyhow::Result<()> {
        let body = serde_json::to_string(message).context("failed to write the message")?;
        let client = self.client.get_or_init(|| async { Client::new(&aws_setup::sdk_config().await) }).await;
        let mut request = client.send_message().queue_url(self.url.as_str()).message_body(body);
        if let Some(header) = trace::header() {
            let value = Value::builder().data_type("String").string_value(header).build();
            request = request.message_system_attributes(Name::AwsTraceHeader, value.context("no trace header")?);
        }
        let started = Instant::now();
        let sent = request.send().await;
        metrics::took("UpstreamLatency", ("Upstream", "sqs"), started.elapsed());
        if sent.is_err() {
            metrics::count_of("UpstreamFailures", ("Upstream", "sqs"), 1);
        }
        sent.context("failed to send the message")?;
        Ok(())
    }
}
