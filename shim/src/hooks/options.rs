//! getsockopt() and setsockopt().
//!
//! The shadow judges every setting, and its answer is read back into the connection. What a connection may have from its
//! listener, which its shadow knows nothing of, is answered from the connection.

use core::ffi::{c_int, c_void};

use stack::socket::{self, Socket, SocketRef};
use stack::tcp::{self, Info, Settings, State};

use crate::fds::{Entry, Place, Undecided};
use crate::kernel::{self, Errno, Outcome};
use crate::sockets::{connection, decide, socket_of};
use crate::turn::turn_at;
use crate::{settings, user_memory};

use super::descriptors::entry;
use super::tcp_info;

pub(super) unsafe fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: libc::socklen_t,
) -> Outcome {
    let entry = entry(fd);
    if let Entry::Own { .. } = entry {
        return Err(Errno::BADF);
    }
    let arguments = [fd as usize, level as usize, name as usize, value as usize, length as usize];
    // SAFETY: the program's own call.
    let done = unsafe { kernel::call(libc::SYS_setsockopt, arguments) }?;
    if let Entry::Undecided(undecided) = entry
        && !undecided.has_options
    {
        decide(fd, entry, Entry::Undecided(Undecided { has_options: true, ..undecided }));
    }
    if let Some((place, socket)) = socket_of(entry) {
        // A matter of the moment, of which the shadow remembers a part only.
        let quick_ack = (level, name) == (libc::IPPROTO_TCP, libc::TCP_QUICKACK);
        let quick_ack = if quick_ack { user_memory::read(value.cast::<i32>()).ok() } else { None };
        turn_at(place, |s, now| {
            if let (Some(value), SocketRef::Connection(h)) = (quick_ack, socket) {
                tcp::set_quick_ack(s, h, value as u32, now);
            }
            let mut settings = match socket {
                SocketRef::Connection(h) => s.connections.get(h).map(|c| c.settings),
                SocketRef::Listener(h) => s.listeners.get(h).map(|l| l.settings),
                SocketRef::Epoll(_) => None,
            };
            if let Some(settings) = &mut settings
                && settings::read_back(fd, level, name, settings)
            {
                socket::configure(s, socket, settings, now);
            }
            if let Some(socket) = s.socket_mut(socket) {
                settings::read_back_timeouts(fd, level, name, socket);
            }
        })?;
    }
    Ok(done)
}

pub(super) unsafe fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut libc::socklen_t,
) -> Outcome {
    let entry = entry(fd);
    let arguments = [fd as usize, level as usize, name as usize, value as usize, length as usize];
    // SAFETY: the program's own call.
    let raw = || unsafe { kernel::call(libc::SYS_getsockopt, arguments) };
    match entry {
        Entry::Own { .. } => Err(Errno::BADF),
        Entry::Connection(place) => match answer(place, level, name)? {
            Some(Answer::Number(number)) => give(&number.to_ne_bytes(), value, length),
            Some(Answer::Bytes(bytes, count)) => give(bytes.get(..count).unwrap_or_default(), value, length),
            Some(Answer::Info(info)) => {
                let (bytes, count) = tcp_info::of(fd, &info);
                give(bytes.get(..count).unwrap_or_default(), value, length)
            }
            None => raw(),
        },
        _ => raw(),
    }
}

enum Answer {
    Number(i32),
    Bytes([u8; 16], usize),
    Info(Info),
}

fn answer(place: Place, level: c_int, name: c_int) -> Result<Option<Answer>, Errno> {
    turn_at(place, |s, now| {
        let handle = connection(place);
        if (level, name) == (libc::SOL_SOCKET, libc::SO_ERROR) {
            s.pump();
            let error = socket::take_error(s, SocketRef::Connection(handle));
            return Ok(Some(Answer::Number(error as i32)));
        }
        if (level, name) == (libc::IPPROTO_TCP, libc::TCP_INFO) {
            s.pump();
            return Ok(Some(Answer::Info(tcp::info(s, handle, now))));
        }
        if (level, name) == (libc::IPPROTO_TCP, libc::TCP_QUICKACK) {
            return Ok(Some(Answer::Number(tcp::is_quick_ack(s, handle).into())));
        }
        let connection = s.connections.get(handle).ok_or(Errno::BADF)?;
        if (level, name) == (libc::IPPROTO_TCP, libc::TCP_MAXSEG) && connection.state != State::CLOSED {
            // IPv4 and TCP headers and the timestamp option of every segment.
            let path = i32::from(connection.path.mtu).saturating_sub(52);
            let asked = connection.settings.max_segment as i32;
            return Ok(Some(Answer::Number(if asked > 0 { asked.min(path) } else { path })));
        }
        if level == libc::SOL_SOCKET && matches!(name, libc::SO_SNDBUF | libc::SO_RCVBUF) {
            let is_send = name == libc::SO_SNDBUF;
            let size = if is_send { connection.send_buffer() } else { connection.receive_buffer() };
            return Ok(Some(Answer::Number(size as i32)));
        }
        Ok(inherited(&connection.settings, &connection.socket, level, name))
    })?
}

/// What a connection has from its listener.
fn inherited(settings: &Settings, socket: &Socket, level: c_int, name: c_int) -> Option<Answer> {
    match (level, name) {
        (libc::SOL_SOCKET, libc::SO_LINGER) => {
            let mut bytes = [0; 16];
            let words = [u32::from(settings.linger), settings.linger_time];
            bytes
                .chunks_exact_mut(4)
                .zip(words)
                .for_each(|(to, word)| to.copy_from_slice(&word.to_ne_bytes()));
            Some(Answer::Bytes(bytes, 8))
        }
        (libc::SOL_SOCKET, libc::SO_RCVTIMEO) => Some(timeval(socket.receive_timeout)),
        (libc::SOL_SOCKET, libc::SO_SNDTIMEO) => Some(timeval(socket.send_timeout)),
        _ => settings::number_of(settings, level, name).map(|number| Answer::Number(number as i32)),
    }
}

fn timeval(nanoseconds: u64) -> Answer {
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000 / 1_000);
    let mut bytes = [0; 16];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&seconds.to_ne_bytes());
    second.copy_from_slice(&rest.to_ne_bytes());
    Answer::Bytes(bytes, 16)
}

/// As the kernel gives an option: cut to the room there is, whose length is then written back.
fn give(bytes: &[u8], value: *mut c_void, length_at: *mut libc::socklen_t) -> Outcome {
    let room = usize::try_from(user_memory::read(length_at)? as i32).map_err(|_| Errno::INVAL)?;
    let bytes = bytes.get(..room).unwrap_or(bytes);
    user_memory::write(length_at, &(bytes.len() as libc::socklen_t))?;
    if user_memory::copy_out(value.cast(), bytes) < bytes.len() {
        return Err(Errno::FAULT);
    }
    Ok(0)
}
