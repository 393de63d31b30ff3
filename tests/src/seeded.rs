//! A stream of bytes that is known at every place from its seed alone, so that each byte of a transfer can be checked.

pub struct Seeded {
    seed: u64,
    /// Bytes that have gone by.
    pub position: u64,
}

impl Seeded {
    pub fn new(seed: u64) -> Seeded {
        Seeded { seed, position: 0 }
    }

    /// The bytes that come next.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        let mut rest = buffer;
        while !rest.is_empty() {
            let within = (self.position % 8) as usize;
            let word = mixed(self.seed ^ (self.position / 8)).to_le_bytes();
            let count = rest.len().min(8 - within);
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&word[within..within + count]);
            self.position += count as u64;
            rest = later;
        }
    }

    /// Whether `bytes` are what comes next; if not, where the first wrong one is.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), u64> {
        let began = self.position;
        let mut expected = vec![0; bytes.len()];
        self.fill(&mut expected);
        if expected == bytes {
            return Ok(());
        }
        let right = expected.iter().zip(bytes).take_while(|(expected, seen)| expected == seen).count();
        Err(began + right as u64)
    }
}

/// The finaliser of splitmix64.
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_in_which_a_stream_is_read_do_not_matter() {
        let mut whole = vec![0; 1000];
        Seeded::new(3).fill(&mut whole);
        let mut reader = Seeded::new(3);
        for piece in whole.chunks(7) {
            assert_eq!(reader.check(piece), Ok(()));
        }
        whole[500] ^= 1;
        assert_eq!(Seeded::new(3).check(&whole), Err(500));
        assert!(Seeded::new(4).check(&whole[..8]).is_err());
    }
}
