//! The BSD socket layer: what the calls mean.

#![forbid(unsafe_code)]

mod buffers;
mod calls;
mod references;

pub use buffers::{Sink, Source};
pub use calls::{
    Endpoint, How, Placement, Reason, Reuse, accept, configure, connect, connect_outcome, connect_with_data,
    is_port_in_use, listen, local_endpoint, remote_endpoint, shutdown, take_error,
};
pub use references::{Reference, adopt, by_inode, drop_process, hold, is_held_by_one, let_go};

use crate::region::{Handle, List, Slab};
use crate::shard::Shard;
use crate::tcp::{Connection, Listener};
use crate::wait::Epoll;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A socket of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketRef {
    Connection(Handle<Connection>),
    Listener(Handle<Listener>),
    /// An epoll instance: no socket, but held by processes and watched as one.
    Epoll(Handle<Epoll>),
}

/// A [`SocketRef`] as it is kept in the region: any bits are a value, most name nothing.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct RawSocketRef {
    pub kind: u32,
    pub handle: u32,
}

impl From<SocketRef> for RawSocketRef {
    fn from(socket: SocketRef) -> Self {
        match socket {
            SocketRef::Connection(h) => Self { kind: 1, handle: h.raw() },
            SocketRef::Listener(h) => Self { kind: 2, handle: h.raw() },
            SocketRef::Epoll(h) => Self { kind: 3, handle: h.raw() },
        }
    }
}

impl RawSocketRef {
    pub fn decode(self) -> Option<SocketRef> {
        match self.kind {
            1 => Some(SocketRef::Connection(Handle::from_raw(self.handle))),
            2 => Some(SocketRef::Listener(Handle::from_raw(self.handle))),
            3 => Some(SocketRef::Epoll(Handle::from_raw(self.handle))),
            _ => None,
        }
    }
}

/// What connections and listeners have in common towards programs.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug)]
#[repr(C)]
pub struct Socket {
    /// Who wants to know of events: watch nodes.
    pub watches: List,
    /// Which processes hold it.
    pub references: List,
    /// Inode of the shadow.
    pub inode: u64,
    /// SO_RCVTIMEO and SO_SNDTIMEO in nanoseconds; 0 for none.
    pub receive_timeout: u64,
    pub send_timeout: u64,
    /// Pending error (SO_ERROR), an errno.
    pub error: u32,
    /// 1 for O_NONBLOCK, which belongs to the open file and so to all that share it.
    pub nonblocking: u8,
    /// 1 from a connect() that answered EINPROGRESS (or was interrupted) until one has told how it ended.
    pub connecting: u8,
    pub pad: [u8; 2],
}

impl Shard {
    /// The common part of a socket.
    pub fn socket(&self, socket: SocketRef) -> Option<&Socket> {
        match socket {
            SocketRef::Connection(h) => self.connections.get(h).map(|c| &c.socket),
            SocketRef::Listener(h) => self.listeners.get(h).map(|l| &l.socket),
            SocketRef::Epoll(h) => self.epolls.get(h).map(|e| &e.socket),
        }
    }

    pub fn socket_mut(&mut self, socket: SocketRef) -> Option<&mut Socket> {
        self.socket_and_references(socket).map(|(socket, _)| socket)
    }

    /// The same, with those who hold sockets.
    #[inline]
    fn socket_and_references(&mut self, socket: SocketRef) -> Option<(&mut Socket, &mut Slab<Reference>)> {
        let socket = match socket {
            SocketRef::Connection(h) => self.connections.get_mut(h).map(|c| &mut c.socket),
            SocketRef::Listener(h) => self.listeners.get_mut(h).map(|l| &mut l.socket),
            SocketRef::Epoll(h) => self.epolls.get_mut(h).map(|e| &mut e.socket),
        };
        Some((socket?, &mut self.references))
    }
}

/// The EPOLL bits that hold for `socket` now.
pub fn readiness(s: &Shard, socket: SocketRef) -> u32 {
    match socket {
        SocketRef::Connection(h) => crate::tcp::readiness(s, h),
        SocketRef::Listener(h) => crate::tcp::listener_readiness(s, h),
        SocketRef::Epoll(h) => crate::wait::readiness(s, h),
    }
}

/// References and sockets agree with each other.
pub fn check(s: &mut Shard) -> Result<(), &'static str> {
    references::check(s)
}

/// Rebuilds the lists of references after a death.
pub fn recover(s: &mut Shard) {
    references::recover(s);
}
