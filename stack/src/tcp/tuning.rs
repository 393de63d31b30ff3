//! The sizes of the buffers, as the flow needs them. A size that the program has set stays.
//!
//! The receive buffer follows how fast the program reads: what it took in the last round trip is what the peer may
//! have in the network, and the window has to be twice that for slow start to go on. The send buffer follows the
//! congestion window.

use super::connection::{Connection, Marks};
use super::rate::microseconds;
use super::segment::Segment;
use super::turn::Turn;
use super::{Seq, Settings, Sysctls, window};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How large the buffers are, and what the growth of the receive buffer goes by. Times in microseconds.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Tuning {
    pub receive_buffer: u32,
    pub send_buffer: u32,
    /// The most that the program has read in a round.
    pub round_bytes: u32,
    /// Where the program stood in the stream when this round began, and when that was.
    pub round_from: Seq,
    pub round_since: u32,
    /// The round trip as a receiver sees it, times eight; 0 before the first sample.
    pub round_trip: u32,
    /// With timestamps, the echo that the last sample came from. Without, the end of the window that is being measured,
    /// and when it began.
    pub sample_mark: u32,
    pub sample_since: u32,
}

/// In `Settings::buffers_fixed`.
pub(super) const SEND_FIXED: u8 = 1;
pub(super) const RECEIVE_FIXED: u8 = 2;
/// RFC 6928: what a peer sends in its first round.
const FIRST_SEGMENTS: u32 = 10;
/// LINUX: what a segment costs beside its payload, in headers and in bookkeeping.
const HEADERS_AND_INFO: u32 = 640;
const BOOKKEEPING: u32 = 256;

impl Connection {
    /// Bytes of the receive buffer, as SO_RCVBUF shows them.
    pub fn receive_buffer(&self) -> u32 {
        if receive_is_fixed(&self.settings) {
            self.settings.receive_buffer
        } else {
            self.tuning.receive_buffer
        }
    }

    /// Bytes of the send buffer, as SO_SNDBUF shows them.
    pub fn send_buffer(&self) -> u32 {
        if send_is_fixed(&self.settings) { self.settings.send_buffer } else { self.tuning.send_buffer }
    }
}

/// The size of a receive buffer that nobody has used yet.
pub(super) fn initial_receive_buffer(settings: &Settings, sysctls: &Sysctls) -> u32 {
    if receive_is_fixed(settings) { settings.receive_buffer } else { sysctls.tcp_rmem_default }
}

pub(super) fn receive_is_fixed(settings: &Settings) -> bool {
    settings.buffers_fixed & RECEIVE_FIXED != 0
}

pub(super) fn send_is_fixed(settings: &Settings) -> bool {
    settings.buffers_fixed & SEND_FIXED != 0
}

pub(super) fn initial(sysctls: &Sysctls) -> Tuning {
    Tuning {
        receive_buffer: sysctls.tcp_rmem_default,
        send_buffer: sysctls.tcp_wmem_default,
        ..Tuning::default()
    }
}

/// The transfer begins: the peer's sequence numbers and both MSSs are known.
pub(super) fn begin(t: &mut Turn<'_>) {
    t.c.tuning.round_bytes = t.c.receive_window().min(FIRST_SEGMENTS * u32::from(t.c.send.mss));
    t.c.tuning.round_from = t.c.receive.next;
    t.c.tuning.round_since = microseconds(t.now);
    grow_send_buffer(t);
}

/// A segment with payload has come: perhaps a sample of the round trip.
pub(super) fn on_segment(t: &mut Turn<'_>, segment: &Segment) {
    let timestamps = segment.timestamps.filter(|_| t.c.marks.has(Marks::TIMESTAMPS));
    match timestamps {
        Some(said) if is_sample(t.c, segment.len, said.echo) => {
            t.c.tuning.sample_mark = said.echo;
            let milliseconds = t.timestamp().wrapping_sub(said.echo).max(1);
            sampled(&mut t.c.tuning, milliseconds.saturating_mul(1000), true);
        }
        Some(_) => {}
        None => sample_by_window(t),
    }
}

/// Whether a segment of so many bytes with this echo tells something new: only a full one does, since a small one may have
/// waited for the program, not for our ACK.
#[inline]
pub(super) fn is_sample(c: &Connection, len: u16, echo: u32) -> bool {
    len >= c.receive.mss && echo != c.tuning.sample_mark
}

/// Without timestamps: the time in which the peer sends what the window allowed is a round trip at least.
fn sample_by_window(t: &mut Turn<'_>) {
    let now = microseconds(t.now);
    let mark = Seq(t.c.tuning.sample_mark);
    let is_first = t.c.tuning.sample_since == 0;
    if !is_first && t.c.receive.next.is_before(mark) {
        return;
    }
    if !is_first {
        let elapsed = now.wrapping_sub(t.c.tuning.sample_since).max(1);
        sampled(&mut t.c.tuning, elapsed, false);
    }
    t.c.tuning.sample_mark = t.c.receive.edge.0;
    t.c.tuning.sample_since = now.max(1);
}

/// An exact sample is smoothed; one that is too long at the worst only lowers the estimate.
fn sampled(tuning: &mut Tuning, sample: u32, is_exact: bool) {
    let sample = sample.min(u32::MAX / 16);
    let known = tuning.round_trip;
    tuning.round_trip = match (known, is_exact) {
        (0, _) => sample * 8,
        (_, true) => known - known / 8 + sample,
        (_, false) => known.min(sample * 8),
    };
}

/// The program has read: once in a round trip, whether the buffer should grow.
///
/// LINUX: tcp_rcv_space_adjust().
pub(super) fn on_read(t: &mut Turn<'_>) {
    let tuning = t.c.tuning;
    let now = microseconds(t.now);
    if tuning.round_trip == 0 || now.wrapping_sub(tuning.round_since) < tuning.round_trip / 8 {
        return;
    }
    let fin = u32::from(t.c.marks.has(Marks::FIN_RECEIVED));
    let place = t.c.receive.next - fin - t.c.receive.unread;
    let read = place.since(tuning.round_from);
    t.c.tuning.round_from = place;
    t.c.tuning.round_since = now;
    if read <= tuning.round_bytes {
        return;
    }
    t.c.tuning.round_bytes = read;
    let may_grow =
        t.head.sysctls.tcp_moderate_rcvbuf != 0 && !receive_is_fixed(&t.c.settings) && !t.frames.is_scarce();
    if may_grow {
        let wanted = wanted_window(read, tuning.round_bytes, u32::from(t.c.receive.mss));
        let buffer = window::buffer_for(wanted).min(t.head.sysctls.tcp_rmem_most);
        t.c.tuning.receive_buffer = t.c.tuning.receive_buffer.max(buffer);
    }
}

/// The window for a program that read `read` bytes in the last round and at most `before` in those before it: room
/// for the next round of slow start, for what a loss holds back, and as much again as the flow has just grown.
fn wanted_window(read: u32, before: u32, mss: u32) -> u32 {
    let base = u64::from(read) * 2 + 16 * u64::from(mss);
    let growth = base.saturating_mul(u64::from(read - before)) / u64::from(before.max(1));
    base.saturating_add(growth.saturating_mul(2)).min(u64::from(u32::MAX)) as u32
}

/// The send buffer for the congestion window of now: what is in the network, and as much again from the program.
///
/// LINUX: tcp_sndbuf_expand(), with its figure for the cost of a segment.
pub(super) fn grow_send_buffer(t: &mut Turn<'_>) {
    if t.frames.is_scarce() {
        return;
    }
    let mss = u32::from(t.c.send.mss).max(1);
    let segment = (mss + HEADERS_AND_INFO).next_power_of_two() + BOOKKEEPING;
    let segments = (t.c.congestion.window / mss).max(FIRST_SEGMENTS);
    let wanted = segments.saturating_mul(segment).saturating_mul(2).min(t.head.sysctls.tcp_wmem_most);
    t.c.tuning.send_buffer = t.c.tuning.send_buffer.max(wanted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_sample_is_smoothed_and_a_bound_only_lowers() {
        let mut tuning = Tuning::default();
        sampled(&mut tuning, 1000, false);
        sampled(&mut tuning, 5000, false);
        assert_eq!(tuning.round_trip / 8, 1000);
        sampled(&mut tuning, 100, false);
        assert_eq!(tuning.round_trip / 8, 100);
        (0..100).for_each(|_| sampled(&mut tuning, 50_000, true));
        assert!((49_000..50_001).contains(&(tuning.round_trip / 8)));
        sampled(&mut tuning, u32::MAX, true);
    }

    #[test]
    fn a_flow_that_doubles_gets_room_to_double_again() {
        assert_eq!(wanted_window(10_000, 10_000, 0), 20_000);
        assert_eq!(wanted_window(20_000, 10_000, 0), 120_000);
        assert_eq!(wanted_window(u32::MAX, 0, 1460), u32::MAX);
    }
}
