//! Pictures that jobs made: where they lie.

use domain::id::{JobId, UserId};

use crate::MediaStore;

impl MediaStore {
    /// Where a file of a job's picture lies: `original.<extension>`, `screen.webp` or `thumb.webp`.
    pub fn output_key(user_id: UserId, job_id: JobId, name: &str) -> String {
        format!("outputs/{user_id}/{job_id}/{name}")
    }
}
