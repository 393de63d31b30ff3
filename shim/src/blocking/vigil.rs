//! A thread on watch: it looks for packets by itself for a while, then sleeps.
//!
//! The order that loses no wake: the thread says that it spins ([`Vigil::look`]), then looks in vain and enters its
//! watches, both under one lock; whoever makes one of its sockets ready from then on marks its waker. Spinning becomes
//! sleeping only if there is no mark, and a mark on a sleeper rings its eventfd. A packet that comes instead is in the
//! ring, and the edge of it in the thread's epoll set. Whatever ended the wait, the thread pumps before it does
//! anything else: an exclusive wake may have been meant for the packets of others.

use core::sync::atomic::Ordering;

use stack::drive::Stack;
use stack::region::WakerSlot;
use stack::wait::WakerId;

use super::bell::{self, Bell};
use super::profile;
use crate::kernel::{self, Errno, Outcome};
use crate::signals::{EndedBy, Mark, interruptible_call};
use crate::turn::{now, turn};

/// What the kernel has to say besides.
pub(crate) enum Kernel<'a> {
    Nothing,
    /// Descriptors to poll. The last place is left free.
    Poll(&'a mut [libc::pollfd]),
    /// An epoll set of the program, by number and serial.
    Epoll(i32, u32),
}

pub(crate) struct Vigil<'a> {
    stack: &'a Stack,
    bell: Option<(WakerId, &'static Bell)>,
    slot: Option<&'a WakerSlot>,
    mark: &'a Mark,
    deadline: Option<u64>,
    mask: Option<u64>,
    /// How many were on watch already.
    rank: u32,
    spin: u64,
    spin_until: u64,
    slept: bool,
    /// Nobody will tell of an event: look again soon.
    unwatched: bool,
}

/// A sleep that nobody would end is no longer than this.
const NAP: u64 = 1_000_000;
/// With a signal mask to be set for the wait, which happens in the sleep only, spinning would hold signals up.
const MASKED_SPIN: u64 = 20_000;
/// Timers are late by so much for each thread that is on watch already: one of them wakes for it, not all.
const TIMER_SLACK: u64 = 1_000_000;
/// Between looks at what the kernel has, when there is such.
const SPIN_TURN: u64 = 30_000;
const CLOCK_EVERY: u32 = 8;
/// Between two looks at the clock only another thread takes so long.
const DISPLACED: u64 = 20_000;

impl<'a> Vigil<'a> {
    pub(crate) fn begin(stack: &'a Stack, mark: &'a Mark, deadline: Option<u64>, mask: Option<u64>) -> Self {
        let bell = bell::mine();
        let slot = bell.and_then(|(waker, _)| stack.region.wakers().get(usize::from(waker.0)));
        let spin = profile::spin();
        let spin = if mask.is_some() { spin.min(MASKED_SPIN) } else { spin };
        let mut rank = 0;
        for shard in 0..stack.shard_count() {
            if let Some(gate) = stack.gate(shard) {
                rank = gate.on_watch.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(process) = stack.region.processes().get(usize::from(stack.me)) {
            process.on_watch.fetch_add(1, Ordering::Relaxed);
        }
        let spin_until = now().saturating_add(spin);
        Vigil {
            stack,
            bell,
            slot,
            mark,
            deadline,
            mask,
            rank,
            spin,
            spin_until,
            slept: false,
            unwatched: false,
        }
    }

    pub(crate) fn waker(&self) -> WakerId {
        self.bell.map_or(WakerId::NONE, |(waker, _)| waker)
    }

    /// From now on events are marked: called before the look under the shard's lock that enters the watches.
    pub(crate) fn look(&mut self) {
        self.unwatched = self.slot.is_none();
        if let Some(slot) = self.slot {
            slot.spin();
        }
    }

    /// A watch could not be entered: nobody will tell of its events.
    pub(crate) fn unwatched(&mut self) {
        self.unwatched = true;
    }

    /// Drives the shards that have something to do, but for those in `mine` (a bit for each), which the caller is about
    /// to drive himself: an exclusive wake may have been for any of them.
    pub(crate) fn drive_others(&self, mine: u64) {
        for shard in (0..self.stack.shard_count()).filter(|&shard| mine >> (shard & 63) & 1 == 0) {
            if self.is_due(shard, now()) {
                let _ = turn(shard as u8, |s, _| s.pump());
            }
        }
    }

    fn is_due(&self, shard: u32, now: u64) -> bool {
        self.stack.rx_pending(shard)
            || self.stack.gate(shard).is_some_and(|gate| gate.deadline.load(Ordering::Relaxed) <= now)
    }

    /// Work that nobody is doing at this moment. While somebody holds the lock he may be at it.
    fn is_work(&self, now: u64) -> bool {
        (0..self.stack.shard_count()).any(|shard| {
            self.is_due(shard, now) && self.stack.gate(shard).is_some_and(|gate| gate.holder().is_none())
        })
    }

    fn is_marked(&self) -> bool {
        !self.unwatched && self.slot.is_some_and(|slot| !slot.is_spinning())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| now() >= deadline)
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.mark.is_interrupted()
    }

    /// Waits until something may have happened. True if that was a sleep, in which the kernel looked at what is its own.
    pub(crate) fn pause(&mut self, other: Kernel<'_>) -> Result<bool, Errno> {
        if self.spin(!matches!(other, Kernel::Nothing)) {
            return Ok(false);
        }
        // Also a handler that lets the call go on ends the sleep: it may have waited itself, with this very bell.
        let handlers = Mark::begin(EndedBy::AnyHandler);
        if self.mark.is_interrupted() {
            return Ok(false);
        }
        let armed = self.unwatched || self.slot.is_some_and(WakerSlot::arm);
        let any_work = (0..self.stack.shard_count()).any(|shard| self.stack.rx_pending(shard));
        self.slept |= armed && !any_work;
        let slept = if armed && !any_work { self.sleep(other, &handlers).map(|_| true) } else { Ok(false) };
        if let Some(slot) = self.slot {
            slot.disarm();
        }
        match slept {
            // Whether this ends the call is for the mark to say: a handler with SA_RESTART, or a stop, does not.
            Err(Errno::INTR) => Ok(false),
            other => other,
        }
    }

    /// True if there is something to look at, false if spinning was in vain and is over. With `in_turns` the kernel
    /// is to be looked at once in a while too.
    fn spin(&mut self, in_turns: bool) -> bool {
        let mut time = now();
        let turn_ends = if in_turns { time.saturating_add(SPIN_TURN) } else { u64::MAX };
        let mut yield_at = time.saturating_add(profile::yield_after());
        let mut rounds = 0u32;
        loop {
            if self.is_marked() || self.is_work(time) || self.mark.is_interrupted() {
                return true;
            }
            if self.deadline.is_some_and(|deadline| time >= deadline) {
                return true;
            }
            if time >= self.spin_until {
                return false;
            }
            if time >= turn_ends {
                return true;
            }
            if time >= yield_at {
                // SAFETY: no arguments.
                let _ = unsafe { kernel::call(libc::SYS_sched_yield, []) };
                yield_at = u64::MAX;
            }
            core::hint::spin_loop();
            rounds = rounds.wrapping_add(1);
            if rounds.is_multiple_of(CLOCK_EVERY) {
                let before = core::mem::replace(&mut time, now());
                if time.saturating_sub(before) > DISPLACED {
                    self.spin_until = 0;
                    profile::crowded();
                }
            }
        }
    }

    /// When the sleep must end by itself.
    fn sleep_ends(&self, now: u64) -> Option<u64> {
        let gates = (0..self.stack.shard_count()).filter_map(|shard| self.stack.gate(shard));
        let timers = gates.map(|gate| gate.deadline.load(Ordering::Relaxed)).min();
        let slack = TIMER_SLACK * u64::from(self.rank.min(8));
        let timers = timers.filter(|&at| at != u64::MAX).map(|at| at.saturating_add(slack));
        let nap = (self.unwatched || self.bell.is_none()).then(|| now.saturating_add(NAP));
        [self.deadline, timers, nap].into_iter().flatten().min()
    }

    fn sleep(&self, kernel: Kernel<'_>, handlers: &Mark) -> Outcome {
        let begin = now();
        let time = self.sleep_ends(begin).map(|end| {
            let left = end.saturating_sub(begin);
            [(left / 1_000_000_000) as i64, (left % 1_000_000_000) as i64]
        });
        let time = time.as_ref().map_or(0, |time| time.as_ptr() as usize);
        let mask = self.mask.as_ref().map_or(0, |mask| core::ptr::from_ref(mask) as usize);
        let Some((_, bell)) = self.bell else { return nap(kernel, time, mask, handlers) };
        bell.watch_rings(self.stack);
        match kernel {
            Kernel::Poll(polled) => poll(bell, polled, time, mask, handlers),
            Kernel::Epoll(number, serial) if bell.hold(number, serial).is_err() => {
                let closed = libc::pollfd { fd: -1, events: 0, revents: 0 };
                let inner = libc::pollfd { fd: number, events: libc::POLLIN, revents: 0 };
                poll(bell, &mut [inner, closed], time, mask, handlers)
            }
            Kernel::Epoll(..) | Kernel::Nothing => {
                let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
                let room = [events.as_mut_ptr() as usize, events.len()];
                let arguments = [bell.set() as usize, room[0], room[1], time, mask, 8];
                // SAFETY: the kernel writes our events, and reads our timespec and mask.
                unsafe { sleeping_call(libc::SYS_epoll_pwait2, arguments, handlers) }
            }
        }
    }
}

impl Drop for Vigil<'_> {
    fn drop(&mut self) {
        profile::learn(self.spin, self.slept);
        if let Some(slot) = self.slot {
            slot.disarm();
        }
        for shard in 0..self.stack.shard_count() {
            if let Some(gate) = self.stack.gate(shard) {
                gate.on_watch.fetch_sub(1, Ordering::Relaxed);
            }
        }
        if let Some(process) = self.stack.region.processes().get(usize::from(self.stack.me)) {
            process.on_watch.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Together with descriptors of the kernel.
fn poll(bell: &Bell, polled: &mut [libc::pollfd], time: usize, mask: usize, handlers: &Mark) -> Outcome {
    if let Some(last) = polled.last_mut() {
        *last = libc::pollfd { fd: bell.set(), events: libc::POLLIN, revents: 0 };
    }
    let arguments = [polled.as_mut_ptr() as usize, polled.len(), time, mask, 8];
    // SAFETY: the kernel reads and writes our array, and reads our timespec and mask.
    let slept = unsafe { sleeping_call(libc::SYS_ppoll, arguments, handlers) };
    if polled.last().is_some_and(|last| last.revents != 0) {
        // Takes the edges, which poll leaves where they are.
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        let room = [events.as_mut_ptr() as usize, events.len()];
        // SAFETY: the kernel writes our events.
        let _ =
            unsafe { kernel::call(libc::SYS_epoll_pwait, [bell.set() as usize, room[0], room[1], 0, 0, 8]) };
    }
    slept
}

/// Without a bell: short sleeps, which only the kernel's descriptors end.
fn nap(kernel: Kernel<'_>, time: usize, mask: usize, handlers: &Mark) -> Outcome {
    let mut one = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }];
    let polled = match kernel {
        Kernel::Nothing => &mut one,
        Kernel::Poll(polled) => polled,
        Kernel::Epoll(number, _) => {
            one[0].fd = number;
            &mut one
        }
    };
    let arguments = [polled.as_mut_ptr() as usize, polled.len(), time, mask, 8];
    // SAFETY: the kernel reads and writes our array, and reads our timespec and mask.
    unsafe { sleeping_call(libc::SYS_ppoll, arguments, handlers) }
}

/// A thread can be cancelled in here, as in the calls of libc that wait.
///
/// # Safety
/// As `kernel::call`.
unsafe fn sleeping_call<const N: usize>(number: i64, arguments: [usize; N], handlers: &Mark) -> Outcome {
    kernel::cancellation_point(|| {
        // SAFETY: the caller's promise.
        unsafe { interruptible_call(number, arguments, handlers) }
    })
}
