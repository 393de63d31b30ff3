//! The rate at which the network delivers: what bandwidth estimators and TCP_INFO go by.

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
    /// `delivered` at the end of a time in which the program had nothing to send; 0 for none.
    pub limited_until: u32,
    /// The latest sample: bytes, and the microseconds in which they were delivered.
    pub rate_bytes: u32,
    pub rate_interval: u32,
}
