//! Congestion control: how much may be in the network.
//!
//! Loss recovery ([`super::recovery`]) decides what was lost; an algorithm here decides what that means for the
//! window, and how the window grows while nothing is lost.

mod newreno;

use super::connection::Marks;
use super::turn::Turn;
use newreno::NewReno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub(in crate::tcp) struct Congestion {
    /// Bytes.
    pub window: u32,
    pub threshold: u32,
    /// Both as they were before the last reduction, in case it turns out to have been needless.
    pub prior_window: u32,
    pub prior_threshold: u32,
    /// Bytes a second that may be sent; 0 for no limit.
    pub pacing_rate: u64,
    /// When the next segment may go, in nanoseconds.
    pub paced_until: u64,
    /// What the algorithm keeps for itself.
    pub private: [u64; 13],
    /// A number of [`Choice`].
    pub choice: u8,
    pub pad: [u8; 7],
}

/// An algorithm, as it is kept in settings: 0 means that of the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice(pub u8);

impl Choice {
    pub const RENO: Self = Self(1);
    pub const CUBIC: Self = Self(2);
    pub const BBR: Self = Self(3);
    const NAMES: [(Self, &'static str); 3] =
        [(Self::RENO, "reno"), (Self::CUBIC, "cubic"), (Self::BBR, "bbr")];

    /// As TCP_CONGESTION names it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(_, known)| *known == name).map(|(choice, _)| choice)
    }

    pub fn name(self) -> &'static str {
        Self::NAMES.into_iter().find(|(choice, _)| *choice == self).map_or("reno", |(_, name)| name)
    }
}

/// What an ACK told about the network.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tcp) struct Report {
    /// Bytes that the peer is now known to have, cumulatively or selectively acknowledged.
    pub delivered: u32,
    /// Of these, what moved SND.UNA.
    pub acked: u32,
    /// Bytes that are now thought to be lost and were not before.
    pub lost: u32,
    /// Bytes in flight before the ACK.
    pub flight: u32,
    /// The round trip of what it acknowledges, in nanoseconds, if it is certain.
    pub round_trip: Option<u64>,
    /// Nothing is being repaired: the window may grow.
    pub is_open: bool,
}

/// RFC 6928: ten segments, but no more than about 14 KiB of small ones.
const INITIAL_SEGMENTS: u32 = 10;
/// Far above any bandwidth-delay product; keeps sums within 32 bits.
const LARGEST_WINDOW: u32 = 1 << 30;

/// What an algorithm decides.
trait Algorithm {
    /// `acked` bytes arrived while the window was in use.
    fn grow(&self, c: &mut Congestion, acked: u32, mss: u32);
    /// The threshold after a loss with `flight` bytes in the network.
    fn threshold_after_loss(&self, c: &Congestion, flight: u32, mss: u32) -> u32;
}

const ALGORITHM: NewReno = NewReno;

pub(super) fn initial(mss: u16) -> Congestion {
    let mut fresh =
        Congestion { window: INITIAL_SEGMENTS * u32::from(mss), ..zerocopy::FromZeros::new_zeroed() };
    fresh.threshold = u32::MAX;
    fresh
}

/// Every ACK that delivered something is told here, once, after recovery has looked at it.
pub(super) fn on_ack(t: &mut Turn<'_>, report: &Report) {
    // RFC 7661: a window that was not used says nothing about the network.
    if report.is_open && t.c.marks.has(Marks::CWND_LIMITED) {
        let mss = u32::from(t.c.send.mss);
        ALGORITHM.grow(&mut t.c.congestion, report.acked, mss);
        t.c.congestion.window = t.c.congestion.window.min(LARGEST_WINDOW);
    }
}

/// The algorithm sets the window on every ACK, also while losses are repaired; recovery then leaves it alone.
pub(super) fn has_own_control(_: &Congestion) -> bool {
    false
}

/// The network is congested: a loss was seen, or ECN says so. Sets the threshold, and remembers what was before. How
/// the window gets there is recovery's affair.
pub(super) fn on_loss(t: &mut Turn<'_>) {
    let (flight, mss) = (t.c.in_flight(), u32::from(t.c.send.mss));
    let c = &mut t.c.congestion;
    (c.prior_window, c.prior_threshold) = (c.window, c.threshold);
    c.threshold = ALGORITHM.threshold_after_loss(c, flight, mss);
}

/// The last [`on_loss`] was a mistake: nothing had been lost.
pub(super) fn undo(t: &mut Turn<'_>) {
    let c = &mut t.c.congestion;
    c.window = c.window.max(c.prior_window);
    c.threshold = c.threshold.max(c.prior_threshold);
}

/// LINUX: net.ipv4.tcp_slow_start_after_idle: after a pause of a timeout the window is that of a start.
pub(super) fn after_idle(t: &mut Turn<'_>) {
    t.c.congestion.window = t.c.congestion.window.min(initial(t.c.send.mss).window);
}
