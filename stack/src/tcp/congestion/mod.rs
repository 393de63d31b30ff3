//! Congestion control: how much may be in the network.
//!
//! Loss recovery ([`super::recovery`]) decides what was lost; an algorithm here decides what that means for the
//! window, and how the window grows while nothing is lost.

mod newreno;

use super::connection::{Congestion, Marks};
use super::turn::Turn;
use newreno::NewReno;

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
    Congestion { window: INITIAL_SEGMENTS * u32::from(mss), threshold: u32::MAX, credit: 0 }
}

/// New data was acknowledged and no loss is being repaired.
pub(super) fn on_open_ack(t: &mut Turn<'_>, acked: u32) {
    // RFC 7661: a window that was not used says nothing about the network.
    if t.c.marks.has(Marks::CWND_LIMITED) {
        on_ack(&mut t.c.congestion, acked, u32::from(t.c.send.mss));
    }
}

pub(super) fn on_ack(c: &mut Congestion, acked: u32, mss: u32) {
    ALGORITHM.grow(c, acked, mss);
    c.window = c.window.min(LARGEST_WINDOW);
}

pub(super) fn on_loss(c: &mut Congestion, flight: u32, mss: u32) {
    c.threshold = ALGORITHM.threshold_after_loss(c, flight, mss);
    c.credit = 0;
}

/// LINUX: net.ipv4.tcp_slow_start_after_idle: after a pause of a timeout the window is that of a start.
pub(super) fn after_idle(c: &mut Congestion, mss: u16) {
    c.window = c.window.min(initial(mss).window);
}
