//! PNG, row by row. Of an animated one, the picture that other programs see: the frame in IDAT.

use std::io::Cursor;

use png::{ColorType, Decoder, DecodingError, Limits, Transformations};

use crate::{ImageError, Orientation, Outline, Result, canvas::Canvases, invalid, orientation};

/// What the decoder may take for itself: rows, and a colour profile that is inflated.
const MAX_DECODER_BYTES: usize = 8 << 20;

/// Walks through the chunks to the last one.
pub(crate) fn outline(bytes: &[u8]) -> Result<Outline> {
    let mut outline = Outline { width: 0, height: 0, animated: false, orientation: Orientation::NoTransforms, held: 0 };
    let mut rest = &bytes[8..];
    loop {
        let Some((head, behind)) = rest.split_first_chunk::<8>() else { return Err(invalid("the PNG breaks off")) };
        let [a, b, c, d, kind @ ..] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let (Some(data), Some(next)) = (behind.get(..length), behind.get(length.saturating_add(4)..)) else {
            return Err(invalid("the PNG breaks off"));
        };
        match (&kind, data) {
            (b"IHDR", [w0, w1, w2, w3, h0, h1, h2, h3, ..]) if outline.width == 0 => {
                outline.width = u32::from_be_bytes([*w0, *w1, *w2, *w3]);
                outline.height = u32::from_be_bytes([*h0, *h1, *h2, *h3]);
            }
            (b"acTL", [0, 0, 0, 0 | 1, ..]) => {}
            (b"acTL", _) => outline.animated = true,
            (b"eXIf", exif) => outline.orientation = orientation(exif),
            (b"IEND", _) => return Ok(outline),
            _ => {}
        }
        rest = next;
    }
}

/// Decodes it, and answers with its colour profile.
pub(crate) fn decode(bytes: &[u8], canvases: &mut Canvases) -> Result<Option<Vec<u8>>> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: MAX_DECODER_BYTES });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(refusal)?;
    let (width, height) = reader.info().size();
    let (colour, _) = reader.output_color_type();
    canvases.begin((width, height), (1.0, 1.0));

    let mut places = places(width, height, reader.info().interlaced);
    let mut rgb = Vec::new();
    while let Some(row) = reader.next_interlaced_row().map_err(refusal)? {
        rgb.clear();
        let data = row.data();
        match colour {
            ColorType::Grayscale => rgb.extend(data.iter().flat_map(|grey| [*grey; 3])),
            ColorType::GrayscaleAlpha => {
                rgb.extend(data.chunks_exact(2).flat_map(|pixel| [on_white(pixel[0], pixel[1]); 3]));
            }
            ColorType::Rgb => rgb.extend_from_slice(data),
            ColorType::Rgba => rgb.extend(
                data.chunks_exact(4)
                    .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]].map(|value| on_white(value, pixel[3]))),
            ),
            ColorType::Indexed => return Err(invalid("the PNG kept its palette")),
        }
        if let Some((x, y, step)) = places.next() {
            canvases.row(x, y, step, &rgb);
        }
    }
    // Reads what follows the pixels, so that a file that is damaged there is refused, too.
    reader.finish().map_err(refusal)?;
    Ok(reader.info().icc_profile.as_ref().map(|profile| profile.to_vec()))
}

/// Where the rows belong, in the order in which they come: the first column, the row, the step from pixel to pixel.
fn places(width: u32, height: u32, interlaced: bool) -> impl Iterator<Item = (u32, u32, u32)> {
    /// First column, first row, step between columns, step between rows.
    const PASSES: [[u32; 4]; 8] = [
        [0, 0, 8, 8],
        [4, 0, 8, 8],
        [0, 4, 4, 8],
        [2, 0, 4, 4],
        [0, 2, 2, 4],
        [1, 0, 2, 2],
        [0, 1, 1, 2],
        // A picture that is not interlaced has one pass.
        [0, 0, 1, 1],
    ];
    let passes = if interlaced { &PASSES[..7] } else { &PASSES[7..] };
    let passes = passes.iter().filter(move |[x, ..]| *x < width);
    passes.flat_map(move |[x, y, columns, rows]| (*y..height).step_by(*rows as usize).map(|y| (*x, y, *columns)))
}

fn refusal(error: DecodingError) -> ImageError {
    match error {
        DecodingError::LimitsExceeded => ImageError::TooLarge,
        error => ImageError::Invalid(error.into()),
    }
}

/// What is seen of a colour that lies before white.
pub(crate) fn on_white(value: u8, alpha: u8) -> u8 {
    let alpha = u16::from(alpha);
    ((u16::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}
