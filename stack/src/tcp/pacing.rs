//! Pacing: segments leave at a rate, not in bursts, where the algorithm or the program asks for it.
//!
//! The timer wheel ticks about once in a millisecond, so the rate is kept from tick to tick, not from segment to
//! segment: what a tick was late is caught up with at once.

use super::connection::Marks;
use super::turn::Turn;
use super::{Connection, Sysctls, congestion};
use crate::region::TICK_SHIFT;

/// How far behind the schedule may be caught up with: a deadline is rounded up to a tick, and set one ahead at least.
const LATENESS: u64 = 2 << TICK_SHIFT;

/// The schedule says that nothing may be sent now: output stops, and the connection's timer is set for when it may.
pub(super) fn holds(t: &mut Turn<'_>) -> bool {
    if t.c.congestion.pacing_rate == 0 || t.c.congestion.paced_until <= t.now {
        return false;
    }
    t.c.marks.set(Marks::PACED);
    true
}

/// So many bytes were sent: they take their time on the schedule.
pub(super) fn on_sent(t: &mut Turn<'_>, bytes: u32) {
    let c = &mut t.c.congestion;
    if c.pacing_rate == 0 {
        return;
    }
    let time = u64::from(bytes) * 1_000_000_000 / c.pacing_rate;
    c.paced_until = c.paced_until.max(t.now.saturating_sub(LATENESS)).saturating_add(time);
}

/// The rate after an ACK, or after settings changed. BBR has set its own.
///
/// LINUX: tcp_update_pacing_rate(): SO_MAX_PACING_RATE makes the other algorithms pace too, at some more than the window
/// in a round trip, so that the window stays what limits them.
pub(super) fn set_rate(t: &mut Turn<'_>) {
    let most = u64::from(t.c.settings.max_pacing_rate) << 10;
    let c = &mut t.c.congestion;
    if congestion::has_own_control(c) {
        c.pacing_rate = if most == 0 { c.pacing_rate } else { c.pacing_rate.min(most) };
        return;
    }
    if most == 0 {
        c.pacing_rate = 0;
        return;
    }
    t.c.congestion.pacing_rate = by_window(t.c, &t.head.sysctls).clamp(1, most);
}

fn by_window(c: &Connection, sysctls: &Sysctls) -> u64 {
    let window = c.congestion.window;
    let in_slow_start = window < c.congestion.threshold / 2;
    let percent = if in_slow_start { sysctls.tcp_pacing_ss_ratio } else { sysctls.tcp_pacing_ca_ratio };
    let round_trip = u64::from(c.rtt.smoothed / 8).max(1);
    (u64::from(window) * 1_000_000 / round_trip).saturating_mul(u64::from(percent)) / 100
}

/// Bytes a second for those who ask: the rate of the schedule, or what it would be if there was one.
pub(super) fn rate(c: &Connection, sysctls: &Sysctls) -> u64 {
    match c.congestion.pacing_rate {
        0 if c.rtt.smoothed == 0 => u64::MAX,
        0 => by_window(c, sysctls),
        rate => rate,
    }
}

/// When output may go on that the schedule has stopped; 0 for none.
pub(super) fn deadline(c: &Connection) -> u64 {
    if c.marks.has(Marks::PACED) { c.congestion.paced_until } else { 0 }
}
