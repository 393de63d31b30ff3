//! What belongs to one thread: a zeroed block of static TLS, reached with two instructions.
//!
//! `thread_local!` of a shared library calls `__tls_get_addr`, which may allocate the block on first use: not possible in
//! a signal handler. The block here lies in the static TLS area that the loader sets up with the thread, which a
//! preloaded library may use.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32};

/// Every field must be valid when zero. Only the owning thread and signal handlers on it look at it; atomics order
/// those two, and no other thread ever gets the address.
#[repr(C, align(64))]
pub(crate) struct Thread {
    /// How many locked sections this thread is in. Signal handlers are deferred while it is not zero.
    pub(crate) locked: AtomicU32,
    /// Counts handlers that ran on this thread: blocking calls look whether it moved.
    pub(crate) handlers: AtomicU32,
    /// Of these, the ones without SA_RESTART.
    pub(crate) interruptions: AtomicU32,
    /// Its waker plus one; 0 before it first slept.
    pub(crate) bell: AtomicU32,
    /// Waits in a row in which spinning was in vain.
    pub(crate) vain_spins: AtomicU32,
    /// Waits to come in which it does not spin, because others want the processor.
    pub(crate) crowded: AtomicU32,
    /// Set for the child of `vfork`, which runs on its parent's memory.
    pub(crate) borrowed_memory: AtomicBool,
    /// A signal waits in `deferred` for the end of the locked section.
    pub(crate) has_deferred: AtomicBool,
    pub(crate) deferred: UnsafeCell<Deferred>,
}

/// The signal that arrived inside a locked section, and the mask to go back to.
#[repr(C)]
pub(crate) struct Deferred {
    pub(crate) mask: u64,
    /// The kernel's `siginfo_t`, which is 128 bytes.
    pub(crate) info: [u64; 16],
}

const BLOCK: usize = 256;
const _: () = assert!(size_of::<Thread>() <= BLOCK);
/// `trampolines` sets this field from assembly.
pub(crate) const BORROWED_MEMORY_OFFSET: usize = core::mem::offset_of!(Thread, borrowed_memory);

global_asm!(
    ".pushsection .tbss.shunt_thread,\"awT\",@nobits",
    ".balign 64",
    ".globl shunt_thread",
    ".hidden shunt_thread",
    ".type shunt_thread,@object",
    ".size shunt_thread,{size}",
    "shunt_thread:",
    ".zero {size}",
    ".popsection",
    size = const BLOCK,
);

/// This thread's block.
#[inline(always)]
pub(crate) fn current() -> &'static Thread {
    let address: *const Thread;
    // SAFETY: reads the offset of our TLS block from the GOT and the thread pointer from fs:0. The block lives as long
    // as the thread, is zeroed by the loader, and all-zero is a valid Thread. The reference does not leave the thread:
    // Thread is not Sync (UnsafeCell).
    unsafe {
        asm!("mov {0}, qword ptr [rip + shunt_thread@GOTTPOFF]", "add {0}, qword ptr fs:[0]",
            out(reg) address, options(pure, readonly, nostack));
        &*address
    }
}
