//! Bytes over a bad wire: all arrive, in order, unchanged, whatever it does.
//!
//! A thousand seeds of ten megabytes take minutes; `SHUNT_SIM_SEEDS` and `SHUNT_SIM_BYTES` set other numbers.

use crate::harness::*;
use stack::link::sim::{Conditions, Sim};
use stack::region::{Handle, Sizes};
use stack::tcp::{self, Connection, State};
use std::time::Instant;

/// Prime, so that a shifted stream never looks right.
const PERIOD: usize = 65_521;
/// A wire that lets nothing through for so long is taken for a stack that hangs.
const PATIENCE: u64 = 30 * 24 * 3600 * SECOND;
const LOSSES: [u32; 4] = [0, 10_000, 50_000, 200_000];

/// What the sender writes: the bytes of a place in the stream.
pub(crate) struct Content(Vec<u8>);

impl Content {
    pub(crate) fn new(seed: u64) -> Self {
        let mut x = seed | 1;
        let next = |_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 56) as u8
        };
        Self((0..PERIOD).map(next).collect())
    }

    pub(crate) fn from(&self, place: usize) -> &[u8] {
        &self.0[place % PERIOD..]
    }
}

/// How a transfer went.
struct Outcome {
    nanoseconds: u64,
    retransmissions: u64,
    steps: u64,
}

/// One program's part: it writes and reads until both directions are through, then closes.
struct Party {
    end: usize,
    connection: Handle<Connection>,
    sent: usize,
    got: usize,
    to_send: usize,
    to_get: usize,
    buffer: Vec<u8>,
    at_end: bool,
}

impl Party {
    fn new(end: usize, connection: Handle<Connection>, to_send: usize, to_get: usize) -> Self {
        let buffer = vec![0; 1 << 18];
        Self { end, connection, sent: 0, got: 0, to_send, to_get, buffer, at_end: false }
    }

    /// All that a program does when it is woken.
    fn turn(&mut self, sim: &mut Sim, outgoing: &Content, incoming: &Content) {
        let now = sim.now;
        let shard = &mut sim.ends[self.end];
        while self.sent < self.to_send {
            let rest = outgoing.from(self.sent);
            let mut part = &rest[..rest.len().min(self.to_send - self.sent)];
            match tcp::write(shard, self.connection, &mut part, false, now) {
                Ok(n) => self.sent += n,
                Err(_) => break,
            }
            if self.sent == self.to_send {
                tcp::shutdown_write(shard, self.connection, now);
            }
        }
        while !self.at_end {
            let mut sink = &mut self.buffer[..];
            let Ok(n) = tcp::read(shard, self.connection, &mut sink, false, now) else { break };
            self.at_end = n == 0;
            let mut seen = &self.buffer[..n];
            while !seen.is_empty() {
                let expected = incoming.from(self.got);
                let len = seen.len().min(expected.len());
                assert!(seen[..len] == expected[..len], "other bytes than were sent, around {}", self.got);
                self.got += len;
                seen = &seen[len..];
            }
        }
    }

    fn is_through(&self) -> bool {
        self.at_end && self.sent == self.to_send
    }
}

fn transfer(conditions: Conditions, seed: u64, forth: usize, back: usize) -> Outcome {
    let sizes = Sizes { frames: 768, connections: 8, requests: 8, time_waits: 8, ..Sizes::tiny() };
    let mut sim = Sim::new(sizes, conditions, seed).unwrap();
    let listener = listen(&mut sim, 4);
    let client = connect_from(&mut sim, 40_000);
    let contents = [Content::new(seed), Content::new(!seed)];
    let mut parties = vec![Party::new(CLIENT, client, forth, back)];
    let (start, mut steps) = (sim.now, 0);
    loop {
        assert!(sim.step(), "seed {seed}: nothing is left to happen, {}", outline(&sim, &parties));
        steps += 1;
        sim.check().unwrap_or_else(|broken| panic!("seed {seed}, step {steps}: {broken}"));
        if parties.len() == 1
            && let Some(server) = accept(&mut sim, listener)
        {
            parties.push(Party::new(SERVER, server, back, forth));
        }
        for party in &mut parties {
            let peer = 1 - party.end;
            party.turn(&mut sim, &contents[party.end], &contents[peer]);
        }
        if parties.len() == 2 && parties.iter().all(Party::is_through) {
            break;
        }
        assert!(sim.now < PATIENCE, "seed {seed}: stuck, {}", outline(&sim, &parties));
        assert!(state(&sim, CLIENT, client) != State::CLOSED || parties[0].at_end, "seed {seed}: lost");
    }
    let outcome = Outcome {
        nanoseconds: sim.now - start,
        retransmissions: sim.ends.iter().map(|s| s.counters.tcp_retransmissions).sum(),
        steps,
    };
    for party in parties {
        assert_eq!((party.sent, party.got), (party.to_send, party.to_get));
        close(&mut sim, party.end, party.connection);
    }
    sim.conditions = Conditions::default();
    run_for(&mut sim, 400 * SECOND);
    assert_nothing_is_left(&mut sim);
    outcome
}

/// What a failure has to say of both ends.
fn outline(sim: &Sim, parties: &[Party]) -> String {
    let of = |p: &Party| {
        let shard = &sim.ends[p.end];
        format!("{:?} {:?}", state(sim, p.end, p.connection), tcp::info(shard, p.connection, sim.now))
    };
    parties.iter().map(of).collect::<Vec<_>>().join("\n")
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn bad_wire(loss: u32) -> Conditions {
    Conditions { loss, reordering: 20_000, duplication: 10_000, corruption: 2_000, ..Conditions::default() }
}

#[test]
fn megabytes_arrive_whole_over_a_wire_that_loses_reorders_doubles_and_damages() {
    let seeds = number("SHUNT_SIM_SEEDS", 12);
    let bytes = number("SHUNT_SIM_BYTES", 1_000_000) as usize;
    println!(
        "{:>6} {:>6} {:>12} {:>14} {:>14} {:>9}",
        "loss", "seeds", "Mb/s median", "resent median", "steps", "seconds"
    );
    // One thread for each kind of wire: the seeds make each transfer what it is, not the time it runs at.
    let each = seeds.div_ceil(LOSSES.len() as u64);
    let rows = std::thread::scope(|scope| {
        let threads = LOSSES.map(|loss| scope.spawn(move || over_wire(loss, each, bytes)));
        threads.map(|thread| thread.join().expect("every transfer arrives"))
    });
    rows.iter().for_each(|row| println!("{row}"));
}

/// The row of the table for one kind of wire.
fn over_wire(loss: u32, seeds: u64, bytes: usize) -> String {
    let began = Instant::now();
    let mut rates = Vec::new();
    let mut resent = Vec::new();
    let mut steps = 0;
    for seed in 0..seeds {
        let conditions = if loss == 0 { Conditions::default() } else { bad_wire(loss) };
        let outcome = transfer(conditions, seed * 7919 + u64::from(loss), bytes, 1000);
        rates.push(bytes as f64 * 8e3 / outcome.nanoseconds as f64);
        resent.push(outcome.retransmissions);
        steps += outcome.steps;
    }
    rates.sort_by(f64::total_cmp);
    resent.sort_unstable();
    format!(
        "{:>5.1}% {:>6} {:>12.2} {:>14} {:>14} {:>9.1}",
        f64::from(loss) / 1e4,
        rates.len(),
        rates[rates.len() / 2],
        resent[resent.len() / 2],
        steps,
        began.elapsed().as_secs_f64()
    )
}

#[test]
fn both_directions_at_once_arrive_whole() {
    for seed in 0..4 {
        transfer(bad_wire(30_000), seed, 200_000, 200_000);
    }
}
