//! Finding out that segments were lost, and sending them again: fast retransmit with NewReno (RFC 6582), and what
//! follows a timeout (RFC 5681, RFC 6298).

use super::connection::Marks;
use super::turn::Turn;
use super::{Seq, congestion, send_queue};
use crate::region::FrameId;
use crate::wire::Flags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub(super) struct Recovery {
    pub phase: Phase,
    /// Duplicate ACKs in a row.
    pub duplicates: u8,
    pub pad: [u8; 2],
    /// RFC 6582 "recover": recovery ends when this is acknowledged.
    pub until: Seq,
    /// In `LOSS`: everything from here to `until` counts as lost and is yet to be sent again.
    pub resend: Seq,
    /// The frame that starts at `resend`.
    pub frame: FrameId,
    /// Segments sent again, over the whole life.
    pub total: u32,
    pub pad_to_word: u32,
}

/// Where loss recovery stands.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Phase(pub u8);

impl Phase {
    pub(super) const OPEN: Self = Self(0);
    /// Fast recovery.
    pub(super) const RECOVERY: Self = Self(1);
    /// After a retransmission timeout.
    pub(super) const LOSS: Self = Self(2);
}

/// RFC 5681 3.2.
const DUPLICATE_THRESHOLD: u8 = 3;
/// When a frame that is to be sent again is still with the card.
const CARD_WAIT: u64 = 1_000_000;

/// The peer acknowledged the same place once more.
pub(super) fn duplicate_ack(t: &mut Turn<'_>) {
    let mss = u32::from(t.c.send.mss);
    let r = &mut t.c.recovery;
    r.duplicates = r.duplicates.saturating_add(1);
    match r.phase {
        Phase::RECOVERY if !congestion::has_own_control(&t.c.congestion) => {
            // RFC 6582 3.2 step 3: each duplicate means that a segment has left the network.
            t.c.congestion.window = t.c.congestion.window.saturating_add(mss);
        }
        Phase::OPEN if r.duplicates == DUPLICATE_THRESHOLD => enter_recovery(t),
        _ => {}
    }
}

/// RFC 6582 3.2 step 2: fast retransmit.
fn enter_recovery(t: &mut Turn<'_>) {
    // RFC 6582 3.2 step 2: these may be answers to what the last recovery sent again needlessly.
    if !t.c.send.una.is_after(t.c.recovery.until) {
        return;
    }
    let mss = u32::from(t.c.send.mss);
    congestion::on_loss(t);
    if !congestion::has_own_control(&t.c.congestion) {
        t.c.congestion.window = t.c.congestion.threshold + u32::from(DUPLICATE_THRESHOLD) * mss;
    }
    t.c.recovery.phase = Phase::RECOVERY;
    t.c.recovery.until = t.c.send.next;
    t.counters.tcp_fast_retransmissions += 1;
    resend_first(t);
}

/// New data is acknowledged; `send.una` is moved already.
pub(super) fn on_ack(t: &mut Turn<'_>, acked: u32) {
    let mss = u32::from(t.c.send.mss);
    let una = t.c.send.una;
    t.c.recovery.duplicates = 0;
    t.c.recovery.resend = t.c.recovery.resend.later_of(una);
    let is_full = !una.is_before(t.c.recovery.until);
    if congestion::has_own_control(&t.c.congestion) {
        return on_ack_under_own_control(t, acked, is_full);
    }
    match t.c.recovery.phase {
        Phase::RECOVERY if is_full => {
            // RFC 6582 3.2 step 4, option 1: no burst after recovery.
            let flight = t.c.in_flight().max(mss);
            t.c.congestion.window = t.c.congestion.threshold.min(flight.saturating_add(mss));
            t.c.recovery.phase = Phase::OPEN;
        }
        Phase::RECOVERY => {
            // "Partial acknowledgements": the next hole starts here.
            let window = t.c.congestion.window.saturating_sub(acked);
            t.c.congestion.window = (if acked >= mss { window + mss } else { window }).max(mss);
            resend_first(t);
        }
        Phase::LOSS => {
            t.c.marks.set(Marks::CWND_LIMITED);
            congestion::on_ack(t, &report(acked));
            if is_full {
                t.c.recovery.phase = Phase::OPEN;
                t.c.recovery.frame = FrameId::NONE;
            }
        }
        _ => {
            t.c.recovery.until = una - 1;
            congestion::on_ack(t, &report(acked));
        }
    }
}

/// The algorithm sets the window; what is left is to send again what is missing.
fn on_ack_under_own_control(t: &mut Turn<'_>, acked: u32, is_full: bool) {
    let phase = t.c.recovery.phase;
    if is_full {
        t.c.recovery.phase = Phase::OPEN;
        t.c.recovery.frame = FrameId::NONE;
    }
    let is_open = t.c.recovery.phase == Phase::OPEN;
    congestion::on_ack(t, &congestion::Report { is_open, ..report(acked) });
    if phase == Phase::RECOVERY && !is_full {
        resend_first(t);
    }
    if phase == Phase::OPEN {
        t.c.recovery.until = t.c.send.una - 1;
    }
}

fn report(acked: u32) -> congestion::Report {
    congestion::Report { delivered: acked, acked, is_open: true, ..Default::default() }
}

/// A timeout: everything outstanding counts as lost, and is sent again as the window opens.
pub(super) fn enter_loss(t: &mut Turn<'_>) {
    let mss = u32::from(t.c.send.mss);
    // RFC 5681 3.1: the threshold is not lowered again for the same data.
    let is_first = t.c.recovery.phase != Phase::LOSS || t.c.send.una.is_after(t.c.recovery.until);
    congestion::on_timeout(t, is_first);
    t.c.congestion.window = mss;
    t.c.recovery.phase = Phase::LOSS;
    t.c.recovery.duplicates = 0;
    t.c.recovery.until = t.c.send.next;
    t.c.recovery.resend = t.c.send.una;
    t.c.recovery.frame = FrameId(t.c.send.queue.first);
}

/// The path takes smaller packets than we sent: all that is outstanding goes again, in smaller segments. Nothing says
/// that the network is congested, so the window stays.
///
/// LINUX: tcp_simple_retransmit().
pub(super) fn send_again_smaller(t: &mut Turn<'_>) {
    if t.c.has_outstanding() && t.c.recovery.phase == Phase::OPEN {
        t.c.recovery.phase = Phase::LOSS;
        t.c.recovery.until = t.c.send.next;
        t.c.recovery.resend = t.c.send.una;
        t.c.recovery.frame = FrameId(t.c.send.queue.first);
    }
}

/// Sends again, as far as the congestion window allows, what a timeout has declared lost.
pub(super) fn resend_lost(t: &mut Turn<'_>) {
    while t.c.recovery.phase == Phase::LOSS && t.c.recovery.resend.is_before(t.c.recovery.until) {
        let flight = t.c.in_flight();
        let frame = t.c.recovery.frame;
        let len = t.frames.meta(frame).map_or(0, |m| u32::from(m.payload_len));
        if flight > 0 && flight + len > t.c.congestion.window {
            return;
        }
        if !resend(t, frame) {
            return;
        }
        let (next, end) = match t.frames.meta(frame) {
            Some(meta) => (FrameId(meta.link.next), Seq(meta.seq) + u32::from(meta.payload_len)),
            None => (FrameId::NONE, t.c.recovery.until),
        };
        t.c.recovery.frame = next;
        // The FIN goes along with the last payload.
        t.c.recovery.resend = if next == t.c.send.fresh || next.is_none() { t.c.recovery.until } else { end };
    }
}

/// Sends the oldest outstanding segment again.
pub(super) fn resend_first(t: &mut Turn<'_>) {
    resend(t, FrameId(t.c.send.queue.first));
}

/// False when the frame is still with the card from the last time, or nothing can be sent now.
fn resend(t: &mut Turn<'_>, frame: FrameId) -> bool {
    if !t.has_path() {
        return false;
    }
    let carries_fin = t.c.fin_is_sent();
    let mss = t.c.send.mss;
    if t.frames.meta(frame).is_some_and(|m| m.payload_len > mss && m.in_flight == 0)
        && !send_queue::split(t, frame, mss)
    {
        return false;
    }
    let sent = match t.frames.meta(frame) {
        Some(meta) if meta.in_flight != 0 => {
            t.c.timers.push = t.now + CARD_WAIT;
            false
        }
        Some(meta) => {
            let is_last = meta.link.next == 0;
            let flags = if is_last { Flags::ACK | Flags::PSH } else { Flags::ACK };
            t.send_payload(frame, if is_last && carries_fin { flags | Flags::FIN } else { flags });
            true
        }
        None if carries_fin => t.send_bare(Flags::FIN | Flags::ACK, t.c.send.end),
        None => false,
    };
    if sent {
        t.counters.tcp_retransmissions += 1;
        t.c.recovery.total = t.c.recovery.total.saturating_add(1);
        t.c.timers.resending_since =
            if t.c.timers.resending_since == 0 { t.now } else { t.c.timers.resending_since };
    }
    sent
}
