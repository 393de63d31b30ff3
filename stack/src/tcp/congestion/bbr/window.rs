//! What follows from the model: the rate of pacing and the window.

use super::super::{LARGEST_WINDOW, Moment, Report, initial_window};
use super::model::in_time;
use super::{Bbr, Flags, HIGH_GAIN, Mode, PROBING, UNIT};

/// "BBRMinPipeCwnd": four segments, so that ACKs that are delayed by pairs keep coming.
const LEAST_SEGMENTS: u32 = 4;
/// The rate stays a hundredth below the bandwidth, so that a queue does not build up of small errors.
const MARGIN: u64 = 99;
/// The round trip that is assumed before there is one, microseconds.
const ASSUMED_ROUND_TRIP: u32 = 1_000;
/// 4.2.2: rates in bytes a second below which one segment, or two, are sent at once.
const SLOW: u64 = 1_200_000 / 8;
const MODERATE: u64 = 24_000_000 / 8;
const LARGEST_QUANTUM: u64 = 64 << 10;

pub(super) fn least(mss: u32) -> u32 {
    LEAST_SEGMENTS * mss
}

/// 4.2.1, "BBRInitPacingRate".
pub(super) fn initial_rate(window: u32, round_trip: u32) -> u64 {
    let round_trip = if round_trip == 0 { ASSUMED_ROUND_TRIP } else { round_trip };
    let rate = u64::from(window) * 1_000_000 / u64::from(round_trip);
    (rate * u64::from(HIGH_GAIN) / u64::from(UNIT)).max(1)
}

impl Bbr {
    /// The bandwidth times a gain.
    pub(super) fn rate(&self, gain: u32) -> u64 {
        in_time(self.bandwidth.best(), u64::from(gain) * 1_000_000 / u64::from(UNIT)) / 100 * MARGIN
    }

    /// 4.2.1, "BBRSetPacingRate": while the pipe is not full it does not fall, for a low sample then says little.
    pub(super) fn pacing_rate(&mut self, current: u64, window: u32, m: &Moment) -> u64 {
        if self.bandwidth.best() == 0 {
            return current.max(1);
        }
        let rate = self.rate(self.pacing_gain()).max(1);
        if !self.flags.has(Flags::MEASURED) && m.round_trip != 0 {
            self.flags.put(Flags::MEASURED, true);
            return rate.max(initial_rate(window, m.round_trip));
        }
        if self.pipe_was_full() || rate > current { rate } else { current }
    }

    /// 4.2.3.2, "BBRInflight": what has to be in flight for the bandwidth times a gain.
    pub(super) fn flight_for(&self, gain: u32, m: &Moment) -> u32 {
        if self.min_round_trip == 0 {
            return initial_window(m.mss);
        }
        let product = in_time(self.bandwidth.best(), u64::from(self.min_round_trip));
        let flight =
            in_time(product, u64::from(gain) * 1_000_000 / u64::from(UNIT)).min(u64::from(LARGEST_WINDOW));
        self.whole_quanta(flight as u32, m)
    }

    /// "BBRQuantizationBudget": enough that a burst may be on its way at each end and in the middle.
    fn whole_quanta(&self, flight: u32, m: &Moment) -> u32 {
        let rate = self.rate(self.pacing_gain());
        let quantum = match rate {
            0..SLOW => m.mss,
            SLOW..MODERATE => 2 * m.mss,
            _ => (rate / 1000).min(LARGEST_QUANTUM).max(2 * u64::from(m.mss)) as u32,
        };
        let is_probing = self.mode == Mode::PROBE_BW && self.phase == PROBING;
        flight.saturating_add(3 * quantum).saturating_add(if is_probing { 2 * m.mss } else { 0 })
    }

    /// 4.2.3: the window after an ACK.
    pub(super) fn window(&mut self, window: u32, m: &Moment, report: &Report) -> u32 {
        let delivered = report.delivered;
        let mut window = self.while_repairing(window, m, report);
        if self.flags.has(Flags::CONSERVING) {
            window = window.max(m.flight.saturating_add(delivered));
        } else {
            let target = self.flight_for(self.window_gain(), m).saturating_add(self.allowance());
            let grown = window.saturating_add(delivered);
            if self.pipe_was_full() {
                window = grown.min(target);
            } else if window < target || m.delivered < initial_window(m.mss) {
                window = grown;
            }
        }
        window = window.max(least(m.mss));
        if self.mode == Mode::PROBE_RTT { window.min(least(m.mss)) } else { window }
    }

    /// 4.2.3.4, "BBRModulateCwndForRecovery": the first round of repairs sends what is delivered; when they are done
    /// the window is what it was.
    fn while_repairing(&mut self, window: u32, m: &Moment, report: &Report) -> u32 {
        let window = window.saturating_sub(report.lost).max(m.mss);
        if self.flags.take(Flags::LOST) && m.is_repairing {
            self.flags.put(Flags::CONSERVING, true);
            // The round that is conserved begins now.
            self.round_end = m.delivered;
            return m.flight.saturating_add(report.delivered).max(m.mss);
        }
        if !m.is_repairing && self.flags.take(Flags::REPAIRING) {
            self.flags.put(Flags::CONSERVING, false);
            return window.max(self.prior_window);
        }
        window
    }
}
