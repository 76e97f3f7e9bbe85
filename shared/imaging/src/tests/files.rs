//! Files, good and nasty, built from nothing.

use flate2::{Compression, write::ZlibEncoder};
use image::{
    ExtendedColorType, ImageEncoder,
    codecs::{png::PngEncoder, webp::WebPEncoder},
};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use std::io::Write;

use crate::webp::libwebp;

pub(super) const RED: [u8; 3] = [220, 20, 20];
pub(super) const GREEN: [u8; 3] = [20, 200, 20];
pub(super) const BLUE: [u8; 3] = [20, 20, 220];
pub(super) const YELLOW: [u8; 3] = [230, 230, 20];

/// Red at the top left, green at the top right, blue at the bottom left, yellow at the bottom right.
pub(super) fn corners(width: u32, height: u32) -> Vec<u8> {
    let pixel = |x, y| match (x < width / 2, y < height / 2) {
        (true, true) => RED,
        (false, true) => GREEN,
        (true, false) => BLUE,
        (false, false) => YELLOW,
    };
    (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect()
}

/// Gradients with a texture on them, so that every part of a coder has work.
pub(super) fn scene(width: u32, height: u32) -> Vec<u8> {
    let value = |x: u32, y: u32, colour: u32| {
        let wave = ((x * (colour + 3) + y * 5) % 64).abs_diff(32) * 3;
        let texture = (x * 7 + y * 13 + x * y % 11) % 9;
        (40 + x * 80 / width + y * 40 / height + wave + texture).min(255) as u8
    };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    pixels.flat_map(|(x, y)| [0, 1, 2].map(|colour| value(x, y, colour))).collect()
}

pub(super) fn with_alpha(rgb: &[u8], alpha: impl Fn(usize) -> u8) -> Vec<u8> {
    let pixels = rgb.chunks_exact(3).enumerate();
    pixels.flat_map(|(index, pixel)| [pixel[0], pixel[1], pixel[2], alpha(index)]).collect()
}

/// A TIFF structure that says nothing but how the camera was held.
pub(super) fn exif(orientation: u8, big: bool) -> Vec<u8> {
    if big {
        let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
        exif
    } else {
        let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        exif
    }
}

/// What a JPEG is to be like.
#[derive(Clone, Copy)]
pub(super) struct Jpeg {
    pub(super) progressive: bool,
    pub(super) sampling: SamplingFactor,
    pub(super) colours: ColorType,
    pub(super) restart: u16,
}

pub(super) const PLAIN: Jpeg =
    Jpeg { progressive: false, sampling: SamplingFactor::R_4_2_0, colours: ColorType::Rgb, restart: 0 };

impl Jpeg {
    pub(super) fn file(self, pixels: &[u8], width: u32, height: u32, segments: &[(u8, &[u8])]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, 95);
        encoder.set_progressive(self.progressive);
        encoder.set_sampling_factor(self.sampling);
        encoder.set_restart_interval(self.restart);
        for (number, data) in segments {
            encoder.add_app_segment(*number, data.to_vec()).unwrap();
        }
        encoder.encode(pixels, width as u16, height as u16, self.colours).unwrap();
        file
    }
}

pub(super) fn png(pixels: &[u8], width: u32, height: u32, colours: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    PngEncoder::new(&mut file).write_image(pixels, width, height, colours).unwrap();
    file
}

pub(super) fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut checksum = flate2::Crc::new();
    checksum.update(kind);
    checksum.update(data);
    let mut chunk = (data.len() as u32).to_be_bytes().to_vec();
    chunk.extend(kind);
    chunk.extend(data);
    chunk.extend(checksum.sum().to_be_bytes());
    chunk
}

pub(super) fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A PNG of these chunks, between its header and its end.
pub(super) fn png_of(
    width: u32,
    height: u32,
    (depth, colours, interlaced): (u8, u8, bool),
    chunks: &[(&[u8; 4], &[u8])],
) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([depth, colours, 0, 0, interlaced.into()]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    file.extend(chunk(b"IHDR", &header));
    chunks.iter().for_each(|(kind, data)| file.extend(chunk(kind, data)));
    file.extend(chunk(b"IEND", &[]));
    file
}

/// Rows of a PNG, none of them filtered: `row` answers with the bytes of the pixels at x, x + step and so on.
pub(super) fn png_rows(width: u32, height: u32, interlaced: bool, row: impl Fn(u32, u32, u32) -> Vec<u8>) -> Vec<u8> {
    let passes: &[[u32; 4]] = if interlaced {
        &[[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]]
    } else {
        &[[0, 0, 1, 1]]
    };
    let mut rows = Vec::new();
    for [x, y, columns, lines] in passes.iter().filter(|[x, ..]| *x < width) {
        for y in (*y..height).step_by(*lines as usize) {
            rows.push(0);
            rows.extend(row(*x, y, *columns));
        }
    }
    rows
}

pub(super) fn lossless(rgba: &[u8], width: u32, height: u32, exif: Option<Vec<u8>>) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut file);
    if let Some(exif) = exif {
        encoder.set_exif_metadata(exif).unwrap();
    }
    encoder.write_image(rgba, width, height, ExtendedColorType::Rgba8).unwrap();
    file
}

pub(super) fn lossy(rgb: &[u8], width: u32, height: u32) -> Vec<u8> {
    libwebp::encode(rgb, width, height, 95.0).unwrap()
}

/// A WebP of these chunks.
pub(super) fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (name, data) in chunks {
        body.extend(*name);
        body.extend((data.len() as u32).to_le_bytes());
        body.extend(*data);
        body.extend(&[0][..data.len() % 2]);
    }
    [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
}

/// The data of a WebP's chunk.
pub(super) fn chunk_of<'a>(file: &'a [u8], name: &[u8; 4]) -> &'a [u8] {
    let mut rest = &file[12..];
    loop {
        let length = u32::from_le_bytes(*rest[4..].first_chunk().unwrap()) as usize;
        if rest.starts_with(name) {
            return &rest[8..8 + length];
        }
        rest = &rest[8 + length + length % 2..];
    }
}

/// The head of an extended WebP.
pub(super) fn extended(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let mut head = vec![flags, 0, 0, 0];
    head.extend(&(width - 1).to_le_bytes()[..3]);
    head.extend(&(height - 1).to_le_bytes()[..3]);
    head
}

/// A frame of an animated WebP, of a file that has one picture.
pub(super) fn animation_frame(file: &[u8], (left, top): (u32, u32), (width, height): (u32, u32)) -> Vec<u8> {
    let mut frame = Vec::new();
    for number in [left / 2, top / 2, width - 1, height - 1, 100] {
        frame.extend(&number.to_le_bytes()[..3]);
    }
    frame.push(0);
    frame.extend(&file[12..]);
    frame
}

/// A frame of a GIF: left, top, width, height, and the index of each pixel.
pub(super) struct GifFrame<'a>(pub(super) u16, pub(super) u16, pub(super) u16, pub(super) u16, pub(super) &'a [u8]);

/// A GIF whose colours are red, green, blue and yellow, and whose fifth colour is transparent.
pub(super) fn gif(width: u16, height: u16, frames: &[GifFrame<'_>]) -> Vec<u8> {
    let palette = [RED, GREEN, BLUE, YELLOW, [0; 3]].concat();
    let mut file = Vec::new();
    let mut encoder = gif::Encoder::new(&mut file, width, height, &palette).unwrap();
    for GifFrame(left, top, width, height, pixels) in frames {
        let mut frame = gif::Frame::from_indexed_pixels(*width, *height, pixels.to_vec(), Some(4));
        (frame.left, frame.top) = (*left, *top);
        encoder.write_frame(&frame).unwrap();
    }
    drop(encoder);
    file
}

/// The corners, as indexes of the GIF's colours.
pub(super) fn corner_indexes(width: u16, height: u16) -> Vec<u8> {
    let index = |x, y| u8::from(x >= width / 2) + 2 * u8::from(y >= height / 2);
    (0..height).flat_map(|y| (0..width).map(move |x| index(x, y))).collect()
}
