//! Bytes in and out of an accelerated connection, with the blocking rules of Linux.

use core::ffi::c_int;

use stack::socket::{Sink, SocketRef, Source};
use stack::tcp;

use crate::blocking::{Wait, wait};
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
}

/// Bytes moved by one try, and how many the socket wants to have moved before a call returns.
struct Moved {
    count: usize,
    low_water: usize,
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

fn manner(s: &stack::shard::Shard, socket: SocketRef, flags: c_int, direction: Direction) -> Manner {
    let Some(socket) = s.socket(socket) else { return Manner { blocking: false, timeout: 0 } };
    Manner {
        blocking: socket.nonblocking == 0 && flags & libc::MSG_DONTWAIT == 0,
        timeout: match direction {
            Direction::In => socket.receive_timeout,
            Direction::Out => socket.send_timeout,
        },
    }
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

    fn wait(&mut self, place: Place, events: c_int, manner: &Manner) -> Result<(), Errno> {
        let mark = if manner.timeout == 0 {
            &self.unless_restarting
        } else {
            self.deadline.get_or_insert_with(|| now().saturating_add(manner.timeout));
            // LINUX: a call with a timeout is not restarted.
            &self.any
        };
        let socket = SocketRef::Connection(connection(place));
        wait(&Wait { place, socket, events: events as u32, also: None, deadline: self.deadline }, mark)
    }
}

/// recv() and all its forms.
pub(crate) fn receive(place: Place, to: &mut impl Sink, flags: c_int) -> Outcome {
    // LINUX: there is no urgent data to be had; with SO_OOBINLINE, or none sent, this is EINVAL.
    if flags & libc::MSG_OOB != 0 {
        return Err(Errno::INVAL);
    }
    if flags & libc::MSG_ERRQUEUE != 0 {
        return Err(Errno::AGAIN);
    }
    let peek = flags & libc::MSG_PEEK != 0;
    // LINUX: peeking begins at the same byte each time, so waiting for all would count bytes twice.
    let wants_all = flags & libc::MSG_WAITALL != 0 && !peek;
    let mut patience = Patience::begin();
    let mut total = 0;
    loop {
        match try_receive(place, to, peek, flags)? {
            // The end of the stream.
            Try::Done(Moved { count: 0, .. }) => return Ok(total),
            Try::Done(Moved { count, low_water }) => {
                total += count;
                let is_enough = peek || (!wants_all && total >= low_water);
                if is_enough || to.room() == 0 {
                    return Ok(total);
                }
            }
            Try::Failed(error) => return if total > 0 { Ok(total) } else { Err(error) },
            Try::Blocked(manner) => {
                if !manner.blocking {
                    return if total > 0 { Ok(total) } else { Err(Errno::AGAIN) };
                }
                if let Err(error) = patience.wait(place, libc::EPOLLIN | libc::EPOLLRDHUP, &manner) {
                    return if total > 0 { Ok(total) } else { Err(error) };
                }
            }
        }
    }
}

/// What is there is taken at once; only if nothing is, the card is asked.
fn try_receive(place: Place, to: &mut impl Sink, peek: bool, flags: c_int) -> Result<Try, Errno> {
    turn_at(place, |s, now| {
        let connection = connection(place);
        let mut outcome = tcp::read(s, connection, to, peek, now);
        if outcome == Err(stack::Error::Again) {
            s.pump();
            outcome = tcp::read(s, connection, to, peek, now);
        }
        match outcome {
            Ok(count) => {
                let settings = s.connections.get(connection).map(|c| c.settings);
                Try::Done(Moved { count, low_water: settings.map_or(1, |s| s.receive_low_water as usize) })
            }
            Err(stack::Error::Again) => {
                Try::Blocked(manner(s, SocketRef::Connection(connection), flags, Direction::In))
            }
            Err(error) => Try::Failed(errno(error)),
        }
    })
}

/// send() and all its forms.
pub(crate) fn send(place: Place, from: &mut impl Source, flags: c_int) -> Outcome {
    // LINUX: urgent data is sent as ordinary data that is pointed at. We do not point: a gap.
    let mut patience = Patience::begin();
    let mut total = 0;
    loop {
        match try_send(place, from, flags)? {
            Try::Done(Moved { count, .. }) => {
                total += count;
                if from.remaining() == 0 || count == 0 {
                    return Ok(total);
                }
            }
            Try::Failed(_) if total > 0 => return Ok(total),
            Try::Failed(error) => {
                if error == Errno::PIPE && flags & libc::MSG_NOSIGNAL == 0 {
                    raise_broken_pipe();
                }
                return Err(error);
            }
            Try::Blocked(manner) => {
                if !manner.blocking {
                    return if total > 0 { Ok(total) } else { Err(Errno::AGAIN) };
                }
                if let Err(error) = patience.wait(place, libc::EPOLLOUT, &manner) {
                    return if total > 0 { Ok(total) } else { Err(error) };
                }
            }
        }
    }
}

fn try_send(place: Place, from: &mut impl Source, flags: c_int) -> Result<Try, Errno> {
    turn_at(place, |s, now| {
        let connection = connection(place);
        let more = flags & libc::MSG_MORE != 0;
        let mut outcome = tcp::write(s, connection, from, more, now);
        if outcome == Err(stack::Error::Again) {
            // Acknowledgements may have come that make room.
            s.pump();
            outcome = tcp::write(s, connection, from, more, now);
        }
        match outcome {
            Ok(count) => Try::Done(Moved { count, low_water: 0 }),
            Err(stack::Error::Again) => {
                Try::Blocked(manner(s, SocketRef::Connection(connection), flags, Direction::Out))
            }
            Err(error) => Try::Failed(errno(error)),
        }
    })
}

/// How many bytes the connection takes right now.
pub(crate) fn space(place: Place) -> Result<usize, Errno> {
    turn_at(place, |s, _| {
        s.pump();
        let handle = connection(place);
        let buffer = s.connections.get(handle).ok_or(Errno::BADF)?.settings.send_buffer as usize;
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
        patience.wait(place, libc::EPOLLOUT, &manner)?;
    }
    Ok(manner.blocking)
}

/// LINUX: the signal is for the thread that wrote.
pub(crate) fn raise_broken_pipe() {
    let (process, thread) = (kernel::process_id() as usize, kernel::thread_id() as usize);
    // SAFETY: no memory is passed.
    let _ = unsafe { kernel::call(libc::SYS_tgkill, [process, thread, libc::SIGPIPE as usize]) };
}
