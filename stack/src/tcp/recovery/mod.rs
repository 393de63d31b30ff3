//! Finding out that segments were lost, and sending them again: RACK-TLP (RFC 8985) over a SACK scoreboard, or duplicate
//! ACKs where the peer has no SACK (RFC 6582), and what follows a timeout (RFC 6298, RFC 5682).
//!
//! An ACK goes through here in four steps: [`Progress`] collects what it says ([`take_blocks`] and what
//! [`acknowledged`] is told); [`on_ack`] judges the state from it; congestion control hears of it once; output sends
//! again what is lost, as the window allows ([`resend_lost`]).

mod check;
mod counting;
mod loss;
mod rack;
mod reduction;
mod resend;
mod sack;
mod scoreboard;
mod tail_probe;
mod timer;
mod undo;

pub(super) use check::{check, rebuild};
pub(super) use loss::after_output;
pub(super) use reduction::enter_cwr;
pub(super) use resend::{resend_lost, send_again_smaller};
pub(super) use sack::take as take_blocks;
pub(super) use scoreboard::{FIN, PUSH, after_split, sequence_len};
pub(super) use timer::{after_new_data, due, timed_out};

use super::connection::Marks;
use super::segment::Segment;
use super::turn::Turn;
use super::{Connection, Seq, congestion};
use crate::region::{FrameId, FrameMeta, List};
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

    pub(super) fn set(&mut self, fact: Self) {
        self.0 |= fact.0;
    }

    pub(super) fn clear(&mut self, fact: Self) {
        self.0 &= !fact.0;
    }

    pub(super) fn assign(&mut self, fact: Self, holds: bool) {
        if holds { self.set(fact) } else { self.clear(fact) }
    }

    pub(super) fn take(&mut self, fact: Self) -> bool {
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

/// What an ACK has told so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub una_before: Seq,
    /// Behind the last byte that the peer was known to have.
    pub highest_before: Seq,
    /// Bytes.
    pub flight_before: u32,
    pub acked: u32,
    pub delivered: u32,
    pub lost: u32,
    /// Frames that were acknowledged as a whole.
    pub segments: u32,
    /// The peer's echo of our timestamp.
    pub echo: Option<u32>,
    /// When the oldest and the newest were sent of those that were acknowledged and never sent again; 0 for none.
    pub oldest_sent_at: u64,
    pub newest_sent_at: u64,
    /// The same of those that SACK has named.
    pub oldest_sacked_at: u64,
    pub newest_sacked_at: u64,
    /// When the first of those that were sent more than once was last sent; 0 when there is none.
    pub resent_at: u64,
    /// The lowest place that arrived late without having been sent again.
    pub overtaken: Option<Seq>,
    /// SACK has named something new.
    pub sacked: bool,
    pub is_duplicate: bool,
    pub duplicate_reported: bool,
    pub probe_was_needless: bool,
    /// Something outstanding at the timeout has arrived that was never sent again.
    pub original_arrived: bool,
    pub repetition_lost: bool,
    /// RACK waits for what may still overtake.
    pub is_waiting: bool,
}

impl Progress {
    pub(super) fn begin(t: &Turn<'_>) -> Self {
        let (una_before, highest_before) = (t.c.send.una, t.c.recovery.highest);
        Self { una_before, highest_before, flight_before: t.c.in_flight(), ..Self::default() }
    }

    pub(super) fn of(t: &Turn<'_>, segment: &Segment) -> Self {
        let timestamps = segment.timestamps.filter(|_| t.c.marks.has(Marks::TIMESTAMPS));
        Self { echo: timestamps.map(|x| x.echo).filter(|&echo| echo != 0), ..Self::begin(t) }
    }

    /// A frame that was never sent again has arrived.
    fn note_original(&mut self, t: &Turn<'_>, meta: &FrameMeta) {
        let start = Seq(meta.seq);
        if start.is_before(self.highest_before) {
            self.overtaken = Some(self.overtaken.map_or(start, |lowest| lowest.earlier_of(start)));
        }
        self.original_arrived |= !scoreboard::end_of(meta).is_after(t.c.recovery.until);
    }
}

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

/// The first frame of the queue is acknowledged as a whole; the caller takes it out.
pub(super) fn acknowledged(t: &mut Turn<'_>, frame: FrameId, progress: &mut Progress) {
    let Some(meta) = t.frames.meta(frame).copied() else { return };
    note_acknowledged(t, &meta, progress);
    scoreboard::acknowledged(t, frame, progress);
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

/// An ACK was taken apart: judges what it says of losses, and tells congestion control. `una` is moved already.
pub(super) fn on_ack(t: &mut Turn<'_>, progress: &mut Progress, round_trip: Option<u64>) {
    if progress.acked > 0 {
        moved_on(t, progress);
    }
    if let Some(low) = progress.overtaken.filter(|_| scoreboard::is_selective(t)) {
        rack::note_reordering(t, low);
    }
    t.c.recovery.highest = t.c.recovery.highest.later_of(t.c.send.una);
    rack::adapt_window(t);
    tail_probe::on_ack(t, progress);
    if is_dubious(t, progress) {
        judge(t, progress);
    }
    if !progress.is_waiting && (progress.acked > 0 || timer::is_sacked_in_time(t, progress)) {
        timer::after_ack(t);
    }
    report(t, progress, round_trip);
}

fn moved_on(t: &mut Turn<'_>, progress: &mut Progress) {
    if !scoreboard::is_selective(t) {
        counting::remove(t, progress);
        // Which of them had arrived before, nobody can tell.
        progress.overtaken = None;
    }
    if progress.resent_at != 0 && !scoreboard::is_selective(t) {
        progress.original_arrived = false;
    }
}

fn is_dubious(t: &Turn<'_>, progress: &Progress) -> bool {
    t.c.recovery.phase != Phase::OPEN
        || progress.is_duplicate
        || progress.sacked
        || progress.duplicate_reported
        || t.c.recovery.waiting > 0
}

/// LINUX: tcp_fastretrans_alert(), whose states these are.
fn judge(t: &mut Turn<'_>, progress: &mut Progress) {
    if loss::suspects_reneging(t, progress) || leave(t, progress) {
        return;
    }
    match t.c.recovery.phase {
        Phase::RECOVERY => {
            if progress.acked == 0 && progress.is_duplicate && !scoreboard::is_selective(t) {
                counting::add(t, progress);
            }
            if progress.acked > 0 && undo::partial(t, progress) == Some(true) {
                return;
            }
            if undo::by_duplicates(t) {
                keep_open(t);
            }
        }
        Phase::LOSS => {
            loss::on_ack(t, progress);
            identify(t, progress);
            if t.c.recovery.phase != Phase::OPEN && !progress.repetition_lost {
                return;
            }
            return decide(t);
        }
        phase => {
            if !scoreboard::is_selective(t) && progress.is_duplicate {
                counting::add(t, progress);
            }
            if phase <= Phase::DISORDER {
                undo::by_duplicates(t);
            }
        }
    }
    identify(t, progress);
    if t.c.recovery.phase != Phase::RECOVERY {
        decide(t);
    }
}

/// What was outstanding when the phase began is acknowledged: the phase ends. True when nothing else is to be judged.
fn leave(t: &mut Turn<'_>, progress: &Progress) -> bool {
    if t.c.recovery.phase == Phase::OPEN {
        t.c.recovery.resent_stamp = 0;
        return false;
    }
    if t.c.send.una.is_before(t.c.recovery.until) {
        return false;
    }
    match t.c.recovery.phase {
        // Something beyond has to be acknowledged, for then the peer has seen CWR.
        Phase::CWR if t.c.send.una != t.c.recovery.until => {
            reduction::end(t);
            t.c.recovery.phase = Phase::OPEN;
        }
        Phase::RECOVERY => {
            if !scoreboard::is_selective(t) {
                counting::reset(t);
            }
            let ends_at_threshold = t.c.marks.has(Marks::MAY_UNDO);
            if undo::recovery(t, progress) {
                return true;
            }
            // An undo has set the window already.
            if ends_at_threshold && t.c.marks.has(Marks::MAY_UNDO) {
                reduction::end(t);
            }
        }
        _ => {}
    }
    false
}

/// Marks what is lost.
///
/// LINUX: since 6.17 bit 1 of net.ipv4.tcp_recovery switches nothing: with SACK it is always RACK that tells.
fn identify(t: &mut Turn<'_>, progress: &mut Progress) {
    if !scoreboard::is_selective(t) {
        counting::mark_lost(t, progress);
    } else {
        progress.is_waiting |= rack::mark_lost(t, progress);
    }
}

/// Something is lost, or not.
fn decide(t: &mut Turn<'_>) {
    if t.c.recovery.waiting > 0 {
        enter_recovery(t);
    } else if t.c.recovery.phase != Phase::CWR {
        keep_open(t);
    }
}

/// RFC 6675 5 step 4: fast recovery.
fn enter_recovery(t: &mut Turn<'_>) {
    let was_reducing = reduction::is_under_way(t);
    undo::begin(t);
    if !was_reducing {
        t.c.recovery.facts.clear(Facts::WINDOW_STAYS);
        reduction::begin(t);
    }
    t.c.recovery.until = t.c.send.next;
    t.c.recovery.phase = Phase::RECOVERY;
    t.counters.tcp_fast_recoveries += 1;
}

/// Nothing is being repaired; the state depends on whether anything is out of order.
pub(super) fn keep_open(t: &mut Turn<'_>) {
    let has_hole = t.c.recovery.sacked > 0 || t.c.recovery.waiting > 0 || undo::any_repetition(t);
    let phase = if has_hole { Phase::DISORDER } else { Phase::OPEN };
    if !undo::any_repetition(t) {
        t.c.recovery.resent_stamp = 0;
    }
    if t.c.recovery.phase != phase {
        t.c.recovery.phase = phase;
        t.c.recovery.until = t.c.send.next;
    }
}

/// The reordering timer has found losses.
fn lost_without_ack(t: &mut Turn<'_>, progress: &Progress) {
    if t.c.recovery.phase < Phase::RECOVERY {
        enter_recovery(t);
        let mss = u32::from(t.c.send.mss);
        reduction::on_ack(t, &Progress { delivered: mss, ..*progress });
    }
}

fn report(t: &mut Turn<'_>, progress: &Progress, round_trip: Option<u64>) {
    let is_reducing = reduction::is_under_way(t);
    if is_reducing {
        reduction::on_ack(t, progress);
    }
    // LINUX: tcp_may_raise_cwnd(): where packets overtake each other, what SACK tells is progress as well.
    let usual = t.head.sysctls.tcp_reordering;
    let is_progress = progress.acked > 0 || (u32::from(t.c.recovery.reordering) > usual && progress.sacked);
    let report = congestion::Report {
        delivered: progress.delivered,
        acked: progress.delivered,
        lost: progress.lost,
        flight: progress.flight_before,
        round_trip,
        is_open: !is_reducing && is_progress,
    };
    congestion::on_ack(t, &report);
}
