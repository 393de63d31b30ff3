//! What processes see of each other without a shard's lock: atomics only.

use core::sync::atomic::{AtomicU32, Ordering};

/// One attached process.
#[repr(C, align(64))]
pub struct ProcessSlot {
    state: AtomicU32,
    pub pid: AtomicU32,
    /// How many of its threads are on watch; what a dead one leaves is subtracted from its shards' counts.
    pub on_watch: AtomicU32,
    /// Its control socket's number, left by an image that has made way for another by exec.
    pub line: AtomicU32,
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
const SPINNING: u32 = 3;

/// What an event for a thread calls for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// It sleeps: ring its eventfd. Said once for each sleep.
    Ring,
    /// It spins, and sees the mark that was just made.
    Noted,
    /// It waits for nothing, or knows already.
    Awake,
}

impl WakerSlot {
    /// The thread waits, and looks at `is_spinning` itself. Called under the lock under which it looked in vain.
    pub fn spin(&self) {
        self.state.store(SPINNING, Ordering::Relaxed);
    }

    /// Nothing has happened since `spin`.
    #[inline]
    pub fn is_spinning(&self) -> bool {
        self.state.load(Ordering::Relaxed) == SPINNING
    }

    /// From spinning to sleep: from now on events ring the bell. False if something has happened.
    pub fn arm(&self) -> bool {
        self.state.compare_exchange(SPINNING, ASLEEP, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The thread is up again. Tells whether an event was marked.
    pub fn disarm(&self) -> bool {
        self.state.swap(AWAKE, Ordering::Relaxed) == RUNG
    }

    /// An event for the thread. On [`Claim::Ring`] the caller must ring its eventfd.
    pub fn claim(&self) -> Claim {
        loop {
            let (seen, claim) = match self.state.load(Ordering::Relaxed) {
                ASLEEP => (ASLEEP, Claim::Ring),
                SPINNING => (SPINNING, Claim::Noted),
                _ => return Claim::Awake,
            };
            if self.state.compare_exchange(seen, RUNG, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return claim;
            }
        }
    }

    /// Whether somebody claimed the ring and may have died before ringing.
    pub fn is_rung(&self) -> bool {
        self.state.load(Ordering::Relaxed) == RUNG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_rings_once_for_each_sleep_and_only_marks_one_who_spins() {
        let slot = WakerSlot { state: AtomicU32::new(0), owner: AtomicU32::new(1) };
        assert_eq!(slot.claim(), Claim::Awake);
        slot.spin();
        assert_eq!((slot.claim(), slot.claim()), (Claim::Noted, Claim::Awake));
        assert!(!slot.is_spinning() && !slot.arm());
        assert!(slot.disarm());
        slot.spin();
        assert!(slot.arm());
        assert_eq!((slot.claim(), slot.claim()), (Claim::Ring, Claim::Awake));
        assert!(slot.disarm());
        assert!(!slot.disarm());
    }
}
