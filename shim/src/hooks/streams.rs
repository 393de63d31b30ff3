//! fdopen(), dprintf() and the standard streams: stdio reads and writes inside of libc, where no hook is. A stream on one of our sockets is therefore a stream of
//! stdio's custom kind, whose functions are our hooks.

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::errno::give_back;
use crate::fds::Entry;
use crate::kernel::{self, Errno, Outcome};

use super::descriptors::{self, entry};
use super::transfer;

#[repr(C)]
struct Functions {
    read: unsafe extern "C" fn(*mut c_void, *mut c_char, usize) -> isize,
    write: unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> isize,
    seek: unsafe extern "C" fn(*mut c_void, *mut i64, c_int) -> c_int,
    close: unsafe extern "C" fn(*mut c_void) -> c_int,
}

unsafe extern "C" {
    fn fopencookie(cookie: *mut c_void, mode: *const c_char, functions: Functions) -> *mut c_void;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn __vasprintf_chk(
        text: *mut *mut c_char,
        checks: c_int,
        format: *const c_char,
        list: *mut c_void,
    ) -> c_int;
    fn free(block: *mut c_void);
    fn setvbuf(stream: *mut c_void, buffer: *mut c_char, mode: c_int, size: usize) -> c_int;
    static mut stdin: *mut c_void;
    static mut stdout: *mut c_void;
    static mut stderr: *mut c_void;
}

/// LINUX: `_fileno` of glibc's `struct _IO_FILE`, which is part of its ABI. Streams of the custom kind have none, but
/// programs ask with fileno().
const FILE_NUMBER: usize = 112;

pub(super) unsafe fn fdopen(fd: c_int, mode: *const c_char) -> Outcome {
    match entry(fd) {
        Entry::Own { .. } => Err(Errno::BADF),
        // SAFETY: the program's own call.
        Entry::Kernel | Entry::Epoll { .. } => unsafe { of_libc(fd, mode) },
        _ => {
            // SAFETY: `mode` is the program's string.
            let stream = unsafe { ours(fd, mode) };
            if stream.is_null() {
                return Err(Errno::from_raw_os_error(crate::errno::current()));
            }
            Ok(stream as usize)
        }
    }
}

/// A stream that reads and writes `fd` by our hooks, whatever `fd` is; null if there is no memory.
///
/// # Safety
/// `mode` is a string.
unsafe fn ours(fd: c_int, mode: *const c_char) -> *mut c_void {
    let functions = Functions { read, write, seek, close };
    // SAFETY: the functions take the descriptor's number as their cookie.
    let stream = unsafe { fopencookie(fd as usize as *mut c_void, mode, functions) };
    if !stream.is_null() {
        // SAFETY: inside the structure that libc has just made.
        unsafe { stream.byte_add(FILE_NUMBER).cast::<c_int>().write(fd) };
    }
    stream
}

/// A connection has come to lie on descriptor 0, 1 or 2, as shells and inetd put it there: stdin, stdout or stderr is replaced by
/// a stream of ours, which serves as well for whatever lies there later.
#[cold]
pub(crate) fn stand_in(fd: c_int) {
    static DONE: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];
    const UNBUFFERED: c_int = 2;
    if DONE.get(fd as usize).is_none_or(|done| done.swap(true, Ordering::Relaxed)) {
        return;
    }
    let mode = if fd == 0 { c"r" } else { c"w" };
    // SAFETY: libc's variables for the standard streams, which a program may set.
    unsafe {
        let stream = ours(fd, mode.as_ptr());
        if stream.is_null() {
            return;
        }
        match fd {
            0 => stdin = stream,
            1 => stdout = stream,
            _ => {
                setvbuf(stream, core::ptr::null_mut(), UNBUFFERED, 0);
                stderr = stream;
            }
        }
    }
}

/// # Safety
/// As fdopen(3).
unsafe fn of_libc(fd: c_int, mode: *const c_char) -> Outcome {
    const NEXT: *mut c_void = -1isize as *mut c_void;
    // SAFETY: libc's function of this name and signature.
    let stream = unsafe {
        let real = dlsym(NEXT, c"fdopen".as_ptr());
        if real.is_null() {
            return Err(Errno::NOSYS);
        }
        let real: unsafe extern "C" fn(c_int, *const c_char) -> *mut c_void = core::mem::transmute(real);
        real(fd, mode)
    };
    if stream.is_null() {
        Err(Errno::from_raw_os_error(crate::errno::current()))
    } else {
        Ok(stream as usize)
    }
}

unsafe extern "C" fn read(cookie: *mut c_void, buffer: *mut c_char, length: usize) -> isize {
    // SAFETY: stdio's own buffer.
    give_back(unsafe { transfer::read(cookie as usize as c_int, buffer.cast(), length) })
}

/// Stdio takes a short count for an error, and 0 for failure.
unsafe extern "C" fn write(cookie: *mut c_void, buffer: *const c_char, length: usize) -> isize {
    let mut done = 0;
    while done < length {
        let rest = buffer.wrapping_add(done);
        // SAFETY: stdio's own buffer.
        match unsafe { transfer::write(cookie as usize as c_int, rest.cast(), length - done) } {
            Ok(count) if count > 0 => done += count,
            other => {
                let _: isize = give_back(other);
                break;
            }
        }
    }
    done as isize
}

/// A socket has no place; what comes to lie on the number of a standard stream may.
unsafe extern "C" fn seek(cookie: *mut c_void, place: *mut i64, whence: c_int) -> c_int {
    // SAFETY: stdio's own variable.
    let arguments = [cookie as usize, unsafe { *place } as usize, whence as usize];
    // SAFETY: no memory is passed.
    let moved = unsafe { kernel::call(libc::SYS_lseek, arguments) }.map(|now| {
        // SAFETY: stdio's own variable.
        unsafe { *place = now as i64 };
        0
    });
    give_back(moved)
}

unsafe extern "C" fn close(cookie: *mut c_void) -> c_int {
    // SAFETY: no memory is passed.
    give_back(unsafe { descriptors::close(cookie as usize as c_int) })
}

/// `vdprintf`: the text is made first, then written as by write().
pub(super) unsafe fn vdprintf(fd: c_int, format: *const c_char, list: *mut c_void) -> Outcome {
    // SAFETY: as the caller's.
    unsafe { print(fd, 0, format, list) }
}

/// Fortified: `checks` refuses %n in writable memory.
pub(super) unsafe fn vdprintf_checked(
    fd: c_int,
    checks: c_int,
    format: *const c_char,
    list: *mut c_void,
) -> Outcome {
    // SAFETY: as the caller's.
    unsafe { print(fd, checks, format, list) }
}

unsafe fn print(fd: c_int, checks: c_int, format: *const c_char, list: *mut c_void) -> Outcome {
    let mut text = core::ptr::null_mut();
    // SAFETY: the program's format and arguments; libc allocates the text.
    let length = unsafe { __vasprintf_chk(&raw mut text, checks, format, list) };
    let Ok(length) = usize::try_from(length) else {
        return Err(Errno::from_raw_os_error(crate::errno::current()));
    };
    let mut done = 0;
    let mut outcome = Ok(length);
    while done < length {
        // SAFETY: within the text.
        match unsafe { transfer::write(fd, text.wrapping_add(done).cast(), length - done) } {
            Ok(count) => done += count,
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    // SAFETY: allocated above.
    unsafe { free(text.cast()) };
    outcome
}

/// `dprintf` and `__dprintf_chk`, whose trampolines made the list.
pub(super) unsafe extern "C" fn dprintf(fd: c_int, format: *const c_char, list: *mut c_void) -> c_int {
    // SAFETY: the program's arguments.
    give_back(unsafe { print(fd, 0, format, list) })
}

pub(super) unsafe extern "C" fn dprintf_checked(
    fd: c_int,
    checks: c_int,
    format: *const c_char,
    list: *mut c_void,
) -> c_int {
    // SAFETY: the program's arguments.
    give_back(unsafe { print(fd, checks, format, list) })
}
