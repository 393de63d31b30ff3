//! poll over accelerated and kernel descriptors together. A set without any of ours goes to the kernel as it is.

mod mixed;

pub(crate) use mixed::{Mixed, with_room};

use core::ffi::c_int;

use crate::kernel::{self, Errno, Outcome};
use crate::timeout::{self, Timeout};
use crate::turn::now;
use crate::{own, startup, thread, user_memory};
use core::sync::atomic::Ordering;

pub(crate) unsafe fn poll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> Outcome {
    wait(fds, count, Timeout::Milliseconds(timeout), core::ptr::null(), || {
        // SAFETY: the program's own array.
        unsafe { kernel::cancellable(libc::SYS_poll, [fds as usize, count as usize, timeout as usize]) }
    })
}

pub(crate) unsafe fn ppoll(
    fds: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: *const libc::timespec,
    mask: *const libc::sigset_t,
) -> Outcome {
    wait(fds, count, Timeout::At(timeout), mask, || {
        // LINUX: the kernel writes the time that is left; libc keeps that from the program.
        let time = if timeout.is_null() { None } else { Some(user_memory::read(timeout)?) };
        let time = time.as_ref().map_or(0, |time| core::ptr::from_ref(time) as usize);
        let arguments = [fds as usize, count as usize, time, mask as usize, 8];
        // SAFETY: the program's own array and mask, and our timespec.
        unsafe { kernel::cancellable(libc::SYS_ppoll, arguments) }
    })
}

/// The fortified forms: `room` is the size of the program's array in bytes.
pub(crate) unsafe fn poll_checked(
    fds: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: c_int,
    room: usize,
) -> Outcome {
    crate::hooks::check((count as usize).saturating_mul(size_of::<libc::pollfd>()), room);
    // SAFETY: as the caller's.
    unsafe { poll(fds, count, timeout) }
}

pub(crate) unsafe fn ppoll_checked(
    fds: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: *const libc::timespec,
    mask: *const libc::sigset_t,
    room: usize,
) -> Outcome {
    crate::hooks::check((count as usize).saturating_mul(size_of::<libc::pollfd>()), room);
    // SAFETY: as the caller's.
    unsafe { ppoll(fds, count, timeout, mask) }
}

fn wait(
    fds: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: Timeout,
    mask: *const libc::sigset_t,
    plainly: impl Fn() -> Outcome,
) -> Outcome {
    let Some(stack) = startup::stack() else { return plainly() };
    // LINUX: more than there can be descriptors is EINVAL, which the kernel says.
    if thread::current().borrowed_memory.load(Ordering::Relaxed) || count > own::descriptor_limit().0 {
        return plainly();
    }
    let count = count as usize;
    with_room(count, |polled, ours| {
        for (index, place) in polled.iter_mut().take(count).enumerate() {
            *place = user_memory::read(fds.wrapping_add(index))?;
        }
        let begun = now();
        let Some(mut mixed) = Mixed::sort(stack, polled, ours) else { return plainly() };
        let (deadline, mask) = (timeout.deadline(begun)?, timeout::mask(mask)?);
        mixed.wait(deadline, mask, |results| {
            let ready = results.iter().filter(|p| p.revents != 0).count();
            write_back(fds, results)?;
            Ok(ready)
        })
    })
}

/// LINUX: every `revents` is written, and nothing else.
fn write_back(fds: *mut libc::pollfd, results: &[libc::pollfd]) -> Result<(), Errno> {
    for (index, result) in results.iter().enumerate() {
        let place = fds.wrapping_add(index).wrapping_byte_add(core::mem::offset_of!(libc::pollfd, revents));
        user_memory::write(place.cast::<i16>(), &result.revents)?;
    }
    Ok(())
}
