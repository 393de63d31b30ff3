//! The model of the path: rounds, bandwidth, shortest round trip, and how much comes at once.

use super::super::{Moment, Report};
use super::{Bbr, Flags, Mode, ROUND_TRIP_LIFETIME};
use crate::tcp::rate::{Sample, microseconds};
use crate::tcp::transmit::milliseconds;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The largest value of the last rounds. Of three candidates each is the best since the one before it, so that when the
/// best is too old there is another.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub(super) struct MaxFilter {
    values: [u64; 3],
    rounds: [u32; 3],
    /// "round_count": the present one.
    pub round: u32,
}

/// "BtlBwFilterLen", rounds.
const BANDWIDTH_ROUNDS: u32 = 10;
/// Rounds that one of the two slots for the excess is filled.
const EXCESS_ROUNDS: u8 = 5;
/// An excess is not believed beyond what this many microseconds bring.
const EXCESS_TIME: u64 = 100_000;

impl MaxFilter {
    pub(super) fn best(&self) -> u64 {
        self.values[0]
    }

    pub(super) fn is_sorted(&self) -> bool {
        self.values.is_sorted_by(|a, b| a >= b)
    }

    pub(super) fn put(&mut self, value: u64) {
        let round = self.round;
        let age = |of: u32| round.wrapping_sub(of);
        if value >= self.values[0] || age(self.rounds[2]) > BANDWIDTH_ROUNDS {
            (self.values, self.rounds) = ([value; 3], [round; 3]);
            return;
        }
        if value >= self.values[1] {
            (self.values[1], self.rounds[1]) = (value, round);
            (self.values[2], self.rounds[2]) = (value, round);
        } else if value >= self.values[2] {
            (self.values[2], self.rounds[2]) = (value, round);
        }
        for _ in 0..2 {
            if age(self.rounds[0]) > BANDWIDTH_ROUNDS {
                self.values = [self.values[1], self.values[2], value];
                self.rounds = [self.rounds[1], self.rounds[2], round];
            }
        }
        // A candidate that only repeats the one before it is of no use when that one is gone.
        if self.rounds[1] == self.rounds[0] && age(self.rounds[0]) > BANDWIDTH_ROUNDS / 4 {
            self.values = [self.values[0], value, value];
            self.rounds = [self.rounds[0], round, round];
        } else if self.rounds[2] == self.rounds[1] && age(self.rounds[1]) > BANDWIDTH_ROUNDS / 2 {
            (self.values[2], self.rounds[2]) = (value, round);
        }
    }
}

impl Bbr {
    /// 4.1.1.3: a round ends when something arrives that was sent after it began.
    pub(super) fn update_round(&mut self, m: &Moment, sample: Option<Sample>) {
        let begins = sample.is_some_and(|s| (s.prior_delivered.wrapping_sub(self.round_end) as i32) >= 0);
        self.flags.put(Flags::ROUND_START, begins);
        if begins {
            self.round_end = m.delivered;
            self.bandwidth.round = self.bandwidth.round.wrapping_add(1);
            self.flags.put(Flags::CONSERVING, false);
        }
    }

    /// 4.1.1.2: a sample that the program has limited counts only if it is higher all the same.
    pub(super) fn update_bandwidth(&mut self, sample: Option<Sample>) {
        let Some(sample) = sample else { return };
        let rate = sample.rate();
        if !sample.app_limited || rate >= self.bandwidth.best() {
            self.bandwidth.put(rate);
        }
    }

    /// Links that gather ACKs, or packets, deliver in bursts: how much more came at once than the bandwidth explains has
    /// to be in flight besides (draft-ietf-ccwg-bbr, 5.5.9).
    pub(super) fn update_excess(&mut self, m: &Moment, delivered: u32, window: u32) {
        if self.flags.has(Flags::ROUND_START) {
            self.excess_rounds = self.excess_rounds.saturating_add(1);
            if self.excess_rounds >= EXCESS_ROUNDS {
                self.excess_rounds = 0;
                self.excess = [0, self.excess[0]];
            }
        }
        let now = microseconds(m.now);
        let elapsed = u64::from(now.wrapping_sub(self.burst_at));
        let mut expected = in_time(self.bandwidth.best(), elapsed);
        if u64::from(self.burst_bytes) <= expected {
            (self.burst_at, self.burst_bytes, expected) = (now, 0, 0);
        }
        self.burst_bytes = self.burst_bytes.saturating_add(delivered);
        let excess = u64::from(self.burst_bytes).saturating_sub(expected).min(u64::from(window)) as u32;
        self.excess[0] = self.excess[0].max(excess);
    }

    /// What to add to the window for that.
    pub(super) fn allowance(&self) -> u32 {
        let most = in_time(self.bandwidth.best(), EXCESS_TIME);
        if !self.pipe_was_full() {
            return 0;
        }
        u64::from(self.excess[0].max(self.excess[1])).min(most) as u32
    }

    /// 4.1.2. True when the shortest round trip is so old that it has to be measured anew.
    pub(super) fn update_min_round_trip(&mut self, m: &Moment, report: &Report) -> bool {
        let now = milliseconds(m.now);
        let is_old = now.wrapping_sub(self.min_round_trip_at) > ROUND_TRIP_LIFETIME;
        if let Some(ns) = report.round_trip {
            let round_trip = (ns / 1000).clamp(1, u64::from(u32::MAX)) as u32;
            if self.min_round_trip == 0 || round_trip <= self.min_round_trip || is_old {
                (self.min_round_trip, self.min_round_trip_at) = (round_trip, now);
            }
        }
        is_old && self.mode != Mode::PROBE_RTT && !self.flags.has(Flags::RESTARTED)
    }
}

/// Bytes that a bandwidth brings in so many microseconds.
pub(super) fn in_time(bandwidth: u64, microseconds: u64) -> u64 {
    // The usual case spares a division of 128 bits.
    if let Some(product) = bandwidth.checked_mul(microseconds) {
        return product / 1_000_000;
    }
    (u128::from(bandwidth) * u128::from(microseconds) / 1_000_000).min(u128::from(u64::MAX)) as u64
}
