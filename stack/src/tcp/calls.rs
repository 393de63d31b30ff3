//! Reading and writing.

use super::connection::{Connection, Marks};
use super::urgent::Condition;
use super::{
    State, delayed_ack, output, receive_queue, relief, rollback, send_queue, tuning, turn, urgent, window,
};
use crate::Error;
use crate::region::Handle;
use crate::shard::Shard;
use crate::socket::{Sink, Source};

/// Takes bytes of a program into frames and sends what may go. Ok(n) with n > 0, or why nothing was taken: `Again`
/// when there is no room, `Fault` when the source could not be read, `Pipe`, `Reset`...
/// `more` is MSG_MORE: the last, partial segment waits.
pub fn write(
    s: &mut Shard,
    c: Handle<Connection>,
    from: &mut impl Source,
    more: bool,
    now: u64,
) -> Result<usize, Error> {
    put(s, c, from, Flags { more, urgent: false }, now)
}

/// As [`write`], with MSG_OOB: the last byte taken is urgent.
pub fn write_urgent(
    s: &mut Shard,
    c: Handle<Connection>,
    from: &mut impl Source,
    more: bool,
    now: u64,
) -> Result<usize, Error> {
    put(s, c, from, Flags { more, urgent: true }, now)
}

struct Flags {
    more: bool,
    urgent: bool,
}

fn put(
    s: &mut Shard,
    c: Handle<Connection>,
    from: &mut impl Source,
    flags: Flags,
    now: u64,
) -> Result<usize, Error> {
    if s.frames.is_scarce() {
        relief::moderate(s, c);
    }
    let Some(mut t) = turn::begin(s, c, now) else { return Err(Error::BadDescriptor) };
    let allowed = may_write(t.c);
    if allowed.is_err() || from.remaining() == 0 {
        rollback::end(&mut s.head);
        return allowed.map(|()| 0);
    }
    let taken = send_queue::fill(&mut t, from);
    if let Ok(n) = taken {
        t.counters.bytes_sent += n as u64;
        if flags.urgent {
            urgent::mark_end(&mut t);
        }
        if flags.more {
            t.c.marks.set(Marks::MORE);
        } else {
            t.c.marks.clear(Marks::MORE);
        }
        output::run(&mut t);
    }
    turn::settle(s, c, now);
    taken
}

/// LINUX: tcp_sendmsg_locked() and sk_stream_error(): a pending error is told once, then it is a broken pipe.
fn may_write(c: &mut Connection) -> Result<(), Error> {
    if c.state == State::ESTABLISHED && c.socket.error == 0 && !c.marks.has(Marks::FIN_QUEUED) {
        return Ok(());
    }
    let error = Error::from_errno(c.socket.error);
    let is_early = c.is_open_early();
    if error.is_none() && c.state.is_opening() && !is_early {
        return Err(Error::Again);
    }
    if error.is_some() || !(c.state.may_write() || is_early) || c.marks.has(Marks::FIN_QUEUED) {
        c.socket.error = 0;
        return Err(error.unwrap_or(Error::Pipe));
    }
    Ok(())
}

/// Moves received bytes to a program. Ok(0) at the end of the stream; `Again` when nothing is there yet. With `peek`
/// they stay. The window is opened, and an update sent, as RFC 9293 3.8.6.2.2 says.
pub fn read(
    s: &mut Shard,
    c: Handle<Connection>,
    to: &mut impl Sink,
    peek: bool,
    now: u64,
) -> Result<usize, Error> {
    let outcome = read_in_turn(s, c, to, peek, now);
    rollback::end(&mut s.head);
    outcome
}

#[inline]
fn read_in_turn(
    s: &mut Shard,
    c: Handle<Connection>,
    to: &mut impl Sink,
    peek: bool,
    now: u64,
) -> Result<usize, Error> {
    let Some(mut t) = turn::begin(s, c, now) else { return Err(Error::BadDescriptor) };
    if t.c.receive.unread == 0 {
        return nothing_to_read(t.c);
    }
    if to.room() == 0 {
        return Ok(0);
    }
    let outcome = match (t.c.urgent.state, peek) {
        (Condition::NONE, true) => Some(receive_queue::peek(t.c, t.frames, to, 0)),
        (Condition::NONE, false) => Some(receive_queue::take(t.c, t.frames, to)),
        _ => urgent::read(t.c, t.frames, to, peek),
    };
    let (copied, failed) = outcome.unwrap_or_default();
    if !peek {
        t.counters.bytes_received += copied as u64;
        tuning::on_read(&mut t);
        if delayed_ack::is_due_after_read(&t) || window::wants_update(&t) {
            delayed_ack::acknowledge(&mut t);
            turn::settle(s, c, now);
        }
    }
    if outcome.is_none() {
        return s.connections.get_mut(c).map_or(Err(Error::BadDescriptor), nothing_to_read);
    }
    if copied == 0 && failed { Err(Error::Fault) } else { Ok(copied) }
}

/// LINUX: tcp_recvmsg_locked(), for an empty queue.
fn nothing_to_read(c: &mut Connection) -> Result<usize, Error> {
    if c.marks.has(Marks::FIN_RECEIVED) {
        return Ok(0);
    }
    if let Some(error) = Error::from_errno(core::mem::take(&mut c.socket.error)) {
        return Err(error);
    }
    if c.marks.has(Marks::READ_SHUT) || c.state.is_closed() { Ok(0) } else { Err(Error::Again) }
}

/// Bytes received and not read (FIONREAD).
pub fn unread(s: &Shard, c: Handle<Connection>) -> usize {
    s.connections.get(c).map_or(0, |c| urgent::unread(c) as usize)
}

/// Bytes written and not acknowledged (SIOCOUTQ).
pub fn unacknowledged(s: &Shard, c: Handle<Connection>) -> usize {
    s.connections.get(c).filter(|c| !c.state.is_opening()).map_or(0, |c| {
        // LINUX: a FIN that is not acknowledged counts.
        let fin = c.state != State::CLOSED && c.fin_is_sent() && c.has_outstanding();
        c.queued() as usize + usize::from(fin)
    })
}
