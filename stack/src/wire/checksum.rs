//! The Internet checksum (RFC 1071).
//!
//! A sum is kept as a plain number, of big-endian 16-bit words or of anything that is a multiple of these: numbers of 32
//! and 64 bits do as well as of 16, since what lies above the 16th bit is folded into it in the end. Sums of adjacent
//! parts add up, and [`finish`] makes the field of a header of them.

/// Sum of the big-endian 16-bit words of `bytes`; an odd last byte counts as the high half of a word. At most 16 bits.
#[inline]
pub fn sum(bytes: &[u8]) -> u32 {
    u32::from(fold(wide_sum(bytes)))
}

/// The same, not folded: to be added to others by [`plus`].
///
/// RFC 1071 2: the sum does not depend on the byte order it is made in, nor on the width of the words. So it is made in
/// the order of the machine, eight bytes at a time, and turned over once.
#[inline(never)]
pub fn wide_sum(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    // Four chains of carries: a machine that adds several numbers at a time has to wait for none of them.
    let (mut a, mut b, mut c, mut d) = (0, 0, 0, 0);
    for block in blocks {
        if let [first, second, third, fourth] = block.as_chunks::<{ BLOCK / 4 }>().0 {
            (a, b) = (add(a, first), add(b, second));
            (c, d) = (add(c, third), add(d, fourth));
        }
    }
    u64::from_be(add_rest(plus(plus(a, b), plus(c, d)), rest))
}

/// [`wide_sum`] of few bytes, whose number is known: in place.
#[inline(always)]
pub fn sum_of<const N: usize>(bytes: &[u8; N]) -> u64 {
    u64::from_be(add_rest(0, bytes))
}

const BLOCK: usize = 256;

/// What is less than a block, in ever smaller parts.
#[inline(always)]
fn add_rest(mut total: u64, mut rest: &[u8]) -> u64 {
    total = add_part::<128>(total, &mut rest);
    total = add_part::<64>(total, &mut rest);
    total = add_part::<32>(total, &mut rest);
    total = add_part::<16>(total, &mut rest);
    total = add_part::<8>(total, &mut rest);
    total = if let Some((part, behind)) = rest.split_first_chunk::<4>() {
        rest = behind;
        plus(total, u64::from(u32::from_ne_bytes(*part)))
    } else {
        total
    };
    match *rest {
        [a] => plus(total, u64::from(u16::from_ne_bytes([a, 0]))),
        [a, b] => plus(total, u64::from(u16::from_ne_bytes([a, b]))),
        // The odd byte has the place that it would have behind the word, in whatever order the machine has.
        [a, b, c] => {
            plus(total, u64::from(u16::from_ne_bytes([a, b])) + u64::from(u16::from_ne_bytes([c, 0])))
        }
        _ => total,
    }
}

#[inline(always)]
fn add_part<const N: usize>(total: u64, rest: &mut &[u8]) -> u64 {
    let Some((part, behind)) = rest.split_first_chunk::<N>() else { return total };
    *rest = behind;
    add(total, part)
}

/// Adds words in one chain of carries.
#[inline(always)]
fn add<const N: usize>(total: u64, bytes: &[u8; N]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    let (mut total, mut carry) = (total, false);
    for word in words {
        (total, carry) = total.carrying_add(u64::from_ne_bytes(*word), carry);
    }
    end_around(total, carry)
}

/// One's complement addition.
#[inline(always)]
pub fn plus(a: u64, b: u64) -> u64 {
    let (total, carry) = a.overflowing_add(b);
    end_around(total, carry)
}

/// What is carried out comes in again.
#[inline(always)]
fn end_around(total: u64, carry: bool) -> u64 {
    // If something was carried out, what is left is not the largest number: this cannot carry again.
    total.wrapping_add(u64::from(carry))
}

/// The sum of a part that starts at an odd offset of the whole: there its bytes have changed places.
pub fn at_odd_offset(sum: u32) -> u32 {
    u32::from(fold(sum).swap_bytes())
}

/// The sum of a TCP pseudo-header.
#[inline]
pub fn pseudo_header(source: u32, destination: u32, protocol: u8, len: u16) -> u64 {
    u64::from(source) + u64::from(destination) + u64::from(protocol) + u64::from(len)
}

/// A sum in 16 bits.
#[inline]
pub fn fold(sum: impl Into<u64>) -> u16 {
    // A number and itself turned by half of its bits: in the upper half is the sum of both, with the carry that came from
    // the lower half, where the same was added.
    let sum = sum.into();
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// The checksum field for a packet whose words, with that field as 0, add up to `sum`.
#[inline]
pub fn finish(sum: impl Into<u64>) -> u16 {
    !fold(sum)
}

/// Whether words that include their checksum field add up as they should.
#[inline]
pub fn is_right(sum: impl Into<u64>) -> bool {
    fold(sum) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|w| u64::from(w[0]) << 8 | w.get(1).map_or(0, |&b| u64::from(b)));
        fold(words.sum::<u64>())
    }

    #[test]
    fn equals_the_sum_taken_word_by_word_at_every_length_and_alignment() {
        let bytes: Vec<u8> = (0..1700u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for len in (0..600).chain([1447, 1448, 1460]) {
            for start in 0..9 {
                let part = &bytes[start..start + len];
                assert_eq!(sum(part), u32::from(slow(part)), "{len} bytes from {start}");
            }
        }
        assert_eq!(fold(sum_of(&[1, 2, 3, 4, 5, 6, 7])), slow(&[1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(sum(&[0xff; 1600]), 0xffff);
    }

    #[test]
    fn parts_add_up_to_the_whole_even_from_an_odd_offset() {
        let bytes: Vec<u8> = (0..255).collect();
        for cut in 0..bytes.len() {
            let (a, b) = bytes.split_at(cut);
            let b = if cut % 2 == 1 { at_odd_offset(sum(b)) } else { sum(b) };
            assert_eq!(fold(sum(a) + b), slow(&bytes));
        }
    }

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(finish(sum(&bytes)), !0xddf2);
    }
}
