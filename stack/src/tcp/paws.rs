//! Protection against wrapped sequence numbers, and the timestamp that is echoed: RFC 7323 4.3 and 5.

use super::connection::Marks;
use super::segment::Segment;
use super::transmit::milliseconds;
use super::turn::Turn;
use super::{ack, rtt};
use crate::wire::{Flags, Timestamps};

/// RFC 7323 5.5: a connection that was idle for so long (24 days) takes any timestamp.
const TIMESTAMP_LIFETIME: u32 = 24 * 24 * 60 * 60 * 1000;
/// LINUX: TCP_PAWS_WINDOW: two processors may stamp segments in another order than they send them in.
const TOLERANCE: i32 = 1;

/// What the timestamp says of the segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    /// An old duplicate.
    Old,
    /// An ACK that was overtaken: of no use, but nothing to answer either.
    OldAck,
}

/// RFC 7323 5.3: "If there is a Timestamps option in the arriving segment, SEG.TSval < TS.Recent [...] and the RST bit is
/// not set, then treat the arriving segment as not acceptable".
pub(super) fn judge(t: &Turn<'_>, segment: &Segment) -> Verdict {
    let Some(said) = timestamps(t, segment) else { return Verdict::Good };
    if !is_old(t, said, TOLERANCE) || segment.flags.has(Flags::RST) {
        return Verdict::Good;
    }
    // LINUX: tcp_disordered_ack_check(): a pure ACK has no data that could be old, and ACKs do overtake each other.
    let is_pure = segment.flags.has(Flags::ACK) && segment.sequence_len() == 0;
    if !is_pure || segment.seq.is_after(t.c.receive.next) {
        return Verdict::Old;
    }
    if segment.seq.is_before(t.c.receive.next) {
        return Verdict::OldAck;
    }
    let window = u32::from(segment.window) << t.c.send.scale.min(14);
    let age = t.c.receive.ts_recent.wrapping_sub(said.value);
    let replay = rtt::timeout(&t.c.rtt).saturating_mul(12) / 10 / 1_000_000;
    let moves_window = ack::is_newer(&t.c.send, segment, window);
    let repeats = segment.ack == t.c.send.una && !moves_window && u64::from(age) <= replay;
    if repeats { Verdict::Good } else { Verdict::Old }
}

fn timestamps(t: &Turn<'_>, segment: &Segment) -> Option<Timestamps> {
    segment.timestamps.filter(|_| t.c.marks.has(Marks::TIMESTAMPS))
}

fn is_old(t: &Turn<'_>, said: Timestamps, tolerance: i32) -> bool {
    let recent = t.c.receive.ts_recent;
    let is_before = (recent.wrapping_sub(said.value) as i32) > tolerance;
    // LINUX: some peers have 0 in their SYN and right values only later.
    is_before && recent != 0 && !has_expired(t)
}

fn has_expired(t: &Turn<'_>) -> bool {
    milliseconds(t.now).wrapping_sub(t.c.receive.ts_recent_at) > TIMESTAMP_LIFETIME
}

/// RFC 7323 4.3: "If SEG.TSval >= TS.Recent and SEG.SEQ <= Last.ACK.sent, then SEG.TSval is copied to TS.Recent".
pub(super) fn note(t: &mut Turn<'_>, segment: &Segment) {
    let Some(said) = timestamps(t, segment) else { return };
    if is_old(t, said, 0) || segment.seq.is_after(t.c.receive.acked) {
        return;
    }
    t.c.receive.ts_recent = said.value;
    t.c.receive.ts_recent_at = milliseconds(t.now);
}
