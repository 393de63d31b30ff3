//! What may go out now: lost segments, fresh ones, the FIN, an ACK.

use super::burst;
use super::connection::{Connection, Marks};
use super::transmit::DEFAULT_MSS;
use super::turn::Turn;
use super::{
    State, congestion, delayed_ack, handshake, info, pacing, path_mtu, rate, recovery, rtt, send_queue,
};
use crate::region::{FrameId, Steps, Walked};
use crate::wire::Flags;

/// LINUX: TCP_MIN_SND_MSS less the longest options: a small window makes segments no smaller.
const LEAST_BOUND: u32 = 48;

pub(super) fn run(t: &mut Turn<'_>) {
    t.c.marks.clear(Marks::PACED);
    path_mtu::forget_if_old(t);
    match t.c.state {
        State::SYN_RECEIVED => {
            if t.c.marks.has(Marks::ACK_NOW) {
                handshake::send_syn(t);
            }
            if t.c.is_open_early() && has_something(t) && t.has_path() {
                send(t);
            }
        }
        state if state.may_transmit() => {
            if has_something(t) && t.has_path() {
                send(t);
            }
            delayed_ack::acknowledge_if_due(t);
        }
        State::FIN_WAIT_2 | State::TIME_WAIT => delayed_ack::acknowledge_if_due(t),
        _ => {}
    }
    info::note_limit(t);
}

fn has_something(t: &Turn<'_>) -> bool {
    t.c.send.fresh.some().is_some() || t.c.recovery.waiting > 0 || fin_is_due(t)
}

fn fin_is_due(t: &Turn<'_>) -> bool {
    t.c.marks.has(Marks::FIN_QUEUED) && !t.c.fin_is_sent()
}

fn send(t: &mut Turn<'_>) {
    recovery::resend_lost(t);
    if !t.c.has_outstanding() && t.c.timers.last_sent != 0 {
        congestion::after_idle(t);
    }
    let (before, was_idle) = (t.c.send.next, !t.c.has_outstanding());
    let is_held = path_mtu::probe(t) == path_mtu::Verdict::Wait;
    let mut stop = if is_held { Stop::Partial } else { Stop::Done };
    // One for each frame, and one for each time that several go or one is cut.
    let mut steps = Steps::of(t.frames.most().saturating_mul(2));
    while !is_held
        && let Some(frame) = t.c.send.fresh.some()
        && steps.take(t.frames.damage())
    {
        if burst::send(t, &mut steps) {
            continue;
        }
        stop = if pacing::holds(t) { Stop::Pace } else { send_next(t, frame, Push::Usual) };
        if stop != Stop::Done {
            break;
        }
    }
    if t.c.send.fresh.is_none() && fin_is_due(t) {
        stop = send_fin(t);
    }
    if recovery::after_output(t) {
        recovery::resend_lost(t);
    }
    congestion::note_use(t, stop == Stop::Congestion);
    let has_all_sent = stop == Stop::Done && t.c.recovery.waiting == 0;
    if has_all_sent && t.c.in_flight() < t.c.congestion.window {
        rate::on_idle_program(t);
    }
    if t.c.send.next != before {
        t.c.marks.clear(Marks::PROBING);
        recovery::after_new_data(t, was_idle);
    }
    set_timer(t, stop);
}

/// Whether a segment has to wait for its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Push {
    Usual,
    /// A tail loss probe goes beyond the congestion window, and is not held back for being small.
    Probe,
}

/// Sends one fresh segment to see whether the tail of the flight was lost. False when there is none that may go.
pub(super) fn send_probe(t: &mut Turn<'_>) -> bool {
    let fresh = t.c.send.fresh;
    fresh.some().is_some() && t.has_path() && send_next(t, fresh, Push::Probe) == Stop::Done
}

/// Why output stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It did not: the segment was sent.
    Done,
    Congestion,
    /// The schedule of pacing holds it up; a timer is set.
    Pace,
    Window,
    /// A partial segment waits for more.
    Partial,
    /// A frame is missing; a timer is set.
    Frame,
}

/// Sends the first fresh frame, or as much of it as may go.
fn send_next(t: &mut Turn<'_>, frame: FrameId, push: Push) -> Stop {
    let Some((start, end)) = send_queue::extent(t.frames, frame) else {
        t.c.send.fresh = FrameId::NONE;
        return Stop::Done;
    };
    let mut len = end.since(start);
    let flight = t.c.in_flight();
    let is_probe = push == Push::Probe;
    if flight > 0 && flight.saturating_add(len) > t.c.congestion.window && !is_probe {
        return Stop::Congestion;
    }
    let mss = full_segment(t);
    let room = window_room(t);
    if len > room && !window_allows_part(t, room.min(mss)) {
        return Stop::Window;
    }
    let allowed = len.min(room).min(mss);
    if allowed < len {
        if !send_queue::split(t, frame, allowed as u16) {
            return Stop::Frame;
        }
        len = allowed;
    }
    let next = FrameId(t.frames.meta(frame).map_or(0, |m| m.link.next));
    let is_last = next.is_none();
    if is_last && len < mss && !is_probe && !partial_may_go(t) {
        return Stop::Partial;
    }
    let with_fin = is_last && fin_is_due(t) && room > len;
    if with_fin && let Some(meta) = t.frames.meta_mut(frame) {
        meta.flags |= recovery::FIN;
    }
    delayed_ack::note_replies(t, 1);
    t.send_queued(frame);
    t.c.send.next = start + len + u32::from(with_fin);
    t.c.send.fresh = next;
    if len < mss {
        t.c.send.small = t.c.send.next;
    }
    Stop::Done
}

/// Bytes that the peer's window still takes.
pub(super) fn window_room(t: &Turn<'_>) -> u32 {
    let edge = t.c.send.una + t.c.send.window;
    if edge.is_after(t.c.send.next) { edge.since(t.c.send.next) } else { 0 }
}

/// Bytes of a full segment.
///
/// LINUX: tcp_bound_to_half_wnd(): no more than half of the largest window that the peer ever had, or it would wait for
/// a second segment before it acknowledges the first.
pub(super) fn full_segment(t: &Turn<'_>) -> u32 {
    let largest = t.c.send.largest_window;
    let bound = if largest > u32::from(DEFAULT_MSS) { largest / 2 } else { largest };
    let mss = u32::from(t.c.send.mss);
    if bound == 0 { mss } else { mss.min(bound.max(LEAST_BOUND)) }
}

/// RFC 9293 3.8.6.2.1, silly window avoidance: less than a segment goes if it is half of the largest window that the
/// peer ever had, and nothing is outstanding.
fn window_allows_part(t: &Turn<'_>, room: u32) -> bool {
    room >= full_segment(t) || (room > 0 && !t.c.has_outstanding() && room >= t.c.send.largest_window / 2)
}

/// Nagle (RFC 9293 3.7.4) as Minshall refined it: a partial segment waits while another partial one is outstanding.
fn partial_may_go(t: &mut Turn<'_>) -> bool {
    // LINUX: tcp_nagle_test(): what is urgent does not wait.
    if t.c.marks.has(Marks::FIN_QUEUED) || t.c.urgent.is_sending != 0 {
        return true;
    }
    if is_corked(t.c) { cork_expired(t) } else { nagle_allows(t.c) }
}

fn is_corked(c: &Connection) -> bool {
    c.settings.cork != 0 || c.marks.has(Marks::MORE)
}

/// A partial segment does not have to wait for anything.
pub(super) fn nagle_allows(c: &Connection) -> bool {
    !is_corked(c) && (c.settings.no_delay != 0 || !c.has_outstanding() || !c.send.small.is_after(c.send.una))
}

fn cork_expired(t: &mut Turn<'_>) -> bool {
    match t.c.timers.push {
        0 => {
            // LINUX: tcp_check_probe_timer(): as long as until a probe would be due.
            t.c.timers.push = t.now + rtt::timeout(&t.c.rtt);
            false
        }
        deadline if t.now >= deadline => {
            t.c.timers.push = 0;
            true
        }
        _ => false,
    }
}

fn send_fin(t: &mut Turn<'_>) -> Stop {
    if window_room(t) == 0 {
        return Stop::Window;
    }
    let Some(frame) = send_queue::add_fin(t) else { return Stop::Frame };
    t.send_queued(frame);
    t.c.send.next = t.c.send.end + 1;
    Stop::Done
}

/// While something is outstanding the timer waits for its acknowledgement; while the window alone holds us up, it
/// waits to probe it.
fn set_timer(t: &mut Turn<'_>, stop: Stop) {
    t.c.tally.stopped_at_window = u8::from(stop == Stop::Window);
    if t.c.has_outstanding() {
        if t.c.timers.resend == 0 {
            t.c.timers.resend = t.now + rtt::timeout(&t.c.rtt);
        }
    } else if stop == Stop::Window && !t.c.marks.has(Marks::PROBING) {
        t.c.marks.set(Marks::PROBING);
        t.c.timers.resend = t.now + rtt::timeout(&t.c.rtt);
    } else if stop == Stop::Frame {
        t.c.timers.push = t.now + delayed_ack::DELAY;
    }
}

/// Asks for the window: with what it takes of the next segment, or with a segment that the peer has to answer.
///
/// LINUX: tcp_write_wakeup().
pub(super) fn probe(t: &mut Turn<'_>) {
    if !t.has_path() {
        return;
    }
    let room = window_room(t).min(full_segment(t));
    let fresh = t.c.send.fresh;
    let Some((start, end)) = send_queue::extent(t.frames, fresh).filter(|_| room > 0) else {
        t.send_bare(Flags::ACK, t.c.send.una - 1);
        return;
    };
    if end.since(start) > room && !send_queue::split(t, fresh, room as u16) {
        return;
    }
    let Some((start, end)) = send_queue::extent(t.frames, fresh) else { return };
    let next = FrameId(t.frames.meta(fresh).map_or(0, |m| m.link.next));
    t.send_queued(fresh);
    t.c.send.next = end;
    t.c.send.fresh = next;
    if end.since(start) < full_segment(t) {
        t.c.send.small = end;
    }
    t.c.marks.clear(Marks::PROBING);
    t.c.timers.resend = t.now + rtt::timeout(&t.c.rtt);
}
