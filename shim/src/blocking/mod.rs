//! Waiting for a socket: drive, spin, sleep.

mod bell;
mod profile;
mod vigil;

pub(crate) use bell::in_child;
pub(crate) use vigil::{Kernel, Vigil};

use stack::socket::{self, SocketRef};
use stack::wait::{Sleep, events, notify, unwatch, watch};

use crate::fds::Place;
use crate::kernel::Errno;
use crate::signals::Mark;
use crate::startup;
use crate::turn::{turn, turn_at};

/// What a blocking call waits for.
pub(crate) struct Wait {
    pub(crate) place: Place,
    pub(crate) socket: SocketRef,
    /// EPOLL bits, any of which ends the wait; EPOLLERR and EPOLLHUP always do.
    pub(crate) events: u32,
    /// A kernel descriptor whose readability ends the wait too: the shadow of a listener.
    pub(crate) also: Option<i32>,
    /// CLOCK_MONOTONIC nanoseconds.
    pub(crate) deadline: Option<u64>,
}

/// Returns when an event may be there; `AGAIN` at the deadline, `INTR` when a handler ended the call.
pub(crate) fn wait(wait: &Wait, mark: &Mark) -> Result<(), Errno> {
    let stack = startup::stack().ok_or(Errno::BADF)?;
    let shard = wait.place.shard;
    let mut vigil = Vigil::begin(stack, mark, wait.deadline, None);
    // LINUX: one of the threads that wait in accept() is woken, all that wait for bytes or room.
    let exclusive = matches!(wait.socket, SocketRef::Listener(_));
    let asked = wait.events | if exclusive { events::EXCLUSIVE } else { 0 };
    let wanted = wait.events | events::ERR | events::HUP;
    let mut entry: Option<Sleep> = None;
    let ended = loop {
        let is_ready = turn_at(wait.place, |s, _| {
            s.pump();
            if s.socket(wait.socket).is_none() || socket::readiness(s, wait.socket) & wanted != 0 {
                return true;
            }
            if entry.is_none() {
                entry = watch(s, wait.socket, asked, vigil.waker());
            }
            vigil.ready(entry.is_some());
            false
        })?;
        if is_ready {
            break Ok(());
        }
        if vigil.is_interrupted() {
            break Err(Errno::INTR);
        }
        if vigil.is_over() {
            break Err(Errno::AGAIN);
        }
        let mut polled = wait.also.map(|fd| {
            let free = libc::pollfd { fd: -1, events: 0, revents: 0 };
            [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }, free]
        });
        let kernel = polled.as_mut().map_or(Kernel::Nothing, |polled| Kernel::Poll(polled));
        match vigil.pause(kernel) {
            Err(error) if error != Errno::INTR => break Err(error),
            _ => {}
        }
        vigil.drive(shard);
        if polled.is_some_and(|[also, _]| also.revents != 0) {
            break Ok(());
        }
    };
    if let Some(entry) = entry {
        let _ = turn(shard, |s, _| {
            unwatch(s, entry);
            if exclusive && ended.is_err() && socket::readiness(s, wait.socket) & wanted != 0 {
                // The wake was for one, and this one does not take it.
                notify(s, wait.socket, wait.events);
            }
        });
    }
    ended
}
