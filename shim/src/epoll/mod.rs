//! epoll over accelerated and kernel descriptors together.
//!
//! Each instance is a kernel epoll set, in which the kernel's descriptors stay, and from the first accelerated descriptor
//! on a part in each shard of the region, with watches that hang off the sockets. An undecided socket is in the
//! kernel's set until connect() or listen() decides; a listener is in both.

mod control;
mod harvest;
mod instances;
mod pending;
mod wait;

pub(crate) use control::epoll_ctl;
pub(crate) use instances::{after_fork, before_fork, release, retain, with_part};
pub(crate) use pending::decided;

use core::ffi::c_int;
use core::sync::atomic::Ordering;

use crate::kernel::{self, Outcome};
use crate::lock::Lock;
use crate::signals::LockedSection;
use crate::thread;
use crate::timeout::Timeout;
use wait::Call;

/// Held while instances, or what is pending for them, are changed: one thread of the process at a time.
pub(crate) struct Changing {
    _section: LockedSection,
}

static CHANGING: Lock = Lock::new();

impl Changing {
    pub(crate) fn begin() -> Changing {
        let section = LockedSection::enter();
        CHANGING.acquire();
        Changing { _section: section }
    }

    /// One that was begun before a fork and forgotten.
    fn held() -> Changing {
        Changing { _section: LockedSection::entered() }
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        CHANGING.release();
    }
}

fn to_kernel(number: c_int, operation: c_int, fd: c_int, event: *const libc::epoll_event) -> Outcome {
    // SAFETY: the program's own pointer, or one event of ours.
    unsafe {
        kernel::call(libc::SYS_epoll_ctl, [number as usize, operation as usize, fd as usize, event as usize])
    }
}

pub(crate) unsafe fn epoll_create(size: c_int) -> Outcome {
    // SAFETY: no memory is passed.
    made(unsafe { kernel::call(libc::SYS_epoll_create, [size as usize]) })
}

pub(crate) unsafe fn epoll_create1(flags: c_int) -> Outcome {
    // SAFETY: no memory is passed.
    made(unsafe { kernel::call(libc::SYS_epoll_create1, [flags as usize]) })
}

fn made(outcome: Outcome) -> Outcome {
    let number = outcome?;
    if !thread::current().borrowed_memory.load(Ordering::Relaxed) {
        instances::enter(number as c_int);
    }
    Ok(number)
}

pub(crate) unsafe fn epoll_wait(
    number: c_int,
    to: *mut libc::epoll_event,
    most: c_int,
    timeout: c_int,
) -> Outcome {
    // SAFETY: as the caller's.
    unsafe { epoll_pwait(number, to, most, timeout, core::ptr::null()) }
}

pub(crate) unsafe fn epoll_pwait(
    number: c_int,
    to: *mut libc::epoll_event,
    most: c_int,
    timeout: c_int,
    mask: *const libc::sigset_t,
) -> Outcome {
    let call = Call { number, to, most, timeout: Timeout::Milliseconds(timeout), mask };
    wait::epoll_wait(&call, || {
        let arguments = [number as usize, to as usize, most as usize, timeout as usize, mask as usize, 8];
        // SAFETY: the program's own pointers.
        unsafe { kernel::cancellable(libc::SYS_epoll_pwait, arguments) }
    })
}

pub(crate) unsafe fn epoll_pwait2(
    number: c_int,
    to: *mut libc::epoll_event,
    most: c_int,
    timeout: *const libc::timespec,
    mask: *const libc::sigset_t,
) -> Outcome {
    let call = Call { number, to, most, timeout: Timeout::At(timeout), mask };
    wait::epoll_wait(&call, || {
        let arguments = [number as usize, to as usize, most as usize, timeout as usize, mask as usize, 8];
        // SAFETY: the program's own pointers.
        unsafe { kernel::cancellable(libc::SYS_epoll_pwait2, arguments) }
    })
}
