//! A peer without SACK: duplicate ACKs are counted, each for a segment that has arrived (RFC 5681 3.2, RFC 6582).

use super::scoreboard::{self, LOST};
use super::{Phase, Progress, rack};
use crate::region::FrameId;
use crate::tcp::turn::Turn;

/// The peer acknowledged the same place once more: a segment has left the network.
pub(super) fn add(t: &mut Turn<'_>, progress: &mut Progress) {
    t.c.recovery.sacked = t.c.recovery.sacked.saturating_add(1);
    // One at least is the hole itself.
    let outstanding = t.c.recovery.order.len.saturating_add(t.c.recovery.waiting);
    let holes = t.c.recovery.waiting.max(1);
    if t.c.recovery.sacked.saturating_add(holes) > outstanding {
        t.c.recovery.sacked = outstanding.saturating_sub(holes);
        // LINUX: tcp_check_reno_reordering(): more duplicates than segments.
        rack::note_count(t, outstanding);
        return;
    }
    progress.delivered = progress.delivered.saturating_add(u32::from(t.c.send.mss));
}

/// The ACK moved on by `progress.segments`: "one of them the hole, the rest were counted before".
pub(super) fn remove(t: &mut Turn<'_>, progress: &mut Progress) {
    let counted = t.c.recovery.sacked;
    let mss = u32::from(t.c.send.mss);
    let credited = counted.saturating_mul(mss);
    progress.delivered = progress.acked.saturating_sub(credited).max(mss.min(progress.acked));
    t.c.recovery.sacked = counted.saturating_sub(progress.segments.saturating_sub(1));
    let outstanding = t.c.recovery.order.len.saturating_add(t.c.recovery.waiting);
    t.c.recovery.sacked = t.c.recovery.sacked.min(outstanding);
}

pub(super) fn reset(t: &mut Turn<'_>) {
    t.c.recovery.sacked = 0;
}

/// RFC 6582 3.2: the first segment is lost after enough duplicates (step 2), and during recovery when an ACK moves on
/// but not to its end, "a partial acknowledgment" (step 3).
pub(super) fn mark_lost(t: &mut Turn<'_>, progress: &mut Progress) {
    let r = &t.c.recovery;
    let is_lost = match r.phase {
        Phase::RECOVERY => progress.acked > 0,
        Phase::LOSS => false,
        _ => r.sacked >= u32::from(r.reordering),
    };
    let first = FrameId(t.c.send.queue.first);
    if is_lost && t.frames.meta(first).is_some_and(|m| m.flags & LOST == 0) {
        scoreboard::mark_lost(t, first, progress);
    }
}
