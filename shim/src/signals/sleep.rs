//! A system call that sleeps, without the gap in which a signal would be missed.
//!
//! A handler that runs after the caller's last look and before the sleep would leave it asleep, where the kernel's own
//! recv() returns EINTR. So the look is part of the same few instructions as the system call, and a thread that a handler
//! interrupted in them starts them again (`look_again`).

use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::{self, Outcome};
use crate::thread;

/// Which handlers end a blocking call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EndedBy {
    /// LINUX: poll, select, epoll_wait, and anything with a timeout.
    AnyHandler,
    /// Everything else goes on after a handler that was set with SA_RESTART.
    HandlerWithoutRestart,
}

/// Taken when a blocking call begins: tells whether a handler that ends it ran since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    by: EndedBy,
    count: u32,
}

impl Mark {
    #[inline(always)]
    pub(crate) fn begin(by: EndedBy) -> Mark {
        Mark { by, count: counter(by).load(Ordering::Relaxed) }
    }

    #[inline(always)]
    pub(crate) fn is_interrupted(&self) -> bool {
        counter(self.by).load(Ordering::Relaxed) != self.count
    }
}

#[inline(always)]
fn counter(by: EndedBy) -> &'static AtomicU32 {
    match by {
        EndedBy::AnyHandler => &thread::current().handlers,
        EndedBy::HandlerWithoutRestart => &thread::current().interruptions,
    }
}

#[repr(C)]
struct Sleep {
    number: usize,
    arguments: [usize; 6],
    counter: *const u32,
    count: usize,
}

global_asm!(
    ".pushsection .text.shunt_sleep,\"ax\",@progbits",
    ".globl shunt_sleep",
    ".hidden shunt_sleep",
    ".globl shunt_sleep_begin",
    ".hidden shunt_sleep_begin",
    ".globl shunt_sleep_end",
    ".hidden shunt_sleep_end",
    ".type shunt_sleep,@function",
    "shunt_sleep:",
    ".cfi_startproc",
    "push rbx",
    ".cfi_adjust_cfa_offset 8",
    ".cfi_offset rbx, -16",
    "mov rbx, rdi",
    // All is loaded anew from here on, as the kernel may have used the registers.
    "shunt_sleep_begin:",
    "mov rcx, [rbx + 56]",
    "mov eax, [rbx + 64]",
    "cmp dword ptr [rcx], eax",
    "jne 2f",
    "mov rax, [rbx]",
    "mov rdi, [rbx + 8]",
    "mov rsi, [rbx + 16]",
    "mov rdx, [rbx + 24]",
    "mov r10, [rbx + 32]",
    "mov r8, [rbx + 40]",
    "mov r9, [rbx + 48]",
    "syscall",
    "shunt_sleep_end:",
    "jmp 3f",
    "2:",
    "mov rax, -4", // EINTR
    "3:",
    "pop rbx",
    ".cfi_adjust_cfa_offset -8",
    "ret",
    ".cfi_endproc",
    ".size shunt_sleep, . - shunt_sleep",
    ".popsection",
);

unsafe extern "C" {
    fn shunt_sleep(sleep: *const Sleep) -> isize;
    static shunt_sleep_begin: u8;
    static shunt_sleep_end: u8;
}

/// Makes a sleeping system call, unless this thread was interrupted since `mark`: then EINTR.
///
/// # Safety
/// As `kernel::call`.
pub(crate) unsafe fn interruptible_call<const N: usize>(
    number: i64,
    arguments: [usize; N],
    mark: &Mark,
) -> Outcome {
    let mut all = [0usize; 6];
    all.iter_mut().zip(arguments).for_each(|(to, from)| *to = from);
    let sleep = Sleep {
        number: number as usize,
        arguments: all,
        counter: counter(mark.by).as_ptr(),
        count: mark.count as usize,
    };
    // SAFETY: the caller's promise; the counter is this thread's own.
    kernel::outcome(unsafe { shunt_sleep(&sleep) })
}

/// A handler ran. If it came between the look and the sleep, the look is repeated.
pub(super) fn look_again(instruction: &mut i64) {
    let (begin, end) = (&raw const shunt_sleep_begin as i64, &raw const shunt_sleep_end as i64);
    if (begin..end).contains(instruction) {
        *instruction = begin;
    }
}
