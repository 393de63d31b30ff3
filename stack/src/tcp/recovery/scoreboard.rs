//! What became of each frame that was sent: which the peer has, which are lost, which are on their way again.
//!
//! The bits lie in the frames themselves, the counts in [`Recovery`](super::Recovery). What is thought to be in the
//! network is the list `order`: the frames in the order of their last transmission. A frame leaves it when the peer
//! has it, or when it counts as lost, and comes back when it is sent again. So what is in flight is always known
//! without a walk.

use super::Progress;
use crate::region::{FrameId, FrameMeta, Frames, Link, Links, List, Walk, Walked};
use crate::tcp::connection::Marks;
use crate::tcp::turn::Turn;
use crate::tcp::{Seq, rate};

/// In [`FrameMeta::flags`]: the peer has it beyond a hole (RFC 2018).
pub(in crate::tcp) const SACKED: u8 = 1;
/// It is lost; with `RESENT` it is on its way again.
pub(in crate::tcp) const LOST: u8 = 1 << 1;
/// What is on its way is a repetition.
pub(in crate::tcp) const RESENT: u8 = 1 << 2;
/// The FIN goes behind its payload, or is all that it is.
pub(in crate::tcp) const FIN: u8 = 1 << 3;

/// It ends with PSH.
pub(in crate::tcp) const PUSH: u8 = 1 << 4;

/// RFC 9293 3.4: the FIN takes a sequence number.
pub(in crate::tcp) fn sequence_len(meta: &FrameMeta) -> u32 {
    u32::from(meta.payload_len) + u32::from(meta.flags & FIN != 0)
}

/// In the network, as far as we know: neither with the peer nor lost.
pub(in crate::tcp) fn is_under_way(meta: &FrameMeta) -> bool {
    meta.flags & SACKED == 0 && !is_waiting(meta)
}

/// Lost, and not sent again yet.
pub(in crate::tcp) fn is_waiting(meta: &FrameMeta) -> bool {
    meta.flags & (LOST | RESENT) == LOST
}

/// The links of the list `order`.
pub(in crate::tcp) struct Order<'a>(pub &'a mut Frames);

impl Order<'_> {
    fn meta(&self, index: u32) -> Option<&FrameMeta> {
        self.0.meta(FrameId(index))
    }
}

impl Links for Order<'_> {
    fn link(&mut self, index: u32) -> Option<&mut Link> {
        self.0.meta_mut(FrameId(index)).map(|m| &mut m.order)
    }
}

/// A frame was handed to the link, for the first time or again; its time and count are set.
pub(super) fn sent(t: &mut Turn<'_>, frame: FrameId) {
    let Some(meta) = t.frames.meta_mut(frame) else { return };
    let (len, is_again, was) = (sequence_len(meta), meta.transmissions > 1, *meta);
    if is_again {
        meta.flags |= RESENT;
    }
    let r = &mut t.c.recovery;
    if is_again && is_under_way(&was) {
        r.order.remove(&mut Order(t.frames), frame.0);
    } else {
        r.pipe = r.pipe.saturating_add(len);
    }
    r.order.push_back(&mut Order(t.frames), frame.0);
    if is_waiting(&was) {
        r.waiting = r.waiting.saturating_sub(1);
    }
    if is_again && was.flags & RESENT == 0 {
        r.resent = r.resent.saturating_add(1);
    }
}

/// Takes a frame out of all counts, whatever it was. The flags stay.
fn forget(t: &mut Turn<'_>, frame: FrameId, meta: &FrameMeta) {
    let r = &mut t.c.recovery;
    if meta.flags & SACKED != 0 {
        r.sacked = r.sacked.saturating_sub(1);
        return;
    }
    if is_waiting(meta) {
        r.waiting = r.waiting.saturating_sub(1);
    } else {
        r.order.remove(&mut Order(t.frames), frame.0);
        r.pipe = r.pipe.saturating_sub(sequence_len(meta));
    }
    if meta.flags & RESENT != 0 {
        r.resent = r.resent.saturating_sub(1);
    }
}

/// The frame counts as lost; what is lost already and waits stays as it is.
pub(super) fn mark_lost(t: &mut Turn<'_>, frame: FrameId, progress: &mut Progress) {
    let Some(meta) = t.frames.meta(frame).copied().filter(is_under_way) else { return };
    forget(t, frame, &meta);
    let r = &mut t.c.recovery;
    r.waiting = r.waiting.saturating_add(1);
    progress.lost = progress.lost.saturating_add(sequence_len(&meta));
    progress.repetition_lost |= meta.flags & RESENT != 0;
    let is_earlier = match t.frames.meta(r.resend) {
        Some(hint) => Seq(meta.seq).is_before(Seq(hint.seq)),
        None => true,
    };
    if is_earlier {
        r.resend = frame;
    }
    if let Some(meta) = t.frames.meta_mut(frame) {
        meta.flags = (meta.flags | LOST) & !RESENT;
    }
}

/// The peer has the frame beyond a hole.
pub(super) fn mark_sacked(t: &mut Turn<'_>, frame: FrameId, progress: &mut Progress) {
    let Some(meta) = t.frames.meta(frame).copied().filter(|m| m.flags & SACKED == 0) else { return };
    rate::on_delivered(t, frame);
    progress.delivered = progress.delivered.saturating_add(sequence_len(&meta));
    forget(t, frame, &meta);
    t.c.recovery.sacked = t.c.recovery.sacked.saturating_add(1);
    if let Some(meta) = t.frames.meta_mut(frame) {
        meta.flags = (meta.flags | SACKED) & !(LOST | RESENT);
    }
    join_run(t, frame, meta.link);
}

/// The peer has everything up to the end of the frame, which is the first of the queue and leaves it.
pub(super) fn acknowledged(t: &mut Turn<'_>, frame: FrameId, meta: &FrameMeta, progress: &mut Progress) {
    forget(t, frame, meta);
    let next = FrameId(meta.link.next);
    if meta.flags & SACKED != 0 {
        shorten_run(t, meta);
    } else {
        rate::on_delivered(t, frame);
        progress.delivered = progress.delivered.saturating_add(sequence_len(meta));
    }
    progress.segments = progress.segments.saturating_add(1);
    let r = &mut t.c.recovery;
    if r.resend == frame {
        r.resend = next;
    }
    if r.cursor == frame {
        r.cursor = FrameId::NONE;
    }
}

/// The peer has the first bytes of the first frame.
pub(super) fn cut(t: &mut Turn<'_>, frame: FrameId, bytes: u32, progress: &mut Progress) {
    rate::on_delivered(t, frame);
    progress.delivered = progress.delivered.saturating_add(bytes);
    let Some(meta) = t.frames.meta_mut(frame) else { return };
    if is_under_way(meta) {
        t.c.recovery.pipe = t.c.recovery.pipe.saturating_sub(bytes);
    }
    let bytes = (bytes.min(u32::from(u16::MAX)) as u16).min(meta.payload_len);
    meta.cut_front(bytes);
    let sum = crate::wire::checksum::sum(t.frames.payload(frame));
    if let Some(meta) = t.frames.meta_mut(frame) {
        meta.sum = sum;
    }
}

/// The frame `second` was split off the end of `first`, with all that `first` knew.
pub(in crate::tcp) fn after_split(t: &mut Turn<'_>, first: FrameId, second: FrameId) {
    let Some(flags) = t.frames.meta(first).map(|m| m.flags) else { return };
    let Some(meta) = t.frames.meta_mut(second) else { return };
    meta.flags = flags;
    let (was_sent, is_under_way, is_waiting) = (meta.transmissions > 0, is_under_way(meta), is_waiting(meta));
    if let Some(meta) = t.frames.meta_mut(first) {
        meta.flags &= !(FIN | PUSH);
    }
    if !was_sent {
        return;
    }
    let r = &mut t.c.recovery;
    if is_under_way {
        r.order.insert_after(&mut Order(t.frames), first.0, second.0);
    }
    r.waiting = r.waiting.saturating_add(u32::from(is_waiting));
    r.resent = r.resent.saturating_add(u32::from(flags & RESENT != 0));
}

/// The peer has thrown away what it had beyond a hole, as RFC 2018 8 lets it: all of that counts as lost.
pub(super) fn renege(t: &mut Turn<'_>, progress: &mut Progress) {
    let mut walk = Walk::over(t.frames, FrameId(t.c.send.queue.first));
    while let Some((at, meta)) = walk.item(t.frames)
        && at != t.c.send.fresh
    {
        walk.to(FrameId(meta.link.next));
        let len = sequence_len(meta);
        if let Some(meta) = t.frames.meta_mut(at)
            && meta.flags & SACKED != 0
        {
            meta.flags = (meta.flags & !SACKED) | LOST;
            meta.order = Link::default();
            t.c.recovery.waiting = t.c.recovery.waiting.saturating_add(1);
            progress.lost = progress.lost.saturating_add(len);
        }
    }
    t.c.recovery.sacked = 0;
    t.c.recovery.resend = FrameId(t.c.send.queue.first);
    t.c.recovery.cursor = FrameId::NONE;
    t.c.recovery.seen = [0; 4];
}

/// Nothing was lost after all: what waits to be sent again is in the network still.
pub(super) fn unmark_lost(t: &mut Turn<'_>) {
    let mut walk = Walk::over(t.frames, t.c.recovery.resend);
    while t.c.recovery.waiting > 0
        && let Some((at, meta)) = walk.item(t.frames)
        && at != t.c.send.fresh
    {
        walk.to(FrameId(meta.link.next));
        if !is_waiting(meta) {
            continue;
        }
        let r = &mut t.c.recovery;
        r.waiting = r.waiting.saturating_sub(1);
        r.pipe = r.pipe.saturating_add(sequence_len(meta));
        r.order.push_back(&mut Order(t.frames), at.0);
        if let Some(meta) = t.frames.meta_mut(at) {
            meta.flags &= !LOST;
        }
    }
    t.c.recovery.resend = FrameId::NONE;
    sort_by_time(t.frames, &mut t.c.recovery.order);
}

/// Puts the frames of `order` where the time of their last transmission belongs.
pub(super) fn sort_by_time(frames: &mut Frames, order: &mut List) {
    let is_after = |frames: &Order<'_>, a: u32, b: u32| match (frames.meta(a), frames.meta(b)) {
        (Some(a), Some(b)) => super::rack::is_sent_after(a.sent_at, end_of(a), b.sent_at, end_of(b)),
        _ => false,
    };
    if !order.sort(&mut Order(frames), is_after) {
        frames.damage().note();
    }
}

pub(super) fn end_of(meta: &FrameMeta) -> Seq {
    Seq(meta.seq) + sequence_len(meta)
}

/// Frames that the peer has are in no order; their links show how far the run of such frames goes instead: the first
/// of a run names the last in `next`, the last names the first in `prev`, so that a walk steps over a run at once.
fn join_run(t: &mut Turn<'_>, frame: FrameId, neighbours: Link) {
    let run_of =
        |t: &Turn<'_>, at: u32| t.frames.meta(FrameId(at)).filter(|m| m.flags & SACKED != 0).map(|m| m.order);
    let first = run_of(t, neighbours.prev).map_or(frame.0, |run| run.prev);
    let last = run_of(t, neighbours.next).map_or(frame.0, |run| run.next);
    if let Some(meta) = t.frames.meta_mut(frame) {
        meta.order = Link { next: last, prev: first };
    }
    if let Some(meta) = t.frames.meta_mut(FrameId(first)) {
        meta.order.next = last;
    }
    if let Some(meta) = t.frames.meta_mut(FrameId(last)) {
        meta.order.prev = first;
    }
}

/// The first frame of a run leaves the queue.
fn shorten_run(t: &mut Turn<'_>, gone: &FrameMeta) {
    let (next, last) = (gone.link.next, gone.order.next);
    if let Some(meta) = t.frames.meta_mut(FrameId(next)).filter(|m| m.flags & SACKED != 0) {
        meta.order.next = last;
        if let Some(meta) = t.frames.meta_mut(FrameId(last)) {
            meta.order.prev = next;
        }
    }
}

/// Whether SACK tells what the peer has; otherwise duplicate ACKs are counted.
pub(super) fn is_selective(t: &Turn<'_>) -> bool {
    t.c.marks.has(Marks::SACK)
}
