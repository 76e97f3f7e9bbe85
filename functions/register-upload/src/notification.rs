//! What S3 tells the queue (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>).

use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// One message of S3.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Notification {
    /// Objects were made.
    Made {
        /// Mostly one.
        #[serde(rename = "Records")]
        records: Vec<Record>,
    },
    /// Sent once, when the bucket is told of the queue.
    Test {
        /// Says so.
        #[serde(rename = "Event")]
        event: TestEvent,
    },
}

/// What was made. Its size and its ETag are not read: by the time that somebody looks, another object may lie there.
#[derive(Debug, Deserialize)]
pub struct Record {
    s3: Entity,
}

#[derive(Debug, Deserialize)]
struct Entity {
    object: Object,
}

#[derive(Debug, Deserialize)]
struct Object {
    key: String,
}

/// The only event that is about no object.
#[derive(Debug, Deserialize)]
pub enum TestEvent {
    /// Its name.
    #[serde(rename = "s3:TestEvent")]
    Test,
}

impl Record {
    /// The object's key, which comes as in a form: a blank as a plus sign, the rest in percents.
    pub fn key(&self) -> String {
        let key = self.s3.object.key.replace('+', " ");
        percent_decode_str(&key).decode_utf8_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_as_in_a_form() {
        for (sent, key) in [
            ("uploads/a/b.png", "uploads/a/b.png"),
            ("uploads%2Fa%2Fb.png", "uploads/a/b.png"),
            ("uploads/red+flower+%2B+%C3%BC.jpg", "uploads/red flower + ü.jpg"),
            ("uploads/100%25.gif", "uploads/100%.gif"),
        ] {
            let record: Record =
                serde_json::from_value(serde_json::json!({ "s3": { "object": { "key": sent } } })).unwrap();
            assert_eq!(record.key(), key);
        }
    }
}
