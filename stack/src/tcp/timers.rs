//! Deadlines of a connection, and what happens at each.

use super::connection::Marks;
use super::turn::{self, Turn};
use super::{
    Connection, State, close, delayed_ack, fast_open, handshake, info, keep_alive, output, pacing, path_mtu,
    patience, readiness, recovery, send_queue,
};
use crate::region::Handle;
use crate::shard::Shard;

pub(super) const SECOND: u64 = 1_000_000_000;
const LEAST_WAIT: u64 = 1_000_000;
const LARGEST_WAIT: u64 = 24 * 3600 * SECOND;

/// The earliest deadline, if the entry's timer has to be set for it. An armed one that is too early is left: it finds
/// nothing due and is set again, which costs less than moving it with each segment.
#[inline]
pub(super) fn next(c: &mut Connection, now: u64) -> Option<u64> {
    let t = &c.timers;
    // None is 0, and what comes before 0 comes last.
    let before = |deadline: u64| deadline.wrapping_sub(1);
    let earliest = before(t.resend).min(before(t.ack)).min(before(t.push)).min(before(t.idle));
    let earliest = earliest.min(before(pacing::deadline(c))).wrapping_add(1);
    if earliest == 0 {
        return None;
    }
    // Neither at once, which could go on for ever, nor beyond what the wheel can tell from the past.
    let earliest = earliest.clamp(now + LEAST_WAIT, now + LARGEST_WAIT);
    if c.timers.armed != 0 && c.timers.armed <= earliest {
        return None;
    }
    c.timers.armed = earliest;
    Some(earliest)
}

/// The connection's timer has fired.
pub(super) fn fire(s: &mut Shard, h: Handle<Connection>, now: u64) {
    if let Some(c) = s.connections.get_mut(h) {
        c.timers.armed = 0;
    }
    let _ = turn::act(s, h, now, |t| {
        if take_due(&mut t.c.timers.ack, now) {
            delayed_ack::on_timer(t);
        }
        if t.c.timers.push != 0 && now >= t.c.timers.push {
            pushed(t);
        }
        if take_due(&mut t.c.timers.resend, now) {
            resend_due(t);
        }
        if take_due(&mut t.c.timers.idle, now) {
            idle_due(t);
        }
    });
}

/// A deadline that has come is taken away.
fn take_due(deadline: &mut u64, now: u64) -> bool {
    let is_due = *deadline != 0 && now >= *deadline;
    if is_due {
        *deadline = 0;
    }
    is_due
}

fn pushed(t: &mut Turn<'_>) {
    let is_corked = t.c.settings.cork != 0 || t.c.marks.has(Marks::MORE);
    if t.c.state.may_transmit() && is_corked && t.c.send.fresh.some().is_some() {
        // Output sees the deadline past, lets the partial segment go and clears it.
        output::run(t);
    }
    t.c.timers.push = 0;
    if t.c.state == State::SYN_SENT {
        handshake::retry_path(t);
    }
    if t.c.marks.take(Marks::STARVED) && send_queue::has_room(t.c, t.frames.chunk_size(), &t.head.sysctls) {
        t.announce(readiness::WRITABLE);
    }
}

fn resend_due(t: &mut Turn<'_>) {
    if t.c.syn_is_outstanding() {
        return handshake::resend_due(t);
    }
    if t.c.marks.has(Marks::PROBING) {
        return patience::probe_due(t);
    }
    if !t.c.has_outstanding() || recovery::due(t) {
        return;
    }
    t.counters.tcp_timeouts += 1;
    if patience::bears_another_timeout(t) {
        info::note_timeout(t);
        path_mtu::is_inconclusive(t);
        recovery::timed_out(t);
    }
}

fn idle_due(t: &mut Turn<'_>) {
    if t.c.is_open_early() {
        return fast_open::syn_ack_due(t);
    }
    if t.c.state == State::FIN_WAIT_2 && t.c.marks.has(Marks::ORPHAN) {
        return close::fin_wait_2_due(t);
    }
    keep_alive::due(t);
}
