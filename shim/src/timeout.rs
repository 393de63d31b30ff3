//! How long a program wants to wait, in the forms that poll, select and epoll_wait take it.

use core::ffi::c_int;

use crate::kernel::Errno;
use crate::user_memory;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Timeout {
    /// LINUX: any negative number means for ever.
    Milliseconds(c_int),
    /// Of the program; null means for ever.
    At(*const libc::timespec),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deadline {
    /// Look, and return at once.
    Now,
    /// CLOCK_MONOTONIC nanoseconds.
    At(u64),
    Never,
}

impl Timeout {
    pub(crate) fn deadline(self, begun: u64) -> Result<Deadline, Errno> {
        Ok(match self {
            Timeout::Milliseconds(n) => match u64::try_from(n) {
                Ok(0) => Deadline::Now,
                Ok(n) => Deadline::At(begun.saturating_add(n * 1_000_000)),
                Err(_) => Deadline::Never,
            },
            Timeout::At(time) if time.is_null() => Deadline::Never,
            Timeout::At(time) => {
                let libc::timespec { tv_sec, tv_nsec } = user_memory::read(time)?;
                after(begun, tv_sec, tv_nsec)?
            }
        })
    }
}

/// So much later than `begun`. LINUX: negative numbers and a second's worth of nanoseconds are refused.
pub(crate) fn after(begun: u64, seconds: i64, nanoseconds: i64) -> Result<Deadline, Errno> {
    let seconds = u64::try_from(seconds).map_err(|_| Errno::INVAL)?;
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|&n| n < 1_000_000_000).ok_or(Errno::INVAL)?;
    Ok(match seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds) {
        0 => Deadline::Now,
        wait => Deadline::At(begun.saturating_add(wait)),
    })
}

/// The mask to wait with. LINUX: the kernel's mask is the first word of glibc's.
pub(crate) fn mask(mask: *const libc::sigset_t) -> Result<Option<u64>, Errno> {
    if mask.is_null() { Ok(None) } else { user_memory::read(mask.cast::<u64>()).map(Some) }
}
