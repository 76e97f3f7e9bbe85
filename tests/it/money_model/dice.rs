//! Chance that can be repeated: the same seed throws the same numbers.

/// Splitmix64 (<https://prng.di.unimi.it/splitmix64.c>).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// A number from one to another, both included.
    pub fn between(&mut self, least: i64, most: i64) -> i64 {
        least + self.roll((most - least + 1) as u64) as i64
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }

    /// A place in a list of this length, which is not empty.
    pub fn place(&mut self, length: usize) -> usize {
        self.roll(length as u64) as usize
    }

    /// One of these.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.place(from.len())].clone()
    }
}
