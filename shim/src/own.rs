//! Our own descriptors: high numbers, close-on-exec, invisible to the program.
//!
//! Code of ours keeps a `Slot`, never a number, because `dup2` of the program onto one of ours moves ours away first.

use core::sync::atomic::{AtomicI32, Ordering};

use crate::fds::{self, Entry};
use crate::kernel::{self, Errno};
use crate::startup;

/// Control socket, XSKs, two for each thread that sleeps, the eventfds of those that we wake.
const SLOTS: usize = 8192;
static NUMBERS: [AtomicI32; SLOTS] = [const { AtomicI32::new(-1) }; SLOTS];
/// A slot that is being filled: neither free nor in use.
const FILLING: i32 = -2;

/// Names one of our descriptors for as long as it is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot(u32);

impl Slot {
    pub(crate) fn from_number(index: u32) -> Slot {
        Slot(index)
    }

    pub(crate) fn index(self) -> u32 {
        self.0
    }

    /// The number right now, or -1.
    #[inline]
    pub(crate) fn number(self) -> i32 {
        NUMBERS.get(self.0 as usize).map_or(-1, |number| number.load(Ordering::Relaxed).max(-1))
    }
}

/// Takes over `fd`: it moves up high and is close-on-exec from then on. On failure `fd` is closed.
pub(crate) fn adopt(fd: i32) -> Result<Slot, Errno> {
    let moved = move_high(fd);
    let _ = kernel::close(fd);
    let high = moved?;
    let free = NUMBERS.iter().position(|number| {
        number.compare_exchange(-1, FILLING, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    });
    let Some((index, number)) = free.and_then(|index| Some((index, NUMBERS.get(index)?))) else {
        let _ = kernel::close(high);
        return Err(Errno::MFILE);
    };
    fds::replace(high, Entry::Own { slot: index as u32 });
    number.store(high, Ordering::Relaxed);
    Ok(Slot(index as u32))
}

/// Closes one of ours.
pub(crate) fn release(slot: Slot) {
    if let Some(number) = NUMBERS.get(slot.0 as usize) {
        let fd = number.swap(-1, Ordering::Relaxed);
        if fd >= 0 {
            fds::replace(fd, Entry::Kernel);
            let _ = kernel::close(fd);
        }
    }
}

/// The program wants the number `fd` for itself: ours goes elsewhere.
pub(crate) fn make_way(fd: i32, slot: u32) -> Result<(), Errno> {
    let high = move_high(fd)?;
    fds::replace(high, Entry::Own { slot });
    if let Some(number) = NUMBERS.get(slot as usize) {
        number.store(high, Ordering::Relaxed);
    }
    if let Some(stack) = startup::stack() {
        // SAFETY: a duplicate, just made; the old number is closed below.
        unsafe { stack.descriptor_moved(fd, high) };
    }
    fds::replace(fd, Entry::Kernel);
    let _ = kernel::close(fd);
    Ok(())
}

/// A duplicate near the top of what the soft limit allows, where programs do not look: they take the lowest free
/// number, and those that count up to a limit find these closed.
fn move_high(fd: i32) -> Result<i32, Errno> {
    let limit = descriptor_limit().0.min(1 << 20) as usize;
    let mut room = (limit / 4).min(512);
    loop {
        match kernel::fcntl(fd, libc::F_DUPFD_CLOEXEC, limit.saturating_sub(room)) {
            Ok(high) => return Ok(high as i32),
            Err(error) if room >= limit => return Err(error),
            Err(_) => room = (room * 2).min(limit).max(1),
        }
    }
}

/// The soft and hard limit on descriptor numbers.
pub(crate) fn descriptor_limit() -> (u64, u64) {
    let mut limit = [1024u64, 1024];
    let arguments = [0, libc::RLIMIT_NOFILE as usize, 0, limit.as_mut_ptr() as usize];
    // SAFETY: the kernel writes two words.
    let _ = unsafe { kernel::call(libc::SYS_prlimit64, arguments) };
    (limit[0], limit[1])
}
