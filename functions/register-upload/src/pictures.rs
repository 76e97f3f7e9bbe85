//! Looking at pictures and making others of them, one at a time.

use std::{path::PathBuf, sync::Arc};

use imaging::{Fit, ImageError, Limits, Wish};
use lambda_kit::Spool;
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// What a job starts from.
pub(crate) const COPY: Wish = Wish { width: 2048, height: 2048, fit: Fit::Within, quality: 85.0 };
/// What lists show.
pub(crate) const THUMB: Wish = Wish { width: 480, height: 480, fit: Fit::Within, quality: 75.0 };

/// A picture that was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// Where it lies, as WebP.
    pub(crate) path: PathBuf,
    /// What to show until it is loaded.
    pub(crate) blurhash: String,
    /// Of the picture that it was made of, the right way up.
    pub(crate) width: u32,
    /// Likewise.
    pub(crate) height: u32,
    _folder: TempDir,
}

/// Why none was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// None ever will be; carries the code that is kept.
    #[error("it is no picture for us: {0}")]
    Never(&'static str, #[source] anyhow::Error),
    /// It may work at another time.
    #[error("it cannot be looked at now")]
    Later(#[from] anyhow::Error),
}

/// Decoding takes memory and the whole processor: one picture at a time.
#[derive(Debug)]
pub(crate) struct Pictures {
    turns: Arc<Semaphore>,
}

impl Pictures {
    pub(crate) fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(1)) }
    }

    /// Makes what is wished of the file, if that is what it claims to be.
    pub(crate) async fn make(&self, file: Spool, claimed: &str, wish: Wish) -> Result<Made, Refusal> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|error| Refusal::Later(error.into()))?;
        let claimed = claimed.to_owned();
        let making = tokio::task::spawn_blocking(move || {
            // A picture that nobody waits for any more keeps its turn, and its file, until it is done.
            let _turn = turn;
            make_now(&file, &claimed, wish)
        });
        making.await.unwrap_or_else(|panic| Err(Refusal::Later(panic.into())))
    }
}

fn make_now(file: &Spool, claimed: &str, wish: Wish) -> Result<Made, Refusal> {
    let inspected = imaging::inspect(&file.path(), &Limits::default())?;
    let found = inspected.format.content_type();
    if found != claimed {
        return Err(Refusal::Never("not_what_it_claims", anyhow::anyhow!("it claims {claimed} and is {found}")));
    }
    let folder = tempfile::tempdir().map_err(|error| Refusal::Later(error.into()))?;
    let mut rendered = imaging::render(&file.path(), &inspected, &[wish], folder.path())?;
    let picture = rendered.files.pop().ok_or_else(|| Refusal::Later(anyhow::anyhow!("nothing was rendered")))?;
    let (width, height) = inspected.upright_size();
    Ok(Made { path: picture.path, blurhash: rendered.blurhash, width, height, _folder: folder })
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::TooLarge => Self::Never("image_too_large", error.into()),
            ImageError::Invalid(_) => Self::Never("image_invalid", error.into()),
            ImageError::Unreadable(_) => Self::Later(error.into()),
        }
    }
}
