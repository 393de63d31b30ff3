//! epoll_ctl.

use core::ffi::c_int;

use stack::socket::SocketRef;
use stack::wait::{self, Interest};

use super::instances::{self, Instance};
use super::{Changing, pending, to_kernel};
use crate::fds::{Entry, Place, Undecided};
use crate::hooks::entry;
use crate::kernel::{Errno, Outcome};
use crate::sockets::socket_of;
use crate::turn::{errno, turn, turn_at};
use crate::{startup, user_memory};

pub(crate) unsafe fn epoll_ctl(
    number: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut libc::epoll_event,
) -> Outcome {
    let (set, target) = (entry(number), entry(fd));
    if matches!(set, Entry::Own { .. }) || matches!(target, Entry::Own { .. }) {
        return Err(Errno::BADF);
    }
    if let (Entry::Kernel, Entry::Kernel) = (set, target) {
        return to_kernel(number, operation, fd, event);
    }
    let Entry::Epoll { instance } = set else {
        return to_unknown(number, operation, fd, event);
    };
    change(number, instance, operation, (fd, target), event)
}

/// A set that we have not seen being made (it came over exec): the kernel knows whether it is one.
fn to_unknown(number: c_int, operation: c_int, fd: c_int, event: *mut libc::epoll_event) -> Outcome {
    match to_kernel(number, libc::EPOLL_CTL_MOD, fd, event) {
        Err(Errno::NOENT) => {}
        other => {
            return if operation == libc::EPOLL_CTL_MOD {
                other
            } else {
                to_kernel(number, operation, fd, event)
            };
        }
    }
    match instances::enter(number) {
        Some(instance) => change(number, instance, operation, (fd, entry(fd)), event),
        None => to_kernel(number, operation, fd, event),
    }
}

fn change(
    number: c_int,
    index: u32,
    operation: c_int,
    (fd, target): (c_int, Entry),
    event: *mut libc::epoll_event,
) -> Outcome {
    let instance = instances::of(index).ok_or(Errno::BADF)?;
    match target {
        Entry::Connection(_) => {
            let asked = asked(operation, event)?;
            if !is_operation(operation) {
                return Err(Errno::INVAL);
            }
            let changing = Changing::begin();
            instance.accelerate(number, &changing)?;
            drop(changing);
            in_region(instance, operation, fd, target, asked)
        }
        Entry::Undecided(Undecided { serial, .. }) => {
            let changing = Changing::begin();
            let asked = asked(operation, event);
            to_kernel(number, operation, fd, event)?;
            count(instance, operation);
            pending::note(&changing, index, operation, (fd, serial), asked?);
            Ok(0)
        }
        Entry::Listener(_) => {
            let asked = asked(operation, event);
            let changing = Changing::begin();
            instance.accelerate(number, &changing)?;
            drop(changing);
            to_kernel(number, operation, fd, event)?;
            count(instance, operation);
            in_region(instance, operation, fd, target, asked?)
        }
        Entry::Epoll { instance: inner } => {
            let asked = asked(operation, event);
            to_kernel(number, operation, fd, event)?;
            count(instance, operation);
            let inner = instances::of(inner).ok_or(Errno::BADF)?;
            nest(instance, number, inner, fd, operation, asked?)
        }
        Entry::Kernel | Entry::Own { .. } => {
            to_kernel(number, operation, fd, event)?;
            count(instance, operation);
            Ok(0)
        }
    }
}

/// LINUX: the event is read first, for every operation but one.
fn asked(operation: c_int, event: *const libc::epoll_event) -> Result<libc::epoll_event, Errno> {
    if operation == libc::EPOLL_CTL_DEL {
        return Ok(libc::epoll_event { events: 0, u64: 0 });
    }
    user_memory::read(event)
}

fn is_operation(operation: c_int) -> bool {
    matches!(operation, libc::EPOLL_CTL_ADD | libc::EPOLL_CTL_MOD | libc::EPOLL_CTL_DEL)
}

fn count(instance: &Instance, operation: c_int) {
    match operation {
        libc::EPOLL_CTL_ADD => instance.count_kernel_items(1),
        libc::EPOLL_CTL_DEL => instance.count_kernel_items(-1),
        _ => {}
    }
}

fn in_region(
    instance: &Instance,
    operation: c_int,
    fd: c_int,
    target: Entry,
    asked: libc::epoll_event,
) -> Outcome {
    let (place, socket) = socket_of(target).ok_or(Errno::BADF)?;
    let Place { shard, .. } = place;
    let part = instance.part(u32::from(shard));
    let interest = Interest { descriptor: fd, socket, events: asked.events, data: asked.u64 };
    let done = turn_at(place, |s, _| match operation {
        libc::EPOLL_CTL_ADD => {
            // What has come already must not be missed by an edge-triggered watch.
            s.pump();
            wait::add(s, part, &interest)
        }
        libc::EPOLL_CTL_MOD => {
            s.pump();
            wait::modify(s, part, &interest)
        }
        _ => wait::remove(s, part, fd, socket),
    })?;
    match done {
        Ok(()) => Ok(0),
        // LINUX: what epoll_ctl answers when there are too many watches.
        Err(stack::Error::NoMemory) => Err(Errno::NOSPC),
        Err(error) => Err(errno(error)),
    }
}

/// An instance in an instance. The kernel, which has the same two, has judged it.
fn nest(
    outer: &Instance,
    outer_number: c_int,
    inner: &Instance,
    inner_number: c_int,
    operation: c_int,
    asked: libc::epoll_event,
) -> Outcome {
    let Some(stack) = startup::stack() else { return Ok(0) };
    let changing = Changing::begin();
    inner.accelerate(inner_number, &changing)?;
    outer.accelerate(outer_number, &changing)?;
    drop(changing);
    for shard in 0..stack.shard_count() {
        let socket = SocketRef::Epoll(inner.part(shard));
        let part = outer.part(shard);
        let interest = Interest { descriptor: inner_number, socket, events: asked.events, data: asked.u64 };
        let _ = turn(shard as u8, |s, _| match operation {
            libc::EPOLL_CTL_ADD => wait::add(s, part, &interest),
            libc::EPOLL_CTL_MOD => wait::modify(s, part, &interest),
            _ => wait::remove(s, part, inner_number, socket),
        })?;
    }
    Ok(0)
}
