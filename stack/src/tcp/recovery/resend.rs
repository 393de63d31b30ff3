//! Sending again.

use super::scoreboard::{SACKED, is_waiting, sequence_len};
use super::{Facts, UNDO_NOT_COUNTED, timer};
use crate::region::{FrameId, Walk};
use crate::tcp::connection::Marks;
use crate::tcp::turn::Turn;
use crate::tcp::{Seq, pacing, send_queue};

/// When a frame that is to be sent again is still with the card.
const CARD_WAIT: u64 = 1_000_000;

/// Sends again what is lost, oldest first, as far as the congestion window allows.
pub(in crate::tcp) fn resend_lost(t: &mut Turn<'_>) {
    if t.c.recovery.waiting == 0 || t.c.recovery.facts.has(Facts::NEW_FIRST) {
        return;
    }
    let mut walk = Walk::over(t.frames, t.c.recovery.resend);
    while t.c.recovery.waiting > 0
        && let Some((at, &meta)) = walk.item(t.frames)
        && at != t.c.send.fresh
    {
        if is_waiting(&meta) && (!may_go(t, sequence_len(&meta)) || !resend(t, at)) {
            break;
        }
        // Behind the run that it is in, or what was split off it just now.
        let last = if meta.flags & SACKED != 0 { FrameId(meta.order.next) } else { at };
        walk.to(FrameId(t.frames.meta(last).map_or(0, |m| m.link.next)));
    }
    t.c.recovery.resend = walk.at();
}

fn may_go(t: &mut Turn<'_>, len: u32) -> bool {
    let flight = t.c.in_flight();
    let fits = flight == 0 || flight.saturating_add(len) <= t.c.congestion.window;
    fits && !pacing::holds(t)
}

/// False when the frame is still with the card from the last time, or nothing can be sent now.
pub(super) fn resend(t: &mut Turn<'_>, frame: FrameId) -> bool {
    let Some(meta) = t.frames.meta(frame).copied() else { return false };
    let Some(most) = room_for(t, Seq(meta.seq)).filter(|_| t.has_path()) else { return false };
    if meta.in_flight != 0 {
        t.c.timers.push = t.now + CARD_WAIT;
        return false;
    }
    if meta.payload_len > most && !send_queue::split(t, frame, most) {
        return false;
    }
    t.send_queued(frame);
    note(t, frame);
    true
}

/// How much of the segment at `seq` may go.
///
/// LINUX: __tcp_retransmit_skb(): a peer that took its window back gets what fits; beyond that the first segment alone.
fn room_for(t: &Turn<'_>, seq: Seq) -> Option<u16> {
    let (edge, mss) = (t.c.send.una + t.c.send.window, t.c.send.mss);
    if edge.is_after(seq) {
        return Some(edge.since(seq).min(u32::from(mss)) as u16);
    }
    (seq == t.c.send.una).then_some(mss)
}

fn note(t: &mut Turn<'_>, frame: FrameId) {
    t.counters.tcp_retransmissions += 1;
    let len = t.frames.meta(frame).map_or(0, sequence_len);
    let stamp = t.timestamp().max(1);
    let r = &mut t.c.recovery;
    r.total = r.total.saturating_add(1);
    t.c.tally.bytes_resent = t.c.tally.bytes_resent.saturating_add(u64::from(len));
    r.undo_count =
        if r.undo_count == UNDO_NOT_COUNTED { 1 } else { (r.undo_count + 1).min(UNDO_NOT_COUNTED - 1) };
    if r.resent_stamp == 0 {
        r.resent_stamp = stamp;
    }
    if t.c.timers.resending_since == 0 {
        t.c.timers.resending_since = t.now;
    }
    // LINUX: tcp_xmit_retransmit_queue(): the timeout counts from the repetition of the oldest.
    if frame.0 == t.c.send.queue.first && !t.c.marks.has(Marks::REORDERING) {
        timer::restart(t);
    }
}

/// The path takes smaller packets than we sent: what is too large goes again, in smaller segments. Nothing says that
/// the network is congested, so the window stays.
///
/// LINUX: tcp_simple_retransmit().
pub(in crate::tcp) fn send_again_smaller(t: &mut Turn<'_>) {
    let mss = t.c.send.mss;
    let mut progress = super::Progress::begin(t);
    let mut walk = Walk::over(t.frames, FrameId(t.c.recovery.order.first));
    while let Some((at, meta)) = walk.item(t.frames) {
        walk.to(FrameId(meta.order.next));
        if meta.payload_len > mss {
            super::scoreboard::mark_lost(t, at, &mut progress);
        }
    }
    if progress.lost > 0 {
        repair_at_full_window(t);
    }
}

/// What is lost is sent again, and the window stays as it is.
pub(in crate::tcp) fn repair_at_full_window(t: &mut Turn<'_>) {
    if t.c.recovery.phase != super::Phase::LOSS {
        t.c.recovery.phase = super::Phase::LOSS;
        t.c.recovery.until = t.c.send.next;
        t.c.recovery.facts.clear(Facts::FRTO | Facts::NEW_FIRST);
        t.c.marks.clear(Marks::MAY_UNDO);
    }
}
