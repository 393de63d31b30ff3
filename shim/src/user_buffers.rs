//! The program's buffers as the stack takes them: one range, or an array of them, read and written without trust.

use core::ffi::c_void;

use stack::socket::{Sink, Source};

use crate::kernel::Errno;
use crate::user_memory;

/// LINUX: no call moves more than this.
const MOST: usize = 0x7fff_f000;
/// LINUX: UIO_MAXIOV.
const MOST_PIECES: usize = 1024;

/// Where bytes come from or go to. The array stays in the program's memory: each piece is read when its turn comes.
#[derive(Clone, Copy)]
pub(crate) struct Buffers {
    at: *mut u8,
    left_here: usize,
    pieces: *const libc::iovec,
    pieces_left: usize,
    remaining: usize,
    /// MSG_TRUNC on a stream: bytes are taken and thrown away.
    discarding: bool,
}

impl Buffers {
    /// LINUX: a range that leaves the program's half of the address space is refused before anything moves.
    pub(crate) fn one(at: *const c_void, length: usize) -> Result<Buffers, Errno> {
        check_range(at as usize, length)?;
        Ok(Buffers::trusted(at, length.min(MOST)))
    }

    /// Memory of our own.
    pub(crate) fn trusted(at: *const c_void, length: usize) -> Buffers {
        Buffers {
            at: at.cast_mut().cast(),
            left_here: length,
            pieces: core::ptr::null(),
            pieces_left: 0,
            remaining: length,
            discarding: false,
        }
    }

    /// An array of pieces. Lengths are added up first, as Linux does: a negative one is EINVAL before anything moves.
    pub(crate) fn many(pieces: *const libc::iovec, count: usize) -> Result<Buffers, Errno> {
        if count > MOST_PIECES {
            return Err(Errno::INVAL);
        }
        let mut remaining = 0usize;
        for index in 0..count {
            let piece = user_memory::read(pieces.wrapping_add(index))?;
            if piece.iov_len > isize::MAX as usize {
                return Err(Errno::INVAL);
            }
            check_range(piece.iov_base as usize, piece.iov_len)?;
            remaining = remaining.saturating_add(piece.iov_len).min(MOST);
        }
        Ok(Buffers {
            at: core::ptr::null_mut(),
            left_here: 0,
            pieces,
            pieces_left: count,
            remaining,
            discarding: false,
        })
    }

    pub(crate) fn discarding(self) -> Buffers {
        Buffers { discarding: true, ..self }
    }

    /// The next place and how much of `wanted` it holds; none when a piece cannot be read.
    fn place(&mut self, wanted: usize) -> Option<(*mut u8, usize)> {
        while self.left_here == 0 {
            if self.pieces_left == 0 {
                return None;
            }
            let piece = user_memory::read(self.pieces).ok()?;
            self.pieces = self.pieces.wrapping_add(1);
            self.pieces_left -= 1;
            self.at = piece.iov_base.cast();
            self.left_here = piece.iov_len.min(self.remaining);
        }
        Some((self.at, wanted.min(self.left_here).min(self.remaining)))
    }

    fn advance(&mut self, by: usize) {
        self.at = self.at.wrapping_add(by);
        self.left_here -= by.min(self.left_here);
        self.remaining -= by.min(self.remaining);
    }
}

/// LINUX: access_ok().
fn check_range(at: usize, length: usize) -> Result<(), Errno> {
    const END_OF_USER_SPACE: usize = (1 << 47) - 4096;
    match at.checked_add(length) {
        Some(end) if end <= END_OF_USER_SPACE => Ok(()),
        _ => Err(Errno::FAULT),
    }
}

/// LINUX: a piece of the stream (there a buffer of the kernel's, here a frame) moves whole or not at all, so a fault in the
/// middle of one counts as nothing.
impl Source for Buffers {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn take(&mut self, into: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some((at, length)) = self.place(rest.len()) else { break };
            let Some(rest) = rest.get_mut(..length) else { break };
            if length == 0 || user_memory::copy_in(rest, at) < length {
                return 0;
            }
            self.advance(length);
            done += length;
        }
        if done == into.len() { done } else { 0 }
    }
}

impl Sink for Buffers {
    fn room(&self) -> usize {
        self.remaining
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        if self.discarding {
            let length = bytes.len().min(self.remaining);
            self.remaining -= length;
            return length;
        }
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let Some((at, length)) = self.place(rest.len()) else { break };
            let Some(rest) = rest.get(..length) else { break };
            if length == 0 || user_memory::copy_out(at, rest) < length {
                return 0;
            }
            self.advance(length);
            done += length;
        }
        if done == bytes.len() { done } else { 0 }
    }
}
