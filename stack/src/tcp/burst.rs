//! The short way out: full segments that follow each other have all in common but their place in the stream.
//!
//! What is done here is what the long way does with the same segment; whatever may hold it up or make it another than
//! those before it is left to that.

use super::connection::Connection;
use super::recovery::{self, Phase};
use super::turn::Turn;
use super::{State, ecn, rate};
use crate::region::{FrameId, FrameMeta};
use crate::wire::{Flags, Template};

/// Whether segments are sent one after the other, with nothing in between that changes what their headers say.
pub(super) enum Run {
    No,
    /// The first one is still to come.
    Begun,
    GoesOn(Template),
}

/// Sends a full segment that follows others of a run, if nothing is in its way. False: nothing is done.
#[inline(always)]
pub(super) fn send_full(t: &mut Turn<'_>, frame: FrameId) -> bool {
    let Run::GoesOn(template) = &t.run else { return false };
    let Some((meta, chunk)) = t.frames.meta_and_chunk(frame) else { return false };
    if !may_go(t.c, meta) {
        return false;
    }
    let (payload, len, next) = (meta.payload, meta.payload_len, meta.link.next);
    let (flags, _) = ecn::outgoing(t.c, Flags::ACK, true);
    let room = chunk.get_mut(..usize::from(payload));
    if room.and_then(|room| template.write(room, meta.seq, flags, len, meta.sum)).is_none() {
        return false;
    }
    meta.start = payload - Template::LEN as u16;
    meta.len = Template::LEN as u16 + len;
    meta.via = t.c.path.via;
    (meta.sent_at, meta.transmissions) = (t.now, 1);
    rate::stamp(&t.c.delivery, meta);
    t.c.tally.data_out = t.c.tally.data_out.wrapping_add(1);
    t.transmit(frame);
    recovery::first_sent(t.c, t.frames, frame, u32::from(len));
    t.c.send.next += u32::from(len);
    t.c.send.fresh = FrameId(next);
    true
}

/// Whether the frame, which was never sent, is a full segment in the middle of others, and neither window, pacing,
/// recovery nor the end of a write has to do with it.
#[inline(always)]
fn may_go(c: &Connection, meta: &FrameMeta) -> bool {
    let len = u32::from(meta.payload_len);
    let edge = c.send.una + c.send.window;
    meta.payload_len == c.send.mss
        && len <= c.send.largest_window / 2
        && meta.link.next != 0
        && meta.transmissions == 0
        && meta.flags & !rate::APP_LIMITED == 0
        && c.state == State::ESTABLISHED
        && c.recovery.phase == Phase::OPEN
        && c.congestion.pacing_rate == 0
        && c.in_flight().saturating_add(len) <= c.congestion.window
        && !(c.send.next + len).is_after(edge)
}
