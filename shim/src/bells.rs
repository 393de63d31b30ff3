//! Waking others: a thread of any process through its eventfd, the keeper through its own.

use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use stack::control::{Ask, BELLS_AT_ONCE};
use stack::drive::Bell;
use stack::wait::WakerId;

use crate::control::Conversation;
use crate::kernel;
use crate::own::{self, Slot};

/// Bells that we know, by waker: the slot of the eventfd plus one. Those of others are fetched from the keeper once;
/// a waker keeps its eventfd for as long as the region lives, whoever it is given to.
static KNOWN: [AtomicU32; 4096] = [const { AtomicU32::new(0) }; 4096];
static KEEPER: AtomicI32 = AtomicI32::new(-1);
/// The waker that came with this process's slot.
static FIRST: AtomicU32 = AtomicU32::new(WakerId::NONE.0 as u32);

/// What Hello brought, or what fork brought for the child.
pub(crate) fn first(waker: u16, bell: Slot, keeper: Option<Slot>) {
    learn(WakerId(waker), bell);
    FIRST.store(u32::from(waker), Ordering::Relaxed);
    if let Some(keeper) = keeper {
        KEEPER.store(keeper.index() as i32, Ordering::Relaxed);
    }
}

/// Takes the waker that came with the process's slot; it is given out once.
pub(crate) fn take_first() -> Option<WakerId> {
    let taken = FIRST.swap(u32::from(WakerId::NONE.0), Ordering::Relaxed) as u16;
    (taken != WakerId::NONE.0).then_some(WakerId(taken))
}

/// A bell that is known stays: others may be ringing it at this moment, and the new descriptor is of the same eventfd.
pub(crate) fn learn(waker: WakerId, bell: Slot) {
    let place = KNOWN.get(usize::from(waker.0));
    let is_new = place.is_some_and(|known| {
        known.compare_exchange(0, bell.index() + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    });
    if !is_new {
        own::release(bell);
    }
}

/// The eventfd of a waker that we know already.
pub(crate) fn known(waker: WakerId) -> Option<Slot> {
    let slot = KNOWN.get(usize::from(waker.0))?.load(Ordering::Relaxed);
    slot.checked_sub(1).map(Slot::from_number)
}

/// Rings: after a turn, with no lock held.
pub(crate) fn ring(bell: Bell) {
    let slot = match bell {
        Bell::Thread(waker) => known(waker).or_else(|| fetch(waker)),
        Bell::Keeper => u32::try_from(KEEPER.load(Ordering::Relaxed)).ok().map(Slot::from_number),
    };
    let Some(fd) = slot.map(Slot::number).filter(|&fd| fd >= 0) else { return };
    let one = 1u64;
    // SAFETY: eight bytes of ours. A full counter means that it rings already.
    let _ = unsafe { kernel::call(libc::SYS_write, [fd as usize, (&raw const one) as usize, 8]) };
}

/// The bells of a group of wakers come together: who needs one will need others soon.
#[cold]
fn fetch(waker: WakerId) -> Option<Slot> {
    let conversation = Conversation::begin();
    if let Some(slot) = known(waker) {
        // Another thread fetched it while this one waited for its turn.
        return Some(slot);
    }
    let (reply, mut received) = conversation.ask(Ask::WakerBell, &[u32::from(waker.0)], None).ok()?;
    let first = *reply.args.first()?;
    for number in first..first.saturating_add(BELLS_AT_ONCE) {
        let Ok(slot) = received.next() else { break };
        learn(WakerId(number as u16), slot);
    }
    known(waker)
}
