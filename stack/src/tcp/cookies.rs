//! SYN cookies: while the SYN queue is full, what a half-open entry would hold travels in our SYN+ACK and comes back
//! in the peer's ACK (RFC 4987 3.6).
//!
//! The sequence number carries the minute and an index of MSS values under a keyed hash; the low bits of the
//! timestamp carry what else was agreed.

use super::entries::Speaks;
use super::passive::{self, Agreement, UNSCALED};
use super::segment::Segment;
use super::transmit::milliseconds;
use super::{Listener, Seq, Tuple, listen, numbers, reply, window};
use crate::region::Handle;
use crate::shard::Shard;

/// LINUX: these four are nearly all that there are; what lies between them is rounded down.
const MSS_TABLE: [u16; 4] = [536, 1300, 1440, 1460];
const MINUTE: u64 = 60_000_000_000;
/// A cookie is good in its minute and the next one.
const LIFETIME_MINUTES: u32 = 2;
/// The same in milliseconds: a listener that has sent no cookie for so long believes none.
const LIFETIME: u32 = 120_000;
const MINUTE_SHIFT: u32 = 24;
const INDEX_MASK: u32 = (1 << MINUTE_SHIFT) - 1;
/// LINUX: the places in the timestamp: the shift of the peer's windows, SACK, ECN.
const SCALE_MASK: u32 = 15;
const SACK: u32 = 1 << 4;
const ECN: u32 = 1 << 5;
const AGREED_MASK: u32 = (1 << 6) - 1;

/// Answers a SYN without keeping anything.
pub(super) fn answer(s: &mut Shard, agreement: &Agreement, segment: &Segment, now: u64) {
    let Some(l) = s.listeners.get_mut(agreement.listener) else { return };
    l.flooded_at = milliseconds(now).max(1);
    let settings = l.settings;
    let mut a = *agreement;
    if !a.speaks.has(Speaks::TIMESTAMPS) {
        // There is no place to remember any of it.
        (a.speaks, a.scale) = (Speaks::default(), UNSCALED);
    }
    let index = MSS_TABLE.iter().rposition(|&mss| mss <= a.peer_mss).unwrap_or(0) as u32;
    a.iss = bake(s, &a.tuple, a.irs, minute(now), index);
    let Some(path) = s.net.way(a.tuple.remote) else { return };
    let offset = numbers::timestamp_offset(s, &a.tuple);
    let clock = write_agreed(milliseconds(now), &a).wrapping_add(offset);
    let (bytes, len) = passive::answer_options(s, &a, &settings, &path, clock, None);
    s.counters.syn_cookies_sent += 1;
    let window = window::initial(&settings, &s.head.sysctls) as u16;
    let flags = passive::answer_flags(a.speaks);
    // Back the way it came: a flood must not make us look for neighbours.
    reply::send(s, segment, a.iss, a.irs + 1, flags, window, bytes.get(..len).unwrap_or(&[]));
}

/// An ACK that belongs to nothing: the answer to a cookie, perhaps. False: it is not.
pub(super) fn redeem(s: &mut Shard, listener: Handle<Listener>, segment: &Segment, now: u64) -> bool {
    let Some(l) = s.listeners.get(listener) else { return false };
    let is_recent = l.flooded_at != 0 && milliseconds(now).wrapping_sub(l.flooded_at) <= LIFETIME;
    if s.head.sysctls.tcp_syncookies == 0 || !is_recent {
        return false;
    }
    let is_full = listen::is_full(l);
    let (iss, irs) = (segment.ack - 1, segment.seq - 1);
    let Some(peer_mss) = read(s, &segment.tuple, irs, iss, minute(now)) else {
        s.counters.syn_cookies_failed += 1;
        return false;
    };
    let Some((speaks, scale)) = read_agreed(s, segment) else {
        s.counters.syn_cookies_failed += 1;
        return false;
    };
    s.counters.syn_cookies_received += 1;
    if is_full {
        s.counters.accept_queue_overflows += 1;
        return true;
    }
    let ts_recent = segment.timestamps.map_or(0, |t| t.value);
    let a = Agreement { tuple: segment.tuple, listener, iss, irs, ts_recent, peer_mss, scale, speaks };
    if let Some(connection) = passive::create(s, &a, None, now) {
        passive::complete(s, &a, connection, segment, None, now);
    }
    true
}

fn minute(now: u64) -> u32 {
    (now / MINUTE) as u32
}

/// The cookie: a number as hard to guess as any other initial sequence number, from which the minute and the index
/// can be taken out again.
fn bake(s: &Shard, tuple: &Tuple, irs: Seq, minute: u32, index: u32) -> Seq {
    let stamp = numbers::of_minute(s, tuple, minute).wrapping_add(index) & INDEX_MASK;
    numbers::of_cookie(s, tuple) + irs.0 + (minute << MINUTE_SHIFT) + stamp
}

/// The MSS that a cookie stands for, if it is one of ours and not too old.
fn read(s: &Shard, tuple: &Tuple, irs: Seq, iss: Seq, minute: u32) -> Option<u16> {
    let inside = iss.since(numbers::of_cookie(s, tuple) + irs.0);
    let age = minute.wrapping_sub(inside >> MINUTE_SHIFT) & (u32::MAX >> MINUTE_SHIFT);
    if age >= LIFETIME_MINUTES {
        return None;
    }
    let stamp = numbers::of_minute(s, tuple, minute.wrapping_sub(age));
    let index = inside.wrapping_sub(stamp) & INDEX_MASK;
    MSS_TABLE.get(index as usize).copied()
}

/// Our clock with its low bits replaced by what was agreed, and never ahead of the time.
fn write_agreed(clock: u32, a: &Agreement) -> u32 {
    let mut bits = if a.scale == UNSCALED { SCALE_MASK } else { u32::from(a.scale) & SCALE_MASK };
    if a.speaks.has(Speaks::SACK) {
        bits |= SACK;
    }
    if a.speaks.has(Speaks::ECN) {
        bits |= ECN;
    }
    let stamped = clock & !AGREED_MASK | bits;
    if stamped > clock { stamped.wrapping_sub(AGREED_MASK + 1) } else { stamped }
}

/// None when the peer echoes what we would not have agreed to.
fn read_agreed(s: &mut Shard, segment: &Segment) -> Option<(Speaks, u8)> {
    let Some(timestamps) = segment.timestamps else { return Some((Speaks::default(), UNSCALED)) };
    let bits = timestamps.echo.wrapping_sub(numbers::timestamp_offset(s, &segment.tuple));
    let (has_sack, has_ecn) = (bits & SACK != 0, bits & ECN != 0);
    let scale = match bits & SCALE_MASK {
        SCALE_MASK => UNSCALED,
        scale => scale as u8,
    };
    let sysctls = &s.head.sysctls;
    let is_allowed = sysctls.tcp_timestamps != 0
        && (!has_sack || sysctls.tcp_sack != 0)
        && (scale == UNSCALED || sysctls.tcp_window_scaling != 0);
    let speaks = Speaks::default()
        .with(Speaks::TIMESTAMPS, true)
        .with(Speaks::SACK, has_sack)
        .with(Speaks::ECN, has_ecn && sysctls.tcp_ecn != 0);
    is_allowed.then_some((speaks, scale))
}
