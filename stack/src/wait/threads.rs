//! Threads that wait: in poll(), select() and blocking calls for sockets, in epoll_wait for an instance.

use super::notify::wake_sleeper;
use super::{Epoll, OnEpoll, WakerId, Watch, discard, events, hang};
use crate::region::Handle;
use crate::shard::Shard;
use crate::socket::{RawSocketRef, SocketRef};
use zerocopy::FromZeros;

/// A thread's entry in a wait list, to be taken back with [`unwatch`].
pub type Sleep = Handle<Watch>;

/// From now on events of `socket` wake the thread of `waker`. With [`events::EXCLUSIVE`], of several such threads one
/// is woken (accept). None: the table is full, and the thread must look again soon by itself.
pub fn watch(s: &mut Shard, socket: SocketRef, events: u32, waker: WakerId) -> Option<Sleep> {
    s.socket(socket)?;
    let handle = enter(s, |w| {
        w.socket = socket.into();
        w.events = events | events::ERR | events::HUP;
        w.waker = waker;
    })?;
    hang(s, handle, socket, events & events::EXCLUSIVE != 0);
    Some(handle)
}

/// From now on the thread of `waker` is one of those that sleep in epoll_wait on the instance.
pub fn sleep_on(s: &mut Shard, epoll: Handle<Epoll>, waker: WakerId) -> Option<Sleep> {
    s.epolls.get(epoll)?;
    let handle = enter(s, |w| {
        w.socket = RawSocketRef::default();
        w.epoll = epoll;
        w.waker = waker;
    })?;
    if let Some(instance) = s.epolls.get_mut(epoll) {
        instance.sleepers.push_back(&mut OnEpoll(&mut s.watches), handle.index());
    }
    Some(handle)
}

/// The thread waits no more. A handle whose watch went with its socket is ignored.
pub fn unwatch(s: &mut Shard, sleep: Sleep) {
    let instance = s.watches.get(sleep).filter(|w| w.is_sleeper()).map(|w| w.epoll);
    discard(s, sleep);
    // A wake that came for this thread after it looked last is for the next sleeper.
    if let Some(epoll) = instance
        && s.epolls.get(epoll).is_some_and(|e| !e.ready.is_empty())
    {
        wake_sleeper(s, epoll);
    }
}

fn enter(s: &mut Shard, fill: impl FnOnce(&mut Watch)) -> Option<Handle<Watch>> {
    let Some(handle) = s.watches.alloc() else {
        s.counters.table_full += 1;
        return None;
    };
    let watch = s.watches.get_mut(handle)?;
    *watch = Watch::new_zeroed();
    fill(watch);
    Some(handle)
}
