//! TCP Fast Open: the first bytes of a program go along with the SYN.

use core::ffi::c_int;

use stack::shard::Shard;
use stack::socket::{self, SocketRef, Source};
use stack::tcp::{self, State};

use crate::address::Raw;
use crate::connect::{self, Declined};
use crate::fds::{Entry, Place, Undecided};
use crate::kernel::{Errno, Outcome};
use crate::sockets::{connection, decide, decide_ours, with_socket};
use crate::stream;
use crate::turn::turn_at;

/// sendto() or sendmsg() with MSG_FASTOPEN on an undecided socket. None: the call is the kernel's.
pub(crate) fn first(
    fd: i32,
    undecided: Undecided,
    raw: &Raw,
    from: &mut impl Source,
    flags: c_int,
) -> Option<Outcome> {
    let entry = Entry::Undecided(undecided);
    let mut taken = 0;
    let begun = connect::begin(fd, undecided, raw, |s, bound, remote, settings, now| {
        let (placement, count) = socket::connect_with_data(s, bound, remote, settings, from, now)?;
        taken = count;
        Ok(placement)
    });
    match begun {
        Ok(place) => {
            decide_ours(fd, entry, Entry::Connection(place));
            Some(finish(fd, entry, place, from, taken, flags))
        }
        Err(Declined::To(_)) => {
            decide(fd, entry, Entry::Kernel);
            None
        }
        Err(Declined::ForNow) => None,
        Err(Declined::Failed(error)) => Some(Err(error)),
    }
}

/// LINUX: tcp_sendmsg_fastopen(): a call that waits does so until the connection is there, and then sends the rest.
fn finish(
    fd: i32,
    undecided: Entry,
    place: Place,
    from: &mut impl Source,
    taken: usize,
    flags: c_int,
) -> Outcome {
    let socket = SocketRef::Connection(connection(place));
    let waits = flags & libc::MSG_DONTWAIT == 0 && with_socket(place, socket, |s| s.nonblocking == 0)?;
    let opened = if waits {
        connect::conclude(fd, undecided, place, Errno::INPROGRESS)
    } else {
        Err(Errno::INPROGRESS)
    };
    match opened {
        Err(Errno::INPROGRESS) if taken > 0 => Ok(taken),
        Err(error) => Err(error),
        Ok(_) if from.remaining() == 0 => Ok(taken),
        Ok(_) => match stream::send(place, from, flags & !libc::MSG_FASTOPEN) {
            Ok(more) => Ok(taken + more),
            Err(_) if taken > 0 => Ok(taken),
            Err(error) => Err(error),
        },
    }
}

/// MSG_FASTOPEN on a connection. None: it waits for its first bytes anyway.
pub(crate) fn again(place: Place) -> Option<Errno> {
    let found = turn_at(place, |s, _| {
        let handle = connection(place);
        (tcp::is_deferred(s, handle), s.connections.get(handle).map(|c| c.state))
    });
    match found {
        Ok((true, _)) | Ok((_, Some(State::CLOSED) | None)) => None,
        Ok((_, Some(State::SYN_SENT | State::SYN_RECEIVED))) => Some(Errno::ALREADY),
        Ok(_) => Some(Errno::ISCONN),
        Err(error) => Some(error),
    }
}

/// The first write after a connect() that was put off (TCP_FASTOPEN_CONNECT): how many bytes went with the SYN.
pub(crate) fn open_deferred(place: Place, from: &mut impl Source) -> Result<usize, Errno> {
    turn_at(place, |s, now| tcp::open_deferred(s, connection(place), from, now).map_err(crate::turn::errno))?
}

/// How the attempt went that [`open_deferred`] began, once it is over.
pub(crate) fn outcome(s: &mut Shard, place: Place) -> Result<(), Errno> {
    let handle = connection(place);
    match s.connections.get(handle).map(|c| c.state) {
        Some(State::CLOSED) => socket::connect_outcome(s, handle).map_err(crate::turn::errno),
        _ => Ok(()),
    }
}
