//! Undecided sockets in epoll instances: the kernel has them, and we keep what was asked for until connect() or listen()
//! decides whose they are.

use alloc::vec::Vec;
use core::cell::UnsafeCell;

use stack::wait::{self, Interest};

use super::{Changing, instances};
use crate::fds::{self, Entry, Undecided};
use crate::sockets::socket_of;
use crate::turn::turn_at;

#[derive(Clone, Copy)]
struct Pending {
    instance: u32,
    /// The serial of the undecided socket.
    socket: u32,
    descriptor: i32,
    events: u32,
    data: u64,
}

struct All(UnsafeCell<Vec<Pending>>);
// SAFETY: reached through `all` alone, under `Changing`.
unsafe impl Sync for All {}
static ALL: All = All(UnsafeCell::new(Vec::new()));
/// From this number on those are thrown out whose descriptors were closed.
const MANY: usize = 64;

#[allow(clippy::mut_from_ref, reason = "the guard is what makes it exclusive")]
fn all(_changing: &Changing) -> &mut Vec<Pending> {
    // SAFETY: `Changing` exists once, and the borrow lasts no longer than it.
    unsafe { &mut *ALL.0.get() }
}

/// epoll_ctl has done `operation` in the kernel.
pub(super) fn note(
    changing: &Changing,
    instance: u32,
    operation: i32,
    (descriptor, socket): (i32, u32),
    event: libc::epoll_event,
) {
    let all = all(changing);
    all.retain(|p| (p.instance, p.descriptor, p.socket) != (instance, descriptor, socket));
    if operation == libc::EPOLL_CTL_DEL {
        return;
    }
    if all.len() >= MANY {
        all.retain(
            |p| matches!(fds::lookup(p.descriptor), Entry::Undecided(Undecided { serial, .. }) if serial == p.socket),
        );
    }
    all.push(Pending { instance, socket, descriptor, events: event.events, data: event.u64 });
}

pub(super) fn forget_instance(instance: u32, changing: &Changing) {
    all(changing).retain(|p| p.instance != instance);
}

/// The socket of serial `socket` has become `new`. What is ours now moves from the kernel's sets to the region; a listener
/// is in both.
pub(crate) fn decided(socket: u32, new: Entry) {
    let changing = Changing::begin();
    let all = all(&changing);
    if let Some((place, reference)) = socket_of(new) {
        for pending in all.iter().filter(|p| p.socket == socket) {
            let Some(instance) = instances::of(pending.instance) else { continue };
            let Some(number) = instances::number_of(pending.instance) else { continue };
            if instance.accelerate(number, &changing).is_err() {
                continue;
            }
            let interest = Interest {
                descriptor: pending.descriptor,
                socket: reference,
                events: pending.events,
                data: pending.data,
            };
            let part = instance.part(u32::from(place.shard));
            let _ = turn_at(place, |s, _| wait::add(s, part, &interest));
            if !matches!(new, Entry::Listener(_)) {
                let none = core::ptr::null();
                let _ = super::to_kernel(number, libc::EPOLL_CTL_DEL, pending.descriptor, none);
                instance.count_kernel_items(-1);
            }
        }
    }
    all.retain(|p| p.socket != socket);
}
