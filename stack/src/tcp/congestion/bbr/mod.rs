//! BBR, version 1 (draft-cardwell-iccrg-bbr-congestion-control-00): the rate and the window follow a model of the path,
//! its bandwidth and its shortest round trip, and not the losses.

mod model;
mod window;

use super::{Congestion, Moment, Report};
use crate::tcp::rate::{Sample, microseconds};
use crate::tcp::transmit::milliseconds;
use model::MaxFilter;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute_mut, transmute_ref};

/// Bandwidths in bytes a second, windows in bytes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct Bbr {
    /// "BtlBwFilter": the largest rate of delivery in the last ten round trips.
    bandwidth: MaxFilter,
    /// "full_bw": what it was when it last grew as it does while the pipe is not full.
    full_bandwidth: u64,
    /// The delivery count at which the round ends.
    round_end: u32,
    /// "RTprop" in microseconds, 0 for none, and when it was measured, in milliseconds.
    min_round_trip: u32,
    min_round_trip_at: u32,
    /// When PROBE_RTT may end, in milliseconds; 0 while the flight is not small enough yet.
    probe_until: u32,
    /// The window before losses were repaired, or before PROBE_RTT.
    prior_window: u32,
    /// When the phase of the cycle began, in microseconds.
    phase_at: u32,
    /// Since when more may have been delivered than the bandwidth explains, in microseconds, and how much was.
    burst_at: u32,
    burst_bytes: u32,
    /// The most that was delivered beyond that, in the last five to ten rounds.
    excess: [u32; 2],
    mode: Mode,
    /// Rounds in which the bandwidth did not grow by much.
    full_rounds: u8,
    /// Index in [`CYCLE`].
    phase: u8,
    flags: Flags,
    /// Rounds that the newer of `excess` is from.
    excess_rounds: u8,
    pad: [u8; 3],
}

/// The states of the draft's section 4.3.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
struct Mode(u8);

impl Mode {
    const STARTUP: Self = Self(0);
    const DRAIN: Self = Self(1);
    const PROBE_BW: Self = Self(2);
    const PROBE_RTT: Self = Self(3);
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
struct Flags(u8);

impl Flags {
    /// This ACK begins a round.
    const ROUND_START: u8 = 1;
    /// A whole round has passed in PROBE_RTT.
    const PROBE_ROUND_DONE: u8 = 1 << 1;
    /// Sending has begun again after a pause: the round trip filter is not to blame for its age.
    const RESTARTED: u8 = 1 << 2;
    /// Losses are being repaired.
    const REPAIRING: u8 = 1 << 3;
    /// It is the first round of that: what is sent is what was delivered.
    const CONSERVING: u8 = 1 << 4;
    /// A loss was just found: conservation begins with the next ACK.
    const LOST: u8 = 1 << 5;
    /// The pacing rate comes of measured bandwidth.
    const MEASURED: u8 = 1 << 6;

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn put(&mut self, flag: u8, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }

    /// Clears the flag and tells whether it was set.
    fn take(&mut self, flag: u8) -> bool {
        let had = self.has(flag);
        self.put(flag, false);
        had
    }
}

/// Gains are in 256ths. "2/ln(2)": the least that lets the rate double in each round.
const HIGH_GAIN: u32 = 739;
const DRAIN_GAIN: u32 = 89;
const UNIT: u32 = 256;
/// 4.3.4.3: "a phase for probing, one for draining the queue that it makes, six for cruising".
const CYCLE: [u32; 8] = [UNIT * 5 / 4, UNIT * 3 / 4, UNIT, UNIT, UNIT, UNIT, UNIT, UNIT];
const PROBING: u8 = 0;
const DRAINING: u8 = 1;
/// "RTpropFilterLen" and "ProbeRTTDuration", milliseconds.
const ROUND_TRIP_LIFETIME: u32 = 10_000;
const PROBE_TIME: u32 = 200;
const FULL_ROUNDS: u8 = 3;

/// The algorithm starts, on a connection with this window and round trip.
pub(super) fn start(c: &mut Congestion, m: &Moment) {
    let bbr: &mut Bbr = transmute_mut!(&mut c.private);
    bbr.min_round_trip = m.round_trip;
    bbr.min_round_trip_at = milliseconds(m.now);
    bbr.round_end = m.delivered;
    c.pacing_rate = window::initial_rate(c.window, m.round_trip);
    c.threshold = u32::MAX;
}

/// Each ACK, whatever is being repaired.
pub(super) fn on_ack(c: &mut Congestion, m: &Moment, report: &Report, sample: Option<Sample>) {
    let bbr: &mut Bbr = transmute_mut!(&mut c.private);
    bbr.update_round(m, sample);
    bbr.update_bandwidth(sample);
    bbr.update_excess(m, report.delivered, c.window);
    bbr.update_phase(m, report);
    bbr.look_for_full_pipe(m, sample);
    let wants_rest = bbr.update_min_round_trip(m, report);
    if wants_rest {
        bbr.rest(c.window);
    }
    let restored = if bbr.mode == Mode::PROBE_RTT { bbr.probe_round_trip(m) } else { None };
    c.window = c.window.max(restored.unwrap_or(0));
    if report.delivered > 0 {
        bbr.flags.put(Flags::RESTARTED, false);
    }
    c.pacing_rate = bbr.pacing_rate(c.pacing_rate, c.window, m);
    c.window = bbr.window(c.window, m, report);
}

/// A loss: recovery begins.
pub(super) fn on_loss(c: &mut Congestion) {
    let window = c.window;
    let bbr: &mut Bbr = transmute_mut!(&mut c.private);
    bbr.save_window(window);
    bbr.flags.put(Flags::LOST, true);
    bbr.flags.put(Flags::REPAIRING, true);
}

/// LINUX: after a timeout the pipe may be another one, so it is looked for when it is full anew.
pub(super) fn on_timeout(c: &mut Congestion) {
    let bbr: &mut Bbr = transmute_mut!(&mut c.private);
    bbr.full_bandwidth = 0;
    bbr.flags.put(Flags::LOST, false);
    bbr.flags.put(Flags::CONSERVING, false);
}

/// A loss was none: a bandwidth that seemed not to grow was perhaps held down by it.
pub(super) fn undo(c: &mut Congestion) {
    let bbr: &mut Bbr = transmute_mut!(&mut c.private);
    (bbr.full_bandwidth, bbr.full_rounds) = (0, 0);
    c.window = c.window.max(bbr.prior_window);
}

/// 4.3.4.4, "BBRHandleRestartFromIdle": sending begins again with nothing in flight. The rate is that of the model, so
/// that the queue does not grow from nothing.
pub(super) fn after_idle(c: &mut Congestion) {
    let bbr: &mut Bbr = transmute_mut!(&mut c.private);
    bbr.flags.put(Flags::RESTARTED, true);
    if bbr.mode == Mode::PROBE_BW {
        c.pacing_rate = bbr.rate(UNIT).max(1);
    }
}

/// Samples of a probing phase with a window of four segments say nothing of the bandwidth.
pub(super) fn is_resting(c: &Congestion) -> bool {
    let bbr: &Bbr = transmute_ref!(&c.private);
    bbr.mode == Mode::PROBE_RTT
}

/// LINUX: `struct tcp_bbr_info`: bandwidth in bytes a second (low and high half), shortest round trip, and both gains.
pub(super) fn details(c: &Congestion) -> [u32; 5] {
    let bbr: &Bbr = transmute_ref!(&c.private);
    let bandwidth = bbr.rate(UNIT);
    let halves = [bandwidth as u32, (bandwidth >> 32) as u32];
    [halves[0], halves[1], bbr.min_round_trip, bbr.pacing_gain(), bbr.window_gain()]
}

/// Past the handshake there is a rate, and state and phase are among those that there are.
pub(super) fn is_sound(c: &Congestion) -> bool {
    let bbr: &Bbr = transmute_ref!(&c.private);
    let filter_is_sorted = bbr.bandwidth.is_sorted();
    c.pacing_rate > 0
        && bbr.mode.0 <= Mode::PROBE_RTT.0
        && usize::from(bbr.phase) < CYCLE.len()
        && filter_is_sorted
}

impl Bbr {
    fn pipe_was_full(&self) -> bool {
        self.full_rounds >= FULL_ROUNDS
    }

    fn pacing_gain(&self) -> u32 {
        match self.mode {
            Mode::STARTUP => HIGH_GAIN,
            Mode::DRAIN => DRAIN_GAIN,
            Mode::PROBE_BW => CYCLE.get(usize::from(self.phase)).copied().unwrap_or(UNIT),
            _ => UNIT,
        }
    }

    fn window_gain(&self) -> u32 {
        match self.mode {
            Mode::STARTUP | Mode::DRAIN => HIGH_GAIN,
            Mode::PROBE_BW => 2 * UNIT,
            _ => UNIT,
        }
    }

    /// 4.3.4: the phases of PROBE_BW.
    fn update_phase(&mut self, m: &Moment, report: &Report) {
        if self.mode == Mode::PROBE_BW && self.phase_is_over(m, report) {
            self.phase = self.phase.wrapping_add(1) % CYCLE.len() as u8;
            self.phase_at = microseconds(m.now);
        }
    }

    fn phase_is_over(&self, m: &Moment, report: &Report) -> bool {
        let is_long = microseconds(m.now).wrapping_sub(self.phase_at) > self.min_round_trip;
        match self.phase {
            // "Probing lasts until the flight has grown to what the gain asks for, or there was a loss": a path with
            // a small buffer may never hold so much.
            PROBING => is_long && (report.lost > 0 || report.flight >= self.flight_for(CYCLE[0], m)),
            // "until the queue that probing has made is gone".
            DRAINING => is_long || report.flight <= self.flight_for(UNIT, m),
            _ => is_long,
        }
    }

    /// 4.3.2.2 and 4.3.3: STARTUP ends when the bandwidth has not grown by a quarter for three rounds, DRAIN when the
    /// queue is gone.
    fn look_for_full_pipe(&mut self, m: &Moment, sample: Option<Sample>) {
        let counts = self.flags.has(Flags::ROUND_START) && sample.is_some_and(|s| !s.app_limited);
        if counts && !self.pipe_was_full() {
            let bandwidth = self.bandwidth.best();
            if bandwidth >= self.full_bandwidth.saturating_add(self.full_bandwidth / 4) {
                (self.full_bandwidth, self.full_rounds) = (bandwidth, 0);
            } else {
                self.full_rounds = self.full_rounds.saturating_add(1);
            }
        }
        if self.mode == Mode::STARTUP && self.pipe_was_full() {
            self.mode = Mode::DRAIN;
        }
        if self.mode == Mode::DRAIN && m.flight <= self.flight_for(UNIT, m) {
            self.enter_probe_bw(m);
        }
    }

    /// "randomly picks the phase, except the one that drains": flows that start together do not probe together.
    fn enter_probe_bw(&mut self, m: &Moment) {
        self.mode = Mode::PROBE_BW;
        let pick = (m.random % 7) as u8;
        self.phase = if pick == 0 { PROBING } else { pick + 1 };
        self.phase_at = microseconds(m.now);
    }

    /// 4.3.5: the flow rests, so that the queue empties and shows the round trip of the path alone.
    fn rest(&mut self, window: u32) {
        self.save_window(window);
        self.mode = Mode::PROBE_RTT;
        self.probe_until = 0;
    }

    /// The window to go back to, when PROBE_RTT is over.
    fn probe_round_trip(&mut self, m: &Moment) -> Option<u32> {
        let now = milliseconds(m.now);
        if self.probe_until == 0 {
            if m.flight <= window::least(m.mss) {
                self.probe_until = now.wrapping_add(PROBE_TIME).max(1);
                self.flags.put(Flags::PROBE_ROUND_DONE, false);
                self.round_end = m.delivered;
            }
            return None;
        }
        if self.flags.has(Flags::ROUND_START) {
            self.flags.put(Flags::PROBE_ROUND_DONE, true);
        }
        let is_time = (now.wrapping_sub(self.probe_until) as i32) > 0;
        if !is_time || !self.flags.has(Flags::PROBE_ROUND_DONE) {
            return None;
        }
        self.min_round_trip_at = now;
        if self.pipe_was_full() {
            self.enter_probe_bw(m);
        } else {
            self.mode = Mode::STARTUP;
        }
        Some(self.prior_window)
    }

    /// The window that is gone back to when a time of exception is over. One that begins in another keeps the larger.
    fn save_window(&mut self, window: u32) {
        let is_exception = self.flags.has(Flags::REPAIRING) || self.mode == Mode::PROBE_RTT;
        self.prior_window = if is_exception { self.prior_window.max(window) } else { window };
    }
}

#[cfg(test)]
mod tests;
