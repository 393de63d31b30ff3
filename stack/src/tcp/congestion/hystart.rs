//! HyStart++ (RFC 9406): the first slow start ends when round trips grow, before the queue overflows.

use super::Moment;
use crate::tcp::Seq;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Round trips in microseconds; 0 for none.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct HyStart {
    /// "windowEnd": the round ends when this is acknowledged.
    round_end: Seq,
    last_round: u32,
    this_round: u32,
    /// What the round trip was when the conservative phase began.
    baseline: u32,
    samples: u8,
    /// Rounds of the conservative phase that have begun; 0 outside of it.
    conservative_rounds: u8,
    is_running: u8,
    pad: u8,
}

/// How slow start goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Full,
    /// "Conservative Slow Start": slower, until it is certain that the queue grows.
    Conservative,
    /// It ends: the threshold becomes the window.
    Over,
}

/// RFC 9406 4.3.
const LEAST_THRESHOLD: u32 = 4_000;
const LARGEST_THRESHOLD: u32 = 16_000;
const THRESHOLD_DIVISOR: u32 = 8;
const SAMPLES: u8 = 8;
pub(super) const CONSERVATIVE_DIVISOR: u32 = 4;
const CONSERVATIVE_ROUNDS: u8 = 5;

impl HyStart {
    /// An ACK in slow start, with its round trip.
    pub(super) fn on_ack(&mut self, m: &Moment, round_trip: Option<u32>) -> Pace {
        let begins = self.is_running == 0 || !m.una.is_before(self.round_end);
        if begins && self.begin_round(m.next) == Pace::Over {
            return Pace::Over;
        }
        let Some(round_trip) = round_trip else { return self.pace() };
        if self.this_round == 0 || round_trip < self.this_round {
            self.this_round = round_trip.max(1);
        }
        self.samples = self.samples.saturating_add(1);
        if self.samples >= SAMPLES {
            self.judge();
        }
        self.pace()
    }

    fn pace(&self) -> Pace {
        if self.conservative_rounds > 0 { Pace::Conservative } else { Pace::Full }
    }

    fn begin_round(&mut self, end: Seq) -> Pace {
        self.is_running = 1;
        self.round_end = end;
        self.last_round = core::mem::take(&mut self.this_round);
        self.samples = 0;
        if self.conservative_rounds == 0 {
            return Pace::Full;
        }
        // "If the transition into CSS happens in the middle of a round, that partial round counts towards the limit of
        // CSS_ROUNDS rounds."
        if self.conservative_rounds >= CONSERVATIVE_ROUNDS {
            return Pace::Over;
        }
        self.conservative_rounds += 1;
        Pace::Conservative
    }

    fn judge(&mut self) {
        if self.conservative_rounds > 0 {
            // "if (currentRoundMinRTT < cssBaselineMinRtt)": the delay was not of our making.
            if self.this_round < self.baseline {
                (self.baseline, self.conservative_rounds) = (0, 0);
            }
        } else if self.last_round != 0 {
            let threshold = (self.last_round / THRESHOLD_DIVISOR).clamp(LEAST_THRESHOLD, LARGEST_THRESHOLD);
            if self.this_round >= self.last_round.saturating_add(threshold) {
                (self.baseline, self.conservative_rounds) = (self.this_round, 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    /// A round of ten ACKs with this round trip; what the last of them says.
    fn round(h: &mut HyStart, at: &mut u32, round_trip: u32) -> Pace {
        let mut pace = Pace::Full;
        let next = Seq(*at + 20);
        for step in 0..10 {
            let m = Moment { una: Seq(*at + step), next, ..Moment::default() };
            pace = h.on_ack(&m, Some(round_trip));
            if pace == Pace::Over {
                return pace;
            }
        }
        *at += 20;
        pace
    }

    #[test]
    fn round_trips_that_grow_lead_through_five_slow_rounds_to_the_end() {
        let (mut h, mut at) = (HyStart::new_zeroed(), 100);
        assert_eq!(round(&mut h, &mut at, 40_000), Pace::Full);
        assert_eq!(round(&mut h, &mut at, 44_900), Pace::Full);
        assert_eq!(round(&mut h, &mut at, 51_000), Pace::Conservative);
        for _ in 0..4 {
            assert_eq!(round(&mut h, &mut at, 52_000), Pace::Conservative);
        }
        assert_eq!(round(&mut h, &mut at, 52_000), Pace::Over);
    }

    #[test]
    fn a_delay_that_passes_lets_slow_start_go_on() {
        let (mut h, mut at) = (HyStart::new_zeroed(), 100);
        round(&mut h, &mut at, 40_000);
        assert_eq!(round(&mut h, &mut at, 60_000), Pace::Conservative);
        assert_eq!(round(&mut h, &mut at, 41_000), Pace::Full);
    }

    #[test]
    fn too_few_samples_decide_nothing() {
        let (mut h, mut at) = (HyStart::new_zeroed(), 100);
        round(&mut h, &mut at, 40_000);
        let m = Moment { una: Seq(at), next: Seq(at + 20), ..Moment::default() };
        for _ in 0..7 {
            assert_eq!(h.on_ack(&m, Some(90_000)), Pace::Full);
        }
        assert_eq!(h.on_ack(&m, None), Pace::Full);
        assert_eq!(h.on_ack(&m, Some(90_000)), Pace::Conservative);
    }
}
