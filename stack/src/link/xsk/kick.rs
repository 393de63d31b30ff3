//! Telling the kernel to look at the rings.

use rustix::fd::BorrowedFd;
use rustix::io::{self, Errno};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::Xsk;

impl Xsk {
    /// Sends what is in the TX ring. Needs no lock: call it after the shard's is released.
    ///
    /// In copy mode one system call sends a limited number of frames (32 unless raised) and says EAGAIN when more are left,
    /// so it is repeated, but never without end: EAGAIN also means that the socket's send buffer or the completion ring is full,
    /// and that only time cures. `Err(AGAIN)` then says that frames are left.
    pub fn kick(socket: BorrowedFd<'_>) -> io::Result<()> {
        let mut result = Ok(());
        for _ in 0..KICK_ROUNDS {
            result = send(socket, &[], SendFlags::DONTWAIT).map(drop);
            match result {
                Err(Errno::AGAIN | Errno::BUSY | Errno::INTR) => {}
                _ => break,
            }
        }
        match result {
            Err(Errno::BUSY | Errno::INTR) => Err(Errno::AGAIN),
            // LINUX: ENOBUFS is a device that could not take a frame now; the frame stays in the ring.
            Err(Errno::NOBUFS) => Err(Errno::AGAIN),
            result => result,
        }
    }

    /// Tells a driver that waits for chunks (`needs_fill_wakeup`) that there are some.
    pub fn wake_receiver(socket: BorrowedFd<'_>) -> io::Result<()> {
        let mut nothing = [0u8; 0];
        match recv(socket, &mut nothing[..], RecvFlags::DONTWAIT) {
            Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// 64 calls of 32 frames empty a TX ring of 2048.
const KICK_ROUNDS: u32 = 64;
