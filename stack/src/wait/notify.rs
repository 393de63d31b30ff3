//! Telling those who wait.

use super::{Epoll, InReady, WakerId, Watch, events};
use crate::region::slots::Claim;
use crate::region::{Handle, Steps, Walk, Walked};
use crate::shard::Shard;
use crate::socket::SocketRef;

/// How deep epoll instances may watch each other. The kernel, which has the same nesting, refuses a fifth.
pub(super) const MOST_NESTED: u32 = 5;

/// `events` (EPOLL bits) have come true for `socket`.
#[inline]
pub fn notify(s: &mut Shard, socket: SocketRef, events: u32) {
    if s.socket(socket).is_some_and(|x| !x.watches.is_empty()) {
        let mut steps = steps_through_nests(s);
        tell(s, socket, events, 0, &mut steps);
    }
}

/// For a walk that goes down into the instances that it comes by, some of them by several ways.
pub(super) fn steps_through_nests(s: &Shard) -> Steps {
    Steps::of(s.watches.most().saturating_mul(MOST_NESTED))
}

fn tell(s: &mut Shard, socket: SocketRef, events: u32, depth: u32, steps: &mut Steps) {
    let Some(list) = s.socket(socket).map(|x| x.watches) else { return };
    let mut walk = Walk::over(&s.watches, list.first);
    while let Some((at, &watch)) = walk.item(&s.watches) {
        let Some(handle) = s.watches.at(at).filter(|_| steps.take(&s.damage)) else { return };
        if watch.wanted(events) != 0 {
            let woken = match watch.epoll.some() {
                Some(epoll) => enqueue(s, handle, epoll, depth, steps),
                None => wake(s, watch.waker),
            };
            // LINUX: exclusive watches stand last, and the first that wakes somebody is the last that hears of it.
            if woken && watch.events & events::EXCLUSIVE != 0 {
                return;
            }
        }
        walk.to(watch.on_socket.next);
    }
}

/// Puts a watch on the ready list of its instance, wakes one of the instance's sleepers and all that watch it.
/// Whether a sleeper was woken.
pub(super) fn enqueue(
    s: &mut Shard,
    handle: Handle<Watch>,
    epoll: Handle<Epoll>,
    depth: u32,
    steps: &mut Steps,
) -> bool {
    put_on_ready(s, handle, epoll);
    let woken = wake_sleeper(s, epoll);
    if depth < MOST_NESTED {
        tell(s, SocketRef::Epoll(epoll), events::IN | events::RDNORM, depth + 1, steps);
    }
    woken
}

/// At the end of the ready list, unless it is in it.
pub(super) fn put_on_ready(s: &mut Shard, handle: Handle<Watch>, epoll: Handle<Epoll>) {
    let Some(epoll) = s.epolls.get_mut(epoll) else { return };
    let Some(watch) = s.watches.get_mut(handle).filter(|w| w.queued == 0) else { return };
    watch.queued = 1;
    epoll.ready.push_back(&mut InReady(&mut s.watches), handle.index());
}

/// Wakes the sleeper of the instance that has waited longest, among those that nobody woke yet.
pub(super) fn wake_sleeper(s: &mut Shard, epoll: Handle<Epoll>) -> bool {
    let Some(list) = s.epolls.get(epoll).map(|e| e.sleepers) else { return false };
    let mut walk = Walk::over(&s.watches, list.first);
    while let Some((_, &sleeper)) = walk.item(&s.watches) {
        if wake(s, sleeper.waker) {
            return true;
        }
        walk.to(sleeper.on_epoll.next);
    }
    false
}

/// True if this woke the thread, false if it is awake anyway.
pub(super) fn wake(s: &mut Shard, waker: WakerId) -> bool {
    match s.region.wakers().get(usize::from(waker.0)).map(|slot| slot.claim()) {
        Some(Claim::Ring) => {
            s.after.wake.push(waker);
            true
        }
        Some(Claim::Noted) => true,
        Some(Claim::Awake) | None => false,
    }
}
