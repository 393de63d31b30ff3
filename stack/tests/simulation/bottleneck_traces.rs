//! One flow on a bottleneck, watched over time.

use crate::bottleneck::{Bottleneck, Link, link};
use crate::harness::*;
use stack::link::sim::{Conditions, Sim};
use stack::region::Handle;
use stack::tcp::congestion::Choice;
use stack::tcp::{self, Connection, Info, Settings};

const MSS: f64 = 1448.0;

/// What a flow looked like at one moment.
struct Moment {
    /// Seconds since the start.
    at: f64,
    info: Info,
}

/// Runs one flow; what it looked like every two milliseconds.
fn trace(b: &mut Bottleneck, seconds: u64) -> Vec<Moment> {
    let mut moments = vec![];
    let start = b.sim.now;
    b.run(seconds * SECOND, |b| {
        moments.push(Moment { at: (b.sim.now - start) as f64 / 1e9, info: b.info(0) });
    });
    moments
}

fn deep(times: u64) -> Link {
    Link { queue: link().product() * times, ..link() }
}

fn one_flow(link: Link, choice: Choice) -> Bottleneck {
    let mut b = Bottleneck::new(link, 1, 11);
    b.sim.waits = Some(vec![]);
    b.start(choice);
    b
}

/// Packets that the queue had no room for.
fn drops(b: &Bottleneck) -> usize {
    b.sim.waits.iter().flatten().filter(|w| w.waited.is_none()).count()
}

const UNSET: u32 = i32::MAX as u32;
const OPEN: u8 = 0;
const RECOVERY: u8 = 3;

/// RFC 9438 4.2: the window is back at W_max after K = cbrt((W_max - cwnd) / 0.4) seconds, steep at first and flat at the
/// end; halfway an eighth of the way is left.
#[test]
fn cubic_climbs_back_along_its_curve() {
    let mut b = one_flow(link(), Choice::CUBIC);
    let moments = trace(&mut b, 60);
    // The curve begins when the losses are repaired.
    let state = |i: usize| moments[i].info.recovery_state;
    let starts = (1..moments.len()).filter(|&i| state(i - 1) == RECOVERY && state(i) == OPEN);
    let mut checked = [0, 0];
    for start in starts {
        let (begin, after) = (&moments[start], &moments[start..]);
        let stage = after.split(|m| m.info.recovery_state == RECOVERY).next().unwrap_or(&[]);
        let before = f64::from(begin.info.threshold) / 0.7;
        // 4.7: a flow that did not get back to its maximum aims lower, to make room for others. Here it is always
        // about where it was, a segment or two more or less.
        for (which, w_max) in [before, 0.85 * before].into_iter().enumerate() {
            checked[which] += usize::from(follows_the_curve(stage, 0.7 * before, w_max));
        }
    }
    assert!(checked[0] >= 3 && checked[1] >= 2, "{checked:?}");
}

fn follows_the_curve(stage: &[Moment], from: f64, w_max: f64) -> bool {
    let k = ((w_max - from) / 0.4).cbrt();
    let at = |share: f64| stage.iter().find(|m| m.at >= stage[0].at + k * share);
    let fits = |share: f64| {
        let expected = w_max - (1.0 - share).powi(3) * (w_max - from);
        at(share).is_some_and(|m| (f64::from(m.info.congestion_window) - expected).abs() < 0.01 * w_max)
    };
    // The queue overflows again before K is over, for the window was too large when it did the last time.
    fits(0.2) && fits(0.4) && fits(0.65)
}

/// HyStart++ ends slow start when the round trips grow; without it the window doubles until the queue overflows. As the
/// window doubles in bursts, the shortest round trip of a round grows late, and the five rounds that follow let it grow
/// threefold: a queue of a few products overflows all the same, but by less.
#[test]
fn hystart_leaves_slow_start_before_a_deep_queue_overflows() {
    let mut with = one_flow(deep(10), Choice::CUBIC);
    let moments = trace(&mut with, 3);
    let left = moments.iter().find(|m| m.info.threshold != UNSET && m.at > 0.1).expect("slow start ends");
    assert_eq!(drops(&with), 0);
    let product = link().product() as f64 / MSS;
    let window = f64::from(left.info.threshold);
    assert!(window > product && window < 10.0 * product, "left at {window} with a product of {product}");
    let mut without = one_flow(deep(10), Choice::RENO);
    trace(&mut without, 3);
    assert!(drops(&without) > 500, "{} dropped", drops(&without));
    let [mut with, mut without] = [Choice::CUBIC, Choice::RENO].map(|choice| one_flow(deep(4), choice));
    trace(&mut with, 3);
    trace(&mut without, 3);
    assert!(drops(&with) * 3 < drops(&without), "{} with, {} without", drops(&with), drops(&without));
}

#[test]
fn bbr_keeps_the_link_busy_with_little_in_its_queue_and_rests_every_ten_seconds() {
    let mut b = one_flow(deep(4), Choice::BBR);
    trace(&mut b, 3);
    b.sim.waits = Some(vec![]);
    let moments = trace(&mut b, 6);
    let product = link().product() as f64 / MSS;
    let mean = moments.iter().map(|m| f64::from(m.info.unacknowledged)).sum::<f64>() / moments.len() as f64;
    assert!((product..1.2 * product).contains(&mean), "{mean} segments in flight, {product} fit");
    let waits: Vec<u64> =
        b.sim.waits.iter().flatten().filter(|w| w.from == CLIENT).filter_map(|w| w.waited).collect();
    assert!(waits.iter().sum::<u64>() / (waits.len() as u64) < 5 * MILLISECOND);
    assert_eq!(drops(&b), 0);
    let packets = waits.len() as u64 * 1514 * 8;
    assert!(packets > link().rate * 6 * 98 / 100, "{packets} bits in six seconds");
    let moments = trace(&mut b, 20);
    let rests: Vec<&[Moment]> =
        moments.split(|m| m.info.congestion_window > 4).filter(|rest| !rest.is_empty()).collect();
    assert_eq!(rests.len(), 2, "every ten seconds");
    for rest in rests {
        let time = rest[rest.len() - 1].at - rest[0].at;
        assert!((0.2..0.35).contains(&time), "{time:.3} s");
        assert!(rest[rest.len() - 1].info.unacknowledged <= 4);
    }
}

/// What the program alone limited does not count as the path's bandwidth: when it has more to send again, the whole rate is
/// there at once.
#[test]
fn bbr_remembers_the_bandwidth_over_a_time_with_little_to_send() {
    let mut b = one_flow(deep(4), Choice::BBR);
    b.run(3 * SECOND, |_| {});
    b.pause(true);
    b.run(2 * SECOND, |_| {});
    assert_eq!(b.info(0).unacknowledged, 0);
    for _ in 0..100 {
        let client = b.flows[0].connection;
        write(&mut b.sim, CLIENT, client, &[7; 5000]).unwrap();
        b.run(50 * MILLISECOND, |_| {});
    }
    b.pause(false);
    b.run(50 * MILLISECOND, |_| {});
    let got = b.flows[0].got;
    b.run(200 * MILLISECOND, |_| {});
    let share = (b.flows[0].got - got) * 8 * 5 * 100 / link().rate;
    assert!(share > 85, "{share} % of the link");
}

/// SO_MAX_PACING_RATE holds on average, and from millisecond to millisecond as far as the wheel of timers allows.
#[test]
fn a_pacing_rate_that_the_program_sets_is_kept() {
    for (kib, choice) in
        [(128, Choice::CUBIC), (1280, Choice::CUBIC), (51_200, Choice::RENO), (1280, Choice::BBR)]
    {
        let fast = Link { rate: 1_000_000_000, delay: 5 * MILLISECOND, queue: 0, loss: 0 };
        let mut b = Bottleneck::new(fast, 1, 3);
        b.start_with(&Settings { max_pacing_rate: kib, congestion: choice.0, ..Settings::default() });
        b.run(2 * SECOND, |_| {});
        b.sim.waits = Some(vec![]);
        let before = b.flows[0].got;
        b.run(5 * SECOND, |_| {});
        let (rate, got) = (u64::from(kib) << 10, (b.flows[0].got - before) / 5);
        assert!(got <= rate * 1005 / 1000, "{got} for {rate} {}", choice.name());
        assert!(got >= rate * 99 / 100, "{got} for {rate} {}", choice.name());
        b.pause(true);
        b.run(SECOND, |_| {});
        b.pause(false);
        b.run(100 * MILLISECOND, |_| {});
        // Two ticks are caught up with at once, and one segment more.
        let most = rate * 22 / 10_000 + 2 * 1448;
        let sent: Vec<_> = b.sim.waits.iter().flatten().filter(|w| w.from == CLIENT).collect();
        for burst in sent.chunk_by(|a, b| a.at == b.at) {
            let bytes: usize = burst.iter().map(|w| w.len - 66).sum();
            assert!(bytes as u64 <= most, "{bytes} at once for {rate}");
        }
    }
}

/// RFC 7661: a flow that sends less than its window allows does not earn a larger one.
#[test]
fn a_window_that_is_not_used_does_not_grow_and_falls_with_idle_time() {
    for choice in [Choice::RENO, Choice::CUBIC] {
        let mut sim = sim(Conditions::default(), 9);
        let (client, server) = connected(&mut sim);
        set_congestion(&mut sim, client, choice);
        for _ in 0..200 {
            write(&mut sim, CLIENT, client, &[7; 5000]).unwrap();
            run_for(&mut sim, 10 * MILLISECOND);
            read(&mut sim, SERVER, server, 10_000).unwrap();
        }
        let window = tcp::info(&sim.ends[CLIENT], client, sim.now).congestion_window;
        assert_eq!(window, 10, "four segments at a time");
    }
}

fn set_congestion(sim: &mut Sim, c: Handle<Connection>, choice: Choice) {
    sim.ends[CLIENT].connections.get_mut(c).unwrap().settings.congestion = choice.0;
    let now = sim.now;
    tcp::push(&mut sim.ends[CLIENT], c, now);
}

#[test]
fn idle_time_halves_the_window_for_each_timeout() {
    let mut b = one_flow(deep(4), Choice::CUBIC);
    b.run(SECOND, |_| {});
    b.pause(true);
    b.run(3 * SECOND, |_| {});
    assert_eq!(b.info(0).unacknowledged, 0);
    let before = b.info(0).congestion_window;
    assert!(before > 100);
    let timeout = u64::from(b.info(0).timeout);
    let idle = u64::from(b.info(0).since_sent) * 1000;
    b.pause(false);
    b.run(2 * MILLISECOND, |_| {});
    let halvings = (idle / timeout) as u32;
    assert!(halvings >= 1);
    let window = b.info(0).congestion_window;
    assert!(window.abs_diff((before >> halvings).max(10)) <= 2, "{before} {halvings} {window}");
    assert!(b.info(0).threshold >= before * 3 / 4 - 1, "what was found out is remembered");
}

/// TCP_CONGESTION on a live connection: the next ACK is the new algorithm's.
#[test]
fn the_algorithm_can_be_changed_in_the_middle() {
    let mut b = one_flow(link(), Choice::CUBIC);
    let client = b.flows[0].connection;
    for choice in [Choice::BBR, Choice::RENO, Choice::BBR, Choice::CUBIC] {
        b.run(3 * SECOND, |_| {});
        let before = b.info(0).congestion_window;
        set_congestion(&mut b.sim, client, choice);
        assert_eq!(b.info(0).congestion_window, before, "the window stays");
        let got = b.flows[0].got;
        b.run(3 * SECOND, |_| {});
        let share = (b.flows[0].got - got) * 8 * 100 / (3 * link().rate);
        assert!(share > 70, "{share} % of the link with {}", choice.name());
    }
}
