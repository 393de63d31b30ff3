//! Who waits for what: watch nodes on sockets, epoll instances, wakers.

use crate::region::{Handle, Link, List};
use crate::shard::Shard;
use crate::socket::{RawSocketRef, SocketRef};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A waker slot of the region: a thread's bell. 0xffff is none.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct WakerId(pub u16);

impl WakerId {
    pub const NONE: Self = Self(u16::MAX);
}

/// One interest in one socket.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Watch {
    /// Place among the watches of the socket.
    pub on_socket: Link,
    /// Place among the watches of the epoll instance.
    pub on_epoll: Link,
    /// Place in the ready list of the epoll instance.
    pub ready: Link,
    pub socket: RawSocketRef,
    pub epoll: Handle<Epoll>,
    pub events: u32,
    pub data: u64,
    pub descriptor: i32,
    pub waker: WakerId,
    pub flags: u16,
}

/// An epoll instance's part in this shard.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Epoll {
    pub watches: List,
    pub ready: List,
    /// Threads that sleep in epoll_wait on it: watch nodes without a socket.
    pub sleepers: List,
}

/// `events` (EPOLL bits) have come true for `socket`.
pub fn notify(_s: &mut Shard, _socket: SocketRef, _events: u32) {}

/// Invariants of watches, ready lists and instances.
pub fn check(_s: &mut Shard) -> Result<(), &'static str> {
    Ok(())
}

/// After a death: lists anew from the slabs, and everybody who sleeps is woken to look for himself.
pub fn recover(_s: &mut Shard) {}
