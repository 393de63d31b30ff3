//! `sigaction` and its older relatives.

use core::ffi::c_int;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::kernel::{self, Errno, Outcome};
use crate::signals::{KernelAction, change, program_action};
use crate::{thread, user_memory};

pub(super) unsafe fn sigaction(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> Outcome {
    let new = if new.is_null() { None } else { Some(program_action(&user_memory::read(new)?)) };
    let before = set(signal, new.as_ref())?;
    if !old.is_null() {
        user_memory::write(old, &before.for_program())?;
    }
    Ok(0)
}

/// A child of vfork changes its own dispositions, not the table it shares with its parent.
fn set(signal: c_int, new: Option<&KernelAction>) -> Result<KernelAction, Errno> {
    if thread::current().borrowed_memory.load(Ordering::Relaxed) {
        crate::signals::kernel_action(signal, new)
    } else {
        change(signal, new)
    }
}

/// Signals that `siginterrupt` wants to interrupt calls although `signal` set their handlers.
static INTERRUPTING: AtomicU64 = AtomicU64::new(0);

/// BSD semantics, as glibc's: the handler stays, calls restart, the signal is blocked meanwhile.
pub(super) unsafe fn signal(signal: c_int, handler: usize) -> Outcome {
    if handler == libc::SIG_ERR || !(1..=crate::signals::LAST_SIGNAL).contains(&signal) {
        return Err(Errno::INVAL);
    }
    let own = 1u64 << (signal - 1);
    let interrupts = INTERRUPTING.load(Ordering::Relaxed) & own != 0;
    let flags = if interrupts { 0 } else { libc::SA_RESTART as u64 };
    let old = set(signal, Some(&KernelAction { handler, flags, restorer: 0, mask: own }))?;
    Ok(old.handler)
}

/// System V semantics: the handler is used once, calls are interrupted, nothing is blocked.
pub(super) unsafe fn sysv_signal(signal: c_int, handler: usize) -> Outcome {
    if handler == libc::SIG_ERR {
        return Err(Errno::INVAL);
    }
    let flags = (libc::SA_RESETHAND as u32 | libc::SA_NODEFER as u32) as u64;
    Ok(set(signal, Some(&KernelAction { handler, flags, restorer: 0, mask: 0 }))?.handler)
}

/// SIG_HOLD: `sigset` blocks the signal instead of setting a handler.
const SIG_HOLD: usize = 2;

pub(super) unsafe fn sigset(signal: c_int, disposition: usize) -> Outcome {
    if !(1..=crate::signals::LAST_SIGNAL).contains(&signal) || disposition == libc::SIG_ERR {
        return Err(Errno::INVAL);
    }
    let own = 1u64 << (signal - 1);
    let old = if disposition == SIG_HOLD {
        set(signal, None)?
    } else {
        set(signal, Some(&KernelAction { handler: disposition, flags: 0, restorer: 0, mask: 0 }))?
    };
    let how = if disposition == SIG_HOLD { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    let mut before = 0u64;
    let arguments = [how as usize, (&raw const own) as usize, (&raw mut before) as usize, 8];
    // SAFETY: the kernel reads one word and writes one.
    unsafe { kernel::call(libc::SYS_rt_sigprocmask, arguments) }?;
    Ok(if before & own != 0 { SIG_HOLD } else { old.handler })
}

pub(super) unsafe fn sigignore(signal: c_int) -> Outcome {
    let ignore = KernelAction { handler: libc::SIG_IGN, ..KernelAction::default() };
    set(signal, Some(&ignore)).map(|_| 0)
}

pub(super) unsafe fn siginterrupt(signal: c_int, interrupt: c_int) -> Outcome {
    let mut action = set(signal, None)?;
    let own = 1u64 << (signal - 1);
    if interrupt != 0 {
        action.flags &= !(libc::SA_RESTART as u64);
        INTERRUPTING.fetch_or(own, Ordering::Relaxed);
    } else {
        action.flags |= libc::SA_RESTART as u64;
        INTERRUPTING.fetch_and(!own, Ordering::Relaxed);
    }
    set(signal, Some(&action)).map(|_| 0)
}
