//! Links for what everybody may see: the same for all who ask within the same half hour, so that caches keep them.

use jiff::Timestamp;

use crate::{Link, MediaStore};

const HALF_HOUR: i64 = 1800;

/// When the half hour began that `now` is in.
#[must_use]
pub fn half_hour(now: Timestamp) -> Timestamp {
    let second = now.as_second();
    Timestamp::from_second(second - second.rem_euclid(HALF_HOUR)).unwrap_or(now)
}

impl MediaStore {
    /// A link to the object `key`, signed as of the beginning of the half hour: it lives for half an hour at least. It is the
    /// same for the same credentials; in the cloud each instance of a function has its own.
    ///
    /// # Errors
    /// When there are no credentials to sign with.
    pub async fn shared_link(&self, key: &str, now: Timestamp) -> anyhow::Result<Link> {
        self.presigned(key, half_hour(now)).await
    }
}
