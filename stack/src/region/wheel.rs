//! The hashed timer wheel (Varghese and Lauck): one slot a tick, an entry waits in the slot of its deadline.

use super::table::{One, Table};
use super::walk::{Damage, Steps};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Nanoseconds of one tick, about a millisecond.
pub const TICK_SHIFT: u32 = 20;
pub const SLOTS: usize = 4096;

/// An entry's place in the wheel.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TimerLink {
    next: u32,
    prev: u32,
    /// The tick at which it is due; 0 when it is not armed.
    tick: u32,
}

impl TimerLink {
    pub fn is_armed(&self) -> bool {
        self.tick != 0
    }
}

/// Where the links of the timed things are.
pub trait Timed {
    fn timer(&mut self, entry: u32) -> Option<&mut TimerLink>;
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct WheelHead {
    /// All ticks up to and including this one have been worked off.
    now: u32,
    armed: u32,
    occupied: [u64; SLOTS / 64],
}

pub struct Wheel {
    head: One<WheelHead>,
    slots: Table<u32>,
    /// Entries that there can be.
    most: u32,
    damage: Damage,
}

pub fn tick_of(nanos: u64) -> u32 {
    // 2^32 ticks are 52 days of uptime; the comparison below wraps.
    (nanos >> TICK_SHIFT) as u32
}

impl Wheel {
    pub(crate) fn new(head: One<WheelHead>, slots: Table<u32>, most: u32, damage: Damage) -> Self {
        Self { head, slots, most, damage }
    }

    pub(crate) fn format(&mut self, now: u64) {
        self.head.now = tick_of(now);
        self.head.armed = 0;
        self.head.occupied = [0; SLOTS / 64];
        self.slots.fill(0);
    }

    pub fn armed(&self) -> u32 {
        self.head.armed
    }

    /// Sets `entry` to fire at `deadline`, rounded up to a tick; an armed one is moved.
    pub fn arm(&mut self, timed: &mut impl Timed, entry: u32, deadline: u64) {
        let soonest = self.head.now.wrapping_add(1);
        let mut tick = tick_of(deadline.saturating_add((1 << TICK_SHIFT) - 1));
        if (tick.wrapping_sub(soonest) as i32) < 0 {
            tick = soonest;
        }
        // 0 means "not armed".
        tick = tick.max(1);
        match timed.timer(entry) {
            Some(link) if link.tick == tick => return,
            Some(link) if link.is_armed() => self.disarm(timed, entry),
            Some(_) => {}
            None => return,
        }
        let slot = tick as usize % SLOTS;
        let Some(first) = self.slots.get_mut(slot) else { return };
        let next = core::mem::replace(first, entry);
        if let Some(link) = timed.timer(entry) {
            *link = TimerLink { next, prev: 0, tick };
        }
        if let Some(link) = timed.timer(next) {
            link.prev = entry;
        }
        self.head.occupied[slot / 64] |= 1 << (slot % 64);
        self.head.armed = self.head.armed.wrapping_add(1);
    }

    pub fn disarm(&mut self, timed: &mut impl Timed, entry: u32) {
        let Some(link) = timed.timer(entry) else { return };
        if !link.is_armed() {
            return;
        }
        let TimerLink { next, prev, tick } = core::mem::take(link);
        let slot = tick as usize % SLOTS;
        if let Some(link) = timed.timer(next) {
            link.prev = prev;
        }
        match timed.timer(prev) {
            Some(link) => link.next = next,
            None => {
                if let Some(first) = self.slots.get_mut(slot) {
                    *first = next;
                }
                if next == 0 {
                    self.head.occupied[slot / 64] &= !(1 << (slot % 64));
                }
            }
        }
        self.head.armed = self.head.armed.saturating_sub(1);
    }

    /// Takes out one entry that is due at `now`; none when time has caught up.
    pub fn pop_due(&mut self, timed: &mut impl Timed, now: u64) -> Option<u32> {
        let target = tick_of(now);
        self.catch_up(target);
        let mut steps = Steps::of(self.most);
        while (target.wrapping_sub(self.head.now) as i32) > 0 {
            // Empty slots are stepped over, so that catching up after a long sleep takes no time.
            let ahead = self.ticks_to_occupied().unwrap_or(u32::MAX);
            if ahead > target.wrapping_sub(self.head.now) {
                self.head.now = target;
                break;
            }
            let tick = self.head.now.wrapping_add(ahead);
            let slot = tick as usize % SLOTS;
            if let Some(entry) = self.due_in_slot(timed, tick, &mut steps) {
                if timed
                    .timer(entry)
                    .is_some_and(|link| link.is_armed() && link.tick as usize % SLOTS == slot)
                {
                    self.disarm(timed, entry);
                    return Some(entry);
                }
                // Somebody wrote over the link: what hangs on it is lost, but the rest goes on.
                self.empty(slot);
            }
            self.head.now = tick;
        }
        None
    }

    /// After a long sleep one revolution does: whatever became due before it is due in its slot still. That time runs
    /// backwards cannot be.
    #[inline]
    fn catch_up(&mut self, target: u32) {
        let behind = target.wrapping_sub(self.head.now) as i32;
        if behind > SLOTS as i32 {
            self.head.now = target.wrapping_sub(SLOTS as u32);
        } else if behind < -(SLOTS as i32) {
            self.damage.note();
        }
    }

    /// Ticks from the present one to the next whose slot holds entries, due in this revolution or a later one.
    fn ticks_to_occupied(&self) -> Option<u32> {
        let start = self.head.now.wrapping_add(1) as usize % SLOTS;
        let words = SLOTS / 64;
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.head.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == words {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                return Some(((slot + SLOTS - start) % SLOTS + 1) as u32);
            }
        }
        None
    }

    fn empty(&mut self, slot: usize) {
        if let Some(first) = self.slots.get_mut(slot) {
            *first = 0;
        }
        self.head.occupied[slot / 64] &= !(1 << (slot % 64));
    }

    fn due_in_slot(&mut self, timed: &mut impl Timed, tick: u32, steps: &mut Steps) -> Option<u32> {
        let slot = tick as usize % SLOTS;
        if self.head.occupied[slot / 64] & (1 << (slot % 64)) == 0 {
            return None;
        }
        let mut entry = *self.slots.get(slot)?;
        while entry != 0 && steps.take(&self.damage) {
            let link = timed.timer(entry)?;
            // An entry of a later revolution stays; one left behind by a jump of the clock fires late, not never.
            if (link.tick.wrapping_sub(tick) as i32) <= 0 {
                return Some(entry);
            }
            entry = link.next;
        }
        None
    }

    /// No timer fires before this time (nanoseconds); `u64::MAX` when none is armed.
    pub fn next_deadline(&self) -> u64 {
        match self.ticks_to_occupied() {
            Some(ahead) if self.head.armed != 0 => {
                (u64::from(self.head.now) + u64::from(ahead)) << TICK_SHIFT
            }
            _ => u64::MAX,
        }
    }

    /// Every link of every slot agrees with its neighbours, its slot and the count.
    pub fn check(&self, timed: &mut impl Timed) -> bool {
        let mut seen = 0;
        for (slot, &first) in self.slots.iter().enumerate() {
            let marked = self.head.occupied[slot / 64] & (1 << (slot % 64)) != 0;
            if marked != (first != 0) {
                return false;
            }
            let (mut entry, mut prev) = (first, 0);
            while entry != 0 {
                let Some(link) = timed.timer(entry) else { return false };
                if link.prev != prev || link.tick as usize % SLOTS != slot || seen > self.head.armed {
                    return false;
                }
                (prev, entry, seen) = (entry, link.next, seen + 1);
            }
        }
        seen == self.head.armed
    }
}

#[cfg(test)]
mod tests;
