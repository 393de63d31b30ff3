//! Flows that share a link with a queue: how well they fill it, how fairly, and what queue and losses they make.

use crate::harness::*;
use stack::link::sim::{Conditions, Sim, address};
use stack::region::{Handle, Sizes};
use stack::socket::SocketRef;
use stack::tcp::congestion::Choice;
use stack::tcp::{self, Connection, Info, Listener, Settings};

/// How often programs write and read.
const POLL: u64 = 2 * MILLISECOND;
/// Payload of a full packet, and the packet.
const SEGMENT: f64 = 1448.0;
const PACKET: f64 = 1514.0;
/// More than any window here, so that the window that we announce holds up nobody.
const RECEIVE_BUFFER: u32 = 16 << 20;
/// Packets of several hosts come together.
const ACCESS: u64 = MILLISECOND;
const WRITE: usize = 64 << 10;

/// The link from the clients to the server, and back.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    /// Bits per second.
    pub rate: u64,
    /// One way, in nanoseconds.
    pub delay: u64,
    /// Bytes.
    pub queue: u64,
    /// Packets that are lost behind the queue, without any reason, in millionths.
    pub loss: u32,
}

impl Link {
    /// The bytes that the link holds without its queue.
    pub(crate) fn product(&self) -> u64 {
        self.rate / 8 * (2 * self.delay) / SECOND
    }
}

/// A connection that sends as much as it can.
pub(crate) struct Flow {
    pub connection: Handle<Connection>,
    receiver: Option<Handle<Connection>>,
    pub got: u64,
}

pub(crate) struct Bottleneck {
    pub sim: Sim,
    pub flows: Vec<Flow>,
    listener: Handle<Listener>,
    buffer: Vec<u8>,
    send_buffer: u32,
    is_paused: bool,
}

impl Bottleneck {
    pub(crate) fn new(link: Link, flows: usize, seed: u64) -> Self {
        let (Link { rate, delay, queue, loss }, held) = (link, link.product() + link.queue);
        // Four times a fair share: enough for a flow that has more, and for what it has to send again.
        let send_buffer = ((16 * held / flows as u64) as u32).clamp(256 << 10, 8 << 20);
        let frames = (flows as u64 * u64::from(send_buffer) + 4 * held) / 2048 * 3 / 2 + 4096;
        let sizes = Sizes {
            frames: frames as u32,
            connections: 128,
            requests: 128,
            references: 256,
            watches: 256,
            ..Sizes::tiny()
        };
        let conditions =
            Conditions { rate, delay, queue, loss, access: [ACCESS, 0], ..Conditions::default() };
        let mut sim = Sim::new(sizes, conditions, seed).unwrap();
        let settings = Settings { receive_buffer: RECEIVE_BUFFER, buffers_fixed: 3, ..Settings::default() };
        let listener = tcp::listen(&mut sim.ends[SERVER], address(SERVER), PORT, 128, &settings).unwrap();
        hold(&mut sim, SERVER, SocketRef::Listener(listener));
        Self { sim, flows: Vec::new(), listener, buffer: vec![0; WRITE], send_buffer, is_paused: false }
    }

    pub(crate) fn start(&mut self, choice: Choice) {
        self.start_with(&Settings { congestion: choice.0, ..Settings::default() });
    }

    pub(crate) fn start_with(&mut self, settings: &Settings) {
        let settings = Settings { send_buffer: self.send_buffer, buffers_fixed: 3, ..*settings };
        let connection = connect_with(&mut self.sim, 40_000 + self.flows.len() as u16, &settings);
        self.flows.push(Flow { connection, receiver: None, got: 0 });
    }

    /// Lets time pass; `look` is called each time that the programs have had their turn.
    pub(crate) fn run(&mut self, nanoseconds: u64, mut look: impl FnMut(&mut Self)) {
        let end = self.sim.now + nanoseconds;
        let mut polls = 0;
        while self.sim.now < end {
            self.sim.run_for(POLL.min(end - self.sim.now));
            self.programs();
            look(self);
            polls += 1;
            if polls % 500 == 0 {
                self.sim.check().unwrap();
            }
        }
    }

    /// The programs write no more, or go on with it.
    pub(crate) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    fn programs(&mut self) {
        while let Some(receiver) = accept(&mut self.sim, self.listener) {
            let port = self.sim.ends[SERVER].connections.get(receiver).unwrap().head.tuple.remote_port;
            self.flows[usize::from(port - 40_000)].receiver = Some(receiver);
        }
        let now = self.sim.now;
        for flow in &mut self.flows {
            while !self.is_paused {
                let mut source = &self.buffer[..];
                if tcp::write(&mut self.sim.ends[CLIENT], flow.connection, &mut source, false, now).is_err() {
                    break;
                }
            }
            let Some(receiver) = flow.receiver else { continue };
            loop {
                let mut sink = &mut self.buffer[..];
                match tcp::read(&mut self.sim.ends[SERVER], receiver, &mut sink, false, now) {
                    Ok(n) => flow.got += n as u64,
                    Err(_) => break,
                }
            }
        }
    }

    pub(crate) fn info(&self, flow: usize) -> Info {
        tcp::info(&self.sim.ends[CLIENT], self.flows[flow].connection, self.sim.now)
    }
}

/// What was seen in the time that counts.
struct Seen {
    /// Bytes that each flow brought to its reader.
    got: Vec<u64>,
    /// Share of the time that the link was busy.
    used: f64,
    /// Of the packets that were let through, in nanoseconds, sorted.
    waits: Vec<u64>,
    /// Share of the packets that were dropped.
    lost: f64,
    timeouts: u64,
    link: Link,
    seconds: u64,
}

impl Seen {
    /// Jain's index: 1 when all flows get the same, 1/n when one gets all.
    fn fairness(&self) -> f64 {
        let sum: f64 = self.got.iter().map(|&x| x as f64).sum();
        let squares: f64 = self.got.iter().map(|&x| x as f64 * x as f64).sum();
        sum * sum / (self.got.len() as f64 * squares).max(1.0)
    }

    fn share(&self, flows: std::ops::Range<usize>) -> f64 {
        let all: u64 = self.got.iter().sum();
        self.got[flows].iter().sum::<u64>() as f64 / all as f64
    }

    fn wait(&self, share: f64) -> f64 {
        let at = ((self.waits.len() - 1) as f64 * share) as usize;
        self.waits[at] as f64 / 1e6
    }

    fn mean_wait(&self) -> f64 {
        self.waits.iter().sum::<u64>() as f64 / self.waits.len() as f64 / 1e6
    }

    /// The part of what the link can carry that arrived at readers, each byte once.
    fn goodput(&self) -> f64 {
        let most = self.link.rate as f64 / 8.0 * SEGMENT / PACKET * self.seconds as f64;
        self.got.iter().sum::<u64>() as f64 / most
    }
}

/// Flows that start one after the other within half a second; `seconds` count after `warm_up`.
fn share(link: Link, choices: &[Choice], warm_up: u64, seconds: u64, seed: u64) -> Seen {
    let mut b = Bottleneck::new(link, choices.len(), seed);
    let pause = SECOND / 2 / choices.len() as u64;
    for choice in choices {
        b.start(*choice);
        let jitter = b.sim.random() % (pause / 2);
        b.run(pause / 2 + jitter, |_| {});
    }
    b.run(warm_up * SECOND, |_| {});
    let before: Vec<u64> = b.flows.iter().map(|f| f.got).collect();
    let timeouts = b.sim.ends[CLIENT].counters.tcp_timeouts;
    b.sim.waits = Some(Vec::new());
    b.run(seconds * SECOND, |_| {});
    let mut passed = b.sim.waits.take().unwrap();
    passed.retain(|w| w.from == CLIENT);
    let mut waits: Vec<u64> = passed.iter().filter_map(|w| w.waited).collect();
    waits.sort_unstable();
    let bits: usize = passed.iter().filter(|w| w.waited.is_some()).map(|w| w.len * 8).sum();
    Seen {
        got: b.flows.iter().zip(before).map(|(flow, before)| flow.got - before).collect(),
        used: bits as f64 / (link.rate * seconds) as f64,
        lost: (passed.len() - waits.len()) as f64 / passed.len() as f64,
        waits,
        timeouts: b.sim.ends[CLIENT].counters.tcp_timeouts - timeouts,
        link,
        seconds,
    }
}

const SEED: u64 = 20_261_120;

/// 50 Mb/s, 40 ms there and back, a queue as long as the link.
pub(crate) fn link() -> Link {
    let link = Link { rate: 50_000_000, delay: 20 * MILLISECOND, queue: 0, loss: 0 };
    Link { queue: link.product(), ..link }
}

/// One line of the table: flows of one algorithm, then of another.
struct Row {
    flows: Vec<(Choice, usize)>,
    /// Percent of the bandwidth-delay product.
    queue: u64,
    /// Millionths.
    loss: u32,
}

impl Row {
    fn seen(&self) -> Seen {
        let link = Link { queue: link().product() * self.queue / 100, loss: self.loss, ..link() };
        let choices: Vec<Choice> = self.flows.iter().flat_map(|&(choice, n)| vec![choice; n]).collect();
        let (warm_up, seconds) = match self.flows[0].0 {
            // In a long queue losses are rare, and flows take long to learn of each other.
            _ if self.queue > 100 => (40, 40),
            // Its flows come nearer to each other when they look for the bare round trip, every ten seconds.
            Choice::BBR => (20, 100),
            _ => (10, 30),
        };
        share(link, &choices, warm_up, seconds, SEED + choices.len() as u64)
    }

    fn print(&self, seen: &Seen) -> String {
        let name = self.flows.iter().map(|(choice, n)| format!("{n} {}", choice.name()));
        let first = match self.flows[..] {
            [(_, n), _] => format!("{:.1}", seen.share(0..n) * 100.0),
            _ => String::new(),
        };
        let line = format!(
            "{:<18}{:>6}{:>8.1}{:>8.1}{:>8.1}{:>8.3}{first:>8}{:>8.1}{:>8.1}{:>8.1}{:>8.2}{:>10}",
            name.collect::<Vec<_>>().join(", "),
            self.queue,
            f64::from(self.loss) / 1e4,
            seen.used * 100.0,
            seen.goodput() * 100.0,
            seen.fairness(),
            seen.mean_wait(),
            seen.wait(0.95),
            seen.wait(1.0),
            seen.lost * 100.0,
            seen.timeouts
        );
        line + "\n"
    }
}

/// 50 Mb/s and 40 ms. `queue`: its length in percent of the bandwidth-delay product; `loss`: what the wire loses besides;
/// `used`: share of the time that the link was busy; `good`: share of what it can carry that was new to the reader;
/// `Jain`: fairness; `first`: share that the flows of the first kind got; then the time that packets waited in the
/// queue, the share that it dropped, and retransmission timeouts.
const HEADING: &str = "\
flows              queue  loss %  used %  good %    Jain first % wait ms     p95     max  drop %  timeouts
";

/// The rows are independent of each other, so two processors share the work.
fn table(rows: &[Row]) -> (String, Vec<Seen>) {
    let (even, odd) = std::thread::scope(|scope| {
        let odd = scope.spawn(|| rows.iter().skip(1).step_by(2).map(Row::seen).collect::<Vec<_>>());
        let even: Vec<Seen> = rows.iter().step_by(2).map(Row::seen).collect();
        (even, odd.join().expect("every row ends"))
    });
    let (mut even, mut odd) = (even.into_iter(), odd.into_iter());
    let seen: Vec<Seen> =
        (0..rows.len()).filter_map(|i| if i % 2 == 0 { even.next() } else { odd.next() }).collect();
    (
        HEADING.to_owned() + &rows.iter().zip(&seen).map(|(row, seen)| row.print(seen)).collect::<String>(),
        seen,
    )
}

const SNAPSHOT: &str = include_str!("bottleneck.snapshot");
const RENEW: &str = "SHUNT_RENEW_SNAPSHOT";

/// Time is virtual and chance comes of seeds, so the table is the same each time. A change of it is a change of how
/// flows behave.
#[test]
fn flows_share_a_bottleneck_as_the_snapshot_says() {
    let all = [Choice::RENO, Choice::CUBIC, Choice::BBR];
    let mut rows = vec![];
    for choice in all {
        rows.extend([1, 2, 4, 16, 64].map(|n| Row { flows: vec![(choice, n)], queue: 100, loss: 0 }));
    }
    for choice in all {
        rows.extend([25, 400].map(|queue| Row { flows: vec![(choice, 4)], queue, loss: 0 }));
        rows.extend([1_000, 20_000].map(|loss| Row { flows: vec![(choice, 1)], queue: 100, loss }));
    }
    let against = |other, queue| Row { flows: vec![(Choice::CUBIC, 4), (other, 4)], queue, loss: 0 };
    rows.extend([against(Choice::RENO, 100), against(Choice::BBR, 100), against(Choice::BBR, 400)]);
    let (text, seen) = table(&rows);
    println!("{text}");
    for (row, seen) in rows.iter().zip(&seen) {
        let name = row.print(seen);
        let is_equal = row.flows.len() == 1 && row.queue == 100;
        assert!(!is_equal || seen.fairness() >= 0.95, "not fair: {name}");
        assert!(seen.used > 0.9 || row.loss > 0, "the link stands idle: {name}");
    }
    if std::env::var_os(RENEW).is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulation/bottleneck.snapshot");
        std::fs::write(path, &text).unwrap();
        return;
    }
    for (is, was) in text.lines().zip(SNAPSHOT.lines()) {
        assert_eq!(
            is, was,
            "flows behave otherwise than before; if they should, run this test with {RENEW}=1"
        );
    }
    assert_eq!(text, SNAPSHOT);
}
