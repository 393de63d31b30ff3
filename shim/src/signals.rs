//! The program's signal handlers, run as it expects, except never inside a locked section of ours.
//!
//! Until the region is attached, signals are the program's and the kernel's alone. From then on the kernel knows one
//! handler, `arrive`, for every signal the program handles, and `ACTIONS` keeps what the program asked for:
//! * a signal inside a locked section is kept with its siginfo and sent again at the section's end;
//! * handlers are counted, those without SA_RESTART apart, so that a blocking call can tell EINTR from going on;
//! * a fault in our copy of user memory is repaired (SIGSEGV and SIGBUS are always ours, and look as if they were not).

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering, compiler_fence};

use crate::kernel::{self, Errno};
use crate::{thread, user_memory};

mod action;
mod sleep;

pub(crate) use action::{KernelAction, kernel_action, program_action};
pub(crate) use sleep::{EndedBy, Mark, interruptible_call};

use action::{ACTIONS, SIG_DFL, SIG_IGN};

/// Signals go through `arrive` since the region was attached.
static TAKEN_OVER: AtomicBool = AtomicBool::new(false);
/// Held while an action is changed; signals are blocked then.
static CHANGING: AtomicU32 = AtomicU32::new(0);

pub(crate) const LAST_SIGNAL: c_int = 64;

/// While one lives, no handler of the program runs on this thread.
pub(crate) struct LockedSection {
    /// The end belongs to the thread of the beginning.
    _not_send: core::marker::PhantomData<*mut ()>,
}

impl LockedSection {
    #[inline(always)]
    pub(crate) fn enter() -> LockedSection {
        let thread = thread::current();
        // Not an atomic addition: only this thread and its handlers write, and those leave it as they found it.
        thread.locked.store(thread.locked.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        LockedSection { _not_send: core::marker::PhantomData }
    }
}

impl LockedSection {
    /// A section that began elsewhere and whose guard was forgotten.
    pub(crate) fn entered() -> LockedSection {
        LockedSection { _not_send: core::marker::PhantomData }
    }
}

impl Drop for LockedSection {
    #[inline(always)]
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        let thread = thread::current();
        let left = thread.locked.load(Ordering::Relaxed).wrapping_sub(1);
        thread.locked.store(left, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        if left == 0 && thread.has_deferred.load(Ordering::Relaxed) {
            send_again(thread);
        }
    }
}

/// Puts `arrive` in front of every handler that the program has, and of the two signals that faults raise.
pub(crate) fn take_over() {
    let held = Changing::begin();
    for signal in 1..=LAST_SIGNAL {
        let Ok(present) = kernel_action(signal, None) else { continue };
        if let Some(kept) = ACTIONS.get(signal as usize) {
            kept.store(&present);
        }
        if always_ours(signal) || !matches!(present.handler, SIG_DFL | SIG_IGN) {
            let _ = kernel_action(signal, Some(&present.through(arrive as *const () as usize)));
        }
    }
    // ORDERING: actions are in place before `change` reads them.
    TAKEN_OVER.store(true, Ordering::Release);
    drop(held);
}

/// What `sigaction(2)` does, for the program.
pub(crate) fn change(signal: c_int, new: Option<&KernelAction>) -> Result<KernelAction, Errno> {
    // LINUX: glibc keeps these two for itself.
    if matches!(signal, 32 | 33) {
        return Err(Errno::INVAL);
    }
    // ORDERING: pairs with `take_over`.
    if !TAKEN_OVER.load(Ordering::Acquire) {
        return kernel_action(signal, new);
    }
    let kept = usize::try_from(signal).ok().and_then(|signal| ACTIONS.get(signal)).ok_or(Errno::INVAL)?;
    let held = Changing::begin();
    let old = kept.load();
    if let Some(new) = new {
        let installed = if always_ours(signal) || !matches!(new.handler, SIG_DFL | SIG_IGN) {
            new.through(arrive as *const () as usize)
        } else {
            *new
        };
        // First what `arrive` reads, then the kernel: an old handler may get the new action, never the other way.
        kept.store(new);
        if let Err(error) = kernel_action(signal, Some(&installed)) {
            kept.store(&old);
            return Err(error);
        }
    }
    drop(held);
    Ok(old)
}

/// Faults of our copy arrive as these.
fn always_ours(signal: c_int) -> bool {
    matches!(signal, libc::SIGSEGV | libc::SIGBUS)
}

/// Every signal that the program handles comes here, with all signals blocked.
unsafe extern "C" fn arrive(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel passes a ucontext that lives during the handler; nobody else refers to it.
    let (registers, mask) = unsafe { (&mut (*context).uc_mcontext.gregs, &mut *mask_of(context)) };
    let instruction = &mut registers[libc::REG_RIP as usize];
    if always_ours(signal)
        && let Some(onwards) = user_memory::repaired(*instruction as usize)
    {
        *instruction = onwards as i64;
        return;
    }
    let thread = thread::current();
    // SAFETY: the kernel passes a siginfo_t, 128 bytes.
    let raised_by_fault = unsafe { (*info).si_code } > 0 && action::is_fault(signal);
    if thread.locked.load(Ordering::Relaxed) != 0 && !raised_by_fault {
        if !thread.has_deferred.load(Ordering::Relaxed) {
            // SAFETY: only this thread touches its block, the section below does not, and all signals are blocked.
            let deferred = unsafe { &mut *thread.deferred.get() };
            // SAFETY: as above.
            deferred.info = unsafe { *info.cast::<[u64; 16]>() };
            deferred.mask = *mask;
            thread.has_deferred.store(true, Ordering::Relaxed);
        }
        // The section goes on with everything blocked, so one slot is enough.
        *mask = !0;
        return;
    }
    let Some(kept) = ACTIONS.get(signal as usize) else { return };
    let action = kept.load();
    match action.handler {
        SIG_IGN if !raised_by_fault => return,
        // The default action, which the kernel knows best: without a handler the signal comes again.
        SIG_DFL | SIG_IGN => return action::die_of(signal, raised_by_fault, info, *mask),
        _ => {}
    }
    count(&thread.handlers);
    if action.flags & libc::SA_RESTART as u64 == 0 {
        count(&thread.interruptions);
    }
    if action.flags & libc::SA_RESETHAND as u64 != 0 {
        kept.store(&KernelAction::default());
        if !always_ours(signal) {
            let _ = kernel_action(signal, Some(&KernelAction::default()));
        }
    }
    let mut during = *mask | action.mask;
    if action.flags & libc::SA_NODEFER as u64 == 0 {
        during |= 1 << (signal - 1);
    }
    set_mask(during);
    // SAFETY: the program says that this is its handler. It gets all three arguments in any case; a handler of one
    // looks at the first.
    unsafe {
        let handler: unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
            core::mem::transmute(action.handler);
        handler(signal, info, context.cast());
    }
    sleep::look_again(instruction);
}

/// Not an atomic addition: only this thread counts here.
fn count(counter: &AtomicU32) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// LINUX: the kernel's mask is the first word of glibc's 128-byte one.
fn mask_of(context: *mut libc::ucontext_t) -> *mut u64 {
    // SAFETY: only an address is taken.
    unsafe { (&raw mut (*context).uc_sigmask).cast() }
}

/// The section is over: the signal it held up is sent to this very thread again, and the mask is as it was.
#[cold]
fn send_again(thread: &thread::Thread) {
    // SAFETY: only this thread touches its block, and all signals are blocked since the deferral.
    let (info, mask) = unsafe { ((*thread.deferred.get()).info, (*thread.deferred.get()).mask) };
    let signal = info[0] as c_int;
    let arguments = [
        kernel::process_id() as usize,
        kernel::thread_id() as usize,
        signal as usize,
        info.as_ptr() as usize,
    ];
    // SAFETY: `info` is a siginfo_t that the kernel made.
    let _ = unsafe { kernel::call(libc::SYS_rt_tgsigqueueinfo, arguments) };
    thread.has_deferred.store(false, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    set_mask(mask);
}

fn set_mask(mask: u64) {
    let arguments = [libc::SIG_SETMASK as usize, (&raw const mask) as usize, 0, 8];
    // SAFETY: the kernel reads one word.
    let _ = unsafe { kernel::call(libc::SYS_rt_sigprocmask, arguments) };
}

/// Blocks every signal, for code that a handler must not enter twice; returns the mask to go back to.
fn block_all() -> u64 {
    let all = !0u64;
    let mut before = 0u64;
    let arguments = [libc::SIG_SETMASK as usize, (&raw const all) as usize, (&raw mut before) as usize, 8];
    // SAFETY: the kernel reads one word and writes one.
    let _ = unsafe { kernel::call(libc::SYS_rt_sigprocmask, arguments) };
    before
}

/// One thread at a time changes actions, with signals blocked so that no handler of its own waits for it.
struct Changing {
    mask: u64,
}

impl Changing {
    fn begin() -> Changing {
        let mask = block_all();
        // ORDERING: what the previous holder stored is seen.
        while CHANGING.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            core::hint::spin_loop();
        }
        Changing { mask }
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        // ORDERING: pairs with `begin`.
        CHANGING.store(0, Ordering::Release);
        set_mask(self.mask);
    }
}

/// A child of fork has one thread, and that one was not changing an action.
pub(crate) fn in_child() {
    CHANGING.store(0, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
