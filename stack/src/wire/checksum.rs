//! The Internet checksum (RFC 1071).
//!
//! A sum is kept as a plain number of big-endian 16-bit words; sums of adjacent parts add up, and [`finish`] makes
//! the field of a header of it.

/// Sum of the big-endian 16-bit words of `bytes`; an odd last byte counts as the high half of a word. At most 16 bits.
#[inline]
pub fn sum(bytes: &[u8]) -> u32 {
    // RFC 1071 2: the sum does not depend on the byte order it is made in, nor on the width of the words, so it is
    // made in the order of the machine, eight bytes at a time.
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut total = 0;
    for block in blocks {
        total = add_block(total, block);
    }
    let (words, rest) = rest.as_chunks::<8>();
    let mut carry = false;
    for word in words {
        (total, carry) = total.carrying_add(u64::from_ne_bytes(*word), carry);
    }
    let mut last = [0; 8];
    if let Some(place) = last.get_mut(..rest.len()) {
        place.copy_from_slice(rest);
    }
    (total, carry) = total.carrying_add(u64::from_ne_bytes(last), carry);
    // One's complement: what is carried out comes in again.
    total = end_around(total, carry);
    u32::from(u16::from_be(fold(total)))
}

/// So long that the chain of carries is seldom broken for the loop's own needs.
const BLOCK: usize = 64;

#[inline(always)]
fn add_block(total: u64, block: &[u8; BLOCK]) -> u64 {
    let (words, _) = block.as_chunks::<8>();
    let (mut total, mut carry) = (total, false);
    for word in words {
        (total, carry) = total.carrying_add(u64::from_ne_bytes(*word), carry);
    }
    end_around(total, carry)
}

#[inline(always)]
fn end_around(total: u64, carry: bool) -> u64 {
    // If something was carried out, what is left is not the largest number: this cannot carry again.
    total.wrapping_add(u64::from(carry))
}

/// The sum of a part that starts at an odd offset of the whole: there its bytes have changed places.
pub fn at_odd_offset(sum: u32) -> u32 {
    u32::from(fold(u64::from(sum)).swap_bytes())
}

/// The sum of a TCP pseudo-header.
pub fn pseudo_header(source: u32, destination: u32, protocol: u8, len: u16) -> u32 {
    (source >> 16)
        + (source & 0xffff)
        + (destination >> 16)
        + (destination & 0xffff)
        + u32::from(protocol)
        + u32::from(len)
}

/// A sum in 16 bits.
pub fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

/// The checksum field for a packet whose words, with that field as 0, add up to `sum`.
pub fn finish(sum: u32) -> u16 {
    !fold(u64::from(sum))
}

/// Whether words that include their checksum field add up as they should.
pub fn is_right(sum: u32) -> bool {
    fold(u64::from(sum)) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|w| u64::from(w[0]) << 8 | w.get(1).map_or(0, |&b| u64::from(b)));
        fold(words.sum())
    }

    #[test]
    fn equals_the_sum_taken_word_by_word_at_every_length_and_alignment() {
        let bytes: Vec<u8> = (0..1700u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for len in (0..200).chain([1447, 1448, 1460]) {
            for start in 0..9 {
                let part = &bytes[start..start + len];
                assert_eq!(sum(part), u32::from(slow(part)), "{len} bytes from {start}");
            }
        }
        assert_eq!(sum(&[0xff; 1600]), 0xffff);
    }

    #[test]
    fn parts_add_up_to_the_whole_even_from_an_odd_offset() {
        let bytes: Vec<u8> = (0..255).collect();
        for cut in 0..bytes.len() {
            let (a, b) = bytes.split_at(cut);
            let b = if cut % 2 == 1 { at_odd_offset(sum(b)) } else { sum(b) };
            assert_eq!(fold(u64::from(sum(a) + b)), slow(&bytes));
        }
    }

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(finish(sum(&bytes)), !0xddf2);
    }
}
