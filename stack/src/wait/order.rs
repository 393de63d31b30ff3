//! Keeping the lists in order: when a process dies, after a death inside the lock, and checking them.

use super::notify::wake;
use super::{Epoll, InReady, OnEpoll, OnSocket, WakerId, Watch, discard};
use crate::region::{Handle, List};
use crate::shard::Shard;
use crate::socket::SocketRef;
use core::sync::atomic::Ordering;

/// The process of this slot has ended: its threads wait no more, and rings that it may have owed others are rung. To
/// be called before its wakers are given to somebody else.
pub fn drop_process(s: &mut Shard, process: u16) {
    for index in 1..s.watches.high_water() {
        let Some(handle) = s.watches.at(index) else { continue };
        let waker = s.watches.get(handle).map_or(WakerId::NONE, |w| w.waker);
        let owner =
            s.region.wakers().get(usize::from(waker.0)).map_or(0, |w| w.owner.load(Ordering::Relaxed));
        if owner == u32::from(process) + 1 {
            discard(s, handle);
        }
    }
    ring_again(s);
}

/// Rings every bell that somebody claimed: he may have died before he rang it.
fn ring_again(s: &mut Shard) {
    for (index, slot) in s.region.wakers().iter().enumerate() {
        if slot.is_rung() {
            s.after.wake.push(WakerId(index as u16));
        }
    }
}

/// After a death: lists anew from the slabs, and everybody who sleeps is woken to look for himself.
pub fn recover(s: &mut Shard) {
    let mut index = 0;
    while let Some(socket) = next_watchable(s, &mut index) {
        if let Some(x) = s.socket_mut(socket) {
            x.watches = List::EMPTY;
        }
        let SocketRef::Epoll(h) = socket else { continue };
        let Some(epoll) = s.epolls.get_mut(h) else { continue };
        (epoll.watches, epoll.ready, epoll.sleepers) = (List::EMPTY, List::EMPTY, List::EMPTY);
        if epoll.socket.references.is_empty() {
            s.epolls.free(h);
        }
    }
    ring_again(s);
    for index in 1..s.watches.high_water() {
        if let Some(handle) = s.watches.at(index) {
            restore(s, handle);
        }
    }
}

/// Enters a watch in the lists again, or frees it if what it names is gone.
fn restore(s: &mut Shard, handle: Handle<Watch>) {
    let Some(watch) = s.watches.get_mut(handle) else { return };
    watch.queued = 0;
    let watch = *watch;
    let socket = watch.socket.decode().filter(|&x| s.socket(x).is_some());
    let epoll = watch.epoll.some().filter(|&h| s.epolls.get(h).is_some());
    let lost =
        (watch.socket.decode().is_some() && socket.is_none()) || (watch.epoll.is_some() && epoll.is_none());
    if lost || (socket.is_none() && epoll.is_none()) {
        s.watches.free(handle);
        return;
    }
    if let Some(socket) = socket {
        super::hang(s, handle, socket, watch.events & super::events::EXCLUSIVE != 0);
    }
    let Some(instance) = epoll.and_then(|h| s.epolls.get_mut(h)) else {
        wake(s, watch.waker);
        return;
    };
    let links = &mut OnEpoll(&mut s.watches);
    if socket.is_none() {
        instance.sleepers.push_back(links, handle.index());
        wake(s, watch.waker);
        return;
    }
    instance.watches.push_back(links, handle.index());
    if !watch.is_disarmed()
        && let Some(epoll) = epoll
    {
        super::notify::put_on_ready(s, handle, epoll);
    }
}

/// Everything that can be watched, one after the other; `index` starts at 0.
fn next_watchable(s: &Shard, index: &mut u32) -> Option<SocketRef> {
    let most = s.connections.high_water().max(s.listeners.high_water()).max(s.epolls.high_water());
    while *index / 3 < most {
        let (slot, kind) = (*index / 3, *index % 3);
        *index += 1;
        let found = match kind {
            0 => s.connections.at(slot).map(SocketRef::Connection),
            1 => s.listeners.at(slot).map(SocketRef::Listener),
            _ => s.epolls.at(slot).map(SocketRef::Epoll),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Invariants of watches, ready lists and instances.
pub fn check(s: &mut Shard) -> Result<(), &'static str> {
    let (mut on_sockets, mut on_epolls, mut queued) = (0, 0, 0);
    let mut index = 0;
    while let Some(socket) = next_watchable(s, &mut index) {
        let list = s.socket(socket).map_or(List::EMPTY, |x| x.watches);
        if !list.check(&mut OnSocket(&mut s.watches)) {
            return Err("a socket's list of watches is broken");
        }
        on_sockets += list.len;
        if let SocketRef::Epoll(h) = socket {
            let (watches, ready) = check_epoll(s, h)?;
            on_epolls += watches;
            queued += ready;
        }
    }
    let live = || (1..s.watches.high_water()).filter_map(|i| s.watches.get(s.watches.at(i)?));
    if live().filter(|w| w.socket.decode().is_some()).count() != on_sockets as usize {
        return Err("a watch hangs off no socket");
    }
    if live().filter(|w| w.epoll.is_some()).count() != on_epolls as usize {
        return Err("a watch belongs to no epoll instance");
    }
    if live().filter(|w| w.queued != 0).count() != queued as usize {
        return Err("a watch says that it is ready, and no list has it");
    }
    Ok(())
}

fn check_epoll(s: &mut Shard, h: Handle<Epoll>) -> Result<(u32, u32), &'static str> {
    let Some(epoll) = s.epolls.get(h).copied() else { return Ok((0, 0)) };
    let sound = epoll.watches.check(&mut OnEpoll(&mut s.watches))
        && epoll.sleepers.check(&mut OnEpoll(&mut s.watches))
        && epoll.ready.check(&mut InReady(&mut s.watches));
    if !sound {
        return Err("an epoll instance's list is broken");
    }
    if epoll.socket.references.is_empty() {
        return Err("an epoll instance that nobody holds was kept");
    }
    Ok((epoll.watches.len + epoll.sleepers.len, epoll.ready.len))
}
