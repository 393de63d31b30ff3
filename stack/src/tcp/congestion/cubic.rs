//! CUBIC (RFC 9438), with HyStart++ for the first slow start.

use super::hystart::{CONSERVATIVE_DIVISOR, HyStart, Pace};
use super::{Congestion, Moment, Report, newreno};
use crate::tcp::transmit::milliseconds;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute_mut};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct Cubic {
    hystart: HyStart,
    /// When the last ACK came, in milliseconds.
    acked_at: u32,
    epoch: Epoch,
    /// As it was before the last reduction, in case that was needless.
    saved: Epoch,
    /// What rounding has left of the growth of the window and of its Reno estimate.
    remainder: u64,
    estimate_remainder: u64,
    pad: u64,
}

/// A congestion avoidance stage. Windows in bytes, times in milliseconds.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct Epoch {
    /// "W_max": the window before the last reduction, or less for fast convergence.
    w_max: u32,
    /// "cwnd_prior": the window before the last reduction.
    prior: u32,
    /// Where this stage's curve is flat: W_max, or the window at its start if that is larger.
    plateau: u32,
    /// "K": the time that the curve takes to get there.
    k: u32,
    /// 0 while the stage has not begun.
    started_at: u32,
    /// "W_est": the window that Reno would have.
    estimate: u32,
}

/// Keeps cubes within 64 bits; nothing takes this long between losses.
const LONGEST: u32 = 300_000;
/// RFC 9438 4.3: "alpha_cubic = 3 * (1 - beta_cubic) / (1 + beta_cubic)", with beta_cubic 0.7.
const ALPHA: (u64, u64) = (9, 17);

/// Something new was acknowledged while nothing was being repaired.
pub(super) fn grow(c: &mut Congestion, m: &Moment, report: &Report) {
    let now = milliseconds(m.now);
    let (window, threshold) = (&mut c.window, &mut c.threshold);
    let cubic: &mut Cubic = transmute_mut!(&mut c.private);
    let since_last = now.wrapping_sub(core::mem::replace(&mut cubic.acked_at, now));
    if !m.is_limited {
        // RFC 9438 4.2: t must not count the time in which the window was not used.
        if cubic.epoch.started_at != 0 {
            cubic.epoch.started_at = cubic.epoch.started_at.wrapping_add(since_last).max(1);
        }
        return;
    }
    let mut acked = report.acked;
    if *window < *threshold {
        if *threshold == u32::MAX {
            // "HyStart++ only for the initial slow start": later ones have a threshold that was found out.
            let round_trip = report.round_trip.map(|ns| (ns / 1000).min(u64::from(u32::MAX)) as u32);
            match cubic.hystart.on_ack(m, round_trip) {
                Pace::Full => {}
                // "cwnd = cwnd + (min (N, L * SMSS) / CSS_GROWTH_DIVISOR)". LINUX: no limit L.
                Pace::Conservative => acked /= CONSERVATIVE_DIVISOR,
                Pace::Over => *threshold = *window,
            }
        }
        let growth = acked.min(threshold.saturating_sub(*window));
        *window = window.saturating_add(growth);
        acked -= growth;
    }
    if acked > 0 {
        avoid_congestion(window, cubic, m, now, acked);
    }
}

fn avoid_congestion(window: &mut u32, cubic: &mut Cubic, m: &Moment, now: u32, acked: u32) {
    if cubic.epoch.started_at == 0 {
        cubic.epoch.begin(*window, m.mss, now);
        (cubic.remainder, cubic.estimate_remainder) = (0, 0);
    }
    let epoch = &mut cubic.epoch;
    let elapsed = now.wrapping_sub(epoch.started_at).min(LONGEST);
    // "segments_acked / cwnd", times alpha: what Reno would grow by.
    let (numerator, denominator) = if epoch.estimate < epoch.prior { ALPHA } else { (1, 1) };
    let divisor = u64::from(*window).max(1);
    let credit = (u64::from(acked) * u64::from(m.mss) * numerator / denominator)
        .saturating_add(cubic.estimate_remainder);
    epoch.estimate = epoch.estimate.saturating_add((credit / divisor).min(u64::from(u32::MAX)) as u32);
    cubic.estimate_remainder = credit % divisor;
    // 4.3: "if W_cubic(t) is less than W_est(t), then CUBIC is in the Reno-friendly region".
    if epoch.window_at(elapsed, m.mss) < epoch.estimate {
        *window = epoch.estimate.max(*window);
        return;
    }
    // 4.4: "target" is W_cubic(t + RTT), but not more than one and a half times the window.
    let ahead = elapsed + (m.round_trip / 1000).min(LONGEST);
    let most = window.saturating_add(*window / 2);
    let target = epoch.window_at(ahead, m.mss).clamp(*window, most);
    // "cwnd must be incremented by (target - cwnd) / cwnd for each received new ACK", here in bytes.
    let credit = (u64::from(target - *window) * u64::from(acked)).saturating_add(cubic.remainder);
    *window = window.saturating_add((credit / divisor) as u32);
    cubic.remainder = credit % divisor;
}

impl Epoch {
    fn begin(&mut self, window: u32, mss: u32, now: u32) {
        // 4.2: K is "the cubic root of (W_max - cwnd_epoch) / C"; without a W_max above the window it is 0.
        let below = u64::from(self.w_max.saturating_sub(window));
        self.k = cube_root(below * 2_500_000_000 / u64::from(mss)) as u32;
        self.plateau = self.w_max.max(window);
        self.started_at = now.max(1);
        self.estimate = window;
    }

    /// 4.2: "W_cubic(t) = C*(t - K)^3 + W_max", with C = 0.4.
    fn window_at(&self, t: u32, mss: u32) -> u32 {
        let distance = u64::from(t.abs_diff(self.k).min(LONGEST));
        let cube = distance * distance * distance / 1000;
        let change = (cube * 2 * u64::from(mss) / 5_000_000).min(u64::from(u32::MAX)) as u32;
        if t < self.k { self.plateau.saturating_sub(change) } else { self.plateau.saturating_add(change) }
    }
}

/// The largest number whose cube is not more.
fn cube_root(of: u64) -> u64 {
    let mut root = 0u64;
    for bit in (0..21).rev() {
        let candidate = root | 1 << bit;
        if candidate * candidate * candidate <= of {
            root = candidate;
        }
    }
    root
}

/// RFC 9438 4.6: the threshold after a loss. 4.7, fast convergence: a flow that did not get back to where it was makes
/// room for others.
pub(super) fn threshold_after_loss(c: &mut Congestion, m: &Moment) -> u32 {
    let window = c.window;
    let cubic: &mut Cubic = transmute_mut!(&mut c.private);
    let epoch = &mut cubic.epoch;
    cubic.saved = *epoch;
    // "W_max = cwnd * (1 + beta_cubic) / 2".
    epoch.w_max = if window < epoch.w_max { (u64::from(window) * 17 / 20) as u32 } else { window };
    epoch.prior = window;
    epoch.started_at = 0;
    // "ssthresh = flight_size * beta_cubic; max(ssthresh, 2)". LINUX: of the window; see `newreno`.
    ((u64::from(window) * 7 / 10) as u32).max(2 * m.mss)
}

/// RFC 9438 4.8: after a timeout "K is set to 0, and W_max is set to the congestion window size at the beginning" of
/// congestion avoidance.
pub(super) fn on_timeout(c: &mut Congestion) {
    let cubic: &mut Cubic = transmute_mut!(&mut c.private);
    cubic.epoch.w_max = 0;
}

/// RFC 9438 4.9: nothing had been lost; the curve goes on from where it was.
pub(super) fn undo(c: &mut Congestion) {
    newreno::undo(c);
    let cubic: &mut Cubic = transmute_mut!(&mut c.private);
    cubic.epoch = cubic.saved;
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    const MSS: u32 = 1000;
    const MILLISECOND: u64 = 1_000_000;

    fn fresh(window: u32) -> Congestion {
        Congestion { window, threshold: window, ..Congestion::new_zeroed() }
    }

    /// Acknowledges a window in every round trip, until `end` milliseconds.
    fn run(c: &mut Congestion, from: u64, end: u64, round_trip: u64) -> Vec<(u64, u32)> {
        let mut trace = Vec::new();
        let mut at = from;
        while at < end {
            let window = c.window;
            let m = Moment {
                now: at * MILLISECOND,
                mss: MSS,
                round_trip: (round_trip * 1000) as u32,
                is_limited: true,
                ..Moment::default()
            };
            for _ in 0..window / MSS {
                grow(c, &m, &Report { acked: MSS, delivered: MSS, ..Report::default() });
            }
            trace.push((at, c.window));
            at += round_trip;
        }
        trace
    }

    fn lose(c: &mut Congestion) {
        c.threshold = threshold_after_loss(c, &Moment { mss: MSS, ..Moment::default() });
        c.window = c.threshold;
    }

    #[test]
    fn the_cube_root_is_exact() {
        for n in [0, 1, 2, 3, 100, 4641, 1 << 20, (1 << 21) - 1] {
            assert_eq!(cube_root(n * n * n), n);
            assert_eq!(cube_root(n * n * n + 1), n.max(1));
        }
        assert_eq!(cube_root(u64::MAX), (1 << 21) - 1);
    }

    #[test]
    fn the_window_is_back_at_its_maximum_after_k_and_flat_around_it() {
        let mut c = fresh(1_000_000);
        lose(&mut c);
        assert_eq!(c.window, 700_000);
        // K = cbrt(300 / 0.4) s = 9.086 s.
        let trace = run(&mut c, 1000, 25_000, 100);
        let back = trace.iter().find(|(_, window)| *window >= 995_000).unwrap().0 - 1000;
        assert!((6_500..9_100).contains(&back), "{back}");
        let at = |ms: u64| trace.iter().find(|(t, _)| *t >= 1000 + ms).unwrap().1;
        assert!(at(9_086).abs_diff(1_000_000) < 1_000, "{}", at(9_086));
        // Halfway to K an eighth of the way is left; a K later as much above.
        assert!(at(4_543).abs_diff(962_500) < 2_500, "{}", at(4_543));
        assert!(at(18_172).abs_diff(1_300_000) < 12_000, "{}", at(18_172));
    }

    #[test]
    fn a_small_window_grows_as_reno_with_its_rate_of_loss() {
        let mut c = fresh(20_000);
        lose(&mut c);
        // Round trips of 10 ms: the curve is flat for seconds, Reno's line is not. 9/17 of a segment each, up to the
        // window before the loss, then one.
        let trace = run(&mut c, 1000, 1_400, 10);
        let at = |n: usize| trace[n].1;
        assert!(at(9).abs_diff(14_000 + 10 * 9_000 / 17) < 500, "{}", at(9));
        assert!((at(39) - at(29)).abs_diff(10_000) < 500, "{} {}", at(29), at(39));
    }

    #[test]
    fn a_flow_that_shrinks_makes_room_for_others() {
        let mut c = fresh(100_000);
        lose(&mut c);
        lose(&mut c);
        let cubic: &mut Cubic = transmute_mut!(&mut c.private);
        assert_eq!((cubic.epoch.prior, cubic.epoch.w_max), (70_000, 59_500));
    }

    #[test]
    fn after_a_timeout_the_curve_begins_at_its_flat_place() {
        let mut c = fresh(1_000_000);
        lose(&mut c);
        on_timeout(&mut c);
        let trace = run(&mut c, 1000, 4_000, 100);
        // Reno's line is steeper at first: 9/17 of a segment a round trip.
        let grown = trace[trace.len() - 1].1 - 700_000;
        assert!(grown.abs_diff(30 * 9_000 / 17) < 3_000, "{grown}");
    }

    #[test]
    fn time_without_use_of_the_window_does_not_count() {
        let mut c = fresh(1_000_000);
        lose(&mut c);
        run(&mut c, 1000, 2_000, 100);
        let before = c.window;
        let idle = Moment { now: 60_000 * MILLISECOND, mss: MSS, ..Moment::default() };
        grow(&mut c, &idle, &Report { acked: MSS, ..Report::default() });
        assert_eq!(c.window, before);
        let trace = run(&mut c, 60_100, 60_200, 100);
        assert!(trace[0].1 < before + 40_000, "{} after {before}", trace[0].1);
    }

    #[test]
    fn a_needless_reduction_is_undone_with_its_curve() {
        let mut c = fresh(1_000_000);
        lose(&mut c);
        run(&mut c, 1000, 4_000, 100);
        let before = (c.window, c.threshold);
        let curve = |c: &mut Congestion| {
            let cubic: &mut Cubic = transmute_mut!(&mut c.private);
            (cubic.epoch.w_max, cubic.epoch.k, cubic.epoch.started_at, cubic.epoch.estimate)
        };
        let was = curve(&mut c);
        (c.prior_window, c.prior_threshold) = before;
        lose(&mut c);
        assert_ne!(curve(&mut c), was);
        undo(&mut c);
        assert_eq!(((c.window, c.threshold), curve(&mut c)), (before, was));
    }
}
