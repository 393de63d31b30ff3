//! epoll_wait.

use core::ffi::c_int;
use core::sync::atomic::Ordering;

use stack::drive::Stack;
use stack::wait::{self, Sleep};

use super::harvest::Harvest;
use super::instances::{self, CALL, Instance, MOST_SHARDS};
use crate::blocking::{Kernel, Vigil};
use crate::fds::Entry;
use crate::hooks::entry;
use crate::kernel::{Errno, Outcome};
use crate::signals::{EndedBy, Mark};
use crate::timeout::{self, Deadline, Timeout};
use crate::turn::{now, turn};
use crate::{startup, user_memory};

/// While events of ours flow, the kernel's set is looked into no more often than this.
const LOOK_EVERY: u64 = 30_000;
const MOST_EVENTS: usize = c_int::MAX as usize / size_of::<libc::epoll_event>();

/// One call of the program.
pub(super) struct Call {
    pub(super) number: c_int,
    pub(super) to: *mut libc::epoll_event,
    pub(super) most: c_int,
    pub(super) timeout: Timeout,
    pub(super) mask: *const libc::sigset_t,
}

/// `plainly` makes the program's own call, for the kernel.
pub(super) fn epoll_wait(call: &Call, plainly: impl Fn() -> Outcome) -> Outcome {
    let instance = match entry(call.number) {
        Entry::Own { .. } => return Err(Errno::BADF),
        Entry::Epoll { instance } => instances::of(instance).ok_or(Errno::BADF)?,
        _ => return plainly(),
    };
    let begun = now();
    match instance.sleep_plainly(call.number, &plainly) {
        Some(Ok(told)) if instance.is_accelerated() => match without_call(call.to, told) {
            0 => {}
            told => return Ok(told),
        },
        Some(outcome) => return outcome,
        None => {}
    }
    let most = usize::try_from(call.most).unwrap_or(0);
    if most == 0 || most > MOST_EVENTS {
        return Err(Errno::INVAL);
    }
    let stack = startup::stack().ok_or(Errno::BADF)?;
    let limits = Limits { most, deadline: call.timeout.deadline(begun)?, mask: timeout::mask(call.mask)? };
    Waiting { stack, instance, number: call.number, sleeps: [None; MOST_SHARDS] }.run(call.to, &limits)
}

/// Takes the event that called this thread out of the kernel from the program's events.
fn without_call(events: *mut libc::epoll_event, told: usize) -> usize {
    let mut kept = 0;
    for index in 0..told {
        let Ok(event) = user_memory::read(events.wrapping_add(index)) else { return told };
        if event.u64 != CALL {
            let _ = user_memory::write(events.wrapping_add(kept), &event);
            kept += 1;
        }
    }
    kept
}

struct Limits {
    most: usize,
    deadline: Deadline,
    mask: Option<u64>,
}

struct Waiting<'a> {
    stack: &'a Stack,
    instance: &'a Instance,
    number: c_int,
    /// This thread among the sleepers of the instance, in each shard.
    sleeps: [Option<Sleep>; MOST_SHARDS],
}

impl Waiting<'_> {
    fn run(&mut self, to: *mut libc::epoll_event, limits: &Limits) -> Outcome {
        let mark = Mark::begin(EndedBy::AnyHandler);
        let mut harvest = Harvest::new(limits.most);
        self.gather(&mut harvest, None)?;
        let deadline = match limits.deadline {
            _ if harvest.len() > 0 => return harvest.give(to),
            Deadline::Now => return Ok(0),
            Deadline::Never => None,
            Deadline::At(time) => Some(time),
        };
        let mut vigil = Vigil::begin(self.stack, &mark, deadline, limits.mask);
        let ended = loop {
            vigil.look();
            let has_kernel = match self.gather(&mut harvest, Some(&mut vigil)) {
                Ok(has_kernel) => has_kernel,
                Err(error) => break Err(error),
            };
            if harvest.len() > 0 || vigil.is_over() {
                break Ok(());
            }
            if vigil.is_interrupted() {
                break Err(Errno::INTR);
            }
            let serial = self.instance.serial.load(Ordering::Relaxed);
            let kernel = if has_kernel { Kernel::Epoll(self.number, serial) } else { Kernel::Nothing };
            if let Err(error) = vigil.pause(kernel) {
                break Err(error);
            }
        };
        self.leave();
        drop(vigil);
        ended.and_then(|()| harvest.give(to))
    }

    /// Everything there is to tell. With `vigil`, this thread becomes one of the sleepers in the same turns.
    /// Tells whether the kernel has descriptors in the set.
    fn gather(&mut self, harvest: &mut Harvest, mut vigil: Option<&mut Vigil<'_>>) -> Result<bool, Errno> {
        let asked = self.ask_kernel_first(harvest)?;
        let mut kernel_items = 0;
        for (shard, place) in (0..self.stack.shard_count()).zip(&mut self.sleeps) {
            let part = self.instance.part(shard);
            turn(shard as u8, |s, _| {
                s.pump();
                let room = harvest.room();
                wait::collect(s, part, room, |ready| harvest.add(ready));
                if shard == 0 {
                    kernel_items = wait::kernel_items(s, part, 0);
                }
                if let Some(vigil) = vigil.as_deref_mut()
                    && place.is_none()
                {
                    *place = wait::sleep_on(s, part, vigil.waker());
                    if place.is_none() {
                        vigil.unwatched();
                    }
                }
            })?;
        }
        if harvest.len() == 0 && kernel_items > 0 && !asked {
            self.ask_kernel(harvest, harvest.most(), now())?;
        }
        Ok(kernel_items > 0)
    }

    /// When it is time to, the kernel is asked before the region, for half of the room: neither keeps the other from
    /// its turn.
    fn ask_kernel_first(&self, harvest: &mut Harvest) -> Result<bool, Errno> {
        let now = now();
        if now < self.instance.look_at.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let turns = self.instance.turns.fetch_add(1, Ordering::Relaxed) as usize;
        // The odd one goes to either in turn: there may be room for one only.
        let half = (harvest.most() + turns % 2) / 2;
        self.ask_kernel(harvest, half, now)?;
        Ok(half > 0)
    }

    /// As long as the kernel has something to tell, it is asked each time.
    fn ask_kernel(&self, harvest: &mut Harvest, most: usize, now: u64) -> Result<(), Errno> {
        let before = harvest.len();
        harvest.add_from_kernel(self.number, most)?;
        let next = if harvest.len() == before { now.saturating_add(LOOK_EVERY) } else { 0 };
        self.instance.look_at.store(next, Ordering::Relaxed);
        Ok(())
    }

    /// This thread sleeps no more.
    fn leave(&mut self) {
        for (shard, place) in (0..self.stack.shard_count()).zip(&mut self.sleeps) {
            if let Some(sleep) = place.take() {
                let _ = turn(shard as u8, |s, _| wait::unwatch(s, sleep));
            }
        }
    }
}
