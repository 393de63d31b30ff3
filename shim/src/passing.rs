//! SCM_RIGHTS: an accelerated socket that one program hands to another over AF_UNIX.
//!
//! The kernel carries the shadow. The socket itself is held by the keeper's slot from before it is sent until the receiver,
//! who finds it by the shadow's inode, holds it: the sender may close it at once.

use core::ffi::c_int;

use stack::socket;

use crate::exec::{inode_of, is_tcp, take_over};
use crate::fds::{self, Entry};
use crate::sockets::{socket_of, with_socket};
use crate::turn::{turn, turn_at};
use crate::{startup, user_memory};

/// The keeper's slot in the region.
const KEEPER: u16 = 0;

/// Descriptors of one message at most (SCM_MAX_FD).
const MOST: usize = 253;

/// Runs `each` for every descriptor that travels with `message`. What cannot be read is left to the kernel's judgement.
fn each_passed(message: *const libc::msghdr, mut each: impl FnMut(i32)) {
    let Ok(header) = user_memory::read(message) else { return };
    let (start, length) = (header.msg_control as usize, header.msg_controllen);
    let head = size_of::<libc::cmsghdr>();
    let mut at = 0;
    while at + head <= length {
        let Ok(control) = user_memory::read((start + at) as *const libc::cmsghdr) else { return };
        let size = control.cmsg_len;
        if size < head || size > length - at {
            return;
        }
        if (control.cmsg_level, control.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            for index in 0..((size - head) / size_of::<c_int>()).min(MOST) {
                let place = start + at + head + index * size_of::<c_int>();
                let Ok(fd) = user_memory::read(place as *const c_int) else { return };
                each(fd);
            }
        }
        at += size.next_multiple_of(size_of::<usize>());
    }
}

/// Before the kernel sends `message`: what is ours in it is held for its receiver.
pub(crate) fn lend(message: *const libc::msghdr) {
    each_passed(message, |fd| {
        let Some((place, socket)) = socket_of(fds::lookup(fd)) else { return };
        if let (Entry::Connection(_) | Entry::Listener(_), Ok(inode)) = (fds::lookup(fd), inode_of(fd)) {
            let _ = with_socket(place, socket, |socket| socket.inode = inode);
            let _ = turn_at(place, |s, _| socket::hold(s, socket, KEEPER));
        }
    });
}

/// The kernel has not sent it.
pub(crate) fn take_back(message: *const libc::msghdr) {
    each_passed(message, |fd| {
        if let Some((place, socket)) = socket_of(fds::lookup(fd)) {
            let _ = turn_at(place, |s, now| socket::let_go(s, socket, KEEPER, now));
        }
    });
}

/// The kernel has received `message`: shadows in it become what they stand for.
pub(crate) fn receive(message: *const libc::msghdr) {
    each_passed(message, |fd| {
        if !is_tcp(fd) || fds::lookup(fd) != Entry::Kernel {
            return;
        }
        let Some(stack) = startup::attach() else { return };
        take_over(stack, fd, KEEPER);
        if let Some((place, socket)) = socket_of(fds::lookup(fd)) {
            let _ = turn(place.shard, |s, now| socket::let_go(s, socket, KEEPER, now));
        }
    });
}
