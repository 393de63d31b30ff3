//! One test at a time: dispositions belong to the process.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use super::*;
use crate::user_buffers::Buffers;
use stack::socket::{Sink, Source};

static ALONE: Mutex<()> = Mutex::new(());
static RUNS: AtomicUsize = AtomicUsize::new(0);
static VALUE: AtomicI32 = AtomicI32::new(0);

extern "C" fn handler(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    RUNS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the kernel's siginfo of a queued signal.
    VALUE.store(unsafe { (*info).si_value().sival_ptr } as usize as i32, Ordering::Relaxed);
}

fn handle(signal: c_int, flags: c_int) {
    let flags = flags as u32 as u64 | libc::SA_SIGINFO as u64;
    let action = KernelAction { handler: handler as *const () as usize, flags, ..KernelAction::default() };
    change(signal, Some(&action)).expect("set");
}

/// Queues `signal` with `value` for this very thread.
fn queue(signal: c_int, value: i32) {
    let mut info = [0u64; 16];
    info[0] = signal as u64;
    info[1] = (-1i32) as u32 as u64; // SI_QUEUE
    info[3] = value as u64;
    let arguments = [
        kernel::process_id() as usize,
        kernel::thread_id() as usize,
        signal as usize,
        info.as_ptr() as usize,
    ];
    // SAFETY: a siginfo of ours.
    unsafe { kernel::call(libc::SYS_rt_tgsigqueueinfo, arguments) }.expect("queued");
}

fn begin() -> std::sync::MutexGuard<'static, ()> {
    let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !TAKEN_OVER.load(Ordering::Relaxed) {
        take_over();
    }
    RUNS.store(0, Ordering::Relaxed);
    alone
}

#[test]
fn a_handler_waits_for_the_end_of_the_section_and_gets_its_value() {
    let _alone = begin();
    handle(libc::SIGUSR1, 0);
    let outer = LockedSection::enter();
    let inner = LockedSection::enter();
    queue(libc::SIGUSR1, 77);
    assert_eq!(RUNS.load(Ordering::Relaxed), 0);
    drop(inner);
    assert_eq!(RUNS.load(Ordering::Relaxed), 0);
    drop(outer);
    assert_eq!((RUNS.load(Ordering::Relaxed), VALUE.load(Ordering::Relaxed)), (1, 77));
}

#[test]
fn different_signals_of_one_section_all_arrive_and_the_mask_is_as_before() {
    let _alone = begin();
    let before = block_all();
    set_mask(before);
    handle(libc::SIGUSR1, 0);
    handle(libc::SIGUSR2, 0);
    let section = LockedSection::enter();
    queue(libc::SIGUSR1, 1);
    queue(libc::SIGUSR2, 2);
    queue(40, 3);
    assert_eq!(RUNS.load(Ordering::Relaxed), 0);
    handle(40, 0);
    drop(section);
    assert_eq!(RUNS.load(Ordering::Relaxed), 3);
    let after = block_all();
    set_mask(after);
    assert_eq!(after, before);
}

#[test]
fn a_program_sees_its_own_action_and_not_ours() {
    let _alone = begin();
    handle(libc::SIGUSR2, libc::SA_RESTART | libc::SA_NODEFER);
    let seen = change(libc::SIGUSR2, None).expect("read");
    assert_eq!(seen.handler, handler as *const () as usize);
    assert_eq!(seen.flags, (libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_NODEFER) as u64);
    assert_eq!(change(32, None).err(), Some(Errno::INVAL));
    assert_eq!(change(libc::SIGKILL, Some(&seen)).err(), Some(Errno::INVAL));
}

#[test]
fn a_handler_that_is_to_run_once_runs_once() {
    let _alone = begin();
    handle(libc::SIGWINCH, libc::SA_RESETHAND);
    queue(libc::SIGWINCH, 1);
    queue(libc::SIGWINCH, 2); // ignored by default
    assert_eq!(RUNS.load(Ordering::Relaxed), 1);
    assert_eq!(change(libc::SIGWINCH, None).expect("read").handler, libc::SIG_DFL);
}

#[test]
fn only_a_handler_without_restart_interrupts_a_call_that_restarts() {
    let _alone = begin();
    let any = Mark::begin(EndedBy::AnyHandler);
    let restarting = Mark::begin(EndedBy::HandlerWithoutRestart);
    handle(libc::SIGUSR1, libc::SA_RESTART);
    queue(libc::SIGUSR1, 1);
    assert!(any.is_interrupted() && !restarting.is_interrupted());
    handle(libc::SIGUSR1, 0);
    queue(libc::SIGUSR1, 1);
    assert!(restarting.is_interrupted());
}

#[test]
fn a_signal_before_the_sleep_ends_it() {
    let _alone = begin();
    handle(libc::SIGUSR1, 0);
    let mark = Mark::begin(EndedBy::HandlerWithoutRestart);
    queue(libc::SIGUSR1, 1);
    let long = [3600i64, 0];
    // SAFETY: the kernel reads our timespec.
    let slept = unsafe { interruptible_call(libc::SYS_ppoll, [0, 0, long.as_ptr() as usize, 0, 8], &mark) };
    assert_eq!(slept, Err(Errno::INTR));
}

/// A page that can be used, and one behind it that cannot.
fn edge() -> *mut u8 {
    // SAFETY: a new mapping, half of which is then taken away.
    unsafe {
        let both = libc::mmap(
            core::ptr::null_mut(),
            8192,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        libc::mprotect(both.byte_add(4096), 4096, libc::PROT_NONE);
        both.byte_add(4096).cast()
    }
}

#[test]
fn a_bad_pointer_is_a_short_copy_and_not_the_end() {
    let _alone = begin();
    let edge = edge();
    let mut into = [0u8; 16];
    assert_eq!(user_memory::copy_in(&mut into, edge.wrapping_sub(6)), 6);
    assert_eq!(user_memory::copy_out(edge.wrapping_sub(3), &into), 3);
    assert_eq!(user_memory::read::<u64>(core::ptr::null()), Err(Errno::FAULT));
    assert_eq!(user_memory::write(edge.wrapping_sub(4).cast(), &0u64), Err(Errno::FAULT));
    // Not canonical: another kind of fault.
    assert_eq!(user_memory::copy_in(&mut into, usize::MAX as *const u8), 0);
}

#[test]
fn pieces_are_filled_in_order_and_a_bad_one_takes_nothing_of_its_chunk() {
    let _alone = begin();
    let edge = edge();
    let (mut first, mut second) = ([0u8; 3], [0u8; 5]);
    let piece = |at: *mut u8, length| libc::iovec { iov_base: at.cast(), iov_len: length };
    let pieces = [piece(first.as_mut_ptr(), 3), piece(second.as_mut_ptr(), 5), piece(edge, 4)];
    let mut buffers = Buffers::many(pieces.as_ptr(), 3).expect("readable");
    assert_eq!(Sink::room(&buffers), 12);
    assert_eq!(buffers.put(b"abcdefgh"), 8);
    assert_eq!((&first, &second), (b"abc", b"defgh"));
    assert_eq!(buffers.put(b"x"), 0);
    let mut buffers = Buffers::many(pieces.as_ptr(), 3).expect("readable");
    let mut into = [0u8; 8];
    assert_eq!((Source::take(&mut buffers, &mut into), &into), (8, b"abcdefgh"));
    assert_eq!(Source::take(&mut buffers, &mut into[..4]), 0);
    assert!(matches!(Buffers::many(edge.cast(), 1), Err(Errno::FAULT)));
    assert!(matches!(Buffers::many(pieces.as_ptr(), 1025), Err(Errno::INVAL)));
}
