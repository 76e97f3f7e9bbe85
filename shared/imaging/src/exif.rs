//! The one thing that we want of EXIF: how the camera was held.

/// How a picture is turned and mirrored for showing, as EXIF counts it, 1 to 8. 1 is as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation(u8);

impl Orientation {
    /// As stored.
    pub const UPRIGHT: Self = Self(1);

    /// Reads it from a TIFF structure, which may begin with `Exif\0\0`. Whatever is broken in there does no harm: the picture
    /// is shown as stored.
    pub(crate) fn read(exif: &[u8]) -> Self {
        Self::find(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif)).unwrap_or(Self::UPRIGHT)
    }

    fn find(tiff: &[u8]) -> Option<Self> {
        const TAG: u32 = 0x0112;
        let big = match tiff.get(..4)? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        let number = |at: usize, length: usize| {
            let bytes = tiff.get(at..at.checked_add(length)?)?;
            let digit = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
            Some(if big { bytes.iter().fold(0, digit) } else { bytes.iter().rev().fold(0, digit) })
        };
        let directory = number(4, 4)? as usize;
        let entries = number(directory, 2)? as usize;
        let entry = (0..entries).map(|index| directory + 2 + index * 12).find(|at| number(*at, 2) == Some(TAG))?;
        let value = number(entry + 8, 2)?;
        (1..=8).contains(&value).then_some(Self(value as u8))
    }

    /// Whether rows become columns.
    pub(crate) fn swaps_sides(self) -> bool {
        self.0 > 4
    }

    /// Turns pixels of three bytes each.
    pub(crate) fn apply(self, width: usize, height: usize, rgb: Vec<u8>) -> Vec<u8> {
        if self == Self::UPRIGHT {
            return rgb;
        }
        let (columns, rows) = if self.swaps_sides() { (height, width) } else { (width, height) };
        let mut turned = Vec::with_capacity(rgb.len());
        for y in 0..rows {
            for x in 0..columns {
                // Where the pixel that is shown at x, y is stored.
                let (from_x, from_y) = match self.0 {
                    2 => (width - 1 - x, y),
                    3 => (width - 1 - x, height - 1 - y),
                    4 => (x, height - 1 - y),
                    5 => (y, x),
                    6 => (y, height - 1 - x),
                    7 => (width - 1 - y, height - 1 - x),
                    8 => (width - 1 - y, x),
                    _ => (x, y),
                };
                let at = (from_y * width + from_x) * 3;
                turned.extend_from_slice(&rgb[at..at + 3]);
            }
        }
        turned
    }
}
