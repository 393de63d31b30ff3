//! Who waits for what: watch nodes on sockets, epoll instances, wakers.
//!
//! A watch hangs off a socket as a wait-queue entry does in the kernel. Some belong to an epoll instance and put
//! themselves on its ready list; others belong to a thread in poll(), select() or a blocking call and ring its bell.
//! Everything here happens under the shard's lock, which is what makes "look, then sleep" free of lost wakes: a
//! thread looks and enters its watch in one turn.

#![forbid(unsafe_code)]

mod epoll;
pub mod events;
mod notify;
mod order;
mod threads;

pub use epoll::{Interest, Ready, add, collect, create, kernel_items, modify, remove};
pub(crate) use epoll::{close, readiness};
pub use notify::notify;
pub use order::{check, drop_process, recover};
pub use threads::{Sleep, sleep_on, unwatch, watch};

use crate::region::list::Links;
use crate::region::{Handle, Link, List, Slab, Steps};
use crate::shard::Shard;
use crate::socket::{RawSocketRef, Socket, SocketRef};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A waker slot of the region: a thread's bell. 0xffff is none.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct WakerId(pub u16);

impl WakerId {
    pub const NONE: Self = Self(u16::MAX);
}

/// One interest: of an epoll instance in a socket, of a thread in a socket, or of a thread in an epoll instance.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Watch {
    /// Place among the watches of `socket`.
    on_socket: Link,
    /// Place among the watches of `epoll`, or among its sleepers.
    on_epoll: Link,
    /// Place in the ready list of `epoll`.
    ready: Link,
    /// What is watched; nothing for a thread that sleeps in epoll_wait.
    socket: RawSocketRef,
    epoll: Handle<Epoll>,
    /// EPOLL bits, ERR and HUP always among them. One that fired once and is to fire no more has its flags alone.
    events: u32,
    data: u64,
    /// The number by which epoll_ctl named the socket.
    descriptor: i32,
    /// Whom to wake, if this is a thread's.
    waker: WakerId,
    /// 1 while it is in the ready list.
    queued: u8,
    pad: u8,
}

impl Watch {
    /// Those of `events` that it asks for.
    fn wanted(&self, events: u32) -> u32 {
        self.events & events & !events::FLAGS
    }

    fn is_disarmed(&self) -> bool {
        self.events & !events::FLAGS == 0
    }
}

/// An epoll instance's part in this shard.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Epoll {
    /// What it has in common with sockets: who holds it, and who watches it.
    pub socket: Socket,
    watches: List,
    ready: List,
    /// Threads in epoll_wait.
    sleepers: List,
    /// How many kernel descriptors were added and not taken out; one that was closed still counts.
    kernel_items: u32,
}

struct OnSocket<'a>(&'a mut Slab<Watch>);
impl Links for OnSocket<'_> {
    fn link(&mut self, index: u32) -> Option<&mut Link> {
        self.0.item_mut(index).map(|w| &mut w.on_socket)
    }
}

struct OnEpoll<'a>(&'a mut Slab<Watch>);
impl Links for OnEpoll<'_> {
    fn link(&mut self, index: u32) -> Option<&mut Link> {
        self.0.item_mut(index).map(|w| &mut w.on_epoll)
    }
}

struct InReady<'a>(&'a mut Slab<Watch>);
impl Links for InReady<'_> {
    fn link(&mut self, index: u32) -> Option<&mut Link> {
        self.0.item_mut(index).map(|w| &mut w.ready)
    }
}

/// The last descriptor of `socket` is gone in all processes: nobody watches it any more. A thread that does is woken
/// to find that out.
pub fn forget_socket(s: &mut Shard, socket: SocketRef) {
    notify(s, socket, events::IN | events::OUT | events::HUP);
    let mut steps = Steps::over(&s.watches);
    while let Some(first) = s.socket(socket).map(|x| x.watches.first) {
        let Some(handle) = s.watches.at(first).filter(|_| steps.take(&s.damage)) else { break };
        discard(s, handle);
    }
}

/// Takes a watch out of every list and frees it.
fn discard(s: &mut Shard, handle: Handle<Watch>) {
    let Some(watch) = s.watches.get(handle).copied() else { return };
    let index = handle.index();
    if let Some(socket) = watch.socket.decode()
        && let Some(mut list) = s.socket(socket).map(|x| x.watches)
    {
        list.remove(&mut OnSocket(&mut s.watches), index);
        if let Some(x) = s.socket_mut(socket) {
            x.watches = list;
        }
    }
    if let Some(epoll) = s.epolls.get_mut(watch.epoll) {
        let list = if watch.is_sleeper() { &mut epoll.sleepers } else { &mut epoll.watches };
        list.remove(&mut OnEpoll(&mut s.watches), index);
        if watch.queued != 0 {
            epoll.ready.remove(&mut InReady(&mut s.watches), index);
        }
    }
    s.watches.free(handle);
}

impl Watch {
    /// A thread in epoll_wait.
    fn is_sleeper(&self) -> bool {
        self.epoll.is_some() && self.socket.decode().is_none()
    }
}

/// Puts a fresh watch on its socket: what may keep a wake from the others goes to the end, as in the kernel.
fn hang(s: &mut Shard, handle: Handle<Watch>, socket: SocketRef, exclusive: bool) {
    let Some(mut list) = s.socket(socket).map(|x| x.watches) else { return };
    let links = &mut OnSocket(&mut s.watches);
    if exclusive {
        list.push_back(links, handle.index());
    } else {
        list.push_front(links, handle.index());
    }
    if let Some(x) = s.socket_mut(socket) {
        x.watches = list;
    }
}

#[cfg(test)]
mod tests;
