//! Signal actions in the kernel's form and in the program's, and the table of what the program asked for.

use core::arch::naked_asm;
use core::ffi::c_int;
use core::sync::atomic::{AtomicU64, Ordering};

use super::LAST_SIGNAL;
use crate::kernel::{self, Errno};

pub(super) const SIG_DFL: usize = libc::SIG_DFL;
pub(super) const SIG_IGN: usize = libc::SIG_IGN;
/// The kernel wants a `restorer` with this flag; libc's headers do not name it.
const SA_RESTORER: u64 = 0x0400_0000;

/// The kernel's `struct sigaction`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct KernelAction {
    pub(crate) handler: usize,
    pub(crate) flags: u64,
    pub(crate) restorer: usize,
    pub(crate) mask: u64,
}

impl KernelAction {
    /// The same, but arriving at `handler`, with all signals blocked and never reset behind our back.
    pub(super) fn through(&self, handler: usize) -> KernelAction {
        let mut flags = self.flags | libc::SA_SIGINFO as u64;
        flags &= !(libc::SA_RESETHAND as u64 | libc::SA_NODEFER as u64);
        if matches!(self.handler, SIG_DFL | SIG_IGN) {
            // A program without a handler of its own: interrupted calls are ours to restart.
            flags |= (libc::SA_RESTART | libc::SA_ONSTACK) as u64;
        }
        KernelAction { handler, flags, mask: !0, ..*self }
    }
}

/// `rt_sigaction`: sets `new` if there is one, returns what was there.
pub(crate) fn kernel_action(signal: c_int, new: Option<&KernelAction>) -> Result<KernelAction, Errno> {
    let with_restorer = new.map(|new| KernelAction {
        flags: new.flags | SA_RESTORER,
        restorer: restore as *const () as usize,
        ..*new
    });
    let new = with_restorer.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    let mut old = KernelAction::default();
    let arguments = [signal as usize, new as usize, (&raw mut old) as usize, 8];
    // SAFETY: both are the kernel's structure; the handler is the program's or `arrive`.
    unsafe { kernel::call(libc::SYS_rt_sigaction, arguments) }?;
    Ok(KernelAction { flags: old.flags & !SA_RESTORER, ..old })
}

/// Returns from a signal handler. Debuggers and unwinders know signal frames by these very bytes.
#[unsafe(naked)]
unsafe extern "C" fn restore() {
    naked_asm!(".byte 0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00", "syscall")
}

/// From C's structure.
pub(crate) fn program_action(action: &libc::sigaction) -> KernelAction {
    KernelAction {
        handler: action.sa_sigaction,
        flags: action.sa_flags as u32 as u64,
        restorer: 0,
        // SAFETY: LINUX: the kernel's mask is the first word of glibc's.
        mask: unsafe { (&raw const action.sa_mask).cast::<u64>().read() },
    }
}

impl KernelAction {
    /// To C's structure.
    pub(crate) fn for_program(&self) -> libc::sigaction {
        // SAFETY: all zero is a valid sigaction: default handler, empty mask, no restorer.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        action.sa_sigaction = self.handler;
        action.sa_flags = self.flags as c_int;
        // SAFETY: as in `program_action`.
        unsafe { (&raw mut action.sa_mask).cast::<u64>().write(self.mask) };
        action
    }
}

/// One signal's action. Written under `Changing`, read by handlers: a change in flight may show the new handler with
/// the old flags for an instant, as two CPUs may see it of the kernel too.
pub(super) struct Kept {
    handler: AtomicU64,
    flags: AtomicU64,
    mask: AtomicU64,
}

impl Kept {
    const fn new() -> Kept {
        Kept { handler: AtomicU64::new(0), flags: AtomicU64::new(0), mask: AtomicU64::new(0) }
    }

    pub(super) fn store(&self, action: &KernelAction) {
        self.flags.store(action.flags, Ordering::Relaxed);
        self.mask.store(action.mask, Ordering::Relaxed);
        // ORDERING: who sees the handler sees the flags it came with.
        self.handler.store(action.handler as u64, Ordering::Release);
    }

    pub(super) fn load(&self) -> KernelAction {
        // ORDERING: pairs with `store`.
        let handler = self.handler.load(Ordering::Acquire) as usize;
        let (flags, mask) = (self.flags.load(Ordering::Relaxed), self.mask.load(Ordering::Relaxed));
        KernelAction { handler, flags, restorer: 0, mask }
    }
}

pub(super) static ACTIONS: [Kept; LAST_SIGNAL as usize + 1] =
    [const { Kept::new() }; LAST_SIGNAL as usize + 1];

/// Signals that an instruction raises.
pub(super) fn is_fault(signal: c_int) -> bool {
    matches!(
        signal,
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP | libc::SIGSYS
    )
}

/// Lets the kernel do what it does to a program that has no handler: a fault happens again when the handler returns,
/// another signal is sent again.
pub(super) fn die_of(signal: c_int, raised_by_fault: bool, info: *mut libc::siginfo_t, mask: u64) {
    let _ = kernel_action(signal, Some(&KernelAction::default()));
    if raised_by_fault {
        return;
    }
    let (process, thread) = (kernel::process_id() as usize, kernel::thread_id() as usize);
    // SAFETY: `info` is what the kernel gave.
    let _ = unsafe {
        kernel::call(libc::SYS_rt_tgsigqueueinfo, [process, thread, signal as usize, info as usize])
    };
    super::set_mask(mask & !(1 << (signal - 1)));
}
