//! From coefficients to samples, at full size or smaller.

use std::f32::consts::PI;

/// The inverse of the cosine transform for blocks of `SIDE` × `SIDE` samples: the low coefficients of a block of 8 × 8, read as
/// those of a smaller block, are the block made smaller.
pub(super) struct Inverse<const SIDE: usize> {
    /// What a wave adds to a place, with the scale that makes it right.
    waves: [[f32; SIDE]; SIDE],
}

impl<const SIDE: usize> Inverse<SIDE> {
    pub(super) fn new() -> Self {
        let side = SIDE as f32;
        let mut waves = [[0.0; SIDE]; SIDE];
        for (wave, places) in waves.iter_mut().enumerate() {
            let scale = if wave == 0 { 0.125f32.sqrt() } else { 0.5 };
            for (place, value) in places.iter_mut().enumerate() {
                *value = scale * ((2 * place + 1) as f32 * wave as f32 * PI / (2.0 * side)).cos();
            }
        }
        Self { waves }
    }

    /// Transforms one block into `samples`, whose rows are `stride` apart.
    pub(super) fn block(&self, coefficients: &[i16], quantization: &[u16], samples: &mut [u8], stride: usize) {
        let sample = |value: f32| (value + 128.5).clamp(0.0, 255.0) as u8;
        let value = |place: usize| f32::from(coefficients[place]) * f32::from(quantization[place]);
        if coefficients[1..].iter().all(|coefficient| *coefficient == 0) {
            let flat = sample(value(0) / 8.0);
            samples.chunks_mut(stride).take(SIDE).for_each(|row| row[..SIDE].fill(flat));
            return;
        }
        let mut rows = [[0.0; SIDE]; SIDE];
        for (index, row) in rows.iter_mut().enumerate() {
            for (column, wave) in self.waves.iter().enumerate() {
                let coefficient = value(index * SIDE + column);
                if coefficient != 0.0 {
                    row.iter_mut().zip(wave).for_each(|(sum, wave)| *sum += coefficient * wave);
                }
            }
        }
        for (y, line) in samples.chunks_mut(stride).take(SIDE).enumerate() {
            let mut sums = [0.0; SIDE];
            for (wave, row) in self.waves.iter().zip(&rows) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += wave[y] * value);
            }
            line.iter_mut().zip(sums).for_each(|(place, sum)| *place = sample(sum));
        }
    }
}
