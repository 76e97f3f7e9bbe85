//! The two things that libwebp does for us, and all the unsafe code there is: lossy pictures, decoded and encoded. What is
//! lossless, whose code tables have been its weak spot (CVE-2023-4863), it never gets to see.

#![allow(unsafe_code)]

use std::{ffi::c_int, ptr, slice};

use libwebp_sys::{VP8StatusCode, WEBP_CSP_MODE, WebPDecode, WebPDecoderConfig, WebPEncodeRGB, WebPFree};

use crate::{ImageError, Result, invalid};

/// Decodes a VP8 bitstream to `width` × `height` pixels of red, green and blue. Each is a mean of the pixels that lie there, and
/// memory is that of the result: libwebp scales row by row.
pub(crate) fn decode_lossy(data: &[u8], width: u32, height: u32) -> Result<Vec<u8>> {
    let stride = width as usize * 3;
    let mut rgb = vec![0; stride * height as usize];
    let mut config = WebPDecoderConfig::new().map_err(|()| ours("libwebp is of another version"))?;
    config.options.use_scaling = 1;
    config.options.scaled_width = side(width)?;
    config.options.scaled_height = side(height)?;
    config.output.colorspace = WEBP_CSP_MODE::MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = rgb.as_mut_ptr();
    config.output.u.RGBA.stride = side(width * 3)?;
    config.output.u.RGBA.size = rgb.len();
    // SAFETY: `data` is readable for its length, and `rgb`, which outlives the call, is writable for `size` bytes. libwebp checks
    // that `stride` times the height fits in there, and with external memory it keeps and frees nothing.
    let status = unsafe { WebPDecode(data.as_ptr(), data.len(), &mut config) };
    match status {
        VP8StatusCode::VP8_STATUS_OK => Ok(rgb),
        VP8StatusCode::VP8_STATUS_OUT_OF_MEMORY => Err(ours("libwebp found no memory")),
        _ => Err(invalid("the WebP's picture breaks off or is damaged")),
    }
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
