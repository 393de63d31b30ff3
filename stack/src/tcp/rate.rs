//! The rate at which the network delivers: what bandwidth estimators and TCP_INFO go by
//! (draft-cheng-iccrg-delivery-rate-estimation).
//!
//! Each frame remembers, from when it was last sent, how much had been delivered by then. When it is delivered itself,
//! the difference over the time in between is a sample of the rate.

use super::turn::Turn;
use crate::region::{FrameId, FrameMeta};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What was delivered over the connection's life. Times are in microseconds and wrap.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Delivery {
    /// Bytes that the peer is known to have, selectively acknowledged ones counted.
    pub delivered: u32,
    /// When the last of them were.
    pub delivered_at: u32,
    /// When the first segment of the flight that was acknowledged last had been sent.
    pub first_sent_at: u32,
    /// `delivered` when all will have arrived that was in flight as the program had nothing more to send; 0 for none.
    pub limited_until: u32,
    /// The latest sample: bytes, and the microseconds in which they were delivered.
    pub rate_bytes: u32,
    pub rate_interval: u32,
}

/// In [`FrameMeta::flags`](crate::region::frames::FrameMeta::flags): sent while the program had too little to send for
/// the network to be measured.
pub(super) const APP_LIMITED: u8 = 1 << 7;

/// What the segment at hand told so far: the state at the sending of the frame that was sent last among those that it
/// delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Noted {
    /// Nanoseconds; 0 for nothing.
    sent_at: u64,
    delivered: u32,
    delivered_at: u32,
    first_sent_at: u32,
    app_limited: bool,
}

/// A measurement of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// Bytes delivered in `interval` microseconds.
    pub bytes: u32,
    pub interval: u32,
    /// [`Delivery::delivered`] when the frame that it is about was sent.
    pub prior_delivered: u32,
    /// The program, not the network, set the rate.
    pub app_limited: bool,
}

impl Sample {
    /// Bytes a second.
    pub(super) fn rate(&self) -> u64 {
        (u64::from(self.bytes) * 1_000_000).checked_div(u64::from(self.interval)).unwrap_or(0)
    }
}

/// A frame of the queue is about to be sent, for the first time or again; SND.NXT does not count it yet.
pub(super) fn on_sent(t: &mut Turn<'_>, frame: FrameId) {
    on_start_of_flight(t);
    if let Some(meta) = t.frames.meta_mut(frame) {
        stamp(&t.c.delivery, meta);
    }
}

/// "If the connection was idle, the flight starts with this packet."
#[inline]
pub(super) fn on_start_of_flight(t: &mut Turn<'_>) {
    if t.c.send.una == t.c.send.next {
        let now = microseconds(t.now);
        (t.c.delivery.first_sent_at, t.c.delivery.delivered_at) = (now, now);
    }
}

/// What a frame that is sent is to tell when it has arrived.
#[inline]
pub(super) fn stamp(d: &Delivery, meta: &mut FrameMeta) {
    (meta.delivered, meta.delivered_at, meta.first_sent_at) = (d.delivered, d.delivered_at, d.first_sent_at);
    meta.flags = if d.limited_until != 0 { meta.flags | APP_LIMITED } else { meta.flags & !APP_LIMITED };
}

/// The peer is now known to have this frame, as it was last sent, and was not before.
pub(super) fn on_delivered(t: &mut Turn<'_>, frame: FrameId) {
    if let Some(meta) = t.frames.meta(frame).copied() {
        delivered(t, &meta, 1);
    }
}

/// The same of so many frames, of which this one was sent last.
#[inline]
pub(super) fn delivered(t: &mut Turn<'_>, meta: &FrameMeta, frames: u32) {
    t.c.tally.delivered = t.c.tally.delivered.wrapping_add(frames);
    if meta.sent_at == 0 || meta.sent_at < t.noted.sent_at {
        return;
    }
    t.noted = Noted {
        sent_at: meta.sent_at,
        delivered: meta.delivered,
        delivered_at: meta.delivered_at,
        first_sent_at: meta.first_sent_at,
        app_limited: meta.flags & APP_LIMITED != 0,
    };
}

/// All that a segment acknowledges, `bytes`, was told to [`on_delivered`]: the sample that it makes, if any.
pub(super) fn sample(t: &mut Turn<'_>, bytes: u32) -> Option<Sample> {
    let now = microseconds(t.now);
    let noted = core::mem::take(&mut t.noted);
    let d = &mut t.c.delivery;
    d.delivered = d.delivered.wrapping_add(bytes);
    if bytes > 0 {
        d.delivered_at = now;
    }
    if d.limited_until != 0 && (d.delivered.wrapping_sub(d.limited_until) as i32) > 0 {
        d.limited_until = 0;
    }
    if noted.sent_at == 0 {
        return None;
    }
    let sent_at = microseconds(noted.sent_at);
    d.first_sent_at = sent_at;
    // "The rate at which the data was delivered cannot exceed the rate at which it was sent", and ACKs that were held
    // up and come at once must not make it look faster: the longer of the two times counts.
    let sending = sent_at.wrapping_sub(noted.first_sent_at);
    let acknowledging = now.wrapping_sub(noted.delivered_at);
    let sample = Sample {
        bytes: d.delivered.wrapping_sub(noted.delivered),
        interval: sending.max(acknowledging),
        prior_delivered: noted.delivered,
        app_limited: noted.app_limited,
    };
    // A time shorter than any round trip comes of a frame that was sent again although it had arrived.
    if sample.interval == 0 || sample.interval < t.c.rtt.smallest {
        return None;
    }
    note_latest(d, &sample);
    Some(sample)
}

/// LINUX: for TCP_INFO an application-limited sample counts only if it is not the lower one.
fn note_latest(d: &mut Delivery, sample: &Sample) {
    let is_lower = || {
        // The rates, each times both of the intervals.
        let (this, latest) = (sample.bytes, d.rate_bytes);
        u64::from(this) * u64::from(d.rate_interval) < u64::from(latest) * u64::from(sample.interval)
    };
    if !sample.app_limited || d.rate_interval == 0 || !is_lower() {
        (d.rate_bytes, d.rate_interval) = (sample.bytes, sample.interval);
    }
}

/// The program has nothing more to send, though the network would take it: until what is in flight has arrived,
/// samples say more about the program than about the network.
pub(super) fn on_idle_program(t: &mut Turn<'_>) {
    let flight = t.c.in_flight();
    let d = &mut t.c.delivery;
    // 0 means "not limited".
    d.limited_until = d.delivered.wrapping_add(flight).max(1);
}

pub(super) fn microseconds(now: u64) -> u32 {
    (now / 1000) as u32
}
