//! What a connection consists of.

use super::congestion::Congestion;
use super::delayed_ack::Acking;
use super::fast_open::Stage;
use super::info::Tally;
use super::path_mtu::Probing;
use super::rate::Delivery;
use super::recovery::Recovery;
use super::rtt::RoundTrip;
use super::tuning::Tuning;
use super::urgent::Urgent;
use super::{Listener, Seq, Settings, State};
use crate::ip::net::Path;
use crate::region::{FrameId, Handle, Link, List};
use crate::shard::EntryHead;
use crate::socket::Socket;
use core::ops::BitOr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A connection with a socket, or on its way to one.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Connection {
    pub head: EntryHead,
    pub state: State,
    pub(super) fast_open: Stage,
    /// EPOLL bits that came true and that nobody has been told of yet.
    pub(super) news: u16,
    pub(super) timers: Timers,
    pub(super) marks: Marks,
    /// Added to the millisecond clock in the timestamps that we send.
    pub(super) timestamp_offset: u32,
    pub(super) send: Sending,
    pub(super) receive: Receiving,
    pub(super) urgent: Urgent,
    pub(super) rtt: RoundTrip,
    pub(super) congestion: Congestion,
    pub(super) recovery: Recovery,
    pub(super) delivery: Delivery,
    pub(super) acking: Acking,
    pub(super) tuning: Tuning,
    pub(super) probing: Probing,
    pub(super) tally: Tally,
    pub path: Path,
    /// Place in the accept queue of `listener`.
    pub accept_link: Link,
    pub listener: Handle<Listener>,
    pub settings: Settings,
    pub socket: Socket,
}

/// Our half: RFC 9293 3.3.1, "send sequence variables".
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub(super) struct Sending {
    /// SND.UNA.
    pub una: Seq,
    /// SND.NXT. It never goes back: what is sent again lies before it.
    pub next: Seq,
    /// Behind the last byte that the program has written; the FIN, when there is one, is this place.
    pub end: Seq,
    /// SND.WND, scaled up.
    pub window: u32,
    pub largest_window: u32,
    /// SND.WL1.
    pub window_seq: Seq,
    /// Behind the last segment that we sent less than full (Minshall's refinement of Nagle).
    pub small: Seq,
    /// Frames from the one that holds `una` on.
    pub queue: List,
    /// The first of them that was never sent.
    pub fresh: FrameId,
    /// Payload bytes of a full segment: options are taken off already.
    pub mss: u16,
    /// What the peer's SYN said.
    pub peer_mss: u16,
    /// Shift of the windows that the peer announces.
    pub scale: u8,
    /// Unanswered probes of a closed window or of keep-alive.
    pub probes: u8,
    /// Times that output has waited for the neighbour in a row.
    pub path_waits: u8,
    /// Timeouts in a row, without anything new acknowledged in between; before that, SYNs sent again.
    pub retries: u8,
}

/// The peer's half: "receive sequence variables".
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub(super) struct Receiving {
    /// RCV.NXT.
    pub next: Seq,
    /// RCV.NXT + RCV.WND as announced: the right edge, which never moves left.
    pub edge: Seq,
    /// The acknowledgement number that we sent last.
    pub acked: Seq,
    /// Bytes in `queue`.
    pub unread: u32,
    /// Frames with bytes that the program has not read.
    pub queue: List,
    /// Frames beyond a hole, in order, without overlap.
    pub beyond: List,
    /// TS.Recent, and when it was written, in milliseconds.
    pub ts_recent: u32,
    pub ts_recent_at: u32,
    /// Runs of frames beyond holes, by their first frames; the one that grew last in front.
    pub runs: List,
    /// What came twice, and is told of once; only with [`Marks::DUPLICATE`].
    pub duplicate_start: Seq,
    pub duplicate_end: Seq,
    /// What the peer's full segments carry.
    pub mss: u16,
    /// Shift of the windows that we announce.
    pub scale: u8,
    pub pad: u8,
}

/// Deadlines in nanoseconds; 0 for none. The entry's one timer is armed for the earliest.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub(super) struct Timers {
    /// Retransmission, or the next probe of a closed window.
    pub resend: u64,
    /// A delayed ACK.
    pub ack: u64,
    /// Output that waits: for a neighbour, or corked for too long.
    pub push: u64,
    /// Keep-alive while the connection lives; the end of an orphan's FIN_WAIT_2.
    pub idle: u64,
    /// What the entry's timer is armed for.
    pub armed: u64,
    /// When the oldest outstanding byte was first sent again, or a closed window first probed, or the first SYN sent;
    /// 0 when nothing was.
    pub resending_since: u64,
    /// The last segment that was acceptable and whose acknowledgement was not an old one.
    pub last_received: u64,
    pub last_sent: u64,
    /// The last challenge ACK, and the last payload of the peer: in milliseconds.
    pub challenged: u32,
    pub data_at: u32,
}

/// What is true or false of a connection.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Marks(u32);

impl Marks {
    /// No program holds it any more.
    pub(super) const ORPHAN: Self = Self(1);
    /// The program will write no more: a FIN follows the queue.
    pub(super) const FIN_QUEUED: Self = Self(1 << 1);
    /// The program will read no more.
    pub(super) const READ_SHUT: Self = Self(1 << 2);
    /// The peer's FIN is behind us.
    pub(super) const FIN_RECEIVED: Self = Self(1 << 3);
    /// On the list of those that the burst touched.
    pub(super) const TOUCHED: Self = Self(1 << 4);
    /// An ACK goes out at the end of the burst, whatever happens.
    pub(super) const ACK_NOW: Self = Self(1 << 5);
    /// The last write had MSG_MORE.
    pub(super) const MORE: Self = Self(1 << 6);
    /// Timestamps were negotiated.
    pub(super) const TIMESTAMPS: Self = Self(1 << 7);
    /// The last output stopped at the congestion window.
    pub(super) const CWND_LIMITED: Self = Self(1 << 8);
    /// A small segment came that is not acknowledged yet; and another one.
    pub(super) const PUSHED: Self = Self(1 << 9);
    pub(super) const PUSHED_AGAIN: Self = Self(1 << 24);
    /// In the connection table.
    pub(super) const IN_TABLE: Self = Self(1 << 10);
    /// Both sides scale their windows.
    pub(super) const SCALED: Self = Self(1 << 11);
    /// `timers.resend` waits to probe a window.
    pub(super) const PROBING: Self = Self(1 << 12);
    /// A connection that the peer opened.
    pub(super) const PASSIVE: Self = Self(1 << 13);
    /// A writer waits for frames of the region.
    pub(super) const STARVED: Self = Self(1 << 14);
    /// Both sides speak selective acknowledgements.
    pub(super) const SACK: Self = Self(1 << 15);
    /// Both sides speak ECN.
    pub(super) const ECN: Self = Self(1 << 16);
    /// `timers.resend` waits to send a tail loss probe.
    pub(super) const TAIL_PROBE: Self = Self(1 << 17);
    /// `timers.resend` waits for packets that others may have overtaken.
    pub(super) const REORDERING: Self = Self(1 << 18);
    /// A tail loss probe is out.
    pub(super) const PROBE_OUT: Self = Self(1 << 19);
    /// The last reduction of the window may turn out to have been needless.
    pub(super) const MAY_UNDO: Self = Self(1 << 20);
    /// Output waits until the schedule of pacing lets it go on.
    pub(super) const PACED: Self = Self(1 << 29);
    /// What comes from the peer meets congestion: it is told so until it has reduced its window.
    pub(super) const ECHO: Self = Self(1 << 22);
    /// Our window was reduced: the next new data says so.
    pub(super) const REDUCED: Self = Self(1 << 23);
    /// The next acknowledgement tells of what came twice.
    pub(super) const DUPLICATE: Self = Self(1 << 21);

    /// In FIN_WAIT_2 without a program: a small entry is to take its place.
    pub(super) const SHRINKS: Self = Self(1 << 27);

    pub(super) const fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    pub(super) fn set(&mut self, mark: Self) {
        self.0 |= mark.0;
    }

    pub(super) fn clear(&mut self, mark: Self) {
        self.0 &= !mark.0;
    }

    /// Sets the mark and tells whether it was set before.
    pub(super) fn put(&mut self, mark: Self) -> bool {
        let had = self.has(mark);
        self.set(mark);
        had
    }

    /// Clears the mark and tells whether it was set.
    pub(super) fn take(&mut self, mark: Self) -> bool {
        let had = self.has(mark);
        self.clear(mark);
        had
    }
}

impl BitOr for Marks {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Connection {
    /// Bytes that the peer has not acknowledged, those never sent included.
    pub(super) fn queued(&self) -> u32 {
        self.send.end.since(self.send.una.earlier_of(self.send.end))
    }

    pub(super) fn fin_is_sent(&self) -> bool {
        self.send.next.is_after(self.send.end)
    }

    /// Bytes that the peer may still send.
    pub(super) fn receive_window(&self) -> u32 {
        self.receive.edge.since(self.receive.next)
    }

    pub(super) fn has_outstanding(&self) -> bool {
        self.send.una != self.send.next
    }
}
