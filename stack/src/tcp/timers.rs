//! Deadlines of a connection, and what happens at each.

use super::connection::Marks;
use super::turn::{self, Turn};
use super::{
    Connection, State, delayed_ack, fast_open, handshake, input, output, pacing, readiness, recovery, rtt,
    send_queue,
};
use crate::Error;
use crate::region::Handle;
use crate::shard::{Entry, Shard};
use crate::wire::Flags;

/// LINUX: net.ipv4.tcp_retries2, and tcp_orphan_retries in effect.
const RETRIES: u32 = 15;
const ORPHAN_RETRIES: u32 = 8;
/// LINUX: TCP_RTO_MIN and TCP_RTO_MAX in the model that turns retries into a time.
const MODEL_FIRST: u64 = 200_000_000;
const MODEL_DOUBLINGS: u32 = 9;
const SECOND: u64 = 1_000_000_000;
const LEAST_WAIT: u64 = 1_000_000;
const LARGEST_WAIT: u64 = 24 * 3600 * SECOND;

/// Arms the entry's timer for the earliest deadline. An armed one that is too early is left: it finds nothing due
/// and is set again, which costs less than moving it with each segment.
pub(super) fn set(s: &mut Shard, h: Handle<Connection>, now: u64) {
    let Some(c) = s.connections.get_mut(h) else { return };
    let t = &c.timers;
    let deadlines = [t.resend, t.ack, t.push, t.idle, pacing::deadline(c)];
    let Some(earliest) = deadlines.into_iter().filter(|&d| d != 0).min() else { return };
    // Neither at once, which could go on for ever, nor beyond what the wheel can tell from the past.
    let earliest = earliest.clamp(now + LEAST_WAIT, now + LARGEST_WAIT);
    if c.timers.armed != 0 && c.timers.armed <= earliest {
        return;
    }
    c.timers.armed = earliest;
    s.arm(Entry::Connection(h), earliest);
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
        return probe_due(t);
    }
    if !t.c.has_outstanding() || recovery::due(t) {
        return;
    }
    t.counters.tcp_timeouts += 1;
    if gave_up(t) {
        return input::fail(t, Error::TimedOut);
    }
    recovery::timed_out(t);
    if t.c.timers.resending_since == 0 {
        t.c.timers.resending_since = t.now;
    }
}

/// Whether the peer has been silent for too long.
fn gave_up(t: &Turn<'_>) -> bool {
    let since = t.c.timers.resending_since;
    if since == 0 {
        return false;
    }
    // LINUX: tcp_retransmit_timer(): a peer that answers but keeps its window shut is alive.
    let answers = t.now.saturating_sub(t.c.timers.last_received) < rtt::LARGEST_TIMEOUT;
    if t.c.send.window == 0 && answers && !t.c.marks.has(Marks::ORPHAN) {
        return false;
    }
    t.now.saturating_sub(since) >= patience(t)
}

/// LINUX: retransmits_timed_out(): the time that so many retries with exponential back-off would take.
fn patience(t: &Turn<'_>) -> u64 {
    if t.c.settings.user_timeout != 0 {
        return u64::from(t.c.settings.user_timeout) * 1_000_000;
    }
    let retries = if t.c.marks.has(Marks::ORPHAN) { ORPHAN_RETRIES } else { RETRIES };
    if retries <= MODEL_DOUBLINGS {
        ((2 << retries) - 1) * MODEL_FIRST
    } else {
        ((2 << MODEL_DOUBLINGS) - 1) * MODEL_FIRST
            + u64::from(retries - MODEL_DOUBLINGS) * rtt::LARGEST_TIMEOUT
    }
}

/// RFC 9293 3.8.6.1: a closed window is probed for ever as long as the peer answers.
fn probe_due(t: &mut Turn<'_>) {
    t.c.send.probes = t.c.send.probes.saturating_add(1);
    let limit = if t.c.marks.has(Marks::ORPHAN) { ORPHAN_RETRIES } else { RETRIES };
    if u32::from(t.c.send.probes) > limit {
        return input::fail(t, Error::TimedOut);
    }
    t.counters.tcp_window_probes += 1;
    rtt::back_off(&mut t.c.rtt);
    t.c.timers.resend = t.now + rtt::timeout(&t.c.rtt);
    output::probe(t);
}

fn idle_due(t: &mut Turn<'_>) {
    if t.c.is_open_early() {
        return fast_open::syn_ack_due(t);
    }
    if t.c.state == State::FIN_WAIT_2 && t.c.marks.has(Marks::ORPHAN) {
        // The peer never sent its FIN. LINUX: tcp_fin_timeout, without a word.
        t.enter(State::CLOSED);
        return;
    }
    if t.c.settings.keep_alive != 0 && t.c.state.is_synchronized() {
        keep_alive_due(t);
    }
}

/// RFC 9293 3.8.4.
fn keep_alive_due(t: &mut Turn<'_>) {
    let idle_time = u64::from(t.c.settings.keep_idle) * SECOND;
    let quiet = t.now.saturating_sub(t.c.timers.last_received);
    if t.c.has_outstanding() || t.c.send.fresh.some().is_some() || quiet < idle_time {
        t.c.send.probes = if quiet < idle_time { 0 } else { t.c.send.probes };
        t.c.timers.idle = t.now.max(t.c.timers.last_received) + idle_time;
        if quiet < idle_time {
            t.c.timers.idle = t.c.timers.last_received + idle_time;
        }
        return;
    }
    if u32::from(t.c.send.probes) >= t.c.settings.keep_count {
        input::abort_with_reset(t, t.c.send.next);
        return input::fail(t, Error::TimedOut);
    }
    t.c.send.probes = t.c.send.probes.saturating_add(1);
    t.c.timers.idle = t.now + u64::from(t.c.settings.keep_interval.max(1)) * SECOND;
    if t.has_path() {
        t.send_bare(Flags::ACK, t.c.send.una - 1);
    }
}

/// SO_KEEPALIVE may have been switched.
pub(super) fn set_keep_alive(t: &mut Turn<'_>) {
    if t.c.marks.has(Marks::ORPHAN) {
        return;
    }
    t.c.timers.idle = match t.c.settings.keep_alive {
        0 => 0,
        _ => t.c.timers.last_received.max(1) + u64::from(t.c.settings.keep_idle.max(1)) * SECOND,
    };
}
