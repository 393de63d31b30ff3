//! Files into sockets and back: sendfile() and splice().

use core::ffi::{c_int, c_uint};

use stack::socket::Source;

use crate::fds::Place;
use crate::kernel::{self, Errno, Outcome};
use crate::user_buffers::Buffers;
use crate::{stream, user_memory};

use super::transfer::{Way, transfer, way};

/// LINUX: no call moves more than this.
const MOST: usize = 0x7fff_f000;
/// What is read from a file that cannot say at once what it has.
const BOUNCE: usize = 64 << 10;

pub(super) unsafe fn sendfile(out: c_int, input: c_int, offset: *mut libc::off_t, count: usize) -> Outcome {
    if let (Way::Ours(_), _) | (_, Way::Hidden) = (way(input), way(out)) {
        // LINUX: a socket cannot be mapped, so it is no source; but ours can be refused alone.
        return Err(if let Way::Hidden = way(out) { Errno::BADF } else { Errno::INVAL });
    }
    transfer!(out, |place| send(place, input, offset, count), SYS_sendfile, [input, offset, count])
}

/// The position is the caller's (`offset`) or the file's, and moves by what was sent.
fn send(place: Place, input: c_int, offset: *mut libc::off_t, count: usize) -> Outcome {
    if let Way::Hidden = way(input) {
        return Err(Errno::BADF);
    }
    let flags = kernel::fcntl(input, libc::F_GETFL, 0)? as c_int;
    if flags & libc::O_ACCMODE == libc::O_WRONLY || flags & libc::O_PATH != 0 {
        return Err(Errno::BADF);
    }
    let own_position = offset.is_null();
    let start = if own_position {
        seek(input, 0, libc::SEEK_CUR).map_err(|_| Errno::INVAL)? as i64
    } else {
        user_memory::read(offset)?
    };
    if start < 0 {
        return Err(Errno::INVAL);
    }
    let mut file = File { descriptor: input, position: start, left: count.min(MOST), failed: None };
    let sent = send_file(place, &mut file);
    let moved = file.position - start;
    if moved > 0 {
        if own_position {
            seek(input, file.position, libc::SEEK_SET)?;
        } else {
            user_memory::write(offset, &file.position)?;
        }
    }
    sent
}

fn seek(fd: c_int, offset: i64, whence: c_int) -> Outcome {
    // SAFETY: no memory is passed.
    unsafe { kernel::call(libc::SYS_lseek, [fd as usize, offset as usize, whence as usize]) }
}

/// Sends until the file ends, an error, or a socket that does not wait is full.
fn send_file(place: Place, file: &mut File) -> Outcome {
    let mut total = 0;
    while file.left > 0 {
        // What lies in the page cache goes into frames directly.
        match stream::send(place, file, libc::MSG_NOSIGNAL) {
            Ok(sent) => total += sent,
            Err(Errno::FAULT) => {}
            Err(error) => return finish(total, error),
        }
        match file.failed.take() {
            None if file.left == 0 => break,
            // The socket is full.
            None => break,
            Some(Stop::End) => break,
            Some(Stop::Error(error)) => return finish(total, error),
            Some(Stop::NotCached) => match send_uncached(place, file) {
                Ok(0) => break,
                Ok(sent) => total += sent,
                Err(error) => return finish(total, error),
            },
        }
    }
    Ok(total)
}

fn finish(total: usize, error: Errno) -> Outcome {
    if total > 0 {
        return Ok(total);
    }
    if error == Errno::PIPE {
        stream::raise_broken_pipe();
    }
    Err(error)
}

/// Reads a piece, waiting for the disk, without the shard's lock; then sends it.
fn send_uncached(place: Place, file: &mut File) -> Outcome {
    let mut bounce = alloc::vec::Vec::<u8>::new();
    bounce.try_reserve_exact(BOUNCE).map_err(|_| Errno::NOMEM)?;
    bounce.resize(file.left.min(BOUNCE), 0);
    let read = file.read_at(&mut bounce, 0)?;
    let mut bytes = bounce.get(..read).unwrap_or_default();
    let sent = if read == 0 { 0 } else { stream::send(place, &mut bytes, libc::MSG_NOSIGNAL)? };
    file.advance(sent);
    Ok(sent)
}

enum Stop {
    End,
    NotCached,
    Error(Errno),
}

/// A file as a source: reads go straight into frames, but never wait for a disk, as the shard's lock is held.
struct File {
    descriptor: c_int,
    position: i64,
    left: usize,
    failed: Option<Stop>,
}

impl File {
    fn read_at(&self, into: &mut [u8], flags: c_int) -> Outcome {
        let piece = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let arguments = [
            self.descriptor as usize,
            (&raw const piece) as usize,
            1,
            self.position as usize,
            0,
            flags as usize,
        ];
        // SAFETY: the kernel writes into `into`.
        let read = unsafe { kernel::call(libc::SYS_preadv2, arguments) };
        // LINUX: a folder is nothing for sendfile().
        read.map_err(|error| if error == Errno::ISDIR { Errno::INVAL } else { error })
    }

    fn advance(&mut self, by: usize) {
        self.position += by as i64;
        self.left -= by.min(self.left);
    }
}

impl Source for File {
    fn remaining(&self) -> usize {
        self.left
    }

    fn take(&mut self, into: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, libc::RWF_NOWAIT) {
                Ok(0) => self.failed = Some(Stop::End),
                Ok(count) => {
                    self.advance(count);
                    done += count;
                    continue;
                }
                Err(Errno::AGAIN | Errno::OPNOTSUPP) => self.failed = Some(Stop::NotCached),
                Err(error) => self.failed = Some(Stop::Error(error)),
            }
            break;
        }
        done
    }
}

/// splice() needs a pipe at one end; the other may be a connection of ours. Bytes are copied through a bounded buffer.
pub(super) unsafe fn splice(
    input: c_int,
    input_offset: *mut libc::loff_t,
    out: c_int,
    out_offset: *mut libc::loff_t,
    count: usize,
    flags: c_uint,
) -> Outcome {
    let (from, to) = (way(input), way(out));
    if let (Way::Hidden, _) | (_, Way::Hidden) = (&from, &to) {
        return Err(Errno::BADF);
    }
    let ours_has_offset = match (&from, &to) {
        (Way::Ours(_), Way::Ours(_)) => return Err(Errno::INVAL),
        (Way::Ours(_), _) => !input_offset.is_null(),
        (_, Way::Ours(_)) => !out_offset.is_null(),
        _ => {
            let arguments = [
                input as usize,
                input_offset as usize,
                out as usize,
                out_offset as usize,
                count,
                flags as usize,
            ];
            // SAFETY: the program's own call.
            return unsafe { kernel::call(libc::SYS_splice, arguments) };
        }
    };
    let (pipe, pipe_has_offset) =
        if let Way::Ours(_) = from { (out, !out_offset.is_null()) } else { (input, !input_offset.is_null()) };
    if count == 0 {
        return Ok(0);
    }
    check_pipe(pipe, if let Way::Ours(_) = from { libc::O_RDONLY } else { libc::O_WRONLY })?;
    if pipe_has_offset {
        return Err(Errno::SPIPE);
    }
    if ours_has_offset {
        // LINUX: a socket cannot be written at a place.
        return Err(Errno::INVAL);
    }
    match (from, to) {
        (Way::Ours(place), _) => into_pipe(place, out, count, flags),
        (_, Way::Ours(place)) => out_of_pipe(place, input, count, flags),
        _ => Err(Errno::INVAL),
    }
}

/// `fd` must be a pipe, and not be open in the `wrong` direction alone.
fn check_pipe(fd: c_int, wrong: c_int) -> Result<(), Errno> {
    let flags = kernel::fcntl(fd, libc::F_GETFL, 0)? as c_int;
    if flags & libc::O_ACCMODE == wrong {
        return Err(Errno::BADF);
    }
    kernel::fcntl(fd, libc::F_GETPIPE_SZ, 0).map(|_| ()).map_err(|_| Errno::INVAL)
}

/// A pipe takes a write of up to this whole, or not at all.
const PIPE_BUF: usize = 4096;

fn wait_flags(flags: c_uint) -> c_int {
    if flags & libc::SPLICE_F_NONBLOCK != 0 { libc::MSG_DONTWAIT } else { 0 }
}

/// Takes from the connection only what the pipe has taken.
fn into_pipe(place: Place, pipe: c_int, count: usize, flags: c_uint) -> Outcome {
    await_pipe(pipe, libc::POLLOUT, flags)?;
    let mut bounce = [0u8; PIPE_BUF];
    let mut total = 0;
    while total < count {
        let room = bounce.get_mut(..count.saturating_sub(total).min(PIPE_BUF)).unwrap_or_default();
        let address = room.as_mut_ptr();
        let wait = if total == 0 { wait_flags(flags) } else { libc::MSG_DONTWAIT };
        let mut buffers = Buffers::trusted(address.cast(), room.len());
        let peeked = match stream::receive(place, &mut buffers, wait | libc::MSG_PEEK) {
            Ok(0) => break,
            Ok(peeked) => peeked,
            Err(error) => return if total > 0 { Ok(total) } else { Err(error) },
        };
        if total > 0 && await_pipe(pipe, libc::POLLOUT, libc::SPLICE_F_NONBLOCK).is_err() {
            break;
        }
        // SAFETY: the kernel reads what was received.
        let written = unsafe { kernel::call(libc::SYS_write, [pipe as usize, address as usize, peeked]) };
        let written = match written {
            Ok(written) => written,
            Err(error) => return if total > 0 { Ok(total) } else { Err(error) },
        };
        let mut gone = Buffers::trusted(core::ptr::null(), written).discarding();
        stream::receive(place, &mut gone, libc::MSG_DONTWAIT)?;
        total += written;
    }
    Ok(total)
}

/// Waits until the pipe can be read or written, or says AGAIN if the call is not to wait.
fn await_pipe(pipe: c_int, events: i16, flags: c_uint) -> Result<(), Errno> {
    let mut poll = libc::pollfd { fd: pipe, events, revents: 0 };
    let timeout = if flags & libc::SPLICE_F_NONBLOCK != 0 { 0 } else { -1isize as usize };
    // SAFETY: the kernel reads and writes our structure.
    match unsafe { kernel::call(libc::SYS_poll, [(&raw mut poll) as usize, 1, timeout]) }? {
        0 => Err(Errno::AGAIN),
        _ => Ok(()),
    }
}

/// Copies out of the pipe no more than the connection takes: first looks how much, by tee() into a pipe of our own.
fn out_of_pipe(place: Place, pipe: c_int, count: usize, flags: c_uint) -> Outcome {
    await_pipe(pipe, libc::POLLIN, flags)?;
    let mut bounce = [0u8; PIPE_BUF];
    let mut total = 0;
    while total < count {
        let space = stream::space(place)?;
        if space == 0 {
            if total > 0 || flags & libc::SPLICE_F_NONBLOCK != 0 || !stream::await_space(place)? {
                return if total > 0 { Ok(total) } else { Err(Errno::AGAIN) };
            }
            continue;
        }
        if total > 0 && await_pipe(pipe, libc::POLLIN, libc::SPLICE_F_NONBLOCK).is_err() {
            break;
        }
        let length = count.saturating_sub(total).min(PIPE_BUF).min(space);
        let address = bounce.as_mut_ptr() as usize;
        // SAFETY: the kernel writes at most `length` bytes, which the buffer has.
        let read = match unsafe { kernel::call(libc::SYS_read, [pipe as usize, address, length]) } {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => return if total > 0 { Ok(total) } else { Err(error) },
        };
        let mut bytes = bounce.get(..read).unwrap_or_default();
        let more = if flags & libc::SPLICE_F_MORE != 0 { libc::MSG_MORE } else { 0 };
        match stream::send(place, &mut bytes, more) {
            Ok(sent) => total += sent,
            Err(error) => return if total > 0 { Ok(total) } else { Err(error) },
        }
    }
    Ok(total)
}
