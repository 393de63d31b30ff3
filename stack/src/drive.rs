//! The pump, and one process's way into the shards.
//!
//! RX ring -> input -> timers -> output -> TX ring -> fill ring, all under the shard's lock; kicks and wakes after it.

use crate::ip;
use crate::link::loopback;
use crate::link::xsk::Xsk;
use crate::region::gate::Entry as LockEntry;
use crate::region::{Gate, Region, settle};
use crate::shard::Shard;
use crate::tcp;
use crate::wait::WakerId;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::Ordering;
use rustix::fd::{AsRawFd, BorrowedFd, RawFd};
use rustix::io::Errno;

/// Descriptors taken from a ring at a time.
const BATCH: usize = 64;
/// Frames that one pump takes at most: the lock is not held for longer than that takes.
const BUDGET: u32 = 512;
const TIMER_BUDGET: u32 = 512;
/// Threads that are woken after one turn; more need the lock once more.
const WAKES: usize = 16;

/// One process's view of a region: made once, used by all its threads.
pub struct Stack {
    pub region: Region,
    /// The slot of this process.
    pub me: u16,
    shards: Box<[Lane]>,
    witness: Option<Witness>,
}

/// Knows of deaths that the region does not show yet.
pub type Witness = Box<dyn Fn(u16) -> bool + Send + Sync>;

/// A shard and its links.
struct Lane {
    shard: UnsafeCell<Shard>,
    links: Vec<Xsk>,
}

// SAFETY: `Lane::shard` is touched only between `Gate::lock` and `Gate::unlock`, which admit one thread of all
// processes; the rings are atomics and may be looked at by anybody.
unsafe impl Sync for Stack {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for Stack {}

/// Whom to wake after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bell {
    Thread(WakerId),
    Keeper,
}

/// What a pump did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pumped {
    pub frames: u32,
    pub timers: u32,
}

impl Stack {
    /// `links[i]` are the XSKs that shard `i` serves, in the order of their link numbers.
    pub fn new(region: Region, me: u16, links: Vec<Vec<Xsk>>) -> Self {
        let mut links = links.into_iter();
        let lanes = (0..region.sizes.shards).map(|index| {
            // SAFETY: one view per shard and process, used under the gate alone.
            let mut shard = unsafe { region.shard(index) };
            shard.after.reserve(&region.sizes);
            Lane { shard: UnsafeCell::new(shard), links: links.next().unwrap_or_default() }
        });
        let shards = lanes.collect();
        Self { region, me, shards, witness: None }
    }

    /// From now on `witness` is asked too whether the process that holds a lock has ended. The keeper, who else tells
    /// everybody of deaths, would wait for ever for a second process that dies while he buries the first.
    pub fn ask_of_deaths(&mut self, witness: Witness) {
        self.witness = Some(witness);
    }

    fn is_dead(&self, slot: u16) -> bool {
        self.region.processes().get(usize::from(slot)).is_none_or(|p| p.is_dead())
            || self.witness.as_ref().is_some_and(|has_ended| has_ended(slot))
    }

    /// The same view for a forked child, whose slot is another. For use while no other thread is there.
    pub fn set_process(&mut self, me: u16) {
        self.me = me;
    }

    pub fn shard_count(&self) -> u32 {
        self.shards.len() as u32
    }

    /// Takes the lock of a shard, and puts it in order first if its last owner died inside. None: no such shard.
    #[inline]
    pub fn enter(&self, index: u32, now: u64) -> Option<Entered<'_>> {
        let lane = self.shards.get(index as usize)?;
        let gate = self.region.gate(index)?;
        let found = gate.lock(self.me, |slot| self.is_dead(slot));
        // SAFETY: the gate is ours.
        let shard = unsafe { &mut *lane.shard.get() };
        // Who waited for the lock read the clock before those who held it: time does not go back in a shard.
        let now = shard.no_earlier(now);
        shard.head.now = now;
        shard.driven_by(self.me);
        let mut entered = Entered { stack: self, lane, gate, shard, now };
        if found == LockEntry::OwnerDied {
            entered.reconcile();
            entered.shard.recover(now);
        }
        Some(entered)
    }

    /// Whether a link of the shard has received something. Needs no lock.
    #[inline]
    pub fn rx_pending(&self, index: u32) -> bool {
        self.shards.get(index as usize).is_some_and(|lane| lane.links.iter().any(|x| x.rx_available() > 0))
    }

    pub fn gate(&self, index: u32) -> Option<&Gate> {
        self.region.gate(index)
    }

    /// A descriptor of the process has moved: if it is one of the links', the link goes with it.
    ///
    /// # Safety
    /// `to` is a duplicate of `from`, which is about to be closed, and is the link's from now on.
    pub unsafe fn descriptor_moved(&self, from: RawFd, to: RawFd) {
        let links = self.shards.iter().flat_map(|lane| lane.links.iter());
        for link in links.filter(|link| link.fd().as_raw_fd() == from) {
            // SAFETY: the caller's promise.
            unsafe { link.moved_to(to) };
        }
    }

    /// What a sleeper polls to be woken by packets of the shard.
    pub fn watch_fds(&self, index: u32) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.shards.get(index as usize).into_iter().flat_map(|lane| lane.links.iter().map(Xsk::fd))
    }
}

/// A turn in a shard: its lock is held until [`Entered::leave`].
pub struct Entered<'a> {
    stack: &'a Stack,
    lane: &'a Lane,
    gate: &'a Gate,
    shard: &'a mut Shard,
    now: u64,
}

impl Deref for Entered<'_> {
    type Target = Shard;
    fn deref(&self) -> &Shard {
        self.shard
    }
}

impl DerefMut for Entered<'_> {
    fn deref_mut(&mut self) -> &mut Shard {
        self.shard
    }
}

impl Entered<'_> {
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Takes what has come, lets timers fire, sends what may go.
    pub fn pump(&mut self) -> Pumped {
        let mut pumped = Pumped::default();
        for number in 0..self.lane.links.len() {
            self.reap(number);
            pumped.frames += self.receive(number);
        }
        if pumped.frames > 0 {
            tcp::end_of_burst(self.shard, self.now);
        }
        pumped.timers = self.fire_timers();
        self.flush();
        if pumped != Pumped::default() {
            self.gate.pumps.fetch_add(1, Ordering::Relaxed);
        }
        pumped
    }

    fn receive(&mut self, number: usize) -> u32 {
        let Some(link) = self.lane.links.get(number) else { return 0 };
        let mut taken = 0;
        while taken < BUDGET && link.rx_available() > 0 {
            let mut batch = [(0, 0); BATCH];
            let mut n = 0;
            link.peek_received(BATCH as u32, |addr, len| {
                if let Some(place) = batch.get_mut(n) {
                    *place = (addr, len);
                    n += 1;
                }
            });
            if n == 0 {
                break;
            }
            for &(addr, len) in batch.iter().take(n) {
                self.accept_frame(addr, len, number as u8);
            }
            link.skip_received(n as u32);
            taken += n as u32;
            self.refill(number);
        }
        if taken == 0 && link.fill_free() > link.sizes().fill / 2 {
            self.refill(number);
        }
        taken
    }

    fn accept_frame(&mut self, addr: u64, len: u32, via: u8) {
        let shard = &mut *self.shard;
        shard.counters.rx_frames += 1;
        shard.counters.rx_bytes += u64::from(len);
        match shard.frames.take_received(addr, len, via) {
            Some(frame) => ip::input(shard, frame, self.now),
            None => shard.counters.ring_bad_descriptor += 1,
        }
    }

    /// Keeps the fill ring full, but with an eighth of all frames at most.
    pub fn refill(&mut self, number: usize) {
        let Some(link) = self.lane.links.get(number) else { return };
        let target = (self.shard.frames.total() / 8).min(link.sizes().fill);
        let level = link.sizes().fill.saturating_sub(link.fill_free());
        let room = target.saturating_sub(level).min(link.fill_free());
        for _ in 0..room {
            let Some(addr) = self.shard.frames.lend_to_fill_ring() else { break };
            if !link.refill(addr) {
                let frame = self.shard.frames.at_address(addr);
                self.shard.frames.take_back_unfilled(frame);
                break;
            }
        }
    }

    /// After a death: the frames that were just changing hands with a ring.
    fn reconcile(&mut self) {
        let given: Vec<_> = self.lane.links.iter().map(Xsk::last_given).collect();
        let next_out = self.shard.next_out().and_then(|frame| self.shard.frames.descriptor(frame));
        if next_out.is_some_and(|(addr, _)| given.iter().any(|&(sent, _)| sent == addr)) {
            self.shard.advance_outbox();
        }
        let lent = self.shard.frames.last_lent();
        if !given.iter().any(|&(_, filled)| self.shard.frames.at_address(filled) == lent) {
            self.shard.frames.take_back_unfilled(lent);
        }
    }

    fn reap(&mut self, number: usize) {
        let Some(link) = self.lane.links.get(number) else { return };
        let frames = &mut self.shard.frames;
        link.complete(u32::MAX, |addr| {
            let frame = frames.at_address(addr);
            frames.completed(frame);
        });
    }

    fn fire_timers(&mut self) -> u32 {
        let mut fired = 0;
        while fired < TIMER_BUDGET
            && let Some(entry) = self.shard.pop_due(self.now)
        {
            tcp::on_timer(self.shard, entry, self.now);
            fired += 1;
        }
        fired
    }

    /// Moves the outbox to the TX rings and, for packets to this host itself, back to the input.
    pub fn flush(&mut self) {
        let mut looped = 0;
        while let Some(frame) = self.shard.next_out() {
            let via = self.shard.frames.meta(frame).map_or(0, |m| m.via);
            if via == ip::net::VIA_LOOPBACK {
                if looped == BUDGET {
                    break;
                }
                looped += 1;
                // In this order: after a death in between it is carried once more, as a wire may do.
                loopback::carry(self.shard, frame, self.now);
                settle();
                self.shard.advance_outbox();
                if self.shard.outbox_is_empty() {
                    tcp::end_of_burst(self.shard, self.now);
                }
            } else if !self.put_on_ring(frame, via) {
                break;
            }
        }
        if looped == BUDGET {
            // The rest goes with the next turn, which the keeper's tick guarantees.
            self.shard.after.keeper = true;
        }
    }

    /// False when the ring is full: the frame stays in the outbox.
    fn put_on_ring(&mut self, frame: crate::region::FrameId, via: u8) -> bool {
        let number = usize::from(via);
        let Some(link) = self.lane.links.get(number) else {
            // No such link: nobody will ever complete it.
            self.shard.advance_outbox();
            self.shard.frames.completed(frame);
            return true;
        };
        self.shard.after.kick |= 1 << (number as u32 & 63);
        if link.tx_free() == 0 {
            return false;
        }
        let Some((addr, len)) = self.shard.frames.descriptor(frame) else {
            self.shard.advance_outbox();
            self.shard.frames.completed(frame);
            return true;
        };
        if link.completions_available() >= BATCH as u32 {
            self.reap(number);
        }
        // In this order: a death in between leaves the frame in both places, which `reconcile` sees.
        link.transmit(addr, len);
        settle();
        self.shard.advance_outbox();
        self.shard.counters.tx_frames += 1;
        self.shard.counters.tx_bytes += u64::from(len);
        true
    }

    /// Gives the lock back; then kicks the card and rings those who have something to do.
    pub fn leave(mut self, mut ring: impl FnMut(Bell)) {
        self.flush();
        let mut after = self.release();
        loop {
            for (number, link) in self.lane.links.iter().enumerate() {
                if after.kick & (1 << (number & 63)) != 0 && link.needs_kick() {
                    // What a busy card leaves on the ring, the keeper kicks until it is gone.
                    after.keeper |= Xsk::kick(link.fd()) == Err(Errno::AGAIN);
                }
                if link.needs_fill_wakeup() {
                    // A card that is gone needs no frames.
                    let _ = Xsk::wake_receiver(link.fd());
                }
            }
            for &waker in after.wake.iter().take(after.wakes) {
                ring(Bell::Thread(waker));
            }
            if after.keeper {
                ring(Bell::Keeper);
            }
            if !after.more {
                break;
            }
            if self.gate.lock(self.stack.me, |slot| self.stack.is_dead(slot)) == LockEntry::OwnerDied {
                self.reconcile();
                self.shard.recover(self.now);
            }
            after = self.release();
        }
        // The lock is given back already.
        core::mem::forget(self);
    }

    /// Takes along what is to be done outside, and unlocks.
    fn release(&mut self) -> Errands {
        let mut errands = Errands { kick: core::mem::take(&mut self.shard.after.kick), ..Errands::default() };
        errands.keeper = core::mem::take(&mut self.shard.after.keeper) || self.shard.net.head.wanted != 0;
        for place in &mut errands.wake {
            let Some(waker) = self.shard.after.wake.pop() else { break };
            *place = waker;
            errands.wakes += 1;
        }
        errands.more = !self.shard.after.wake.is_empty();
        self.shard.mend(self.now);
        self.gate.deadline.store(self.shard.wheel.next_deadline(), Ordering::Relaxed);
        self.shard.head.changing = Default::default();
        if self.gate.keeper_parked.load(Ordering::Relaxed) != 0 && self.gate.live.load(Ordering::Relaxed) != 0
        {
            errands.keeper |= self.gate.keeper_parked.swap(0, Ordering::Relaxed) != 0;
        }
        self.gate.unlock();
        errands
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

struct Errands {
    kick: u64,
    wake: [WakerId; WAKES],
    wakes: usize,
    keeper: bool,
    more: bool,
}

impl Default for Errands {
    fn default() -> Self {
        Self { kick: 0, wake: [WakerId::NONE; WAKES], wakes: 0, keeper: false, more: false }
    }
}
