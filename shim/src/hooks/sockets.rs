//! Making sockets, naming them, and bringing them together.

use core::ffi::{c_int, c_void};

use stack::socket::{self, How, SocketRef};

use crate::address::Raw;
use crate::fds::{self, Entry, Undecided};
use crate::kernel::{self, Errno, Outcome};
use crate::sockets::{connection, decide, undecided};
use crate::turn::{errno, turn_at};
use crate::{connect as connecting, listen as listening, startup};

use super::descriptors::entry;

/// A TCP socket is the kernel's as always, and its use is undecided from now on if there is a stack.
pub(super) unsafe fn socket(domain: c_int, kind: c_int, protocol: c_int) -> Outcome {
    // SAFETY: no memory is passed.
    let raw =
        || unsafe { kernel::call(libc::SYS_socket, [domain as usize, kind as usize, protocol as usize]) };
    let is_stream = kind & 0xf == libc::SOCK_STREAM;
    let is_tcp =
        matches!(domain, libc::AF_INET | libc::AF_INET6) && matches!(protocol, 0 | libc::IPPROTO_TCP);
    if !is_stream || !is_tcp || borrowed() || startup::attach().is_none() {
        return raw();
    }
    let fd = raw()?;
    fds::replace(fd as c_int, Entry::Undecided(undecided(domain == libc::AF_INET6)));
    Ok(fd)
}

/// A child of vfork makes plain sockets.
fn borrowed() -> bool {
    crate::thread::current().borrowed_memory.load(core::sync::atomic::Ordering::Relaxed)
}

pub(super) unsafe fn connect(fd: c_int, address: *const libc::sockaddr, length: libc::socklen_t) -> Outcome {
    let entry = entry(fd);
    let arguments = [fd as usize, address as usize, length as usize];
    // SAFETY: the program's own call.
    let raw = || unsafe { kernel::cancellable(libc::SYS_connect, arguments) };
    match entry {
        Entry::Undecided(undecided) => {
            connecting::first(fd, undecided, &Raw::from_program(address.cast(), length as usize)?)
        }
        Entry::Connection(place) => {
            let given = Raw::from_program(address.cast(), length as usize)?;
            connecting::again(fd, entry, place, &given)
        }
        Entry::Own { .. } => Err(Errno::BADF),
        _ => raw(),
    }
}

pub(super) unsafe fn bind(fd: c_int, address: *const libc::sockaddr, length: libc::socklen_t) -> Outcome {
    // SAFETY: the program's own call.
    let raw = || unsafe { kernel::call(libc::SYS_bind, [fd as usize, address as usize, length as usize]) };
    match entry(fd) {
        entry @ Entry::Undecided(undecided) => {
            if !undecided.is_bound {
                let given = Raw::from_program(address.cast(), length as usize)?;
                listening::check_port_is_free(fd, &given)?;
            }
            let done = raw()?;
            decide(fd, entry, Entry::Undecided(Undecided { is_bound: true, ..undecided }));
            Ok(done)
        }
        // LINUX: a socket that has a port is not bound again.
        Entry::Connection(_) => Err(Errno::INVAL),
        Entry::Own { .. } => Err(Errno::BADF),
        _ => raw(),
    }
}

pub(super) unsafe fn listen(fd: c_int, backlog: c_int) -> Outcome {
    let entry = entry(fd);
    match entry {
        Entry::Undecided(undecided) => listening::first(fd, undecided, backlog),
        Entry::Listener(place) => listening::again(fd, place, backlog),
        Entry::Connection(_) => Err(Errno::INVAL),
        Entry::Own { .. } => Err(Errno::BADF),
        // SAFETY: no memory is passed.
        _ => unsafe { kernel::call(libc::SYS_listen, [fd as usize, backlog as usize]) },
    }
}

pub(super) unsafe fn accept(
    fd: c_int,
    address: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
) -> Outcome {
    // SAFETY: as the caller's.
    unsafe { accept4(fd, address, length, 0) }
}

pub(super) unsafe fn accept4(
    fd: c_int,
    address: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
    flags: c_int,
) -> Outcome {
    match entry(fd) {
        Entry::Listener(place) => listening::accept(fd, place, address.cast(), length, flags),
        Entry::Connection(_) => Err(Errno::INVAL),
        Entry::Own { .. } => Err(Errno::BADF),
        // SAFETY: the program's own call.
        _ => unsafe {
            let arguments = [fd as usize, address as usize, length as usize, flags as usize];
            kernel::cancellable(libc::SYS_accept4, arguments)
        },
    }
}

pub(super) unsafe fn shutdown(fd: c_int, how: c_int) -> Outcome {
    // SAFETY: no memory is passed.
    let raw = || unsafe { kernel::call(libc::SYS_shutdown, [fd as usize, how as usize]) };
    let entry = entry(fd);
    match entry {
        Entry::Connection(place) => {
            let how = match how {
                libc::SHUT_RD => How::Read,
                libc::SHUT_WR => How::Write,
                libc::SHUT_RDWR => How::Both,
                _ => return Err(Errno::INVAL),
            };
            let done = turn_at(place, |s, now| {
                // What has come is answered with, and not crossed by, our FIN.
                s.pump();
                socket::shutdown(s, connection(place), how, now)
            })?;
            done.map(|()| 0).map_err(errno)
        }
        Entry::Listener(_) => {
            let done = raw()?;
            if how != libc::SHUT_WR {
                listening::stop(fd, entry);
            }
            Ok(done)
        }
        Entry::Own { .. } => Err(Errno::BADF),
        _ => raw(),
    }
}

pub(super) unsafe fn getsockname(
    fd: c_int,
    address: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
) -> Outcome {
    match entry(fd) {
        Entry::Connection(place) => {
            let socket = SocketRef::Connection(connection(place));
            let endpoint = turn_at(place, |s, _| socket::local_endpoint(s, socket))?.ok_or(Errno::BADF)?;
            Raw::of(endpoint, place.ipv6).to_program(address.cast::<c_void>(), length).map(|()| 0)
        }
        Entry::Own { .. } => Err(Errno::BADF),
        // SAFETY: the program's own call.
        _ => unsafe { kernel::call(libc::SYS_getsockname, [fd as usize, address as usize, length as usize]) },
    }
}

pub(super) unsafe fn getpeername(
    fd: c_int,
    address: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
) -> Outcome {
    match entry(fd) {
        Entry::Connection(place) => {
            let endpoint = turn_at(place, |s, _| {
                // The peer may have ended it by a packet that nobody has looked at yet.
                s.pump();
                socket::remote_endpoint(s, connection(place))
            })?;
            let endpoint = endpoint.map_err(errno)?;
            Raw::of(endpoint, place.ipv6).to_program(address.cast::<c_void>(), length).map(|()| 0)
        }
        Entry::Own { .. } => Err(Errno::BADF),
        // SAFETY: the program's own call.
        _ => unsafe { kernel::call(libc::SYS_getpeername, [fd as usize, address as usize, length as usize]) },
    }
}
