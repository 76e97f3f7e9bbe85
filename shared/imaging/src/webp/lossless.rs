//! Lossless WebP (VP8L), row by row, and the transparency of lossy ones, which is coded alike.
//! <https://developers.google.com/speed/webp/docs/webp_lossless_bitstream_specification>
//!
//! Why of our own: all that the format can refer back to are the last 2^20 pixels, four megabytes, but the decoders keep the whole
//! picture, four bytes a pixel. And a file of 200 kB may ask for 65,536 groups of code tables, which take the others hundreds
//! of megabytes; here they have a bound.

mod codes;
mod transform;

use crate::{ImageError, Result, invalid};
use codes::{Bits, Codes, Cut, Symbol};
use transform::Transform;

/// How far back a reference reaches, and a power of two.
const WINDOW: usize = 1 << 20;
/// Most bytes of code tables. Encoders make at most some thousand groups of some kilobytes.
const MAX_CODE_BYTES: usize = 48 << 20;
const SIGNATURE: u8 = 0x2f;

/// Width and height, by the header.
pub(super) fn size(data: &[u8]) -> Option<(u32, u32)> {
    let [SIGNATURE, head @ ..] = data.first_chunk::<5>()? else { return None };
    let bits = u32::from_le_bytes(*head);
    // The last three bits are the version.
    (bits >> 29 == 0).then_some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
}

/// Decodes it and hands over each row, as ARGB.
pub(crate) fn decode(data: &[u8], mut row: impl FnMut(u32, &[u32])) -> Result<()> {
    let (width, height) = size(data).ok_or_else(|| invalid("the WebP's picture is broken"))?;
    let opaque = data[4] & 0x10 == 0;
    picture(&data[5..], width, height, |y, pixels| {
        if opaque {
            pixels.iter_mut().for_each(|pixel| *pixel |= 0xff00_0000);
        }
        row(y, pixels);
    })
}

/// Decodes a chunk of transparency and hands over each row.
pub(crate) fn decode_alpha(chunk: &[u8], width: u32, height: u32, mut row: impl FnMut(u32, &[u8])) -> Result<()> {
    let broken = || invalid("the WebP's transparency is broken");
    let [head, data @ ..] = chunk else { return Err(broken()) };
    let filter = head >> 2 & 3;
    let mut above: Vec<u8> = Vec::new();
    let mut filtered = |y: u32, mut values: Vec<u8>| {
        for x in 0..values.len() {
            let left = x.checked_sub(1).map(|x| values[x]);
            let top = above.get(x).copied();
            let guess = match (filter, left, top) {
                (0, ..) | (_, None, None) => 0,
                (2, _, Some(top)) | (_, None, Some(top)) => top,
                (_, Some(left), None) | (1, Some(left), _) => left,
                (_, Some(left), Some(top)) => {
                    (i16::from(left) + i16::from(top) - i16::from(above[x - 1])).clamp(0, 255) as u8
                }
            };
            values[x] = values[x].wrapping_add(guess);
        }
        row(y, &values);
        above = values;
    };
    match head & 3 {
        0 if data.len() >= width as usize * height as usize => {
            for (y, values) in (0..height).zip(data.chunks_exact(width as usize)) {
                filtered(y, values.to_vec());
            }
            Ok(())
        }
        1 => picture(data, width, height, |y, pixels| {
            filtered(y, pixels.iter().map(|pixel| (*pixel >> 8) as u8).collect());
        }),
        _ => Err(broken()),
    }
}

/// A whole picture: its transforms, then the coded pixels, each row of which passes through the transforms.
fn picture(data: &[u8], width: u32, height: u32, mut row: impl FnMut(u32, &mut Vec<u32>)) -> Result<()> {
    let mut bits = Bits::new(data);
    let mut transforms: Vec<Transform> = Vec::new();
    let mut columns = width;
    while bits.number(1)? == 1 {
        let transform = Transform::read(&mut bits, &mut columns, height)?;
        if transforms.iter().any(|other| other.is_like(&transform)) {
            return Err(invalid("the WebP has a transform twice"));
        }
        transforms.push(transform);
    }
    pixels(&mut bits, columns, height, true, |y, pixels| {
        for transform in transforms.iter_mut().rev() {
            transform.invert(y, pixels);
        }
        row(y, pixels);
    })
}

/// A picture that is an argument of the coding: small, and kept.
fn small_picture(bits: &mut Bits<'_>, width: u32, height: u32) -> Result<Vec<u32>> {
    let mut kept = Vec::new();
    pixels(bits, width, height, false, |_, row| kept.extend_from_slice(row))?;
    Ok(kept)
}

/// Which group of codes is in force where.
struct Groups {
    codes: Vec<Codes>,
    /// The group of each square of pixels; empty where there is but one.
    map: Vec<u32>,
    /// The side of the squares, as a power of two, and squares of a row.
    shift: u32,
    columns: u32,
}

impl Groups {
    fn read(bits: &mut Bits<'_>, (width, height): (u32, u32), may_differ: bool, cache_bits: u32) -> Result<Self> {
        let mut groups = Self { codes: Vec::new(), map: Vec::new(), shift: 0, columns: 0 };
        let mut count = 1;
        if may_differ && bits.number(1)? == 1 {
            groups.shift = bits.number(3)? + 2;
            groups.columns = width.div_ceil(1 << groups.shift);
            groups.map = small_picture(bits, groups.columns, height.div_ceil(1 << groups.shift))?;
            groups.map.iter_mut().for_each(|pixel| *pixel = *pixel >> 8 & 0xffff);
            count = groups.map.iter().max().map_or(1, |last| last + 1);
        }
        let mut bytes = 0;
        for _ in 0..count {
            let codes = Codes::read(bits, cache_bits)?;
            bytes += codes.bytes();
            if bytes > MAX_CODE_BYTES {
                return Err(ImageError::TooLarge);
            }
            groups.codes.push(codes);
        }
        Ok(groups)
    }

    fn at(&self, x: u32, y: u32) -> &Codes {
        let square = (y >> self.shift) * self.columns + (x >> self.shift);
        &self.codes[self.map.get(square as usize).map_or(0, |group| *group as usize)]
    }
}

/// The coded pixels of a picture, handed over row by row.
fn pixels(
    bits: &mut Bits<'_>,
    width: u32,
    height: u32,
    is_main: bool,
    mut row: impl FnMut(u32, &mut Vec<u32>),
) -> Result<()> {
    let cache_bits = if bits.number(1)? == 1 { bits.number(4)? } else { 0 };
    if cache_bits > 11 {
        return Err(invalid("the WebP's cache is too large"));
    }
    let mut cache = vec![0u32; if cache_bits == 0 { 0 } else { 1 << cache_bits }];
    let groups = Groups::read(bits, (width, height), is_main, cache_bits)?;
    let (columns, total) = (width as usize, width as usize * height as usize);
    let mut window = vec![0u32; WINDOW.min(total.next_power_of_two())];
    let mask = window.len() - 1;
    let mut line: Vec<u32> = Vec::with_capacity(columns);
    let (mut done, mut copied, mut distance) = (0, 0, 0);
    for y in 0..height {
        line.clear();
        while line.len() < columns {
            let first = line.len();
            if copied > 0 {
                let count = copied.min(columns - first);
                for place in done..done + count {
                    let pixel = window[(place - distance) & mask];
                    window[place & mask] = pixel;
                    line.push(pixel);
                }
                copied -= count;
            } else {
                let codes = groups.at(first as u32, y);
                match codes.next(bits)? {
                    Symbol::Pixel(pixel) => line.push(pixel),
                    Symbol::Cached(index) => line.push(*cache.get(index).ok_or(Cut)?),
                    Symbol::Copy { length, plane_code } => {
                        distance = codes::distance(plane_code, columns);
                        if distance > done || length > total - done {
                            return Err(Cut.into());
                        }
                        copied = length;
                        continue;
                    }
                }
                window[done & mask] = line[first];
            }
            done += line.len() - first;
            if cache_bits > 0 {
                for pixel in &line[first..] {
                    cache[(pixel.wrapping_mul(0x1e35_a7bd) >> (32 - cache_bits)) as usize] = *pixel;
                }
            }
        }
        row(y, &mut line);
    }
    Ok(())
}

impl From<Cut> for ImageError {
    fn from(cut: Cut) -> Self {
        Self::Invalid(cut.into())
    }
}
