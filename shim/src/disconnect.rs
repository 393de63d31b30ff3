//! connect() with AF_UNSPEC: the connection ends at once, and the socket can be used again.

use core::ffi::c_int;

use stack::socket::Endpoint;
use stack::tcp::{self, State};

use crate::address::Raw;
use crate::fds::Place;
use crate::kernel::{self, Errno};
use crate::settings;
use crate::sockets::connection;
use crate::turn::turn_at;

/// Ends the connection behind `fd`, which its shadow stands for from now on.
pub(crate) fn disconnect(fd: i32, place: Place) {
    let handle = connection(place);
    // One that has gone has no peer either.
    let ended = turn_at(place, |s, now| {
        s.pump();
        let found = s.connections.get(handle).map(|c| (c.state, c.head.tuple));
        tcp::abort(s, handle, now);
        found
    });
    if let Ok(Some((state, tuple))) = ended
        && leaves_error(state)
    {
        // Without it the program merely finds the socket as good as new.
        let _ = make_reset_pending(fd, (tuple.remote, tuple.remote_port), place.ipv6);
    }
}

/// LINUX: tcp_disconnect(): what was cut off is told by the next call.
fn leaves_error(state: State) -> bool {
    !matches!(state, State::CLOSED | State::TIME_WAIT | State::CLOSING | State::LAST_ACK)
}

/// The kernel has ECONNRESET pending on the shadow when an attempt to connect is broken off. One that is put off until there are
/// bytes to send with the SYN sends nothing before that.
fn make_reset_pending(fd: i32, to: Endpoint, ipv6: bool) -> Result<(), Errno> {
    let names = [libc::TCP_FASTOPEN_CONNECT, settings::TCP_FASTOPEN_NO_COOKIE];
    let before = names.map(|name| settings::number(fd, libc::IPPROTO_TCP, name).unwrap_or(0));
    names.iter().try_for_each(|&name| set(fd, name, 1))?;
    let connected = call(fd, &Raw::of(to, ipv6));
    let nowhere = Raw { bytes: [0; 128], length: size_of::<libc::sockaddr>() };
    let broken_off = connected.and_then(|()| call(fd, &nowhere));
    // What cannot be set back could not be set either.
    for (name, value) in names.into_iter().zip(before) {
        let _ = set(fd, name, value);
    }
    broken_off
}

fn call(fd: i32, raw: &Raw) -> Result<(), Errno> {
    // SAFETY: the kernel reads an address of ours.
    unsafe { kernel::call(libc::SYS_connect, [fd as usize, raw.bytes.as_ptr() as usize, raw.length]) }
        .map(drop)
}

fn set(fd: i32, name: c_int, value: u32) -> Result<(), Errno> {
    let level = libc::IPPROTO_TCP as usize;
    let arguments = [fd as usize, level, name as usize, (&raw const value) as usize, size_of::<u32>()];
    // SAFETY: the kernel reads our number.
    unsafe { kernel::call(libc::SYS_setsockopt, arguments) }.map(drop)
}
