use super::*;
use std::collections::VecDeque;
use zerocopy::FromZeros;

const MSS: u32 = 1000;
const MILLISECOND: u64 = 1_000_000;

/// A path that takes a millisecond for each segment and twenty for the way there and back: a megabyte a second, of which
/// 20 kB are on the way. What is sent faster waits in a queue without end.
struct Path {
    c: Congestion,
    now: u64,
    delivered: u32,
    delivered_at: u64,
    first_sent_at: u64,
    sent: VecDeque<Sent>,
    /// When the link is free, and when pacing lets the next segment go.
    free_at: u64,
    next_at: u64,
    /// The program sends one segment at a time.
    is_slow: bool,
    limited_until: u32,
    extra_delay: u64,
}

struct Sent {
    at: u64,
    arrives: u64,
    delivered: u32,
    delivered_at: u64,
    first_sent_at: u64,
    app_limited: bool,
}

const PRODUCT: u32 = 20 * MSS;
const BANDWIDTH: u64 = 1_000_000;

impl Path {
    fn new() -> Self {
        let mut c = Congestion { window: 10 * MSS, ..Congestion::new_zeroed() };
        let now = 1_000 * MILLISECOND;
        start(&mut c, &Moment { now, mss: MSS, round_trip: 20_000, ..Moment::default() });
        Self {
            c,
            now,
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            sent: VecDeque::new(),
            free_at: 0,
            next_at: now,
            is_slow: false,
            limited_until: 0,
            extra_delay: 0,
        }
    }

    fn bbr(&mut self) -> &mut Bbr {
        transmute_mut!(&mut self.c.private)
    }

    fn flight(&self) -> u32 {
        self.sent.len() as u32 * MSS
    }

    fn send(&mut self) {
        if self.sent.is_empty() {
            (self.first_sent_at, self.delivered_at) = (self.now, self.now);
        }
        self.free_at = self.free_at.max(self.now) + MILLISECOND;
        self.sent.push_back(Sent {
            at: self.now,
            arrives: self.free_at + 19 * MILLISECOND + self.extra_delay,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            app_limited: self.delivered <= self.limited_until,
        });
        if self.is_slow || is_resting(&self.c) {
            self.limited_until = self.delivered + self.flight();
        }
        self.next_at = self.next_at.max(self.now) + u64::from(MSS) * 1_000_000_000 / self.c.pacing_rate;
    }

    /// Sends what may go until the next segment is acknowledged, with what `report` says besides. What it loses is
    /// being repaired.
    fn ack(&mut self, report: Report) {
        loop {
            let most = if self.is_slow { MSS } else { self.c.window };
            let may_send = self.flight() + MSS <= most || self.sent.is_empty();
            let arrives = self.sent.front().map_or(u64::MAX, |s| s.arrives);
            if !may_send || self.next_at > arrives {
                break;
            }
            self.now = self.now.max(self.next_at);
            self.send();
        }
        let before = self.flight();
        let sent = self.sent.pop_front().unwrap();
        self.now = self.now.max(sent.arrives);
        self.delivered += MSS;
        (self.delivered_at, self.first_sent_at) = (self.now, sent.at);
        let interval = (sent.at - sent.first_sent_at).max(self.now - sent.delivered_at);
        let sample = Sample {
            bytes: self.delivered - sent.delivered,
            interval: (interval / 1000) as u32,
            prior_delivered: sent.delivered,
            app_limited: sent.app_limited,
        };
        let m = Moment {
            now: self.now,
            mss: MSS,
            flight: self.flight(),
            round_trip: 20_000,
            delivered: self.delivered,
            random: 3,
            is_repairing: report.lost > 0,
            ..Moment::default()
        };
        let round_trip = Some(self.now - sent.at);
        on_ack(&mut self.c, &m, &Report { flight: before, round_trip, ..report }, Some(sample));
    }

    fn run(&mut self, segments: u32) {
        for _ in 0..segments {
            self.ack(one());
        }
    }

    fn mode(&mut self) -> Mode {
        self.bbr().mode
    }
}

fn one() -> Report {
    Report { delivered: MSS, acked: MSS, is_open: true, ..Report::default() }
}

#[test]
fn it_finds_the_bandwidth_drains_the_queue_and_cruises() {
    let mut path = Path::new();
    assert_eq!(path.mode(), Mode::STARTUP);
    let first = path.c.pacing_rate;
    assert_eq!(first, 10_000 * 50 * 739 / 256);
    let mut modes = vec![];
    for _ in 0..1000 {
        path.run(1);
        let mode = path.mode();
        if modes.last() != Some(&mode) {
            modes.push(mode);
        }
    }
    assert_eq!(modes, [Mode::STARTUP, Mode::DRAIN, Mode::PROBE_BW]);
    assert_eq!(path.bbr().bandwidth.best(), BANDWIDTH);
    assert_eq!(path.bbr().min_round_trip, 20_000);
    // Twice the product, and three bursts.
    assert!(path.c.window.abs_diff(2 * PRODUCT + 6 * MSS) <= 8 * MSS, "{}", path.c.window);
}

#[test]
fn probing_goes_round_through_eight_phases() {
    let mut path = Path::new();
    path.run(500);
    let mut rates = vec![];
    for _ in 0..400 {
        path.run(1);
        let rate = path.c.pacing_rate;
        if rates.last() != Some(&rate) {
            rates.push(rate);
        }
    }
    let [probe, drain, cruise] = [BANDWIDTH * 5 / 4, BANDWIDTH * 3 / 4, BANDWIDTH].map(|r| r / 100 * 99);
    let at = rates.iter().position(|r| *r == probe).unwrap();
    assert_eq!(rates[at..at + 4], [probe, drain, cruise, probe]);
}

#[test]
fn after_ten_seconds_without_a_shorter_round_trip_it_rests_and_goes_on() {
    let mut path = Path::new();
    path.run(600);
    let window = path.c.window;
    let last = path.bbr().min_round_trip_at;
    path.extra_delay = MILLISECOND;
    while path.mode() != Mode::PROBE_RTT {
        path.run(1);
    }
    let waited = milliseconds(path.now) - last;
    assert!((10_000..10_100).contains(&waited), "{waited}");
    assert_eq!(path.c.window, 4 * MSS);
    let began = path.now;
    while path.mode() == Mode::PROBE_RTT {
        path.run(1);
    }
    assert_eq!(path.bbr().min_round_trip, 21_000);
    let milliseconds = (path.now - began) / MILLISECOND;
    assert!((200..300).contains(&milliseconds), "{milliseconds}");
    assert!(path.c.window >= window - 8 * MSS, "{} {window}", path.c.window);
    assert_eq!(path.bbr().bandwidth.best(), BANDWIDTH);
}

#[test]
fn a_sample_that_the_program_limited_does_not_lower_the_bandwidth() {
    let mut path = Path::new();
    path.run(600);
    path.is_slow = true;
    path.run(100);
    assert_eq!(path.bbr().bandwidth.best(), BANDWIDTH);
    path.is_slow = false;
    path.run(50);
    assert_eq!(path.bbr().bandwidth.best(), BANDWIDTH);
}

#[test]
fn a_loss_costs_one_round_of_growth_and_the_window_comes_back() {
    let mut path = Path::new();
    path.run(600);
    let before = path.c.window;
    on_loss(&mut path.c);
    path.ack(Report { lost: MSS, ..one() });
    assert!(path.c.window < before, "what is delivered is what is sent: {}", path.c.window);
    path.run(1);
    assert!(path.c.window >= before);
    on_loss(&mut path.c);
    path.ack(Report { lost: MSS, ..one() });
    undo(&mut path.c);
    assert!(path.c.window >= before);
}

#[test]
fn the_filter_holds_the_largest_value_of_ten_rounds() {
    let mut filter = MaxFilter::new_zeroed();
    let mut values = vec![];
    let mut x = 12_345u64;
    for round in 1..500u32 {
        filter.round = round;
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = x >> 54;
        values.push(value);
        filter.put(value);
        let window = |n: usize| *values[values.len().saturating_sub(n)..].iter().max().unwrap();
        // Between the candidates lie a few rounds, whose maximum may be missed.
        assert!(filter.best() <= window(11) && filter.best() >= window(4), "round {round}");
    }
}
