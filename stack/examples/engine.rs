//! The engine alone, for counting instructions: under callgrind the `count_*` functions tell what each costs.
//!
//!     valgrind --tool=callgrind --toggle-collect='engine::count_*' target/release/examples/engine receive 20000

use stack::link::sim::{Conditions, Sim, address};
use stack::region::{FrameId, Handle, Purpose, Sizes};
use stack::shard::Shard;
use stack::tcp::{self, Connection, Settings, Tuple};

const SEGMENT: usize = 1448;
const BURST: usize = 16;

fn main() {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let rounds: usize = args.next().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let mut pair = Pair::new();
    let began = std::time::Instant::now();
    match what.as_str() {
        "receive" => pair.bulk(rounds, Side::Receiver),
        "send" => pair.bulk(rounds, Side::Sender),
        "acks" => pair.bulk(rounds, Side::Acks),
        "pingpong" => pair.ping_pong(rounds),
        _ => eprintln!("usage: engine receive|send|acks|pingpong [ROUNDS]"),
    }
    println!("{what}: {:.0} ns each", began.elapsed().as_nanos() as f64 / rounds as f64);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Receiver,
    Sender,
    Acks,
}

struct Pair {
    sim: Sim,
    client: Handle<Connection>,
    server: Handle<Connection>,
    bytes: Vec<u8>,
    buffer: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let mut sim = Sim::new(Sizes::tiny(), Conditions::default(), 7).expect("memory");
        let settings = Settings { no_delay: 1, ..Settings::default() };
        let listener = tcp::listen(&mut sim.ends[1], address(1), 80, 4, &settings).expect("a listener");
        let tuple = Tuple { local: address(0), remote: address(1), local_port: 40_000, remote_port: 80 };
        let client = tcp::connect(&mut sim.ends[0], tuple, &settings, sim.now).expect("a connection");
        sim.run_for(10_000_000);
        let server = tcp::accept(&mut sim.ends[1], listener).expect("a peer");
        Self { sim, client, server, bytes: vec![7; SEGMENT * BURST], buffer: vec![0; 1 << 16] }
    }

    fn bulk(&mut self, rounds: usize, side: Side) {
        let mut frames = Vec::new();
        for _ in 0..rounds.div_ceil(BURST) {
            self.sim.now += 20_000;
            let now = self.sim.now;
            let [sender, receiver] = &mut self.sim.ends;
            let mut part = &self.bytes[..];
            if side == Side::Sender {
                count_write(sender, self.client, &mut part, now);
            } else {
                let _ = tcp::write(sender, self.client, &mut part, false, now);
            }
            carry(sender, receiver, &mut frames);
            if side == Side::Receiver {
                count_input(receiver, &frames, now);
            } else {
                input(receiver, &frames, now);
            }
            let mut sink = &mut self.buffer[..];
            let _ = tcp::read(receiver, self.server, &mut sink, false, now);
            carry(receiver, sender, &mut frames);
            if side == Side::Acks {
                count_input(sender, &frames, now);
            } else {
                input(sender, &frames, now);
            }
        }
    }

    fn ping_pong(&mut self, rounds: usize) {
        let mut frames = Vec::new();
        for _ in 0..rounds {
            self.sim.now += 5_000;
            let now = self.sim.now;
            let [a, b] = &mut self.sim.ends;
            count_turn(a, self.client, &self.bytes[..64], &mut self.buffer, now);
            carry(a, b, &mut frames);
            input(b, &frames, now);
            count_turn(b, self.server, &self.bytes[..64], &mut self.buffer, now);
            carry(b, a, &mut frames);
            count_input(a, &frames, now);
        }
    }
}

/// Moves what `from` has queued into frames of `to`, as a wire would.
fn carry(from: &mut Shard, to: &mut Shard, frames: &mut Vec<FrameId>) {
    frames.clear();
    while let Some(sent) = from.next_out() {
        from.advance_outbox();
        let Some(frame) = to.frames.alloc(Purpose::Control) else { break };
        let packet = from.frames.packet(sent);
        to.frames.chunk_mut(frame)[256..256 + packet.len()].copy_from_slice(packet);
        if let Some(meta) = to.frames.meta_mut(frame) {
            (meta.start, meta.len) = (256, packet.len() as u16);
        }
        from.frames.completed(sent);
        frames.push(frame);
    }
}

fn input(s: &mut Shard, frames: &[FrameId], now: u64) {
    for &frame in frames {
        stack::ip::input(s, frame, now);
    }
    tcp::end_of_burst(s, now);
}

#[inline(never)]
fn count_input(s: &mut Shard, frames: &[FrameId], now: u64) {
    input(s, frames, now);
}

#[inline(never)]
fn count_write(s: &mut Shard, c: Handle<Connection>, part: &mut &[u8], now: u64) {
    let _ = tcp::write(s, c, part, false, now);
}

#[inline(never)]
fn count_turn(s: &mut Shard, c: Handle<Connection>, question: &[u8], buffer: &mut [u8], now: u64) {
    let mut sink = &mut buffer[..];
    let _ = tcp::read(s, c, &mut sink, false, now);
    let _ = tcp::write(s, c, &mut &question[..], false, now);
}
