//! Congestion window validation (RFC 7661, RFC 2861): a window that was not used says nothing about the network, so it
//! does not grow, and after a pause it is given up.
//!
//! LINUX: the window of a flow that always sends a little does not fall: tcp_cwnd_application_limited() waits for a
//! timeout without any ACK, and those that have come.

use super::{Choice, Congestion, Connection, Marks, bbr, initial_window};
use crate::tcp::rtt;
use crate::tcp::turn::Turn;

/// Output is done for now; `has_stopped` when it stopped at the congestion window.
///
/// LINUX: tcp_cwnd_validate(): a window that is full is in use, whether or not there is more to send. That it was full is
/// remembered for as long as this window lasts.
pub(in crate::tcp) fn note_use(t: &mut Turn<'_>, has_stopped: bool) {
    let flight = t.c.in_flight();
    let c = &mut t.c.congestion;
    let is_limited = has_stopped || flight.saturating_add(u32::from(t.c.send.mss)) > c.window;
    let was_limited = t.c.marks.has(Marks::CWND_LIMITED);
    if is_limited || !t.c.send.una.is_before(c.used_until) || (!was_limited && flight > c.used) {
        c.used = flight;
        c.used_until = t.c.send.next;
        t.c.marks.clear(Marks::CWND_LIMITED);
        if is_limited {
            t.c.marks.set(Marks::CWND_LIMITED);
        }
    }
}

/// LINUX: tcp_is_cwnd_limited(): in slow start a window that is used by half may grow, for it doubles in a round trip.
pub(super) fn is_limited(c: &Connection) -> bool {
    let congestion = &c.congestion;
    c.marks.has(Marks::CWND_LIMITED)
        || (congestion.window < congestion.threshold && congestion.window < congestion.used.saturating_mul(2))
}

/// RFC 2861: the threshold keeps the memory of the window that is given up, "ssthresh = max(ssthresh, 3*cwnd/4)".
fn remembered(c: &Congestion) -> u32 {
    c.threshold.max(c.window - c.window / 4)
}

/// Nothing was in flight, and now there is something to send.
///
/// LINUX: tcp_cwnd_restart(): the window is halved for each timeout that has passed, down to that of a start.
pub(in crate::tcp) fn after_idle(t: &mut Turn<'_>) {
    if t.c.congestion.choice == Choice::BBR {
        return bbr::after_idle(&mut t.c.congestion);
    }
    let timeout = rtt::timeout(&t.c.rtt).max(1);
    let idle = t.now.saturating_sub(t.c.timers.last_sent);
    if t.head.sysctls.tcp_slow_start_after_idle == 0 || idle <= timeout {
        return;
    }
    let c = &mut t.c.congestion;
    let least = initial_window(u32::from(t.c.send.mss)).min(c.window);
    c.threshold = remembered(c);
    let halvings = (idle / timeout).min(31) as u32;
    c.window = (c.window >> halvings).max(least);
    c.used = 0;
}
