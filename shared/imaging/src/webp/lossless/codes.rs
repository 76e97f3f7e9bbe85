//! Bits of a lossless WebP, and the codes in them.

use crate::{Result, invalid};

/// Bits of a code that are looked up at once.
const FAST_BITS: u32 = 8;
const LENGTH_CODES: usize = 19;
const LENGTH_ORDER: [usize; LENGTH_CODES] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// Literals of green, and prefixes of lengths, in one alphabet; the cache's indexes follow.
const LENGTHS_FROM: usize = 256;
const CACHE_FROM: usize = 256 + 24;
/// Short distances are to pixels nearby: to the left (negative: to the right) and up.
const NEARBY: [(i8, u8); 120] = [
    (0, 1),
    (1, 0),
    (1, 1),
    (-1, 1),
    (0, 2),
    (2, 0),
    (1, 2),
    (-1, 2),
    (2, 1),
    (-2, 1),
    (2, 2),
    (-2, 2),
    (0, 3),
    (3, 0),
    (1, 3),
    (-1, 3),
    (3, 1),
    (-3, 1),
    (2, 3),
    (-2, 3),
    (3, 2),
    (-3, 2),
    (0, 4),
    (4, 0),
    (1, 4),
    (-1, 4),
    (4, 1),
    (-4, 1),
    (3, 3),
    (-3, 3),
    (2, 4),
    (-2, 4),
    (4, 2),
    (-4, 2),
    (0, 5),
    (3, 4),
    (-3, 4),
    (4, 3),
    (-4, 3),
    (5, 0),
    (1, 5),
    (-1, 5),
    (5, 1),
    (-5, 1),
    (2, 5),
    (-2, 5),
    (5, 2),
    (-5, 2),
    (4, 4),
    (-4, 4),
    (3, 5),
    (-3, 5),
    (5, 3),
    (-5, 3),
    (0, 6),
    (6, 0),
    (1, 6),
    (-1, 6),
    (6, 1),
    (-6, 1),
    (2, 6),
    (-2, 6),
    (6, 2),
    (-6, 2),
    (4, 5),
    (-4, 5),
    (5, 4),
    (-5, 4),
    (3, 6),
    (-3, 6),
    (6, 3),
    (-6, 3),
    (0, 7),
    (7, 0),
    (1, 7),
    (-1, 7),
    (5, 5),
    (-5, 5),
    (7, 1),
    (-7, 1),
    (4, 6),
    (-4, 6),
    (6, 4),
    (-6, 4),
    (2, 7),
    (-2, 7),
    (7, 2),
    (-7, 2),
    (3, 7),
    (-3, 7),
    (7, 3),
    (-7, 3),
    (5, 6),
    (-5, 6),
    (6, 5),
    (-6, 5),
    (8, 0),
    (4, 7),
    (-4, 7),
    (7, 4),
    (-7, 4),
    (8, 1),
    (8, 2),
    (6, 6),
    (-6, 6),
    (8, 3),
    (5, 7),
    (-5, 7),
    (7, 5),
    (-7, 5),
    (8, 4),
    (6, 7),
    (-6, 7),
    (7, 6),
    (-7, 6),
    (8, 5),
    (7, 7),
    (-7, 7),
    (8, 6),
    (8, 7),
];

/// The picture has fewer bits than its pixels need, or bits that are no code.
#[derive(Debug, thiserror::Error)]
#[error("the WebP's picture breaks off or is damaged")]
pub(super) struct Cut;

pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, buffer: 0, count: 0 }
    }

    /// The next 16 bits at least, with zeros behind the last.
    fn peek(&mut self) -> u64 {
        if self.count < 16 {
            while let Some(byte) = self.bytes.get(self.at).filter(|_| self.count <= 56) {
                self.buffer |= u64::from(*byte) << self.count;
                self.at += 1;
                self.count += 8;
            }
        }
        self.buffer
    }

    fn skip(&mut self, count: u32) -> std::result::Result<(), Cut> {
        self.count = self.count.checked_sub(count).ok_or(Cut)?;
        self.buffer >>= count;
        Ok(())
    }

    /// A number of at most 16 bits.
    pub(super) fn number(&mut self, bits: u32) -> std::result::Result<u32, Cut> {
        let number = self.peek() & ((1 << bits) - 1);
        self.skip(bits)?;
        Ok(number as u32)
    }

    /// A length or a distance, whose prefix says how many bits follow.
    fn prefixed(&mut self, prefix: usize) -> std::result::Result<usize, Cut> {
        if prefix < 4 {
            return Ok(prefix + 1);
        }
        let extra = (prefix as u32 - 2) / 2;
        let (low, high) = (self.number(extra.min(16))?, self.number(extra.saturating_sub(16))?);
        Ok(((2 + prefix % 2) << extra) + (high as usize * 65_536 + low as usize) + 1)
    }
}

/// A prefix code, in as little memory as its symbols need.
enum Code {
    /// One symbol, for which no bit is spent.
    Single(u16),
    Tree {
        /// By the next bits: length and symbol; 0 where the code is longer than the table.
        fast: Vec<u16>,
        /// How many codes each length has.
        counts: [u16; 16],
        /// By length, then by value.
        symbols: Vec<u16>,
    },
}

impl Code {
    fn new(lengths: &[u8]) -> Result<Self> {
        let broken = || invalid("a code of the WebP is broken");
        let mut counts = [0u16; 16];
        lengths.iter().for_each(|length| counts[usize::from(*length)] += 1);
        counts[0] = 0;
        let mut symbols: Vec<u16> =
            (0..lengths.len() as u16).filter(|symbol| lengths[usize::from(*symbol)] > 0).collect();
        symbols.sort_by_key(|symbol| lengths[usize::from(*symbol)]);
        if let [symbol] = symbols.as_slice() {
            return Ok(Self::Single(*symbol));
        }
        // Every sequence of bits must be a code.
        let used: u32 = (1..16).map(|length| u32::from(counts[length]) << (15 - length)).sum();
        if used != 1 << 15 {
            return Err(broken());
        }
        let longest = (1..16u32).rev().find(|length| counts[*length as usize] > 0).unwrap_or(1);
        let width = longest.min(FAST_BITS);
        let mut fast = vec![0u16; 1 << width];
        let mut code = 0u32;
        let mut last = 0;
        for symbol in &symbols {
            let length = u32::from(lengths[usize::from(*symbol)]);
            code <<= length - last;
            last = length;
            if length > width {
                break;
            }
            // The first bit of a code is the lowest.
            let first = (code.reverse_bits() >> (32 - length)) as usize;
            for place in (first..1 << width).step_by(1 << length) {
                fast[place] = (length as u16) << 12 | *symbol;
            }
            code += 1;
        }
        Ok(Self::Tree { fast, counts, symbols })
    }

    /// Reads the lengths of a code over `alphabet` symbols. Section 6.2.1.
    fn read(bits: &mut Bits<'_>, alphabet: usize) -> Result<Self> {
        let broken = || invalid("a code of the WebP is broken");
        let mut lengths = vec![0u8; alphabet];
        if bits.number(1)? == 1 {
            let two = bits.number(1)? == 1;
            let width = if bits.number(1)? == 1 { 8 } else { 1 };
            *lengths.get_mut(bits.number(width)? as usize).ok_or_else(broken)? = 1;
            if two {
                *lengths.get_mut(bits.number(8)? as usize).ok_or_else(broken)? = 1;
            }
            return Self::new(&lengths);
        }
        let mut length_lengths = [0; LENGTH_CODES];
        let count = bits.number(4)? as usize + 4;
        for place in &LENGTH_ORDER[..count] {
            length_lengths[*place] = bits.number(3)? as u8;
        }
        let code = Self::new(&length_lengths)?;
        let mut left = alphabet;
        if bits.number(1)? == 1 {
            let width = 2 + 2 * bits.number(3)?;
            left = 2 + bits.number(width)? as usize;
            if left > alphabet {
                return Err(broken());
            }
        }
        let (mut symbol, mut previous) = (0, 8);
        while symbol < alphabet && left > 0 {
            left -= 1;
            let (length, times) = match code.next(bits)? {
                16 => (previous, 3 + bits.number(2)?),
                17 => (0, 3 + bits.number(3)?),
                18 => (0, 11 + bits.number(7)?),
                length => (length as u8, 1),
            };
            if length > 0 {
                previous = length;
            }
            lengths.get_mut(symbol..symbol + times as usize).ok_or_else(broken)?.fill(length);
            symbol += times as usize;
        }
        Self::new(&lengths)
    }

    fn next(&self, bits: &mut Bits<'_>) -> std::result::Result<u16, Cut> {
        let Self::Tree { fast, counts, symbols } = self else {
            let Self::Single(symbol) = self else { return Err(Cut) };
            return Ok(*symbol);
        };
        let ahead = bits.peek();
        let entry = fast[ahead as usize & (fast.len() - 1)];
        if entry != 0 {
            bits.skip(u32::from(entry >> 12))?;
            return Ok(entry & 0xfff);
        }
        let (mut code, mut first, mut place) = (0u32, 0u32, 0u32);
        for length in 1..16u32 {
            code |= (ahead >> (length - 1) & 1) as u32;
            let count = u32::from(counts[length as usize]);
            if code < first + count {
                bits.skip(length)?;
                return symbols.get((place + code - first) as usize).copied().ok_or(Cut);
            }
            (place, first, code) = (place + count, (first + count) << 1, code << 1);
        }
        Err(Cut)
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Single(_) => 0,
            Self::Tree { fast, symbols, .. } => (fast.capacity() + symbols.capacity()) * 2,
        }
    }
}

/// The five codes that are in force for a part of the picture.
pub(super) struct Codes {
    green: Code,
    red: Code,
    blue: Code,
    alpha: Code,
    distance: Code,
}

/// What comes next.
pub(super) enum Symbol {
    Pixel(u32),
    Cached(usize),
    Copy { length: usize, plane_code: usize },
}

impl Codes {
    pub(super) fn read(bits: &mut Bits<'_>, cache_bits: u32) -> Result<Self> {
        let cached = if cache_bits == 0 { 0 } else { 1 << cache_bits };
        Ok(Self {
            green: Code::read(bits, CACHE_FROM + cached)?,
            red: Code::read(bits, 256)?,
            blue: Code::read(bits, 256)?,
            alpha: Code::read(bits, 256)?,
            distance: Code::read(bits, 40)?,
        })
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let codes = [&self.green, &self.red, &self.blue, &self.alpha, &self.distance];
        size_of::<Self>() + codes.into_iter().map(Code::bytes).sum::<usize>()
    }

    pub(super) fn next(&self, bits: &mut Bits<'_>) -> std::result::Result<Symbol, Cut> {
        let green = usize::from(self.green.next(bits)?);
        if green < LENGTHS_FROM {
            let (red, blue, alpha) = (self.red.next(bits)?, self.blue.next(bits)?, self.alpha.next(bits)?);
            return Ok(Symbol::Pixel(u32::from_be_bytes([alpha as u8, red as u8, green as u8, blue as u8])));
        }
        if green >= CACHE_FROM {
            return Ok(Symbol::Cached(green - CACHE_FROM));
        }
        let length = bits.prefixed(green - LENGTHS_FROM)?;
        let prefix = self.distance.next(bits)?;
        Ok(Symbol::Copy { length, plane_code: bits.prefixed(prefix.into())? })
    }
}

/// How many pixels back a distance reaches in a picture of so many columns.
pub(super) fn distance(plane_code: usize, columns: usize) -> usize {
    match NEARBY.get(plane_code - 1) {
        Some((left, up)) => (columns * usize::from(*up)).saturating_add_signed(isize::from(*left)).max(1),
        None => plane_code - NEARBY.len(),
    }
}
