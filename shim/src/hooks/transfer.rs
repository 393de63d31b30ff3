//! Reading and writing: one buffer, or an array of them.

use core::ffi::{c_int, c_void};

use crate::address::Raw;
use crate::fds::{Entry, Place};
use crate::kernel::{self, Errno, Outcome};
use crate::user_buffers::Buffers;
use crate::{fast_open, stream};

use super::descriptors::entry;

/// Whose a transfer is.
pub(super) enum Way {
    Ours(Place),
    Kernel,
    Hidden,
}

/// Undecided sockets and listeners go to their shadow, which answers ENOTCONN as it should.
#[inline(always)]
pub(super) fn way(fd: c_int) -> Way {
    match entry(fd) {
        Entry::Connection(place) => Way::Ours(place),
        Entry::Own { .. } => Way::Hidden,
        _ => Way::Kernel,
    }
}

/// The three cases of every transfer: a connection of ours, a descriptor that the program must not see, the kernel.
macro_rules! transfer {
    ($fd:expr, $ours:expr, $number:ident, [$($argument:expr),*]) => {
        match way($fd) {
            Way::Ours(place) => $ours(place),
            Way::Hidden => Err(Errno::BADF),
            // SAFETY: the program's own call.
            Way::Kernel => unsafe { kernel::cancellable(libc::$number, [$fd as usize, $($argument as usize),*]) },
        }
    };
}
pub(super) use transfer;

#[inline]
pub(super) unsafe fn read(fd: c_int, buffer: *mut c_void, length: usize) -> Outcome {
    let ours = |place| match length {
        // LINUX: read() of nothing is nothing, where recv() of nothing waits.
        0 => Ok(0),
        _ => stream::receive(place, &mut Buffers::one(buffer, length)?, 0),
    };
    transfer!(fd, ours, SYS_read, [buffer, length])
}

/// Fortified: the buffer's real size is known to the compiler.
pub(super) unsafe fn read_checked(fd: c_int, buffer: *mut c_void, length: usize, room: usize) -> Outcome {
    check(length, room);
    // SAFETY: as the caller's.
    unsafe { read(fd, buffer, length) }
}

/// What glibc does when a fortified call would overflow: ends the program.
pub(crate) fn check(length: usize, room: usize) {
    if length > room {
        crate::log::line(crate::log::Level::Off, &["*** buffer overflow detected ***: terminated"]);
        kernel::abort();
    }
}

#[inline]
pub(super) unsafe fn write(fd: c_int, buffer: *const c_void, length: usize) -> Outcome {
    let ours = |place| stream::send(place, &mut Buffers::one(buffer, length)?, 0);
    transfer!(fd, ours, SYS_write, [buffer, length])
}

pub(super) unsafe fn readv(fd: c_int, pieces: *const libc::iovec, count: c_int) -> Outcome {
    let ours = |place| receive_pieces(place, pieces, count);
    transfer!(fd, ours, SYS_readv, [pieces, count])
}

pub(super) unsafe fn writev(fd: c_int, pieces: *const libc::iovec, count: c_int) -> Outcome {
    let ours = |place| send_pieces(place, pieces, count);
    transfer!(fd, ours, SYS_writev, [pieces, count])
}

fn receive_pieces(place: Place, pieces: *const libc::iovec, count: c_int) -> Outcome {
    let mut buffers = Buffers::many(pieces, usize::try_from(count).map_err(|_| Errno::INVAL)?)?;
    if stack::socket::Sink::room(&buffers) == 0 {
        return Ok(0);
    }
    stream::receive(place, &mut buffers, 0)
}

fn send_pieces(place: Place, pieces: *const libc::iovec, count: c_int) -> Outcome {
    let mut buffers = Buffers::many(pieces, usize::try_from(count).map_err(|_| Errno::INVAL)?)?;
    stream::send(place, &mut buffers, 0)
}

/// preadv2() with the offset -1 is readv() with flags; any other offset a socket does not have.
pub(super) unsafe fn preadv2(
    fd: c_int,
    pieces: *const libc::iovec,
    count: c_int,
    offset: libc::off_t,
    flags: c_int,
) -> Outcome {
    let ours = |place| match offset {
        -1 if flags & libc::RWF_NOWAIT != 0 => {
            let mut buffers = Buffers::many(pieces, usize::try_from(count).map_err(|_| Errno::INVAL)?)?;
            stream::receive(place, &mut buffers, libc::MSG_DONTWAIT)
        }
        -1 => receive_pieces(place, pieces, count),
        _ => Err(Errno::SPIPE),
    };
    transfer!(fd, ours, SYS_preadv2, [pieces, count, offset, offset >> 32 >> 32, flags])
}

pub(super) unsafe fn pwritev2(
    fd: c_int,
    pieces: *const libc::iovec,
    count: c_int,
    offset: libc::off_t,
    flags: c_int,
) -> Outcome {
    let ours = |place| match offset {
        -1 => send_pieces(place, pieces, count),
        _ => Err(Errno::SPIPE),
    };
    transfer!(fd, ours, SYS_pwritev2, [pieces, count, offset, offset >> 32 >> 32, flags])
}

pub(super) unsafe fn recv(fd: c_int, buffer: *mut c_void, length: usize, flags: c_int) -> Outcome {
    // SAFETY: as the caller's.
    unsafe { recvfrom(fd, buffer, length, flags, core::ptr::null_mut(), core::ptr::null_mut()) }
}

pub(super) unsafe fn recv_checked(
    fd: c_int,
    buffer: *mut c_void,
    length: usize,
    room: usize,
    flags: c_int,
) -> Outcome {
    check(length, room);
    // SAFETY: as the caller's.
    unsafe { recv(fd, buffer, length, flags) }
}

#[inline]
pub(super) unsafe fn recvfrom(
    fd: c_int,
    buffer: *mut c_void,
    length: usize,
    flags: c_int,
    address: *mut libc::sockaddr,
    address_length: *mut libc::socklen_t,
) -> Outcome {
    let ours = |place| {
        let received = stream::receive(place, &mut sink(buffer, length, flags)?, flags)?;
        if !address.is_null() {
            // LINUX: a stream's bytes have no sender; the length says so.
            Raw { bytes: [0; 128], length: 0 }.to_program(address.cast(), address_length)?;
        }
        Ok(received)
    };
    transfer!(fd, ours, SYS_recvfrom, [buffer, length, flags, address, address_length])
}

/// LINUX: on a stream MSG_TRUNC throws away what it reads.
fn sink(buffer: *mut c_void, length: usize, flags: c_int) -> Result<Buffers, Errno> {
    let buffers = Buffers::one(buffer, length.min(isize::MAX as usize))?;
    Ok(if flags & libc::MSG_TRUNC != 0 { buffers.discarding() } else { buffers })
}

pub(super) unsafe fn recvfrom_checked(
    fd: c_int,
    buffer: *mut c_void,
    length: usize,
    room: usize,
    flags: c_int,
    address: *mut libc::sockaddr,
    address_length: *mut libc::socklen_t,
) -> Outcome {
    check(length, room);
    // SAFETY: as the caller's.
    unsafe { recvfrom(fd, buffer, length, flags, address, address_length) }
}

pub(super) unsafe fn send(fd: c_int, buffer: *const c_void, length: usize, flags: c_int) -> Outcome {
    // SAFETY: as the caller's.
    unsafe { sendto(fd, buffer, length, flags, core::ptr::null(), 0) }
}

#[inline]
pub(super) unsafe fn sendto(
    fd: c_int,
    buffer: *const c_void,
    length: usize,
    flags: c_int,
    address: *const libc::sockaddr,
    address_length: libc::socklen_t,
) -> Outcome {
    let ours = |place| {
        let mut buffers = Buffers::one(buffer, length)?;
        if !address.is_null() {
            // LINUX: a connected stream socket ignores the address, but reads it.
            Raw::from_program(address.cast(), address_length as usize)?;
        }
        stream::send(place, &mut buffers, flags)
    };
    if flags & libc::MSG_FASTOPEN != 0 {
        let open = || {
            let raw = Raw::from_program(address.cast(), address_length as usize)?;
            Ok((raw, Buffers::one(buffer, length)?))
        };
        if let Some(outcome) = send_first(fd, flags, address.is_null(), open) {
            return outcome;
        }
    }
    transfer!(fd, ours, SYS_sendto, [buffer, length, flags, address, address_length])
}

/// MSG_FASTOPEN: connects and sends. None: what follows is the kernel's, or an ordinary send.
pub(super) fn send_first(
    fd: c_int,
    flags: c_int,
    is_without_address: bool,
    open: impl FnOnce() -> Result<(Raw, Buffers), Errno>,
) -> Option<Outcome> {
    match entry(fd) {
        Entry::Undecided(undecided) if !is_without_address => match open() {
            Ok((raw, mut buffers)) => fast_open::first(fd, undecided, &raw, &mut buffers, flags),
            Err(error) => Some(Err(error)),
        },
        Entry::Connection(place) => fast_open::again(place).map(Err),
        _ => None,
    }
}

/// Whether [`send_first`] has a say in it.
pub(super) fn may_open(fd: c_int) -> bool {
    matches!(entry(fd), Entry::Undecided(_) | Entry::Connection(_))
}
