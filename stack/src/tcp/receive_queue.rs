//! Bytes in order, waiting for the program: the frames that they came in.

use super::Connection;
use super::incoming::{self, Fit};
use super::segment::Segment;
use super::turn::Turn;
use crate::region::{FrameId, Frames, Handle, Steps, Tenure, Walk, Walked};
use crate::socket::Sink;

/// Payloads up to this are copied behind those of the last frame, so that a flood of small segments cannot take
/// all frames.
pub(super) const SMALL: u16 = 512;

/// Puts what is new of the segment, whose start is not beyond RCV.NXT, behind the queue. False: nothing is new.
#[inline]
pub(super) fn append(t: &mut Turn<'_>, segment: &Segment, fit: Fit) -> bool {
    let known = t.c.receive.next.since(segment.seq);
    let new = u32::from(fit.len).saturating_sub(known);
    let fin = fit.fin && known <= u32::from(fit.len);
    if new == 0 && !fin {
        return false;
    }
    if new > 0 {
        let skip = known as u16;
        adopt(t, segment.frame, segment.payload + skip, new as u16);
    }
    incoming::arrived(t, new, fin);
    true
}

/// Makes `len` bytes at `payload` of the chunk of `frame`, which are next in the stream, part of the queue.
pub(super) fn adopt(t: &mut Turn<'_>, frame: FrameId, payload: u16, len: u16) {
    let last = FrameId(t.c.receive.queue.last);
    if len <= SMALL && coalesce(t.frames, last, frame, payload, len) {
        return;
    }
    enqueue(t.c, t.handle, t.frames, frame, payload, len);
}

/// The frame itself goes behind the queue.
#[inline(always)]
pub(super) fn enqueue(
    c: &mut Connection,
    handle: Handle<Connection>,
    frames: &mut Frames,
    frame: FrameId,
    payload: u16,
    len: u16,
) {
    let Some(meta) = frames.meta_mut(frame) else { return };
    meta.give_to(handle.raw(), Tenure::RECEIVED, c.receive.next.0, payload, len);
    c.receive.queue.push_back(frames, frame.0);
}

/// Copies a small payload into the room behind that of `last`. The frame that it came in is left to its caller.
pub(super) fn coalesce(frames: &mut Frames, last: FrameId, from: FrameId, payload: u16, len: u16) -> bool {
    let Some(end) = frames.meta(last).map(|m| usize::from(m.payload) + usize::from(m.payload_len)) else {
        return false;
    };
    let mut bytes = [0; SMALL as usize];
    let Some(bytes) = bytes.get_mut(..usize::from(len)) else { return false };
    let start = usize::from(payload);
    let Some(source) = frames.chunk(from).get(start..start + bytes.len()) else { return false };
    bytes.copy_from_slice(source);
    let Some(room) = frames.chunk_mut(last).get_mut(end..end + bytes.len()) else { return false };
    room.copy_from_slice(bytes);
    if let Some(meta) = frames.meta_mut(last) {
        meta.payload_len += len;
    }
    true
}

/// Copies bytes to the program without taking them, but for the first `skip`. The bytes copied, and whether its memory
/// failed.
pub(super) fn peek(c: &Connection, frames: &Frames, to: &mut impl Sink, mut skip: usize) -> (usize, bool) {
    let mut copied = 0;
    let mut walk = Walk::over(frames, FrameId(c.receive.queue.first));
    while let Some((at, meta)) = walk.item(frames) {
        walk.to(FrameId(meta.link.next));
        let payload = frames.payload(at);
        let skipped = skip.min(payload.len());
        skip -= skipped;
        let wanted = (payload.len() - skipped).min(to.room());
        if to.room() == 0 {
            break;
        }
        let taken = to.put(payload.get(skipped..skipped + wanted).unwrap_or(&[]));
        copied += taken;
        if taken < wanted {
            return (copied, true);
        }
    }
    (copied, false)
}

/// Moves bytes to the program and frees the frames that it has emptied. As [`peek`] tells.
pub(super) fn take(c: &mut Connection, frames: &mut Frames, to: &mut impl Sink) -> (usize, bool) {
    let mut copied = 0;
    let mut steps = Steps::over(frames);
    while to.room() > 0
        && let Some(frame) = FrameId(c.receive.queue.first).some()
        && steps.take(frames.damage())
    {
        let payload = frames.payload(frame);
        let part = payload.get(..payload.len().min(to.room())).unwrap_or(&[]);
        let (whole, wanted) = (payload.len(), part.len());
        let taken = to.put(part).min(wanted);
        copied += taken;
        c.receive.unread = c.receive.unread.saturating_sub(taken as u32);
        if taken == whole {
            c.receive.queue.pop_front(frames);
            frames.release(frame);
        } else if let Some(meta) = frames.meta_mut(frame) {
            meta.cut_front(taken as u16);
        }
        if taken < wanted {
            return (copied, true);
        }
    }
    (copied, false)
}
