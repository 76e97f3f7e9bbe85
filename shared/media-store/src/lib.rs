//! The private bucket of images: where they lie, how they get in, and links that live for an hour.
//!
//! The database keeps our own URLs (`MEDIA_BASE_URL` and the key) or keys; a link is signed when somebody reads.

mod assets;
mod download;
mod outputs;
mod post;
mod removing;
mod shared_link;

use std::{path::Path, time::Duration};

use anyhow::Context;
use aws_sdk_s3::{
    Client,
    config::SharedCredentialsProvider,
    error::{ProvideErrorMetadata, SdkError},
    operation::put_object::PutObjectOutput,
    presigning::PresigningConfig,
    primitives::ByteStream,
};
use domain::id::{InfluencerId, UserId};
use jiff::Timestamp;
use tokio::sync::OnceCell;

pub use assets::{Got, Source};
pub use post::{FORM_LIFETIME, Form};
pub use removing::Stock;
pub use shared_link::half_hour;

/// How long a link lives.
pub const LINK_LIFETIME: Duration = Duration::from_secs(3600);

/// Metadata under which an object says which start of a set-up it belongs to.
const ATTEMPT: &str = "attempt";

/// The bucket.
#[derive(Debug)]
pub struct MediaStore {
    connection: OnceCell<Connection>,
    bucket: String,
    base_url: String,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    /// For what is signed by hand.
    credentials: Option<SharedCredentialsProvider>,
}

/// A link for a browser.
#[derive(Clone, Debug)]
pub struct Link {
    /// Where the image can be read until it expires.
    pub url: String,
    /// When it stops working; `None` for a link that does not.
    pub expires_at: Option<Timestamp>,
}

/// What came of [`MediaStore::put_initial_image`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It lies there now.
    New,
    /// The image of this start, or of a later one, already lay there and was left alone.
    AlreadyThere,
}

impl MediaStore {
    /// The bucket `bucket`, whose objects our database knows as `base_url/key`. Connects when first needed.
    pub fn new(bucket: String, base_url: &str) -> Self {
        Self { connection: OnceCell::new(), bucket, base_url: base_url.trim_end_matches('/').to_owned() }
    }

    async fn connection(&self) -> &Connection {
        let connect = async || {
            let config = aws_setup::sdk_config().await;
            Connection { client: Client::new(&config), credentials: config.credentials_provider() }
        };
        self.connection.get_or_init(connect).await
    }

    async fn client(&self) -> &Client {
        &self.connection().await.client
    }

    /// Where a character's first image lies. `extension` is without a dot.
    pub fn initial_image_key(user_id: UserId, influencer_id: InfluencerId, extension: &str) -> String {
        format!("users/{user_id}/influencers/{influencer_id}/initial.{extension}")
    }

    /// Our own, lasting URL of the object `key`.
    pub fn url(&self, key: &str) -> String {
        format!("{}/{key}", self.base_url)
    }

    /// Streams the file at `path` to `key`. An image of the same or a later start stays, so that what was once shown never
    /// changes; an older one is replaced.
    ///
    /// # Errors
    /// When the bucket cannot be reached or refuses, or somebody else was writing the same key; try again later.
    pub async fn put_initial_image(
        &self,
        key: &str,
        path: &Path,
        content_type: &str,
        attempt: i32,
    ) -> anyhow::Result<Stored> {
        let put = async |replaces: Option<String>| {
            let body = ByteStream::from_path(path).await.context("failed to read the image")?;
            let request = self.client().await.put_object().bucket(&self.bucket).key(key).body(body);
            let request = request.content_type(content_type).metadata(ATTEMPT, attempt.to_string());
            let request = match replaces {
                Some(etag) => request.if_match(etag),
                None => request.if_none_match("*"),
            };
            match request.send().await {
                Ok(answer) => is_stored(&answer).map(|()| true),
                Err(error) if is_precondition_failed(&error) => Ok(false),
                Err(error) => Err(anyhow::Error::new(error).context("failed to store the image")),
            }
        };

        if put(None).await? {
            return Ok(Stored::New);
        }
        let there = self.client().await.head_object().bucket(&self.bucket).key(key).send().await;
        let there = there.context("failed to look at the image that is there")?;
        let its_attempt = there.metadata().and_then(|metadata| metadata.get(ATTEMPT)?.parse().ok());
        if its_attempt.unwrap_or(0) >= attempt {
            return Ok(Stored::AlreadyThere);
        }
        anyhow::ensure!(put(there.e_tag).await?, "somebody else stored an image at the same time");
        Ok(Stored::New)
    }

    /// A link for one of our URLs. A URL from elsewhere (the prototype's) is handed back as it is.
    ///
    /// # Errors
    /// When there are no credentials to sign with.
    pub async fn link(&self, url: &str, now: Timestamp) -> anyhow::Result<Link> {
        let Some(key) = url.strip_prefix(&self.base_url).and_then(|rest| rest.strip_prefix('/')) else {
            return Ok(Link { url: url.to_owned(), expires_at: None });
        };
        self.presigned(key, now).await
    }

    async fn presigned(&self, key: &str, from: Timestamp) -> anyhow::Result<Link> {
        let presigning = PresigningConfig::builder().start_time(from.into()).expires_in(LINK_LIFETIME).build()?;
        let request = self.client().await.get_object().bucket(&self.bucket).key(key).presigned(presigning).await;
        let request = request.context("failed to sign a link")?;
        Ok(Link { url: request.uri().to_owned(), expires_at: Some(from + LINK_LIFETIME) })
    }
}

/// S3 names the version of what it has stored; a success that does not is somebody else's answer.
fn is_stored(answer: &PutObjectOutput) -> anyhow::Result<()> {
    anyhow::ensure!(answer.e_tag().is_some(), "whoever answered for the bucket did not store anything");
    Ok(())
}

/// S3 answers 412 when the condition does not hold. (409, when another conditional write of the key is under way, is an error
/// like any other: the message comes again.)
fn is_precondition_failed<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    error.code() == Some("PreconditionFailed")
}
