//! TCP options.

/// RFC 7323 3.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    pub value: u32,
    pub echo: u32,
}

/// What a SYN may offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SynOptions {
    pub mss: Option<u16>,
    pub window_scale: Option<u8>,
    pub timestamps: Option<Timestamps>,
    pub sack_permitted: bool,
}

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const TIMESTAMPS: u8 = 8;
/// RFC 7323 2.3: a larger shift count is used as 14.
pub const MAX_WINDOW_SCALE: u8 = 14;
/// RFC 7323 appendix A: two NOPs bring the timestamps to a word boundary, and everybody sends them so.
const ALIGNED_TIMESTAMPS: [u8; 4] = [NOP, NOP, TIMESTAMPS, 10];
pub const TIMESTAMPS_LEN: usize = 12;
pub const MAX_SYN_LEN: usize = 20;

/// The timestamps among the options of a segment that is not a SYN.
#[inline]
pub fn timestamps(options: &[u8]) -> Option<Timestamps> {
    if options.is_empty() {
        return None;
    }
    if let Some(all) = options.first_chunk::<TIMESTAMPS_LEN>()
        && let [a, b, c, d, v0, v1, v2, v3, e0, e1, e2, e3] = *all
        && [a, b, c, d] == ALIGNED_TIMESTAMPS
    {
        return Some(Timestamps {
            value: u32::from_be_bytes([v0, v1, v2, v3]),
            echo: u32::from_be_bytes([e0, e1, e2, e3]),
        });
    }
    parse(options).timestamps
}

/// All options that we know; what is malformed ends the list.
pub fn parse(options: &[u8]) -> SynOptions {
    let mut found = SynOptions::default();
    let mut rest = options;
    while let [kind, tail @ ..] = rest {
        match *kind {
            END => break,
            NOP => {
                rest = tail;
                continue;
            }
            _ => {}
        }
        let Some(len) = tail.first().map(|&len| usize::from(len)) else { break };
        // The length counts kind and length themselves.
        let (Some(body), Some(next)) = (rest.get(2..len), rest.get(len..)) else { break };
        match (*kind, body) {
            (MSS, &[a, b]) => found.mss = Some(u16::from_be_bytes([a, b])),
            (WINDOW_SCALE, &[scale]) => found.window_scale = Some(scale.min(MAX_WINDOW_SCALE)),
            (SACK_PERMITTED, []) => found.sack_permitted = true,
            (TIMESTAMPS, &[v0, v1, v2, v3, e0, e1, e2, e3]) => {
                found.timestamps = Some(Timestamps {
                    value: u32::from_be_bytes([v0, v1, v2, v3]),
                    echo: u32::from_be_bytes([e0, e1, e2, e3]),
                });
            }
            _ => {}
        }
        rest = next;
    }
    found
}

/// The options of a segment that is not a SYN.
pub fn timestamp_bytes(t: Timestamps) -> [u8; TIMESTAMPS_LEN] {
    let [a, b, c, d] = ALIGNED_TIMESTAMPS;
    let [v0, v1, v2, v3] = t.value.to_be_bytes();
    let [e0, e1, e2, e3] = t.echo.to_be_bytes();
    [a, b, c, d, v0, v1, v2, v3, e0, e1, e2, e3]
}

/// The options of a SYN, padded to whole words, and how many bytes of the array they are.
pub fn syn_bytes(o: &SynOptions) -> ([u8; MAX_SYN_LEN], usize) {
    let mut bytes = [NOP; MAX_SYN_LEN];
    let mut len = 0;
    let mut put = |part: &[u8]| {
        if let Some(place) = bytes.get_mut(len..len + part.len()) {
            place.copy_from_slice(part);
            len += part.len();
        }
    };
    if let Some(mss) = o.mss {
        let [a, b] = mss.to_be_bytes();
        put(&[MSS, 4, a, b]);
    }
    if let Some(t) = o.timestamps {
        put(&timestamp_bytes(t));
    }
    if let Some(scale) = o.window_scale {
        put(&[NOP, WINDOW_SCALE, 3, scale]);
    }
    (bytes, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_syn_says_is_what_the_peer_reads() {
        for timestamps in [None, Some(Timestamps { value: 0x0102_0304, echo: 7 })] {
            for window_scale in [None, Some(9)] {
                let said = SynOptions { mss: Some(1460), window_scale, timestamps, sack_permitted: false };
                let (bytes, len) = syn_bytes(&said);
                assert_eq!(len % 4, 0);
                assert_eq!(parse(&bytes[..len]), said);
            }
        }
    }

    #[test]
    fn a_length_beyond_the_end_or_of_zero_ends_the_list() {
        assert_eq!(parse(&[MSS, 4, 5, 180, MSS, 0, 1, 1]).mss, Some(1460));
        assert_eq!(parse(&[WINDOW_SCALE, 1, 3, 7]), SynOptions::default());
        assert_eq!(parse(&[TIMESTAMPS, 10, 1, 2]), SynOptions::default());
        assert_eq!(parse(&[END, MSS, 4, 5, 180]).mss, None);
    }

    #[test]
    fn unaligned_timestamps_are_found_too() {
        let t = Timestamps { value: 1, echo: 2 };
        let aligned = timestamp_bytes(t);
        let mut shifted = vec![NOP];
        shifted.extend_from_slice(&aligned[2..]);
        assert_eq!((timestamps(&aligned), timestamps(&shifted)), (Some(t), Some(t)));
    }
}
