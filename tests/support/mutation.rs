//! Chance and changed inputs, the same at every run and on every machine.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "test code")]

/// Marsaglia's xorshift64*: enough for mutations, and the same everywhere.
pub struct Random(u64);

impl Random {
    /// The chance of one round of a run.
    pub fn new(seed: u64, round: u64) -> Self {
        Self((seed ^ round.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound.max(1)
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A number that a parser may trip over.
    fn interesting(&mut self) -> [u8; 4] {
        let numbers =
            [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0xFF_FFFF, 0x100_0000, 0x7FFF_FFFF, 0x8000_0000, u32::MAX];
        numbers[self.below(numbers.len())].to_be_bytes()
    }

    /// Applies one to eight changes; gives at most `bytes_max` bytes.
    pub fn mutate(&mut self, recorded: &[u8], others: &[&[u8]], bytes_max: usize) -> Vec<u8> {
        let mut bytes = recorded.to_vec();
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len());
            let span = self.below(32).min(bytes.len() - at);
            match self.below(9) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.byte(),
                2 => bytes.insert(at, self.byte()),
                3 => drop(bytes.drain(at..at + span)),
                4 => bytes.truncate(at),
                5 => {
                    let copy = bytes[at..at + span].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, copy);
                }
                6 => {
                    let number = self.interesting();
                    let end = (at + number.len()).min(bytes.len());
                    bytes.splice(at..end, number);
                }
                7 => {
                    let other = others[self.below(others.len())];
                    let from = self.below(other.len());
                    let to = (from + self.below(2000)).min(other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
                _ => {
                    let unit = &bytes[at..at + span.min(6)];
                    let repeated = unit.repeat(1 + self.below(2000));
                    bytes.splice(at..at, repeated);
                }
            }
        }
        bytes.truncate(bytes_max);
        bytes
    }
}
