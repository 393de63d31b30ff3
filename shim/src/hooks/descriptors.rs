//! Descriptors as such: closing, duplicating, their flags. Numbers are the kernel's; what a number means to us follows.

use core::ffi::{c_int, c_uint};
use core::sync::atomic::Ordering;

use crate::fds::{self, Entry, Undecided};
use crate::kernel::{self, Errno, Outcome};
use crate::{errno, own, owner, sockets, thread, user_memory};

/// Of the kernel's headers; libc's names have no place for it.
const FIOSETOWN: libc::c_ulong = 0x8901;
const SIOCSPGRP: libc::c_ulong = 0x8902;
const SIOCATMARK: libc::c_ulong = 0x8905;

/// What `fd` is to this caller: a child of vfork has only kernel descriptors.
#[inline(always)]
pub(crate) fn entry(fd: c_int) -> Entry {
    match fds::lookup(fd) {
        Entry::Kernel => Entry::Kernel,
        _ if thread::current().borrowed_memory.load(Ordering::Relaxed) => Entry::Kernel,
        entry => entry,
    }
}

pub(super) unsafe fn close(fd: c_int) -> Outcome {
    match entry(fd) {
        Entry::Kernel => kernel::close(fd),
        Entry::Own { .. } => Err(Errno::BADF),
        _ => {
            // The entry goes before the number, which another thread may be given the moment it is closed.
            sockets::release(fds::replace(fd, Entry::Kernel));
            kernel::close(fd)
        }
    }
}

pub(super) unsafe fn close_range(first: c_uint, last: c_uint, flags: c_int) -> Outcome {
    let raw = |first: u32, last: u32, flags: c_int| {
        // SAFETY: no memory is passed.
        unsafe { kernel::call(libc::SYS_close_range, [first as usize, last as usize, flags as usize]) }
    };
    // Refused, or only marked: ours are close-on-exec already.
    let closes_nothing = first > last || flags & !(libc::CLOSE_RANGE_UNSHARE as c_int) != 0;
    if closes_nothing || thread::current().borrowed_memory.load(Ordering::Relaxed) {
        return raw(first, last, flags);
    }
    // Between ours, so that they stay; the entries first, as in `close`. An unsharing call copies the
    // table once, with the first piece.
    let mut from = first;
    for (fd, entry) in fds::all_entries(first, last) {
        match entry {
            Entry::Own { .. } => {
                if fd as u32 > from {
                    raw(from, fd as u32 - 1, flags)?;
                }
                from = fd as u32 + 1;
            }
            _ => sockets::release(fds::replace(fd, Entry::Kernel)),
        }
    }
    if from <= last { raw(from, last, flags) } else { Ok(0) }
}

pub(super) unsafe fn closefrom(first: c_int) -> Outcome {
    // SAFETY: no memory is passed.
    unsafe { close_range(first.max(0) as c_uint, c_uint::MAX, 0) }
}

pub(super) unsafe fn dup(fd: c_int) -> Outcome {
    // SAFETY: no memory is passed.
    duplicate(fd, || unsafe { kernel::call(libc::SYS_dup, [fd as usize]) })
}

/// Makes a duplicate by `make`, which returns its number, and enters it as what `fd` is.
fn duplicate(fd: c_int, make: impl FnOnce() -> Outcome) -> Outcome {
    let entry = entry(fd);
    match entry {
        Entry::Kernel => make(),
        Entry::Own { .. } => Err(Errno::BADF),
        _ => {
            let new = make()?;
            adopt_duplicate(fd, entry, new as c_int)
        }
    }
}

fn adopt_duplicate(old: c_int, mut entry: Entry, new: c_int) -> Outcome {
    if let Entry::Undecided(undecided) = entry {
        let shared = Entry::Undecided(Undecided { is_shared: true, ..undecided });
        sockets::decide(old, entry, shared);
        entry = shared;
    }
    if !fds::reaches(new) || !sockets::retain(entry) {
        let _ = kernel::close(new);
        return Err(Errno::MFILE);
    }
    fds::replace(new, entry);
    Ok(new as usize)
}

pub(super) unsafe fn dup2(old: c_int, new: c_int) -> Outcome {
    if old == new {
        return match entry(old) {
            Entry::Own { .. } => Err(Errno::BADF),
            // LINUX: the same number needs to be open, and nothing happens.
            _ => kernel::fcntl(old, libc::F_GETFD, 0).map(|_| old as usize),
        };
    }
    onto(old, new, 0)
}

pub(super) unsafe fn dup3(old: c_int, new: c_int, flags: c_int) -> Outcome {
    if old == new {
        return Err(Errno::INVAL);
    }
    onto(old, new, flags)
}

fn onto(old: c_int, new: c_int, flags: c_int) -> Outcome {
    // SAFETY: no memory is passed.
    let raw = || unsafe { kernel::call(libc::SYS_dup3, [old as usize, new as usize, flags as usize]) };
    let (from, to) = (entry(old), entry(new));
    match (from, to) {
        (Entry::Kernel, Entry::Kernel) => return raw(),
        (Entry::Own { .. }, _) => return Err(Errno::BADF),
        _ => {}
    }
    // Nothing may happen to `new` if this is going to fail.
    kernel::fcntl(old, libc::F_GETFD, 0)?;
    if flags & !libc::O_CLOEXEC != 0 {
        return Err(Errno::INVAL);
    }
    if from != Entry::Kernel && !fds::reaches(new) {
        return Err(Errno::BADF);
    }
    match to {
        Entry::Own { slot } => own::make_way(new, slot)?,
        Entry::Kernel => {}
        _ => sockets::release(fds::replace(new, Entry::Kernel)),
    }
    raw()?;
    if from == Entry::Kernel { Ok(new as usize) } else { adopt_duplicate(old, from, new) }
}

/// `fcntl`, with its third argument as it lay in the register.
pub(super) extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    errno::give_back(change(fd, command, argument))
}

pub(super) fn change(fd: c_int, command: c_int, argument: usize) -> Outcome {
    // SAFETY: the program's call and pointer, as they are.
    let raw = || unsafe { kernel::call(libc::SYS_fcntl, [fd as usize, command as usize, argument]) };
    match (entry(fd), command) {
        (Entry::Own { .. }, _) => Err(Errno::BADF),
        // As in glibc: a group is a number below zero, which from the kernel itself may look like an error.
        (_, libc::F_GETOWN) => owner::shown(fd),
        (Entry::Kernel, _) => raw(),
        (_, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) => duplicate(fd, raw),
        // A listener's shadow never blocks, whatever the program wants of the listener.
        (entry @ Entry::Listener(_), libc::F_GETFL) => {
            let flags = raw()? & !(libc::O_NONBLOCK as usize);
            Ok(if sockets::is_nonblocking(entry) { flags | libc::O_NONBLOCK as usize } else { flags })
        }
        (entry, libc::F_SETFL) => {
            let forced = if let Entry::Listener(_) = entry { libc::O_NONBLOCK as usize } else { 0 };
            let done = kernel::fcntl(fd, command, argument | forced)?;
            sockets::set_nonblocking(entry, argument as c_int & libc::O_NONBLOCK != 0);
            Ok(done)
        }
        (entry, libc::F_SETOWN | owner::F_SETOWN_EX) => {
            let done = raw()?;
            owner::changed(fd, entry);
            Ok(done)
        }
        _ => raw(),
    }
}

/// `ioctl`, with its third argument as it lay in the register.
pub(super) extern "C" fn ioctl(fd: c_int, request: usize, argument: usize) -> c_int {
    errno::give_back(control(fd, request, argument))
}

pub(super) fn control(fd: c_int, request: usize, argument: usize) -> Outcome {
    // SAFETY: the program's call and pointer, as they are.
    let raw = || unsafe { kernel::call(libc::SYS_ioctl, [fd as usize, request, argument]) };
    let entry = entry(fd);
    if let Entry::Own { .. } = entry {
        return Err(Errno::BADF);
    }
    // LINUX: the request is 32 bits wide.
    match (entry, request as u32 as libc::c_ulong) {
        (Entry::Undecided(_) | Entry::Connection(_), FIOSETOWN | SIOCSPGRP) => {
            let done = raw()?;
            owner::changed(fd, entry);
            Ok(done)
        }
        (Entry::Kernel | Entry::Undecided(_) | Entry::Epoll { .. }, _) => raw(),
        (_, libc::FIONBIO) => {
            let on = user_memory::read(argument as *const c_int)?;
            if let Entry::Connection(_) = entry {
                raw()?;
            }
            sockets::set_nonblocking(entry, on != 0);
            Ok(0)
        }
        (Entry::Connection(place), libc::FIONREAD | libc::TIOCOUTQ) => {
            let count = sockets::queued(place, request as u32 as libc::c_ulong == libc::FIONREAD)?;
            user_memory::write(argument as *mut c_int, &count).map(|()| 0)
        }
        (Entry::Connection(place), SIOCATMARK) => {
            let is_at_mark = c_int::from(sockets::is_at_mark(place)?);
            user_memory::write(argument as *mut c_int, &is_at_mark).map(|()| 0)
        }
        _ => raw(),
    }
}

/// glibc asks the kernel by itself.
pub(super) unsafe fn sockatmark(fd: c_int) -> Outcome {
    let mut is_at_mark: c_int = 0;
    control(fd, SIOCATMARK as usize, (&raw mut is_at_mark) as usize)?;
    Ok(is_at_mark as usize)
}

/// `syscall`: what a program asks for by number goes the way of its function.
pub(super) unsafe extern "C" fn by_number(
    number: i64,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> isize {
    // SAFETY: the program's call, as it is.
    errno::give_back(unsafe { super::by_number::dispatch(number, [a, b, c, d, e, f]) })
}
