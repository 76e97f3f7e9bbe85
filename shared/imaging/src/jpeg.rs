//! JPEG: Huffman-coded, of 8 bits, sequential or progressive, of one, three or four colours. ITU-T T.81.
//!
//! Why of our own: a progressive file says of each coefficient a little in every scan, so all of them have to be kept, and the
//! crates keep them all: up to six bytes a pixel, and three more for the result. A picture that is going to be smaller needs only
//! the low ones: at 1/4, four of 64. Of the others it is enough to know whether they are zero, a bit each, since that decides how
//! the next scan is read. And the crates forgive a file that breaks off, or paint it grey.

mod entropy;
mod frame;
mod inverse;

use crate::{ImageError, Orientation, Outline, Result, canvas::Canvases, invalid};
use entropy::Huffman;
use frame::{Colours, Frame};

/// Most scans. Encoders make about ten; each costs a walk over all blocks, however few bytes it has.
const MAX_SCANS: u32 = 100;

/// A segment between marker and marker.
struct Segment<'a> {
    marker: u8,
    data: &'a [u8],
}

mod marker {
    pub(super) const SEQUENTIAL: u8 = 0xc0;
    pub(super) const EXTENDED: u8 = 0xc1;
    pub(super) const PROGRESSIVE: u8 = 0xc2;
    pub(super) const HUFFMAN: u8 = 0xc4;
    pub(super) const EXTENSION: u8 = 0xc8;
    pub(super) const ARITHMETIC: u8 = 0xcc;
    pub(super) const END: u8 = 0xd9;
    pub(super) const SCAN: u8 = 0xda;
    pub(super) const QUANTIZATION: u8 = 0xdb;
    pub(super) const RESTART_INTERVAL: u8 = 0xdd;
    pub(super) const EXIF: u8 = 0xe1;
    pub(super) const PROFILE: u8 = 0xe2;
    pub(super) const ADOBE: u8 = 0xee;
}

/// A place in the file.
#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 2 }
    }

    /// The next segment, or `None` at the end of the picture. What follows the end is not looked at: phones append films.
    fn segment(&mut self) -> Result<Option<Segment<'a>>> {
        let cut = || invalid("the JPEG breaks off");
        loop {
            // Some writers leave bytes between segments; every decoder skips them.
            let rest = self.bytes.get(self.at..).ok_or_else(cut)?;
            self.at += rest.iter().position(|byte| *byte == 0xff).ok_or_else(cut)? + 1;
            let marker = *self.bytes.get(self.at).ok_or_else(cut)?;
            match marker {
                0xff => {}
                // A byte of a scan, or a marker that has no data.
                0x00 | 0x01 | 0xd0..=0xd7 => self.at += 1,
                marker::END => return Ok(None),
                _ => {
                    let length = self.bytes.get(self.at + 1..self.at + 3).ok_or_else(cut)?;
                    let length = usize::from(length[0]) << 8 | usize::from(length[1]);
                    let data = self.bytes.get(self.at + 3..self.at + 1 + length).ok_or_else(cut)?;
                    self.at += 1 + length;
                    return Ok(Some(Segment { marker, data }));
                }
            }
        }
    }
}

/// Whether a marker begins a frame, of whichever kind.
fn begins_frame(marker: u8) -> bool {
    (0xc0..=0xcf).contains(&marker) && ![marker::HUFFMAN, marker::EXTENSION, marker::ARITHMETIC].contains(&marker)
}

/// Walks through the segments to the end of the picture.
pub(crate) fn outline(bytes: &[u8]) -> Result<Outline> {
    let mut reader = Reader::new(bytes);
    let mut orientation = None;
    let (mut size, mut scans) = (None, 0);
    while let Some(segment) = reader.segment()? {
        match segment.marker {
            marker if begins_frame(marker) && size.is_none() => {
                let [_, h0, h1, w0, w1, ..] = segment.data else { return Err(invalid("the JPEG's frame is broken")) };
                size = Some((u16::from_be_bytes([*w0, *w1]).into(), u16::from_be_bytes([*h0, *h1]).into()));
            }
            marker::SCAN => scans += 1,
            marker::EXIF if orientation.is_none() && segment.data.starts_with(b"Exif\0\0") => {
                orientation = Some(Orientation::read(segment.data));
            }
            _ => {}
        }
    }
    let (Some((width, height)), 1..=MAX_SCANS) = (size, scans) else {
        return Err(invalid("the JPEG has no picture, or too many scans"));
    };
    Ok(Outline { width, height, animated: false, orientation: orientation.unwrap_or(Orientation::UPRIGHT) })
}

/// What the segments before a scan lay down for it.
#[derive(Default)]
struct Tables {
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart_interval: u32,
}

/// Decodes it, and answers with its colour profile.
pub(crate) fn decode(bytes: &[u8], canvases: &mut Canvases) -> Result<Option<Vec<u8>>> {
    let mut reader = Reader::new(bytes);
    let mut tables = Tables::default();
    let mut frame: Option<Frame> = None;
    let (mut adobe, mut jfif) = (None, false);
    let mut profile: Vec<(u8, &[u8])> = Vec::new();
    while let Some(Segment { marker, data }) = reader.segment()? {
        match (marker, data) {
            (marker::QUANTIZATION, _) => quantization(data, &mut tables)?,
            (marker::HUFFMAN, _) => huffman(data, &mut tables)?,
            (marker::RESTART_INTERVAL, [high, low]) => {
                tables.restart_interval = u32::from(u16::from_be_bytes([*high, *low]));
            }
            (0xe0, [b'J', b'F', b'I', b'F', 0, ..]) => jfif = true,
            (marker::ADOBE, [b'A', b'd', b'o', b'b', b'e', _, _, _, _, _, _, transform, ..]) => {
                adobe = Some(*transform)
            }
            (marker::PROFILE, data) => {
                if let Some([number, _, part @ ..]) = data.strip_prefix(b"ICC_PROFILE\0") {
                    profile.push((*number, part));
                }
            }
            (marker::SEQUENTIAL | marker::EXTENDED | marker::PROGRESSIVE, _) if frame.is_none() => {
                frame = Some(Frame::read(data, marker == marker::PROGRESSIVE, canvases)?);
            }
            (marker, _) if begins_frame(marker) => return Err(invalid("a JPEG of a kind that browsers do not show")),
            (marker::SCAN, _) => {
                let frame = frame.as_mut().ok_or_else(|| invalid("the JPEG has a scan before its frame"))?;
                let colours = Colours::of(frame, adobe, jfif);
                reader.at = frame.scan(data, bytes, reader.at, &tables, colours, canvases)?;
            }
            _ => {}
        }
    }
    let frame = frame.ok_or_else(|| invalid("the JPEG has no frame"))?;
    let colours = Colours::of(&frame, adobe, jfif);
    frame.finish(colours, canvases)?;
    profile.sort_by_key(|(number, _)| *number);
    let profile: Vec<u8> = profile.into_iter().flat_map(|(_, part)| part).copied().collect();
    Ok(Some(profile).filter(|profile| !profile.is_empty()))
}

fn quantization(mut data: &[u8], tables: &mut Tables) -> Result<()> {
    let broken = || invalid("the JPEG's quantization is broken");
    while let [head, rest @ ..] = data {
        let (wide, slot) = (usize::from(head >> 4), usize::from(head & 15));
        let (values, rest) = rest.split_at_checked(64 << wide.min(1)).ok_or_else(broken)?;
        let mut table = [0; 64];
        for (index, value) in table.iter_mut().enumerate() {
            *value = match wide {
                0 => values[index].into(),
                1 => u16::from_be_bytes([values[index * 2], values[index * 2 + 1]]),
                _ => return Err(broken()),
            };
        }
        *tables.quantization.get_mut(slot).ok_or_else(broken)? = Some(table);
        data = rest;
    }
    Ok(())
}

fn huffman(mut data: &[u8], tables: &mut Tables) -> Result<()> {
    let broken = || invalid("the JPEG's codes are broken");
    while let [head, rest @ ..] = data {
        let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(broken)?;
        let symbols = counts.iter().map(|count| usize::from(*count)).sum();
        let (symbols, rest) = rest.split_at_checked(symbols).ok_or_else(broken)?;
        let class = match head >> 4 {
            0 => &mut tables.dc,
            1 => &mut tables.ac,
            _ => return Err(broken()),
        };
        *class.get_mut(usize::from(head & 15)).ok_or_else(broken)? = Some(Huffman::new(counts, symbols)?);
        data = rest;
    }
    Ok(())
}

impl From<entropy::Cut> for ImageError {
    fn from(cut: entropy::Cut) -> Self {
        Self::Invalid(cut.into())
    }
}
