//! Good files of every kind, and what strangers may send instead.

mod files;
mod hostile;
mod kinds;
mod pictures;

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use crate::{Fit, ImageError, Inspected, Limits, Rendered, Wish, canvas::Canvases, inspect, render};

/// A wish for the whole picture, not made smaller.
const WHOLE: Wish = Wish { width: 2048, height: 2048, fit: Fit::Within, quality: 95.0 };

/// A folder with one file in it, under a name that says nothing.
struct Desk(TempDir);

impl Desk {
    fn with(file: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), file).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("file")
    }

    fn inspect(&self) -> Result<Inspected, ImageError> {
        inspect(&self.file(), &Limits::default())
    }

    fn render(&self, wishes: &[Wish]) -> Result<Rendered, ImageError> {
        render(&self.file(), &self.inspect()?, wishes, self.0.path())
    }
}

/// A picture that was rendered.
struct Shown {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Shown {
    fn at(&self, x: u32, y: u32) -> [u8; 3] {
        let at = ((y * self.width + x) * 3) as usize;
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    /// Inside the four corners: top left, top right, bottom left, bottom right.
    fn corners(&self) -> [[u8; 3]; 4] {
        let (right, bottom) = (self.width - 1 - self.width / 8, self.height - 1 - self.height / 8);
        let (left, top) = (self.width / 8, self.height / 8);
        [self.at(left, top), self.at(right, top), self.at(left, bottom), self.at(right, bottom)]
    }
}

/// Renders a file as one picture and reads it back.
fn shown(file: &[u8], wish: Wish) -> Shown {
    let desk = Desk::with(file);
    let rendered = desk.render(&[wish]).unwrap_or_else(|error| panic!("{error:?}"));
    let [picture] = rendered.files.as_slice() else { panic!("one wish, one picture") };
    let bytes = fs::read(&picture.path).unwrap();
    assert_eq!(picture.bytes, bytes.len() as u64);
    let decoded = image::load_from_memory_with_format(&bytes, image::ImageFormat::WebP).unwrap().into_rgb8();
    assert_eq!((picture.width, picture.height), decoded.dimensions());
    Shown { width: picture.width, height: picture.height, rgb: decoded.into_raw() }
}

/// The pixels that are decoded of a file, before anything is done with them.
fn decoded(file: &[u8]) -> Vec<u8> {
    let inspected = Desk::with(file).inspect().unwrap();
    let mut canvases = Canvases::new(&inspected, &[WHOLE]);
    crate::decode(inspected.format, file, &mut canvases).unwrap();
    canvases.finish().next().unwrap().into_pixels().2
}

/// Colours pass through lossy coders here: they come back nearly.
fn assert_near(got: &[u8], wanted: &[u8], most: u8) {
    let far = got.iter().zip(wanted).filter(|(got, wanted)| got.abs_diff(**wanted) > most).count();
    assert!(
        got.len() == wanted.len() && far == 0,
        "{far} of {} differ by more than {most}: {got:?}, not {wanted:?}",
        got.len()
    );
}

/// The mean difference of two pictures.
fn difference(one: &[u8], other: &[u8]) -> f64 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| f64::from(one.abs_diff(*other))).sum::<f64>() / one.len() as f64
}

fn is_invalid<T>(result: Result<T, ImageError>) -> bool {
    matches!(result, Err(ImageError::Invalid(_)))
}

fn is_too_large<T>(result: Result<T, ImageError>) -> bool {
    matches!(result, Err(ImageError::TooLarge))
}
