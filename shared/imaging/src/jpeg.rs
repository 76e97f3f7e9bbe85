//! JPEG by libjpeg, which makes a picture smaller while it decodes. What it forgives and paints grey is refused here: a file that
//! breaks off or is damaged.

#![allow(unsafe_code)]

use std::{
    ffi::c_int,
    panic::{self, AssertUnwindSafe},
    ptr,
};

use mozjpeg::{ColorSpace, Decompress};
use mozjpeg_sys as sys;

use crate::{ImageError, Orientation, Outline, Result, canvas::Canvases, invalid, orientation};

/// Most scans. Encoders make about ten; each costs a walk over all blocks, however few bytes it has.
const MAX_SCANS: u32 = 100;

mod marker {
    pub(super) const PROGRESSIVE: u8 = 0xc2;
    pub(super) const HUFFMAN: u8 = 0xc4;
    pub(super) const EXTENSION: u8 = 0xc8;
    pub(super) const ARITHMETIC: u8 = 0xcc;
    pub(super) const END: u8 = 0xd9;
    pub(super) const SCAN: u8 = 0xda;
    pub(super) const EXIF: u8 = 0xe1;
    pub(super) const PROFILE: u8 = 0xe2;
    pub(super) const ADOBE: u8 = 0xee;
}

/// A segment between marker and marker.
struct Segment<'a> {
    marker: u8,
    data: &'a [u8],
}

/// A place in the file.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
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

/// What the segments say beside the picture.
struct Walk<'a> {
    outline: Outline,
    /// Adobe's ink is the other way round: what it leaves of the paper's white.
    adobe: bool,
    /// The parts of the colour profile, with their numbers.
    profile: Vec<(u8, &'a [u8])>,
}

/// Walks through the segments to the end of the picture.
fn walk(bytes: &[u8]) -> Result<Walk<'_>> {
    let mut reader = Reader { bytes, at: 2 };
    let (mut frame, mut held, mut scans, mut orient) = (None, None, 0, None);
    let (mut adobe, mut profile) = (false, Vec::new());
    while let Some(Segment { marker, data }) = reader.segment()? {
        match (marker, data) {
            (marker, [_, h0, h1, w0, w1, _, components @ ..]) if begins_frame(marker) && frame.is_none() => {
                let side = |high: &u8, low: &u8| u32::from(u16::from_be_bytes([*high, *low]));
                frame = Some((marker, side(w0, w1), side(h0, h1), components));
            }
            (marker::SCAN, [count, ..]) => {
                scans += 1;
                let (kind, width, height, components) =
                    frame.ok_or_else(|| invalid("the JPEG has a scan before its frame"))?;
                // When the first scan has less than everything, rows are ready only after the last one.
                let whole = kind != marker::PROGRESSIVE && usize::from(*count) * 3 == components.len();
                held.get_or_insert(if whole { 0 } else { coefficients(width, height, components) });
            }
            (marker::EXIF, [b'E', b'x', b'i', b'f', 0, 0, exif @ ..]) if orient.is_none() => {
                orient = Some(orientation(exif));
            }
            (marker::PROFILE, data) => {
                if let Some([number, _, part @ ..]) = data.strip_prefix(b"ICC_PROFILE\0") {
                    profile.push((*number, part));
                }
            }
            (marker::ADOBE, [b'A', b'd', b'o', b'b', b'e', ..]) => adobe = true,
            _ => {}
        }
    }
    let (Some((_, width, height, _)), Some(held), 1..=MAX_SCANS) = (frame, held, scans) else {
        return Err(invalid("the JPEG has no picture, or too many scans"));
    };
    let orientation = orient.unwrap_or(Orientation::NoTransforms);
    Ok(Walk { outline: Outline { width, height, animated: false, orientation, held }, adobe, profile })
}

/// The bytes of all coefficients, of components that say three bytes each of themselves.
fn coefficients(width: u32, height: u32, components: &[u8]) -> u64 {
    let factors = || components.chunks_exact(3).map(|entry| (u32::from(entry[1] >> 4), u32::from(entry[1] & 15)));
    let across = factors().map(|(across, _)| across).max().unwrap_or(1).max(1);
    let down = factors().map(|(_, down)| down).max().unwrap_or(1).max(1);
    let blocks: u32 = factors().map(|(across, down)| across * down).sum();
    u64::from(width.div_ceil(8 * across)) * u64::from(height.div_ceil(8 * down)) * u64::from(blocks) * 128
}

pub(crate) fn outline(bytes: &[u8]) -> Result<Outline> {
    Ok(walk(bytes)?.outline)
}

/// Decodes it, and answers with its colour profile.
pub(crate) fn decode(bytes: &[u8], canvases: &mut Canvases) -> Result<Option<Vec<u8>>> {
    let Walk { adobe, mut profile, .. } = walk(bytes)?;
    panic::catch_unwind(AssertUnwindSafe(|| rows(bytes, adobe, canvases))).unwrap_or_else(|thrown| {
        // What else was thrown is an error in our code.
        let refusal = thrown.downcast::<Refusal>().unwrap_or_else(|other| panic::resume_unwind(other));
        Err(ImageError::Invalid((*refusal).into()))
    })?;
    profile.sort_by_key(|(number, _)| *number);
    let profile: Vec<u8> = profile.into_iter().flat_map(|(_, part)| part).copied().collect();
    Ok(Some(profile).filter(|profile| !profile.is_empty()))
}

fn rows(bytes: &[u8], adobe: bool, canvases: &mut Canvases) -> Result<()> {
    let refusal = |error: std::io::Error| ImageError::Invalid(error.into());
    let mut picture = Decompress::builder().with_err(strict()).from_mem(bytes).map_err(refusal)?;
    let eighths = 8u32.div_ceil(canvases.shrink()) as u8;
    picture.scale(eighths);
    let ink = matches!(picture.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK);
    let colours = if ink { ColorSpace::JCS_CMYK } else { ColorSpace::JCS_RGB };
    let mut picture = picture.to_colorspace(colours).map_err(refusal)?;

    let scale = f64::from(eighths) / 8.0;
    let (width, height) = (picture.width(), picture.height() as u32);
    canvases.begin((width as u32, height), (scale, scale));
    let mut row = vec![0; width * if ink { 4 } else { 3 }];
    let mut rgb = Vec::new();
    for y in 0..height {
        picture.read_scanlines_into(&mut row).map_err(refusal)?;
        if ink {
            let left = |value: u8| u16::from(if adobe { value } else { 255 - value });
            let shine = |ink: u8, key: u8| ((left(ink) * left(key) + 127) / 255) as u8;
            rgb.clear();
            rgb.extend(row.chunks_exact(4).flat_map(|dot| [dot[0], dot[1], dot[2]].map(|ink| shine(ink, dot[3]))));
            canvases.row(0, y, 1, &rgb);
        } else {
            canvases.row(0, y, 1, &row);
        }
    }
    // Reads to the end, so that a file that breaks off there is refused, too.
    picture.finish().map_err(refusal)
}

/// What libjpeg throws through its own code, in which there is no other way out.
#[derive(Debug, thiserror::Error)]
#[error("libjpeg refuses it, for the reason {0} of jerror.h")]
struct Refusal(c_int);

/// How libjpeg is to take errors, and that most of its warnings are errors.
fn strict() -> sys::jpeg_error_mgr {
    sys::jpeg_error_mgr {
        error_exit: Some(refuse),
        emit_message: Some(weigh),
        output_message: Some(pass),
        format_message: None,
        reset_error_mgr: Some(pass),
        msg_code: 0,
        msg_parm: sys::msg_parm_union::default(),
        trace_level: 0,
        num_warnings: 0,
        jpeg_message_table: ptr::null(),
        last_jpeg_message: 0,
        addon_message_table: ptr::null(),
        first_addon_message: 0,
        last_addon_message: 0,
    }
}

extern "C-unwind" fn pass(_: &mut sys::jpeg_common_struct) {}

extern "C-unwind" fn refuse(picture: &mut sys::jpeg_common_struct) {
    panic::resume_unwind(Box::new(Refusal(reason(picture))))
}

extern "C-unwind" fn weigh(picture: &mut sys::jpeg_common_struct, level: c_int) {
    // Below zero are the warnings. These are oddities of the writer and take nothing from the picture.
    let harmless = [sys::JWRN_EXTRANEOUS_DATA, sys::JWRN_JFIF_MAJOR, sys::JWRN_ADOBE_XFORM, sys::JWRN_NOT_SEQUENTIAL];
    if level < 0 && !harmless.contains(&reason(picture)) {
        refuse(picture);
    }
}

fn reason(picture: &sys::jpeg_common_struct) -> c_int {
    // SAFETY: libjpeg calls with the picture whose `err` is what `strict` made, which lives as long as the picture.
    unsafe { (*picture.err).msg_code }
}
