//! From a hook's outcome to what C expects: a value, or the error value with `errno` set. A success never touches
//! `errno`.

use core::ffi::{c_int, c_void};

use crate::kernel::{Errno, Outcome};

// Names the library that all our imports come from, so that they are bound by version.
#[link(name = "c")]
unsafe extern "C" {
    safe fn __errno_location() -> *mut c_int;
}

pub(crate) fn set(error: Errno) {
    // SAFETY: libc gives the address of this thread's errno, which is always there.
    unsafe { *__errno_location() = error.raw_os_error() }
}

pub(crate) fn current() -> c_int {
    // SAFETY: as above.
    unsafe { *__errno_location() }
}

/// A C return type that has an error value.
pub(crate) trait Returned {
    const FAILED: Self;
    fn returned(value: usize) -> Self;
}

impl Returned for c_int {
    const FAILED: Self = -1;
    fn returned(value: usize) -> Self {
        value as c_int
    }
}

impl Returned for isize {
    const FAILED: Self = -1;
    fn returned(value: usize) -> Self {
        value as isize
    }
}

/// `sighandler_t`; SIG_ERR is -1.
impl Returned for usize {
    const FAILED: Self = usize::MAX;
    fn returned(value: usize) -> Self {
        value
    }
}

impl Returned for *mut c_void {
    const FAILED: Self = core::ptr::null_mut();
    fn returned(value: usize) -> Self {
        value as *mut c_void
    }
}

impl Returned for () {
    const FAILED: Self = ();
    fn returned(_: usize) -> Self {}
}

#[inline(always)]
pub(crate) fn give_back<T: Returned>(outcome: Outcome) -> T {
    match outcome {
        Ok(value) => T::returned(value),
        Err(error) => {
            set(error);
            T::FAILED
        }
    }
}
