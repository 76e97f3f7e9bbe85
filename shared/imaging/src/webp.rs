//! WebP: the container, and what is done with the picture in it. Of an animation, the first frame.
//! <https://developers.google.com/speed/webp/docs/riff_container>

pub(crate) mod libwebp;
pub(crate) mod lossless;

use crate::{Orientation, Outline, Result, canvas::Canvases, invalid, png::on_white};

/// Most pixels that libwebp is asked for at once.
const MAX_SCALED_PIXELS: u64 = 16 << 20;

/// What lies in the file.
struct Container<'a> {
    width: u32,
    height: u32,
    frames: u32,
    exif: Option<&'a [u8]>,
    profile: Option<&'a [u8]>,
    frame: Frame<'a>,
}

/// The picture, or the first one of an animation.
struct Frame<'a> {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    picture: Bitstream<'a>,
}

#[derive(Clone, Copy)]
enum Bitstream<'a> {
    Lossy { data: &'a [u8], alpha: Option<&'a [u8]> },
    Lossless(&'a [u8]),
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
        let body = bytes.get(12..length.saturating_add(8)).ok_or_else(|| invalid("the WebP breaks off"))?;
        let (mut canvas, mut exif, mut profile, mut frames, mut first) = (None, None, None, 0, None);
        let mut still = Vec::new();
        for chunk in Chunks(body) {
            match chunk? {
                (b"VP8X", [_, _, _, _, size @ ..]) if size.len() >= 6 && canvas.is_none() => {
                    canvas = Some((number(&size[..3]) + 1, number(&size[3..6]) + 1));
                }
                (b"EXIF", data) => exif = Some(data),
                (b"ICCP", data) => profile = Some(data),
                (b"ANMF", data) => {
                    frames += 1;
                    if first.is_none() {
                        let (place, chunks) = data.split_at_checked(16).ok_or_else(broken)?;
                        let (left, top) = (number(&place[..3]) * 2, number(&place[3..6]) * 2);
                        let size = (number(&place[6..9]) + 1, number(&place[9..12]) + 1);
                        let frame = Frame::read(Chunks(chunks).collect::<Result<Vec<_>>>()?, left, top)?;
                        if size != (frame.width, frame.height) {
                            return Err(broken());
                        }
                        first = Some(frame);
                    }
                }
                chunk @ (b"ALPH" | b"VP8 " | b"VP8L", _) => still.push(chunk),
                _ => {}
            }
        }
        let frame = match first {
            Some(frame) => frame,
            None => Frame::read(still, 0, 0)?,
        };
        let (width, height) = canvas.unwrap_or((frame.width, frame.height));
        let fits = |start: u32, length: u32, whole: u32| u64::from(start) + u64::from(length) <= u64::from(whole);
        if !fits(frame.left, frame.width, width)
            || !fits(frame.top, frame.height, height)
            || (frames == 0 && (frame.width, frame.height) != (width, height))
        {
            return Err(broken());
        }
        Ok(Self { width, height, frames, exif, profile, frame })
    }
}

impl<'a> Frame<'a> {
    fn read(chunks: Vec<(&'a [u8; 4], &'a [u8])>, left: u32, top: u32) -> Result<Self> {
        let find = |wanted: &[u8; 4]| chunks.iter().find(|(name, _)| *name == wanted).map(|(_, data)| *data);
        let broken = || invalid("the WebP's picture is broken");
        if let Some(data) = find(b"VP8 ") {
            // A key frame, its start code, then 14 bits each.
            let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = data else { return Err(broken()) };
            let size = |low: &u8, high: &u8| u32::from(u16::from_le_bytes([*low, *high]) & 0x3fff);
            let (width, height) = (size(w0, w1), size(h0, h1));
            if tag & 1 != 0 || width == 0 || height == 0 {
                return Err(broken());
            }
            return Ok(Self { left, top, width, height, picture: Bitstream::Lossy { data, alpha: find(b"ALPH") } });
        }
        let data = find(b"VP8L").ok_or_else(|| invalid("the WebP has no picture"))?;
        let (width, height) = lossless::size(data).ok_or_else(broken)?;
        Ok(Self { left, top, width, height, picture: Bitstream::Lossless(data) })
    }
}

/// Walks through the chunks.
pub(crate) fn outline(bytes: &[u8]) -> Result<Outline> {
    let container = Container::read(bytes)?;
    let orientation = container.exif.map_or(Orientation::UPRIGHT, Orientation::read);
    Ok(Outline { width: container.width, height: container.height, animated: container.frames > 1, orientation })
}

/// Decodes it, and answers with its colour profile. What the first frame of an animation leaves of the canvas is white.
pub(crate) fn decode(bytes: &[u8], canvases: &mut Canvases) -> Result<Option<Vec<u8>>> {
    let Container { width, height, profile, frame, .. } = Container::read(bytes)?;
    match frame.picture {
        Bitstream::Lossless(data) => {
            canvases.begin((width, height), (1.0, 1.0));
            let mut rgb = Vec::new();
            lossless::decode(data, |y, row| {
                rgb.clear();
                rgb.extend(row.iter().flat_map(|pixel| {
                    let [alpha, red, green, blue] = pixel.to_be_bytes();
                    [red, green, blue].map(|value| on_white(value, alpha))
                }));
                canvases.row(frame.left, frame.top + y, 1, &rgb);
            })?;
        }
        Bitstream::Lossy { data, alpha } => lossy(data, alpha, &frame, (width, height), canvases)?,
    }
    Ok(profile.map(<[u8]>::to_vec))
}

fn lossy(
    data: &[u8],
    alpha: Option<&[u8]>,
    frame: &Frame<'_>,
    size: (u32, u32),
    canvases: &mut Canvases,
) -> Result<()> {
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    let mut shrink = canvases.shrink();
    while pixels / u64::from(shrink * shrink) > MAX_SCALED_PIXELS {
        shrink += 1;
    }
    let shrunk = |length: u32| length.div_ceil(shrink);
    let (width, height) = (shrunk(frame.width), shrunk(frame.height));
    // libwebp stretches a little, so that the last column is as wide as the others.
    let (columns, rows) = (shrunk(size.0), shrunk(size.1));
    let scale = |shrunk: u32, length: u32| f64::from(shrunk) / f64::from(length);
    canvases.begin((columns, rows), (scale(columns, size.0), scale(rows, size.1)));
    let mut rgb = libwebp::decode_lossy(data, width, height)?;
    let mut lines = rgb.chunks_exact_mut(width as usize * 3);
    let (left, top) = (frame.left / shrink, frame.top / shrink);
    let mut y = top;
    let mut next = |alpha: Option<&[u8]>| {
        let Some(line) = lines.next() else { return };
        for (pixel, alpha) in line.chunks_exact_mut(3).zip(alpha.into_iter().flatten()) {
            pixel.iter_mut().for_each(|value| *value = on_white(*value, *alpha));
        }
        canvases.row(left, y, 1, line);
        y += 1;
    };
    let Some(alpha) = alpha else {
        (0..height).for_each(|_| next(None));
        return Ok(());
    };
    // The transparency of as many pixels as libwebp made one of, averaged.
    let mut sums = vec![0u32; width as usize];
    let mut means = vec![0u8; width as usize];
    lossless::decode_alpha(alpha, frame.width, frame.height, |row_index, row| {
        for (sum, square) in sums.iter_mut().zip(row.chunks(shrink as usize)) {
            *sum += square.iter().map(|value| u32::from(*value)).sum::<u32>();
        }
        let rows = row_index % shrink + 1;
        if rows == shrink || row_index + 1 == frame.height {
            for (index, (sum, mean)) in sums.iter_mut().zip(&mut means).enumerate() {
                let columns = shrink.min(frame.width - index as u32 * shrink);
                *mean = (std::mem::take(sum) / (rows * columns)) as u8;
            }
            next(Some(&means));
        }
    })
}
