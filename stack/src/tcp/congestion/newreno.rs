//! Slow start and congestion avoidance of RFC 5681.

use super::{Algorithm, Congestion};

pub(super) struct NewReno;

impl Algorithm for NewReno {
    fn grow(&self, c: &mut Congestion, acked: u32, mss: u32) {
        let mut acked = acked;
        if c.window < c.threshold {
            // "cwnd += min(N, SMSS)" for each ACK; as ACKs of ours cover whole bursts, all that they cover counts
            // (RFC 3465), up to the threshold.
            let growth = acked.min(c.threshold - c.window);
            c.window += growth;
            acked -= growth;
        }
        if acked == 0 {
            return;
        }
        // Congestion avoidance: a segment for each window's worth (equation 3, counted in bytes).
        let credit = &mut c.private[0];
        *credit += u64::from(acked);
        if *credit >= u64::from(c.window) {
            *credit -= u64::from(c.window);
            c.window = c.window.saturating_add(mss);
        }
    }

    /// Equation 4: "max (FlightSize / 2, 2*SMSS)".
    fn threshold_after_loss(&self, _: &Congestion, flight: u32, mss: u32) -> u32 {
        (flight / 2).max(2 * mss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_doubles_a_round_trip_until_the_threshold_then_grows_by_a_segment() {
        let mut c = Congestion { window: 10_000, threshold: 40_000, ..super::super::initial(1000) };
        NewReno.grow(&mut c, 10_000, 1000);
        assert_eq!(c.window, 20_000);
        NewReno.grow(&mut c, 20_000, 1000);
        assert_eq!(c.window, 40_000);
        for _ in 0..40 {
            NewReno.grow(&mut c, 1000, 1000);
        }
        assert_eq!(c.window, 41_000);
        assert_eq!(NewReno.threshold_after_loss(&c, 41_000, 1000), 20_500);
        assert_eq!(NewReno.threshold_after_loss(&c, 1000, 1000), 2000);
    }
}
