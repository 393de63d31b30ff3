//! What selective acknowledgements tell the peer: RFC 2018, and RFC 2883 for what came twice.

use super::connection::Marks;
use super::turn::Turn;
use super::{Seq, beyond};
use crate::wire::options::{MAX_SACK_BLOCKS, SACK_BLOCKS_WITH_TIMESTAMPS, SackBlock, SackBlocks};

/// Two NOPs, kind and length; a block.
const FIXED_LEN: u16 = 4;
const BLOCK_LEN: u16 = 8;

/// The peer has sent these bytes though they were here.
///
/// LINUX: tcp_dsack_set() and tcp_dsack_extend(): one block for each ACK; what touches it makes it larger.
pub(super) fn duplicate(t: &mut Turn<'_>, start: Seq, end: Seq) {
    if !t.c.marks.has(Marks::SACK) || t.head.sysctls.tcp_dsack == 0 || !end.is_after(start) {
        return;
    }
    let known = &mut t.c.receive;
    if !t.c.marks.has(Marks::DUPLICATE) {
        t.c.marks.set(Marks::DUPLICATE);
        (known.duplicate_start, known.duplicate_end) = (start, end);
    } else if !start.is_after(known.duplicate_end) && !end.is_before(known.duplicate_start) {
        known.duplicate_start = known.duplicate_start.earlier_of(start);
        known.duplicate_end = known.duplicate_end.later_of(end);
    }
}

/// There is something to tell.
pub(super) fn is_due(t: &Turn<'_>) -> bool {
    t.c.marks.has(Marks::SACK) && (t.c.receive.runs.len != 0 || t.c.marks.has(Marks::DUPLICATE))
}

/// The blocks of the next segment, which carries `payload` bytes. A full one has no room for them: what they say has
/// been told by an ACK of its own, since each segment beyond a hole and each duplicate is answered at once.
pub(super) fn blocks(t: &mut Turn<'_>, payload: u16) -> SackBlocks {
    let mut blocks = SackBlocks::default();
    let room = t.c.send.mss.saturating_sub(payload).saturating_sub(FIXED_LEN) / BLOCK_LEN;
    let most = if t.c.marks.has(Marks::TIMESTAMPS) { SACK_BLOCKS_WITH_TIMESTAMPS } else { MAX_SACK_BLOCKS };
    let mut room = most.min(usize::from(room));
    // RFC 2883 4: "the first block of the SACK option should specify the range of sequence numbers".
    if room > 0 && t.c.marks.take(Marks::DUPLICATE) {
        let (start, end) = (t.c.receive.duplicate_start.0, t.c.receive.duplicate_end.0);
        blocks.push(SackBlock { start, end });
        t.counters.tcp_duplicates_reported += 1;
        room -= 1;
    }
    // RFC 2018 4: "the first SACK block MUST specify the contiguous block of data containing the segment which
    // triggered this ACK", and then "repeating the most recently reported SACK blocks".
    for run in beyond::by_recency(t.c, t.frames).take(room) {
        blocks.push(SackBlock { start: run.start.0, end: run.end.0 });
    }
    blocks
}
