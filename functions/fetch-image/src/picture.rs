//! What a file really is, by its bytes: it is decoded once, whatever it says of itself.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
};

use image::{ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use tokio::sync::Semaphore;

/// Most pixels. Measured at 50 million: up to 521 MB for a WebP with alpha; the function has 512.
const MAX_PIXELS: u64 = 20_000_000;
/// Longest side, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Most memory that a decoder may take for itself.
const MAX_DECODER_BYTES: u64 = 128 << 20;

/// A kind of picture that browsers show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) extension: &'static str,
    pub(crate) content_type: &'static str,
}

/// Why a file is not a picture for us.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PictureError {
    /// More pixels than we take.
    #[error("it has too many pixels")]
    TooLarge,
    /// Not a JPEG, PNG or WebP that decodes from its first byte to its last.
    #[error("it does not decode as a picture")]
    Invalid(#[source] anyhow::Error),
    /// Our own file cannot be read.
    #[error("the file cannot be read")]
    Unreadable(#[source] std::io::Error),
}

/// Decodes the file at `path` and says what it is. Memory is bounded by [`MAX_PIXELS`], which is checked before decoding, and
/// by the permits of `turns`: a decode that nobody waits for any more keeps its permit until it ends.
pub(crate) async fn inspect(path: &Path, turns: &Arc<Semaphore>) -> Result<Kind, PictureError> {
    let ours = |error: &dyn std::fmt::Display| PictureError::Unreadable(std::io::Error::other(error.to_string()));
    let turn = Arc::clone(turns).acquire_owned().await.map_err(|error| ours(&error))?;
    let path = path.to_owned();
    let inspected = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        inspect_now(&path)
    });
    inspected.await.unwrap_or_else(|panic| Err(ours(&panic)))
}

fn inspect_now(path: &Path) -> Result<Kind, PictureError> {
    let mut reader =
        ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(PictureError::Unreadable)?;
    let kind = match reader.format() {
        Some(ImageFormat::Jpeg) => Kind { extension: "jpg", content_type: "image/jpeg" },
        Some(ImageFormat::Png) => Kind { extension: "png", content_type: "image/png" },
        Some(ImageFormat::WebP) => Kind { extension: "webp", content_type: "image/webp" },
        _ => return Err(PictureError::Invalid(anyhow::anyhow!("neither JPEG nor PNG nor WebP"))),
    };
    if kind.extension == "jpg" && !ends_like_a_jpeg(path).map_err(PictureError::Unreadable)? {
        return Err(PictureError::Invalid(anyhow::anyhow!("the JPEG breaks off")));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);

    let decoder = reader.into_decoder().map_err(refusal)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS || decoder.total_bytes() > MAX_DECODER_BYTES {
        return Err(PictureError::TooLarge);
    }
    image::DynamicImage::from_decoder(decoder).map_err(refusal)?;
    Ok(kind)
}

/// The decoder of JPEG forgives a file that breaks off and paints the rest grey: so its end is looked at. What follows the
/// end marker may only be padding.
fn ends_like_a_jpeg(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let padding = tail.iter().rev().take_while(|byte| matches!(byte, 0 | b'\n' | b'\r')).count();
    Ok(tail[..tail.len() - padding].ends_with(&[0xff, 0xd9]))
}

fn refusal(error: ImageError) -> PictureError {
    match error {
        ImageError::Limits(_) => PictureError::TooLarge,
        ImageError::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            PictureError::Unreadable(error)
        }
        error => PictureError::Invalid(error.into()),
    }
}
