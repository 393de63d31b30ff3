//! The accelerated sockets of this process, as its descriptors hold them.

use core::sync::atomic::{AtomicU32, Ordering};

use stack::region::Handle;
use stack::shard::Shard;
use stack::socket::{self, SocketRef};
use stack::tcp::{self, Connection, Listener, State};

use crate::fds::{self, Entry, Place, Undecided};
use crate::kernel::Errno;
use crate::signals::{EndedBy, Mark, interruptible_call};
use crate::turn::{now, turn_at};
use crate::{epoll, startup};

pub(crate) fn connection(place: Place) -> Handle<Connection> {
    Handle::from_raw(place.handle)
}

pub(crate) fn listener(place: Place) -> Handle<Listener> {
    Handle::from_raw(place.handle)
}

/// The accelerated socket behind an entry.
pub(crate) fn socket_of(entry: Entry) -> Option<(Place, SocketRef)> {
    match entry {
        Entry::Connection(place) => Some((place, SocketRef::Connection(connection(place)))),
        Entry::Listener(place) => Some((place, SocketRef::Listener(listener(place)))),
        _ => None,
    }
}

/// Runs `body` on the common part of the socket.
pub(crate) fn with_socket<R>(
    place: Place,
    socket: SocketRef,
    body: impl FnOnce(&mut socket::Socket) -> R,
) -> Result<R, Errno> {
    turn_at(place, |s: &mut _, _| {
        let shard: &mut Shard = s;
        shard.socket_mut(socket).map(body).ok_or(Errno::BADF)
    })?
}

/// One more descriptor of this process names what `entry` names.
pub(crate) fn retain(entry: Entry) -> bool {
    if let Entry::Epoll { instance } = entry {
        epoll::retain(instance);
    }
    let Some((place, socket)) = socket_of(entry) else { return true };
    let Some(me) = startup::stack().map(|stack| stack.me) else { return false };
    turn_at(place, |s, _| socket::hold(s, socket, me)).is_ok_and(|held| held.is_ok())
}

/// One descriptor less. The last one of all processes closes the socket.
pub(crate) fn release(entry: Entry) {
    if let Entry::Epoll { instance } = entry {
        epoll::release(instance);
    }
    let Some((place, socket)) = socket_of(entry) else { return };
    let Some(me) = startup::stack().map(|stack| stack.me) else { return };
    let closed = turn_at(place, |s, now| {
        if let SocketRef::Connection(_) = socket {
            // Bytes that have come and were not read decide between FIN and RST.
            s.pump();
        }
        let endpoint = socket::local_endpoint(s, socket);
        let lingers = match socket {
            SocketRef::Connection(c) => {
                s.connections.get(c).map(|c| (c.settings.linger, c.settings.linger_time))
            }
            _ => None,
        };
        socket::let_go(s, socket, me, now).then_some((endpoint, lingers))
    });
    match (socket, closed) {
        (SocketRef::Listener(_), Ok(Some((Some(endpoint), _)))) => crate::listen::give_back(endpoint),
        (SocketRef::Connection(_), Ok(Some((_, Some((1, seconds)))))) if seconds > 0 => {
            linger(place, seconds)
        }
        _ => {}
    }
}

/// LINUX: close() with SO_LINGER waits until the peer has acknowledged everything, a signal comes, or the time is up; whether
/// the socket is non-blocking does not matter.
fn linger(place: Place, seconds: u32) {
    static LOOK_AGAIN: [i64; 2] = [0, 1_000_000];
    let mark = Mark::begin(EndedBy::AnyHandler);
    let deadline = now().saturating_add(u64::from(seconds) * 1_000_000_000);
    loop {
        let is_under_way = turn_at(place, |s, _| {
            s.pump();
            let state = s.connections.get(connection(place)).map(|c| c.state);
            matches!(state, Some(State::FIN_WAIT_1 | State::CLOSING | State::LAST_ACK))
        });
        if is_under_way != Ok(true) || now() >= deadline {
            return;
        }
        let arguments = [0, 0, (&raw const LOOK_AGAIN) as usize, 0, 8];
        // SAFETY: the kernel reads our timespec. Others drive the shard too, so there is nothing certain to wait on.
        if unsafe { interruptible_call(libc::SYS_ppoll, arguments, &mark) } == Err(Errno::INTR) {
            return;
        }
    }
}

pub(crate) fn set_nonblocking(entry: Entry, on: bool) {
    if let Some((place, socket)) = socket_of(entry) {
        let _ = with_socket(place, socket, |socket| socket.nonblocking = on.into());
    }
}

pub(crate) fn is_nonblocking(entry: Entry) -> bool {
    socket_of(entry)
        .and_then(|(place, socket)| with_socket(place, socket, |socket| socket.nonblocking != 0).ok())
        .unwrap_or(false)
}

/// SIOCATMARK.
pub(crate) fn is_at_mark(place: Place) -> Result<bool, Errno> {
    turn_at(place, |s, _| {
        s.pump();
        let connection = connection(place);
        if s.connections.get(connection).is_none() {
            Err(Errno::BADF)
        } else {
            Ok(tcp::at_mark(s, connection))
        }
    })?
}

/// FIONREAD, or SIOCOUTQ.
pub(crate) fn queued(place: Place, unread: bool) -> Result<i32, Errno> {
    let count = turn_at(place, |s, _| {
        s.pump();
        let connection = connection(place);
        if s.connections.get(connection).is_none() {
            return Err(Errno::BADF);
        }
        Ok(if unread { tcp::unread(s, connection) } else { tcp::unacknowledged(s, connection) })
    })??;
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

/// A fresh undecided socket. Its serial names the description, so that all its descriptors can be found.
pub(crate) fn undecided(ipv6: bool) -> Undecided {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let serial = NEXT.fetch_add(1, Ordering::Relaxed);
    Undecided { serial, ipv6, is_bound: false, has_options: false, is_shared: false }
}

/// One that was in use: what is set on its shadow is unknown.
pub(crate) fn undecided_again(ipv6: bool) -> Entry {
    Entry::Undecided(Undecided { is_bound: true, has_options: true, is_shared: true, ..undecided(ipv6) })
}

/// What was `old` is `new` now, for every descriptor of the description; gives their number. `fd` is one of them.
pub(crate) fn decide(fd: i32, old: Entry, new: Entry) -> usize {
    let mut changed = usize::from(fds::exchange(fd, old, new));
    let Entry::Undecided(Undecided { serial, is_shared, .. }) = old else {
        return changed + fds::entries().filter(|&(other, _)| fds::exchange(other, old, new)).count();
    };
    if is_shared {
        changed += fds::entries().filter(|&(other, _)| fds::exchange(other, old, new)).count();
    }
    if !matches!(new, Entry::Undecided(_)) {
        epoll::decided(serial, new);
    }
    changed
}

/// A decision that took a handle: the handle came with one reference, each further descriptor adds one.
pub(crate) fn decide_ours(fd: i32, old: Entry, new: Entry) {
    let descriptors = decide(fd, old, new);
    for _ in 1..descriptors {
        retain(new);
    }
    if descriptors == 0 {
        // Another thread closed it meanwhile.
        release(new);
    }
}
