//! A frame: its colours, its scans, and its rows as they become ready.

use super::{
    Tables,
    entropy::{Bits, Cut, Huffman},
    inverse::Inverse,
};
use crate::{Result, canvas::Canvases, invalid};

/// Where the coefficients of a block belong, in the order in which they come.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];
/// Not among the coefficients that are kept.
const DROPPED: u8 = 255;
/// Most bytes of the coefficients of a picture whose scans have to be kept. At 1/2, 50 million pixels of three colours take 94
/// million. What takes more at the wished size (a panorama of which the middle is wished) is decoded smaller.
const MAX_KEPT_BYTES: usize = 100 << 20;

/// How the components are to be understood.
#[derive(Clone, Copy)]
pub(super) enum Colours {
    Grey,
    YCbCr,
    Rgb,
    /// As ink, or (Adobe) as what the ink leaves.
    Cmyk {
        inverted: bool,
    },
    Ycck,
}

impl Colours {
    /// What libjpeg takes them for.
    pub(super) fn of(frame: &Frame, adobe: Option<u8>, jfif: bool) -> Self {
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        match (ids.as_slice(), adobe) {
            ([_], _) => Self::Grey,
            ([_, _, _, _], Some(2)) => Self::Ycck,
            ([_, _, _, _], adobe) => Self::Cmyk { inverted: adobe.is_some() },
            (_, _) if jfif => Self::YCbCr,
            (_, Some(0)) | (b"RGB", None) => Self::Rgb,
            _ => Self::YCbCr,
        }
    }
}

struct Component {
    id: u8,
    /// Blocks of one unit (MCU), across and down.
    across: usize,
    down: usize,
    table: usize,
    /// Blocks that the picture covers.
    columns: usize,
    rows: usize,
    /// Blocks of a row of units.
    stride: usize,
    /// The table that was in force when its first scan began.
    quantization: Option<Vec<u16>>,
    /// The kept coefficients, block by block.
    coefficients: Vec<i16>,
    /// Which coefficients of a block are not zero; only for progressive pictures.
    nonzero: Vec<u64>,
    /// The last block's first coefficient.
    previous: i32,
    /// The samples of a row of units.
    samples: Vec<u8>,
}

pub(super) struct Frame {
    width: usize,
    height: usize,
    progressive: bool,
    /// Units across and down, and blocks of a unit.
    columns: usize,
    rows: usize,
    across: usize,
    down: usize,
    components: Vec<Component>,
    /// By what the picture can be made smaller.
    shrink: u32,
    /// What is known since the first scan.
    plan: Option<Plan>,
}

struct Plan {
    /// Samples of a block, across and down: 8, 4, 2 or 1.
    side: usize,
    /// Where each coefficient is kept, or [`DROPPED`].
    places: [u8; 64],
    inverse: AnyInverse,
    /// Whether the one scan has everything, so that rows are ready as they come.
    streams: bool,
}

enum AnyInverse {
    Eight(Inverse<8>),
    Four(Inverse<4>),
    Two(Inverse<2>),
    One(Inverse<1>),
}

/// What a scan says of each block.
#[derive(Clone, Copy)]
enum Part {
    Whole,
    FirstDc { low: u32 },
    MoreDc { low: u32 },
    FirstAc { start: usize, end: usize, low: u32 },
    MoreAc { start: usize, end: usize, low: u32 },
}

impl Frame {
    pub(super) fn read(data: &[u8], progressive: bool, canvases: &Canvases) -> Result<Self> {
        let broken = || invalid("the JPEG's frame is broken");
        let [8, h0, h1, w0, w1, count, rest @ ..] = data else { return Err(broken()) };
        let (width, height) = (usize::from(*w0) << 8 | usize::from(*w1), usize::from(*h0) << 8 | usize::from(*h1));
        if ![1, 3, 4].contains(count) || rest.len() != usize::from(*count) * 3 || width == 0 || height == 0 {
            return Err(broken());
        }
        let mut components: Vec<Component> = Vec::new();
        for entry in rest.chunks_exact(3) {
            // One component alone is not interleaved, whatever it says.
            let (across, down) = if *count == 1 { (1, 1) } else { (entry[1] >> 4, entry[1] & 15) };
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) || entry[2] > 3 {
                return Err(broken());
            }
            components.push(Component {
                id: entry[0],
                across: across.into(),
                down: down.into(),
                table: entry[2].into(),
                columns: 0,
                rows: 0,
                stride: 0,
                quantization: None,
                coefficients: Vec::new(),
                nonzero: Vec::new(),
                previous: 0,
                samples: Vec::new(),
            });
        }
        let across = components.iter().map(|component| component.across).max().unwrap_or(1);
        let down = components.iter().map(|component| component.down).max().unwrap_or(1);
        let (columns, rows) = (width.div_ceil(8 * across), height.div_ceil(8 * down));
        for component in &mut components {
            component.columns = (width * component.across).div_ceil(across * 8);
            component.rows = (height * component.down).div_ceil(down * 8);
            component.stride = columns * component.across;
        }
        let shrink = canvases.shrink();
        Ok(Self { width, height, progressive, columns, rows, across, down, components, shrink, plan: None })
    }

    /// Makes room, once it is known whether rows are ready as they come.
    fn plan(&mut self, streams: bool, canvases: &mut Canvases) -> Plan {
        let blocks: usize = self.components.iter().map(|component| component.stride * component.down).sum();
        let kept = |side: usize| self.rows * blocks * (side * side * 2 + if self.progressive { 8 } else { 0 });
        let mut side = match self.shrink {
            0 | 1 => 8,
            2 | 3 => 4,
            4..=7 => 2,
            _ => 1,
        };
        while !streams && side > 1 && kept(side) > MAX_KEPT_BYTES {
            side /= 2;
        }
        for component in &mut self.components {
            let rows = if streams { 1 } else { self.rows };
            let blocks = component.stride * component.down * rows;
            component.coefficients = vec![0; blocks * side * side];
            component.nonzero = vec![0; if self.progressive { blocks } else { 0 }];
            component.samples = vec![0; component.stride * component.down * side * side];
        }
        let mut places = [DROPPED; 64];
        for (place, natural) in places.iter_mut().zip(ZIGZAG.map(usize::from)) {
            if natural / 8 < side && natural % 8 < side {
                *place = (natural / 8 * side + natural % 8) as u8;
            }
        }
        let inverse = match side {
            8 => AnyInverse::Eight(Inverse::new()),
            4 => AnyInverse::Four(Inverse::new()),
            2 => AnyInverse::Two(Inverse::new()),
            _ => AnyInverse::One(Inverse::new()),
        };
        let shrunk = |length: usize| (length * side).div_ceil(8) as u32;
        let scale = side as f64 / 8.0;
        canvases.begin((shrunk(self.width), shrunk(self.height)), (scale, scale));
        Plan { side, places, inverse, streams }
    }

    /// Reads the scan that `header` announces and that begins at `at`; answers where it ends.
    pub(super) fn scan(
        &mut self,
        header: &[u8],
        bytes: &[u8],
        at: usize,
        tables: &Tables,
        colours: Colours,
        canvases: &mut Canvases,
    ) -> Result<usize> {
        let broken = || invalid("a scan of the JPEG is broken");
        let [count, rest @ ..] = header else { return Err(broken()) };
        let (entries, [start, end, levels]) = rest.split_last_chunk::<3>().ok_or_else(broken)?;
        if entries.len() != usize::from(*count) * 2 || entries.is_empty() {
            return Err(broken());
        }
        let mut chosen: Vec<(usize, Option<&Huffman>, Option<&Huffman>)> = Vec::new();
        for entry in entries.chunks_exact(2) {
            let index = self.components.iter().position(|component| component.id == entry[0]).ok_or_else(broken)?;
            let dc = tables.dc.get(usize::from(entry[1] >> 4)).and_then(Option::as_ref);
            let ac = tables.ac.get(usize::from(entry[1] & 15)).and_then(Option::as_ref);
            if chosen.iter().any(|(other, ..)| *other >= index) {
                return Err(broken());
            }
            chosen.push((index, dc, ac));
        }
        let (start, end) = (usize::from(*start), usize::from(*end));
        let (high, low) = (u32::from(levels >> 4), u32::from(levels & 15));
        let part = match (self.progressive, start, high) {
            (false, ..) => Part::Whole,
            (true, ..) if low > 13 || end > 63 || (high != 0 && high != low + 1) => return Err(broken()),
            (true, 0, _) if end != 0 => return Err(broken()),
            (true, 0, 0) => Part::FirstDc { low },
            (true, 0, _) => Part::MoreDc { low },
            (true, ..) if chosen.len() > 1 || start > end => return Err(broken()),
            (true, _, 0) => Part::FirstAc { start, end, low },
            (true, ..) => Part::MoreAc { start, end, low },
        };
        let plan = match self.plan.take() {
            Some(plan) => plan,
            None => self.plan(!self.progressive && chosen.len() == self.components.len(), canvases),
        };
        for (index, ..) in &chosen {
            let component = &mut self.components[*index];
            component.previous = 0;
            match (part, &component.quantization) {
                (Part::Whole | Part::FirstDc { .. }, None) => {
                    let table = tables.quantization[component.table].ok_or_else(broken)?;
                    let mut kept = vec![0; plan.side * plan.side];
                    for (value, place) in table.iter().zip(plan.places).filter(|(_, place)| *place != DROPPED) {
                        kept[usize::from(place)] = *value;
                    }
                    component.quantization = Some(kept);
                }
                // A second time, or the later parts of what never began.
                (Part::Whole, Some(_)) | (_, None) => return Err(broken()),
                _ => {}
            }
        }

        let mut bits = Bits::new(bytes, at);
        let (mut skipped_blocks, mut units) = (0, 0u32);
        let alone = if let [(index, ..)] = chosen.as_slice() { Some(*index) } else { None };
        let (columns, rows) = match alone {
            Some(index) => (self.components[index].columns, self.components[index].rows),
            None => (self.columns, self.rows),
        };
        for row in 0..rows {
            let kept_row = if plan.streams { 0 } else { row };
            for column in 0..columns {
                if tables.restart_interval > 0 && units > 0 && units.is_multiple_of(tables.restart_interval) {
                    bits.restart(units / tables.restart_interval - 1)?;
                    skipped_blocks = 0;
                    chosen.iter().for_each(|(index, ..)| self.components[*index].previous = 0);
                }
                units += 1;
                for (index, dc, ac) in &chosen {
                    let component = &mut self.components[*index];
                    let (across, down) = if alone.is_some() { (1, 1) } else { (component.across, component.down) };
                    for y in 0..down {
                        for x in 0..across {
                            let block = (kept_row * down + y) * component.stride + column * across + x;
                            component.block(block, part, &plan, &mut bits, (*dc, *ac), &mut skipped_blocks)?;
                        }
                    }
                }
            }
            if plan.streams {
                self.emit(&plan, row, 0, colours, canvases);
                self.components.iter_mut().for_each(|component| component.coefficients.fill(0));
            }
        }
        self.plan = Some(plan);
        Ok(bits.at())
    }

    /// Hands the rows over that had to wait for the last scan.
    pub(super) fn finish(mut self, colours: Colours, canvases: &mut Canvases) -> Result<()> {
        if self.components.iter().any(|component| component.quantization.is_none()) {
            return Err(invalid("the JPEG lacks a colour"));
        }
        let plan = self.plan.take().ok_or_else(|| invalid("the JPEG has no scan"))?;
        if !plan.streams {
            for row in 0..self.rows {
                self.emit(&plan, row, row, colours, canvases);
            }
        }
        Ok(())
    }

    /// Makes pixels of a row of units, which is kept as `kept_row`.
    fn emit(&mut self, plan: &Plan, row: usize, kept_row: usize, colours: Colours, canvases: &mut Canvases) {
        for component in &mut self.components {
            match &plan.inverse {
                AnyInverse::Eight(inverse) => component.invert(inverse, kept_row),
                AnyInverse::Four(inverse) => component.invert(inverse, kept_row),
                AnyInverse::Two(inverse) => component.invert(inverse, kept_row),
                AnyInverse::One(inverse) => component.invert(inverse, kept_row),
            }
        }
        let width = (self.width * plan.side).div_ceil(8);
        let height = (self.height * plan.side).div_ceil(8);
        let first = row * self.down * plan.side;
        let mut lines = vec![vec![0; width]; self.components.len()];
        let mut rgb = Vec::with_capacity(width * 3);
        for y in first..height.min(first + self.down * plan.side) {
            for (line, component) in lines.iter_mut().zip(&self.components) {
                let samples =
                    &component.samples[(y - first) * component.down / self.down * component.stride * plan.side..];
                if self.across.is_multiple_of(component.across) {
                    let places = line.chunks_mut(self.across / component.across);
                    places.zip(samples).for_each(|(places, sample)| places.fill(*sample));
                } else {
                    for (x, place) in line.iter_mut().enumerate() {
                        *place = samples[x * component.across / self.across];
                    }
                }
            }
            rgb.clear();
            colour(colours, &lines, &mut rgb);
            canvases.row(0, y as u32, 1, &rgb);
        }
    }
}

impl Component {
    fn invert<const SIDE: usize>(&mut self, inverse: &Inverse<SIDE>, kept_row: usize) {
        let Some(quantization) = &self.quantization else { return };
        let width = self.stride * SIDE;
        let blocks = self.coefficients.chunks_exact(SIDE * SIDE).skip(kept_row * self.down * self.stride);
        for (index, block) in blocks.take(self.down * self.stride).enumerate() {
            let first = index / self.stride * SIDE * width + index % self.stride * SIDE;
            inverse.block(block, quantization, &mut self.samples[first..], width);
        }
    }

    /// Reads what the scan says of a block. F.2.2 and G.1.2.
    fn block(
        &mut self,
        block: usize,
        part: Part,
        plan: &Plan,
        bits: &mut Bits<'_>,
        (dc, ac): (Option<&Huffman>, Option<&Huffman>),
        skipped_blocks: &mut u32,
    ) -> std::result::Result<(), Cut> {
        let size = plan.side * plan.side;
        let kept = &mut self.coefficients[block * size..(block + 1) * size];
        let mut nonzero = self.nonzero.get_mut(block);
        let mut put = |index: usize, value: i32| {
            if let Some(place) = kept.get_mut(usize::from(plan.places[index])) {
                *place = value as i16;
            }
            if let Some(nonzero) = &mut nonzero {
                **nonzero |= 1 << index;
            }
        };
        match part {
            Part::Whole => {
                self.previous = first(bits, dc, self.previous)?;
                put(0, self.previous);
                let ac = ac.ok_or(Cut)?;
                let mut index = 1;
                while index < 64 {
                    let symbol = bits.symbol(ac)?;
                    let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
                    match (run, size) {
                        (15, 0) => index += 16,
                        (_, 0) => break,
                        _ => {
                            index += run;
                            let value = bits.signed(size)?;
                            if index > 63 {
                                return Err(Cut);
                            }
                            put(index, value);
                            index += 1;
                        }
                    }
                }
            }
            Part::FirstDc { low } => {
                self.previous = first(bits, dc, self.previous)?;
                put(0, self.previous << low);
            }
            Part::MoreDc { low } => {
                kept[0] |= (bits.number(1)? << low) as i16;
            }
            Part::FirstAc { start, end, low } => {
                if *skipped_blocks > 0 {
                    *skipped_blocks -= 1;
                    return Ok(());
                }
                let ac = ac.ok_or(Cut)?;
                let mut index = start;
                while index <= end {
                    let symbol = bits.symbol(ac)?;
                    let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                    match (run, size) {
                        (15, 0) => index += 16,
                        (_, 0) => {
                            *skipped_blocks = (1 << run) + bits.number(run)? - 1;
                            break;
                        }
                        _ => {
                            index += run as usize;
                            let value = bits.signed(size)? << low;
                            if index > end {
                                return Err(Cut);
                            }
                            put(index, value);
                            index += 1;
                        }
                    }
                }
            }
            Part::MoreAc { start, end, low } => {
                let nonzero = nonzero.ok_or(Cut)?;
                // A bit for each coefficient of which something is known.
                let more = |index: usize, kept: &mut [i16], bits: &mut Bits<'_>| {
                    if bits.number(1)? == 1
                        && let Some(value) = kept.get_mut(usize::from(plan.places[index]))
                    {
                        *value = value.wrapping_add(value.signum() << low);
                    }
                    Ok(())
                };
                let mut index = start;
                if *skipped_blocks == 0 {
                    let ac = ac.ok_or(Cut)?;
                    while index <= end {
                        let symbol = bits.symbol(ac)?;
                        let (mut run, size) = (symbol >> 4, symbol & 15);
                        let new = match (run, size) {
                            (15, 0) => None,
                            (_, 0) => {
                                *skipped_blocks = (1 << run) + bits.number(run.into())?;
                                break;
                            }
                            (_, 1) => Some(if bits.number(1)? == 1 { 1i16 << low } else { -1 << low }),
                            _ => return Err(Cut),
                        };
                        while index <= end {
                            if *nonzero >> index & 1 == 1 {
                                more(index, kept, bits)?;
                            } else if run == 0 {
                                break;
                            } else {
                                run -= 1;
                            }
                            index += 1;
                        }
                        if let Some(new) = new {
                            if index > end {
                                return Err(Cut);
                            }
                            *nonzero |= 1 << index;
                            if let Some(value) = kept.get_mut(usize::from(plan.places[index])) {
                                *value = new;
                            }
                        }
                        index += 1;
                    }
                }
                if *skipped_blocks > 0 {
                    for index in (index..=end).filter(|index| *nonzero >> index & 1 == 1) {
                        more(index, kept, bits)?;
                    }
                    *skipped_blocks -= 1;
                }
            }
        }
        Ok(())
    }
}

/// A block's first coefficient.
fn first(bits: &mut Bits<'_>, dc: Option<&Huffman>, previous: i32) -> std::result::Result<i32, Cut> {
    let size = u32::from(bits.symbol(dc.ok_or(Cut)?)?);
    if size > 15 {
        return Err(Cut);
    }
    Ok(previous.wrapping_add(bits.signed(size)?))
}

fn colour(colours: Colours, lines: &[Vec<u8>], rgb: &mut Vec<u8>) {
    match (colours, lines) {
        (Colours::Rgb, [red, green, blue]) => {
            rgb.extend(red.iter().zip(green).zip(blue).flat_map(|((red, green), blue)| [*red, *green, *blue]));
        }
        (Colours::YCbCr, [y, cb, cr]) => {
            rgb.extend(y.iter().zip(cb).zip(cr).flat_map(|((y, cb), cr)| from_ycbcr(*y, *cb, *cr)));
        }
        (Colours::Cmyk { .. } | Colours::Ycck, [c, m, y, k]) => {
            for (((c, m), y), k) in c.iter().zip(m).zip(y).zip(k) {
                // Adobe's files say what the ink leaves of the paper's white.
                let (left, key) = match colours {
                    Colours::Ycck => (from_ycbcr(*c, *m, *y).map(|ink| 255 - ink), *k),
                    Colours::Cmyk { inverted: true } => ([*c, *m, *y], *k),
                    _ => ([255 - c, 255 - m, 255 - y], 255 - k),
                };
                rgb.extend(left.map(|left| ((u16::from(left) * u16::from(key) + 127) / 255) as u8));
            }
        }
        (_, [grey, ..]) => rgb.extend(grey.iter().flat_map(|grey| [*grey; 3])),
        (_, []) => {}
    }
}

/// BT.601, as JFIF says.
fn from_ycbcr(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = ((i32::from(y) << 16) + (1 << 15), i32::from(cb) - 128, i32::from(cr) - 128);
    [y + 91_881 * cr, y - 22_554 * cb - 46_802 * cr, y + 116_130 * cb].map(|value| (value >> 16).clamp(0, 255) as u8)
}
