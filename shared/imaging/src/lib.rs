//! What a picture file really is, and the pictures that we serve of it: clean copies, without whatever else the file carried.
//!
//! The bytes come from strangers. So the format is told by the bytes and never by a name; a file that breaks off is refused; and
//! memory is bounded by the pictures that are asked for, not by the file. The decoding is done by libraries, which make the
//! picture smaller on the way, or give it row by row:
//! - JPEG: libjpeg (`mozjpeg`).
//! - WebP: libwebp.
//! - PNG and GIF: `png` and `gif`. Of an animation, the first frame.
//!
//! Where a library has to hold the whole picture to decode it, [`Limits::max_held`] says how much that may be.
//!
//! Everything is synchronous and takes seconds of a core for a large picture: call it where blocking is allowed, one picture at
//! a time. No network in here.

mod canvas;
mod gif;
mod jpeg;
mod picture;
mod png;
#[cfg(test)]
mod tests;
mod webp;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

pub use image::metadata::Orientation;

use canvas::Canvases;

/// What is taken at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pixels, of the picture and of each frame that is looked at.
    pub max_pixels: u64,
    /// Pixels of the longer side.
    pub max_side: u32,
    /// Bytes of the file.
    pub max_bytes: u64,
    /// Bytes that the decoder holds of the whole picture, whatever is wished of it:
    /// - of a JPEG that is progressive, or has a scan for each colour, 2 for each sample: 3 a pixel where the colours are halved both
    ///   ways (4:2:0), as cameras and web pages have it, 6 where they are not (4:4:4), 8 of ink;
    /// - of a lossless WebP 4 a pixel, of a lossy one with transparency 5;
    /// - of all others none.
    pub max_held: u64,
}

impl Default for Limits {
    /// What cameras of 50 megapixels make (8192 × 6144 is a little more than 50 million), progressive JPEGs included; 28 megapixels
    /// of a progressive JPEG at 4:4:4, 41 of a lossless WebP, 33 of a lossy one with transparency. With these, a process that
    /// renders what programs make has at most 242 MB, as `docs/BENCHMARKS.md` shows.
    ///
    /// One kind of file, made on purpose, makes it take more: a WebP of some hundred kilobytes, lossless or with transparency, that
    /// has 65,536 groups of code tables. The one in our tests takes 410 MB; by the sizes of its tables, libwebp may need up to
    /// 1.4 GB.
    fn default() -> Self {
        Self { max_pixels: 50 << 20, max_side: 16_384, max_bytes: 32 << 20, max_held: 160 << 20 }
    }
}

/// The formats that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG, sequential or progressive, of 8 bits.
    Jpeg,
    /// PNG, also animated.
    Png,
    /// WebP: lossy, lossless, animated.
    WebP,
    /// GIF, also animated.
    Gif,
}

impl Format {
    /// How the names of its files end.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
        }
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
        }
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            _ => None,
        }
    }
}

/// What a file says of itself, having been walked through to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// By its first bytes.
    pub format: Format,
    /// Pixels of a row, as stored: [`Orientation`] may turn it.
    pub width: u32,
    /// Rows, as stored.
    pub height: u32,
    /// Whether it has more than one frame.
    pub animated: bool,
    /// How it is to be turned for showing. [`render`] does that.
    pub orientation: Orientation,
}

impl Inspected {
    /// Width and height as it is shown.
    #[must_use]
    pub fn upright_size(&self) -> (u32, u32) {
        if swaps_sides(self.orientation) { (self.height, self.width) } else { (self.width, self.height) }
    }
}

/// How a picture is fitted into the size that is wished. It is never enlarged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The whole size is filled; what juts out is cut off evenly. A picture that is too small keeps the proportions of the wish.
    Cover,
    /// The whole picture lies within the size.
    Within,
}

/// A picture that is wished.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Pixels of a row at most. Up to 2048 the memory is measured.
    pub width: u32,
    /// Rows at most.
    pub height: u32,
    /// How the picture gets into that size.
    pub fit: Fit,
    /// Of WebP, 0 to 100.
    pub quality: f32,
}

/// What [`render`] made.
#[derive(Debug)]
pub struct Rendered {
    /// One picture for each wish, in their order.
    pub files: Vec<Picture>,
    /// What to show until the first picture is there: <https://blurha.sh>.
    pub blurhash: String,
}

/// A lossy WebP, in sRGB, upright, with nothing in it but its pixels. What was transparent is white.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Where it lies.
    pub path: PathBuf,
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// More pixels or bytes than we take.
    #[error("it is too large")]
    TooLarge,
    /// Not a JPEG, PNG, WebP or GIF that decodes from its first byte to its last.
    #[error("it does not decode as a picture")]
    Invalid(#[source] anyhow::Error),
    /// Our own files cannot be read or written.
    #[error("the file cannot be read or written")]
    Unreadable(#[source] std::io::Error),
}

type Result<T> = std::result::Result<T, ImageError>;

/// The error of a file that is not what it should be.
fn invalid(why: &'static str) -> ImageError {
    ImageError::Invalid(anyhow::Error::msg(why))
}

/// How the camera was held, by the TIFF structure of EXIF. Whatever is broken in there does no harm: the picture is shown as stored.
fn orientation(tiff: &[u8]) -> Orientation {
    // Some writers of WebP keep the head that it has in JPEG.
    let tiff = tiff.strip_prefix(b"Exif\0\0").unwrap_or(tiff);
    Orientation::from_exif_chunk(tiff).unwrap_or(Orientation::NoTransforms)
}

/// Whether rows become columns.
fn swaps_sides(orientation: Orientation) -> bool {
    orientation.to_exif() > 4
}

/// What the walk through a file's blocks finds, without decoding a pixel.
struct Outline {
    width: u32,
    height: u32,
    animated: bool,
    orientation: Orientation,
    /// As [`Limits::max_held`] counts it.
    held: u64,
}

/// Says what the file at `path` is, and refuses what is too large or breaks off. It reads no pixel: a file that passes may still
/// fail to [`render`].
///
/// # Errors
/// As [`ImageError`] says.
pub fn inspect(path: &Path, limits: &Limits) -> Result<Inspected> {
    let bytes = read(path, limits.max_bytes)?;
    let (format, outline) = walk(&bytes)?;
    let Outline { width, height, animated, orientation, held } = outline;
    if width == 0 || height == 0 {
        return Err(invalid("it has no pixels"));
    }
    let pixels = u64::from(width) * u64::from(height);
    if width.max(height) > limits.max_side || pixels > limits.max_pixels || held > limits.max_held {
        return Err(ImageError::TooLarge);
    }
    Ok(Inspected { format, width, height, animated, orientation })
}

/// Decodes the file at `path`, of which [`inspect`] said `inspected`, and writes the wished pictures into the folder `dir`, named
/// by their place among the wishes: `0.webp`, `1.webp`. Memory is bounded by the wishes. With none it only decodes.
///
/// # Errors
/// As [`ImageError`] says; some of the pictures may be there then.
pub fn render(path: &Path, inspected: &Inspected, wishes: &[Wish], dir: &Path) -> Result<Rendered> {
    let bytes = read(path, u64::MAX)?;
    let (format, outline) = walk(&bytes)?;
    // What was checked against the limits is what is decoded.
    if (format, outline.width, outline.height) != (inspected.format, inspected.width, inspected.height) {
        return Err(invalid("it is not the file that was inspected"));
    }
    let mut canvases = Canvases::new(inspected, wishes);
    let profile = decode(format, &bytes, &mut canvases)?;
    drop(bytes);
    picture::finish(canvases, profile.as_deref(), inspected.orientation, wishes, dir)
}

fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(ImageError::Unreadable)?;
    let length = file.metadata().map_err(ImageError::Unreadable)?.len();
    if length > max_bytes {
        return Err(ImageError::TooLarge);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(|_| ImageError::TooLarge)?);
    file.take(length).read_to_end(&mut bytes).map_err(ImageError::Unreadable)?;
    Ok(bytes)
}

fn walk(bytes: &[u8]) -> Result<(Format, Outline)> {
    let format = Format::of(bytes).ok_or_else(|| invalid("neither JPEG nor PNG nor WebP nor GIF"))?;
    let outline = match format {
        Format::Jpeg => jpeg::outline(bytes),
        Format::Png => png::outline(bytes),
        Format::WebP => webp::outline(bytes),
        Format::Gif => gif::outline(bytes),
    }?;
    Ok((format, outline))
}

/// Decodes a file onto the canvases, and answers with its colour profile.
fn decode(format: Format, bytes: &[u8], canvases: &mut Canvases) -> Result<Option<Vec<u8>>> {
    match format {
        Format::Jpeg => jpeg::decode(bytes, canvases),
        Format::Png => png::decode(bytes, canvases),
        Format::WebP => webp::decode(bytes, canvases),
        Format::Gif => gif::decode(bytes, canvases),
    }
}
