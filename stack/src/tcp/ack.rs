//! What the peer acknowledges: RFC 9293 3.10.7.4, "fifth, check the ACK field".

use super::connection::Marks;
use super::recovery::Phase;
use super::segment::Segment;
use super::turn::Turn;
use super::{Seq, State, congestion, input, rate, readiness, recovery, rtt, send_queue, tuning};
use crate::region::FrameId;

/// LINUX: net.ipv4.tcp_fin_timeout.
const ORPHAN_FIN_WAIT_2: u64 = 60_000_000_000;

/// False: the segment is to be dropped.
pub(super) fn process(t: &mut Turn<'_>, segment: &Segment) -> bool {
    let send = &t.c.send;
    // "If the ACK acks something not yet sent, then send an ACK, drop the segment, and return."
    if segment.ack.is_after(send.next) {
        input::challenge(t);
        return false;
    }
    if segment.ack.is_before(send.una) {
        // RFC 5961 5.2: an ACK older than any window is a blind guess.
        if (segment.ack + send.largest_window).is_before(send.una) {
            input::challenge(t);
            return false;
        }
        return true;
    }
    t.c.send.probes = 0;
    let window_moved = update_window(t, segment);
    if segment.ack == t.c.send.una {
        if t.c.has_outstanding() && segment.sequence_len() == 0 && !window_moved {
            recovery::duplicate_ack(t);
        }
        return true;
    }
    advance(t, segment);
    true
}

/// Takes over the peer's window, unless the segment is older than the one it was last taken from. True if it changed.
fn update_window(t: &mut Turn<'_>, segment: &Segment) -> bool {
    let send = &mut t.c.send;
    let is_newer = send.window_seq.is_before(segment.seq)
        || (send.window_seq == segment.seq && !send.window_ack.is_after(segment.ack));
    if !is_newer {
        return false;
    }
    (send.window_seq, send.window_ack) = (segment.seq, segment.ack);
    let window = u32::from(segment.window) << send.scale.min(14);
    let moved = window != send.window;
    send.window = window;
    send.largest_window = send.largest_window.max(window);
    if moved && window > 0 && t.c.marks.take(Marks::PROBING) {
        t.c.timers.resend = 0;
        t.c.rtt.backoff = 0;
    }
    moved
}

/// Something new is acknowledged.
fn advance(t: &mut Turn<'_>, segment: &Segment) {
    let ack = segment.ack;
    let was_writable = readiness::is_writable(t.c, t.frames.chunk_size(), &t.head.sysctls);
    let acked = ack.since(t.c.send.una);
    let sample = release_until(t, ack);
    t.c.send.una = ack;
    rtt::on_ack(t, segment, sample);
    t.c.timers.resending_since = 0;
    recovery::on_ack(t, acked);
    t.c.timers.resend = if t.c.has_outstanding() { t.now + rtt::timeout(&t.c.rtt) } else { 0 };
    if !was_writable {
        tuning::grow_send_buffer(t);
        if readiness::is_writable(t.c, t.frames.chunk_size(), &t.head.sysctls) {
            t.announce(readiness::WRITABLE);
        }
    }
    if t.c.fin_is_sent() && !t.c.has_outstanding() {
        fin_acknowledged(t);
    }
}

/// What the frames that an ACK released say about the round trip.
#[derive(Clone, Copy, Default)]
pub(super) struct Sample {
    /// When the youngest of them was sent; 0 for none.
    pub sent_at: u64,
    /// When the first of those that were sent more than once was last sent; 0 when there is none.
    pub resent_at: u64,
}

/// Frees the frames that lie before `ack` in whole, and cuts what is acknowledged off the next one.
fn release_until(t: &mut Turn<'_>, ack: Seq) -> Sample {
    let mut sample = Sample::default();
    while let Some(frame) = FrameId(t.c.send.queue.first).some() {
        let Some((start, end)) =
            send_queue::extent(t.frames, frame).filter(|(start, _)| ack.is_after(*start))
        else {
            break;
        };
        rate::on_delivered(t, frame);
        let Some(meta) = t.frames.meta_mut(frame) else { break };
        sample.sent_at = meta.sent_at;
        if meta.transmissions > 1 && sample.resent_at == 0 {
            sample.resent_at = meta.sent_at;
        }
        if ack.is_before(end) {
            let cut = ack.since(start) as u16;
            meta.payload += cut;
            meta.payload_len -= cut;
            meta.seq = ack.0;
            let sum = crate::wire::checksum::sum(t.frames.payload(frame));
            if let Some(meta) = t.frames.meta_mut(frame) {
                meta.sum = sum;
            }
            break;
        }
        if t.c.recovery.frame == frame {
            t.c.recovery.frame = FrameId(meta.link.next);
        }
        t.c.send.queue.pop_front(t.frames);
        t.frames.release(frame);
    }
    sample
}

fn fin_acknowledged(t: &mut Turn<'_>) {
    match t.c.state {
        State::FIN_WAIT_1 => {
            t.enter(State::FIN_WAIT_2);
            t.announce(readiness::WRITABLE);
            if t.c.marks.has(Marks::ORPHAN) {
                t.c.timers.idle = t.now + ORPHAN_FIN_WAIT_2;
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
    (send.window_seq, send.window_ack) = (segment_seq, ack);
    t.c.recovery.phase = Phase::OPEN;
    t.c.recovery.until = ack - 1;
    t.c.recovery.resend = ack;
    congestion::start(t);
}
