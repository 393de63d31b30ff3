//! What the peer acknowledges: RFC 9293 3.10.7.4, "fifth, check the ACK field".

use super::connection::{Marks, Sending};
use super::recovery::Progress;
use super::segment::Segment;
use super::turn::Turn;
use super::{
    Seq, State, challenge, close, congestion, ecn, info, input, path_mtu, readiness, recovery, rtt, tuning,
    urgent,
};
use crate::region::{FrameId, Steps, Walked};
use crate::wire::Flags;

/// False: the segment is to be dropped.
pub(super) fn process(t: &mut Turn<'_>, segment: &Segment) -> bool {
    let send = &t.c.send;
    // "If the ACK acks something not yet sent, then send an ACK, drop the segment, and return."
    if segment.ack.is_after(send.next) {
        challenge::challenge(t);
        return false;
    }
    let mut progress = Progress::of(t, segment);
    if segment.ack.is_before(send.una) {
        // RFC 5961 5.2: an ACK older than any window is a blind guess.
        if (segment.ack + send.largest_window).is_before(send.una) {
            challenge::challenge(t);
            return false;
        }
        // LINUX: an ACK that was overtaken may still name what arrived beyond a hole.
        recovery::take_blocks(t, segment, &mut progress);
        judge(t, &mut progress);
        return true;
    }
    (t.c.send.probes, t.c.probing.soft_error) = (0, 0);
    t.c.timers.last_received = t.now;
    let known = t.c.tally.delivered;
    let window_moved = update_window(t, segment);
    recovery::take_blocks(t, segment, &mut progress);
    if !t.c.has_outstanding() {
        // A report of duplicates may show a reduction to have been needless after all is acknowledged.
        if progress.duplicate_reported {
            judge(t, &mut progress);
        }
        return true;
    }
    ecn::on_ack(t, segment);
    if segment.ack == t.c.send.una {
        progress.is_duplicate = segment.sequence_len() == 0 && !window_moved && !progress.duplicate_reported;
        judge(t, &mut progress);
    } else {
        advance(t, segment.ack, &mut progress);
        if t.c.fin_is_sent() && !t.c.has_outstanding() {
            fin_acknowledged(t, segment);
        }
    }
    if segment.flags.has(Flags::ECE) {
        let newly = t.c.tally.delivered.wrapping_sub(known);
        t.c.tally.delivered_marked = t.c.tally.delivered_marked.wrapping_add(newly);
    }
    true
}

/// The same of the next segment of the stream, when it acknowledges something new, tells nothing else of what is
/// outstanding, and our FIN was not sent.
#[inline]
pub(super) fn moves_on(t: &mut Turn<'_>, segment: &Segment) {
    let mut progress = Progress::of(t, segment);
    (t.c.send.probes, t.c.probing.soft_error) = (0, 0);
    update_window(t, segment);
    advance(t, segment.ack, &mut progress);
}

/// What the ACK says of round trips and losses.
fn judge(t: &mut Turn<'_>, progress: &mut Progress) {
    let round_trip = rtt::on_ack(t, progress);
    recovery::on_ack(t, progress, round_trip);
}

/// Whether the segment's window counts.
///
/// LINUX: tcp_may_update_window(): of two segments of one place that acknowledge the same, the RFC believes the later
/// one; as nobody knows which that is, the larger window counts, or that which closes it.
pub(super) fn is_newer(send: &Sending, segment: &Segment, window: u32) -> bool {
    segment.ack.is_after(send.una)
        || send.window_seq.is_before(segment.seq)
        || (send.window_seq == segment.seq && (window > send.window || window == 0))
}

/// Takes over the peer's window, unless the segment is older than the one it was last taken from. True if it changed.
fn update_window(t: &mut Turn<'_>, segment: &Segment) -> bool {
    let send = &mut t.c.send;
    let window = u32::from(segment.window) << send.scale.min(14);
    if !is_newer(send, segment, window) {
        return false;
    }
    send.window_seq = segment.seq;
    let moved = window != send.window;
    send.window = window;
    send.largest_window = send.largest_window.max(window);
    if moved && window > 0 && t.c.marks.take(Marks::PROBING) {
        t.c.timers.resend = 0;
        t.c.timers.resending_since = 0;
        t.c.rtt.backoff = 0;
    }
    moved
}

/// Something new is acknowledged.
fn advance(t: &mut Turn<'_>, ack: Seq, progress: &mut Progress) {
    let was_writable = readiness::is_writable(t.c, t.frames.chunk_size(), &t.head.sysctls);
    progress.acked = ack.since(t.c.send.una);
    release_until(t, ack, progress);
    t.c.send.una = ack;
    info::note_acked(t, progress.acked);
    path_mtu::on_ack(t);
    urgent::on_ack(t.c);
    t.c.timers.resending_since = 0;
    t.c.send.retries = 0;
    judge(t, progress);
    if !t.c.has_outstanding() {
        t.c.timers.resend = 0;
    }
    if !was_writable {
        tuning::grow_send_buffer(t);
        if readiness::is_writable(t.c, t.frames.chunk_size(), &t.head.sysctls) {
            t.announce(readiness::WRITABLE);
        }
    }
}

/// Frees the frames that lie before `ack` in whole, and cuts what is acknowledged off the next one.
fn release_until(t: &mut Turn<'_>, ack: Seq, progress: &mut Progress) {
    recovery::release_in_order(t, ack, progress);
    let mut steps = Steps::over(t.frames);
    while let Some(frame) = FrameId(t.c.send.queue.first).some()
        && steps.take(t.frames.damage())
    {
        let Some(meta) = t.frames.meta(frame) else { break };
        let start = Seq(meta.seq);
        if !ack.is_after(start) {
            break;
        }
        if ack.is_before(start + recovery::sequence_len(meta)) {
            recovery::acknowledged_in_part(t, frame, ack.since(start), progress);
            break;
        }
        recovery::acknowledged(t, frame, progress);
        t.c.send.queue.pop_front(t.frames);
        t.frames.release(frame);
    }
}

fn fin_acknowledged(t: &mut Turn<'_>, segment: &Segment) {
    match t.c.state {
        State::FIN_WAIT_1 => {
            t.enter(State::FIN_WAIT_2);
            t.announce(readiness::WRITABLE);
            if !close::wait_for_fin(t) {
                // LINUX: tcp_rcv_state_process(): the peer hears of it.
                input::refuse(t, segment);
            }
        }
        State::CLOSING => t.enter(State::TIME_WAIT),
        State::LAST_ACK => t.enter(State::CLOSED),
        _ => {}
    }
    if t.c.state == State::CLOSED || t.c.state == State::TIME_WAIT {
        t.announce(readiness::HUP | readiness::READABLE | readiness::RDHUP | readiness::WRITABLE);
    }
}

/// The windows of a fresh connection.
pub(super) fn start(t: &mut Turn<'_>, segment_seq: Seq, ack: Seq, window: u32) {
    let send = &mut t.c.send;
    send.una = ack;
    send.window = window;
    send.largest_window = window;
    send.window_seq = segment_seq;
    rtt::start(t);
    recovery::start(t);
    congestion::start(t);
}
