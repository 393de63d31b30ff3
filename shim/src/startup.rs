//! The ladder by which a program comes to its stack: keeper, region, rings. Every rung that is missing means that the
//! program stays on the kernel, which one line on stderr tells.
//!
//! It is climbed at the program's first TCP socket, not before: `ls` under shunt attaches to nothing.

use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};

use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd};
use stack::control::{Ask, VERSION};
use stack::drive::Stack;
use stack::link::xsk::{RingSizes, Xsk};
use stack::region::{AttachError, LAYOUT_VERSION, Region};

use crate::kernel::{self, Errno};
use crate::log::{self, Level};
use crate::own::Slot;
use crate::signals::LockedSection;
use crate::{bells, control, environment, fds, own, processes, signals};

const NOT_YET: u32 = 0;
const CLIMBING: u32 = 1;
const ATTACHED: u32 = 2;
const ON_THE_KERNEL: u32 = 3;
static STATE: AtomicU32 = AtomicU32::new(NOT_YET);

struct Attached(UnsafeCell<MaybeUninit<Stack>>);
// SAFETY: written once before STATE says ATTACHED, and by the only thread of a forked child; Stack is Sync.
unsafe impl Sync for Attached {}
static STACK: Attached = Attached(UnsafeCell::new(MaybeUninit::uninit()));

/// The stack, if this process is attached to one.
#[inline(always)]
pub(crate) fn stack() -> Option<&'static Stack> {
    // ORDERING: pairs with `climb`, which wrote STACK before.
    if STATE.load(Ordering::Acquire) == ATTACHED {
        // SAFETY: written, and never again while this process has other threads.
        Some(unsafe { (*STACK.0.get()).assume_init_ref() })
    } else {
        None
    }
}

/// Whether this process is attached, or might be if it had a reason.
pub(crate) fn is_reachable() -> bool {
    STATE.load(Ordering::Relaxed) != ON_THE_KERNEL
}

/// The stack, attaching to it if that was not tried yet.
pub(crate) fn attach() -> Option<&'static Stack> {
    if STATE.load(Ordering::Relaxed) == NOT_YET {
        climb();
    }
    stack()
}

#[cold]
fn climb() {
    let section = LockedSection::enter();
    if STATE.compare_exchange(NOT_YET, CLIMBING, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        while STATE.load(Ordering::Relaxed) == CLIMBING {
            // SAFETY: no arguments.
            let _ = unsafe { kernel::call(libc::SYS_sched_yield, []) };
        }
        return;
    }
    environment::read();
    let outcome = reach();
    match outcome {
        Ok(stack) => {
            // SAFETY: the state is CLIMBING, so nobody reads it and only this thread writes.
            unsafe { (*STACK.0.get()).write(stack) };
            processes::watch_forks();
            signals::take_over();
            // ORDERING: publishes STACK.
            STATE.store(ATTACHED, Ordering::Release);
        }
        Err(why) => {
            control::hang_up();
            STATE.store(ON_THE_KERNEL, Ordering::Relaxed);
            why.tell();
        }
    }
    drop(section);
}

/// Why a program stays on the kernel.
enum Missing {
    Memory,
    Keeper(Errno),
    /// The keeper refused; its reason is told already.
    Refused,
    Region(AttachError),
    Rings,
}

impl Missing {
    fn tell(&self) {
        let reason = match self {
            Missing::Memory => "there is no memory for the descriptor table",
            Missing::Keeper(Errno::CONNREFUSED) => {
                "no keeper answers in this network namespace (start one: shunt keeper)"
            }
            Missing::Keeper(_) => "the keeper cannot be reached",
            Missing::Refused => return,
            Missing::Region(AttachError::OtherVersion(_)) => {
                "the keeper is of another version of shunt (restart it: shunt stop)"
            }
            Missing::Region(_) => "the region cannot be mapped",
            Missing::Rings => "the rings of the card cannot be mapped",
        };
        tell(reason);
    }
}

fn tell(reason: &str) {
    log::line(Level::Info, &["this program stays on the kernel: ", reason]);
}

fn reach() -> Result<Stack, Missing> {
    fds::create(own::descriptor_limit().1).map_err(|_| Missing::Memory)?;
    control::connect().map_err(Missing::Keeper)?;
    let conversation = control::Conversation::begin();
    let hello = conversation.ask(Ask::Hello, &[VERSION, LAYOUT_VERSION], None);
    drop(conversation);
    let (reply, mut received) = hello.map_err(Missing::Keeper)?;
    if reply.errno != 0 {
        tell(if reply.text().is_empty() { "the keeper refuses" } else { reply.text() });
        return Err(Missing::Refused);
    }
    let [process, shards, links, waker, ..] = reply.args;
    let region_fd = received.next().map_err(Missing::Keeper)?;
    let keeper = received.next().map_err(Missing::Keeper)?;
    // The XDP program stays attached as long as somebody holds its link.
    let _link = received.next().map_err(Missing::Keeper)?;
    let bell = received.next().map_err(Missing::Keeper)?;
    // SAFETY: ours, and open.
    let region =
        Region::attach(unsafe { BorrowedFd::borrow_raw(region_fd.number()) }).map_err(Missing::Region);
    own::release(region_fd);
    let region = region?;
    let shards = shards.clamp(1, region.sizes.shards.max(1));
    let mut lanes: Vec<Vec<Xsk>> = (0..shards).map(|_| Vec::new()).collect();
    for link in 0..links {
        let ring = received.next().map_err(|_| Missing::Rings)?;
        let ring = Xsk::attach(as_owned(ring), RingSizes::default());
        let ring = ring.map_err(|_| Missing::Rings)?;
        if let Some(lane) = lanes.get_mut((link % shards) as usize) {
            lane.push(ring);
        }
    }
    bells::first(waker as u16, bell, Some(keeper));
    Ok(Stack::new(region, process as u16, lanes))
}

/// The stack keeps rings by number and for good: a `Stack` is never dropped.
fn as_owned(slot: Slot) -> OwnedFd {
    // SAFETY: ours, open, and never closed while the stack lives.
    unsafe { OwnedFd::from_raw_fd(slot.number()) }
}

/// In a forked child: the same view, under the child's slot.
pub(crate) fn become_process(slot: u16) {
    // SAFETY: the child has one thread, and it holds no reference.
    let stack = unsafe { (*STACK.0.get()).assume_init_mut() };
    stack.set_process(slot);
    // The keeper gave the slot out before there was a process.
    if let Some(slot) = stack.region.processes().get(usize::from(slot)) {
        slot.pid.store(kernel::process_id() as u32, Ordering::Relaxed);
    }
}

/// In a forked child that got no slot: whatever was accelerated is out of reach.
pub(crate) fn detach() {
    STATE.store(ON_THE_KERNEL, Ordering::Relaxed);
}
