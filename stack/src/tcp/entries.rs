//! The small entries of the connection table, and listeners.

use super::{Seq, Settings, State};
use crate::ip::net::Addr;
use crate::region::{Handle, List};
use crate::shard::EntryHead;
use crate::socket::Socket;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The 4-tuple that names a connection; ports in host order.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, Eq)]
#[repr(C)]
pub struct Tuple {
    pub local: Addr,
    pub remote: Addr,
    pub local_port: u16,
    pub remote_port: u16,
}

impl Tuple {
    /// As two numbers, the second of less than eight bytes.
    #[inline]
    pub(crate) fn words(&self) -> [u64; 2] {
        let addresses = u64::from(self.remote.0) << 32 | u64::from(self.local.0);
        [addresses, u64::from(self.remote_port) << 16 | u64::from(self.local_port)]
    }
}

impl PartialEq for Tuple {
    /// In two comparisons, not field by field.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let ([addresses, ports], [others_addresses, others_ports]) = (self.words(), other.words());
        (addresses ^ others_addresses) | (ports ^ others_ports) == 0
    }
}

/// A half-open connection: what a SYN costs us.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Request {
    pub head: EntryHead,
    pub(super) listener: Handle<Listener>,
    /// Our initial sequence number, and the peer's.
    pub(super) iss: Seq,
    pub(super) irs: Seq,
    pub(super) ts_recent: u32,
    /// When the SYN came, and when the SYN+ACK is due again, in milliseconds.
    pub(super) since: u32,
    pub(super) due: u32,
    /// The last answer to a segment that was not the expected ACK, in milliseconds.
    pub(super) answered: u32,
    pub(super) peer_mss: u16,
    /// Shift of the peer's windows; 255 when it does not scale.
    pub(super) scale: u8,
    /// Times that the SYN+ACK was sent again.
    pub(super) resent: u8,
    /// What both sides speak.
    pub(super) speaks: Speaks,
    /// Times in a row that the SYN+ACK could not be sent.
    pub(super) path_waits: u8,
    /// Times that nobody answered until the timer fired; 0 makes it young.
    pub(super) timeouts: u8,
    pub(super) pad: u8,
}

/// What was agreed on in the handshake of a half-open connection.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Speaks(u8);

impl Speaks {
    pub(super) const TIMESTAMPS: Self = Self(1);
    pub(super) const SACK: Self = Self(2);
    pub(super) const ECN: Self = Self(4);
    /// The final ACK has come, and was put off.
    pub(super) const ANSWERED: Self = Self(8);
    /// A connection has its place in the table: what remains is for the case that its making is cut short by a death.
    pub(super) const SUCCEEDED: Self = Self(16);

    pub(super) const fn has(self, what: Self) -> bool {
        self.0 & what.0 != 0
    }

    /// With `what`, if `agreed`.
    pub(super) fn with(self, what: Self, agreed: bool) -> Self {
        if agreed { Self(self.0 | what.0) } else { Self(self.0 & !what.0) }
    }
}

/// What remains of a connection for the time of TIME_WAIT.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct TimeWait {
    pub head: EntryHead,
    pub(super) send_next: Seq,
    pub(super) receive_next: Seq,
    pub(super) ts_recent: u32,
    pub(super) timestamp_offset: u32,
    /// When it ends, in milliseconds.
    pub(super) until: u32,
    /// The last answer to a late segment, in milliseconds.
    pub(super) answered: u32,
    /// As the last segment announced it.
    pub(super) window: u16,
    pub(super) timestamps: u8,
    /// TIME_WAIT, or FIN_WAIT_2 of a connection that its program has closed.
    pub(super) state: State,
    /// Behind the last byte that the peer was allowed to send.
    pub(super) edge: Seq,
    /// When the entry was made, in milliseconds.
    pub(super) since: u32,
}

impl TimeWait {
    /// The peer has not closed its half yet.
    pub fn is_half_closed(&self) -> bool {
        self.state == State::FIN_WAIT_2
    }
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
    /// Half-open connections to this listener, and those of them whose SYN+ACK may still be answered in time.
    pub half_open: u32,
    pub young: u32,
    /// Connections that are open before their handshake is done (RFC 7413).
    pub early: u32,
    pub pad_to_word: u32,
    /// When a SYN cookie was last sent, in milliseconds; 0 for never.
    pub flooded_at: u32,
    /// Those that were early and were reset.
    pub early_resets: super::fast_open::Resets,
    pub fast_open_keys: super::fast_open::Keys,
    /// Established connections that nobody has accepted yet.
    pub accept_queue: List,
}

const _: () = assert!(size_of::<Request>() <= 64);
const _: () = assert!(size_of::<TimeWait>() <= 64);
const _: () = assert!(size_of::<super::Connection>() <= 896);
