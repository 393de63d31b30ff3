//! The shard: everything that one lock protects.
//!
//! This is data; the rooms (`ip`, `tcp`, `wait`, `socket`) are the functions over it. A shard is reached through
//! [`crate::drive::Stack::enter`], or owned outright in a simulation.

pub mod counters;
mod entries;
pub(crate) mod keyed;
mod outbox;

pub use counters::Counters;
pub use entries::{Entry, EntryHead, EntryRef};
pub use outbox::Outbox;

use crate::ip::net::Net;
use crate::region::{Damage, Frames, Handle, List, One, Region, Slab, Table, Wheel};
use crate::socket::Reference;
use crate::tcp::{
    Before, Challenges, Connection, FastOpenPeers, Listener, Request, Sysctls, TimeWait, Trace, Tuple,
};
use crate::wait::{Epoll, WakerId, Watch};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Buckets of the table of listeners, by port.
pub const LISTEN_BUCKETS: usize = 1024;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct ShardHead {
    /// Keys the connection table and the sequence numbers.
    pub key: [u64; 2],
    /// State of the generator behind [`Shard::random`].
    random: u64,
    /// When the shard was last pumped, in nanoseconds.
    pub now: u64,
    /// The entry that is being changed.
    pub changing: EntryRef,
    pub outbox: outbox::Ends,
    /// Connections that no program holds.
    pub orphans: u32,
    /// The options of TCP that hold here.
    pub sysctls: Sysctls,
    /// Those that the kernel's own sockets have in the namespace of the keeper.
    pub namespace: Sysctls,
    /// What peers gave us for the next connection to them.
    pub fast_open: FastOpenPeers,
    pub challenges: Challenges,
    /// Changes of state, for those who look for what happened.
    pub trace: Trace,
    /// What a death in the middle of a change is answered with.
    pub before: Before,
}

impl ShardHead {
    pub(crate) fn random(&mut self) -> u64 {
        let mut x = self.random.max(1);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random = x;
        x.wrapping_mul(self.key[1] | 1).rotate_left(29)
    }
}

pub struct Shard {
    pub head: One<ShardHead>,
    pub frames: Frames,
    pub outbox: Outbox,
    pub connections: Slab<Connection>,
    pub requests: Slab<Request>,
    pub time_waits: Slab<TimeWait>,
    pub listeners: Slab<Listener>,
    pub watches: Slab<Watch>,
    pub epolls: Slab<Epoll>,
    pub references: Slab<Reference>,
    /// For each process slot, the references that it holds.
    pub held_by: Table<List>,
    /// Buckets of the connection table.
    pub flows: Table<u32>,
    /// Buckets of the table of listeners.
    pub ports: Table<u32>,
    pub wheel: Wheel,
    pub net: Net,
    pub counters: One<Counters>,
    /// What is to be done once the lock is released.
    pub after: After,
    /// What walks found out about the links.
    pub damage: Damage,
    pub index: u32,
    pub region: Region,
}

/// What a turn in the shard leaves to be done outside of the lock. Each process has its own.
#[derive(Default)]
pub struct After {
    /// Threads to wake: their rings are claimed already.
    pub wake: Vec<WakerId>,
    /// One bit for each link whose TX ring got frames.
    pub kick: u64,
    /// Connections that the running burst has touched; what it called for is done at its end. Of fixed capacity.
    pub touched: Vec<Handle<Connection>>,
    /// The connection that got the last segment: mostly the next one is for it too, and needs no look-up.
    pub recent: Handle<Connection>,
    /// The 4-tuple that was looked for last, and its hash, which is 0 before that.
    hashed: (Tuple, u64),
    /// The addresses of a tuple that a timestamp offset was made for last, and that; 0 before the first.
    pub(crate) timestamp_offset: (u64, u32),
    /// The slot of the connection that gave frames back last, when they were scarce.
    pub relieved: u32,
    /// The keeper has something to do: a neighbour to resolve, or it was parked.
    pub keeper: bool,
    /// Damaged tables are not made anew before this time.
    unmended_until: u64,
}

/// Between reading the clock and having the lock: a process may have been stopped for so long.
const LONGEST_DELAY: u64 = 24 * 3600 * 1_000_000_000;
/// How often damaged tables are made anew at most: somebody who goes on writing over them must not get all the time
/// that there is.
const MENDING_INTERVAL: u64 = 1_000_000_000;

/// Connections that one burst may touch before what it called for is done.
const BURST: usize = 512;

impl After {
    /// Room for all that a turn can leave, so that nothing is allocated later.
    pub(crate) fn reserve(&mut self, sizes: &crate::region::Sizes) {
        self.wake.reserve(sizes.wakers as usize);
        self.touched.reserve(BURST);
    }
}

impl Shard {
    /// Makes zeroed memory a shard.
    pub(crate) fn format(&mut self, key: [u64; 2], now: u64) {
        let random = key[0] ^ key[1].rotate_left(32) | 1;
        let sysctls = Sysctls::default();
        *self.head = ShardHead { key, random, now, sysctls, namespace: sysctls, ..ShardHead::new_zeroed() };
        self.frames.format();
        self.connections.format();
        self.requests.format();
        self.time_waits.format();
        self.listeners.format();
        self.watches.format();
        self.epolls.format();
        self.references.format();
        self.wheel.format(now);
        if let Some(gate) = self.region.gate(self.index) {
            gate.deadline.store(u64::MAX, Ordering::Relaxed);
        }
    }

    /// A number that an outsider cannot foresee from others he sees (xorshift, keyed at creation).
    pub fn random(&mut self) -> u64 {
        self.head.random()
    }

    /// The process of slot `process` has the lock.
    #[inline]
    pub fn driven_by(&mut self, process: u16) {
        self.head.before.driver = process;
    }

    /// Marks `entry` as the one being changed.
    pub fn changing(&mut self, entry: Entry) {
        self.head.changing = entry.as_ref();
    }

    /// Every invariant of every table. Linear in their sizes: for tests and debug builds.
    pub fn check(&mut self) -> Result<(), &'static str> {
        let slabs = self.connections.check()
            && self.requests.check()
            && self.time_waits.check()
            && self.listeners.check()
            && self.watches.check()
            && self.epolls.check()
            && self.references.check();
        if !slabs {
            return Err("a slab's free stack disagrees with its tags");
        }
        if !self.frames.check() {
            return Err("the frame pool's free stack disagrees with the tenures");
        }
        if !self.check_entries() {
            return Err("the connection table or the timer wheel holds what is not there");
        }
        crate::tcp::check(self)?;
        crate::wait::check(self)?;
        crate::socket::check(self)
    }

    /// Brings a shard whose owner died in the middle back into order: what was being changed is reset, all else
    /// goes on.
    pub fn recover(&mut self, now: u64) {
        self.counters.recoveries += 1;
        self.rebuild(now);
    }

    /// The time of the shard, of which `now` is one that somebody read. What lies further ahead than anybody can have
    /// been held up was not read from a clock.
    #[inline]
    pub(crate) fn no_earlier(&self, now: u64) -> u64 {
        let known = self.head.now;
        if known <= now {
            return now;
        }
        if known - now < LONGEST_DELAY {
            return known;
        }
        self.damage.note();
        now
    }

    /// The end of a turn: if a walk was cut short in it, the tables are made anew as after a death.
    #[inline]
    pub fn mend(&mut self, now: u64) {
        if self.damage.is_noted() {
            self.mend_slowly(now);
        }
    }

    #[cold]
    fn mend_slowly(&mut self, now: u64) {
        self.counters.region_damaged += u64::from(self.damage.take());
        if now < self.after.unmended_until {
            return;
        }
        self.after.unmended_until = now.saturating_add(MENDING_INTERVAL);
        self.counters.region_mended += 1;
        // Nobody has died: connections that contradict themselves are found out without a suspect.
        self.head.changing = EntryRef::default();
        self.rebuild(now);
        self.counters.region_damaged += u64::from(self.damage.take());
    }

    /// Queues, chains, lists, wheel and counts from the slabs.
    fn rebuild(&mut self, now: u64) {
        self.recover_outbox();
        self.connections.recover();
        self.requests.recover();
        self.time_waits.recover();
        self.listeners.recover();
        self.watches.recover();
        self.epolls.recover();
        self.references.recover();
        let changing = core::mem::take(&mut self.head.changing);
        crate::tcp::recover(self, changing);
        self.recover_entries(now, crate::tcp::belongs_in_table);
        crate::socket::recover(self);
        crate::wait::recover(self);
    }
}
