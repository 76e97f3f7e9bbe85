//! From a canvas to the file that is served: resized, turned, in sRGB, encoded.

use std::{fs, path::Path};

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images::Image};
use image::{DynamicImage, RgbImage};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

use crate::{
    ImageError, Orientation, Picture, Rendered, Result, Wish,
    canvas::{Canvas, Canvases},
    webp::libwebp,
};

/// Longest side of what the blurhash is made of. Its few waves need no more, but with less the hash's own arithmetic is off: it
/// takes the left edge of a pixel for its middle.
const BLURHASH_SIDE: u32 = 64;
/// A profile that is larger is not one of a camera or a screen.
const MAX_PROFILE_BYTES: usize = 1 << 20;

/// Makes the wished pictures of the canvases.
pub(crate) fn finish(
    canvases: Canvases,
    profile: Option<&[u8]>,
    orientation: Orientation,
    wishes: &[Wish],
    dir: &Path,
) -> Result<Rendered> {
    let mut rendered = Rendered { files: Vec::with_capacity(wishes.len()), blurhash: String::new() };
    for (index, (canvas, wish)) in canvases.finish().zip(wishes).enumerate() {
        let (width, height, rgb) = resized(canvas)?;
        let (width, height, mut rgb) = turned(orientation, width, height, rgb)?;
        if let Some(profile) = profile {
            rgb = in_srgb(profile, &rgb).unwrap_or(rgb);
        }
        let file = libwebp::encode(&rgb, width, height, wish.quality)?;
        let path = dir.join(format!("{index}.webp"));
        fs::write(&path, &file).map_err(ImageError::Unreadable)?;
        if index == 0 {
            rendered.blurhash = blurhash(width, height, rgb)?;
        }
        rendered.files.push(Picture { path, width, height, bytes: file.len() as u64 });
    }
    Ok(rendered)
}

fn resized(canvas: Canvas) -> Result<(u32, u32, Vec<u8>)> {
    let ([left, top, shown_width, shown_height], (width, height)) = (canvas.shown, canvas.result);
    let (canvas_width, canvas_height, pixels) = canvas.into_pixels();
    let pixels =
        resize((canvas_width, canvas_height), pixels, [left, top, shown_width, shown_height], (width, height))?;
    Ok((width, height, pixels))
}

fn turned(orientation: Orientation, width: u32, height: u32, rgb: Vec<u8>) -> Result<(u32, u32, Vec<u8>)> {
    let stored = RgbImage::from_raw(width, height, rgb);
    let mut picture = DynamicImage::from(stored.ok_or_else(|| ours(std::io::Error::other("pixels are missing")))?);
    picture.apply_orientation(orientation);
    Ok((picture.width(), picture.height(), picture.into_rgb8().into_raw()))
}

fn resize(size: (u32, u32), pixels: Vec<u8>, shown: [f64; 4], result: (u32, u32)) -> Result<Vec<u8>> {
    let [left, top, width, height] = shown;
    let options =
        ResizeOptions::new().crop(left, top, width, height).resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    let source = Image::from_vec_u8(size.0, size.1, pixels, PixelType::U8x3).map_err(ours)?;
    let mut target = Image::new(result.0, result.1, PixelType::U8x3);
    Resizer::new().resize(&source, &mut target, &options).map_err(ours)?;
    Ok(target.into_vec())
}

/// The colours in sRGB. `None` when the profile is broken or of other colours than red, green and blue: what was decoded is taken
/// for sRGB then, as browsers do.
pub(crate) fn in_srgb(profile: &[u8], rgb: &[u8]) -> Option<Vec<u8>> {
    if profile.len() > MAX_PROFILE_BYTES {
        return None;
    }
    let profile = ColorProfile::new_from_slice(profile).ok()?;
    if profile.color_space != DataColorSpace::Rgb {
        return None;
    }
    let srgb = ColorProfile::new_srgb();
    let transform = profile.create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, TransformOptions::default()).ok()?;
    let mut converted = vec![0; rgb.len()];
    transform.transform(rgb, &mut converted).ok()?;
    Some(converted)
}

fn blurhash(width: u32, height: u32, rgb: Vec<u8>) -> Result<String> {
    let scale = f64::from(BLURHASH_SIDE) / f64::from(width.max(height));
    let side = |length: u32| (f64::from(length) * scale).round().max(1.0) as u32;
    let (small_width, small_height) = (side(width), side(height));
    let whole = [0.0, 0.0, f64::from(width), f64::from(height)];
    let small = resize((width, height), rgb, whole, (small_width, small_height))?;
    let rgba: Vec<u8> = small.chunks_exact(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect();
    let (across, down) = if width > height { (4, 3) } else { (3, 4) };
    blurhash::encode(across, down, small_width, small_height, &rgba).map_err(ours)
}

/// An error that no file should be able to cause.
fn ours(error: impl std::error::Error + Send + Sync + 'static) -> ImageError {
    ImageError::Unreadable(std::io::Error::other(error))
}
