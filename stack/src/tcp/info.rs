//! What TCP_INFO tells.

use super::connection::{Connection, Marks};
use super::rtt;
use crate::region::Handle;
use crate::shard::Shard;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Counted over the connection's life, for TCP_INFO alone.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Tally {
    pub bytes_acked: u64,
    pub bytes_received: u64,
    /// Sent again.
    pub bytes_resent: u64,
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
    pub window_scaling: bool,
    pub send_scale: u8,
    pub receive_scale: u8,
    /// Microseconds.
    pub timeout: u32,
    pub round_trip: u32,
    pub round_trip_variation: u32,
    pub send_mss: u32,
    pub receive_mss: u32,
    pub path_mtu: u32,
    /// Segments.
    pub unacknowledged: u32,
    pub congestion_window: u32,
    pub threshold: u32,
    pub total_retransmissions: u32,
    /// Bytes.
    pub receive_window: u32,
    pub send_window: u32,
    pub not_sent: u32,
    /// Milliseconds.
    pub since_sent: u32,
    pub since_received: u32,
}

pub fn info(s: &Shard, c: Handle<Connection>, now: u64) -> Info {
    s.connections.get(c).map(|c| of(c, now)).unwrap_or_default()
}

fn of(c: &Connection, now: u64) -> Info {
    let mss = u32::from(c.send.mss).max(1);
    let milliseconds = |since: u64| (now.saturating_sub(since) / 1_000_000).min(u64::from(u32::MAX)) as u32;
    Info {
        state: c.state.0,
        recovery_state: c.recovery.phase.0,
        retransmits: c.rtt.backoff,
        probes: c.send.probes,
        backoff: c.rtt.backoff,
        timestamps: c.marks.has(Marks::TIMESTAMPS),
        window_scaling: c.marks.has(Marks::SCALED),
        send_scale: c.send.scale,
        receive_scale: c.receive.scale,
        timeout: (rtt::timeout(&c.rtt) / 1000).min(u64::from(u32::MAX)) as u32,
        round_trip: c.rtt.smoothed / 8,
        round_trip_variation: c.rtt.variation / 4,
        send_mss: mss,
        receive_mss: u32::from(c.receive.mss),
        path_mtu: u32::from(c.path.mtu),
        unacknowledged: c.send.next.since(c.send.una).div_ceil(mss),
        congestion_window: (c.congestion.window / mss).max(1),
        threshold: if c.congestion.threshold == u32::MAX {
            i32::MAX as u32
        } else {
            c.congestion.threshold / mss
        },
        total_retransmissions: c.recovery.total,
        receive_window: c.receive_window(),
        send_window: c.send.window,
        not_sent: c.send.end.since(c.send.next.earlier_of(c.send.end)),
        since_sent: milliseconds(c.timers.last_sent),
        since_received: milliseconds(c.timers.last_received),
    }
}
