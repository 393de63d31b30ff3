//! Slow start and congestion avoidance of RFC 5681.

use super::{Congestion, Moment, Private};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute_mut};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct NewReno {
    /// Bytes that were acknowledged and have not made the window grow yet.
    credit: u32,
    pad: [u32; size_of::<Private>() / 4 - 1],
}

/// `acked` bytes arrived while the window was in use.
pub(super) fn grow(c: &mut Congestion, m: &Moment, acked: u32) {
    if !m.is_limited {
        return;
    }
    let rest = slow_start(c, acked);
    if rest > 0 {
        avoid_congestion(c, rest, m.mss);
    }
}

/// "cwnd += min(N, SMSS)" for each ACK; as ACKs of ours cover whole bursts, all that they cover counts (RFC 3465), up
/// to the threshold. What is left of `acked` behind that.
fn slow_start(c: &mut Congestion, acked: u32) -> u32 {
    let growth = acked.min(c.threshold.saturating_sub(c.window));
    c.window = c.window.saturating_add(growth);
    acked - growth
}

/// RFC 5681 3.1, equation 3 counted in bytes: a segment for each window's worth.
fn avoid_congestion(c: &mut Congestion, acked: u32, mss: u32) {
    let private: &mut NewReno = transmute_mut!(&mut c.private);
    private.credit = private.credit.saturating_add(acked);
    if private.credit >= c.window {
        private.credit -= c.window;
        c.window = c.window.saturating_add(mss);
    }
}

/// Equation 4: "max (FlightSize / 2, 2*SMSS)".
///
/// LINUX: half of the window, not of the flight; one that was not used has shrunk before (`validation`).
pub(super) fn threshold_after_loss(c: &Congestion, m: &Moment) -> u32 {
    (c.window / 2).max(2 * m.mss)
}

pub(super) fn undo(c: &mut Congestion) {
    c.window = c.window.max(c.prior_window);
    c.threshold = c.threshold.max(c.prior_threshold);
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn the_window_doubles_a_round_trip_until_the_threshold_then_grows_by_a_segment() {
        let mut c = Congestion { window: 10_000, threshold: 40_000, ..Congestion::new_zeroed() };
        let m = Moment { mss: 1000, is_limited: true, ..Moment::default() };
        grow(&mut c, &m, 10_000);
        assert_eq!(c.window, 20_000);
        grow(&mut c, &m, 20_000);
        assert_eq!(c.window, 40_000);
        for _ in 0..40 {
            grow(&mut c, &m, 1000);
        }
        assert_eq!(c.window, 41_000);
        assert_eq!(threshold_after_loss(&c, &m), 20_500);
        c.window = 1000;
        assert_eq!(threshold_after_loss(&c, &m), 2000);
        let unused = Moment { is_limited: false, ..m };
        grow(&mut c, &unused, 100_000);
        assert_eq!(c.window, 1000, "a window that was not used does not grow");
    }
}
