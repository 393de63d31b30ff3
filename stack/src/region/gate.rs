//! The shard's lock: shared between processes, and able to survive its owner.
//!
//! The word names the owner by its process slot. A waiter that has waited for long asks whether that process is
//! still there; if not, it takes the lock over and is told so, since what the dead one was changing may be half done.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crossbeam_utils::Backoff;
use rustix::thread::futex;

/// Set in the word while somebody sleeps on it.
const CONTENDED: u32 = 1 << 31;
/// How long a waiter sleeps before it asks whether the owner lives.
const PATIENCE: rustix::time::Timespec = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
const SPINS: u32 = 200;

/// What all processes see of a shard without holding its lock.
#[repr(C, align(64))]
pub struct Gate {
    word: AtomicU32,
    /// How often a dead owner was replaced.
    pub recoveries: AtomicU32,
    /// Counts pumps: a keeper's tick that sees it move knows that somebody drives.
    pub pumps: AtomicU32,
    /// Threads that wait for packets of this shard, spinning or asleep on its XSKs.
    pub on_watch: AtomicU32,
    /// Live connections (in any state but TIME_WAIT) and half-open ones.
    pub live: AtomicU32,
    /// 1 while the keeper is parked and must be woken when work appears.
    pub keeper_parked: AtomicU32,
    /// When the next timer is due (nanoseconds), `u64::MAX` for never.
    pub deadline: AtomicU64,
}

/// What [`Gate::lock`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    Clean,
    /// The last owner died inside: recover before anything else.
    OwnerDied,
}

impl Gate {
    /// Takes the lock for process slot `me`; `is_dead` tells whether the process of a slot has ended.
    #[inline]
    pub fn lock(&self, me: u16, is_dead: impl Fn(u16) -> bool) -> Entry {
        // ORDERING: acquire pairs with the release in `unlock`, so we see what the last owner wrote.
        match self.word.compare_exchange(0, name(me), Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Entry::Clean,
            Err(_) => self.lock_slowly(me, is_dead),
        }
    }

    #[cold]
    fn lock_slowly(&self, me: u16, is_dead: impl Fn(u16) -> bool) -> Entry {
        let backoff = Backoff::new();
        for _ in 0..SPINS {
            if self.try_take(0, name(me)) {
                return Entry::Clean;
            }
            backoff.spin();
        }
        loop {
            let seen = self.word.load(Ordering::Relaxed);
            if seen == 0 {
                // Others may be asleep: keep the mark, one wake too many is harmless.
                if self.try_take(0, name(me) | CONTENDED) {
                    return Entry::Clean;
                }
                continue;
            }
            let marked = seen | CONTENDED;
            if seen != marked && !self.try_take(seen, marked) {
                continue;
            }
            let slept = futex::wait(&self.word, futex::Flags::empty(), marked, Some(&PATIENCE));
            if slept == Err(rustix::io::Errno::TIMEDOUT)
                && is_dead(owner(marked))
                && self.try_take(marked, name(me) | CONTENDED)
            {
                self.recoveries.fetch_add(1, Ordering::Relaxed);
                return Entry::OwnerDied;
            }
        }
    }

    fn try_take(&self, from: u32, to: u32) -> bool {
        // ORDERING: as in `lock`.
        self.word.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline]
    pub fn unlock(&self) {
        // ORDERING: release publishes what we wrote to the next owner.
        if self.word.swap(0, Ordering::Release) & CONTENDED != 0 {
            let _ = futex::wake(&self.word, futex::Flags::empty(), 1);
        }
    }

    /// The process slot that holds the lock at this moment.
    pub fn holder(&self) -> Option<u16> {
        let word = self.word.load(Ordering::Relaxed);
        (word != 0).then(|| owner(word))
    }
}

fn name(slot: u16) -> u32 {
    u32::from(slot) + 1
}

fn owner(word: u32) -> u16 {
    (word & !CONTENDED).saturating_sub(1) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn gate() -> Gate {
        Gate {
            word: AtomicU32::new(0),
            recoveries: AtomicU32::new(0),
            pumps: AtomicU32::new(0),
            on_watch: AtomicU32::new(0),
            live: AtomicU32::new(0),
            keeper_parked: AtomicU32::new(0),
            deadline: AtomicU64::new_zeroed(),
        }
    }

    #[test]
    fn admits_one_at_a_time() {
        let (gate, sum) = (gate(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for me in 0..4 {
                let (gate, sum) = (&gate, &sum);
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        assert_eq!(gate.lock(me, |_| false), Entry::Clean);
                        let seen = sum.load(Ordering::Relaxed);
                        sum.store(seen + 1, Ordering::Relaxed);
                        gate.unlock();
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 40_000);
        assert_eq!(gate.holder(), None);
    }

    #[test]
    fn a_dead_owner_is_replaced_and_reported() {
        let gate = gate();
        gate.lock(7, |_| false);
        assert_eq!(gate.holder(), Some(7));
        assert_eq!(gate.lock(8, |slot| slot == 7), Entry::OwnerDied);
        assert_eq!(gate.holder(), Some(8));
    }
}
