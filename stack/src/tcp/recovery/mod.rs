//! Finding out that segments were lost, and sending them again: RACK-TLP (RFC 8985) over a SACK scoreboard, or duplicate
//! ACKs where the peer has no SACK (RFC 6582), and what follows a timeout (RFC 6298, RFC 5682).
//!
//! An ACK goes through here in four steps: [`Progress`] collects what it says ([`take_blocks`] and what
//! [`acknowledged`] is told); [`on_ack`] judges the state from it; congestion control hears of it once; output sends
//! again what is lost, as the window allows ([`resend_lost`]).

mod check;
mod counting;
mod in_order;
mod loss;
mod progress;
mod rack;
mod reduction;
mod resend;
mod sack;
mod scoreboard;
mod states;
mod tail_probe;
mod timer;
mod undo;

pub(super) use check::{check, rebuild};
pub(super) use in_order::release_in_order;
pub(super) use loss::after_output;
pub(super) use progress::Progress;
pub(super) use reduction::enter_cwr;
pub(super) use resend::{repair_at_full_window, resend_lost, send_again_smaller};
pub(super) use sack::take as take_blocks;
pub(super) use scoreboard::{FIN, PUSH, after_split, sequence_len};
pub(super) use states::on_ack;
pub(super) use timer::{after_new_data, due, timed_out};

use super::connection::Marks;
use super::turn::Turn;
use super::{Connection, Seq};
use crate::region::{FrameId, FrameMeta, Frames, List};
use core::ops::BitOr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub(super) struct Recovery {
    pub phase: Phase,
    pub facts: Facts,
    /// RFC 8985 "RACK.reo_wnd_mult" and "RACK.reo_wnd_persist".
    pub reordering_steps: u8,
    pub persistence: u8,
    /// What was outstanding when the phase began ends here.
    pub until: Seq,
    /// SND.UNA when the reduction began that may be undone, and how many repetitions the peer has not reported as
    /// duplicates since.
    pub undo_from: Seq,
    pub undo_count: u16,
    /// Segments by which packets overtake each other on this path, as far as is known.
    pub reordering: u16,
    /// Our timestamp at the first repetition of what is being repaired; 0 for none.
    pub resent_stamp: u32,
    /// Frames in the network, by the time of their last transmission.
    pub order: List,
    /// Frames that the peer has beyond a hole; without SACK, duplicate ACKs.
    pub sacked: u32,
    /// Frames that are lost and were not sent again yet.
    pub waiting: u32,
    /// Frames of which a repetition is on its way.
    pub resent: u32,
    /// Bytes in `order`.
    pub pipe: u32,
    /// RFC 6937 "prr_delivered" and "prr_out", in bytes.
    pub reduction_delivered: u32,
    pub reduction_sent: u32,
    /// RFC 8985 "RACK.xmit_ts", "RACK.end_seq" and "RACK.rtt" (in microseconds): of the segment that was sent last
    /// among those that have arrived.
    pub newest_sent_at: u64,
    pub newest_end: Seq,
    pub round_trip: u32,
    /// RFC 8985 "RACK.dsack_round".
    pub duplicate_round: Seq,
    /// RFC 8985 "TLP.end_seq".
    pub probe_end: Seq,
    /// Behind the last byte that the peer is known to have.
    pub highest: Seq,
    /// No frame before this one waits to be sent again.
    pub resend: FrameId,
    /// The frame that SACK touched last, where the next search begins.
    pub cursor: FrameId,
    /// Fingerprints of the blocks of the last ACK that had any.
    pub seen: [u16; 4],
    /// Segments sent again, over the whole life, and those that the peer reported as duplicates.
    pub total: u32,
    pub duplicates: u32,
    /// How often packets have overtaken each other.
    pub reorderings: u32,
}

/// Where loss recovery stands, in the numbers of TCP_INFO.
#[derive(
    FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq, PartialOrd,
)]
#[repr(transparent)]
pub(super) struct Phase(pub u8);

impl Phase {
    pub(super) const OPEN: Self = Self(0);
    /// Something arrived beyond a hole, which may yet be filled.
    pub(super) const DISORDER: Self = Self(1);
    /// The window is being reduced, though nothing is lost.
    pub(super) const CWR: Self = Self(2);
    /// Fast recovery.
    pub(super) const RECOVERY: Self = Self(3);
    /// After a retransmission timeout.
    pub(super) const LOSS: Self = Self(4);
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Facts(u8);

impl Facts {
    /// Something newer has arrived since RACK looked last.
    pub(super) const ADVANCED: Self = Self(1);
    /// A D-SACK has not widened the reordering window yet.
    pub(super) const DUPLICATE_PENDING: Self = Self(1 << 1);
    pub(super) const REORDERING_SEEN: Self = Self(1 << 2);
    /// F-RTO watches what comes after a timeout.
    pub(super) const FRTO: Self = Self(1 << 3);
    /// New segments go before lost ones, for F-RTO to learn from.
    pub(super) const NEW_FIRST: Self = Self(1 << 4);
    /// The tail loss probe that is out repeats what was sent.
    pub(super) const PROBE_REPEATS: Self = Self(1 << 5);
    /// The reduction stands, whatever comes out: the network itself has said that it is congested.
    pub(super) const WINDOW_STAYS: Self = Self(1 << 6);

    pub(super) const fn has(self, fact: Self) -> bool {
        self.0 & fact.0 != 0
    }

    fn set(&mut self, fact: Self) {
        self.0 |= fact.0;
    }

    fn clear(&mut self, fact: Self) {
        self.0 &= !fact.0;
    }

    fn assign(&mut self, fact: Self, holds: bool) {
        if holds { self.set(fact) } else { self.clear(fact) }
    }

    fn take(&mut self, fact: Self) -> bool {
        let had = self.has(fact);
        self.clear(fact);
        had
    }
}

impl BitOr for Facts {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// `undo_count` before the first repetition.
const UNDO_NOT_COUNTED: u16 = u16::MAX;

impl Connection {
    /// What the peer may have in the network: sent, not known to have arrived, not given up for lost.
    pub(super) fn in_flight(&self) -> u32 {
        let r = &self.recovery;
        if self.state.is_opening() {
            return self.send.next.since(self.send.una);
        }
        if self.marks.has(Marks::SACK) {
            return r.pipe;
        }
        r.pipe.saturating_sub(r.sacked.saturating_mul(u32::from(self.send.mss)))
    }
}

/// The handshake is done.
pub(super) fn start(t: &mut Turn<'_>) {
    let reordering = t.head.sysctls.tcp_reordering.clamp(1, u32::from(u16::MAX)) as u16;
    let una = t.c.send.una;
    let r = &mut t.c.recovery;
    let total = r.total;
    *r = Recovery { until: una, undo_from: una, highest: una, ..zerocopy::FromZeros::new_zeroed() };
    (r.newest_end, r.duplicate_round, r.probe_end) = (una, una, una);
    (r.reordering_steps, r.reordering, r.total) = (1, reordering, total);
}

/// A frame of the queue was sent.
pub(super) fn on_sent(t: &mut Turn<'_>, frame: FrameId) {
    scoreboard::sent(t, frame);
    if reduction::is_under_way(t) {
        let len = t.frames.meta(frame).map_or(0, sequence_len);
        t.c.recovery.reduction_sent = t.c.recovery.reduction_sent.saturating_add(len);
    }
}

/// As [`on_sent`], of a frame that was never sent before, while nothing is being repaired. Its place in the order of
/// sending is in its metadata already.
#[inline]
pub(super) fn first_sent(c: &mut Connection, frames: &mut Frames, frame: FrameId, len: u32) {
    c.recovery.pipe = c.recovery.pipe.saturating_add(len);
    c.recovery.order.join(&mut scoreboard::Order(frames), frame.0);
}

/// The first frame of the queue is acknowledged as a whole; the caller takes it out.
pub(super) fn acknowledged(t: &mut Turn<'_>, frame: FrameId, progress: &mut Progress) {
    let Some(meta) = t.frames.meta(frame).copied() else { return };
    note_acknowledged(t, &meta, progress);
    scoreboard::acknowledged(t, frame, &meta, progress);
}

/// Of the first frame of the queue, so many bytes are acknowledged.
pub(super) fn acknowledged_in_part(t: &mut Turn<'_>, frame: FrameId, bytes: u32, progress: &mut Progress) {
    let Some(meta) = t.frames.meta(frame).copied() else { return };
    note_acknowledged(t, &meta, progress);
    scoreboard::cut(t, frame, bytes, progress);
}

fn note_acknowledged(t: &mut Turn<'_>, meta: &FrameMeta, progress: &mut Progress) {
    let was_sacked = meta.flags & scoreboard::SACKED != 0;
    if meta.transmissions > 1 {
        if progress.resent_at == 0 {
            progress.resent_at = meta.sent_at;
        }
    } else if !was_sacked {
        progress.newest_sent_at = meta.sent_at;
        if progress.oldest_sent_at == 0 {
            progress.oldest_sent_at = meta.sent_at;
        }
        progress.note_original(t, meta);
    }
    if !was_sacked && scoreboard::is_selective(t) {
        rack::advance(t, meta, progress);
    }
}
