//! The short way out of the queue: mostly an ACK is for frames that were sent once, one after the other, and it tells of
//! all of them what it tells of the first and of the last.
//!
//! What is done here is what [`acknowledged`](super::acknowledged) does with the same frames one by one.

use super::scoreboard::{self, LOST, Order, RESENT, SACKED, end_of};
use super::{Progress, rack};
use crate::region::{FrameId, FrameMeta, Walk};
use crate::tcp::turn::Turn;
use crate::tcp::{Seq, rate};

/// Takes the frames off the front of the queue, and frees them, that lie before `ack` in whole, up to the first of which
/// anything else is known than when it was sent.
pub(in crate::tcp) fn release_in_order(t: &mut Turn<'_>, ack: Seq, progress: &mut Progress) {
    // Below what SACK has named a frame that arrives tells that others have overtaken it.
    if progress.highest_before.is_after(progress.una_before) {
        return;
    }
    let c = &mut *t.c;
    let (queue, r) = (&mut c.send.queue, &mut c.recovery);
    let first = FrameId(queue.first);
    let (mut last, mut next_sent) = (first, FrameId(r.order.first));
    let (mut count, mut bytes) = (0, 0);
    let mut walk = Walk::over(t.frames, first);
    while let Some((at, meta)) = walk.item(t.frames)
        && at == next_sent
        && is_plain(meta)
        && !end_of(meta).is_after(ack)
    {
        (count, bytes) = (count + 1, scoreboard::sequence_len(meta).saturating_add(bytes));
        let next = FrameId(meta.link.next);
        next_sent = FrameId(meta.order.next);
        if r.resend == at {
            r.resend = next;
        }
        if r.cursor == at {
            r.cursor = FrameId::NONE;
        }
        t.frames.release(at);
        last = at;
        walk.to(next);
    }
    if count == 0 {
        return;
    }
    queue.drop_front(t.frames, count, walk.at().0);
    r.order.drop_front(&mut Order(t.frames), count, next_sent.0);
    r.pipe = r.pipe.saturating_sub(bytes);
    progress.delivered = progress.delivered.saturating_add(bytes);
    progress.segments = progress.segments.saturating_add(count);
    // They are free, and as they were.
    let (Some(first), Some(last)) = (t.frames.meta(first).copied(), t.frames.meta(last).copied()) else {
        return;
    };
    progress.oldest_sent_at = first.sent_at;
    progress.newest_sent_at = last.sent_at;
    progress.original_arrived |= !end_of(&first).is_after(t.c.recovery.until);
    if scoreboard::is_selective(t) {
        rack::advance(t, &last, progress);
    }
    rate::delivered(t, &last, count);
}

/// Sent once, and neither named by SACK nor thought to be lost.
fn is_plain(meta: &FrameMeta) -> bool {
    meta.transmissions == 1 && meta.flags & (SACKED | LOST | RESENT) == 0
}
