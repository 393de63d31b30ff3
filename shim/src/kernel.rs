//! The real system calls. Always raw instructions: a libc function would come back through our own hooks.

use core::arch::asm;

pub(crate) use rustix::io::Errno;

/// What a system call, and therefore every hook, ends with.
pub(crate) type Outcome = Result<usize, Errno>;

/// Makes system call `number`; unused arguments may be left out.
///
/// # Safety
/// The call must not break what Rust or the program rely on: pointers must be valid for what the kernel does with
/// them, or be the program's own, and descriptors must be meant.
#[inline(always)]
pub(crate) unsafe fn call<const N: usize>(number: i64, arguments: [usize; N]) -> Outcome {
    let mut all = [0usize; 6];
    let mut i = 0;
    while i < N && i < 6 {
        all[i] = arguments[i];
        i += 1;
    }
    // SAFETY: the caller's promise.
    outcome(unsafe { call6(number as usize, all) })
}

/// # Safety
/// As `call`.
#[inline(always)]
unsafe fn call6(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the syscall instruction clobbers rcx and r11 alone; memory is not marked untouched.
    unsafe {
        asm!("syscall",
            inlateout("rax") number => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

unsafe extern "C" {
    fn pthread_setcanceltype(kind: i32, old: *mut i32) -> i32;
}
const DEFERRED: i32 = 0;
const ASYNCHRONOUS: i32 = 1;

/// A call that may sleep, and in which POSIX lets a thread be cancelled: as in libc, cancellation is asynchronous for just
/// as long as the system call takes, and only if there is a second thread that could ask for it.
///
/// # Safety
/// As `call`. A cancelled thread leaves by unwinding from here: nothing may be held.
#[inline(always)]
pub(crate) unsafe fn cancellable<const N: usize>(number: i64, arguments: [usize; N]) -> Outcome {
    if !has_threads() {
        // SAFETY: the caller's promise.
        return unsafe { call(number, arguments) };
    }
    cancellation_point(|| {
        // SAFETY: the caller's promise.
        unsafe { call(number, arguments) }
    })
}

/// Runs `sleep`, a system call and nothing else, so that the thread can be cancelled in it.
pub(crate) fn cancellation_point(sleep: impl FnOnce() -> Outcome) -> Outcome {
    if !has_threads() {
        return sleep();
    }
    let mut before = DEFERRED;
    // SAFETY: both are plain numbers of this thread.
    unsafe { pthread_setcanceltype(ASYNCHRONOUS, &raw mut before) };
    let outcome = sleep();
    // SAFETY: as above.
    unsafe { pthread_setcanceltype(before, &raw mut before) };
    outcome
}

/// LINUX: glibc notes in the thread's control block (`header.multiple_threads`) whether there ever was a second thread.
#[inline(always)]
fn has_threads() -> bool {
    let several: u32;
    // SAFETY: reads a word of the thread's control block, which every thread has.
    unsafe { asm!("mov {0:e}, dword ptr fs:[0x18]", out(reg) several, options(nostack, readonly, pure)) };
    several != 0
}

/// The kernel answers errors as -4095..=-1.
#[inline(always)]
pub(crate) fn outcome(result: isize) -> Outcome {
    if (-4095..0).contains(&result) {
        Err(Errno::from_raw_os_error(-result as i32))
    } else {
        Ok(result as usize)
    }
}

/// Closes one descriptor, past every table.
pub(crate) fn close(fd: i32) -> Outcome {
    // SAFETY: no memory is passed.
    unsafe { call(libc::SYS_close, [fd as usize]) }
}

/// `fcntl` with a number as its argument.
pub(crate) fn fcntl(fd: i32, command: i32, argument: usize) -> Outcome {
    // SAFETY: callers pass commands that take numbers.
    unsafe { call(libc::SYS_fcntl, [fd as usize, command as usize, argument]) }
}

pub(crate) fn process_id() -> i32 {
    // SAFETY: no arguments.
    unsafe { call(libc::SYS_getpid, []) }.unwrap_or(0) as i32
}

pub(crate) fn thread_id() -> i32 {
    // SAFETY: no arguments.
    unsafe { call(libc::SYS_gettid, []) }.unwrap_or(0) as i32
}

/// Ends the process the way `abort` does, without libc.
pub(crate) fn abort() -> ! {
    // SAFETY: signal disposition and kill take no memory of ours but the null action.
    unsafe {
        let default = [0usize; 4];
        let _ = call(libc::SYS_rt_sigaction, [libc::SIGABRT as usize, default.as_ptr() as usize, 0, 8]);
        let _ = call(libc::SYS_tgkill, [process_id() as usize, thread_id() as usize, libc::SIGABRT as usize]);
        loop {
            let _ = call(libc::SYS_exit_group, [127]);
        }
    }
}
