//! What an encoder does to the pixels before it codes them, undone row by row.

use super::{codes::Bits, small_picture};
use crate::Result;

const OPAQUE_BLACK: u32 = 0xff00_0000;

pub(super) enum Transform {
    /// Each pixel is the difference to a guess from those around it.
    Predictor { columns: u32, shift: u32, modes: Vec<u32>, above: Vec<u32> },
    /// Red and blue are differences to guesses from green, and blue from red.
    Colour { columns: u32, shift: u32, factors: Vec<u32> },
    /// Red and blue are differences to green.
    Green,
    /// Green is an index, of which a pixel may hold several.
    Palette { colours: Vec<u32>, columns: usize, shift: u32 },
}

impl Transform {
    /// Reads one. `columns` is the width of the picture that is coded, which a palette makes smaller.
    pub(super) fn read(bits: &mut Bits<'_>, columns: &mut u32, height: u32) -> Result<Self> {
        let kind = bits.number(2)?;
        Ok(match kind {
            0 | 1 => {
                let shift = bits.number(3)? + 2;
                let squares = columns.div_ceil(1 << shift);
                let data = small_picture(bits, squares, height.div_ceil(1 << shift))?;
                if kind == 0 {
                    Self::Predictor { columns: squares, shift, modes: data, above: Vec::new() }
                } else {
                    Self::Colour { columns: squares, shift, factors: data }
                }
            }
            2 => Self::Green,
            _ => {
                let count = bits.number(8)? + 1;
                let mut colours = small_picture(bits, count, 1)?;
                // Each is the difference to the one before.
                for index in 1..colours.len() {
                    colours[index] = add(colours[index], colours[index - 1]);
                }
                let shift = match count {
                    ..=2 => 3,
                    3..=4 => 2,
                    5..=16 => 1,
                    _ => 0,
                };
                let whole = *columns as usize;
                *columns = columns.div_ceil(1 << shift);
                Self::Palette { colours, columns: whole, shift }
            }
        })
    }

    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Undoes it in a row. Rows must come in order.
    pub(super) fn invert(&mut self, y: u32, row: &mut Vec<u32>) {
        match self {
            Self::Predictor { columns, shift, modes, above } => {
                let modes = &modes[((y >> *shift) * *columns) as usize..];
                predict(y, *shift, modes, above, row);
                above.clone_from(row);
            }
            Self::Colour { columns, shift, factors } => {
                let factors = &factors[((y >> *shift) * *columns) as usize..];
                for (pixels, factor) in row.chunks_mut(1 << *shift).zip(factors) {
                    pixels.iter_mut().for_each(|pixel| *pixel = recolour(*pixel, *factor));
                }
            }
            Self::Green => {
                for pixel in row {
                    let [alpha, red, green, blue] = pixel.to_be_bytes();
                    *pixel = u32::from_be_bytes([alpha, red.wrapping_add(green), green, blue.wrapping_add(green)]);
                }
            }
            Self::Palette { colours, columns, shift } => {
                let width = 8 >> *shift;
                let indexes = row.iter().flat_map(|pixel| {
                    let packed = *pixel >> 8 & 0xff;
                    (0..1u32 << *shift).map(move |place| (packed >> (place * width)) as usize & ((1 << width) - 1))
                });
                *row = indexes.take(*columns).map(|index| colours.get(index).copied().unwrap_or(0)).collect();
            }
        }
    }
}

/// Adds the four colours of two pixels, each by itself.
fn add(one: u32, other: u32) -> u32 {
    let even = (one & 0x00ff_00ff).wrapping_add(other & 0x00ff_00ff) & 0x00ff_00ff;
    let odd = (one & 0xff00_ff00).wrapping_add(other & 0xff00_ff00) & 0xff00_ff00;
    even | odd
}

fn recolour(pixel: u32, factor: u32) -> u32 {
    let change = |factor: u32, colour: u8| ((i32::from(factor as u8 as i8) * i32::from(colour as i8)) >> 5) as u8;
    let [alpha, red, green, blue] = pixel.to_be_bytes();
    let red = red.wrapping_add(change(factor, green));
    let blue = blue.wrapping_add(change(factor >> 8, green)).wrapping_add(change(factor >> 16, red));
    u32::from_be_bytes([alpha, red, green, blue])
}

fn predict(y: u32, shift: u32, modes: &[u32], above: &[u32], row: &mut [u32]) {
    row[0] = add(row[0], above.first().copied().unwrap_or(OPAQUE_BLACK));
    for x in 1..row.len() {
        let left = row[x - 1];
        let guess = if y == 0 {
            left
        } else {
            let mode = modes[x >> shift] >> 8 & 15;
            // To the right of the last pixel above lies, in memory, the first one of this row.
            let top_right = above.get(x + 1).copied().unwrap_or(row[0]);
            guess(mode, left, above[x], above[x - 1], top_right)
        };
        row[x] = add(row[x], guess);
    }
}

/// Section 4.1.
fn guess(mode: u32, left: u32, top: u32, top_left: u32, top_right: u32) -> u32 {
    match mode {
        1 => left,
        2 => top,
        3 => top_right,
        4 => top_left,
        5 => mean(mean(left, top_right), top),
        6 => mean(left, top_left),
        7 => mean(left, top),
        8 => mean(top_left, top),
        9 => mean(top, top_right),
        10 => mean(mean(left, top_left), mean(top, top_right)),
        11 => {
            let distance = |one: u32| {
                one.to_be_bytes().iter().zip(top_left.to_be_bytes()).map(|(a, b)| u32::from(a.abs_diff(b))).sum::<u32>()
            };
            // How far the sum of both without the corner is from the left one is how far the top one is from the corner.
            if distance(top) < distance(left) { left } else { top }
        }
        12 => each(left, top, |index, left, top| left + top - i32::from(top_left.to_be_bytes()[index])),
        13 => each(mean(left, top), top_left, |_, mean, corner| mean + (mean - corner) / 2),
        _ => OPAQUE_BLACK,
    }
}

/// The means of the four colours, rounded down.
fn mean(one: u32, other: u32) -> u32 {
    (((one ^ other) & 0xfefe_fefe) >> 1) + (one & other)
}

fn each(one: u32, other: u32, change: impl Fn(usize, i32, i32) -> i32) -> u32 {
    let (one, other) = (one.to_be_bytes(), other.to_be_bytes());
    u32::from_be_bytes(std::array::from_fn(|index| {
        change(index, one[index].into(), other[index].into()).clamp(0, 255) as u8
    }))
}
