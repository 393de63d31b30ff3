//! libshunt.so: libc symbols in, region operations or the real system call out.
//!
//! Everything here runs inside somebody else's program: before its `main`, in its signal handlers, between its `fork`
//! and `exec`, at its exit. Therefore no std, no heap but our own, no libc call on any path, and no panic that can be reached.

#![cfg_attr(not(test), no_std)]
// Tests call the parts; only a program calls the hooks.
#![cfg_attr(test, allow(dead_code))]

extern crate alloc;

mod address;
mod bells;
mod blocking;
mod connect;
mod control;
mod disconnect;
mod environment;
mod epoll;
mod errno;
mod exec;
mod fast_open;
mod fds;
mod heap;
mod hooks;
mod kernel;
mod listen;
mod lock;
mod log;
mod own;
mod owner;
mod passing;
mod poll;
mod processes;
mod select;
mod settings;
mod signals;
mod sockets;
mod startup;
mod stream;
mod thread;
mod timeout;
mod turn;
mod user_buffers;
mod user_memory;

/// Nothing reaches this: it is here because a library without std must name what happens. The message is one
/// `write`, for whatever state the program is in.
#[cfg(not(test))]
#[panic_handler]
fn internal_error(_: &core::panic::PanicInfo<'_>) -> ! {
    log::internal_error();
    kernel::abort()
}

/// Precompiled `core` names the unwinder's personality although nothing unwinds (`panic = "abort"`).
#[cfg(all(debug_assertions, not(test)))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
