//! SipHash-1-3 (Aumasson and Bernstein, 2012) of what fits into two words: a function that nobody foresees without the
//! key, in some ninety instructions. And SipHash-2-4 where others have to come to the same.

/// The hash of a message of 8 to 15 bytes: `first` has eight of them, `rest` the others, both as little-endian numbers.
#[inline]
pub(crate) fn hash(key: [u64; 2], first: u64, rest: u64, len: u8) -> u64 {
    let mut state = State::new(key);
    state.take::<1>(first);
    // The last word has the length in its highest byte.
    state.take::<1>(rest | u64::from(len) << 56);
    state.finish::<3>()
}

/// SipHash-2-4 of eight bytes, as a little-endian number.
pub(crate) fn hash_of_eight(key: [u64; 2], message: u64) -> u64 {
    let mut state = State::new(key);
    state.take::<2>(message);
    state.take::<2>(8 << 56);
    state.finish::<4>()
}

struct State([u64; 4]);

impl State {
    #[inline]
    fn new([k0, k1]: [u64; 2]) -> Self {
        let constants = [*b"uespemos", *b"modnarod", *b"arenegyl", *b"setybdet"].map(u64::from_le_bytes);
        let [c0, c1, c2, c3] = constants;
        Self([k0 ^ c0, k1 ^ c1, k0 ^ c2, k1 ^ c3])
    }

    #[inline]
    fn take<const ROUNDS: u32>(&mut self, word: u64) {
        self.0[3] ^= word;
        self.rounds::<ROUNDS>();
        self.0[0] ^= word;
    }

    #[inline]
    fn finish<const ROUNDS: u32>(mut self) -> u64 {
        self.0[2] ^= 0xff;
        self.rounds::<ROUNDS>();
        let [a, b, c, d] = self.0;
        a ^ b ^ c ^ d
    }

    #[inline]
    fn rounds<const ROUNDS: u32>(&mut self) {
        for _ in 0..ROUNDS {
            self.round();
        }
    }

    #[inline]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::Hasher;
    use siphasher::sip::{SipHasher13, SipHasher24};

    #[test]
    fn equals_what_another_implementation_makes_of_the_same_bytes() {
        let message: Vec<u8> = (1..16).collect();
        for key in [[0, 0], [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908], [u64::MAX, 1]] {
            for len in 8..16 {
                let mut other = SipHasher13::new_with_keys(key[0], key[1]);
                other.write(&message[..len]);
                let mut words = [0; 16];
                words[..len].copy_from_slice(&message[..len]);
                let words = u128::from_le_bytes(words);
                assert_eq!(hash(key, words as u64, (words >> 64) as u64, len as u8), other.finish(), "{len}");
            }
        }
    }
    #[test]
    fn the_thorough_one_equals_another_implementation_too() {
        for key in [[0, 0], [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]] {
            let mut other = SipHasher24::new_with_keys(key[0], key[1]);
            other.write(&[1, 2, 3, 4, 5, 6, 7, 8]);
            assert_eq!(hash_of_eight(key, u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8])), other.finish());
        }
    }
}
