//! The epoll instances of this process: each is a kernel epoll set, and a part in each shard once it needs one.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use stack::drive::Stack;
use stack::region::Handle;
use stack::socket::{self, SocketRef};
use stack::wait::{self, Epoll};

use super::pending;
use crate::fds::{self, Entry};
use crate::kernel::{self, Errno};
use crate::own::{self, Slot};
use crate::turn::{errno, turn};
use crate::{epoll::Changing, startup};

/// As many shards as a region can have.
pub(super) const MOST_SHARDS: usize = 64;

static INSTANCES: [Instance; 1024] = [const { Instance::new() }; 1024];

pub(crate) struct Instance {
    /// A number that no other instance of this process ever had; 0 while this is none.
    pub(super) serial: AtomicU32,
    /// Descriptors of this process that name it.
    descriptors: AtomicU32,
    /// It has its parts in the region.
    accelerated: AtomicBool,
    parts: [AtomicU32; MOST_SHARDS],
    /// Kernel descriptors that were added before the region counted them.
    kernel_items: AtomicU32,
    /// Threads that sleep in the kernel's epoll_wait and must be called out of it when the instance is accelerated.
    plain_sleepers: AtomicU32,
    /// The eventfd that calls them, its slot plus one.
    call: AtomicU32,
    /// When the kernel's set is to be looked into even if the region has events: never while it is empty.
    pub(super) look_at: AtomicU64,
    /// Who is asked first when both may have more than there is room for: changes each time.
    pub(super) turns: AtomicU32,
}

/// What the event that calls sleepers out carries: the program sees it never.
pub(super) const CALL: u64 = u64::from_le_bytes(*b"shuntcal");

impl Instance {
    const fn new() -> Instance {
        Instance {
            serial: AtomicU32::new(0),
            descriptors: AtomicU32::new(0),
            accelerated: AtomicBool::new(false),
            parts: [const { AtomicU32::new(0) }; MOST_SHARDS],
            kernel_items: AtomicU32::new(0),
            plain_sleepers: AtomicU32::new(0),
            call: AtomicU32::new(0),
            look_at: AtomicU64::new(u64::MAX),
            turns: AtomicU32::new(0),
        }
    }

    pub(crate) fn is_accelerated(&self) -> bool {
        // ORDERING: SeqCst, against `sleep_plainly`; and the parts are there for who sees it.
        self.accelerated.load(Ordering::SeqCst)
    }

    pub(crate) fn part(&self, shard: u32) -> Handle<Epoll> {
        Handle::from_raw(self.parts.get(shard as usize).map_or(0, |part| part.load(Ordering::Relaxed)))
    }

    /// Counts the kernel's descriptors in the set.
    pub(super) fn count_kernel_items(&self, change: i32) {
        self.look_at.store(0, Ordering::Relaxed);
        if self.is_accelerated() {
            let _ = turn(0, |s, _| wait::kernel_items(s, self.part(0), change));
        } else if change > 0 {
            self.kernel_items.fetch_add(change.unsigned_abs(), Ordering::Relaxed);
        }
    }

    /// Gives the instance its parts. `number` is one of its descriptors.
    pub(crate) fn accelerate(&self, number: i32, _changing: &Changing) -> Result<(), Errno> {
        if self.is_accelerated() {
            return Ok(());
        }
        let stack = startup::attach().ok_or(Errno::NOSPC)?;
        let made = (0..stack.shard_count()).try_for_each(|shard| -> Result<(), Errno> {
            let part = turn(shard as u8, |s, _| wait::create(s, stack.me))?.map_err(errno)?;
            self.parts.get(shard as usize).ok_or(Errno::NOSPC)?.store(part.raw(), Ordering::Relaxed);
            Ok(())
        });
        if made.is_err() {
            self.let_go(stack);
            // LINUX: what epoll_ctl answers when there are too many watches.
            return Err(Errno::NOSPC);
        }
        let items = self.kernel_items.load(Ordering::Relaxed);
        let _ = turn(0, |s, _| wait::kernel_items(s, self.part(0), items as i32));
        // ORDERING: SeqCst, against `sleep_plainly`: either the sleeper sees this, or we see the sleeper.
        self.accelerated.store(true, Ordering::SeqCst);
        if self.plain_sleepers.load(Ordering::SeqCst) != 0 {
            self.call_sleepers(number)?;
        }
        Ok(())
    }

    fn let_go(&self, stack: &Stack) {
        for (shard, part) in (0..stack.shard_count()).zip(&self.parts) {
            let part = Handle::from_raw(part.swap(0, Ordering::Relaxed));
            if part.is_some() {
                let _ = turn(shard as u8, |s, now| socket::let_go(s, SocketRef::Epoll(part), stack.me, now));
            }
        }
    }

    fn call_sleepers(&self, number: i32) -> Result<(), Errno> {
        // SAFETY: no memory is passed.
        let bell = unsafe { kernel::call(libc::SYS_eventfd2, [1, libc::EFD_CLOEXEC as usize]) }?;
        let bell = own::adopt(bell as i32)?;
        self.call.store(bell.index() + 1, Ordering::Relaxed);
        let event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: CALL };
        super::to_kernel(number, libc::EPOLL_CTL_ADD, bell.number(), &raw const event).map(|_| ())
    }

    /// Runs the kernel's epoll_wait. None: the instance is accelerated, so the kernel alone cannot answer.
    pub(super) fn sleep_plainly<R>(&self, number: i32, sleep: impl FnOnce() -> R) -> Option<R> {
        if self.is_accelerated() {
            return None;
        }
        self.plain_sleepers.fetch_add(1, Ordering::SeqCst);
        let slept = (!self.is_accelerated()).then(sleep);
        if self.plain_sleepers.fetch_sub(1, Ordering::SeqCst) == 1 && self.is_accelerated() {
            // The last one that was called takes the call back.
            if let Some(bell) = self.call.swap(0, Ordering::Relaxed).checked_sub(1).map(Slot::from_number) {
                let none = core::ptr::null();
                let _ = super::to_kernel(number, libc::EPOLL_CTL_DEL, bell.number(), none);
                own::release(bell);
            }
        }
        slept
    }
}

/// What `fd` is, if it is an epoll instance that we know.
pub(crate) fn of(instance: u32) -> Option<&'static Instance> {
    INSTANCES.get(instance as usize)
}

/// Enters the kernel epoll set `number`. Without room it stays the kernel's alone.
pub(super) fn enter(number: i32) -> Option<u32> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    fds::create(own::descriptor_limit().1).ok()?;
    if !fds::reaches(number) {
        return None;
    }
    let serial = NEXT.fetch_add(1, Ordering::Relaxed).max(1);
    let index = INSTANCES.iter().position(|instance| {
        instance.serial.compare_exchange(0, serial, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    })?;
    let instance = of(index as u32)?;
    instance.descriptors.store(1, Ordering::Relaxed);
    fds::replace(number, Entry::Epoll { instance: index as u32 });
    Some(index as u32)
}

/// One more descriptor.
pub(crate) fn retain(instance: u32) {
    if let Some(instance) = of(instance) {
        instance.descriptors.fetch_add(1, Ordering::Relaxed);
    }
}

/// One descriptor less.
pub(crate) fn release(index: u32) {
    let Some(instance) = of(index) else { return };
    if instance.descriptors.fetch_sub(1, Ordering::Relaxed) != 1 {
        return;
    }
    let changing = Changing::begin();
    if instance.accelerated.swap(false, Ordering::Relaxed)
        && let Some(stack) = startup::stack()
    {
        instance.let_go(stack);
    }
    if let Some(bell) = instance.call.swap(0, Ordering::Relaxed).checked_sub(1) {
        own::release(Slot::from_number(bell));
    }
    pending::forget_instance(index, &changing);
    instance.kernel_items.store(0, Ordering::Relaxed);
    instance.look_at.store(u64::MAX, Ordering::Relaxed);
    // ORDERING: all is as new for who takes the place.
    instance.serial.store(0, Ordering::Release);
}

/// The instance's part in a shard, for those who watch the instance itself; it is given one if need be.
pub(crate) fn with_part(instance: u32, number: i32, shard: u32) -> Option<Handle<Epoll>> {
    let instance = of(instance)?;
    instance.accelerate(number, &Changing::begin()).ok()?;
    instance.part(shard).some()
}

/// One of the instance's descriptors.
pub(super) fn number_of(index: u32) -> Option<i32> {
    fds::entries().find(|&(_, entry)| entry == Entry::Epoll { instance: index }).map(|(fd, _)| fd)
}

/// Before a fork: what parent and child will share must be in the region, where both find it. What is being changed
/// is finished first, and nothing new is begun until `after_fork`.
pub(crate) fn before_fork() {
    let changing = Changing::begin();
    for (fd, entry) in fds::entries() {
        if let Entry::Epoll { instance } = entry
            && let Some(instance) = of(instance)
            && startup::stack().is_some()
        {
            let _ = instance.accelerate(fd, &changing);
        }
    }
    core::mem::forget(changing);
}

/// In parent and child alike; the child has one thread, and nobody else's sleepers.
pub(crate) fn after_fork(is_child: bool) {
    if is_child {
        INSTANCES.iter().for_each(|instance| instance.plain_sleepers.store(0, Ordering::Relaxed));
    }
    drop(Changing::held());
}
