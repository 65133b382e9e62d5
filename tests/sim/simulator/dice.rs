//! Where every choice of a run comes from: a seed, or the bytes of a fuzzer.

/// The choices still to be made.
#[derive(Clone, Debug)]
pub struct Dice {
    /// Bytes that choose, before anything else does.
    bytes: Option<Vec<u8>>,
    /// How many of them are used up.
    used: usize,
    /// The state of SplitMix64.
    state: u64,
}

impl Dice {
    /// Choices that follow from a seed.
    pub fn of_seed(seed: u64) -> Self {
        Self { bytes: None, used: 0, state: seed }
    }

    /// Choices that bytes make. Behind their end every choice is the first, which is the quiet one.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self { bytes: Some(bytes.to_vec()), used: 0, state: mix(bytes.len() as u64) }
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        match &self.bytes {
            None => (self.next() >> 33) as u32 % bound,
            Some(bytes) => {
                let width = if bound > 256 { 2 } else { 1 };
                let taken = bytes.iter().skip(self.used).take(width);
                let number = taken.fold(0, |number, byte| number << 8 | u32::from(*byte));
                self.used += width;
                number % bound
            }
        }
    }

    /// A number within bounds, both included.
    pub fn between(&mut self, least: u32, most: u32) -> u32 {
        least + self.below(most - least + 1)
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1000) >= 1000 - per_mille
    }

    /// One of several; the first is the quiet one.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    /// Sixty-four bits, for what a fuzzer need not choose itself.
    pub fn seed(&mut self) -> u64 {
        match self.bytes {
            None => self.next(),
            Some(_) => u64::from(self.below(65_536)),
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }
}

/// Bits that follow from bits and look as if they did not (SplitMix64's finish).
pub fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Bits that follow from several numbers and a text.
pub fn hash(numbers: &[u64], text: &str) -> u64 {
    let start = numbers.iter().fold(0x51ed, |hash, number| mix(hash ^ number.wrapping_add(hash << 7)));
    text.bytes().fold(start, |hash, byte| mix(hash ^ u64::from(byte)))
}
