//! Bytes in and out of an accelerated connection, with the blocking rules of Linux.

use core::ffi::c_int;

use stack::drive::Entered;
use stack::shard::Shard;
use stack::socket::{Sink, SocketRef, Source};
use stack::tcp;

use crate::blocking::{Wait, attempt};
use crate::fast_open;
use crate::fds::Place;
use crate::kernel::{self, Errno, Outcome};
use crate::signals::{EndedBy, Mark};
use crate::sockets::connection;
use crate::turn::{errno, now, turn_at};

/// What a call needs to know of the socket before it waits.
struct Manner {
    blocking: bool,
    /// SO_RCVTIMEO or SO_SNDTIMEO, 0 for none.
    timeout: u64,
    /// It waits for the first bytes to open with (TCP_FASTOPEN_CONNECT).
    deferred: bool,
}

/// Bytes moved by one try, and how many the socket wants to have moved before a call returns: none more at the mark of
/// urgent data.
struct Moved {
    count: usize,
    low_water: usize,
    is_at_mark: bool,
}

enum Direction {
    In,
    Out,
}

/// One try of a call.
enum Try {
    Done(Moved),
    /// So many bytes, and it could be more if the call waited.
    Blocked(Manner),
    Failed(Errno),
}

fn manner(s: &Shard, socket: SocketRef, flags: c_int, direction: Direction) -> Manner {
    let Some(common) = s.socket(socket) else {
        return Manner { blocking: false, timeout: 0, deferred: false };
    };
    let (timeout, deferred) = match (direction, socket) {
        (Direction::Out, SocketRef::Connection(c)) => (common.send_timeout, tcp::is_deferred(s, c)),
        (Direction::Out, _) => (common.send_timeout, false),
        (Direction::In, _) => (common.receive_timeout, false),
    };
    Manner { blocking: common.nonblocking == 0 && flags & libc::MSG_DONTWAIT == 0, timeout, deferred }
}

/// The waiting of one call: begun when the call begins, for the case that it has to wait.
struct Patience {
    any: Mark,
    unless_restarting: Mark,
    deadline: Option<u64>,
}

impl Patience {
    #[inline(always)]
    fn begin() -> Patience {
        Patience {
            any: Mark::begin(EndedBy::AnyHandler),
            unless_restarting: Mark::begin(EndedBy::HandlerWithoutRestart),
            deadline: None,
        }
    }

    /// Waits until `body` gives something.
    fn attempt<R>(
        &mut self,
        place: Place,
        events: c_int,
        manner: &Manner,
        body: impl FnMut(&mut Entered<'_>, u64) -> Option<R>,
    ) -> Result<R, Errno> {
        let mark = if manner.timeout == 0 {
            &self.unless_restarting
        } else {
            self.deadline.get_or_insert_with(|| now().saturating_add(manner.timeout));
            // LINUX: a call with a timeout is not restarted.
            &self.any
        };
        let socket = SocketRef::Connection(connection(place));
        let wait = Wait { place, socket, events: events as u32, also: None, deadline: self.deadline };
        attempt(&wait, mark, body)?.ok_or(Errno::BADF)
    }
}

/// recv() and all its forms.
pub(crate) fn receive(place: Place, to: &mut impl Sink, flags: c_int) -> Outcome {
    if flags & libc::MSG_OOB != 0 {
        return receive_urgent(place, to, flags);
    }
    if flags & libc::MSG_ERRQUEUE != 0 {
        return Err(Errno::AGAIN);
    }
    let peek = flags & libc::MSG_PEEK != 0;
    // LINUX: peeking begins at the same byte each time, so waiting for all would count bytes twice.
    let wants_all = flags & libc::MSG_WAITALL != 0 && !peek;
    let mut patience = Patience::begin();
    let mut total = 0;
    let mut outcome = try_receive(place, to, peek, flags)?;
    loop {
        outcome = match outcome {
            // The end of the stream.
            Try::Done(Moved { count: 0, .. }) => return Ok(total),
            Try::Done(Moved { count, low_water, is_at_mark }) => {
                total += count;
                let is_enough = peek || is_at_mark || (!wants_all && total >= low_water);
                if is_enough || to.room() == 0 {
                    return Ok(total);
                }
                try_receive(place, to, peek, flags)?
            }
            Try::Failed(error) => return if total > 0 { Ok(total) } else { Err(error) },
            Try::Blocked(manner) => {
                if !manner.blocking {
                    return if total > 0 { Ok(total) } else { Err(Errno::AGAIN) };
                }
                let events = libc::EPOLLIN | libc::EPOLLRDHUP;
                match patience.attempt(place, events, &manner, |s, now| take(s, place, to, peek, now)) {
                    Ok(outcome) => outcome,
                    Err(error) => return if total > 0 { Ok(total) } else { Err(error) },
                }
            }
        }
    }
}

/// The urgent byte; LINUX: this never waits.
fn receive_urgent(place: Place, to: &mut impl Sink, flags: c_int) -> Outcome {
    turn_at(place, |s, _| {
        s.pump();
        tcp::read_urgent(s, connection(place), to, flags & libc::MSG_PEEK != 0).map_err(errno)
    })?
}

/// What is there is taken at once; only if nothing is, the card is asked.
fn try_receive(place: Place, to: &mut impl Sink, peek: bool, flags: c_int) -> Result<Try, Errno> {
    turn_at(place, |s, now| {
        let taken = take(s, place, to, peek, now).or_else(|| {
            s.pump();
            take(s, place, to, peek, now)
        });
        let socket = SocketRef::Connection(connection(place));
        taken.unwrap_or_else(|| Try::Blocked(manner(s, socket, flags, Direction::In)))
    })
}

/// None while there is nothing to take.
fn take(s: &mut Entered<'_>, place: Place, to: &mut impl Sink, peek: bool, now: u64) -> Option<Try> {
    let connection = connection(place);
    match tcp::read(s, connection, to, peek, now) {
        Ok(count) => {
            let low_water = s.connections.get(connection).map_or(1, |c| c.settings.receive_low_water);
            let is_at_mark = tcp::at_mark(s, connection);
            Some(Try::Done(Moved { count, low_water: low_water as usize, is_at_mark }))
        }
        Err(stack::Error::Again) => None,
        Err(error) => Some(Try::Failed(errno(error))),
    }
}

/// send() and all its forms.
pub(crate) fn send(place: Place, from: &mut impl Source, flags: c_int) -> Outcome {
    let mut patience = Patience::begin();
    let mut total = 0;
    let mut outcome = try_send(place, from, flags)?;
    loop {
        outcome = match outcome {
            Try::Done(Moved { count, .. }) => {
                total += count;
                if from.remaining() == 0 || count == 0 {
                    return Ok(total);
                }
                try_send(place, from, flags)?
            }
            Try::Failed(_) if total > 0 => return Ok(total),
            Try::Failed(error) => {
                if error == Errno::PIPE && flags & libc::MSG_NOSIGNAL == 0 {
                    raise_broken_pipe();
                }
                return Err(error);
            }
            Try::Blocked(manner) => {
                if manner.deferred {
                    total += fast_open::open_deferred(place, from)?;
                    if !manner.blocking {
                        return if total > 0 { Ok(total) } else { Err(Errno::INPROGRESS) };
                    }
                    // LINUX: a call that waits does so until the connection is there.
                    let is_over = |s: &mut Entered<'_>, _| is_writable(s, place).then_some(());
                    match patience.attempt(place, libc::EPOLLOUT, &manner, is_over) {
                        Err(_) if total > 0 => return Ok(total),
                        other => other?,
                    }
                    turn_at(place, |s, _| fast_open::outcome(s, place))??;
                    if from.remaining() == 0 {
                        return Ok(total);
                    }
                    outcome = try_send(place, from, flags)?;
                    continue;
                }
                if !manner.blocking {
                    return if total > 0 { Ok(total) } else { Err(Errno::AGAIN) };
                }
                // LINUX: not for every byte of room, but when a good part is free.
                let put = |s: &mut Entered<'_>, now| {
                    if is_writable(s, place) { put(s, place, from, flags, now) } else { None }
                };
                match patience.attempt(place, libc::EPOLLOUT, &manner, put) {
                    Ok(outcome) => outcome,
                    Err(error) => return if total > 0 { Ok(total) } else { Err(error) },
                }
            }
        }
    }
}

fn try_send(place: Place, from: &mut impl Source, flags: c_int) -> Result<Try, Errno> {
    turn_at(place, |s, now| {
        let written = put(s, place, from, flags, now).or_else(|| {
            // Acknowledgements may have come that make room.
            s.pump();
            put(s, place, from, flags, now)
        });
        let socket = SocketRef::Connection(connection(place));
        written.unwrap_or_else(|| Try::Blocked(manner(s, socket, flags, Direction::Out)))
    })
}

fn is_writable(s: &Shard, place: Place) -> bool {
    let bits = (libc::EPOLLOUT | libc::EPOLLERR | libc::EPOLLHUP) as u32;
    let connection = connection(place);
    s.connections.get(connection).is_none() || tcp::readiness(s, connection) & bits != 0
}

/// None while there is no room.
fn put(s: &mut Entered<'_>, place: Place, from: &mut impl Source, flags: c_int, now: u64) -> Option<Try> {
    let (connection, more) = (connection(place), flags & libc::MSG_MORE != 0);
    let written = if flags & libc::MSG_OOB != 0 {
        tcp::write_urgent(s, connection, from, more, now)
    } else {
        tcp::write(s, connection, from, more, now)
    };
    match written {
        Ok(count) => Some(Try::Done(Moved { count, low_water: 0, is_at_mark: false })),
        Err(stack::Error::Again) => None,
        Err(error) => Some(Try::Failed(errno(error))),
    }
}

/// How many bytes the connection takes right now.
pub(crate) fn space(place: Place) -> Result<usize, Errno> {
    turn_at(place, |s, _| {
        s.pump();
        let handle = connection(place);
        let buffer = s.connections.get(handle).ok_or(Errno::BADF)?.send_buffer() as usize;
        if tcp::readiness(s, handle) & libc::EPOLLOUT as u32 == 0 {
            return Ok(0);
        }
        Ok(buffer.saturating_sub(tcp::unacknowledged(s, handle)).max(1))
    })?
}

/// Waits for space as send() would; false if the socket does not wait.
pub(crate) fn await_space(place: Place) -> Result<bool, Errno> {
    let mut patience = Patience::begin();
    let socket = SocketRef::Connection(connection(place));
    let manner = turn_at(place, |s, _| manner(s, socket, 0, Direction::Out))?;
    if manner.blocking {
        patience.attempt(place, libc::EPOLLOUT, &manner, |s, _| is_writable(s, place).then_some(()))?;
    }
    Ok(manner.blocking)
}

/// LINUX: the signal is for the thread that wrote.
pub(crate) fn raise_broken_pipe() {
    let (process, thread) = (kernel::process_id() as usize, kernel::thread_id() as usize);
    // SAFETY: no memory is passed.
    let _ = unsafe { kernel::call(libc::SYS_tgkill, [process, thread, libc::SIGPIPE as usize]) };
}
