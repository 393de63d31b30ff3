//! Two stacks in some state of a conversation.

use crate::Report;
use crate::dice::Dice;
use crate::frames;
use stack::link::sim::{self, Conditions, Packet, Sim, address};
use stack::region::{Handle, Sizes, Slab};
use stack::socket::{self, SocketRef};
use stack::tcp::{self, Connection, Listener, Settings, Sysctls, Tuple};
use zerocopy::{FromBytes, IntoBytes};

const CLIENT: usize = 0;
const SERVER: usize = 1;
const PORT: u16 = 80;
const MILLISECOND: u64 = 1_000_000;
/// The process slot that holds all sockets of an end.
const PROCESS: u16 = 1;
/// No honest conversation of a minute has so many.
const MOST_BURSTS: u32 = 20_000;

/// What the world is in the middle of when the inputs begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Listening,
    SynSent,
    HalfOpen,
    Established,
    Transfer,
    /// Segments beyond holes.
    Holes,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    /// Both ends have sent a SYN to each other.
    BothOpen,
    /// The listener has answered by a cookie.
    Cookies,
    /// Nobody reads, and the window is closed.
    ZeroWindow,
}

pub const STARTS: [Start; 15] = [
    Start::Listening,
    Start::SynSent,
    Start::HalfOpen,
    Start::Established,
    Start::Transfer,
    Start::Holes,
    Start::FinWait1,
    Start::FinWait2,
    Start::CloseWait,
    Start::Closing,
    Start::LastAck,
    Start::TimeWait,
    Start::BothOpen,
    Start::Cookies,
    Start::ZeroWindow,
];

pub struct World {
    sim: Sim,
    listener: Handle<Listener>,
    connections: [Vec<Handle<Connection>>; 2],
    buffer: Vec<u8>,
    /// Two ends answered each other without end.
    stormy: bool,
}

impl World {
    pub fn new(start: Start, seed: u64) -> Self {
        let sizes = Sizes { frames: 192, connections: 16, requests: 16, time_waits: 16, ..Sizes::tiny() };
        let mut sim = Sim::new(sizes, Conditions::default(), seed).expect("no memory for a region");
        sim.tap = Some(Vec::new());
        let mut dice = Dice::new(seed);
        for end in &mut sim.ends {
            customs(&mut end.head.sysctls, &mut dice, start);
        }
        let small = Settings {
            fast_open: dice.pick(&[0, 3]),
            congestion: dice.below(4) as u8,
            urgent_inline: dice.below(2) as u8,
            receive_buffer: 64 << 10,
            send_buffer: 64 << 10,
            buffers_fixed: 3,
            ..Settings::default()
        };
        let listener =
            tcp::listen(&mut sim.ends[SERVER], address(SERVER), PORT, 4, &small).expect("a fresh table");
        let _ = socket::hold(&mut sim.ends[SERVER], SocketRef::Listener(listener), PROCESS);
        let mut world =
            Self { sim, listener, connections: Default::default(), buffer: vec![0; 4096], stormy: false };
        world.reach(start, &small);
        world
    }

    fn reach(&mut self, start: Start, settings: &Settings) {
        self.connect(settings);
        if matches!(start, Start::SynSent | Start::Listening) {
            return self.sim.flush();
        }
        if start == Start::BothOpen {
            return self.open_from_the_other_side(settings);
        }
        if matches!(start, Start::HalfOpen | Start::Cookies) {
            self.sim.conditions.delay = 20 * MILLISECOND;
            return self.sim.run_for(25 * MILLISECOND);
        }
        self.sim.run_for(5 * MILLISECOND);
        self.accept();
        match start {
            Start::Transfer => {
                self.write(CLIENT, 30_000);
                self.write(SERVER, 500);
                self.sim.flush();
            }
            Start::Holes => {
                self.sim.conditions = Conditions { loss: 300_000, ..Conditions::default() };
                self.write(CLIENT, 20_000);
                self.sim.run_for(MILLISECOND);
            }
            Start::ZeroWindow => {
                for _ in 0..40 {
                    self.write(CLIENT, 5000);
                    self.sim.run_for(5 * MILLISECOND);
                }
            }
            Start::FinWait1 => {
                self.shutdown(CLIENT);
                self.sim.flush();
            }
            Start::FinWait2 | Start::CloseWait => {
                self.shutdown(CLIENT);
                self.sim.run_for(5 * MILLISECOND);
            }
            Start::Closing => {
                self.shutdown(CLIENT);
                self.shutdown(SERVER);
                self.sim.flush();
            }
            Start::LastAck => {
                self.shutdown(CLIENT);
                self.sim.run_for(5 * MILLISECOND);
                self.shutdown(SERVER);
                self.sim.flush();
            }
            Start::TimeWait => {
                self.shutdown(CLIENT);
                self.sim.run_for(5 * MILLISECOND);
                self.shutdown(SERVER);
                self.sim.run_for(5 * MILLISECOND);
            }
            _ => {}
        }
    }

    fn connect(&mut self, settings: &Settings) {
        let local_port = 40_000 + self.connections[CLIENT].len() as u16;
        let tuple = Tuple { local: address(CLIENT), remote: address(SERVER), local_port, remote_port: PORT };
        let shard = &mut self.sim.ends[CLIENT];
        if shard.flow(&tuple).is_some() {
            return;
        }
        if let Ok(c) = tcp::connect(shard, tuple, settings, self.sim.now) {
            self.hold(CLIENT, c);
        }
    }

    /// The server connects to where the client connects from, before either hears of the other.
    fn open_from_the_other_side(&mut self, settings: &Settings) {
        let tuple =
            Tuple { local: address(SERVER), remote: address(CLIENT), local_port: PORT, remote_port: 40_000 };
        if let Ok(c) = tcp::connect(&mut self.sim.ends[SERVER], tuple, settings, self.sim.now) {
            self.hold(SERVER, c);
        }
        self.sim.flush();
    }

    fn accept(&mut self) {
        if let Some(c) = tcp::accept(&mut self.sim.ends[SERVER], self.listener) {
            self.hold(SERVER, c);
        }
    }

    fn hold(&mut self, end: usize, c: Handle<Connection>) {
        let _ = socket::hold(&mut self.sim.ends[end], SocketRef::Connection(c), PROCESS);
        self.connections[end].push(c);
    }

    fn one_of(&self, end: usize) -> Handle<Connection> {
        self.connections[end].last().copied().unwrap_or(Handle::NONE)
    }

    fn write(&mut self, end: usize, len: usize) {
        let bytes = vec![0x5a; len];
        let c = self.one_of(end);
        let _ = tcp::write(&mut self.sim.ends[end], c, &mut &bytes[..], len % 3 == 1, self.sim.now);
    }

    fn write_urgent(&mut self, end: usize) {
        let c = self.one_of(end);
        let _ = tcp::write_urgent(&mut self.sim.ends[end], c, &mut &b"now"[..], false, self.sim.now);
    }

    fn read_urgent(&mut self, end: usize) {
        let c = self.one_of(end);
        let mut sink = &mut self.buffer[..1];
        let _ = tcp::read_urgent(&mut self.sim.ends[end], c, &mut sink, false);
    }

    fn read(&mut self, end: usize, peek: bool) {
        let c = self.one_of(end);
        let mut sink = &mut self.buffer[..];
        let _ = tcp::read(&mut self.sim.ends[end], c, &mut sink, peek, self.sim.now);
    }

    fn shutdown(&mut self, end: usize) {
        let c = self.one_of(end);
        tcp::shutdown_write(&mut self.sim.ends[end], c, self.sim.now);
    }

    fn close(&mut self, end: usize) {
        if let Some(c) = self.connections[end].pop() {
            socket::let_go(&mut self.sim.ends[end], SocketRef::Connection(c), PROCESS, self.sim.now);
        }
    }

    /// One input: mostly a frame, now and then something else that can happen.
    pub fn input(&mut self, dice: &mut Dice) {
        let end = dice.below(2);
        if !dice.one_in(4) {
            for _ in 0..1 + dice.below(4) {
                self.feed(dice, end);
            }
        } else {
            self.happen(dice, end);
        }
        tcp::end_of_burst(&mut self.sim.ends[end], self.sim.now);
        if dice.one_in(3) {
            self.run_for(dice.pick(&[MILLISECOND / 2, MILLISECOND, 50 * MILLISECOND]));
        }
        self.sim.flush();
    }

    fn feed(&mut self, dice: &mut Dice, end: usize) {
        let seen = self.seen(dice, end);
        let frame = frames::make(dice, &seen);
        let _ = sim::receive(&mut self.sim.ends[end], &frame, self.sim.now);
    }

    /// A packet that was sent to `end`, one of the latest.
    fn seen(&mut self, dice: &mut Dice, end: usize) -> Vec<u8> {
        let tap = self.sim.tap.get_or_insert_default();
        if tap.len() > 64 {
            tap.drain(..tap.len() - 32);
        }
        let to_end: Vec<&Packet> = tap.iter().rev().filter(|p| p.to == end).take(6).collect();
        match to_end.get(dice.below(to_end.len())) {
            Some(packet) => packet.bytes.clone(),
            None => tap.last().map(|p| p.bytes.clone()).unwrap_or_else(|| vec![0; 60]),
        }
    }

    fn happen(&mut self, dice: &mut Dice, end: usize) {
        let now = self.sim.now;
        match dice.below(16) {
            14 => self.write_urgent(end),
            15 => self.read_urgent(end),
            0 | 1 => self.write(end, 1 + dice.below(6000)),
            2 | 3 => self.read(end, dice.one_in(4)),
            4 => self.shutdown(end),
            5 => self.close(end),
            6 => self.accept(),
            7 => self.connect(&Settings::default()),
            8 => self.run_for(dice.pick(&[200, 1000, 5000, 61_000]) * MILLISECOND),
            9 => {
                let c = self.one_of(end);
                tcp::shutdown_read(&mut self.sim.ends[end], c);
            }
            10 => {
                let c = self.one_of(end);
                tcp::abort(&mut self.sim.ends[end], c, now);
            }
            11 => {
                let c = self.one_of(end);
                let settings = Settings {
                    no_delay: dice.below(2) as u8,
                    cork: dice.below(2) as u8,
                    keep_alive: dice.below(2) as u8,
                    keep_idle: 1,
                    keep_interval: 1,
                    receive_buffer: dice.pick(&[0, 4096, 1 << 20]),
                    buffers_fixed: dice.pick(&[0, 2, 3]),
                    max_segment: dice.pick(&[0, 0, 88, 536]),
                    ..Settings::default()
                };
                socket::configure(&mut self.sim.ends[end], SocketRef::Connection(c), &settings, now);
            }
            12 => {
                // The owner of the lock dies between two changes.
                tcp::end_of_burst(&mut self.sim.ends[end], now);
                self.sim.ends[end].head.changing = Default::default();
                self.sim.ends[end].recover(now);
            }
            _ => {
                let c = self.one_of(end);
                let _ = tcp::readiness(&self.sim.ends[end], c);
                let _ = tcp::info(&self.sim.ends[end], c, now);
            }
        }
    }

    /// Another process has scribbled over something.
    pub fn damage(&mut self, dice: &mut Dice) {
        let end = dice.below(2);
        let shard = &mut self.sim.ends[end];
        match dice.below(12) {
            0..5 => {
                let c = self.connections[end].last().copied().unwrap_or(Handle::NONE);
                if let Some(c) = shard.connections.get_mut(c) {
                    scribble(dice, c.as_mut_bytes());
                }
            }
            5..9 => {
                let frame = stack::region::FrameId(1 + dice.below(192) as u32);
                if let Some(meta) = shard.frames.meta_mut(frame) {
                    scribble(dice, meta.as_mut_bytes());
                }
            }
            9 => scribble_one(dice, &mut shard.listeners),
            10 => scribble_one(dice, &mut shard.references),
            _ if dice.one_in(2) => scribble_one(dice, &mut shard.requests),
            _ => scribble_one(dice, &mut shard.time_waits),
        }
    }

    /// Lets time pass, up to the point where nothing but a quarrel can explain what happens.
    fn run_for(&mut self, nanoseconds: u64) {
        let end = self.sim.now + nanoseconds;
        for _ in 0..MOST_BURSTS {
            let next = self.sim.next_event();
            if next > end {
                return self.sim.run_until(end);
            }
            self.sim.run_until(next);
        }
        self.stormy = true;
    }

    pub fn check(&mut self) -> Result<(), &'static str> {
        if self.stormy {
            return Err("both ends answer each other without end");
        }
        self.sim.check()
    }

    pub fn add_to(&self, report: &mut Report) {
        for shard in &self.sim.ends {
            let c = &shard.counters;
            report.segments_in += c.tcp_segments_in;
            report.segments_out += c.tcp_segments_out;
            report.resets_believed += c.tcp_resets_in;
            report.bytes_read += c.bytes_received;
            report.connections += c.connections_opened_passive;
            report.out_of_order += c.tcp_out_of_order;
            report.recoveries += c.recoveries;
        }
    }
}

/// What a namespace may have set.
fn customs(sysctls: &mut Sysctls, dice: &mut Dice, start: Start) {
    sysctls.tcp_syncookies = if start == Start::Cookies { 2 } else { dice.pick(&[0, 1, 1, 2]) };
    sysctls.tcp_ecn = dice.pick(&[0, 1, 1, 2]);
    sysctls.tcp_fastopen = dice.pick(&[0, 1, 3, 3, 0x207]);
    sysctls.tcp_sack = u32::from(!dice.one_in(5));
    sysctls.tcp_timestamps = u32::from(!dice.one_in(4));
    sysctls.tcp_window_scaling = u32::from(!dice.one_in(6));
    sysctls.tcp_recovery = dice.pick(&[1, 1, 1, 0, 3, 5]);
    sysctls.tcp_mtu_probing = dice.pick(&[0, 1, 2]);
    sysctls.tcp_abort_on_overflow = u32::from(dice.one_in(4));
    sysctls.tcp_max_orphans = dice.pick(&[1, 100_000]);
    sysctls.tcp_max_tw_buckets = dice.pick(&[1, 100_000]);
}

/// Over one of the things in a slab.
fn scribble_one<T: FromBytes + IntoBytes>(dice: &mut Dice, slab: &mut Slab<T>) {
    let live: Vec<_> = slab.live().collect();
    let one = live.get(dice.below(live.len())).copied().unwrap_or(Handle::NONE);
    if let Some(item) = slab.get_mut(one) {
        scribble(dice, item.as_mut_bytes());
    }
}

fn scribble(dice: &mut Dice, bytes: &mut [u8]) {
    for _ in 0..1 + dice.below(8) {
        let at = dice.below(bytes.len());
        bytes[at] = dice.roll() as u8;
    }
}
