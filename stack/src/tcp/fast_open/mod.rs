//! TCP Fast Open (RFC 7413): bytes in the SYN, for peers that have proved to be where they say they are.

mod client;
mod keys;
mod peers;
mod resets;
mod server;

pub(super) use client::{
    answered, ask, cookie_for_syn, data_for_syn, defers, is_allowed, is_deferred, open_deferred, put_data,
};
pub use keys::{Keys, set_keys};
pub use peers::Peers;
pub use resets::Resets;
pub(super) use server::{Verdict, check, confirmed, fit_queue, on_syn, recount, settle, syn_ack_due};

use super::connection::Connection;
use super::{Seq, State};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a connection has to do with Fast Open. A number that is none of these counts as `NONE`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Stage(u8);

impl Stage {
    pub(super) const NONE: Self = Self(0);
    /// TCP_FASTOPEN_CONNECT: the program has connected, and the SYN waits for its first bytes.
    pub(super) const DEFERRED: Self = Self(1);
    /// Our SYN asks for a cookie, or has one.
    pub(super) const ASKED: Self = Self(2);
    /// The peer's SYN was good for a connection, whose handshake is not finished; it waits to be accepted.
    pub(super) const QUEUED: Self = Self(3);
    /// The same once it is accepted. Its `listener` still counts it.
    pub(super) const HELD: Self = Self(4);
    /// The bytes of a SYN were taken, ours by the peer or the peer's by us.
    pub(super) const TAKEN: Self = Self(5);
    /// Our SYN had data with it. The frame still counts as never sent.
    pub(super) const SENT: Self = Self(6);
}

/// Bits of net.ipv4.tcp_fastopen.
const CLIENT: u32 = 1;
const SERVER: u32 = 2;
const CLIENT_WITHOUT_COOKIE: u32 = 4;
const SERVER_WITHOUT_COOKIE: u32 = 0x200;
const ALL_LISTENERS: u32 = 0x400;

impl Connection {
    /// It came of a SYN by Fast Open: a program may read and write before the handshake is done.
    pub(super) fn is_open_early(&self) -> bool {
        self.state == State::SYN_RECEIVED
            && (self.fast_open == Stage::QUEUED || self.fast_open == Stage::HELD)
    }

    /// Bytes of a SYN are part of its stream, ours or the peer's.
    pub(super) fn took_syn_data(&self) -> bool {
        matches!(self.fast_open, Stage::QUEUED | Stage::HELD | Stage::TAKEN)
    }

    /// It waits in the accept queue of its listener.
    pub(super) fn is_to_be_accepted(&self) -> bool {
        self.listener.is_some() && self.fast_open != Stage::HELD
    }

    /// SND.UNA is our SYN. A connection that is open early sends as if that were acknowledged.
    pub(super) fn syn_is_outstanding(&self) -> bool {
        self.state.is_opening() && !self.is_open_early()
    }

    /// Where the queue of frames begins.
    pub(super) fn first_byte(&self) -> Seq {
        if self.syn_is_outstanding() { self.send.una + 1 } else { self.send.una }
    }

    /// What a peer may acknowledge of our SYN at most.
    pub(super) fn syn_end(&self) -> Seq {
        if self.fast_open == Stage::SENT { self.send.end } else { self.send.next }
    }
}
