//! A retransmission timeout, and finding out whether it was needless: RFC 5681 3.1, F-RTO (RFC 5682).

use super::scoreboard::{self, SACKED};
use super::{Facts, Phase, Progress, counting, rack, timer, undo};
use crate::region::{FrameId, Walk};
use crate::tcp::congestion;
use crate::tcp::connection::Marks;
use crate::tcp::turn::Turn;

const RENEGING_WAIT: u64 = 10_000_000;

/// Nothing was heard for a whole timeout: what is outstanding counts as lost, and is sent again as the window opens.
pub(super) fn enter(t: &mut Turn<'_>) {
    let mut progress = Progress::begin(t);
    mark(t, &mut progress);
    // RFC 5681 3.1: "when a TCP sender detects segment loss using the retransmission timer and the given segment has
    // already been retransmitted [...] the value of ssthresh is held constant".
    let was = t.c.recovery.phase;
    let is_repeated = t.c.send.retries > 1;
    let is_first = was <= Phase::DISORDER || !t.c.recovery.until.is_after(t.c.send.una);
    let is_first = is_first || (was == Phase::LOSS && !is_repeated);
    congestion::on_timeout(t, is_first);
    if is_first {
        t.c.recovery.facts.clear(Facts::WINDOW_STAYS);
        undo::begin(t);
    }
    forget_overestimate(t, was);
    t.c.congestion.window = t.c.in_flight().saturating_add(u32::from(t.c.send.mss));
    t.c.recovery.phase = Phase::LOSS;
    t.c.recovery.until = t.c.send.next;
    t.c.marks.clear(Marks::PROBE_OUT);
    // RFC 5682 2.1 step 1, and not while an earlier recovery may confuse it.
    let is_tried = t.head.sysctls.tcp_frto != 0 && (was < Phase::RECOVERY || is_repeated);
    t.c.recovery.facts.clear(Facts::NEW_FIRST);
    t.c.recovery.facts.assign(Facts::FRTO, is_tried);
}

/// LINUX: tcp_timeout_mark_lost(): a first frame that the peer has selectively acknowledged and yet does not
/// acknowledge says that the peer threw all such away.
fn mark(t: &mut Turn<'_>, progress: &mut Progress) {
    let first = FrameId(t.c.send.queue.first);
    if t.frames.meta(first).is_some_and(|m| m.flags & SACKED != 0) {
        t.counters.tcp_reneged += 1;
        scoreboard::renege(t, progress);
    }
    if !scoreboard::is_selective(t) {
        counting::reset(t);
    }
    let mut walk = Walk::over(t.frames, FrameId(t.c.recovery.order.first));
    while let Some((at, meta)) = walk.item(t.frames) {
        walk.to(FrameId(meta.order.next));
        if at == first || !rack::is_recent(t, meta) {
            scoreboard::mark_lost(t, at, progress);
        }
    }
    t.c.recovery.resend = first;
    t.c.recovery.cursor = FrameId::NONE;
}

/// LINUX: tcp_check_sack_reneging(): an ACK that moved on and stopped in front of what the peer has named before. It may
/// be out of order, so the timeout comes soon, but not at once.
pub(super) fn suspects_reneging(t: &mut Turn<'_>, progress: &mut Progress) -> bool {
    let first = FrameId(t.c.send.queue.first);
    if progress.acked == 0 || t.frames.meta(first).is_none_or(|m| m.flags & SACKED == 0) {
        return false;
    }
    let half = u64::from(t.c.rtt.smoothed / 16) * 1000;
    timer::time_out_after(t, half.max(RENEGING_WAIT));
    progress.is_waiting = true;
    true
}

/// LINUX: tcp_enter_loss(): that it came to a timeout although much had arrived beyond the hole says that packets do not
/// overtake each other as far as was thought.
fn forget_overestimate(t: &mut Turn<'_>, was: Phase) {
    let usual = t.head.sysctls.tcp_reordering.min(u32::from(u16::MAX)) as u16;
    let r = &mut t.c.recovery;
    if was <= Phase::DISORDER && r.sacked >= u32::from(usual) {
        r.reordering = r.reordering.min(usual);
    }
}

/// An ACK while the loss is repaired.
pub(super) fn on_ack(t: &mut Turn<'_>, progress: &mut Progress) {
    let moved = progress.acked > 0;
    let is_through = !t.c.send.una.is_before(t.c.recovery.until);
    t.c.recovery.facts.clear(Facts::NEW_FIRST);
    if moved && undo::loss(t, progress, false) {
        return;
    }
    if t.c.recovery.facts.has(Facts::FRTO) && judge_timeout(t, progress, moved && !is_through) {
        return;
    }
    if is_through {
        undo::recovery(t, progress);
        return;
    }
    if !scoreboard::is_selective(t) {
        // A duplicate in answer to new data means that this has arrived.
        if t.c.send.next.is_after(t.c.recovery.until) && progress.is_duplicate {
            counting::add(t, progress);
        } else if moved {
            counting::reset(t);
        }
    }
}

/// RFC 5682 3.1. True when the timeout was needless, or new data is to tell.
fn judge_timeout(t: &mut Turn<'_>, progress: &Progress, moved_within: bool) -> bool {
    // Step 3b: "if the acknowledgment [...] acknowledges data that was not retransmitted, declare the timeout spurious".
    if progress.original_arrived && undo::loss(t, progress, true) {
        t.counters.tcp_spurious_timeouts += 1;
        return true;
    }
    let r = &mut t.c.recovery;
    if t.c.send.next.is_after(r.until) {
        // Step 3a: a duplicate in answer to the new data; the loss was real.
        if progress.sacked || progress.is_duplicate {
            r.facts.clear(Facts::FRTO);
        }
    } else if moved_within {
        // Step 2b: "transmit up to two new segments", and see what comes back.
        let window_end = t.c.send.una + t.c.send.window;
        if t.c.send.fresh.some().is_some() && window_end.is_after(t.c.send.next) {
            r.until = t.c.send.next;
            r.facts.set(Facts::NEW_FIRST);
            return true;
        }
        r.facts.clear(Facts::FRTO);
    }
    false
}

/// Output is through. Without a new segment that could tell, the usual recovery goes on.
pub(in crate::tcp) fn after_output(t: &mut Turn<'_>) -> bool {
    let r = &mut t.c.recovery;
    if !r.facts.has(Facts::NEW_FIRST) || t.c.send.next.is_after(r.until) {
        return false;
    }
    r.facts.clear(Facts::NEW_FIRST | Facts::FRTO);
    true
}
