//! What libwebp does for us: pictures decoded and encoded.

#![allow(unsafe_code)]

use std::{ffi::c_int, ptr, slice};

use libwebp_sys::{
    VP8StatusCode, WEBP_CSP_MODE, WebPDecode, WebPDecoderConfig, WebPEncodeRGB, WebPFree, WebPGetFeatures,
};

use crate::{ImageError, Result, invalid};

/// What a picture says of itself.
pub(crate) struct Features {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) alpha: bool,
    pub(crate) lossless: bool,
}

impl Features {
    pub(crate) fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Of what [`decode`] makes of it.
    pub(crate) fn bytes_per_pixel(&self) -> usize {
        if self.alpha { 4 } else { 3 }
    }
}

/// Looks at the head of a file, or of the chunks of a frame.
pub(crate) fn features(data: &[u8]) -> Result<Features> {
    let mut config = config()?;
    // SAFETY: `data` is readable for its length.
    let status = unsafe { WebPGetFeatures(data.as_ptr(), data.len(), &mut config.input) };
    let (input, length) = (config.input, |side: c_int| u32::try_from(side).ok());
    match (status, length(input.width), length(input.height), input.format) {
        (VP8StatusCode::VP8_STATUS_OK, Some(width), Some(height), format @ (1 | 2)) => {
            Ok(Features { width, height, alpha: input.has_alpha != 0, lossless: format == 2 })
        }
        _ => Err(invalid("the WebP has no picture")),
    }
}

/// Decodes to `width` × `height` pixels of red, green, blue and, where there is transparency, alpha. Each is a mean of the pixels
/// that lie there: libwebp scales row by row.
pub(crate) fn decode(data: &[u8], features: &Features, width: u32, height: u32) -> Result<Vec<u8>> {
    let stride = width as usize * features.bytes_per_pixel();
    let mut pixels = vec![0; stride * height as usize];
    let mut config = config()?;
    config.options.use_scaling = c_int::from((width, height) != (features.width, features.height));
    config.options.scaled_width = side(width)?;
    config.options.scaled_height = side(height)?;
    config.output.colorspace = if features.alpha { WEBP_CSP_MODE::MODE_RGBA } else { WEBP_CSP_MODE::MODE_RGB };
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = pixels.as_mut_ptr();
    config.output.u.RGBA.stride = c_int::try_from(stride).map_err(|_| ImageError::TooLarge)?;
    config.output.u.RGBA.size = pixels.len();
    // SAFETY: `data` is readable for its length, and `pixels`, which outlives the call, is writable for `size` bytes. libwebp
    // checks that `stride` times the height fits in there, and with external memory it keeps and frees nothing.
    let status = unsafe { WebPDecode(data.as_ptr(), data.len(), &mut config) };
    match status {
        VP8StatusCode::VP8_STATUS_OK => Ok(pixels),
        // It also says that there is no memory when the head of the transparency is damaged.
        _ => Err(invalid("the WebP's picture breaks off or is damaged")),
    }
}

fn config() -> Result<WebPDecoderConfig> {
    WebPDecoderConfig::new().map_err(|()| ours("libwebp is of another version"))
}

/// Encodes pixels of red, green and blue as a lossy WebP file. It holds the picture and nothing else.
pub(crate) fn encode(rgb: &[u8], width: u32, height: u32, quality: f32) -> Result<Vec<u8>> {
    if rgb.len() != width as usize * height as usize * 3 {
        return Err(ours("the pixels do not fill the picture"));
    }
    let mut output = ptr::null_mut();
    let (columns, rows, stride) = (side(width)?, side(height)?, side(width * 3)?);
    // SAFETY: `rgb` is readable for `rows` rows of `stride` bytes, as was just checked.
    let length = unsafe { WebPEncodeRGB(rgb.as_ptr(), columns, rows, stride, quality, &mut output) };
    if length == 0 || output.is_null() {
        return Err(ours("libwebp does not encode"));
    }
    // SAFETY: on success `output` is an allocation of `length` bytes, which are ours to free, once.
    unsafe {
        let file = slice::from_raw_parts(output, length).to_vec();
        WebPFree(output.cast());
        Ok(file)
    }
}

/// Encodes pixels with transparency, which our pictures have not, but files of strangers.
#[cfg(test)]
pub(crate) fn encode_rgba(rgba: &[u8], width: u32, height: u32, lossless: bool) -> Vec<u8> {
    assert_eq!(rgba.len(), width as usize * height as usize * 4);
    let mut output = ptr::null_mut();
    let (columns, rows, stride) = (width as c_int, height as c_int, width as c_int * 4);
    // SAFETY: as in `encode`.
    unsafe {
        let length = if lossless {
            libwebp_sys::WebPEncodeLosslessRGBA(rgba.as_ptr(), columns, rows, stride, &mut output)
        } else {
            libwebp_sys::WebPEncodeRGBA(rgba.as_ptr(), columns, rows, stride, 95.0, &mut output)
        };
        let file = slice::from_raw_parts(output, length).to_vec();
        WebPFree(output.cast());
        file
    }
}

fn side(length: u32) -> Result<c_int> {
    c_int::try_from(length).map_err(|_| ImageError::TooLarge)
}

/// An error that no file should be able to cause.
fn ours(why: &'static str) -> ImageError {
    ImageError::Unreadable(std::io::Error::other(why))
}
