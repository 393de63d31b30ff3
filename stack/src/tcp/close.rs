//! Ending a connection: shutdown, close, abort.

use super::connection::{Connection, Marks};
use super::turn::{self, Turn};
use super::{State, input, readiness};
use crate::region::Handle;
use crate::shard::Shard;

/// LINUX: net.ipv4.tcp_fin_timeout.
const FIN_TIMEOUT: u64 = 60_000_000_000;

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
    let Some(c) = s.connections.get_mut(h) else { return };
    c.marks.set(Marks::ORPHAN);
    if !c.is_open_early() {
        c.timers.idle = 0;
    }
    c.news = 0;
    let lingers_for_nothing = c.settings.linger != 0 && c.settings.linger_time == 0;
    // RFC 2525 2.17: bytes that nobody will read are lost, and the peer must know.
    if c.receive.unread > 0 || lingers_for_nothing || c.state == State::SYN_SENT {
        return abort(s, h, now);
    }
    let _ = turn::act(s, h, now, |t| {
        queue_fin(t);
        if t.c.state == State::FIN_WAIT_2 {
            t.c.timers.idle = t.now + FIN_TIMEOUT;
        }
    });
}

/// See [`super::abort`].
pub(super) fn abort(s: &mut Shard, h: Handle<Connection>, now: u64) {
    let _ = turn::act(s, h, now, |t| {
        // RFC 9293 3.10.5; in the other states the peer has our FIN, or has never heard of us.
        let has_peer = matches!(
            t.c.state,
            State::SYN_RECEIVED
                | State::ESTABLISHED
                | State::FIN_WAIT_1
                | State::FIN_WAIT_2
                | State::CLOSE_WAIT
        );
        if has_peer {
            input::abort_with_reset(t, t.c.send.next);
        }
        if !t.c.state.is_closed() {
            t.counters.connections_aborted += u64::from(has_peer);
            t.enter(State::CLOSED);
            t.announce(readiness::HUP | readiness::READABLE | readiness::RDHUP | readiness::WRITABLE);
        }
    });
}
