//! The operator's tool, as a process: dead letters go back once, by SQS's own move or one by one, and jobs are shown.

use aws_sdk_sqs::{Client, types::QueueAttributeName};
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_partial_json, header},
};

use crate::{
    jobs_api::{Desk, fail},
    operate::operate,
    stack::{User, drain, setting},
};

/// A queue that sends what fails to dead letters of its own: the URLs of both.
async fn queue_with_dead_letters() -> (String, String) {
    let sqs = Client::new(&aws_setup::sdk_config().await);
    let name = format!("test-{}", Uuid::new_v4());
    let letters = sqs.create_queue().queue_name(format!("{name}-dlq")).send().await.unwrap().queue_url.unwrap();
    let arn = sqs.get_queue_attributes().queue_url(&letters).attribute_names(QueueAttributeName::QueueArn);
    let arn = arn.send().await.unwrap().attributes.unwrap().remove(&QueueAttributeName::QueueArn).unwrap();
    let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 4 }).to_string();
    let queue = sqs.create_queue().queue_name(name).attributes(QueueAttributeName::RedrivePolicy, policy);
    (queue.send().await.unwrap().queue_url.unwrap(), letters)
}

async fn send(queue: &str, body: Value) {
    let sqs = Client::new(&aws_setup::sdk_config().await);
    sqs.send_message().queue_url(queue).message_body(body.to_string()).send().await.unwrap();
}

#[tokio::test]
async fn dead_letters_go_back_into_their_queue_once() {
    let (queue, letters) = queue_with_dead_letters().await;
    let (erasures, of_erasures) = queue_with_dead_letters().await;
    let (idle, _) = queue_with_dead_letters().await;
    for number in 0..12 {
        send(&letters, json!({ "job_id": number })).await;
    }
    let erasure = json!({ "user_id": Uuid::new_v4() });
    send(&of_erasures, erasure.clone()).await;
    let environment = [
        ("GENERATION_QUEUE_URL", queue.as_str()),
        ("ERASURE_QUEUE_URL", erasures.as_str()),
        ("IMAGE_QUEUE_URL", idle.as_str()),
        ("UPLOAD_QUEUE_URL", idle.as_str()),
    ];
    let counted = operate(&["redrive", "--dry-run"], &environment).await;
    assert!(counted.code == 0 && counted.line(&["generation-jobs", "12 dead letters"]), "{counted:?}");
    assert!(counted.line(&["images", "no dead letters"]) && counted.line(&["uploads", "no dead"]), "{counted:?}");
    assert!(counted.line(&["erasures", "1 dead letters"]), "{counted:?}");
    let looked = operate(&["doctor"], &environment).await;
    assert!(looked.line(&["✓ queue generation-jobs: is there, with 12 dead letters", "redrive"]), "{looked:?}");
    assert!(looked.line(&["✓ queue erasures: is there, with 1 dead letters", "redrive"]), "{looked:?}");
    assert!(looked.line(&["✓ queue uploads: is there, without dead letters"]), "{looked:?}");
    let other = operate(&["redrive", "--queue=uploads"], &environment).await;
    assert!(other.code == 0 && !other.line(&["generation-jobs"]), "{other:?}");
    assert_eq!(drain(&queue).await, Vec::<Value>::new());

    let moved = operate(&["redrive", "--queue=generation-jobs"], &environment).await;
    assert!(moved.code == 0 && moved.line(&["12 of 12 dead letters put back"]), "{moved:?}");
    let mut back: Vec<i64> = drain(&queue).await.iter().map(|message| message["job_id"].as_i64().unwrap()).collect();
    back.sort_unstable();
    assert_eq!(back, (0..12).collect::<Vec<_>>());
    assert_eq!(drain(&erasures).await, Vec::<Value>::new());

    let all = operate(&["redrive"], &environment).await;
    assert!(all.code == 0 && all.line(&["generation-jobs", "no dead letters"]), "{all:?}");
    assert!(all.line(&["erasures", "1 of 1 dead letters put back"]), "{all:?}");
    assert_eq!(drain(&queue).await, Vec::<Value>::new());
    assert_eq!(drain(&erasures).await, [erasure]);
}

#[tokio::test]
async fn on_aws_sqs_moves_them_by_itself() {
    let sqs = MockServer::start().await;
    let arn = "arn:aws:sqs:eu-central-1:000000000000:sweetheart-dev-uploads-dlq";
    let answers = |action: &str, answer: Value| {
        let target = format!("AmazonSQS.{action}");
        let answer = ResponseTemplate::new(200).set_body_json(answer);
        (Mock::given(header("x-amz-target", target)), answer)
    };
    let policy = json!({ "RedrivePolicy": json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 4 }).to_string() });
    let (mock, answer) = answers("GetQueueAttributes", json!({ "Attributes": policy }));
    mock.and(body_partial_json(json!({ "AttributeNames": ["RedrivePolicy"] }))).respond_with(answer).mount(&sqs).await;
    let (mock, answer) = answers("GetQueueUrl", json!({ "QueueUrl": "https://sqs.example/letters" }));
    mock.respond_with(answer).mount(&sqs).await;
    let (mock, answer) = answers("GetQueueAttributes", json!({ "Attributes": { "ApproximateNumberOfMessages": "3" } }));
    let mock = mock.and(body_partial_json(json!({ "QueueUrl": "https://sqs.example/letters" })));
    mock.respond_with(answer).mount(&sqs).await;
    let (mock, answer) = answers("StartMessageMoveTask", json!({ "TaskHandle": "t" }));
    let mock = mock.and(body_partial_json(json!({ "SourceArn": arn })));
    mock.respond_with(answer).expect(1).mount(&sqs).await;
    // The second look finds it done.
    let task = |status: &str, moved: u32| json!({ "Results": [{ "Status": status, "ApproximateNumberOfMessagesMoved": moved }] });
    let (mock, answer) = answers("ListMessageMoveTasks", task("RUNNING", 1));
    mock.respond_with(answer).up_to_n_times(1).mount(&sqs).await;
    let (mock, answer) = answers("ListMessageMoveTasks", task("COMPLETED", 3));
    mock.respond_with(answer).mount(&sqs).await;

    let environment = [("AWS_ENDPOINT_URL", sqs.uri()), ("UPLOAD_QUEUE_URL", "https://sqs.example/uploads".to_owned())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let moved = operate(&["redrive", "--queue=uploads"], &environment).await;
    assert!(moved.code == 0 && moved.line(&["uploads", "3 of 3 dead letters put back"]), "{moved:?}");
    sqs.verify().await;
}

#[tokio::test]
async fn a_queue_that_cannot_be_reached_or_has_no_dead_letters_is_named() {
    let plain = crate::stack::own_queue().await;
    let said = operate(&["redrive", "--queue=images"], &[("IMAGE_QUEUE_URL", &plain)]).await;
    assert!(said.code == 2 && said.line(&["queue images", "RedrivePolicy"]), "{said:?}");
    let gone = plain.replace("test-", "gone-");
    let said = operate(&["redrive", "--queue=images"], &[("IMAGE_QUEUE_URL", &gone)]).await;
    assert!(said.code == 2 && said.line(&["queue images", "SQS refuses"]), "{said:?}");
    let said = operate(&["redrive", "--queue=images"], &[("IMAGE_QUEUE_URL", "")]).await;
    assert!(said.code == 2 && said.line(&["IMAGE_QUEUE_URL"]), "{said:?}");
}

#[tokio::test]
async fn jobs_are_shown_without_a_word_of_what_was_asked_for() {
    let user = User::new().await;
    let job = Desk::new().await.job(&user).await;
    fail(job).await;
    let said = operate(&["jobs"], &[]).await;
    assert!(said.code == 0 && said.line(&["Jobs: ", "failed"]), "{said:?}");
    assert!(said.line(&["In the last 24 hours", "credits bought"]), "{said:?}");
    assert!(said.line(&[&job.to_string(), &user.id.to_string(), "refused", "replicate"]), "{said:?}");
    assert!(!said.text.contains("garden"), "{said:?}");

    let key = setting("SUPABASE_PUBLISHABLE_KEY");
    let said = operate(&["jobs"], &[("SUPABASE_SECRET_KEY", &key)]).await;
    assert_eq!(said.code, 2, "{said:?}");
}
