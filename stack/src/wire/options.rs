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
    /// RFC 7413: a cookie, or with no bytes in it the request for one.
    pub fast_open: Option<Cookie>,
}

/// RFC 7413 4.1.1: from 4 to 16 bytes, an even number; none in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cookie {
    len: u8,
    bytes: [u8; MAX_COOKIE],
}

impl Cookie {
    /// None for a length that no cookie has.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let is_whole = bytes.is_empty() || (bytes.len() >= MIN_COOKIE && bytes.len().is_multiple_of(2));
        let mut cookie = Self { len: bytes.len() as u8, ..Self::default() };
        cookie.bytes.get_mut(..bytes.len()).filter(|_| is_whole)?.copy_from_slice(bytes);
        Some(cookie)
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// A block of a selective acknowledgement (RFC 2018): the first byte that is there, and the one behind the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SackBlock {
    pub start: u32,
    pub end: u32,
}

/// The blocks of one segment, in its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SackBlocks {
    len: u8,
    blocks: [SackBlock; MAX_SACK_BLOCKS],
}

impl SackBlocks {
    /// What does not fit any more is left out.
    pub fn push(&mut self, block: SackBlock) {
        if let Some(place) = self.blocks.get_mut(usize::from(self.len)) {
            *place = block;
            self.len += 1;
        }
    }

    pub fn as_slice(&self) -> &[SackBlock] {
        self.blocks.get(..usize::from(self.len)).unwrap_or(&[])
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const FAST_OPEN: u8 = 34;
const MIN_COOKIE: usize = 4;
const MAX_COOKIE: usize = 16;
/// All that 40 bytes of options can hold.
pub const MAX_SACK_BLOCKS: usize = 4;
/// With timestamps beside them.
pub const SACK_BLOCKS_WITH_TIMESTAMPS: usize = 3;
/// All options of a segment.
pub const MAX_LEN: usize = 40;
/// RFC 7323 2.3: a larger shift count is used as 14.
pub const MAX_WINDOW_SCALE: u8 = 14;
/// RFC 7323 appendix A: two NOPs bring the timestamps to a word boundary, and everybody sends them so.
pub const ALIGNED_TIMESTAMPS: [u8; 4] = [NOP, NOP, TIMESTAMPS, 10];
pub const TIMESTAMPS_LEN: usize = 12;
pub const MAX_SYN_LEN: usize = MAX_LEN;

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
    usual_of_syn(options).unwrap_or_else(|| walk(options))
}

/// The options of a SYN as most systems lay them out, with nothing missing.
#[inline]
fn usual_of_syn(options: &[u8]) -> Option<SynOptions> {
    let &[
        MSS,
        4,
        m0,
        m1,
        SACK_PERMITTED,
        2,
        TIMESTAMPS,
        10,
        v0,
        v1,
        v2,
        v3,
        e0,
        e1,
        e2,
        e3,
        NOP,
        WINDOW_SCALE,
        3,
        scale,
    ] = options
    else {
        return None;
    };
    Some(SynOptions {
        mss: Some(u16::from_be_bytes([m0, m1])),
        window_scale: Some(scale.min(MAX_WINDOW_SCALE)),
        timestamps: Some(Timestamps {
            value: u32::from_be_bytes([v0, v1, v2, v3]),
            echo: u32::from_be_bytes([e0, e1, e2, e3]),
        }),
        sack_permitted: true,
        fast_open: None,
    })
}

fn walk(options: &[u8]) -> SynOptions {
    let mut found = SynOptions::default();
    for_each(options, |kind, body| match (kind, body) {
        (MSS, &[a, b]) => found.mss = Some(u16::from_be_bytes([a, b])),
        (WINDOW_SCALE, &[scale]) => found.window_scale = Some(scale.min(MAX_WINDOW_SCALE)),
        (SACK_PERMITTED, []) => found.sack_permitted = true,
        (FAST_OPEN, bytes) => found.fast_open = Cookie::new(bytes),
        (TIMESTAMPS, &[v0, v1, v2, v3, e0, e1, e2, e3]) => {
            found.timestamps = Some(Timestamps {
                value: u32::from_be_bytes([v0, v1, v2, v3]),
                echo: u32::from_be_bytes([e0, e1, e2, e3]),
            });
        }
        _ => {}
    });
    found
}

/// The selective acknowledgements among the options of a segment.
pub fn sack_blocks(options: &[u8]) -> SackBlocks {
    let mut found = SackBlocks::default();
    for_each(options, |kind, body| {
        if kind != SACK {
            return;
        }
        for block in body.as_chunks::<8>().0 {
            let [a, b, c, d, e, f, g, h] = *block;
            found.push(SackBlock {
                start: u32::from_be_bytes([a, b, c, d]),
                end: u32::from_be_bytes([e, f, g, h]),
            });
        }
    });
    found
}

/// Kind and body of each option, up to the end or to the first that is malformed.
#[inline]
fn for_each<'a>(options: &'a [u8], mut take: impl FnMut(u8, &'a [u8])) {
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
        take(*kind, body);
        rest = next;
    }
}

/// The options of a segment that is not a SYN, and how many bytes of the array they are. Blocks that do not fit
/// beside the timestamps are left out.
pub fn segment_bytes(timestamps: Option<Timestamps>, blocks: &SackBlocks) -> ([u8; MAX_LEN], usize) {
    let mut bytes = [NOP; MAX_LEN];
    let mut len = 0;
    if let Some(t) = timestamps {
        put(&mut bytes, &mut len, &timestamp_bytes(t));
    }
    let most = if timestamps.is_some() { SACK_BLOCKS_WITH_TIMESTAMPS } else { MAX_SACK_BLOCKS };
    let blocks = blocks.as_slice();
    let blocks = blocks.get(..most).unwrap_or(blocks);
    if !blocks.is_empty() {
        put(&mut bytes, &mut len, &[NOP, NOP, SACK, 2 + 8 * blocks.len() as u8]);
        for block in blocks {
            put(&mut bytes, &mut len, &block.start.to_be_bytes());
            put(&mut bytes, &mut len, &block.end.to_be_bytes());
        }
    }
    (bytes, len)
}

/// Writes `part` behind what is there; leaves it out when it does not fit.
fn put(bytes: &mut [u8; MAX_LEN], len: &mut usize, part: &[u8]) {
    if let Some(place) = bytes.get_mut(*len..*len + part.len()) {
        place.copy_from_slice(part);
        *len += part.len();
    }
}

/// Timestamps alone, as nearly every segment has them.
pub fn timestamp_bytes(t: Timestamps) -> [u8; TIMESTAMPS_LEN] {
    let [a, b, c, d] = ALIGNED_TIMESTAMPS;
    let [v0, v1, v2, v3] = t.value.to_be_bytes();
    let [e0, e1, e2, e3] = t.echo.to_be_bytes();
    [a, b, c, d, v0, v1, v2, v3, e0, e1, e2, e3]
}

/// The options of a SYN, padded to whole words, and how many bytes of the array they are.
///
/// LINUX: the places of the options, so that a SYN of ours looks like one of its.
pub fn syn_bytes(o: &SynOptions) -> ([u8; MAX_SYN_LEN], usize) {
    let mut bytes = [NOP; MAX_SYN_LEN];
    let mut len = 0;
    if let Some(mss) = o.mss {
        let [a, b] = mss.to_be_bytes();
        put(&mut bytes, &mut len, &[MSS, 4, a, b]);
    }
    if let Some(t) = o.timestamps {
        let mut all = timestamp_bytes(t);
        if o.sack_permitted {
            // In the place of the two NOPs.
            (all[0], all[1]) = (SACK_PERMITTED, 2);
        }
        put(&mut bytes, &mut len, &all);
    } else if o.sack_permitted {
        put(&mut bytes, &mut len, &[NOP, NOP, SACK_PERMITTED, 2]);
    }
    if let Some(scale) = o.window_scale {
        put(&mut bytes, &mut len, &[NOP, WINDOW_SCALE, 3, scale]);
    }
    if let Some(cookie) = &o.fast_open {
        let before = len;
        put(&mut bytes, &mut len, &[FAST_OPEN, 2 + cookie.len]);
        put(&mut bytes, &mut len, cookie.bytes());
        // Whole or not at all, and to a word boundary: the rest of the array is NOPs.
        let end = before + 2 + cookie.bytes().len();
        len = if len == end { end.next_multiple_of(4).min(MAX_LEN) } else { before };
    }
    (bytes, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_syn_says_is_what_the_peer_reads() {
        let cookies = [None, Cookie::new(&[]), Cookie::new(&[7; 8]), Cookie::new(&[9; 16])];
        for timestamps in [None, Some(Timestamps { value: 0x0102_0304, echo: 7 })] {
            for (window_scale, sack_permitted) in [(None, false), (Some(9), true), (Some(9), false)] {
                for fast_open in cookies {
                    let mss = Some(1460);
                    let said = SynOptions { mss, window_scale, timestamps, sack_permitted, fast_open };
                    let (bytes, len) = syn_bytes(&said);
                    assert_eq!(len % 4, 0);
                    assert_eq!((parse(&bytes[..len]), walk(&bytes[..len])), (said, said));
                }
            }
        }
        assert_eq!((Cookie::new(&[1; 3]), Cookie::new(&[1; 2]), Cookie::new(&[1; 18])), (None, None, None));
    }

    #[test]
    fn selective_acknowledgements_are_read_as_they_were_written() {
        let block = |n| SackBlock { start: n, end: n + 100 };
        let mut blocks = SackBlocks::default();
        (1..=5).for_each(|n| blocks.push(block(n * 1000)));
        assert_eq!(blocks.as_slice().len(), MAX_SACK_BLOCKS);
        let t = Timestamps { value: 1, echo: 2 };
        let (bytes, len) = segment_bytes(None, &blocks);
        assert_eq!((len, sack_blocks(&bytes[..len])), (36, blocks));
        let (bytes, len) = segment_bytes(Some(t), &blocks);
        assert_eq!((len, timestamps(&bytes[..len])), (40, Some(t)));
        assert_eq!(sack_blocks(&bytes[..len]).as_slice(), &blocks.as_slice()[..3]);
        assert!(sack_blocks(&[SACK, 9, 0, 0, 0, 1, 0, 0, 0]).is_empty());
        assert!(sack_blocks(&[SACK, 10, 0, 0, 0, 1]).is_empty());
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
