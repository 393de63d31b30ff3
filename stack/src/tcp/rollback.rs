//! A turn that its driver did not live to finish is taken back.
//!
//! Whoever drives the shard works for the connections of others too, and may be killed while it does. Before a turn on
//! a connection that is not the driver's alone, the connection is kept as it was. What a turn sends stays in the outbox
//! until the turn is over, so nobody has seen any of it: the connection is put back, what was queued for it goes, and
//! the segment at hand is lost as on a wire.

use super::connection::{Connection, Marks};
use super::recovery::PUSH;
use super::{Seq, Tuple};
use crate::region::{FrameId, FrameMeta, Frames, Handle, List, Slab, Steps, Walk, Walked, settle};
use crate::shard::{EntryRef, Shard, ShardHead};
use crate::socket::{self, Reference};
use crate::wire::checksum;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a death in the middle of a turn leaves to be done.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Remedy(u16);

impl Remedy {
    /// The connection was the dead one's, and cannot be trusted.
    const RESET: Self = Self(0);
    /// It is in [`Before`] as it was.
    const PUT_BACK: Self = Self(1);
    /// It was just being made, and nobody knows of it: the peer asks again.
    const DROP: Self = Self(2);
}

/// The connection that is being changed, before it was.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Before {
    connection: Connection,
    /// How far the outbox was filled.
    put: u32,
    remedy: Remedy,
    /// The process slot of whoever has the lock.
    pub(crate) driver: u16,
}

/// A turn on the connection `h` begins.
#[inline]
pub(super) fn begin(head: &mut ShardHead, references: &Slab<Reference>, h: EntryRef, c: &Connection) {
    head.changing = EntryRef::NONE;
    settle();
    if socket::is_held_by_one(references, &c.socket, head.before.driver) {
        head.before.remedy = Remedy::RESET;
    } else {
        head.before.connection = *c;
        head.before.put = head.outbox.put();
        head.before.remedy = Remedy::PUT_BACK;
    }
    settle();
    head.changing = h;
    settle();
}

/// A connection of which nobody knows yet is being made.
#[inline]
pub(super) fn begin_to_make(head: &mut ShardHead, h: EntryRef) {
    begin_with(head, h, Remedy::DROP);
}

#[inline]
fn begin_with(head: &mut ShardHead, h: EntryRef, remedy: Remedy) {
    head.changing = EntryRef::NONE;
    settle();
    head.before.remedy = remedy;
    settle();
    head.changing = h;
    settle();
}

/// The turn is over: whatever happens now, it has happened.
#[inline]
pub(super) fn end(head: &mut ShardHead) {
    settle();
    head.changing = EntryRef::NONE;
}

/// After a death: whether the connection that was being changed was only being made.
pub(super) fn was_being_made(head: &ShardHead) -> bool {
    head.before.remedy == Remedy::DROP
}

/// After a death: whether the connection that was being changed can go on, as it is now or as it was.
pub(super) fn put_back(s: &mut Shard, h: Handle<Connection>) -> bool {
    let Shard { head, connections, .. } = s;
    let Some(c) = connections.get_mut(h).filter(|_| head.before.remedy == Remedy::PUT_BACK) else {
        return false;
    };
    // Not where it is in the table.
    *c = Connection { head: c.head, ..head.before.connection };
    let (tuple, put) = (c.head.tuple, head.before.put);
    s.take_back_from_outbox(put);
    forget_time_wait(s, &tuple);
    true
}

/// The entry that was to take the connection's place.
fn forget_time_wait(s: &mut Shard, tuple: &Tuple) {
    for index in 1..s.time_waits.high_water() {
        let Some(h) = s.time_waits.at(index) else { continue };
        if s.time_waits.get(h).is_some_and(|t| t.head.tuple == *tuple) {
            s.time_waits.free(h);
        }
    }
}

/// What the receive queue, which is linked already, holds beyond RCV.NXT was not there yet: the short way in tells of
/// what it changes by that number alone, last.
pub(super) fn cut_received(s: &mut Shard, h: Handle<Connection>) {
    let Shard { connections, frames, .. } = s;
    let Some(c) = connections.get_mut(h) else { return };
    let fin = u32::from(c.marks.has(Marks::FIN_RECEIVED));
    cut(frames, &mut c.receive.queue, c.receive.next - fin, |_| false);
}

/// Brings the queue of what is sent, which is linked already, to what the numbers of a connection that was put back say.
pub(super) fn fit(s: &mut Shard, h: Handle<Connection>) {
    let Shard { connections, frames, .. } = s;
    let Some(c) = connections.get_mut(h) else { return };
    let (end, fin_is_sent) = (c.send.end, c.fin_is_sent());
    cut(frames, &mut c.send.queue, end, |meta| meta.payload_len == 0 && Seq(meta.seq) == end && fin_is_sent);
    // What is not there any more was acknowledged.
    let first = frames.meta(FrameId(c.send.queue.first)).map_or(end, |meta| Seq(meta.seq));
    if c.first_byte().is_before(first) && !c.send.next.is_before(first) {
        c.send.una = first;
    }
    mend(frames, c);
}

/// Frees the frames from `end` on, but for those that `stays` tells; the one that it lies in is shortened.
fn cut(frames: &mut Frames, queue: &mut List, end: Seq, stays: impl Fn(&FrameMeta) -> bool) {
    let mut steps = Steps::over(frames);
    while !queue.is_empty() && steps.take(frames.damage()) {
        let last = FrameId(queue.last);
        let Some(meta) = frames.meta(last).copied() else { return };
        let start = Seq(meta.seq);
        if start.is_before(end) {
            return shorten(frames, last, end.since(start));
        }
        if stays(&meta) {
            return;
        }
        queue.remove(frames, last.0);
        frames.release(last);
    }
}

fn shorten(frames: &mut Frames, frame: FrameId, len: u32) {
    if let Some(meta) = frames.meta_mut(frame).filter(|meta| u32::from(meta.payload_len) > len) {
        meta.payload_len = len as u16;
    }
}

/// Nothing is believed of frames but where they are: their sums are made anew, and what lies beyond SND.NXT was not sent.
fn mend(frames: &mut Frames, c: &Connection) {
    let mut walk = Walk::over(frames, FrameId(c.send.queue.first));
    while let Some((at, meta)) = walk.item(frames) {
        walk.to(FrameId(meta.link.next));
        let sum = checksum::sum(frames.payload(at));
        let Some(meta) = frames.meta_mut(at) else { return };
        meta.sum = sum;
        if !Seq(meta.seq).is_before(c.send.next) {
            (meta.transmissions, meta.flags) = (0, meta.flags & PUSH);
        }
    }
}
