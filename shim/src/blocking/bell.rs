//! What a thread sleeps on: a waker of the region with its eventfd, in an epoll set of the thread's own.
//!
//! The set holds the eventfd and the rings of the card, edge-triggered: the eventfd is never read, and an
//! edge that came before the sleep ends the sleep at once. The rings are in it exclusively: of several threads that
//! sleep, in whatever process, the kernel wakes one for a burst of packets. While nobody sleeps the edge is
//! kept for everybody, and a thread looks into the rings before it sleeps, so no packet waits for nobody.
//!
//! A bell outlives its thread: the next thread that needs one takes it over, so a library that cannot know of
//! the end of threads loses nothing by them.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use rustix::fd::AsRawFd;
use stack::control::Ask;
use stack::drive::Stack;
use stack::wait::WakerId;

use crate::kernel::{self, Errno};
use crate::own::{self, Slot};
use crate::signals::LockedSection;
use crate::{bells, control, thread};

/// By waker; only those that this process has are in use.
static BELLS: [Bell; 4096] = [const { Bell::new() }; 4096];

pub(crate) struct Bell {
    /// The thread that has it, or 0 while this process does not have the waker.
    thread: AtomicI32,
    /// The slot of the epoll set.
    set: AtomicU32,
    /// The rings are in the set.
    has_rings: AtomicBool,
    /// Which epoll instance of the program is in the set, by its serial; 0 for none.
    inner: AtomicU32,
    /// The number by which it was entered.
    inner_number: AtomicI32,
}

impl Bell {
    const fn new() -> Bell {
        Bell {
            thread: AtomicI32::new(0),
            set: AtomicU32::new(0),
            has_rings: AtomicBool::new(false),
            inner: AtomicU32::new(0),
            inner_number: AtomicI32::new(-1),
        }
    }

    /// The epoll set's descriptor.
    pub(super) fn set(&self) -> i32 {
        Slot::from_number(self.set.load(Ordering::Relaxed)).number()
    }

    /// Sees to it that the card's packets end a sleep on the set.
    pub(super) fn watch_rings(&self, stack: &Stack) {
        if self.has_rings.swap(true, Ordering::Relaxed) {
            return;
        }
        for shard in 0..stack.shard_count() {
            for ring in stack.watch_fds(shard) {
                let events = libc::EPOLLIN | libc::EPOLLET | libc::EPOLLEXCLUSIVE;
                let _ = control_set(self.set(), libc::EPOLL_CTL_ADD, ring.as_raw_fd(), events as u32);
            }
        }
    }

    /// Sees to it that events of a kernel epoll set of the program end a sleep on this one. Edges are enough, as the
    /// program's set is looked into before each sleep. What stays in here needlessly costs a wake in vain at most.
    pub(super) fn hold(&self, number: i32, serial: u32) -> Result<(), Errno> {
        if self.inner.load(Ordering::Relaxed) == serial {
            return Ok(());
        }
        let before = self.inner_number.swap(-1, Ordering::Relaxed);
        if self.inner.swap(0, Ordering::Relaxed) != 0 {
            let _ = control_set(self.set(), libc::EPOLL_CTL_DEL, before, 0);
        }
        match control_set(self.set(), libc::EPOLL_CTL_ADD, number, (libc::EPOLLIN | libc::EPOLLET) as u32) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        self.inner_number.store(number, Ordering::Relaxed);
        self.inner.store(serial, Ordering::Relaxed);
        Ok(())
    }
}

fn control_set(set: i32, operation: i32, fd: i32, events: u32) -> kernel::Outcome {
    let event = libc::epoll_event { events, u64: 0 };
    let arguments = [set as usize, operation as usize, fd as usize, (&raw const event) as usize];
    // SAFETY: the kernel reads one event of ours.
    unsafe { kernel::call(libc::SYS_epoll_ctl, arguments) }
}

/// This thread's bell. None when there are no more, or the process has no descriptor left: then a thread sleeps
/// in short naps.
pub(super) fn mine() -> Option<(WakerId, &'static Bell)> {
    let known = thread::current().bell.load(Ordering::Relaxed);
    let waker = match known.checked_sub(1) {
        Some(waker) => waker as u16,
        None => get()?,
    };
    Some((WakerId(waker), BELLS.get(usize::from(waker))?))
}

#[cold]
fn get() -> Option<u16> {
    let section = LockedSection::enter();
    let waker = take_over().or_else(|| found().ok());
    if let Some(waker) = waker {
        thread::current().bell.store(u32::from(waker) + 1, Ordering::Relaxed);
    }
    drop(section);
    waker
}

/// The bell of a thread that has ended. A number that is ours now was such a thread's too.
fn take_over() -> Option<u16> {
    let (process, me) = (kernel::process_id(), kernel::thread_id());
    let is_free = |thread: i32| {
        // SAFETY: signal 0 asks whether the thread is there.
        thread == me
            || unsafe { kernel::call(libc::SYS_tgkill, [process as usize, thread as usize, 0]) }
                == Err(Errno::SRCH)
    };
    BELLS.iter().zip(0..).find_map(|(bell, waker)| {
        let thread = bell.thread.load(Ordering::Relaxed);
        let taken = thread != 0
            && is_free(thread)
            && bell.thread.compare_exchange(thread, me, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        taken.then_some(waker)
    })
}

/// A bell of its own for one more thread.
fn found() -> Result<u16, Errno> {
    let waker = match bells::take_first() {
        Some(waker) => waker,
        None => {
            let (reply, mut received) = control::ask(Ask::NewWaker, &[], None)?;
            let waker = WakerId(reply.args[0] as u16);
            bells::learn(waker, received.next()?);
            waker
        }
    };
    let bell = BELLS.get(usize::from(waker.0)).ok_or(Errno::NOSPC)?;
    let eventfd = bells::known(waker).ok_or(Errno::NOSPC)?;
    // SAFETY: no memory is passed.
    let set = unsafe { kernel::call(libc::SYS_epoll_create1, [libc::EPOLL_CLOEXEC as usize]) }?;
    let set = own::adopt(set as i32)?;
    control_set(set.number(), libc::EPOLL_CTL_ADD, eventfd.number(), (libc::EPOLLIN | libc::EPOLLET) as u32)?;
    bell.set.store(set.index(), Ordering::Relaxed);
    bell.thread.store(kernel::thread_id(), Ordering::Relaxed);
    Ok(waker.0)
}

/// In a forked child: the sets it inherited are its parent's threads'.
pub(crate) fn in_child() {
    thread::current().bell.store(0, Ordering::Relaxed);
    for bell in &BELLS {
        if bell.thread.swap(0, Ordering::Relaxed) != 0 {
            own::release(Slot::from_number(bell.set.load(Ordering::Relaxed)));
            bell.has_rings.store(false, Ordering::Relaxed);
            bell.inner.store(0, Ordering::Relaxed);
        }
    }
}
