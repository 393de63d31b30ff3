//! Payload and FIN of an acceptable segment: RFC 9293 3.10.7.4, "seventh" and "eighth".

use super::connection::Marks;
use super::segment::Segment;
use super::turn::Turn;
use super::{
    Connection, Seq, State, beyond, delayed_ack, ecn, input, readiness, receive_queue, sack, tuning,
};
use crate::Error;
use crate::wire::Flags;

pub(super) fn process(t: &mut Turn<'_>, segment: &Segment) {
    if !t.c.state.may_receive() {
        return after_the_end(t, segment);
    }
    if reader_is_gone(t, segment) {
        // RFC 2525 2.17 and LINUX: TCPABORTONDATA: nobody will ever read it, and the peer should know.
        input::refuse(t, segment);
        return input::fail(t, Error::Pipe);
    }
    if segment.len > 0 {
        ecn::on_segment(t, segment);
        tuning::on_segment(t, segment);
        let is_marked = delayed_ack::is_marked(segment.flags);
        delayed_ack::on_segment(t.c, &t.head.sysctls, segment.len, is_marked, t.now);
    }
    let is_next = !segment.seq.is_after(t.c.receive.next);
    if segment.len > 0 && is_next && t.frames.is_exhausted() && !beyond::prune(t) {
        // Nobody reads, and the windows that were granted once are more than the region holds. What is dropped here
        // comes again; what is kept of the frames still carries ACKs, by which others move.
        t.counters.no_frame += 1;
        return;
    }
    if segment.len > 0 && is_next && t.c.receive.unread >= t.c.receive_buffer() {
        // A scaled window is rounded up with each ACK, so that many small segments could go on without end.
        t.counters.tcp_receive_full += 1;
        t.c.marks.set(Marks::ACK_NOW);
        return;
    }
    let fits = cut_to_window(t, segment);
    if !is_next {
        // RFC 5681 4.2: an ACK at once for each segment beyond a hole; what came before it has its own.
        acknowledge_before_hole(t);
        beyond::insert(t, segment, fits);
        return delayed_ack::acknowledge_beyond_hole(t);
    }
    let had_hole = t.c.receive.beyond.len != 0;
    let already = t.c.receive.next;
    let advanced = receive_queue::append(t, segment, fits);
    if had_hole {
        beyond::drain(t);
        // "a segment that fills in all or part of a gap": at once as well.
        t.c.marks.set(Marks::ACK_NOW);
    }
    if segment.seq.is_before(already) {
        came_twice(t, segment, already);
    } else if !advanced {
        t.counters.tcp_duplicates += 1;
        t.c.marks.set(Marks::ACK_NOW);
    }
}

/// The segment begins with bytes that are `already` here. RFC 2883: what tells of them is an ACK at once.
pub(super) fn came_twice(t: &mut Turn<'_>, segment: &Segment, already: Seq) {
    if !segment.end().is_after(already) {
        t.counters.tcp_duplicates += 1;
    }
    t.c.marks.set(Marks::ACK_NOW);
    // LINUX: its sender has timed out perhaps, and begins anew with a small window.
    delayed_ack::be_quick(t.c);
    sack::duplicate(t, segment.seq, segment.end().earlier_of(already));
    if t.c.marks.has(Marks::DUPLICATE) {
        delayed_ack::acknowledge(t);
    }
}

/// Payload bytes of the segment that lie within the window, and whether its FIN does.
#[derive(Clone, Copy)]
pub(super) struct Fit {
    pub len: u16,
    pub fin: bool,
}

fn cut_to_window(t: &Turn<'_>, segment: &Segment) -> Fit {
    let room = t.c.receive.edge.since(segment.seq);
    let room = if segment.seq.is_after(t.c.receive.edge) { 0 } else { room };
    let len = u32::from(segment.len).min(room) as u16;
    Fit { len, fin: segment.flags.has(Flags::FIN) && len == segment.len }
}

fn acknowledge_before_hole(t: &mut Turn<'_>) {
    if t.c.receive.acked != t.c.receive.next {
        delayed_ack::acknowledge(t);
    }
}

/// A connection that its program has closed gets bytes.
fn reader_is_gone(t: &Turn<'_>, segment: &Segment) -> bool {
    let waits = matches!(t.c.state, State::FIN_WAIT_1 | State::FIN_WAIT_2);
    waits
        && (t.c.marks.has(Marks::READ_SHUT) || t.c.marks.has(Marks::ORPHAN))
        && segment.len > 0
        && segment.payload_end().is_after(t.c.receive.next)
}

/// The peer has sent its FIN: anything new contradicts it, anything old is acknowledged again.
fn after_the_end(t: &mut Turn<'_>, segment: &Segment) {
    if segment.seq.is_before(t.c.receive.next) {
        t.counters.tcp_duplicates += 1;
        t.c.marks.set(Marks::ACK_NOW);
    }
}

/// The peer's FIN is next in the stream.
pub(super) fn fin(t: &mut Turn<'_>) {
    t.c.receive.next += 1;
    t.c.receive.edge = t.c.receive.edge.later_of(t.c.receive.next);
    t.c.marks.set(Marks::FIN_RECEIVED);
    if t.c.state == State::ESTABLISHED {
        delayed_ack::expect_reply(t.c, &t.head.sysctls);
    } else {
        t.c.marks.set(Marks::ACK_NOW);
    }
    t.announce(readiness::READABLE | readiness::RDHUP);
    let fin_is_acknowledged = t.c.fin_is_sent() && !t.c.has_outstanding();
    t.enter(match t.c.state {
        State::ESTABLISHED => State::CLOSE_WAIT,
        State::FIN_WAIT_1 if fin_is_acknowledged => State::TIME_WAIT,
        State::FIN_WAIT_1 => State::CLOSING,
        State::FIN_WAIT_2 => State::TIME_WAIT,
        other => other,
    });
    if t.c.state == State::TIME_WAIT || t.c.state == State::CLOSING {
        t.announce(readiness::HUP);
    }
}

/// Bytes have been put at the end of the receive queue, and perhaps the peer's FIN is next.
pub(super) fn arrived(t: &mut Turn<'_>, bytes: u32, fin_follows: bool) -> Seq {
    if bytes > 0 {
        advance(t.c, bytes);
    }
    if fin_follows {
        fin(t);
    }
    t.c.receive.next
}

/// So many bytes, at least one, are at the end of the receive queue that were not.
#[inline]
pub(super) fn advance(c: &mut Connection, bytes: u32) {
    c.receive.next += bytes;
    c.receive.unread = c.receive.unread.saturating_add(bytes);
    c.tally.bytes_received = c.tally.bytes_received.wrapping_add(u64::from(bytes));
    c.news |= readiness::READABLE as u16;
}
