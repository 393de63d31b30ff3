//! Waiting for a socket: drive, spin, sleep.

use core::time::Duration;

use stack::socket::{self, SocketRef};

use crate::fds::Place;
use crate::kernel::{self, Errno};
use crate::signals::{Mark, interruptible_call};
use crate::startup;
use crate::turn::{now, turn_at};

/// What a blocking call waits for.
pub(crate) struct Wait {
    pub(crate) place: Place,
    pub(crate) socket: SocketRef,
    /// EPOLL bits, any of which ends the wait; EPOLLERR and EPOLLHUP always do.
    pub(crate) events: u32,
    /// A kernel descriptor whose readability ends the wait too: the shadow of a listener.
    pub(crate) also: Option<i32>,
    /// CLOCK_MONOTONIC nanoseconds.
    pub(crate) deadline: Option<u64>,
}

const LONGEST_SLEEP: Duration = Duration::from_millis(1);

/// Returns when an event may be there; `AGAIN` at the deadline, `INTR` when a handler ended the call.
pub(crate) fn wait(wait: &Wait, mark: &Mark) -> Result<(), Errno> {
    let wanted = wait.events | (libc::EPOLLERR | libc::EPOLLHUP) as u32;
    loop {
        let ready = turn_at(wait.place, |s, _| {
            s.pump();
            socket::readiness(s, wait.socket)
        })?;
        if ready & wanted != 0 {
            return Ok(());
        }
        if mark.is_interrupted() {
            return Err(Errno::INTR);
        }
        if wait.deadline.is_some_and(|deadline| now() >= deadline) {
            return Err(Errno::AGAIN);
        }
        let stack = startup::stack().ok_or(Errno::BADF)?;
        let mut polled = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; 16];
        let rings = stack.watch_fds(u32::from(wait.place.shard)).map(|fd| {
            use rustix::fd::AsRawFd;
            fd.as_raw_fd()
        });
        let mut count = 0;
        for (place, fd) in polled.iter_mut().zip(rings.chain(wait.also)) {
            place.fd = fd;
            count += 1;
        }
        let time = [0i64, LONGEST_SLEEP.as_nanos() as i64];
        let arguments = [(&raw mut polled) as usize, count, (&raw const time) as usize, 0, 8];
        let slept = kernel::cancellation_point(|| {
            // SAFETY: the kernel reads and writes our array, and reads our timespec.
            unsafe { interruptible_call(libc::SYS_ppoll, arguments, mark) }
        });
        if let (Ok(_), Some(also)) = (slept, wait.also)
            && polled.iter().any(|p| p.fd == also && p.revents != 0)
        {
            return Ok(());
        }
    }
}
