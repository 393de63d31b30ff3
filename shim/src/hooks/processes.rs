//! exec in all its forms, and `_Fork`, which runs no fork handlers: ours are run around it.

use core::ffi::{CStr, c_char, c_int, c_void};

use crate::exec::{environment, with_heirloom};
use crate::kernel::{self, Errno, Outcome};
use crate::{errno, processes};

type Strings = *const *const c_char;

pub(super) unsafe fn fork_bare() -> Outcome {
    processes::fork_bare()
}

pub(super) unsafe fn execve(path: *const c_char, arguments: Strings, variables: Strings) -> Outcome {
    with_heirloom(|| {
        let all = [path as usize, arguments as usize, variables as usize];
        // SAFETY: the program's own call.
        unsafe { kernel::call(libc::SYS_execve, all) }
    })
}

pub(super) unsafe fn execv(path: *const c_char, arguments: Strings) -> Outcome {
    // SAFETY: as the caller's.
    unsafe { execve(path, arguments, environment()) }
}

pub(super) unsafe fn execveat(
    folder: c_int,
    path: *const c_char,
    arguments: Strings,
    variables: Strings,
    flags: c_int,
) -> Outcome {
    with_heirloom(|| {
        let all = [folder as usize, path as usize, arguments as usize, variables as usize, flags as usize];
        // SAFETY: the program's own call.
        unsafe { kernel::call(libc::SYS_execveat, all) }
    })
}

pub(super) unsafe fn fexecve(fd: c_int, arguments: Strings, variables: Strings) -> Outcome {
    if fd < 0 || arguments.is_null() || variables.is_null() {
        return Err(Errno::INVAL);
    }
    // SAFETY: as the caller's.
    unsafe { execveat(fd, c"".as_ptr(), arguments, variables, libc::AT_EMPTY_PATH) }
}

/// The search along PATH, and what is done with a script without `#!`, are libc's.
pub(super) unsafe fn execvpe(file: *const c_char, arguments: Strings, variables: Strings) -> Outcome {
    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    const NEXT: *mut c_void = -1isize as *mut c_void;
    const NAME: &CStr = c"execvpe";
    with_heirloom(|| {
        // SAFETY: libc's function of this name and signature, with the program's arguments.
        unsafe {
            let real = dlsym(NEXT, NAME.as_ptr());
            if real.is_null() {
                return Err(Errno::NOSYS);
            }
            let real: unsafe extern "C" fn(*const c_char, Strings, Strings) -> c_int =
                core::mem::transmute(real);
            real(file, arguments, variables);
        }
        Err(Errno::from_raw_os_error(errno::current()))
    })
}

pub(super) unsafe fn execvp(file: *const c_char, arguments: Strings) -> Outcome {
    // SAFETY: as the caller's.
    unsafe { execvpe(file, arguments, environment()) }
}

/// The forms with a list of arguments: `trampolines` lays it out as an array.
pub(super) unsafe extern "C" fn execl(path: *const c_char, arguments: Strings) -> c_int {
    // SAFETY: the program's own call.
    errno::give_back(unsafe { execv(path, arguments) })
}

pub(super) unsafe extern "C" fn execlp(file: *const c_char, arguments: Strings) -> c_int {
    // SAFETY: the program's own call.
    errno::give_back(unsafe { execvp(file, arguments) })
}

/// The environment follows the null that ends the list.
pub(super) unsafe extern "C" fn execle(path: *const c_char, arguments: Strings) -> c_int {
    let mut end = arguments;
    // SAFETY: the program ends its list with a null, and the environment comes after it.
    let variables = unsafe {
        while !(*end).is_null() {
            end = end.add(1);
        }
        *end.add(1).cast::<Strings>()
    };
    // SAFETY: the program's own call.
    errno::give_back(unsafe { execve(path, arguments, variables) })
}
