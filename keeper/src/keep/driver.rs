//! The driver of last resort: what happens to packets and timers while no program looks after them.
//!
//! A thread that waits in a call is *on watch*: it sleeps on the rings itself, and the keeper must not race it. A
//! program that computes is not, and then somebody has to acknowledge, retransmit and accept in its place.
//!
//! - *Ticking*: turns are being taken. Every millisecond, or every few while the turns follow one another, the keeper looks
//!   whether packets lie there that nobody took in the whole tick, nobody being on watch; if so it drives, and goes to sleep.
//! - *Asleep*: until somebody takes a turn (who then rings, as `Gate::keeper_parked` asks), a timer is due, or, while nobody
//!   is on watch, a packet comes. An idle system stays here.

use std::sync::atomic::Ordering;
use std::time::Duration;

use stack::drive::{Bell, Stack};
use stack::region::Gate;

use super::wakers::Wakers;

pub(crate) struct Driver {
    shard: u32,
    mode: Mode,
    tick: u64,
    /// `Gate::pumps` when we last looked.
    pumps: u32,
    /// Ticks in which nothing happened.
    quiet: u32,
    /// Ticks in which packets lay there, and somebody who ought to was on watch.
    neglected: u32,
    next_look: u64,
    asked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Ticking,
    /// Parked just now. A turn that overlapped the parking may have missed it, so there is one more look.
    FallingAsleep,
    Asleep,
}

/// What the keeper waits for in the driver's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) until: Option<u64>,
    pub(crate) for_packets: bool,
    /// Driving brought up something for the keeper: a neighbour to resolve.
    pub(crate) asked: bool,
}

impl Driver {
    pub(crate) fn new(shard: u32) -> Driver {
        Driver {
            shard,
            mode: Mode::Ticking,
            tick: TICK,
            pumps: 0,
            quiet: 0,
            neglected: 0,
            next_look: 0,
            asked: false,
        }
    }

    /// Looks, and drives if nobody else does. `rung`: a program rang the keeper's bell. `has_listeners`: connections may
    /// come although none lives.
    pub(crate) fn look(
        &mut self,
        stack: &Stack,
        wakers: &Wakers,
        now: u64,
        rung: bool,
        has_listeners: bool,
    ) -> Waits {
        let Some(gate) = stack.gate(self.shard) else { return Waits::default() };
        self.asked = false;
        if rung && self.mode != Mode::Ticking {
            self.wake_up(gate, now);
        }
        match self.mode {
            Mode::Ticking if now >= self.next_look => self.tick(stack, gate, wakers, now),
            Mode::Ticking => {}
            Mode::FallingAsleep | Mode::Asleep => self.doze(stack, gate, wakers, now),
        }
        self.waits(gate, now, has_listeners)
    }

    fn tick(&mut self, stack: &Stack, gate: &Gate, wakers: &Wakers, now: u64) {
        let pumps = gate.pumps.load(Ordering::Relaxed);
        let somebody_drives = core::mem::replace(&mut self.pumps, pumps) != pumps;
        self.tick = if somebody_drives { (self.tick * 2).min(LONGEST_TICK) } else { TICK };
        self.next_look = now + self.tick;
        if somebody_drives {
            (self.quiet, self.neglected) = (0, 0);
            return;
        }
        let on_watch = gate.on_watch.load(Ordering::Relaxed) != 0;
        if stack.rx_pending(self.shard) {
            self.neglected += 1;
            // Those on watch may be stopped by a signal or a debugger: then their peers need not suffer with them.
            if !on_watch || self.neglected > PATIENCE {
                self.drive(stack, gate, wakers, now);
                self.fall_asleep(gate, now);
            }
            return;
        }
        if is_due(gate, now, on_watch) {
            self.drive(stack, gate, wakers, now);
        }
        self.quiet += 1;
        if self.quiet > QUIET_TICKS {
            self.fall_asleep(gate, now);
        }
    }

    fn doze(&mut self, stack: &Stack, gate: &Gate, wakers: &Wakers, now: u64) {
        let on_watch = gate.on_watch.load(Ordering::Relaxed) != 0;
        if gate.pumps.load(Ordering::Relaxed) != self.pumps && gate.live.load(Ordering::Relaxed) != 0 {
            self.wake_up(gate, now);
        } else if is_due(gate, now, on_watch) || (!on_watch && stack.rx_pending(self.shard)) {
            self.drive(stack, gate, wakers, now);
            gate.keeper_parked.store(1, Ordering::SeqCst);
        } else if self.mode == Mode::FallingAsleep && now >= self.next_look {
            self.mode = Mode::Asleep;
        }
    }

    fn waits(&self, gate: &Gate, now: u64, has_listeners: bool) -> Waits {
        if self.mode == Mode::Ticking {
            return Waits { until: Some(self.next_look), for_packets: false, asked: self.asked };
        }
        let on_watch = gate.on_watch.load(Ordering::Relaxed) != 0;
        let mut until = match gate.deadline.load(Ordering::Relaxed) {
            u64::MAX => None,
            due => Some(due.saturating_add(if on_watch { GRACE } else { 0 }).max(now + SHORTEST)),
        };
        let mut at_most = |time| until = Some(until.map_or(time, |other: u64| other.min(time)));
        if self.mode == Mode::FallingAsleep {
            at_most(self.next_look);
        } else if on_watch && has_listeners && gate.live.load(Ordering::Relaxed) == 0 {
            // Whoever goes off watch with connections alive rings; without, nobody does, and a SYN would wait.
            at_most(now + GLANCE);
        }
        Waits { until, for_packets: !on_watch, asked: self.asked }
    }

    /// One turn, and more while there is more than one turn takes.
    fn drive(&mut self, stack: &Stack, gate: &Gate, wakers: &Wakers, now: u64) {
        // While we are up nobody need ring, least of all we.
        gate.keeper_parked.store(0, Ordering::Relaxed);
        for _ in 0..ROUNDS {
            let Some(mut turn) = stack.enter(self.shard, now) else { return };
            turn.pump();
            let mut more = false;
            turn.leave(|bell| match bell {
                Bell::Thread(waker) => wakers.ring(waker),
                Bell::Keeper => more = true,
            });
            self.asked |= more;
            if !more && !stack.rx_pending(self.shard) {
                break;
            }
        }
        self.pumps = gate.pumps.load(Ordering::Relaxed);
        self.neglected = 0;
    }

    fn fall_asleep(&mut self, gate: &Gate, now: u64) {
        (self.mode, self.next_look, self.quiet, self.neglected) = (Mode::FallingAsleep, now + TICK, 0, 0);
        // ORDERING: SeqCst, so that what we look at next is looked at after programs can see that we sleep.
        gate.keeper_parked.store(1, Ordering::SeqCst);
    }

    fn wake_up(&mut self, gate: &Gate, now: u64) {
        gate.keeper_parked.store(0, Ordering::Relaxed);
        (self.mode, self.tick, self.next_look, self.quiet) = (Mode::Ticking, TICK, now + TICK, 0);
        self.pumps = gate.pumps.load(Ordering::Relaxed);
    }
}

/// A timer is due. Threads on watch let timers fire themselves, so they have a little time for it.
fn is_due(gate: &Gate, now: u64, on_watch: bool) -> bool {
    let due = gate.deadline.load(Ordering::Relaxed);
    due.saturating_add(if on_watch { GRACE } else { 0 }) <= now
}

const fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

const TICK: u64 = nanoseconds(Duration::from_millis(1));
/// Wakes cost those who drive: a thread that spins is interrupted by each.
const LONGEST_TICK: u64 = nanoseconds(Duration::from_millis(4));
const GRACE: u64 = nanoseconds(Duration::from_millis(3));
const GLANCE: u64 = nanoseconds(Duration::from_millis(100));
/// A deadline that stays in the past (somebody scribbled over it) must not make the keeper spin.
const SHORTEST: u64 = nanoseconds(Duration::from_micros(50));
const QUIET_TICKS: u32 = 8;
const PATIENCE: u32 = 10;
const ROUNDS: u32 = 16;

#[cfg(test)]
mod tests {
    use stack::region::{Region, Sizes};

    use super::*;

    fn stack() -> Stack {
        Stack::new(Region::private(Sizes::tiny(), [1, 2], 0).expect("a region"), 0, vec![])
    }

    struct Clocked {
        stack: Stack,
        driver: Driver,
        now: u64,
    }

    impl Clocked {
        fn new() -> Clocked {
            Clocked { stack: stack(), driver: Driver::new(0), now: 1_000_000_000 }
        }

        fn gate(&self) -> &Gate {
            self.stack.gate(0).expect("shard 0")
        }

        /// Sleeps as long as the driver wants, and looks.
        fn next(&mut self, rung: bool) -> Waits {
            let waits = self.driver.look(&self.stack, &Wakers::default(), self.now, rung, true);
            if let Some(until) = waits.until {
                assert!(until > self.now, "it would spin");
                self.now = until;
            }
            waits
        }

        fn until_asleep(&mut self) -> u32 {
            for looks in 1..100 {
                self.next(false);
                if self.driver.mode == Mode::Asleep {
                    return looks;
                }
            }
            panic!("it never sleeps");
        }
    }

    #[test]
    fn an_idle_stack_puts_the_keeper_to_sleep_for_good() {
        let mut clocked = Clocked::new();
        clocked.until_asleep();
        assert_eq!(clocked.next(false), Waits { for_packets: true, ..Waits::default() });
        assert_eq!(clocked.gate().keeper_parked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_ring_wakes_it_and_quiet_puts_it_back() {
        let mut clocked = Clocked::new();
        clocked.until_asleep();
        let waits = clocked.next(true);
        assert_eq!((clocked.driver.mode, waits.for_packets), (Mode::Ticking, false));
        assert_eq!(clocked.gate().keeper_parked.load(Ordering::Relaxed), 0);
        assert!(clocked.until_asleep() > QUIET_TICKS);
    }

    #[test]
    fn while_somebody_drives_it_keeps_ticking_and_does_nothing() {
        let mut clocked = Clocked::new();
        for _ in 0..50 {
            clocked.gate().pumps.fetch_add(1, Ordering::Relaxed);
            clocked.next(false);
            assert_eq!(clocked.driver.mode, Mode::Ticking);
        }
        assert_eq!(clocked.driver.tick, LONGEST_TICK);
        clocked.next(false);
        clocked.next(false);
        assert_eq!(clocked.driver.tick, TICK, "it looks more often as soon as nobody drives");
    }

    #[test]
    fn it_does_not_sleep_on_the_rings_while_somebody_is_on_watch() {
        let mut clocked = Clocked::new();
        clocked.gate().on_watch.store(1, Ordering::Relaxed);
        clocked.until_asleep();
        let waits = clocked.next(false);
        assert!(!waits.for_packets);
        assert!(waits.until.is_some(), "with listeners and no connection it glances from time to time");
        clocked.gate().live.store(1, Ordering::Relaxed);
        assert_eq!(clocked.next(false).until, None, "with connections whoever goes off watch rings");
    }

    #[test]
    fn a_timer_wakes_it_later_when_somebody_is_on_watch() {
        let mut clocked = Clocked::new();
        clocked.until_asleep();
        let due = clocked.now + 50_000_000;
        clocked.gate().deadline.store(due, Ordering::Relaxed);
        assert_eq!(clocked.next(false).until, Some(due));
        clocked.now = due - 10_000_000;
        clocked.gate().on_watch.store(1, Ordering::Relaxed);
        clocked.gate().live.store(1, Ordering::Relaxed);
        assert_eq!(clocked.next(false).until, Some(due + GRACE));
    }

    #[test]
    fn a_turn_that_overlapped_the_parking_is_seen_a_tick_later() {
        let mut clocked = Clocked::new();
        while clocked.driver.mode != Mode::FallingAsleep {
            clocked.next(false);
        }
        clocked.gate().live.store(1, Ordering::Relaxed);
        clocked.gate().pumps.fetch_add(1, Ordering::Relaxed);
        clocked.next(false);
        assert_eq!(clocked.driver.mode, Mode::Ticking);
    }
}
