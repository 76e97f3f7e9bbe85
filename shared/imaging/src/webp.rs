//! WebP: the container, and what is done with the picture in it. Of an animation, the first frame.
//! <https://developers.google.com/speed/webp/docs/riff_container>

pub(crate) mod libwebp;

use crate::{Orientation, Outline, Result, canvas::Canvases, invalid, orientation, png::on_white};
use libwebp::Features;

/// Most pixels that libwebp is asked for at once.
const MAX_SCALED_PIXELS: u64 = 16 << 20;

/// What lies in the file.
struct Container<'a> {
    width: u32,
    height: u32,
    frames: u32,
    exif: Option<&'a [u8]>,
    profile: Option<&'a [u8]>,
    /// Where the picture, or the first one of an animation, lies.
    left: u32,
    top: u32,
    /// What libwebp gets: the file, or the frame's chunks.
    picture: &'a [u8],
    features: Features,
}

/// The chunks of a container: name and data.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<(&'a [u8; 4], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let chunk = self.0.split_first_chunk::<8>().and_then(|(head, rest)| {
            let (name, length) = head.split_first_chunk::<4>()?;
            let length = u32::from_le_bytes(*length.first_chunk()?) as usize;
            let data = rest.get(..length)?;
            // Chunks are padded to even lengths; the last one's padding may be missing.
            self.0 = rest.get(length + length % 2..).unwrap_or_default();
            Some((name, data))
        });
        if chunk.is_none() {
            self.0 = &[];
        }
        Some(chunk.ok_or_else(|| invalid("the WebP breaks off")))
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

impl<'a> Container<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        let broken = || invalid("the WebP is broken");
        let length = number(&bytes[4..8]) as usize;
        let bytes = bytes.get(..length.saturating_add(8)).ok_or_else(|| invalid("the WebP breaks off"))?;
        let (mut canvas, mut exif, mut profile, mut frames, mut first) = (None, None, None, 0, None);
        for chunk in Chunks(bytes.get(12..).ok_or_else(broken)?) {
            match chunk? {
                (b"VP8X", [_, _, _, _, size @ ..]) if size.len() >= 6 && canvas.is_none() => {
                    canvas = Some((number(&size[..3]) + 1, number(&size[3..6]) + 1));
                }
                (b"EXIF", data) => exif = Some(data),
                (b"ICCP", data) => profile = Some(data),
                (b"ANMF", data) => {
                    frames += 1;
                    first = first.or(Some(data));
                }
                _ => {}
            }
        }
        let (left, top, size, picture) = match first {
            Some(frame) => {
                let (place, picture) = frame.split_at_checked(16).ok_or_else(broken)?;
                let size = (number(&place[6..9]) + 1, number(&place[9..12]) + 1);
                (number(&place[..3]) * 2, number(&place[3..6]) * 2, Some(size), picture)
            }
            None => (0, 0, canvas, bytes),
        };
        let features = libwebp::features(picture)?;
        let (width, height) = canvas.unwrap_or((features.width, features.height));
        if size.is_some_and(|size| size != (features.width, features.height))
            || left + features.width > width
            || top + features.height > height
        {
            return Err(broken());
        }
        Ok(Self { width, height, frames, exif, profile, left, top, picture, features })
    }
}

/// Walks through the chunks.
pub(crate) fn outline(bytes: &[u8]) -> Result<Outline> {
    let Container { width, height, frames, exif, features, .. } = Container::read(bytes)?;
    let held = match (features.lossless, features.alpha) {
        (true, _) => 4,
        // The transparency, which is lossless, and the same again as bytes.
        (false, true) => 5,
        (false, false) => 0,
    };
    Ok(Outline {
        width,
        height,
        animated: frames > 1,
        orientation: exif.map_or(Orientation::NoTransforms, orientation),
        held: features.pixels() * held,
    })
}

/// Decodes it, and answers with its colour profile. What the first frame of an animation leaves of the canvas is white.
pub(crate) fn decode(bytes: &[u8], canvases: &mut Canvases) -> Result<Option<Vec<u8>>> {
    let Container { width, height, profile, left, top, picture, features, .. } = Container::read(bytes)?;
    let mut shrink = canvases.shrink();
    while features.pixels() / u64::from(shrink * shrink) > MAX_SCALED_PIXELS {
        shrink += 1;
    }
    let shrunk = |length: u32| length.div_ceil(shrink);
    let (frame_width, frame_height) = (shrunk(features.width), shrunk(features.height));
    // Before there is a canvas, since libwebp may need much.
    let pixels = libwebp::decode(picture, &features, frame_width, frame_height)?;

    // libwebp stretches a little, so that the last column is as wide as the others.
    let (columns, rows) = (shrunk(width), shrunk(height));
    let scale = |shrunk: u32, length: u32| f64::from(shrunk) / f64::from(length);
    canvases.begin((columns, rows), (scale(columns, width), scale(rows, height)));
    let mut rgb = Vec::new();
    for (y, line) in (top / shrink..).zip(pixels.chunks_exact(frame_width as usize * features.bytes_per_pixel())) {
        if features.alpha {
            let white = |pixel: &[u8]| [pixel[0], pixel[1], pixel[2]].map(|value| on_white(value, pixel[3]));
            rgb.clear();
            rgb.extend(line.chunks_exact(4).flat_map(white));
            canvases.row(left / shrink, y, 1, &rgb);
        } else {
            canvases.row(left / shrink, y, 1, line);
        }
    }
    Ok(profile.map(<[u8]>::to_vec))
}
