//! Segments beyond a hole: a list in order of sequence number, whose members do not overlap.

use super::incoming::{self, Fit};
use super::segment::Segment;
use super::turn::Turn;
use super::{Seq, receive_queue};
use crate::region::{FrameId, Frames, Tenure};

/// In `FrameMeta::flags`: a FIN follows the payload.
const FIN: u8 = 1;
/// Frames beyond holes that one connection may keep.
const LIMIT: u32 = 512;

/// Where a queued segment starts and ends, its FIN counted.
fn extent(frames: &Frames, frame: FrameId) -> (Seq, Seq) {
    frames.meta(frame).map_or((Seq(0), Seq(0)), |m| {
        let start = Seq(m.seq);
        (start, start + u32::from(m.payload_len) + u32::from(m.flags & FIN))
    })
}

/// Keeps the part of the segment that is neither in the queue yet nor outside of the window.
pub(super) fn insert(t: &mut Turn<'_>, segment: &Segment, fit: Fit) {
    let len = u32::from(fit.len) + u32::from(fit.fin);
    if len == 0 || t.c.receive.beyond.len >= LIMIT || t.frames.is_scarce() {
        return;
    }
    let (mut start, mut end) = (segment.seq, segment.seq + len);
    // From the back: the newest segment is the most likely one.
    let mut after = FrameId(t.c.receive.beyond.last);
    while after.some().is_some() && extent(t.frames, after).0.is_after(start) {
        after = FrameId(t.frames.meta(after).map_or(0, |m| m.link.prev));
    }
    if after.some().is_some() {
        start = start.later_of(extent(t.frames, after).1);
    }
    let mut next = match t.frames.meta(after) {
        Some(meta) => FrameId(meta.link.next),
        None => FrameId(t.c.receive.beyond.first),
    };
    // What the segment covers in whole goes; the first that it covers in part bounds it.
    while next.some().is_some() {
        let (other_start, other_end) = extent(t.frames, next);
        if !end.is_after(other_start) {
            break;
        }
        if other_end.is_after(end) {
            end = other_start;
            break;
        }
        let following = FrameId(t.frames.meta(next).map_or(0, |m| m.link.next));
        t.c.receive.beyond.remove(t.frames, next.0);
        t.frames.release(next);
        next = following;
    }
    if !end.is_after(start) {
        t.counters.tcp_duplicates += 1;
        return;
    }
    let fin = fit.fin && end == segment.seq + len;
    let payload_len = end.since(start) - u32::from(fin);
    let Some(meta) = t.frames.meta_mut(segment.frame) else { return };
    meta.owner = t.handle.raw();
    meta.tenure = Tenure::OUT_OF_ORDER;
    meta.payload = segment.payload + start.since(segment.seq) as u16;
    meta.payload_len = payload_len as u16;
    meta.seq = start.0;
    meta.flags = u8::from(fin) * FIN;
    t.c.receive.beyond.insert_after(t.frames, after.0, segment.frame.0);
    t.counters.tcp_out_of_order += 1;
}

/// RCV.NXT has moved: what it reaches is no longer beyond a hole.
pub(super) fn drain(t: &mut Turn<'_>) {
    while let Some(frame) = FrameId(t.c.receive.beyond.first).some() {
        let (start, end) = extent(t.frames, frame);
        if start.is_after(t.c.receive.next) {
            break;
        }
        t.c.receive.beyond.pop_front(t.frames);
        let Some(meta) = t.frames.meta_mut(frame) else { break };
        meta.tenure = Tenure::HELD;
        let (payload, len, fin) = (meta.payload, meta.payload_len, meta.flags & FIN != 0);
        let known = t.c.receive.next.since(start).min(u32::from(len)) as u16;
        if end.is_after(t.c.receive.next) && t.c.state.may_receive() {
            let new = len - known;
            if new > 0 {
                receive_queue::adopt(t, frame, payload + known, new);
            }
            incoming::arrived(t, u32::from(new), fin);
        }
        if t.frames.meta(frame).is_some_and(|m| m.tenure == Tenure::HELD) {
            t.frames.release(frame);
        }
    }
}
