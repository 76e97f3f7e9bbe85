//! Picture files: what they are taken for, and what is made of them.
//!
//! - A file is what its first bytes say, has the size that another decoder finds, and lies within the limits.
//! - What is made of it is a WebP of the size that is said, no larger than was wished, with nothing in it but its pixels.
//! - Whatever is wrong with a file, nothing of ours fails.
//!
//! The limits are smaller than in life, so that a run is quick. The memory is bounded by `make fuzz`.

#![no_main]

use std::fs;

use image::{ImageDecoder, ImageFormat, ImageReader};
use imaging::{Fit, ImageError, Inspected, Limits, Picture, Wish};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { max_pixels: 1 << 18, max_side: 4096, max_bytes: 1 << 16, max_held: 1 << 20 };

const WISHES: [Wish; 2] = [
    Wish { width: 48, height: 40, fit: Fit::Within, quality: 75.0 },
    Wish { width: 16, height: 24, fit: Fit::Cover, quality: 75.0 },
];

fuzz_target!(|data: &[u8]| {
    let desk = tempfile::tempdir().expect("a folder");
    let file = desk.path().join("file");
    fs::write(&file, data).expect("a file");

    let inspected = match imaging::inspect(&file, &LIMITS) {
        Ok(inspected) => inspected,
        Err(ImageError::Unreadable(error)) => panic!("{error}"),
        Err(_) => return,
    };
    said_truly(&inspected, data);
    match imaging::render(&file, &inspected, &WISHES, desk.path()) {
        Ok(rendered) => {
            assert_eq!(rendered.files.len(), WISHES.len());
            assert!(!rendered.blurhash.is_empty());
            for (picture, wish) in rendered.files.iter().zip(&WISHES) {
                made_as_wished(picture, wish, &inspected);
            }
        }
        Err(ImageError::Unreadable(error)) => panic!("{error}"),
        Err(_) => {}
    }
});

fn said_truly(inspected: &Inspected, data: &[u8]) {
    let format = image::guess_format(data).expect("what another one would take it for");
    assert_eq!(inspected.format.content_type(), format.to_mime_type());
    let (width, height) = (inspected.width, inspected.height);
    assert!(width > 0 && height > 0 && width.max(height) <= LIMITS.max_side);
    assert!(u64::from(width) * u64::from(height) <= LIMITS.max_pixels);
    let found = ImageReader::with_format(std::io::Cursor::new(data), format).into_decoder();
    if let Ok(decoder) = found {
        assert_eq!(decoder.dimensions(), (width, height), "{format:?}");
    }
}

fn made_as_wished(picture: &Picture, wish: &Wish, inspected: &Inspected) {
    let file = fs::read(&picture.path).expect("a file");
    assert_eq!(file.len() as u64, picture.bytes);
    // One chunk: a picture without alpha, metadata, profile or further frames.
    let chunk = u32::from_le_bytes(*file[16..].first_chunk().expect("its length")) as usize;
    assert!(&file[..4] == b"RIFF" && &file[8..16] == b"WEBPVP8 " && 20 + chunk + chunk % 2 == file.len());
    let decoded = image::load_from_memory_with_format(&file, ImageFormat::WebP).expect("a picture");
    assert_eq!((decoded.width(), decoded.height()), (picture.width, picture.height));
    let (width, height) = inspected.upright_size();
    assert!((1..=wish.width.min(width)).contains(&picture.width), "{picture:?} of {inspected:?}");
    assert!((1..=wish.height.min(height)).contains(&picture.height), "{picture:?} of {inspected:?}");
}
