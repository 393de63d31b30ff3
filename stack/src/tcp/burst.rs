//! The short way out: segments that leave for the first time, one after the other, while nothing is being repaired. They
//! have all in common but their place in the stream, so their headers are made once.
//!
//! What is done here is what the long way does with the same segments; whatever may hold one up, cut it or make it another
//! than those before it is left to that.

use super::connection::Marks;
use super::output;
use super::recovery::{self, Phase};
use super::turn::Turn;
use super::{State, delayed_ack, ecn, rate, sack, window};
use crate::region::{FrameId, Steps, Walked};
use crate::wire::options::timestamp_bytes;
use crate::wire::{Flags, SegmentHeaders, Template, Timestamps};

/// Sends what is fresh, as far as it goes this way. False: nothing was sent.
pub(super) fn send(t: &mut Turn<'_>, steps: &mut Steps) -> bool {
    if !is_ordinary(t) {
        return false;
    }
    let full = output::full_segment(t);
    let mut room = t.c.congestion.window.saturating_sub(t.c.in_flight()).min(output::window_room(t));
    let Some(len) = next_len(t, full, room) else { return false };
    let mut headers = headers(t, len);
    rate::on_start_of_flight(t);
    let mut sent = 0;
    while let Some(len) = send_next(t, &mut headers, full) {
        (sent, room) = (sent + 1, room.saturating_sub(len));
        if next_len(t, full, room).is_none() || !steps.take(t.frames.damage()) {
            break;
        }
    }
    t.count_sent(sent);
    t.c.tally.data_out = t.c.tally.data_out.wrapping_add(sent);
    t.c.timers.last_sent = t.now;
    delayed_ack::note_replies(t, sent);
    sent > 0
}

/// Whether nothing of what is to be sent differs from what was sent before, neither in its headers nor in what has to be
/// done about it.
fn is_ordinary(t: &Turn<'_>) -> bool {
    let c = &*t.c;
    matches!(c.state, State::ESTABLISHED | State::CLOSE_WAIT)
        && c.recovery.phase == Phase::OPEN
        && c.congestion.pacing_rate == 0
        && c.urgent.is_sending == 0
        && c.marks.has(Marks::TIMESTAMPS)
        && !c.marks.has(Marks::FIN_QUEUED | Marks::REDUCED)
        && !sack::is_due(t)
}

/// The headers of all that is sent now, mostly with a payload of `payload_len`; they acknowledge what has come.
fn headers(t: &mut Turn<'_>, payload_len: u16) -> Template {
    let window = window::announce(t);
    let timestamps = timestamp_bytes(Timestamps { value: t.timestamp(), echo: t.c.receive.ts_recent });
    let (flags, service) = ecn::outgoing(t.c, Flags::ACK, true);
    t.acknowledged();
    let headers = t.headers(t.c.send.next, flags, window, service, &[]);
    Template::of(&SegmentHeaders { payload_len, ..headers }, &timestamps)
}

/// Sends the first fresh frame, which may go. The length of its payload.
#[inline(always)]
fn send_next(t: &mut Turn<'_>, headers: &mut Template, full: u32) -> Option<u32> {
    let frame = t.c.send.fresh;
    let (meta, chunk) = t.frames.meta_and_chunk(frame)?;
    let (payload, len, next) = (meta.payload, meta.payload_len, FrameId(meta.link.next));
    headers.write(chunk.get_mut(..usize::from(payload))?, meta.seq, next.is_none(), len, meta.sum)?;
    meta.start = payload.wrapping_sub(Template::LEN as u16);
    meta.len = len.wrapping_add(Template::LEN as u16);
    meta.via = t.c.path.via;
    (meta.sent_at, meta.transmissions, meta.order) = (t.now, 1, t.c.recovery.order.link_behind());
    rate::stamp(&t.c.delivery, meta);
    if next.is_none() {
        meta.flags |= recovery::PUSH;
    }
    let len = u32::from(len);
    t.outbox.put(&mut t.head.outbox, t.frames, frame);
    recovery::first_sent(t.c, t.frames, frame, len);
    t.c.send.next += len;
    t.c.send.fresh = next;
    if len < full {
        t.c.send.small = t.c.send.next;
    }
    Some(len)
}

/// The length of the payload of the first fresh frame, if that is a segment as it stands, and neither window nor Nagle has
/// to do with it.
#[inline(always)]
fn next_len(t: &Turn<'_>, full: u32, room: u32) -> Option<u16> {
    let (c, meta) = (&*t.c, t.frames.meta(t.c.send.fresh)?);
    let len = u32::from(meta.payload_len);
    let may_go = meta.transmissions == 0
        && meta.flags & !rate::APP_LIMITED == 0
        && len <= full.min(room)
        && (len == full || (len > 0 && (meta.link.next != 0 || output::nagle_allows(c))));
    if may_go { Some(meta.payload_len) } else { None }
}
