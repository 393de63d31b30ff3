//! getsockopt() and setsockopt().
//!
//! The shadow judges every setting, and its answer is read back into the connection. What a connection may have from its
//! listener, which its shadow knows nothing of, is answered from the connection.

use core::ffi::{c_int, c_void};

use stack::socket::{self, Socket, SocketRef};
use stack::tcp::congestion::Choice;
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
    let size = if entry == Entry::Kernel { None } else { buffer_size(level, name, value, length) };
    let bounded = size.map(|(asked, most)| asked.min(most));
    let passed_on = bounded.as_ref().map_or(value, |bounded| (&raw const *bounded).cast());
    let arguments = [fd as usize, level as usize, name as usize, passed_on as usize, length as usize];
    // SAFETY: the program's own call, or a number of ours for four bytes.
    let done = unsafe { kernel::call(libc::SYS_setsockopt, arguments) };
    if (level, name) == (libc::IPPROTO_TCP, libc::TCP_CONGESTION)
        && let Some((place, socket)) = socket_of(entry)
    {
        return choose_algorithm(place, socket, done, algorithm(value, length));
    }
    let done = done?;
    if let Entry::Undecided(undecided) = entry
        && !undecided.has_options
    {
        decide(fd, entry, Entry::Undecided(Undecided { has_options: true, ..undecided }));
    }
    if let Entry::Listener(place) = entry
        && level == libc::IPPROTO_TCP
        && matches!(name, libc::TCP_FASTOPEN | libc::TCP_FASTOPEN_KEY)
    {
        settings::take_over_keys(fd, place);
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
                if let Some((asked, _)) = size {
                    // The shadow has no more than the namespace allows.
                    settings::resize(settings, name, asked, &s.head.sysctls);
                }
                socket::configure(s, socket, settings, now);
            }
            if let Some(socket) = s.socket_mut(socket) {
                settings::read_back_timeouts(fd, level, name, socket);
            }
        })?;
    }
    Ok(done)
}

/// What SO_SNDBUF or SO_RCVBUF asks for, and may ask for, where that is ours to say: four bytes, of which a negative number
/// counts as large.
fn buffer_size(
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: libc::socklen_t,
) -> Option<(u32, u32)> {
    let asks = level == libc::SOL_SOCKET && matches!(name, libc::SO_SNDBUF | libc::SO_RCVBUF);
    if !asks || length as usize != size_of::<u32>() {
        return None;
    }
    let most = settings::largest_buffer(name)?;
    user_memory::read(value.cast()).ok().map(|asked| (asked, most))
}

/// The algorithm that the program names, if the stack has it.
fn algorithm(value: *const c_void, length: libc::socklen_t) -> Option<Choice> {
    let mut bytes = [0u8; 16];
    let room = bytes.get_mut(..(length as usize).min(15))?;
    if user_memory::copy_in(room, value.cast()) < room.len() {
        return None;
    }
    let name = bytes.split(|&byte| byte == 0).next()?;
    core::str::from_utf8(name).ok().and_then(Choice::from_name)
}

/// TCP_CONGESTION on a connection or a listener. LINUX: an algorithm that is not there is ENOENT: here it is the stack that
/// must have it. What the kernel alone lacks does not matter.
fn choose_algorithm(place: Place, socket: SocketRef, judged: Outcome, ours: Option<Choice>) -> Outcome {
    let choice = match (judged, ours) {
        (Ok(_) | Err(Errno::NOENT), Some(choice)) => choice,
        (Ok(_), None) => return Err(Errno::NOENT),
        (Err(error), _) => return Err(error),
    };
    turn_at(place, |s, now| {
        let settings = match socket {
            SocketRef::Connection(h) => s.connections.get(h).map(|c| c.settings),
            SocketRef::Listener(h) => s.listeners.get(h).map(|l| l.settings),
            SocketRef::Epoll(_) => None,
        };
        if let Some(settings) = settings {
            socket::configure(s, socket, &Settings { congestion: choice.0, ..settings }, now);
        }
    })?;
    Ok(0)
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
            Some(Answer::Wide(number)) => give_wide(number, value, length),
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

#[expect(clippy::large_enum_variant, reason = "one at a time, and nothing may be allocated here")]
enum Answer {
    Number(i32),
    /// Eight bytes where there is room for them, else four.
    Wide(u64),
    Bytes([u8; 20], usize),
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
        match (level, name) {
            (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => {
                return Ok(Some(bytes(tcp::congestion_name(s, handle).as_bytes(), 16)));
            }
            (libc::IPPROTO_TCP, libc::TCP_CC_INFO) => {
                let words = tcp::congestion_info(s, handle).unwrap_or_default();
                let count = if words == [0; 5] { 0 } else { 20 };
                return Ok(Some(bytes(words.map(u32::to_ne_bytes).as_flattened(), count)));
            }
            _ => {}
        }
        let connection = s.connections.get(handle).ok_or(Errno::BADF)?;
        let is_closed = connection.state == State::CLOSED;
        if (level, name) == (libc::IPPROTO_IP, libc::IP_MTU) {
            // LINUX: only a connection has a path.
            let mtu = i32::from(connection.path.mtu);
            return if is_closed { Err(Errno::NOTCONN) } else { Ok(Some(Answer::Number(mtu))) };
        }
        if (level, name) == (libc::IPPROTO_TCP, libc::TCP_MAXSEG) && !is_closed {
            return Ok(Some(Answer::Number(tcp::info(s, handle, now).send_mss as i32)));
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
            let words = [u32::from(settings.linger), settings.linger_time].map(u32::to_ne_bytes);
            Some(bytes(words.as_flattened(), 8))
        }
        (libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE) => Some(Answer::Wide(match settings.max_pacing_rate {
            0 => u64::MAX,
            kibibytes => u64::from(kibibytes) << 10,
        })),
        (libc::SOL_SOCKET, libc::SO_RCVTIMEO) => Some(timeval(socket.receive_timeout)),
        (libc::SOL_SOCKET, libc::SO_SNDTIMEO) => Some(timeval(socket.send_timeout)),
        _ => settings::number_of(settings, level, name).map(|number| Answer::Number(number as i32)),
    }
}

fn timeval(nanoseconds: u64) -> Answer {
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000 / 1_000);
    bytes([seconds, rest].map(u64::to_ne_bytes).as_flattened(), 16)
}

/// An answer of `count` bytes, of which `from` has the first ones.
fn bytes(from: &[u8], count: usize) -> Answer {
    let mut bytes = [0; 20];
    bytes.iter_mut().zip(from).for_each(|(to, byte)| *to = *byte);
    Answer::Bytes(bytes, count)
}

/// LINUX: SO_MAX_PACING_RATE: who has room for four bytes alone gets the largest number that fits.
fn give_wide(number: u64, value: *mut c_void, length_at: *mut libc::socklen_t) -> Outcome {
    let room = user_memory::read(length_at)?;
    if room as usize >= size_of::<u64>() {
        return give(&number.to_ne_bytes(), value, length_at);
    }
    give(&(number.min(u64::from(u32::MAX)) as u32).to_ne_bytes(), value, length_at)
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
