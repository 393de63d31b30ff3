//! The counts and lists of recovery against what the frames say, and from it.

use super::scoreboard::{self, LOST, Order, RESENT, SACKED, is_under_way, is_waiting, sequence_len};
use crate::region::{FrameId, FrameMeta, Frames, Link, List, Walk};
use crate::tcp::connection::{Connection, Marks};

/// The frames that were sent, in the order of the stream.
fn each_sent(frames: &Frames, c: &Connection, mut each: impl FnMut(FrameId, &FrameMeta)) {
    let mut walk = Walk::over(frames, FrameId(c.send.queue.first));
    while let Some((at, meta)) = walk.item(frames)
        && at != c.send.fresh
    {
        each(at, meta);
        walk.to(FrameId(meta.link.next));
    }
}

#[derive(Default, PartialEq, Eq)]
struct Counts {
    under_way: u32,
    sacked: u32,
    waiting: u32,
    resent: u32,
    pipe: u32,
}

fn count(frames: &Frames, c: &Connection) -> Counts {
    let mut counts = Counts::default();
    each_sent(frames, c, |_, meta| {
        counts.sacked += u32::from(meta.flags & SACKED != 0);
        counts.waiting += u32::from(is_waiting(meta));
        counts.resent += u32::from(meta.flags & RESENT != 0);
        if is_under_way(meta) {
            counts.under_way += 1;
            counts.pipe = counts.pipe.wrapping_add(sequence_len(meta));
        }
    });
    counts
}

/// What holds of every connection past its handshake.
pub(in crate::tcp) fn check(frames: &mut Frames, c: &Connection) -> Result<(), &'static str> {
    let (r, counts) = (&c.recovery, count(frames, c));
    let is_selective = c.marks.has(Marks::SACK);
    if (counts.waiting, counts.resent, counts.pipe) != (r.waiting, r.resent, r.pipe) {
        return Err("the counts of recovery are not what the frames say");
    }
    if is_selective && counts.sacked != r.sacked || !is_selective && counts.sacked != 0 {
        return Err("the count of selectively acknowledged frames is wrong");
    }
    if counts.under_way != r.order.len || !r.order.check(&mut Order(frames)) {
        return Err("the frames in order of their sending are not those in the network");
    }
    if !order_is_by_time(frames, c) {
        return Err("the order of sending is not that of the times");
    }
    marks_are_sound(frames, c)
}

fn order_is_by_time(frames: &Frames, c: &Connection) -> bool {
    let mut walk = Walk::over(frames, FrameId(c.recovery.order.first));
    let mut before: Option<FrameMeta> = None;
    while let Some((_, meta)) = walk.item(frames) {
        let is_later = before.is_none_or(|b| meta.sent_at >= b.sent_at);
        if !is_later || !is_under_way(meta) || meta.transmissions == 0 {
            return false;
        }
        before = Some(*meta);
        walk.to(FrameId(meta.order.next));
    }
    true
}

fn marks_are_sound(frames: &Frames, c: &Connection) -> Result<(), &'static str> {
    let mut broken = None;
    // The first frame of the run at hand, and the frame before.
    let (mut run, mut before) = (None, FrameId::NONE);
    let mut hint_is_passed = c.recovery.waiting == 0;
    each_sent(frames, c, |at, meta| {
        hint_is_passed |= at == c.recovery.resend;
        if is_waiting(meta) && !hint_is_passed {
            broken = Some("a frame that waits to be sent again lies before where they are looked for");
        }
        if meta.flags & SACKED != 0 && meta.flags & (LOST | RESENT) != 0 {
            broken = Some("a frame is with the peer and lost");
        }
        run = match run {
            _ if meta.flags & SACKED == 0 => {
                broken = broken.or(run_is_broken(frames, run, before));
                None
            }
            None => Some(at),
            first => first,
        };
        before = at;
    });
    broken.or(run_is_broken(frames, run, before)).map_or(Ok(()), Err)
}

fn run_is_broken(frames: &Frames, first: Option<FrameId>, last: FrameId) -> Option<&'static str> {
    let first = first?;
    let leads = frames.meta(first)?.order.next == last.0 && frames.meta(last)?.order.prev == first.0;
    (!leads).then_some("the ends of a run of selectively acknowledged frames do not name each other")
}

/// After a death: counts and lists from the frames.
pub(in crate::tcp) fn rebuild(frames: &mut Frames, c: &mut Connection) {
    let Counts { sacked, waiting, resent, pipe, .. } = count(frames, c);
    let r = &mut c.recovery;
    (r.waiting, r.resent, r.pipe) = (waiting, resent, pipe);
    r.sacked = if c.marks.has(Marks::SACK) { sacked } else { r.sacked };
    (r.order, r.cursor, r.seen) = (List::EMPTY, FrameId::NONE, [0; 4]);
    r.resend = FrameId(c.send.queue.first);
    let mut run = FrameId::NONE;
    let mut walk = Walk::over(frames, FrameId(c.send.queue.first));
    while let Some((at, meta)) = walk.item(frames)
        && at != c.send.fresh
    {
        walk.to(FrameId(meta.link.next));
        let (is_sacked, is_under_way) = (meta.flags & SACKED != 0, is_under_way(meta));
        if let Some(meta) = frames.meta_mut(at) {
            meta.order = Link::default();
        }
        if is_sacked {
            run = run.some().unwrap_or(at);
            link_run(frames, run, at);
        } else {
            run = FrameId::NONE;
        }
        if is_under_way {
            c.recovery.order.push_back(&mut Order(frames), at.0);
        }
    }
    scoreboard::sort_by_time(frames, &mut c.recovery.order);
}

fn link_run(frames: &mut Frames, first: FrameId, last: FrameId) {
    if let Some(meta) = frames.meta_mut(last) {
        meta.order.prev = first.0;
    }
    if let Some(meta) = frames.meta_mut(first) {
        meta.order.next = last.0;
    }
}
