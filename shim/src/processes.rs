//! Fork: the child gets a slot of its own, and holds what the parent holds, before it exists.
//!
//! The order is such that nothing can be lost: the keeper gives a slot and a control socket, the references are entered,
//! the process forks. If the fork fails, the parent closes the child's control socket, and the keeper
//! drops the references as those of any process that ended.

use core::ffi::{CStr, c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use stack::control::Ask;
use stack::socket;

use crate::control::{self, Conversation};
use crate::fds::{self, Entry};
use crate::kernel::{Errno, Outcome};
use crate::log::{self, Level};
use crate::own::{self, Slot};
use crate::sockets::socket_of;
use crate::turn::turn;
use crate::{bells, blocking, epoll, heap, signals, startup};

unsafe extern "C" {
    fn __register_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
        library: *const c_void,
    ) -> c_int;
    fn dlsym(handle: *mut c_void, name: *const core::ffi::c_char) -> *mut c_void;
}

/// What the child will be: written before the fork, read by both sides. The keeper's line is held in between, so one
/// fork at a time.
static CHILD_LINE: AtomicI32 = AtomicI32::new(NONE);
static CHILD_BELL: AtomicI32 = AtomicI32::new(NONE);
static CHILD_SLOT: AtomicU32 = AtomicU32::new(0);
static CHILD_WAKER: AtomicU32 = AtomicU32::new(0);
const NONE: i32 = -1;

/// Registers for fork() in all its forms: fork, forkpty, daemon.
pub(crate) fn watch_forks() {
    // SAFETY: the functions are ours and stay loaded: a preloaded library is never unloaded.
    unsafe { __register_atfork(Some(before), Some(in_parent), Some(in_child), core::ptr::null()) };
}

unsafe extern "C" fn before() {
    epoll::before_fork();
    if let Some(stack) = startup::stack()
        && prepare(stack).is_err()
        && fds::entries().any(|(_, entry)| socket_of(entry).is_some())
    {
        tell_once();
    }
    // Held over the fork, so that the child finds line and heap at rest.
    core::mem::forget(Conversation::begin());
    heap::before_fork();
}

/// A program that forks often, after its keeper has died, says so once.
fn tell_once() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        log::line(Level::Info, &["the keeper has no place for a child: its sockets are out of reach there"]);
    }
}

fn prepare(stack: &stack::drive::Stack) -> Result<(), Errno> {
    let (reply, mut received) = control::ask(Ask::Fork, &[], None)?;
    let [slot, waker, ..] = reply.args;
    let line = received.next()?;
    let bell = received.next()?;
    for shard in 0..stack.shard_count() {
        let adopted = turn(shard as u8, |s, now| socket::adopt(s, stack.me, slot as u16, now));
        if !matches!(adopted, Ok(Ok(()))) {
            own::release(line);
            own::release(bell);
            return Err(Errno::NOBUFS);
        }
    }
    CHILD_SLOT.store(slot, Ordering::Relaxed);
    CHILD_WAKER.store(waker, Ordering::Relaxed);
    CHILD_BELL.store(bell.index() as i32, Ordering::Relaxed);
    CHILD_LINE.store(line.index() as i32, Ordering::Relaxed);
    Ok(())
}

fn taken(from: &AtomicI32) -> Option<Slot> {
    u32::try_from(from.swap(NONE, Ordering::Relaxed)).ok().map(Slot::from_number)
}

unsafe extern "C" fn in_parent() {
    heap::after_fork();
    drop(Conversation::held());
    epoll::after_fork(false);
    // The child has its own copies. If there is no child, closing the line is what tells the keeper.
    for slot in [taken(&CHILD_LINE), taken(&CHILD_BELL)].into_iter().flatten() {
        own::release(slot);
    }
}

unsafe extern "C" fn in_child() {
    heap::after_fork();
    drop(Conversation::held());
    signals::in_child();
    blocking::in_child();
    epoll::after_fork(true);
    let bell = taken(&CHILD_BELL);
    match taken(&CHILD_LINE) {
        Some(line) => {
            // The parent's line goes: while a copy is open, the keeper would not notice the parent's end.
            control::adopt_line(line);
            startup::become_process(CHILD_SLOT.load(Ordering::Relaxed) as u16);
            if let Some(bell) = bell {
                bells::first(CHILD_WAKER.load(Ordering::Relaxed) as u16, bell, None);
            }
        }
        None => {
            if let Some(bell) = bell {
                own::release(bell);
            }
            lose_everything();
        }
    }
}

/// The child has no slot: its accelerated descriptors are shadows that lead nowhere.
fn lose_everything() {
    control::hang_up();
    startup::detach();
    for (fd, _) in fds::entries() {
        fds::replace(fd, Entry::Kernel);
    }
}

/// `_Fork`: libc's own, with our handlers around it.
pub(crate) fn fork_bare() -> Outcome {
    const NEXT: *mut c_void = -1isize as *mut c_void;
    const NAME: &CStr = c"_Fork";
    // SAFETY: libc's function of this name, which takes nothing and returns a process id; our handlers run as
    // around fork().
    unsafe {
        let real = dlsym(NEXT, NAME.as_ptr());
        if real.is_null() {
            return Err(Errno::NOSYS);
        }
        let real: unsafe extern "C" fn() -> c_int = core::mem::transmute(real);
        before();
        let child = real();
        if child == 0 {
            in_child()
        } else {
            in_parent()
        }
        usize::try_from(child).map_err(|_| Errno::from_raw_os_error(crate::errno::current()))
    }
}
