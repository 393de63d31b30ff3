//! The listening side: RFC 7413 4.2.

use super::super::connection::Marks;
use super::super::incoming::Fit;
use super::super::passive::{self, Agreement};
use super::super::receive_queue;
use super::super::segment::Segment;
use super::super::turn::{self, Turn};
use super::super::{
    Connection, Listener, State, ack, handshake, input, keep_alive, listen, readiness, rollback, rtt, tuning,
};
use super::{ALL_LISTENERS, SERVER, SERVER_WITHOUT_COOKIE, Stage, keys};
use crate::Error;
use crate::region::Handle;
use crate::shard::Shard;
use crate::wire::options::Cookie;
use crate::wire::{Flags, SynOptions};

/// What becomes of a SYN.
pub(in crate::tcp) enum Verdict {
    /// A connection was made of it.
    Taken,
    /// A handshake as ever, with this cookie in the SYN+ACK.
    Ordinary(Option<Cookie>),
}

/// Enough for any timeout.
const MOST_DOUBLINGS: u8 = 7;

/// LINUX: tcp_try_fastopen().
pub(in crate::tcp) fn on_syn(
    s: &mut Shard,
    a: &Agreement,
    segment: &Segment,
    said: &SynOptions,
    now: u64,
) -> Verdict {
    let asks = said.fast_open.is_some_and(|cookie| cookie.bytes().is_empty());
    s.counters.fast_open_cookies_asked += u64::from(asks);
    let sysctl = s.head.sysctls.tcp_fastopen;
    let concerns_us = segment.len > 0 || said.fast_open.is_some();
    if sysctl & SERVER == 0 || !concerns_us || !has_room(s, a.listener) {
        return Verdict::Ordinary(None);
    }
    let needs_none = sysctl & SERVER_WITHOUT_COOKIE != 0
        || s.listeners.get(a.listener).is_some_and(|l| l.settings.fast_open_without_cookie != 0);
    if needs_none {
        return take(s, a, segment, None, now);
    }
    let ours = keys::cookie(s, a.listener, &a.tuple);
    match said.fast_open {
        None => Verdict::Ordinary(None),
        Some(_) if asks => Verdict::Ordinary(ours),
        cookie if keys::is_good(s, a.listener, &a.tuple, cookie) => take(s, a, segment, ours, now),
        Some(_) => {
            // "If the cookie is invalid, the server falls back to the regular 3WHS", and gives a good one.
            s.counters.fast_open_passive_failed += 1;
            Verdict::Ordinary(ours)
        }
    }
}

/// RFC 7413 5.1: "the server MUST limit the number of pending TFO connection requests".
fn has_room(s: &mut Shard, listener: Handle<Listener>) -> bool {
    let now = s.head.now;
    let Some(l) = s.listeners.get_mut(listener) else { return false };
    let (most, pending) = (l.settings.fast_open, l.early.saturating_add(l.early_resets.count(now)));
    s.counters.fast_open_overflows += u64::from(most > 0 && pending >= most);
    pending < most
}

/// Makes the connection, whose program may read at once; the SYN+ACK acknowledges the data.
fn take(s: &mut Shard, a: &Agreement, segment: &Segment, cookie: Option<Cookie>, now: u64) -> Verdict {
    let connection = if s.frames.is_exhausted() { None } else { passive::create(s, a, None, now) };
    let Some(connection) = connection else {
        s.counters.fast_open_passive_failed += 1;
        return Verdict::Ordinary(cookie);
    };
    s.counters.fast_open_passive += 1;
    if let Some(mut t) = turn::make(s, connection, now) {
        t.c.fast_open = Stage::QUEUED;
        begin(&mut t, a, segment);
    }
    rollback::end(&mut s.head);
    if let Some(l) = s.listeners.get_mut(a.listener) {
        l.early = l.early.saturating_add(1);
    }
    listen::enqueue(s, a.listener, connection);
    // Sends the SYN+ACK.
    let _ = turn::act(s, connection, now, |_| {});
    Verdict::Taken
}

fn begin(t: &mut Turn<'_>, a: &Agreement, segment: &Segment) {
    // RFC 7323 2.2: the window of a SYN is not scaled.
    ack::start(t, a.irs, a.iss + 1, u32::from(segment.window));
    // The SYN+ACK has its own timer, for what is sent behind it is repaired as ever.
    t.c.timers.idle = t.now + rtt::INITIAL_TIMEOUT;
    t.c.timers.resending_since = t.now;
    t.c.marks.set(Marks::ACK_NOW);
    let data = Segment { seq: segment.seq + 1, flags: Flags::ACK, ..*segment };
    let len = u32::from(data.len).min(t.c.receive_window()) as u16;
    receive_queue::append(t, &data, Fit { len, fin: false });
    t.c.news = 0;
}

/// The SYN+ACK was not answered.
///
/// LINUX: tcp_fastopen_synack_timer(): one time more than for a half-open entry, for there is a program that waits.
pub(in crate::tcp) fn syn_ack_due(t: &mut Turn<'_>) {
    let retries = match t.c.settings.syn_count {
        0 => t.head.sysctls.tcp_synack_retries.saturating_add(1),
        count => count,
    };
    if u32::from(t.c.send.retries) >= retries {
        return input::fail(t, Error::TimedOut);
    }
    t.c.send.retries = t.c.send.retries.saturating_add(1);
    let most = u64::from(t.head.sysctls.tcp_rto_max_ms) * 1_000_000;
    t.c.timers.idle = t.now + (rtt::INITIAL_TIMEOUT << t.c.send.retries.min(MOST_DOUBLINGS)).min(most);
    t.counters.tcp_retransmissions += 1;
    t.c.recovery.total = t.c.recovery.total.saturating_add(1);
    handshake::send_syn(t);
}

/// The final ACK of the handshake: what it acknowledges of the data is looked at as ever.
pub(in crate::tcp) fn confirmed(t: &mut Turn<'_>) {
    if t.c.send.retries == 0 && t.c.timers.resending_since != 0 {
        let elapsed = t.now.saturating_sub(t.c.timers.resending_since);
        rtt::measured(&mut t.c.rtt, elapsed);
    }
    t.c.timers.resending_since = 0;
    t.enter(State::ESTABLISHED);
    keep_alive::set(t);
    tuning::begin(t);
    t.announce(readiness::WRITABLE);
}

/// listen() was called, perhaps for all listeners to take part.
///
/// LINUX: inet_listen().
pub(in crate::tcp) fn fit_queue(s: &mut Shard, listener: Handle<Listener>) {
    let sysctl = s.head.sysctls.tcp_fastopen;
    if let Some(l) = s.listeners.get_mut(listener)
        && sysctl & SERVER != 0
        && sysctl & ALL_LISTENERS != 0
        && l.settings.fast_open == 0
    {
        l.settings.fast_open = l.backlog;
    }
}

/// The handshake of a connection that was open early may have ended, or the connection: then its listener has room
/// for another.
pub(in crate::tcp) fn settle(s: &mut Shard, h: Handle<Connection>) {
    let Some(c) = s.connections.get_mut(h) else { return };
    let was_counted = c.fast_open == Stage::QUEUED || c.fast_open == Stage::HELD;
    if !was_counted || c.state == State::SYN_RECEIVED {
        return;
    }
    let (listener, now) = (c.listener, s.head.now);
    // LINUX: one that nobody has accepted yet has a place in the accept queue, which is as good a bound.
    let is_remembered = c.fast_open == Stage::HELD && c.socket.error == Error::Reset.errno() as u32;
    if c.fast_open == Stage::HELD {
        c.listener = Handle::NONE;
    }
    c.fast_open = Stage::TAKEN;
    if let Some(l) = s.listeners.get_mut(listener) {
        l.early = l.early.saturating_sub(1);
        if is_remembered {
            l.early_resets.add(now);
        }
    }
}

/// After a death: the counts from what there is.
pub(in crate::tcp) fn recount(s: &mut Shard) {
    for index in 1..s.listeners.high_water() {
        if let Some(l) = s.listeners.at(index).and_then(|h| s.listeners.get_mut(h)) {
            l.early = 0;
        }
    }
    for index in 1..s.connections.high_water() {
        let Some(h) = s.connections.at(index) else { continue };
        let Some(listener) = s.connections.get(h).filter(|c| c.is_open_early()).map(|c| c.listener) else {
            continue;
        };
        if let Some(l) = s.listeners.get_mut(listener) {
            l.early = l.early.saturating_add(1);
        }
    }
}

/// Every listener counts its connections that are open early.
pub(in crate::tcp) fn check(s: &Shard) -> bool {
    let connections = s.connections.live().filter_map(|h| s.connections.get(h));
    let early = connections.filter(|c| c.is_open_early() && s.listeners.get(c.listener).is_some());
    let counted: u32 = s.listeners.live().filter_map(|h| s.listeners.get(h)).map(|l| l.early).sum();
    early.count() == counted as usize
}
