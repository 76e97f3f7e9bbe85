//! Bits of a scan, and the codes in them.

use crate::{ImageError, invalid};

/// Bits of the code that are looked up at once.
const FAST_BITS: u32 = 9;

/// A scan has fewer bits than its blocks need, or bits that are no code.
#[derive(Debug, thiserror::Error)]
#[error("a scan of the JPEG breaks off or is damaged")]
pub(super) struct Cut;

/// A Huffman code. Annexes C and F.2.2.3.
pub(super) struct Huffman {
    /// By the next [`FAST_BITS`] bits: length and symbol; 0 where the code is longer.
    fast: [u16; 1 << FAST_BITS],
    /// By length: the first code that is too large for it, moved left to 16 bits.
    limits: [u32; 17],
    /// By length: what to add to a code to get the place of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, ImageError> {
        let mut table =
            Self { fast: [0; 1 << FAST_BITS], limits: [0; 17], offsets: [0; 17], symbols: symbols.to_vec() };
        let (mut code, mut place) = (0u32, 0u32);
        for (length, count) in (1u32..).zip(counts) {
            let count = u32::from(*count);
            if code + count > 1 << length {
                return Err(invalid("the JPEG's codes are broken"));
            }
            table.offsets[length as usize] = place as i32 - code as i32;
            if length <= FAST_BITS {
                for index in 0..count {
                    let entry = (length as u16) << 8 | u16::from(symbols[(place + index) as usize]);
                    let first = ((code + index) << (FAST_BITS - length)) as usize;
                    table.fast[first..first + (1 << (FAST_BITS - length))].fill(entry);
                }
            }
            (code, place) = (code + count, place + count);
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }
}

/// The bits of one scan, up to the next marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, buffer: 0, count: 0 }
    }

    /// Where the bytes that were not read begin: at a marker, when the scan was read to its end.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xff, 0x00, ..]) => {
                    self.at += 2;
                    0xff
                }
                Some([0xff, ..] | []) | None => return,
                Some([byte, ..]) => {
                    self.at += 1;
                    *byte
                }
            };
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next 16 bits, with zeros behind the last.
    fn peek(&mut self) -> u32 {
        if self.count < 16 {
            self.fill();
        }
        let bits = if self.count >= 16 { self.buffer >> (self.count - 16) } else { self.buffer << (16 - self.count) };
        (bits & 0xffff) as u32
    }

    fn skip(&mut self, count: u32) -> Result<(), Cut> {
        self.count = self.count.checked_sub(count).ok_or(Cut)?;
        Ok(())
    }

    /// A number of at most 16 bits.
    pub(super) fn number(&mut self, bits: u32) -> Result<u32, Cut> {
        let number = self.peek() >> (16 - bits);
        self.skip(bits)?;
        Ok(number)
    }

    /// A number whose first bit tells its sign. F.2.2.1.
    pub(super) fn signed(&mut self, bits: u32) -> Result<i32, Cut> {
        if bits == 0 {
            return Ok(0);
        }
        let number = self.number(bits)? as i32;
        Ok(if number < 1 << (bits - 1) { number - (1 << bits) + 1 } else { number })
    }

    pub(super) fn symbol(&mut self, code: &Huffman) -> Result<u8, Cut> {
        let bits = self.peek();
        let entry = code.fast[(bits >> (16 - FAST_BITS)) as usize];
        if entry != 0 {
            self.skip(u32::from(entry >> 8))?;
            return Ok(entry as u8);
        }
        let length = (FAST_BITS + 1..=16).find(|length| bits < code.limits[*length as usize]).ok_or(Cut)?;
        self.skip(length)?;
        let place = (bits >> (16 - length)) as i32 + code.offsets[length as usize];
        code.symbols.get(usize::try_from(place).map_err(|_| Cut)?).copied().ok_or(Cut)
    }

    /// Drops what is left of the byte, and passes the restart marker of this number.
    pub(super) fn restart(&mut self, number: u32) -> Result<(), Cut> {
        (self.buffer, self.count) = (0, 0);
        while self.bytes.get(self.at..self.at + 2) == Some(&[0xff, 0xff]) {
            self.at += 1;
        }
        if self.bytes.get(self.at..self.at + 2) != Some(&[0xff, 0xd0 + (number % 8) as u8]) {
            return Err(Cut);
        }
        self.at += 2;
        Ok(())
    }
}
