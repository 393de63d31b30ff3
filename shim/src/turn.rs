//! A turn in a shard: the lock, the clock, and what is to be done after.

use stack::drive::Entered;

use crate::fds::Place;
use crate::kernel::Errno;
use crate::signals::LockedSection;
use crate::{bells, startup};

/// Nanoseconds of CLOCK_MONOTONIC, from the vDSO.
#[inline]
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Runs `body` under the lock of `shard`. No handler of the program runs meanwhile; the card is kicked and threads are
/// woken after the lock is given back.
#[inline]
pub(crate) fn turn<R>(shard: u8, body: impl FnOnce(&mut Entered<'_>, u64) -> R) -> Result<R, Errno> {
    let stack = startup::stack().ok_or(Errno::BADF)?;
    let section = LockedSection::enter();
    let mut entered = stack.enter(u32::from(shard), now()).ok_or(Errno::BADF)?;
    // Not before what the last owner of the lock took for the time.
    let now = entered.now();
    let result = body(&mut entered, now);
    entered.leave(bells::ring);
    drop(section);
    Ok(result)
}

/// The same for a socket's shard.
#[inline]
pub(crate) fn turn_at<R>(place: Place, body: impl FnOnce(&mut Entered<'_>, u64) -> R) -> Result<R, Errno> {
    turn(place.shard, body)
}

/// An error of the stack as the program gets it.
#[inline]
pub(crate) fn errno(error: stack::Error) -> Errno {
    Errno::from_raw_os_error(error.errno())
}
