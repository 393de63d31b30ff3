//! Ending a connection: shutdown, close, abort.

use super::connection::{Connection, Marks};
use super::timers::SECOND;
use super::turn::{self, Turn};
use super::{State, input, orphans, readiness, rtt};
use crate::region::Handle;
use crate::shard::Shard;

/// LINUX: TCP_TIMEWAIT_LEN; RFC 9293 says twice the maximum segment lifetime.
pub(super) const TIME_WAIT: u64 = 60 * SECOND;

/// See [`super::shutdown_write`].
pub(super) fn shutdown_write(s: &mut Shard, h: Handle<Connection>, now: u64) {
    let _ = turn::act(s, h, now, queue_fin);
}

/// RFC 9293 3.10.4: the FIN goes behind what is queued.
fn queue_fin(t: &mut Turn<'_>) {
    if t.c.marks.has(Marks::FIN_QUEUED) {
        return;
    }
    let next = match t.c.state {
        State::ESTABLISHED => State::FIN_WAIT_1,
        State::CLOSE_WAIT => State::LAST_ACK,
        State::SYN_RECEIVED => State::SYN_RECEIVED,
        _ => return,
    };
    t.enter(next);
    t.c.marks.set(Marks::FIN_QUEUED);
    t.c.marks.clear(Marks::MORE);
    let both = t.c.marks.has(Marks::FIN_RECEIVED) || t.c.marks.has(Marks::READ_SHUT);
    t.announce(readiness::WRITABLE | if both { readiness::HUP } else { 0 });
}

/// See [`super::shutdown_read`].
pub(super) fn shutdown_read(s: &mut Shard, h: Handle<Connection>) {
    let now = s.head.now;
    let Some(mut t) = turn::begin(s, h, now) else { return };
    t.c.marks.set(Marks::READ_SHUT);
    let hup = if t.c.marks.has(Marks::FIN_QUEUED) { readiness::HUP } else { 0 };
    t.announce(readiness::READABLE | readiness::RDHUP | hup);
    turn::settle(s, h, now);
}

/// See [`super::close`].
pub(super) fn close(s: &mut Shard, h: Handle<Connection>, now: u64) {
    orphans::abandon(s, h);
    let _ = turn::act(s, h, now, |t| {
        if !t.c.is_open_early() {
            t.c.timers.idle = 0;
        }
        t.c.news = 0;
        if t.c.receive.unread > 0 {
            // RFC 2525 2.17: bytes that nobody will read are lost, and the peer must know.
            return end(t, t.c.state.is_synchronized() || owes_reset(t.c));
        }
        let lingers_for_nothing = t.c.settings.linger != 0 && t.c.settings.linger_time == 0;
        if lingers_for_nothing || t.c.state == State::SYN_SENT {
            return end(t, owes_reset(t.c));
        }
        queue_fin(t);
        if t.c.state == State::FIN_WAIT_2 && !wait_for_fin(t) {
            input::abort_with_reset(t, t.c.send.next);
        }
        if !t.c.state.is_closed() && orphans::are_too_many(t, 0) {
            orphans::end(t, true);
        }
    });
}

/// See [`super::abort`].
pub(super) fn abort(s: &mut Shard, h: Handle<Connection>, now: u64) {
    let _ = turn::act(s, h, now, |t| end(t, owes_reset(t.c)));
}

/// RFC 9293 3.10.5; in the other states the peer has our FIN, or has never heard of us.
///
/// LINUX: tcp_disconnect(): where the FIN is still behind something that was not sent, the peer does not have it.
fn owes_reset(c: &Connection) -> bool {
    match c.state {
        State::SYN_RECEIVED
        | State::ESTABLISHED
        | State::FIN_WAIT_1
        | State::FIN_WAIT_2
        | State::CLOSE_WAIT => true,
        State::CLOSING | State::LAST_ACK => !c.fin_is_sent(),
        _ => false,
    }
}

fn end(t: &mut Turn<'_>, with_reset: bool) {
    if t.c.state.is_closed() {
        return;
    }
    if with_reset {
        input::abort_with_reset(t, t.c.send.next);
        t.counters.connections_aborted += 1;
    }
    t.enter(State::CLOSED);
    t.announce(readiness::HUP | readiness::READABLE | readiness::RDHUP | readiness::WRITABLE);
}

/// Our FIN is acknowledged, the peer's is not here, and nobody can read any more what comes before it. False: the
/// program said by TCP_LINGER2 that it is not to be waited for.
///
/// LINUX: tcp_rcv_state_process() and __tcp_close(): what is left of the time is waited for by a small entry; only the
/// part of it beyond TIME_WAIT's own time costs the whole connection.
pub(super) fn wait_for_fin(t: &mut Turn<'_>) -> bool {
    if !t.c.marks.has(Marks::ORPHAN) {
        return true;
    }
    if t.c.settings.linger2 < 0 {
        t.counters.connections_aborted += 1;
        t.enter(State::CLOSED);
        return false;
    }
    let lasts = fin_time(t);
    if lasts > TIME_WAIT {
        t.c.timers.idle = t.now + (lasts - TIME_WAIT);
    } else {
        leave_to_small_entry(t, lasts);
    }
    true
}

/// LINUX: tcp_fin_time(): at least three and a half timeouts.
fn fin_time(t: &Turn<'_>) -> u64 {
    let seconds = match t.c.settings.linger2 {
        asked if asked > 0 => asked.unsigned_abs(),
        _ => t.head.sysctls.tcp_fin_timeout,
    };
    (u64::from(seconds) * SECOND).max(rtt::timeout(&t.c.rtt) * 7 / 2)
}

/// [`turn::settle`] makes the small entry, which lasts until `timers.idle`.
fn leave_to_small_entry(t: &mut Turn<'_>, lasts: u64) {
    t.c.timers.idle = t.now + lasts;
    t.c.marks.set(Marks::SHRINKS);
}

/// The time in FIN_WAIT_2 that the whole connection was kept for is over.
pub(super) fn fin_wait_2_due(t: &mut Turn<'_>) {
    let rest = fin_time(t).saturating_sub(TIME_WAIT);
    if t.c.settings.linger2 >= 0 && rest > 0 {
        return leave_to_small_entry(t, rest);
    }
    input::abort_with_reset(t, t.c.send.next);
    t.enter(State::CLOSED);
}
