//! What TCP_INFO tells.

use super::congestion::{self, Choice};
use super::connection::{Connection, Marks};
use super::transmit::{milliseconds, path_mss};
use super::turn::Turn;
use super::{pacing, rtt, send_queue};
use crate::region::Handle;
use crate::shard::Shard;
use crate::wire::options::TIMESTAMPS_LEN;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Counted over the connection's life, for TCP_INFO alone.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Tally {
    pub bytes_acked: u64,
    pub bytes_received: u64,
    /// Sent again.
    pub bytes_resent: u64,
    /// When payload last came, in nanoseconds.
    pub data_received_at: u64,
    pub segments_out: u32,
    pub segments_in: u32,
    /// Of these, with payload.
    pub data_out: u32,
    pub data_in: u32,
    /// Segments that the peer is known to have, and those of them that met congestion on the way.
    pub delivered: u32,
    pub delivered_marked: u32,
    /// Segments that came beyond a hole.
    pub beyond: u32,
    /// Milliseconds for which there was something to send, by what held it up: nothing, the peer's window, our buffer.
    limited: [u32; 3],
    /// Since when, in milliseconds, and by what: 0 for nothing to send, or one more than the place in `limited`.
    limited_since: u32,
    limited_by: u8,
    /// 1 when the last output stopped at the peer's window.
    pub stopped_at_window: u8,
    /// Timeouts, and how many rows of them ended with an acknowledgement.
    pub timeouts: u16,
    pub timeout_rows: u16,
    pad: u16,
    /// Milliseconds spent in such rows, and when the present one began; 0 for none.
    pub timeout_time: u32,
    pub timeout_since: u32,
    pad_to_word: u32,
}

impl Tally {
    /// A segment with so much payload has come.
    #[inline]
    pub(super) fn arrived(&mut self, len: u16, now: u64) {
        self.segments_in = self.segments_in.wrapping_add(1);
        if len > 0 {
            self.data_in = self.data_in.wrapping_add(1);
            self.data_received_at = now;
        }
    }
}

/// What held up sending: places in [`Tally::limited`] and one.
const BUSY: u8 = 1;
const WINDOW: u8 = 2;
const BUFFER: u8 = 3;

/// Output has done what it could: notes what there is still to send, and why it was not.
///
/// LINUX: tcp_chrono_start() and tcp_chrono_stop().
#[inline]
pub(super) fn note_limit(t: &mut Turn<'_>) {
    let c = &*t.c;
    let by = if c.send.fresh.some().is_some() {
        if c.tally.stopped_at_window != 0 { WINDOW } else { BUSY }
    } else if !c.has_outstanding() {
        0
    } else if send_queue::has_room(c, t.frames.chunk_size(), &t.head.sysctls) {
        BUSY
    } else {
        BUFFER
    };
    if by != c.tally.limited_by {
        change_limit(t, by);
    }
}

#[cold]
fn change_limit(t: &mut Turn<'_>, by: u8) {
    let now = milliseconds(t.now);
    let tally = &mut t.c.tally;
    let lasted = now.wrapping_sub(tally.limited_since);
    if let Some(total) = tally.limited.get_mut(usize::from(tally.limited_by.wrapping_sub(1))) {
        *total = total.saturating_add(lasted);
    }
    (tally.limited_by, tally.limited_since) = (by, now);
}

/// A retransmission timeout.
pub(super) fn note_timeout(t: &mut Turn<'_>) {
    let now = milliseconds(t.now).max(1);
    let tally = &mut t.c.tally;
    tally.timeouts = tally.timeouts.saturating_add(1);
    if tally.timeout_since == 0 {
        tally.timeout_since = now;
        tally.timeout_rows = tally.timeout_rows.saturating_add(1);
    }
}

/// Something new is acknowledged.
#[inline]
pub(super) fn note_acked(t: &mut Turn<'_>, bytes: u32) {
    let tally = &mut t.c.tally;
    tally.bytes_acked = tally.bytes_acked.wrapping_add(u64::from(bytes));
    if tally.timeout_since != 0 {
        let lasted = milliseconds(t.now).wrapping_sub(tally.timeout_since);
        tally.timeout_time = tally.timeout_time.saturating_add(lasted);
        tally.timeout_since = 0;
    }
}

/// A connection's condition, in the units of `struct tcp_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    pub state: u8,
    /// TCP_CA_Open, TCP_CA_Disorder, TCP_CA_CWR, TCP_CA_Recovery or TCP_CA_Loss.
    pub recovery_state: u8,
    pub retransmits: u8,
    pub probes: u8,
    pub backoff: u8,
    pub timestamps: bool,
    pub selective: bool,
    pub window_scaling: bool,
    pub ecn: bool,
    /// The data of a SYN was taken (RFC 7413).
    pub syn_data: bool,
    pub send_scale: u8,
    pub receive_scale: u8,
    pub app_limited: bool,
    /// Microseconds.
    pub timeout: u32,
    pub ack_timeout: u32,
    pub round_trip: u32,
    pub round_trip_variation: u32,
    pub smallest_round_trip: u32,
    pub receiver_round_trip: u32,
    pub send_mss: u32,
    pub receive_mss: u32,
    pub advertised_mss: u32,
    pub path_mtu: u32,
    /// Segments.
    pub unacknowledged: u32,
    pub sacked: u32,
    pub lost: u32,
    pub resent: u32,
    pub reordering: u32,
    pub congestion_window: u32,
    pub threshold: u32,
    pub total_retransmissions: u32,
    pub segments_out: u32,
    pub segments_in: u32,
    pub data_segments_out: u32,
    pub data_segments_in: u32,
    pub delivered: u32,
    pub delivered_marked: u32,
    pub duplicates_reported: u32,
    pub reorderings_seen: u32,
    pub segments_beyond: u32,
    /// Bytes.
    pub receive_window: u32,
    pub receive_space: u32,
    pub send_window: u32,
    pub not_sent: u32,
    pub bytes_acked: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub bytes_resent: u64,
    /// Bytes a second; `u64::MAX` for no limit.
    pub pacing_rate: u64,
    pub largest_pacing_rate: u64,
    pub delivery_rate: u64,
    /// Microseconds in which there was something to send, and of these, in which something held it up.
    pub busy_time: u64,
    pub window_limited: u64,
    pub buffer_limited: u64,
    pub timeouts: u16,
    pub timeout_rows: u16,
    /// Milliseconds.
    pub timeout_time: u32,
    pub since_sent: u32,
    pub since_data_received: u32,
    pub since_received: u32,
}

pub fn info(s: &Shard, c: Handle<Connection>, now: u64) -> Info {
    s.connections.get(c).map(|c| of(s, c, now)).unwrap_or_default()
}

/// What TCP_CONGESTION names.
pub fn congestion_name(s: &Shard, c: Handle<Connection>) -> &'static str {
    let of_namespace = || Choice(s.head.sysctls.tcp_congestion_control.min(u32::from(u8::MAX)) as u8);
    let Some(c) = s.connections.get(c) else { return of_namespace().name() };
    match (c.congestion.choice, Choice(c.settings.congestion)) {
        (Choice(0), Choice(0)) => of_namespace().name(),
        (Choice(0), asked) => asked.name(),
        (in_force, _) => in_force.name(),
    }
}

/// TCP_CC_INFO: `struct tcp_bbr_info`, for the one algorithm of ours that has something to tell.
pub fn congestion_info(s: &Shard, c: Handle<Connection>) -> Option<[u32; 5]> {
    congestion::details(&s.connections.get(c)?.congestion)
}

fn of(s: &Shard, c: &Connection, now: u64) -> Info {
    let mss = u32::from(c.send.mss).max(1);
    let since = |time: u64| (now.saturating_sub(time) / 1_000_000).min(u64::from(u32::MAX)) as u32;
    let (tally, recovery) = (&c.tally, &c.recovery);
    let outstanding = c.send.next.since(c.send.una);
    let [busy, by_window, by_buffer] = limits(tally, now);
    let asked = c.settings.max_segment;
    let advertised = u32::from(path_mss(&c.path, s.frames.chunk_size()));
    Info {
        state: c.state.0,
        recovery_state: recovery.phase.0,
        retransmits: c.send.retries,
        probes: c.send.probes,
        backoff: c.rtt.backoff,
        timestamps: c.marks.has(Marks::TIMESTAMPS),
        selective: c.marks.has(Marks::SACK),
        window_scaling: c.marks.has(Marks::SCALED),
        ecn: c.marks.has(Marks::ECN),
        syn_data: c.took_syn_data(),
        send_scale: c.send.scale,
        receive_scale: c.receive.scale,
        app_limited: c.delivery.limited_until != 0,
        timeout: (rtt::timeout(&c.rtt) / 1000).min(u64::from(u32::MAX)) as u32,
        ack_timeout: u32::from(c.acking.interval).saturating_mul(1000),
        round_trip: c.rtt.smoothed / 8,
        round_trip_variation: c.rtt.variation / 4,
        smallest_round_trip: if c.rtt.smallest == 0 { u32::MAX } else { c.rtt.smallest },
        receiver_round_trip: c.tuning.round_trip / 8,
        send_mss: mss,
        receive_mss: u32::from(c.receive.mss),
        // LINUX: less what the options of every segment take.
        advertised_mss: if asked == 0 { advertised } else { advertised.min(asked) }
            .saturating_sub(if c.marks.has(Marks::TIMESTAMPS) { TIMESTAMPS_LEN as u32 } else { 0 }),
        path_mtu: u32::from(c.path.mtu),
        unacknowledged: outstanding.div_ceil(mss).max(recovery.order.len),
        sacked: recovery.sacked,
        lost: recovery.waiting.saturating_add(recovery.resent),
        resent: recovery.resent,
        reordering: u32::from(recovery.reordering),
        congestion_window: (c.congestion.window / mss).max(1),
        threshold: match c.congestion.threshold {
            u32::MAX => i32::MAX as u32,
            bytes => bytes / mss,
        },
        total_retransmissions: recovery.total,
        segments_out: tally.segments_out,
        segments_in: tally.segments_in,
        data_segments_out: tally.data_out,
        data_segments_in: tally.data_in,
        delivered: tally.delivered,
        delivered_marked: tally.delivered_marked,
        duplicates_reported: recovery.duplicates,
        reorderings_seen: recovery.reorderings,
        segments_beyond: tally.beyond,
        receive_window: c.receive_window(),
        receive_space: c.tuning.round_bytes,
        send_window: c.send.window,
        not_sent: c.send.end.since(c.send.next.earlier_of(c.send.end)),
        bytes_acked: tally.bytes_acked,
        bytes_received: tally.bytes_received,
        bytes_sent: sent(c),
        bytes_resent: tally.bytes_resent,
        pacing_rate: pacing::rate(c, &s.head.sysctls),
        largest_pacing_rate: match c.settings.max_pacing_rate {
            0 => u64::MAX,
            kibibytes => u64::from(kibibytes) << 10,
        },
        delivery_rate: u64::from(c.delivery.rate_bytes)
            .saturating_mul(1_000_000)
            .checked_div(u64::from(c.delivery.rate_interval))
            .unwrap_or(0),
        busy_time: busy + by_window + by_buffer,
        window_limited: by_window,
        buffer_limited: by_buffer,
        timeouts: tally.timeouts,
        timeout_rows: tally.timeout_rows,
        timeout_time: tally.timeout_time,
        since_sent: since(c.timers.last_sent),
        since_data_received: since(tally.data_received_at),
        since_received: since(c.timers.last_received),
    }
}

/// Payload sent for the first time or again. SYN and FIN count among the acknowledged bytes as on Linux, but are none.
fn sent(c: &Connection) -> u64 {
    let outstanding = u64::from(c.send.next.since(c.send.una));
    let fin = u64::from(c.fin_is_sent());
    let syn = u64::from(!c.marks.has(Marks::PASSIVE));
    let first = c.tally.bytes_acked.saturating_add(outstanding).saturating_sub(fin + syn);
    if c.state.is_opening() { 0 } else { first.saturating_add(c.tally.bytes_resent) }
}

/// The times of [`Tally::limited`] in microseconds, with what has run since the last change.
fn limits(tally: &Tally, now: u64) -> [u64; 3] {
    let mut times = tally.limited.map(u64::from);
    if let Some(time) = times.get_mut(usize::from(tally.limited_by.wrapping_sub(1))) {
        *time += u64::from(milliseconds(now).wrapping_sub(tally.limited_since));
    }
    times.map(|time| time * 1000)
}
