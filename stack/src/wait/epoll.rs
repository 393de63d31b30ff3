//! epoll instances: what epoll_ctl and epoll_wait do to them.

use super::notify::{MOST_NESTED, enqueue, put_on_ready, steps_through_nests, wake_sleeper};
use super::{Epoll, InReady, OnEpoll, WakerId, Watch, discard, events, forget_socket, hang};
use crate::Error;
use crate::region::{Handle, Steps, Walk};
use crate::shard::Shard;
use crate::socket::{self, SocketRef};
use zerocopy::FromZeros;

/// What epoll_ctl says: `descriptor` and the socket behind it are the key, as file and number are in the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Interest {
    pub descriptor: i32,
    pub socket: SocketRef,
    pub events: u32,
    pub data: u64,
}

/// What epoll_wait tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    pub events: u32,
    pub data: u64,
    /// The kernel may know of events of the same descriptor: that of a listener, or of another instance.
    pub dual: bool,
}

/// A new instance, held by `process`.
pub fn create(s: &mut Shard, process: u16) -> Result<Handle<Epoll>, Error> {
    let Some(epoll) = s.epolls.alloc() else {
        s.counters.table_full += 1;
        return Err(Error::NoMemory);
    };
    if let Err(error) = socket::hold(s, SocketRef::Epoll(epoll), process) {
        s.epolls.free(epoll);
        return Err(error);
    }
    Ok(epoll)
}

/// The last process let go of the instance: those that watch it lose it, and what it watches is watched no more.
pub(crate) fn close(s: &mut Shard, epoll: Handle<Epoll>) {
    forget_socket(s, SocketRef::Epoll(epoll));
    let mut steps = Steps::over(&s.watches);
    while let Some(instance) = s.epolls.get(epoll) {
        let first =
            if instance.watches.is_empty() { instance.sleepers.first } else { instance.watches.first };
        let Some(handle) = s.watches.at(first).filter(|_| steps.take(&s.damage)) else { break };
        discard(s, handle);
    }
    s.epolls.free(epoll);
}

/// EPOLL_CTL_ADD.
pub fn add(s: &mut Shard, epoll: Handle<Epoll>, interest: &Interest) -> Result<(), Error> {
    if interest.events & events::EXCLUSIVE != 0
        && (interest.events & !events::WITH_EXCLUSIVE != 0 || matches!(interest.socket, SocketRef::Epoll(_)))
    {
        return Err(Error::Invalid);
    }
    if s.epolls.get(epoll).is_none() || s.socket(interest.socket).is_none() {
        return Err(Error::BadDescriptor);
    }
    if find(s, epoll, interest.descriptor, interest.socket).is_some() {
        return Err(Error::Exists);
    }
    let Some(handle) = s.watches.alloc() else {
        s.counters.table_full += 1;
        return Err(Error::NoMemory);
    };
    if let Some(watch) = s.watches.get_mut(handle) {
        *watch = Watch {
            socket: interest.socket.into(),
            epoll,
            events: interest.events | events::ERR | events::HUP,
            data: interest.data,
            descriptor: interest.descriptor,
            waker: WakerId::NONE,
            ..Watch::new_zeroed()
        };
    }
    hang(s, handle, interest.socket, interest.events & events::EXCLUSIVE != 0);
    if let Some(instance) = s.epolls.get_mut(epoll) {
        instance.watches.push_back(&mut OnEpoll(&mut s.watches), handle.index());
    }
    look(s, handle, epoll);
    Ok(())
}

/// EPOLL_CTL_MOD: also what arms a one-shot watch again, and makes an edge-triggered one look anew.
pub fn modify(s: &mut Shard, epoll: Handle<Epoll>, interest: &Interest) -> Result<(), Error> {
    let found = find(s, epoll, interest.descriptor, interest.socket).ok_or(Error::NoEntry)?;
    let Some(watch) = s.watches.get_mut(found) else { return Err(Error::NoEntry) };
    if (interest.events | watch.events) & events::EXCLUSIVE != 0 {
        return Err(Error::Invalid);
    }
    watch.events = interest.events | events::ERR | events::HUP;
    watch.data = interest.data;
    look(s, found, epoll);
    Ok(())
}

/// EPOLL_CTL_DEL.
pub fn remove(s: &mut Shard, epoll: Handle<Epoll>, descriptor: i32, socket: SocketRef) -> Result<(), Error> {
    let found = find(s, epoll, descriptor, socket).ok_or(Error::NoEntry)?;
    discard(s, found);
    Ok(())
}

/// Puts the watch on the ready list if what it asks for is true already.
fn look(s: &mut Shard, handle: Handle<Watch>, epoll: Handle<Epoll>) {
    let Some(watch) = s.watches.get(handle).copied() else { return };
    let Some(socket) = watch.socket.decode() else { return };
    if watch.wanted(socket::readiness(s, socket)) != 0 {
        let mut steps = steps_through_nests(s);
        enqueue(s, handle, epoll, 0, &mut steps);
    }
}

/// A socket is watched by few, while an instance watches many: the walk is over the former.
fn find(s: &Shard, epoll: Handle<Epoll>, descriptor: i32, socket: SocketRef) -> Option<Handle<Watch>> {
    let list = s.socket(socket)?.watches;
    let mut walk = Walk::over(&s.watches, list.first);
    while let Some((at, watch)) = walk.item(&s.watches) {
        if watch.epoll == epoll && watch.descriptor == descriptor {
            return s.watches.at(at);
        }
        walk.to(watch.on_socket.next);
    }
    None
}

/// Tells of up to `most` watches that are ready now. Level-triggered ones go to the end of the list, where the next
/// call finds them again; so every one has its turn however few are taken at a time.
pub fn collect(s: &mut Shard, epoll: Handle<Epoll>, most: usize, mut tell: impl FnMut(Ready)) -> usize {
    let mut told = 0;
    let present = s.epolls.get(epoll).map_or(0, |e| e.ready.len).min(s.watches.capacity());
    for _ in 0..present {
        // What a look at another instance cuts short, each would.
        if told == most || s.damage.is_noted() {
            break;
        }
        let Some(handle) = take_ready(s, epoll) else { break };
        let Some(watch) = s.watches.get(handle).copied() else { continue };
        let Some(socket) = watch.socket.decode() else { continue };
        let events = watch.wanted(socket::readiness(s, socket));
        if events == 0 {
            continue;
        }
        let dual = !matches!(socket, SocketRef::Connection(_));
        tell(Ready { events, data: watch.data, dual });
        told += 1;
        if watch.events & events::ONE_SHOT != 0 {
            if let Some(watch) = s.watches.get_mut(handle) {
                watch.events &= events::FLAGS;
            }
        } else if watch.events & events::EDGE == 0 {
            put_on_ready(s, handle, epoll);
        }
    }
    if s.epolls.get(epoll).is_some_and(|e| !e.ready.is_empty()) {
        // LINUX: what is left is for the next sleeper.
        wake_sleeper(s, epoll);
    }
    told
}

fn take_ready(s: &mut Shard, epoll: Handle<Epoll>) -> Option<Handle<Watch>> {
    let instance = s.epolls.get_mut(epoll)?;
    let index = instance.ready.pop_front(&mut InReady(&mut s.watches))?;
    let handle = s.watches.at(index)?;
    s.watches.get_mut(handle)?.queued = 0;
    Some(handle)
}

/// What an instance that is itself watched shows: readable while it has something to tell.
pub(crate) fn readiness(s: &Shard, epoll: Handle<Epoll>) -> u32 {
    let mut steps = steps_through_nests(s);
    if is_ready(s, epoll, 0, &mut steps) { events::IN | events::RDNORM } else { 0 }
}

fn is_ready(s: &Shard, epoll: Handle<Epoll>, depth: u32, steps: &mut Steps) -> bool {
    let Some(list) = s.epolls.get(epoll).map(|e| e.ready) else { return false };
    let mut walk = Walk::over(&s.watches, list.first);
    while let Some((_, watch)) = walk.item(&s.watches)
        && steps.take(&s.damage)
    {
        let ready = match watch.socket.decode() {
            Some(SocketRef::Epoll(inner)) if depth < MOST_NESTED => {
                watch.wanted(events::IN | events::RDNORM) != 0 && is_ready(s, inner, depth + 1, steps)
            }
            Some(SocketRef::Epoll(_)) | None => false,
            Some(socket) => watch.wanted(socket::readiness(s, socket)) != 0,
        };
        if ready {
            return true;
        }
        walk.to(watch.ready.next);
    }
    false
}

/// Counts the kernel's descriptors in the instance up or down, and gives the number.
pub fn kernel_items(s: &mut Shard, epoll: Handle<Epoll>, change: i32) -> u32 {
    s.epolls.get_mut(epoll).map_or(0, |e| {
        e.kernel_items = e.kernel_items.saturating_add_signed(change);
        e.kernel_items
    })
}
