//! What came from the model: looked at, and made into the sizes that we serve.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use imaging::{Fit, ImageError, Limits, Wish};
use tokio::sync::Semaphore;

/// For the screen.
const SCREEN: Wish = Wish { width: 1024, height: 1536, fit: Fit::Cover, quality: 85.0 };
/// For grids.
const THUMB: Wish = Wish { width: 320, height: 480, fit: Fit::Cover, quality: 75.0 };

/// The sizes that we serve, and what the original is.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) extension: &'static str,
    pub(crate) content_type: &'static str,
    /// Of the original.
    pub(crate) width: u32,
    /// Of the original.
    pub(crate) height: u32,
    pub(crate) screen: PathBuf,
    pub(crate) thumb: PathBuf,
    pub(crate) blurhash: String,
}

/// Makes the sizes of the file at `path`, into `folder`. Memory is bounded by the permits of `turns`: a decode that nobody waits
/// for any more keeps its permit until it ends.
pub(crate) async fn render(path: &Path, folder: &Path, turns: &Arc<Semaphore>) -> Result<Rendered, ImageError> {
    let ours = |error: &dyn std::fmt::Display| ImageError::Unreadable(std::io::Error::other(error.to_string()));
    let turn = Arc::clone(turns).acquire_owned().await.map_err(|error| ours(&error))?;
    let (path, folder) = (path.to_owned(), folder.to_owned());
    let rendering = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let inspected = imaging::inspect(&path, &Limits::default())?;
        let rendered = imaging::render(&path, &inspected, &[SCREEN, THUMB], &folder)?;
        let [screen, thumb] = &*rendered.files else { return Err(ours(&"a size is missing")) };
        Ok(Rendered {
            extension: inspected.format.extension(),
            content_type: inspected.format.content_type(),
            width: inspected.width,
            height: inspected.height,
            screen: screen.path.clone(),
            thumb: thumb.path.clone(),
            blurhash: rendered.blurhash,
        })
    });
    rendering.await.unwrap_or_else(|panic| Err(ours(&panic)))
}
