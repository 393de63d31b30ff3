//! Whatever stands in a word of the region, every operation ends, and none panics.
//!
//! A shard is brought into the middle of many things by honest traffic. Then each word of what it holds is written over, in
//! turn and with several values, and the same operations are done to it each time. How often tables are looked at
//! tells whether an operation ends: no clock is asked.

use crate::ip::net::Addr;
use crate::link::sim::{self, Conditions, Sim, address};
use crate::region::table::fuse;
use crate::region::{Handle, Sizes, Tenure};
use crate::shard::Shard;
use crate::socket::{self, SocketRef};
use crate::tcp::{self, Connection, Listener, Settings, Tuple};
use crate::wait::{self, Epoll, Interest, WakerId, events};
use core::sync::atomic::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};

const CLIENT: usize = 0;
const SERVER: usize = 1;
const PORT: u16 = 80;
const ME: u16 = 1;
const CHILD: u16 = 2;
const MILLISECOND: u64 = 1_000_000;
/// The honest operations look some four thousand times, and making all anew takes a few thousand more.
const LOOKS: u64 = 300_000;
/// Words of one thing that may be 0 in a row.
const BESIDE: usize = 40;

struct World {
    sim: Sim,
    listener: Handle<Listener>,
    epoll: Handle<Epoll>,
    /// The server's ends.
    open: Vec<Handle<Connection>>,
    /// What the client sends from here on.
    coming: Vec<Vec<u8>>,
    words: Vec<u32>,
}

fn sizes() -> Sizes {
    Sizes {
        frames: 256,
        connections: 8,
        requests: 4,
        time_waits: 4,
        listeners: 4,
        watches: 12,
        epolls: 4,
        references: 16,
        processes: 4,
        wakers: 4,
        ..Sizes::tiny()
    }
}

impl World {
    /// The first seed whose wire loses what is wanted.
    fn find() -> Self {
        let mut world = (0..1000).map(Self::new).find(Self::has_holes).expect("some seed does");
        world.foresee();
        world
    }

    fn new(seed: u64) -> Self {
        let mut sim = Sim::new(sizes(), Conditions::default(), seed).expect("no memory for a region");
        let settings = Settings::default();
        let s = &mut sim.ends[SERVER];
        let listener = tcp::listen(s, address(SERVER), PORT, 4, &settings).expect("a fresh table");
        socket::hold(s, SocketRef::Listener(listener), ME).expect("a fresh table");
        let epoll = wait::create(s, ME).expect("a fresh table");
        let mut world =
            Self { sim, listener, epoll, open: Vec::new(), coming: Vec::new(), words: Vec::new() };
        world.reach();
        world
    }

    /// One connection with holes on both sides and bytes to read, one with a FIN from the peer, one in TIME_WAIT, one to be
    /// accepted, one half-open; an instance that watches, another one that watches that, and two sleepers.
    fn reach(&mut self) {
        let clients: Vec<_> = (0..3).map(|n| self.connect(40_000 + n)).collect();
        for _ in &clients {
            let c = tcp::accept(&mut self.sim.ends[SERVER], self.listener).expect("it was opened");
            socket::hold(&mut self.sim.ends[SERVER], SocketRef::Connection(c), ME).expect("room");
            self.open.push(c);
        }
        let now = self.sim.now;
        tcp::shutdown_write(&mut self.sim.ends[SERVER], self.open[2], now);
        self.run();
        tcp::shutdown_write(&mut self.sim.ends[CLIENT], clients[2], self.sim.now);
        tcp::shutdown_write(&mut self.sim.ends[CLIENT], clients[1], self.sim.now);
        self.run();
        self.watch();
        self.connect(40_010);
        self.start(40_011);
        self.sim.flush();
        self.sim.conditions.delay = 100 * MILLISECOND;
        self.sim.run_for(MILLISECOND);
        self.sim.conditions = Conditions::default();
        for round in 0..60 {
            self.sim.conditions.loss = if round < 30 { 0 } else { 300_000 };
            for (end, c) in [(CLIENT, clients[0]), (SERVER, self.open[0])] {
                tcp::write(&mut self.sim.ends[end], c, &mut &[7; 9000][..], false, self.sim.now).ok();
                tcp::read(&mut self.sim.ends[end], c, &mut &mut [0; 8000][..], false, self.sim.now).ok();
            }
            if self.has_holes() {
                break;
            }
            self.sim.run_for(MILLISECOND / 4);
        }
        self.sim.conditions.loss = 0;
        self.sim.check().expect("all is well");
    }

    /// On both sides of the first connection.
    fn has_holes(&self) -> bool {
        let s = &self.sim.ends[SERVER];
        let beyond = s.frames.used().filter(|(_, meta)| meta.tenure == Tenure::OUT_OF_ORDER).count();
        let sent = tcp::info(s, self.open[0], self.sim.now);
        beyond > 2 && sent.sacked > 2 && sent.lost > 0
    }

    fn watch(&mut self) {
        let s = &mut self.sim.ends[SERVER];
        let outer = wait::create(s, ME).expect("room");
        let all = self.open.iter().map(|&c| SocketRef::Connection(c));
        let all: Vec<_> = all.chain([SocketRef::Listener(self.listener)]).collect();
        for (number, &socket) in all.iter().enumerate() {
            let interest = Interest { descriptor: number as i32, socket, events: events::IN, data: 1 };
            wait::add(s, self.epoll, &interest).expect("room");
        }
        let inner = SocketRef::Epoll(self.epoll);
        wait::add(s, outer, &Interest { descriptor: 9, socket: inner, events: events::IN, data: 2 })
            .expect("room");
        for waker in s.region.wakers() {
            waker.spin();
        }
        wait::sleep_on(s, self.epoll, WakerId(1)).expect("room");
        wait::sleep_on(s, outer, WakerId(2)).expect("room");
        wait::watch(s, all[0], events::OUT, WakerId(3)).expect("room");
    }

    fn start(&mut self, local_port: u16) -> Handle<Connection> {
        let tuple = Tuple { local: address(CLIENT), remote: address(SERVER), local_port, remote_port: PORT };
        tcp::connect(&mut self.sim.ends[CLIENT], tuple, &Settings::default(), self.sim.now).expect("room")
    }

    fn connect(&mut self, local_port: u16) -> Handle<Connection> {
        let c = self.start(local_port);
        self.run();
        c
    }

    fn run(&mut self) {
        self.sim.run_for(5 * MILLISECOND);
    }

    /// Notes what the region holds, and lets time pass to see what comes; then the region is as it was.
    fn foresee(&mut self) {
        self.words = words(self.server()).collect();
        let now = self.sim.now;
        self.sim.tap = Some(Vec::new());
        self.sim.run_for(700 * MILLISECOND);
        let packets = self.sim.tap.take().unwrap_or_default();
        self.coming = packets.into_iter().filter(|p| p.to == SERVER).map(|p| p.bytes).collect();
        self.coming.truncate(24);
        self.sim.now = now;
        self.restore();
    }

    fn server(&mut self) -> &mut Shard {
        &mut self.sim.ends[SERVER]
    }

    fn restore(&mut self) {
        let sizes = sizes();
        let s = &mut self.sim.ends[SERVER];
        for (word, &value) in s.region.words().iter().zip(&self.words) {
            word.store(value, Ordering::Relaxed);
        }
        s.after = Default::default();
        s.after.reserve(&sizes);
        s.damage.take();
    }

    /// Everything that can be done to the server's shard.
    fn operate(&mut self) {
        let mut now = self.sim.now;
        let (listener, epoll, open) = (self.listener, self.epoll, self.open.clone());
        let s = &mut self.sim.ends[SERVER];
        let mut buffer = [0; 4000];
        for packet in &self.coming {
            sim::receive(s, packet, now);
        }
        tcp::end_of_burst(s, now);
        end_turn(s, now);
        for &c in &open {
            tcp::read(s, c, &mut &mut buffer[..], true, now).ok();
            tcp::read(s, c, &mut &mut buffer[..], false, now).ok();
            tcp::write(s, c, &mut &buffer[..], false, now).ok();
            wait::notify(s, SocketRef::Connection(c), events::IN | events::OUT);
            tcp::info(s, c, now);
        }
        wait::collect(s, epoll, 8, |_| {});
        socket::adopt(s, ME, CHILD, now).ok();
        end_turn(s, now);
        for later in [1, 40, 300, 5000] {
            now += later * MILLISECOND;
            s.head.now = now;
            fire(s, now);
        }
        if let Some(c) = tcp::accept(s, listener) {
            socket::hold(s, SocketRef::Connection(c), ME).ok();
        }
        tcp::connect(s, outgoing(), &Settings::default(), now).ok();
        socket::by_inode(s, 5, ME);
        socket::drop_process(s, CHILD, now);
        socket::let_go(s, SocketRef::Connection(open[0]), ME, now);
        end_turn(s, now);
        fire(s, now + 70_000 * MILLISECOND);
        socket::drop_process(s, ME, now);
        end_turn(s, now);
        s.recover(now);
        fire(s, now + 200_000 * MILLISECOND);
    }
}

fn outgoing() -> Tuple {
    Tuple { local: address(SERVER), remote: Addr(address(CLIENT).0), local_port: 50_000, remote_port: 9 }
}

fn words(s: &Shard) -> impl Iterator<Item = u32> {
    s.region.words().iter().map(|word| word.load(Ordering::Relaxed))
}

fn fire(s: &mut Shard, now: u64) {
    while let Some(entry) = s.pop_due(now) {
        tcp::on_timer(s, entry, now);
    }
    end_turn(s, now);
}

fn end_turn(s: &mut Shard, now: u64) {
    while let Some(frame) = s.next_out() {
        s.advance_outbox();
        s.frames.completed(frame);
    }
    s.mend(now);
    s.after.wake.clear();
}

/// What is written over a word: nothing, all, what is near, and what may name another thing.
fn values(was: u32) -> Vec<u32> {
    let names = [2 << 30 | 1, 2 << 30 | 3, 1 << 30 | 1, 3 << 30 | 1];
    let near = [0, u32::MAX, was ^ 1, was.wrapping_add(2), was ^ 1 << 31, !was];
    match was {
        0 => (1..25).step_by(4).chain(names).collect(),
        1..128 => (0..25).step_by(2).chain(near).collect(),
        _ => near.into_iter().chain(names).collect(),
    }
}

/// Calls for each word that is in use or lies beside one that is, and each of its values.
fn with_each_damage(world: &mut World, mut tries: impl FnMut(&mut World)) {
    let is_near = |words: &[u32], place: usize| {
        words.iter().skip(place.saturating_sub(BESIDE)).take(BESIDE + 1).any(|&word| word != 0)
    };
    for place in (0..world.words.len()).filter(|&place| is_near(&world.words, place)).collect::<Vec<_>>() {
        let was = world.words[place];
        for value in values(was).into_iter().filter(|&value| value != was) {
            world.restore();
            world.server().region.words()[place].store(value, Ordering::Relaxed);
            let ended = catch_unwind(AssertUnwindSafe(|| tries(world)));
            fuse::set(u64::MAX);
            assert!(ended.is_ok(), "word {place}, which was {was:#x}, is {value:#x}");
        }
    }
}

#[test]
fn every_operation_ends_whatever_stands_in_a_word_of_the_region() {
    let mut world = World::find();
    fuse::set(LOOKS);
    world.operate();
    fuse::set(u64::MAX);
    assert_eq!(world.server().counters.region_damaged, 0, "nothing is wrong with what nobody wrote over");
    let (mut tries, mut cut) = (0, 0);
    with_each_damage(&mut world, |world| {
        fuse::set(LOOKS);
        world.operate();
        tries += 1;
        cut += u32::from(world.server().counters.region_damaged > 0);
    });
    assert!(tries > 10_000 && cut > 10, "{cut} of {tries}");
}
