//! Waiting for descriptors of both kinds: the core of poll and select.

use alloc::vec::Vec;

use stack::drive::Stack;
use stack::region::Handle;
use stack::socket::{self, SocketRef};
use stack::wait::{Sleep, events, unwatch, watch};

use crate::blocking::{Kernel, Vigil};
use crate::epoll;
use crate::fds::{Entry, Place};
use crate::hooks::entry;
use crate::kernel::{self, Errno, Outcome};
use crate::signals::{EndedBy, Mark};
use crate::sockets::socket_of;
use crate::timeout::Deadline;
use crate::turn::turn;

/// A socket of ours in the set.
#[derive(Clone, Copy)]
pub(crate) struct Ours {
    /// Its place among the polled descriptors.
    index: usize,
    shard: u8,
    socket: SocketRef,
    wanted: u32,
    sleep: Option<Sleep>,
}

/// A set that has at least one descriptor of ours.
pub(crate) struct Mixed<'a> {
    stack: &'a Stack,
    /// What the kernel is asked, at the place of each descriptor; those that only we know have no number. One more
    /// place is free.
    polled: &'a mut [libc::pollfd],
    ours: &'a mut [Ours],
    has_kernel: bool,
}

const FREE: libc::pollfd = libc::pollfd { fd: -1, events: 0, revents: 0 };
const NOBODY: Ours =
    Ours { index: 0, shard: 0, socket: SocketRef::Epoll(Handle::NONE), wanted: 0, sleep: None };
/// Sets up to this size need no memory but the stack's.
const SMALL: usize = 32;
/// No descriptor has this number.
const CLOSED: i32 = i32::MAX;

/// Room for `count` descriptors and one more.
pub(crate) fn with_room(
    count: usize,
    body: impl FnOnce(&mut [libc::pollfd], &mut [Ours]) -> Outcome,
) -> Outcome {
    if count < SMALL {
        let (mut polled, mut ours) = ([FREE; SMALL], [NOBODY; SMALL]);
        return body(polled.get_mut(..=count).unwrap_or_default(), &mut ours);
    }
    let (mut polled, mut ours) = (Vec::new(), Vec::new());
    let room = polled.try_reserve_exact(count + 1).and_then(|()| ours.try_reserve_exact(count));
    room.map_err(|_| Errno::NOMEM)?;
    polled.resize(count + 1, FREE);
    ours.resize(count, NOBODY);
    body(&mut polled, &mut ours)
}

impl<'a> Mixed<'a> {
    /// Sorts the descriptors of `polled`, whose last place is free. None: all are the kernel's, and nothing was changed.
    pub(crate) fn sort(
        stack: &'a Stack,
        polled: &'a mut [libc::pollfd],
        ours: &'a mut [Ours],
    ) -> Option<Self> {
        let count = polled.len().saturating_sub(1);
        let is_special = |p: &libc::pollfd| match entry(p.fd) {
            Entry::Kernel | Entry::Undecided { .. } => false,
            Entry::Epoll { instance } => epoll::with_part(instance, p.fd, 0).is_some(),
            _ => true,
        };
        if !polled.iter().take(count).any(is_special) {
            return None;
        }
        let (mut found, mut has_kernel) = (0, false);
        for (index, place) in polled.iter_mut().take(count).enumerate().filter(|(_, p)| p.fd >= 0) {
            let entry = entry(place.fd);
            let at = match entry {
                Entry::Own { .. } => {
                    place.fd = CLOSED;
                    None
                }
                Entry::Epoll { instance } => epoll::with_part(instance, place.fd, 0)
                    .map(|part| (Place { shard: 0, ipv6: false, handle: 0 }, SocketRef::Epoll(part))),
                _ => socket_of(entry),
            };
            if let (Some((Place { shard, .. }, socket)), Some(free)) = (at, ours.get_mut(found)) {
                let wanted = u32::from(place.events as u16) | events::ERR | events::HUP;
                *free = Ours { index, shard, socket, wanted, sleep: None };
                found += 1;
            }
            if matches!(entry, Entry::Connection(_)) {
                place.fd = -1;
            } else {
                has_kernel = true;
            }
        }
        Some(Self { stack, polled, ours: ours.get_mut(..found)?, has_kernel })
    }

    /// Waits until `count`, which is shown what has come true at each place, finds something in it.
    pub(crate) fn wait(
        &mut self,
        deadline: Deadline,
        mask: Option<u64>,
        mut count: impl FnMut(&mut [libc::pollfd]) -> Outcome,
    ) -> Outcome {
        let mark = Mark::begin(EndedBy::AnyHandler);
        self.ask_kernel()?;
        self.look(None)?;
        let deadline = match (count(self.results())?, deadline) {
            (0, Deadline::Never) => None,
            (0, Deadline::At(time)) => Some(time),
            (0, Deadline::Now) => return nothing_ready(mask),
            (ready, _) => return Ok(ready),
        };
        let mut vigil = Vigil::begin(self.stack, &mark, deadline, mask);
        let ended = self.watch_for(&mut vigil, count);
        self.leave();
        if ended == Ok(0) { nothing_ready(mask) } else { ended }
    }

    fn watch_for(
        &mut self,
        vigil: &mut Vigil<'_>,
        mut count: impl FnMut(&mut [libc::pollfd]) -> Outcome,
    ) -> Outcome {
        loop {
            vigil.look();
            let kernel_is_ready = self.results().iter().any(|p| p.revents != 0);
            self.look(Some(vigil))?;
            match count(self.results())? {
                0 if vigil.is_interrupted() => return Err(Errno::INTR),
                0 if vigil.is_over() => return Ok(0),
                0 => {}
                ready => return Ok(ready),
            }
            let slept = if kernel_is_ready {
                // By something that nobody asked for (a hang-up, in select), which would end every sleep at once.
                vigil.unwatched();
                vigil.pause(Kernel::Nothing)?;
                false
            } else if self.has_kernel {
                vigil.pause(Kernel::Poll(self.polled))?
            } else {
                vigil.pause(Kernel::Nothing)?;
                false
            };
            if !slept {
                self.ask_kernel()?;
            }
            vigil.drive_others(self.ours.iter().fold(0, |shards, x| shards | 1 << (x.shard & 63)));
        }
    }

    fn results(&mut self) -> &mut [libc::pollfd] {
        let count = self.polled.len().saturating_sub(1);
        self.polled.get_mut(..count).unwrap_or_default()
    }

    /// What is true in the kernel now.
    fn ask_kernel(&mut self) -> Result<(), Errno> {
        if !self.has_kernel {
            self.results().iter_mut().for_each(|p| p.revents = 0);
            return Ok(());
        }
        let nothing = [0i64; 2];
        let polled = self.results();
        let arguments = [polled.as_mut_ptr() as usize, polled.len(), nothing.as_ptr() as usize, 0, 8];
        // SAFETY: the kernel reads and writes our array, and reads our timespec.
        match unsafe { kernel::call(libc::SYS_ppoll, arguments) } {
            Ok(_) => Ok(()),
            Err(Errno::INTR) => {
                // Whether a signal ends the call is for the mark to say, once ours were looked at too.
                self.results().iter_mut().for_each(|p| p.revents = 0);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Adds what is true of ours; with `vigil`, enters this thread's watches in the same turns.
    fn look(&mut self, mut vigil: Option<&mut Vigil<'_>>) -> Result<(), Errno> {
        for shard in 0..self.stack.shard_count() as u8 {
            if !self.ours.iter().any(|x| x.shard == shard) {
                continue;
            }
            let (ours, polled) = (&mut *self.ours, &mut *self.polled);
            turn(shard, |s, _| {
                s.pump();
                for x in ours.iter_mut().filter(|x| x.shard == shard) {
                    let ready = socket::readiness(s, x.socket) & x.wanted;
                    if let Some(place) = polled.get_mut(x.index) {
                        place.revents |= ready as i16;
                    }
                    let Some(vigil) = vigil.as_deref_mut() else { continue };
                    if x.sleep.is_none() {
                        x.sleep = watch(s, x.socket, x.wanted, vigil.waker());
                    }
                    if x.sleep.is_none() {
                        vigil.unwatched();
                    }
                }
            })?;
        }
        Ok(())
    }

    fn leave(&mut self) {
        for shard in 0..self.stack.shard_count() as u8 {
            let mut sleeps = self.ours.iter().filter(|x| x.shard == shard).filter_map(|x| x.sleep).peekable();
            if sleeps.peek().is_some() {
                let _ = turn(shard, |s, _| sleeps.for_each(|sleep| unwatch(s, sleep)));
            }
        }
    }
}

/// LINUX: a signal that waited for the mask of this call goes before the end of its time.
fn nothing_ready(mask: Option<u64>) -> Outcome {
    let Some(mask) = mask else { return Ok(0) };
    let nothing = [0i64; 2];
    let arguments = [0, 0, nothing.as_ptr() as usize, (&raw const mask) as usize, 8];
    // SAFETY: the kernel reads our timespec and mask.
    unsafe { kernel::call(libc::SYS_ppoll, arguments) }
}
