//! sendmsg(), recvmsg() and their plural forms.

use core::ffi::{c_int, c_uint};
use core::sync::atomic::Ordering;

use crate::address::Raw;
use crate::kernel::{self, Errno, Outcome};
use crate::turn::now;
use crate::user_buffers::Buffers;
use crate::{passing, startup, stream, thread, user_memory};

use super::transfer::{Way, may_open, send_first, transfer, way};
use crate::fds::Place;

pub(super) unsafe fn recvmsg(fd: c_int, message: *mut libc::msghdr, flags: c_int) -> Outcome {
    let received: Outcome =
        transfer!(fd, |place| receive(place, message, flags), SYS_recvmsg, [message, flags]);
    if received.is_ok() && startup::is_reachable() && has_control(message) && !is_borrowed() {
        passing::receive(message);
    }
    received
}

/// Descriptors may travel with it. Only for memory that the kernel has used already, or once faults are repaired: when the
/// process is attached.
fn has_control(message: *const libc::msghdr) -> bool {
    user_memory::read(message).is_ok_and(|header| !header.msg_control.is_null() && header.msg_controllen > 0)
}

fn is_borrowed() -> bool {
    thread::current().borrowed_memory.load(Ordering::Relaxed)
}

fn receive(place: Place, message: *mut libc::msghdr, flags: c_int) -> Outcome {
    let mut header = user_memory::read(message)?;
    let mut buffers = pieces_of(&header)?;
    if flags & libc::MSG_TRUNC != 0 {
        buffers = buffers.discarding();
    }
    let received = stream::receive(place, &mut buffers, flags)?;
    header.msg_namelen = 0;
    header.msg_controllen = 0;
    header.msg_flags = flags & (libc::MSG_CMSG_CLOEXEC | libc::MSG_OOB);
    user_memory::write(message, &header)?;
    Ok(received)
}

fn pieces_of(header: &libc::msghdr) -> Result<Buffers, Errno> {
    // LINUX: too many pieces are EMSGSIZE here, and EINVAL in readv().
    if header.msg_iovlen > 1024 {
        return Err(Errno::MSGSIZE);
    }
    Buffers::many(header.msg_iov, header.msg_iovlen)
}

pub(super) unsafe fn sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int) -> Outcome {
    if flags & libc::MSG_FASTOPEN != 0 {
        let header = user_memory::read(message)?;
        let open = || {
            let raw = Raw::from_program(header.msg_name, header.msg_namelen as usize)?;
            Ok((raw, pieces_of(&header)?))
        };
        if let Some(outcome) = send_first(fd, flags, header.msg_name.is_null(), open) {
            return outcome;
        }
    }
    let passes = startup::stack().is_some() && has_control(message) && !is_borrowed();
    if passes {
        passing::lend(message);
    }
    let sent: Outcome = transfer!(fd, |place| send(place, message, flags), SYS_sendmsg, [message, flags]);
    if passes && sent.is_err() {
        passing::take_back(message);
    }
    sent
}

/// Control data of a stream is for options that we have not (timestamps, SCM_RIGHTS, which TCP ignores).
fn send(place: Place, message: *const libc::msghdr, flags: c_int) -> Outcome {
    let header = user_memory::read(message)?;
    stream::send(place, &mut pieces_of(&header)?, flags)
}

pub(super) unsafe fn recvmmsg(
    fd: c_int,
    messages: *mut libc::mmsghdr,
    count: c_uint,
    flags: c_int,
    timeout: *mut libc::timespec,
) -> Outcome {
    let ours = |place| receive_many(place, messages, count, flags, timeout);
    transfer!(fd, ours, SYS_recvmmsg, [messages, count, flags, timeout])
}

/// LINUX: the timeout is looked at after each message, so it does not end a wait; what is left of it is written back.
fn receive_many(
    place: Place,
    messages: *mut libc::mmsghdr,
    count: c_uint,
    mut flags: c_int,
    timeout: *mut libc::timespec,
) -> Outcome {
    let allowed = if timeout.is_null() { None } else { Some(allowance(&user_memory::read(timeout)?)?) };
    let began = now();
    let mut done = 0;
    while done < count.min(1024) {
        let message = messages.wrapping_add(done as usize);
        let received = match receive(place, message.cast(), flags & !libc::MSG_WAITFORONE) {
            Ok(received) => received,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        };
        set_length(message, received)?;
        done += 1;
        if flags & libc::MSG_WAITFORONE != 0 {
            flags |= libc::MSG_DONTWAIT;
        }
        if let Some(allowed) = allowed {
            let left = allowed.saturating_sub(now().saturating_sub(began));
            let rest = libc::timespec {
                tv_sec: (left / 1_000_000_000) as i64,
                tv_nsec: (left % 1_000_000_000) as i64,
            };
            user_memory::write(timeout, &rest)?;
            if left == 0 {
                break;
            }
        }
    }
    Ok(done as usize)
}

fn allowance(timeout: &libc::timespec) -> Result<u64, Errno> {
    if timeout.tv_sec < 0 || !(0..1_000_000_000).contains(&timeout.tv_nsec) {
        return Err(Errno::INVAL);
    }
    Ok((timeout.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(timeout.tv_nsec as u64))
}

fn set_length(message: *mut libc::mmsghdr, length: usize) -> Result<(), Errno> {
    let at = message.cast::<u8>().wrapping_add(core::mem::offset_of!(libc::mmsghdr, msg_len));
    user_memory::write(at.cast::<c_uint>(), &(length as c_uint))
}

pub(super) unsafe fn sendmmsg(
    fd: c_int,
    messages: *mut libc::mmsghdr,
    count: c_uint,
    flags: c_int,
) -> Outcome {
    if flags & libc::MSG_FASTOPEN != 0 && may_open(fd) {
        // LINUX: each of them asks to open, so one alone is sent.
        // SAFETY: as sendmsg(), one by one.
        return send_many(messages, count, |message| unsafe { sendmsg(fd, message, flags) });
    }
    let ours = |place| send_many(messages, count, |message| send(place, message, flags));
    transfer!(fd, ours, SYS_sendmmsg, [messages, count, flags])
}

fn send_many(
    messages: *mut libc::mmsghdr,
    count: c_uint,
    mut send: impl FnMut(*const libc::msghdr) -> Outcome,
) -> Outcome {
    let mut done = 0;
    while done < count.min(1024) {
        let message = messages.wrapping_add(done as usize);
        let sent = send(message.cast()).and_then(|sent| set_length(message, sent));
        match sent {
            Ok(()) => done += 1,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done as usize)
}
