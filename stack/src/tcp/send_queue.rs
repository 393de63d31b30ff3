//! Bytes of the program, from write() until the peer has them: in frames, one segment each.

use super::connection::Marks;
use super::turn::Turn;
use super::{Connection, Seq, Sysctls, recovery};
use crate::Error;
use crate::region::{FrameId, Frames, HEADROOM, Purpose, Tenure};
use crate::socket::Source;
use crate::wire::checksum;

/// How long a writer waits before it looks again whether the region has frames.
const FRAME_WAIT: u64 = 10_000_000;

/// Takes bytes into frames, as many as the send buffer has room for. See [`super::write`].
pub(super) fn fill(t: &mut Turn<'_>, from: &mut impl Source) -> Result<usize, Error> {
    let mut taken = 0;
    let mut is_readable = true;
    if let Some((last, room)) = open_frame(t) {
        let wanted = room.min(from.remaining());
        let got = top_up(t, last, wanted, from);
        (taken, is_readable) = (got, got == wanted);
    }
    let by_chunk = t.frames.chunk_size().saturating_sub(u32::from(HEADROOM));
    let most = u32::from(t.c.send.mss).min(by_chunk).max(1) as usize;
    let mut room = Room::of(t.c, t.frames.chunk_size(), &t.head.sysctls);
    while is_readable && from.remaining() > 0 && room.is_some() {
        let Some(frame) = t.frames.alloc(Purpose::Data) else {
            // The region is short of frames, and nothing on this connection may ever tell that it no longer is.
            t.c.marks.set(Marks::STARVED);
            t.c.timers.push = t.now + FRAME_WAIT;
            break;
        };
        let wanted = most.min(from.remaining());
        let got = add(t, frame, wanted, from);
        room = Room { frames: room.frames - 1, bytes: room.bytes.saturating_sub(got as u32) };
        taken += got;
        is_readable = got == wanted;
    }
    match taken {
        0 if !is_readable => Err(Error::Fault),
        0 => Err(Error::Again),
        _ => Ok(taken),
    }
}

/// The frame that the next byte goes into, while it is neither full nor sent, and its room.
fn open_frame(t: &Turn<'_>) -> Option<(FrameId, usize)> {
    t.c.send.fresh.some()?;
    let last = FrameId(t.c.send.queue.last);
    Some((last, room_in(t, last))).filter(|&(_, room)| room > 0)
}

/// Fills a fresh frame, and puts it behind the queue if it got anything.
fn add(t: &mut Turn<'_>, frame: FrameId, wanted: usize, from: &mut impl Source) -> usize {
    let start = usize::from(HEADROOM);
    let Some((meta, chunk)) = t.frames.meta_and_chunk(frame) else { return 0 };
    let into = chunk.get_mut(start..start + wanted).unwrap_or(&mut []);
    let got = from.take(into).min(wanted);
    if got == 0 {
        // The program's memory could not be read.
        t.frames.release(frame);
        return 0;
    }
    meta.sum = checksum::sum(into.get(..got).unwrap_or(&[]));
    meta.link = t.c.send.queue.link_behind();
    meta.give_to(t.handle.raw(), Tenure::SENDING, t.c.send.end.0, HEADROOM, got as u16);
    t.c.send.queue.join(t.frames, frame.0);
    if t.c.send.fresh.is_none() {
        t.c.send.fresh = frame;
    }
    t.c.send.end += got as u32;
    got
}

/// As long as there is some of both, another frame may be filled.
#[derive(Clone, Copy)]
struct Room {
    frames: u32,
    bytes: u32,
}

impl Room {
    /// LINUX: sk_stream_memory_free(), of what [`used`] counts; and what was not sent yet stays below TCP_NOTSENT_LOWAT.
    fn of(c: &Connection, chunk_size: u32, sysctls: &Sysctls) -> Self {
        let buffer = c.send_buffer();
        let unsent = not_sent_limit(c, sysctls).saturating_sub(unsent(c));
        Self {
            frames: buffer.div_ceil(cost_of_frame(chunk_size)).saturating_sub(c.send.queue.len),
            bytes: buffer.saturating_sub(c.queued()).min(unsent),
        }
    }

    fn is_some(self) -> bool {
        self.frames > 0 && self.bytes > 0
    }
}

pub(super) fn has_room(c: &Connection, chunk_size: u32, sysctls: &Sysctls) -> bool {
    used(c, chunk_size) < c.send_buffer() && unsent(c) < not_sent_limit(c, sysctls)
}

/// What is queued, as it counts towards the send buffer.
pub(super) fn used(c: &Connection, chunk_size: u32) -> u32 {
    (c.send.queue.len.saturating_mul(cost_of_frame(chunk_size))).max(c.queued())
}

/// LINUX: the buffers of a bulk writer hold many segments each and cost little beside the bytes; a buffer of a small
/// write costs about a kilobyte. Were whole frames to count, a long path would have a third less in flight than Linux
/// has under the same tcp_wmem.
fn cost_of_frame(chunk_size: u32) -> u32 {
    (chunk_size / 2).max(1)
}

/// Bytes that wait to be sent for the first time.
pub(super) fn unsent(c: &Connection) -> u32 {
    c.send.end.since(c.send.next.earlier_of(c.send.end))
}

/// TCP_NOTSENT_LOWAT; the namespace's where the program has set none.
pub(super) fn not_sent_limit(c: &Connection, sysctls: &Sysctls) -> u32 {
    match c.settings.not_sent_low_water {
        u32::MAX => sysctls.tcp_notsent_lowat,
        limit => limit,
    }
}

fn room_in(t: &Turn<'_>, frame: FrameId) -> usize {
    let Some(meta) = t.frames.meta(frame) else { return 0 };
    let by_chunk =
        t.frames.chunk_size().saturating_sub(u32::from(meta.payload) + u32::from(meta.payload_len));
    let by_segment = t.c.send.mss.saturating_sub(meta.payload_len);
    usize::from(by_segment).min(by_chunk as usize)
}

/// Puts bytes behind those that a frame has already.
fn top_up(t: &mut Turn<'_>, frame: FrameId, wanted: usize, from: &mut impl Source) -> usize {
    let Some((payload, len)) =
        t.frames.meta(frame).map(|m| (usize::from(m.payload), usize::from(m.payload_len)))
    else {
        return 0;
    };
    let start = payload + len;
    let Some(into) = t.frames.chunk_mut(frame).get_mut(start..start + wanted) else { return 0 };
    let got = from.take(into).min(wanted);
    let mut sum = checksum::sum(into.get(..got).unwrap_or(&[]));
    if len % 2 == 1 {
        sum = checksum::at_odd_offset(sum);
    }
    if let Some(meta) = t.frames.meta_mut(frame) {
        meta.payload_len += got as u16;
        meta.sum = meta.sum.wrapping_add(sum);
    }
    t.c.send.end += got as u32;
    got
}

/// Leaves `len` bytes in a frame, which the card does not have, and moves the rest to a new one behind it. False
/// without a frame.
pub(super) fn split(t: &mut Turn<'_>, frame: FrameId, len: u16) -> bool {
    let Some(second) = t.frames.alloc(Purpose::Control) else {
        t.counters.no_frame += 1;
        t.c.timers.push = t.now + FRAME_WAIT;
        return false;
    };
    let Some(first) = t.frames.meta(frame).copied() else { return false };
    let rest = first.payload_len.saturating_sub(len);
    copy(t.frames, (frame, first.payload.wrapping_add(len)), (second, HEADROOM), rest);
    if let Some(meta) = t.frames.meta_mut(second) {
        meta.sent_at = first.sent_at;
        meta.transmissions = first.transmissions;
        (meta.delivered, meta.delivered_at) = (first.delivered, first.delivered_at);
        meta.first_sent_at = first.first_sent_at;
        let seq = Seq(first.seq) + u32::from(len);
        meta.give_to(first.owner, Tenure::SENDING, seq.0, HEADROOM, rest);
    }
    if let Some(meta) = t.frames.meta_mut(frame) {
        meta.payload_len = len;
    }
    for part in [frame, second] {
        let sum = checksum::sum(t.frames.payload(part));
        if let Some(meta) = t.frames.meta_mut(part) {
            meta.sum = sum;
        }
    }
    t.c.send.queue.insert_after(t.frames, frame.0, second.0);
    recovery::after_split(t, frame, second);
    true
}

/// Copies bytes from a place in one chunk to a place in another.
pub(super) fn copy(frames: &mut Frames, from: (FrameId, u16), to: (FrameId, u16), len: u16) {
    let (mut from_at, mut to_at, mut left) = (usize::from(from.1), usize::from(to.1), usize::from(len));
    let mut piece = [0; 256];
    while left > 0 {
        let n = left.min(piece.len());
        let (Some(piece), Some(source)) =
            (piece.get_mut(..n), frames.chunk(from.0).get(from_at..from_at + n))
        else {
            return;
        };
        piece.copy_from_slice(source);
        if let Some(target) = frames.chunk_mut(to.0).get_mut(to_at..to_at + n) {
            target.copy_from_slice(piece);
        }
        (from_at, to_at, left) = (from_at + n, to_at + n, left - n);
    }
}

/// A frame for the FIN alone, at the end of the queue.
pub(super) fn add_fin(t: &mut Turn<'_>) -> Option<FrameId> {
    let Some(frame) = t.frames.alloc(Purpose::Control) else {
        t.counters.no_frame += 1;
        return None;
    };
    let meta = t.frames.meta_mut(frame)?;
    meta.flags = recovery::FIN;
    meta.give_to(t.handle.raw(), Tenure::SENDING, t.c.send.end.0, HEADROOM, 0);
    t.c.send.queue.push_back(t.frames, frame.0);
    Some(frame)
}

/// First sequence number of a frame of the queue, and the place behind its last one.
pub(super) fn extent(frames: &Frames, frame: FrameId) -> Option<(Seq, Seq)> {
    frames.meta(frame).map(|m| (Seq(m.seq), Seq(m.seq) + u32::from(m.payload_len)))
}
