//! Bells: one eventfd for each waiting thread of each program, numbered as the region's waker slots.
//!
//! A number keeps its eventfd for as long as the keeper lives, whoever has it: programs fetch each other's bells once
//! and remember them by number.

use std::sync::atomic::Ordering;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, write};
use stack::control::BELLS_AT_ONCE;
use stack::region::WakerSlot;
use stack::wait::WakerId;

#[derive(Default)]
pub(crate) struct Wakers {
    bells: Vec<OwnedFd>,
    free: Vec<u16>,
}

impl Wakers {
    /// A bell for a thread of `process`.
    pub(crate) fn give(&mut self, slots: &[WakerSlot], process: u16) -> Result<u16, Errno> {
        // The number that means "none" is never given.
        let limit = slots.len().min(usize::from(WakerId::NONE.0));
        if self.free.is_empty() {
            self.make_group(limit)?;
        }
        let number = self.free.pop().ok_or(Errno::NOBUFS)?;
        if let Some(slot) = slots.get(usize::from(number)) {
            slot.disarm();
            slot.owner.store(u32::from(process) + 1, Ordering::Relaxed);
        }
        Ok(number)
    }

    /// Bells for those who come next as well: who fetches one gets all of its group, and need not ask for each.
    fn make_group(&mut self, limit: usize) -> Result<(), Errno> {
        let first = self.bells.len();
        for _ in first..limit.min(first + BELLS_AT_ONCE as usize) {
            self.bells.push(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        }
        self.free.extend((first..self.bells.len()).rev().map(|number| number as u16));
        Ok(())
    }

    /// The group of bell `number`: the first one's number, and all of it.
    pub(crate) fn group(&self, number: u32) -> (u32, impl Iterator<Item = BorrowedFd<'_>>) {
        let first = number - number % BELLS_AT_ONCE;
        let bells = self.bells.iter().skip(first as usize).take(BELLS_AT_ONCE as usize);
        (first, bells.map(OwnedFd::as_fd))
    }

    pub(crate) fn bell(&self, number: u32) -> Option<BorrowedFd<'_>> {
        self.bells.get(number as usize).map(OwnedFd::as_fd)
    }

    /// Nobody waits by this bell any more.
    pub(crate) fn take_back(&mut self, slots: &[WakerSlot], number: u16) {
        let Some(bell) = self.bells.get(usize::from(number)) else { return };
        if self.free.contains(&number) {
            return;
        }
        if let Some(slot) = slots.get(usize::from(number)) {
            slot.owner.store(0, Ordering::Relaxed);
            slot.disarm();
        }
        // A ring for the last owner is none for the next. Nothing to read is what we want.
        let _ = read(bell, &mut [0u8; 8]);
        self.free.push(number);
    }

    pub(crate) fn ring(&self, waker: WakerId) {
        if let Some(bell) = self.bell(u32::from(waker.0)) {
            // Full means rung already.
            let _ = write(bell, &1u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use stack::region::{Region, Sizes};

    use super::*;

    #[test]
    fn a_number_keeps_its_bell_and_comes_back_silent() {
        let region = Region::private(Sizes::tiny(), [1, 2], 0).expect("a region");
        let slots = region.wakers();
        let mut wakers = Wakers::default();
        let first = wakers.give(slots, 5).expect("a bell");
        let second = wakers.give(slots, 5).expect("a bell");
        assert_ne!(first, second);
        assert_eq!(slots[usize::from(first)].owner.load(Ordering::Relaxed), 6);
        let number = wakers.bell(first.into()).map(|bell| rustix::fd::AsRawFd::as_raw_fd(&bell));
        wakers.ring(WakerId(first));
        wakers.take_back(slots, first);
        wakers.take_back(slots, first);
        assert_eq!(slots[usize::from(first)].owner.load(Ordering::Relaxed), 0);
        assert_eq!(wakers.give(slots, 7), Ok(first));
        let bell = wakers.bell(first.into()).expect("its bell");
        assert_eq!(Some(rustix::fd::AsRawFd::as_raw_fd(&bell)), number);
        assert_eq!(read(bell, &mut [0u8; 8]), Err(Errno::AGAIN), "the last owner's ring is gone");
        assert!(wakers.bell(u32::MAX).is_none());
        for _ in 2..slots.len() {
            wakers.give(slots, 1).expect("a bell");
        }
        assert_eq!(wakers.give(slots, 1), Err(Errno::NOBUFS));
    }
}
