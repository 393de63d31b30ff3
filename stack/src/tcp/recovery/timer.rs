//! What the timer of a connection with something outstanding waits for: a timeout, a tail loss probe, or the end of the
//! time in which packets may overtake each other. One deadline serves all, as only the earliest matters.

use super::{Progress, loss, rack, tail_probe};
use crate::region::FrameId;
use crate::tcp::connection::Marks;
use crate::tcp::turn::Turn;
use crate::tcp::{patience, rtt};

/// LINUX: TCP_THIN_LINEAR_RETRIES, and the flight of a thin stream.
const THIN_RETRIES: u8 = 6;
const THIN_SEGMENTS: u32 = 4;

/// When the retransmission timeout of what is outstanding ends: RFC 6298 5, from the last transmission of the oldest.
pub(super) fn timeout_at(t: &Turn<'_>) -> u64 {
    let sent_at = t.frames.meta(FrameId(t.c.send.queue.first)).map_or(t.now, |m| m.sent_at);
    sent_at.saturating_add(rtt::timeout(&t.c.rtt))
}

/// RFC 6298 5.3: "restart the retransmission timer so that it will expire after RTO seconds".
///
/// LINUX: tcp_rearm_rto(): what waited for something shorter goes on with what is left of the timeout.
pub(super) fn rearm(t: &mut Turn<'_>) {
    let waited_for_less = t.c.marks.has(Marks::TAIL_PROBE) || t.c.marks.has(Marks::REORDERING);
    t.c.marks.clear(Marks::TAIL_PROBE | Marks::REORDERING);
    t.c.timers.resend = match t.c.has_outstanding() {
        false => 0,
        true if waited_for_less => timeout_at(t).max(t.now + 1),
        true => t.now + patience::until_user_timeout(t, rtt::timeout(&t.c.rtt)),
    };
}

/// The timeout is counted from now.
pub(super) fn restart(t: &mut Turn<'_>) {
    t.c.marks.clear(Marks::TAIL_PROBE | Marks::REORDERING);
    rearm(t);
}

/// RFC 8985 6.2 step 5: "RACK_reorder_timer".
pub(super) fn wait_for_reordering(t: &mut Turn<'_>, nanoseconds: u64) {
    t.c.marks.clear(Marks::TAIL_PROBE);
    t.c.marks.set(Marks::REORDERING);
    // LINUX: never later than the timeout.
    t.c.timers.resend = t.now + nanoseconds.min(rtt::timeout(&t.c.rtt));
}

/// The timeout comes so soon, whatever was waited for.
pub(super) fn time_out_after(t: &mut Turn<'_>, nanoseconds: u64) {
    t.c.marks.clear(Marks::TAIL_PROBE | Marks::REORDERING);
    t.c.timers.resend = t.now + nanoseconds;
}

/// LINUX: tcp_clean_rtx_queue(): what SACK names puts the timeout off only if it was sent before the oldest was sent last;
/// otherwise a repetition that is lost would be waited for as long as anything new arrives.
pub(super) fn is_sacked_in_time(t: &Turn<'_>, progress: &Progress) -> bool {
    let oldest = t.frames.meta(FrameId(t.c.send.queue.first));
    progress.sacked
        && progress.oldest_sacked_at != 0
        && oldest.is_some_and(|m| progress.oldest_sacked_at < m.sent_at)
}

/// An ACK has told something of what is outstanding.
pub(super) fn after_ack(t: &mut Turn<'_>) {
    if !tail_probe::schedule(t, true) {
        rearm(t);
    }
}

/// New data went out; `was_idle` when nothing was outstanding before.
pub(in crate::tcp) fn after_new_data(t: &mut Turn<'_>, was_idle: bool) {
    let stands = !was_idle && t.c.timers.resend != 0 && !t.c.marks.has(Marks::TAIL_PROBE);
    if stands && t.c.marks.has(Marks::REORDERING) {
        return;
    }
    if !tail_probe::schedule(t, false) && !stands {
        rearm(t);
    }
}

/// The deadline has come. False when it was that of a timeout, which is the caller's to judge.
pub(in crate::tcp) fn due(t: &mut Turn<'_>) -> bool {
    if t.c.marks.take(Marks::TAIL_PROBE) {
        tail_probe::send(t);
    } else if t.c.marks.take(Marks::REORDERING) {
        rack::on_timer(t);
        if t.c.timers.resend == 0 {
            t.c.timers.resend = timeout_at(t).max(t.now + 1);
        }
    } else {
        return false;
    }
    true
}

/// The timeout has passed without an answer.
pub(in crate::tcp) fn timed_out(t: &mut Turn<'_>) {
    if t.c.timers.resending_since == 0 {
        t.c.timers.resending_since = t.now;
    }
    loss::enter(t);
    back_off(t);
    restart(t);
}

/// RFC 6298 5.5: "RTO <- RTO * 2".
///
/// LINUX: net.ipv4.tcp_thin_linear_timeouts: a stream of few segments tries some times without backing off.
fn back_off(t: &mut Turn<'_>) {
    let r = &t.c.recovery;
    let outstanding = r.order.len.saturating_add(r.sacked).saturating_add(r.waiting);
    let is_thin = outstanding < THIN_SEGMENTS && t.c.congestion.threshold != u32::MAX;
    let is_linear = t.head.sysctls.tcp_thin_linear_timeouts != 0 && is_thin;
    if !is_linear || t.c.send.retries > THIN_RETRIES {
        rtt::back_off(&mut t.c.rtt);
    }
}
