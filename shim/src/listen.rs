//! listen() and accept(): served by the kernel and by us together.
//!
//! The shadow listens as well, for peers that do not come over an accelerated device. It never blocks: accept() looks at our
//! queue first, then at the kernel's.

use core::ffi::c_int;

use stack::control::Ask;
use stack::socket::{self, Endpoint, SocketRef};

use crate::address::Raw;
use crate::blocking::{Wait, wait};
use crate::fds::{self, Entry, Place, Undecided};
use crate::kernel::{self, Errno, Outcome};
use crate::log::{self, Level};
use crate::signals::{EndedBy, Mark};
use crate::sockets::{decide, decide_ours, listener, release, undecided_again};
use crate::turn::{errno, now, turn, turn_at};
use crate::{control, settings, startup};

/// What the shadow is bound to, if that is IPv4 or mapped.
pub(crate) fn bound(fd: i32) -> Result<Endpoint, Errno> {
    let mut raw = Raw { bytes: [0; 128], length: 0 };
    let mut length = raw.bytes.len() as libc::socklen_t;
    let arguments = [fd as usize, raw.bytes.as_mut_ptr() as usize, (&raw mut length) as usize];
    // SAFETY: the kernel writes an address of `length` bytes at most.
    unsafe { kernel::call(libc::SYS_getsockname, arguments) }?;
    raw.length = length as usize;
    raw.endpoint().ok_or(Errno::AFNOSUPPORT)
}

/// bind(): the kernel knows nothing of our connections, on whose ports nothing else must be bound.
pub(crate) fn check_port_is_free(fd: i32, given: &Raw) -> Result<(), Errno> {
    let (Some(stack), Some(at)) = (startup::stack(), given.endpoint()) else { return Ok(()) };
    if at.1 == 0 {
        return Ok(());
    }
    let reuse = settings::reuse(fd);
    for shard in 0..stack.shard_count() as u8 {
        if turn(shard, |s, _| socket::is_port_in_use(s, at, reuse))? {
            return Err(Errno::ADDRINUSE);
        }
    }
    Ok(())
}

/// listen() on an undecided socket: the kernel first, which judges it; then we.
pub(crate) fn first(fd: i32, undecided: Undecided, backlog: c_int) -> Outcome {
    to_kernel(fd, backlog)?;
    let entry = Entry::Undecided(undecided);
    match begin(fd, undecided.ipv6, backlog) {
        Ok(place) => decide_ours(fd, entry, Entry::Listener(place)),
        Err(why) => {
            log::line(Level::Debug, &["a listener stays with the kernel alone: ", why]);
            decide(fd, entry, Entry::Kernel);
        }
    }
    Ok(0)
}

/// listen() again: another backlog.
pub(crate) fn again(fd: i32, place: Place, backlog: c_int) -> Outcome {
    to_kernel(fd, backlog)?;
    turn_at(place, |s, _| stack::tcp::set_backlog(s, listener(place), backlog as u32))?;
    Ok(0)
}

fn to_kernel(fd: i32, backlog: c_int) -> Outcome {
    // SAFETY: no memory is passed.
    unsafe { kernel::call(libc::SYS_listen, [fd as usize, backlog as usize]) }
}

fn begin(fd: i32, ipv6: bool, backlog: c_int) -> Result<Place, &'static str> {
    let stack = startup::stack().ok_or("the program is not attached")?;
    if ipv6 && settings::is_ipv6_only(fd) {
        return Err("it is for IPv6 only");
    }
    if settings::wants_kernel(fd) {
        return Err("an option asks for it");
    }
    let at = bound(fd).map_err(|_| "it is bound to an IPv6 address")?;
    let shadow = settings::read(fd);
    kernel::fcntl(fd, libc::F_GETFL, 0)
        .and_then(|flags| kernel::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK as usize))
        .map_err(|_| "its flags cannot be changed")?;
    let handle = open(fd, at, backlog, &shadow, stack.me).inspect_err(|_| {
        if !shadow.nonblocking {
            set_blocking(fd);
        }
    })?;
    let place = Place { shard: 0, ipv6, handle };
    settings::take_over_keys(fd, place);
    Ok(place)
}

/// The listener is there before the port is steered to it.
fn open(
    fd: i32,
    at: Endpoint,
    backlog: c_int,
    shadow: &settings::Shadow,
    me: u16,
) -> Result<u32, &'static str> {
    let opened = turn(0, |s, now| {
        let listener = // LINUX: a backlog is compared unsigned with net.core.somaxconn.
        socket::listen(s, at, backlog as u32, &shadow.settings)?;
        let socket = SocketRef::Listener(listener);
        if let Err(error) = socket::hold(s, socket, me) {
            stack::tcp::stop_listening(s, listener, now);
            return Err(error);
        }
        if let Some(socket) = s.socket_mut(socket) {
            socket.nonblocking = shadow.nonblocking.into();
            socket.receive_timeout = shadow.receive_timeout;
            socket.send_timeout = shadow.send_timeout;
        }
        Ok(listener)
    });
    let listener = match opened {
        Ok(Ok(listener)) => listener,
        Ok(Err(stack::Error::AddressInUse)) => return Err("another program listens there under shunt"),
        _ => return Err("a table of the region is full"),
    };
    if control::ask(Ask::Claim, &[], Some(fd)).is_err() {
        let _ = turn(0, |s, now| socket::let_go(s, SocketRef::Listener(listener), me, now));
        return Err("the keeper does not grant the port");
    }
    Ok(listener.raw())
}

/// shutdown() of a listener, which the shadow has seen already: it can connect or listen again.
pub(crate) fn stop(fd: i32, entry: Entry) {
    let Entry::Listener(place) = entry else { return };
    let socket = SocketRef::Listener(listener(place));
    let blocking =
        crate::sockets::with_socket(place, socket, |socket| socket.nonblocking == 0).unwrap_or(false);
    for _ in 0..decide(fd, entry, undecided_again(place.ipv6)) {
        release(entry);
    }
    if blocking {
        set_blocking(fd);
    }
}

/// The shadow goes back to the mode that the program knows.
fn set_blocking(fd: i32) {
    let flags = kernel::fcntl(fd, libc::F_GETFL, 0).unwrap_or(0);
    let _ = kernel::fcntl(fd, libc::F_SETFL, flags & !(libc::O_NONBLOCK as usize));
}

/// Nobody listens there any more.
pub(crate) fn give_back(at: Endpoint) {
    let _ = control::ask(Ask::Release, &[at.0.0, u32::from(at.1)], None);
}

/// accept4() on a listener of ours.
pub(crate) fn accept(
    fd: i32,
    place: Place,
    address: *mut core::ffi::c_void,
    length: *mut libc::socklen_t,
    flags: c_int,
) -> Outcome {
    if flags & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
        return Err(Errno::INVAL);
    }
    let socket = SocketRef::Listener(listener(place));
    let (blocking, timeout) = crate::sockets::with_socket(place, socket, |socket| {
        (socket.nonblocking == 0, socket.receive_timeout)
    })?;
    let by = if timeout == 0 { EndedBy::HandlerWithoutRestart } else { EndedBy::AnyHandler };
    let mark = Mark::begin(by);
    let deadline = (timeout != 0).then(|| now().saturating_add(timeout));
    loop {
        let waiting = turn_at(place, |s, _| {
            s.pump();
            socket::readiness(s, socket) & libc::EPOLLIN as u32 != 0
        })?;
        if waiting && let Some((connection, remote)) = take(place, flags)? {
            if !address.is_null() {
                // LINUX: an address that cannot be written costs the connection.
                Raw::of(remote, place.ipv6).to_program(address, length).inspect_err(|_| {
                    release(fds::replace(connection, Entry::Kernel));
                    let _ = kernel::close(connection);
                })?;
            }
            return Ok(connection as usize);
        }
        let arguments = [fd as usize, address as usize, length as usize, flags as usize];
        // SAFETY: the program's own pointers; the shadow does not block.
        match unsafe { kernel::call(libc::SYS_accept4, arguments) } {
            Err(Errno::AGAIN) if blocking => {
                let events = libc::EPOLLIN as u32;
                wait(&Wait { place, socket, events, also: Some(fd), deadline }, &mark)?;
            }
            other => return other,
        }
    }
}

/// Takes the oldest connection, with a new descriptor for it: its number and its peer.
fn take(place: Place, flags: c_int) -> Result<Option<(i32, Endpoint)>, Errno> {
    let me = startup::stack().ok_or(Errno::BADF)?.me;
    let family = if place.ipv6 { libc::AF_INET6 } else { libc::AF_INET } as usize;
    // SAFETY: no memory is passed.
    let shadow =
        unsafe { kernel::call(libc::SYS_socket, [family, (libc::SOCK_STREAM | flags) as usize, 0]) }?;
    let shadow = shadow as i32;
    let taken = turn_at(place, |s, now| {
        let connection = socket::accept(s, listener(place), me, now)?;
        if let Some(socket) = s.socket_mut(SocketRef::Connection(connection)) {
            socket.nonblocking = (flags & libc::SOCK_NONBLOCK != 0).into();
        }
        let peer = s.connections.get(connection).map(|c| (c.head.tuple.remote, c.head.tuple.remote_port));
        Ok((connection, peer.unwrap_or_default()))
    });
    match taken {
        Ok(Ok((connection, peer))) if fds::reaches(shadow) => {
            fds::replace(shadow, Entry::Connection(Place { handle: connection.raw(), ..place }));
            Ok(Some((shadow, peer)))
        }
        other => {
            let _ = kernel::close(shadow);
            match other {
                Ok(Ok((connection, _))) => {
                    release(Entry::Connection(Place { handle: connection.raw(), ..place }));
                    Err(Errno::MFILE)
                }
                Ok(Err(stack::Error::Again)) => Ok(None),
                Ok(Err(error)) => Err(errno(error)),
                Err(error) => Err(error),
            }
        }
    }
}
