//! The one table of symbols: name, signature, what implements it, and the other names libc gives the same function.
//!
//! A row marked `libc` is compared with the libc crate's declaration when this compiles. A row marked `glibc` has none
//! there (fortified twins, old names). Functions with variable arguments are in `trampolines`. What is not
//! here is not taken over: GLIBC_PRIVATE names are used between glibc's own libraries, whose sockets stay the kernel's.

use core::ffi::{c_int, c_void};

use super::signals;
use crate::errno::give_back;

macro_rules! hooks {
    ($($origin:ident $name:ident $arguments:tt -> $result:ty = $implementation:path
        $(, also $($alias:ident)+)?;)*) => {
        $(
            check!($origin $name $arguments -> $result);
            export!($name $arguments -> $result = $implementation);
            $($(export!($alias $arguments -> $result = $implementation);)+)?
        )*
    };
}

macro_rules! check {
    (libc $name:ident ($($argument:ident: $type:ty),*) -> $result:ty) => {
        const _: unsafe extern "C" fn($($type),*) -> $result = libc::$name;
    };
    (glibc $name:ident $arguments:tt -> $result:ty) => {};
}

macro_rules! export {
    ($name:ident ($($argument:ident: $type:ty),*) -> $result:ty = $implementation:path) => {
        /// # Safety
        /// As the function of this name in the manual.
        #[allow(unreachable_pub, reason = "exported by name")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            // SAFETY: the program's arguments, for which it answers as it does to libc.
            give_back(unsafe { $implementation($($argument),*) })
        }
    };
}

type Handler = libc::sighandler_t;

hooks! {
    libc sigaction(signal: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> c_int
        = signals::sigaction, also __sigaction;
    libc signal(signal: c_int, handler: Handler) -> Handler = signals::signal, also bsd_signal ssignal;
    glibc sysv_signal(signal: c_int, handler: Handler) -> Handler = signals::sysv_signal, also __sysv_signal;
    glibc sigset(signal: c_int, handler: Handler) -> Handler = signals::sigset;
    glibc sigignore(signal: c_int) -> c_int = signals::sigignore;
    glibc siginterrupt(signal: c_int, interrupt: c_int) -> c_int = signals::siginterrupt;
}
