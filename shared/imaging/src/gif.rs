//! GIF, row by row. Of an animated one, the first frame.

use gif::{ColorOutput, DecodeOptions, MemoryLimit};

use crate::{ImageError, Orientation, Outline, Result, canvas::Canvases, invalid};

/// Walks through the blocks to the trailer, counting the frames.
pub(crate) fn outline(bytes: &[u8]) -> Result<Outline> {
    walk(bytes).ok_or_else(|| invalid("the GIF breaks off"))?
}

fn walk(bytes: &[u8]) -> Option<Result<Outline>> {
    let [w0, w1, h0, h1, flags, _, _] = *bytes.get(6..13)?.first_chunk()?;
    let (width, height) = (u16::from_le_bytes([w0, w1]).into(), u16::from_le_bytes([h0, h1]).into());
    let mut at = 13 + palette_bytes(flags);
    let mut frames = 0;
    loop {
        match bytes.get(at)? {
            // An extension: a label, then blocks.
            0x21 => at += 2,
            // A frame: its place, its palette, the size of its codes, then blocks.
            0x2c => {
                frames += 1;
                at += 10 + palette_bytes(*bytes.get(at + 9)?) + 1;
            }
            0x3b if frames == 0 => return Some(Err(invalid("the GIF has no frame"))),
            0x3b => {
                let orientation = Orientation::NoTransforms;
                return Some(Ok(Outline { width, height, animated: frames > 1, orientation, held: 0 }));
            }
            _ => return Some(Err(invalid("the GIF has a block of no known kind"))),
        }
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
    }
}

fn palette_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Decodes the first frame. What it leaves of the screen is white. One that juts out of the screen, whose size is all that was
/// checked, is refused.
pub(crate) fn decode(bytes: &[u8], canvases: &mut Canvases) -> Result<Option<Vec<u8>>> {
    let refusal = |error: gif::DecodingError| ImageError::Invalid(error.into());
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.check_frame_consistency(true);
    // The limit is for buffers of whole frames, of which we make none.
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(bytes).map_err(refusal)?;
    let (screen_width, screen_height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let frame = decoder.next_frame_info().map_err(refusal)?.ok_or_else(|| invalid("the GIF has no frame"))?;
    let (left, top, interlaced, transparent) =
        (u32::from(frame.left), u32::from(frame.top), frame.interlaced, frame.transparent);
    let (width, height) = (usize::from(frame.width), u32::from(frame.height));
    let palette = decoder.palette().map_err(refusal)?;
    let mut colours = [[0; 3]; 256];
    for (colour, entry) in colours.iter_mut().zip(palette.chunks_exact(3)) {
        colour.copy_from_slice(entry);
    }
    if let Some(index) = transparent {
        colours[usize::from(index)] = [255; 3];
    }

    canvases.begin((screen_width, screen_height), (1.0, 1.0));
    let mut row = vec![0; width];
    let mut rgb = Vec::with_capacity(width * 3);
    for y in rows(height, interlaced) {
        if width > 0 && !decoder.fill_buffer(&mut row).map_err(refusal)? {
            return Err(invalid("the GIF has too few pixels"));
        }
        rgb.clear();
        rgb.extend(row.iter().flat_map(|index| colours[usize::from(*index)]));
        canvases.row(left, top + y, 1, &rgb);
    }
    Ok(None)
}

/// The rows in the order in which they come.
fn rows(height: u32, interlaced: bool) -> impl Iterator<Item = u32> {
    let passes: &[(u32, usize)] = if interlaced { &[(0, 8), (4, 8), (2, 4), (1, 2)] } else { &[(0, 1)] };
    passes.iter().flat_map(move |(first, step)| (*first..height).step_by(*step))
}
