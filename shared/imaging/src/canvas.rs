//! Where decoded pixels go: for each wish a canvas that is at most twice as wide and high as the wish. Larger pictures are made
//! smaller on the way, by averaging squares of pixels, so that no picture is ever there whole. What is left to do is a little
//! resizing with a good filter.

use crate::{Fit, Inspected, Wish, swaps_sides};

/// Largest side of a square of pixels that becomes one: the sums of 16 × 16 bytes fit into 16 bits. More is left to the filter.
const MAX_STEP: u32 = 16;

/// What a wish means for a picture, before the picture is turned.
#[derive(Clone, Copy, Debug)]
struct Target {
    /// The part of the picture that will be seen, in its pixels.
    left: f64,
    top: f64,
    seen_width: f64,
    seen_height: f64,
    /// Pixels of the result.
    width: u32,
    height: u32,
}

impl Target {
    fn new(picture: &Inspected, wish: &Wish) -> Self {
        let (width, height) = (f64::from(picture.width), f64::from(picture.height));
        let (mut wish_width, mut wish_height) = (f64::from(wish.width.max(1)), f64::from(wish.height.max(1)));
        if swaps_sides(picture.orientation) {
            (wish_width, wish_height) = (wish_height, wish_width);
        }
        let (seen_width, seen_height) = match wish.fit {
            Fit::Within => (width, height),
            Fit::Cover => (width.min(height * wish_width / wish_height), height.min(width * wish_height / wish_width)),
        };
        let scale = (wish_width / seen_width).min(wish_height / seen_height).min(1.0);
        Self {
            left: (width - seen_width) / 2.0,
            top: (height - seen_height) / 2.0,
            seen_width,
            seen_height,
            width: (seen_width * scale).round().max(1.0) as u32,
            height: (seen_height * scale).round().max(1.0) as u32,
        }
    }

    /// How many of the picture's pixels lie side by side in one of the result.
    fn ratio(&self) -> f64 {
        (self.seen_width / f64::from(self.width)).min(self.seen_height / f64::from(self.height))
    }
}

/// A canvas for each wish.
#[derive(Debug)]
pub(crate) struct Canvases {
    targets: Vec<Target>,
    canvases: Vec<Canvas>,
}

impl Canvases {
    pub(crate) fn new(picture: &Inspected, wishes: &[Wish]) -> Self {
        Self { targets: wishes.iter().map(|wish| Target::new(picture, wish)).collect(), canvases: Vec::new() }
    }

    /// By how much a decoder may make the picture smaller at no loss.
    pub(crate) fn shrink(&self) -> u32 {
        self.targets.iter().map(Target::ratio).fold(16.0, f64::min).max(1.0) as u32
    }

    /// Says in how many columns and rows the picture will come, and by which factors the decoder made it smaller: a last column
    /// may stand for fewer pixels than the others. Must precede the rows.
    pub(crate) fn begin(&mut self, size: (u32, u32), scale: (f64, f64)) {
        self.canvases = self.targets.iter().map(|target| Canvas::new(target, scale, size)).collect();
    }

    /// Takes pixels of one row, each `step` to the right of the one before. Every pixel comes once; the order is the decoder's.
    /// A place to which none comes is white.
    pub(crate) fn row(&mut self, x: u32, y: u32, step: u32, rgb: &[u8]) {
        for canvas in &mut self.canvases {
            canvas.row(x, y, step, rgb);
        }
    }

    /// The canvases, when all rows have come.
    pub(crate) fn finish(self) -> impl Iterator<Item = Canvas> {
        self.canvases.into_iter()
    }
}

/// The part of a picture that a wish shows, not much larger than wished.
#[derive(Debug)]
pub(crate) struct Canvas {
    /// The pixels of the picture that are looked at.
    left: u32,
    top: u32,
    right: u32,
    bottom: u32,
    /// The side of the square of pixels that becomes one.
    step: u32,
    /// Pixels of a row.
    width: usize,
    cells: Cells,
    /// The part to show, in the canvas's own pixels: left, top, width, height.
    pub(crate) shown: [f64; 4],
    /// Pixels of the result.
    pub(crate) result: (u32, u32),
}

#[derive(Debug)]
enum Cells {
    /// One pixel is one pixel.
    Pixels(Vec<u8>),
    /// What the pixels of each square lack to white, added up.
    Sums(Vec<u16>),
}

impl Canvas {
    fn new(target: &Target, scale: (f64, f64), size: (u32, u32)) -> Self {
        let (left, top) = (target.left * scale.0, target.top * scale.1);
        let (seen_width, seen_height) = (target.seen_width * scale.0, target.seen_height * scale.1);
        let ratio = (seen_width / f64::from(target.width)).min(seen_height / f64::from(target.height));
        let step = (ratio as u32).clamp(1, MAX_STEP);
        let first = (left as u32, top as u32);
        let right = ((left + seen_width).ceil() as u32).clamp(first.0 + 1, size.0);
        let bottom = ((top + seen_height).ceil() as u32).clamp(first.1 + 1, size.1);
        let width = (right - first.0).div_ceil(step) as usize;
        let bytes = width * (bottom - first.1).div_ceil(step) as usize * 3;
        let inside = |start: f64, length: f64, first: u32, end: u32| {
            let start = start - f64::from(first);
            [start / f64::from(step), length.min(f64::from(end - first) - start) / f64::from(step)]
        };
        let [x, shown_width] = inside(left, seen_width, first.0, right);
        let [y, shown_height] = inside(top, seen_height, first.1, bottom);
        Self {
            left: first.0,
            top: first.1,
            right,
            bottom,
            step,
            width,
            cells: if step == 1 { Cells::Pixels(vec![255; bytes]) } else { Cells::Sums(vec![0; bytes]) },
            shown: [x, y, shown_width, shown_height],
            result: (target.width, target.height),
        }
    }

    fn row(&mut self, x: u32, y: u32, step: u32, rgb: &[u8]) {
        if !(self.top..self.bottom).contains(&y) {
            return;
        }
        let line = ((y - self.top) / self.step) as usize * self.width * 3;
        let skipped = self.left.saturating_sub(x).div_ceil(step);
        let first = x + skipped * step;
        let pixels = rgb.chunks_exact(3).skip(skipped as usize);
        let places = (first..self.right).step_by(step as usize);
        match &mut self.cells {
            Cells::Pixels(cells) => {
                for (place, pixel) in places.zip(pixels) {
                    let at = line + (place - self.left) as usize * 3;
                    cells[at..at + 3].copy_from_slice(pixel);
                }
            }
            Cells::Sums(cells) if step == 1 => {
                // The same as below, without a division for each pixel.
                let mut at = line + ((first - self.left) / self.step) as usize * 3;
                let mut left = self.step - (first - self.left) % self.step;
                for pixel in pixels.take(self.right.saturating_sub(first) as usize) {
                    for (sum, value) in cells[at..at + 3].iter_mut().zip(pixel) {
                        *sum += u16::from(255 - value);
                    }
                    left -= 1;
                    if left == 0 {
                        (at, left) = (at + 3, self.step);
                    }
                }
            }
            Cells::Sums(cells) => {
                for (place, pixel) in places.zip(pixels) {
                    let at = line + ((place - self.left) / self.step) as usize * 3;
                    for (sum, value) in cells[at..at + 3].iter_mut().zip(pixel) {
                        *sum += u16::from(255 - value);
                    }
                }
            }
        }
    }

    /// Pixels of a row, rows, and the pixels.
    pub(crate) fn into_pixels(self) -> (u32, u32, Vec<u8>) {
        let height = (self.bottom - self.top).div_ceil(self.step);
        let pixels = match self.cells {
            Cells::Pixels(pixels) => pixels,
            Cells::Sums(sums) => {
                // The squares at the right and at the bottom may be cut.
                let side = |index: usize, length: u32| self.step.min(length - index as u32 * self.step);
                let mut pixels = Vec::with_capacity(sums.len());
                for (y, line) in sums.chunks_exact(self.width * 3).enumerate() {
                    let rows = side(y, self.bottom - self.top);
                    for (x, cell) in line.chunks_exact(3).enumerate() {
                        let count = side(x, self.right - self.left) * rows;
                        pixels.extend(cell.iter().map(|sum| 255 - ((u32::from(*sum) + count / 2) / count) as u8));
                    }
                }
                pixels
            }
        };
        (self.width as u32, height, pixels)
    }
}
