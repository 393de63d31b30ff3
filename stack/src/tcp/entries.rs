//! The three kinds of entry of the connection table, and listeners.

use super::Settings;
use crate::ip::net::{Addr, Path};
use crate::region::{Handle, Link, List};
use crate::shard::EntryHead;
use crate::socket::Socket;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The 4-tuple that names a connection; ports in host order.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Tuple {
    pub local: Addr,
    pub remote: Addr,
    pub local_port: u16,
    pub remote_port: u16,
}

/// A state of RFC 9293, numbered as Linux does.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct State(pub u8);

impl State {
    pub const ESTABLISHED: Self = Self(1);
    pub const SYN_SENT: Self = Self(2);
    pub const SYN_RECEIVED: Self = Self(3);
    pub const FIN_WAIT_1: Self = Self(4);
    pub const FIN_WAIT_2: Self = Self(5);
    pub const TIME_WAIT: Self = Self(6);
    pub const CLOSED: Self = Self(7);
    pub const CLOSE_WAIT: Self = Self(8);
    pub const LAST_ACK: Self = Self(9);
    pub const LISTEN: Self = Self(10);
    pub const CLOSING: Self = Self(11);
}

/// A half-open connection: what a SYN costs us.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Request {
    pub head: EntryHead,
}

/// A connection with a socket, or on its way to one.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Connection {
    pub head: EntryHead,
    pub state: State,
    pub pad: [u8; 3],
    /// Place in the accept queue of `listener`.
    pub accept_link: Link,
    pub listener: Handle<Listener>,
    pub path: Path,
    pub settings: Settings,
    pub socket: Socket,
}

/// What remains of a connection for the time of TIME_WAIT.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct TimeWait {
    pub head: EntryHead,
}

/// A socket that listens.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Listener {
    pub socket: Socket,
    pub settings: Settings,
    pub addr: Addr,
    /// Next listener in the same bucket: a slot index.
    pub chain: u32,
    pub port: u16,
    pub pad: [u8; 2],
    pub backlog: u32,
    /// Half-open connections to this listener.
    pub half_open: u32,
    /// Established connections that nobody has accepted yet.
    pub accept_queue: List,
}
