//! A system call that sleeps, without the gap in which a signal would be missed.
//!
//! A handler that runs after the caller's last look and before the sleep would leave it asleep, where the kernel's own
//! recv() returns EINTR. So the look is part of the same few instructions as the system call, and a handler that
//! interrupts them makes the thread leave (`leave`).

use core::arch::global_asm;

use crate::kernel::{self, Outcome};
use crate::thread;

global_asm!(
    ".pushsection .text.shunt_sleep,\"ax\",@progbits",
    ".globl shunt_sleep",
    ".hidden shunt_sleep",
    ".globl shunt_sleep_begin",
    ".hidden shunt_sleep_begin",
    ".globl shunt_sleep_end",
    ".hidden shunt_sleep_end",
    ".globl shunt_sleep_leave",
    ".hidden shunt_sleep_leave",
    ".type shunt_sleep,@function",
    // rdi: number, rsi: six arguments, rdx: the counter, ecx: its mark
    "shunt_sleep:",
    ".cfi_startproc",
    "mov rax, rdi",
    "mov r11, rsi",
    "mov rdi, rdx",
    "mov esi, ecx",
    "mov rdx, [r11 + 16]",
    "mov r10, [r11 + 24]",
    "mov r8, [r11 + 32]",
    "mov r9, [r11 + 40]",
    "shunt_sleep_begin:",
    "cmp dword ptr [rdi], esi",
    "jne shunt_sleep_leave",
    "mov rdi, [r11]",
    "mov rsi, [r11 + 8]",
    "syscall",
    "shunt_sleep_end:",
    "ret",
    "shunt_sleep_leave:",
    "mov rax, -4", // EINTR
    "ret",
    ".cfi_endproc",
    ".size shunt_sleep, . - shunt_sleep",
    ".popsection",
);

unsafe extern "C" {
    fn shunt_sleep(number: usize, arguments: *const [usize; 6], counter: *const u32, mark: u32) -> isize;
    static shunt_sleep_begin: u8;
    static shunt_sleep_end: u8;
    static shunt_sleep_leave: u8;
}

/// Makes a sleeping system call, unless this thread was interrupted since `mark` (see `interruptions`): then EINTR.
///
/// # Safety
/// As `kernel::call`.
pub(crate) unsafe fn interruptible_call<const N: usize>(
    number: i64,
    arguments: [usize; N],
    mark: u32,
) -> Outcome {
    let mut all = [0usize; 6];
    all.iter_mut().zip(arguments).for_each(|(to, from)| *to = from);
    let counter = thread::current().interruptions.as_ptr();
    // SAFETY: the caller's promise; the counter is this thread's own.
    kernel::outcome(unsafe { shunt_sleep(number as usize, &all, counter, mark) })
}

/// A handler without SA_RESTART ran: if it came between the look and the system call, the call is not made.
pub(super) fn leave(instruction: &mut i64) {
    let (begin, end) = (&raw const shunt_sleep_begin as i64, &raw const shunt_sleep_end as i64);
    if (begin..end).contains(instruction) {
        *instruction = &raw const shunt_sleep_leave as i64;
    }
}
