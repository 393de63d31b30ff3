//! What processes see of each other without a shard's lock: atomics only.

use core::sync::atomic::{AtomicU32, Ordering};

/// One attached process.
#[repr(C, align(64))]
pub struct ProcessSlot {
    state: AtomicU32,
    pub pid: AtomicU32,
    /// How many of its threads are on watch; what a dead one leaves is subtracted from its shards' counts.
    pub on_watch: AtomicU32,
}

const VACANT: u32 = 0;
const ALIVE: u32 = 1;
const DEAD: u32 = 2;

impl ProcessSlot {
    pub fn is_vacant(&self) -> bool {
        self.state.load(Ordering::Relaxed) == VACANT
    }

    pub fn is_alive(&self) -> bool {
        self.state.load(Ordering::Relaxed) == ALIVE
    }

    /// Its process has ended, and its references are not all dropped yet.
    pub fn is_dead(&self) -> bool {
        // ORDERING: acquire pairs with `bury`, so that a waiter who takes a lock over sees the death as past.
        self.state.load(Ordering::Acquire) == DEAD
    }

    /// Only the keeper gives slots out, so a plain store does.
    pub fn occupy(&self, pid: u32) {
        self.pid.store(pid, Ordering::Relaxed);
        self.on_watch.store(0, Ordering::Relaxed);
        // ORDERING: release, so that whoever sees the slot alive sees its pid.
        self.state.store(ALIVE, Ordering::Release);
    }

    pub fn bury(&self) {
        // ORDERING: see `is_dead`.
        self.state.store(DEAD, Ordering::Release);
    }

    pub fn vacate(&self) {
        self.state.store(VACANT, Ordering::Release);
    }
}

/// One thread's bell: it sleeps on an eventfd, and this says whether ringing it is needed.
#[repr(C, align(64))]
pub struct WakerSlot {
    state: AtomicU32,
    /// The process slot of the thread, plus one; 0 while nobody has this waker.
    pub owner: AtomicU32,
}

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const RUNG: u32 = 2;

impl WakerSlot {
    /// The thread is about to sleep: from now on events ring its bell.
    pub fn arm(&self) {
        // ORDERING: SeqCst, so that arming comes before the last look at what is waited for.
        self.state.store(ASLEEP, Ordering::SeqCst);
    }

    /// The thread is up again. Tells whether somebody rang, in which case the eventfd must be drained.
    pub fn disarm(&self) -> bool {
        self.state.swap(AWAKE, Ordering::SeqCst) == RUNG
    }

    /// An event for the thread. True if the caller must now ring its eventfd: once for each sleep.
    pub fn claim_ring(&self) -> bool {
        // ORDERING: SeqCst, against `arm`.
        self.state.compare_exchange(ASLEEP, RUNG, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Whether somebody claimed the ring and may have died before ringing.
    pub fn is_rung(&self) -> bool {
        self.state.load(Ordering::Relaxed) == RUNG
    }
}
