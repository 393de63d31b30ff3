//! RACK (RFC 8985): a segment is lost when one that was sent later has arrived, and the time in which packets may
//! overtake each other has passed since.

use super::scoreboard::{self, end_of, is_waiting};
use super::{Facts, Phase, Progress, states, timer};
use crate::region::{FrameId, FrameMeta, Walk};
use crate::tcp::Seq;
use crate::tcp::turn::Turn;

/// net.ipv4.tcp_recovery.
const FIXED_WINDOW: u32 = 2;
const NO_DUPLICATE_THRESHOLD: u32 = 4;
/// LINUX: TCP_RACK_RECOVERY_THRESH; RFC 8985 6.2 step 4: "for 16 loss recoveries".
pub(super) const PERSISTENCE: u8 = 16;
/// LINUX: TCP_TIMEOUT_MIN, two ticks: a timer is not set for less.
const LEAST_WAIT: u64 = 2_000_000;

/// RFC 8985 6.2: "RACK_sent_after(): (t1 > t2) or (t1 == t2 and seq1 > seq2)".
pub(in crate::tcp) fn is_sent_after(at: u64, end: Seq, other_at: u64, other_end: Seq) -> bool {
    at > other_at || (at == other_at && end.is_after(other_end))
}

/// The peer has the segment: the newest of those that it has decides which of the others are late.
pub(super) fn advance(t: &mut Turn<'_>, meta: &FrameMeta, progress: &Progress) {
    let round_trip = (t.now.saturating_sub(meta.sent_at) / 1000).min(u64::from(u32::MAX)) as u32;
    if meta.transmissions > 1 && (round_trip < t.c.rtt.smallest || answers_earlier(t, meta, progress)) {
        return;
    }
    let r = &mut t.c.recovery;
    r.facts.set(Facts::ADVANCED);
    r.round_trip = round_trip;
    let end = end_of(meta);
    if is_sent_after(meta.sent_at, end, r.newest_sent_at, r.newest_end) {
        (r.newest_sent_at, r.newest_end) = (meta.sent_at, end);
    }
}

/// RFC 8985 6.2 step 2: what acknowledges an earlier transmission says nothing about the last one. It does so "if the
/// ACK's timestamp echo is before Segment.xmit_ts"; or within less than the shortest round trip.
///
/// LINUX: of what SACK names the echo says nothing: it is that of what came last before the hole.
fn answers_earlier(t: &Turn<'_>, meta: &FrameMeta, progress: &Progress) -> bool {
    let is_before = |echo: u32| (echo.wrapping_sub(t.timestamp_of(meta.sent_at)) as i32) < 0;
    progress.acked > 0 && progress.echo.is_some_and(is_before)
}

/// RFC 8985 6.2 step 4: how long, in microseconds, a segment may be late before it is lost.
fn reordering_window(t: &Turn<'_>) -> u32 {
    let (r, mode) = (&t.c.recovery, t.head.sysctls.tcp_recovery);
    if !r.facts.has(Facts::REORDERING_SEEN) {
        // "If no reordering has been observed": then recovery is entered and led by the old rule.
        let by_count = r.sacked >= u32::from(r.reordering) && mode & NO_DUPLICATE_THRESHOLD == 0;
        if r.phase >= Phase::RECOVERY || by_count {
            return 0;
        }
    }
    let steps = u32::from(r.reordering_steps.max(1));
    (t.c.rtt.smallest / 4).saturating_mul(steps).min(t.c.rtt.smoothed / 8)
}

/// How much longer the frame may take, in nanoseconds; None when its time is over.
pub(super) fn remaining(t: &Turn<'_>, meta: &FrameMeta, window: u32) -> Option<u64> {
    let allowed = u64::from(t.c.recovery.round_trip.saturating_add(window)) * 1000;
    meta.sent_at.saturating_add(allowed).checked_sub(t.now).filter(|&left| left > 0)
}

/// RFC 8985 6.2 step 5: marks what is late, oldest first. When the next one will be late, in nanoseconds from now.
fn detect(t: &mut Turn<'_>, progress: &mut Progress) -> Option<u64> {
    let window = reordering_window(t);
    let mut longest = None;
    let mut walk = Walk::over(t.frames, FrameId(t.c.recovery.order.first));
    while let Some((at, &meta)) = walk.item(t.frames) {
        walk.to(FrameId(meta.order.next));
        let r = &t.c.recovery;
        if !is_sent_after(r.newest_sent_at, r.newest_end, meta.sent_at, end_of(&meta)) {
            break;
        }
        match remaining(t, &meta, window) {
            None => scoreboard::mark_lost(t, at, progress),
            // "The reordering timer is set to the longest": all that is late is found at once.
            Some(left) => longest = longest.max(Some(left)),
        }
    }
    longest
}

/// After an ACK. True when the reordering timer was set.
pub(super) fn mark_lost(t: &mut Turn<'_>, progress: &mut Progress) -> bool {
    if !t.c.recovery.facts.take(Facts::ADVANCED) {
        return false;
    }
    let wait = detect(t, progress);
    if let Some(wait) = wait {
        timer::wait_for_reordering(t, wait + LEAST_WAIT);
    }
    wait.is_some()
}

/// RFC 8985 6.3: the reordering timer has expired.
pub(super) fn on_timer(t: &mut Turn<'_>) {
    let mut progress = Progress::begin(t);
    if let Some(wait) = detect(t, &mut progress) {
        timer::wait_for_reordering(t, wait + LEAST_WAIT);
    }
    if progress.lost > 0 {
        states::lost_without_ack(t, &progress);
    }
}

/// RFC 8985 6.2 step 4: each round trip with a D-SACK widens the window by a quarter of the shortest round trip, for
/// sixteen recoveries.
pub(super) fn adapt_window(t: &mut Turn<'_>) {
    let (una, next) = (t.c.send.una, t.c.send.next);
    let r = &mut t.c.recovery;
    if t.head.sysctls.tcp_recovery & FIXED_WINDOW != 0 {
        return;
    }
    let is_pending = r.facts.take(Facts::DUPLICATE_PENDING);
    if is_pending && !una.is_before(r.duplicate_round) {
        r.reordering_steps = r.reordering_steps.saturating_add(1);
        r.persistence = PERSISTENCE;
        r.duplicate_round = next;
    } else if r.persistence == 0 {
        r.reordering_steps = 1;
    }
}

/// A hole below `highest` was filled by what was never sent again: packets overtake each other on this path.
pub(super) fn note_reordering(t: &mut Turn<'_>, low: Seq) {
    let mss = u32::from(t.c.send.mss).max(1);
    let r = &mut t.c.recovery;
    if !low.is_before(r.highest) {
        return;
    }
    let distance = r.highest.since(low).div_ceil(mss);
    note_count(t, distance);
}

/// So many segments were overtaken.
pub(super) fn note_count(t: &mut Turn<'_>, segments: u32) {
    let most = t.head.sysctls.tcp_max_reordering.min(u32::from(u16::MAX));
    let r = &mut t.c.recovery;
    if segments > u32::from(r.reordering) {
        r.reordering = segments.min(most) as u16;
    }
    r.facts.set(Facts::REORDERING_SEEN);
    r.reorderings = r.reorderings.saturating_add(1);
}

/// RFC 6298 marks all as lost after a timeout.
///
/// LINUX: tcp_timeout_mark_lost(): only the first frame and what is late by its measure; the rest was sent
/// too recently to know.
pub(super) fn is_recent(t: &Turn<'_>, meta: &FrameMeta) -> bool {
    !is_waiting(meta) && remaining(t, meta, 0).is_some()
}
