//! Waiting for a socket: drive, spin, sleep.

mod bell;
mod profile;
mod vigil;

pub(crate) use bell::in_child;
pub(crate) use vigil::{Kernel, Vigil};

use stack::drive::Entered;
use stack::socket::{self, SocketRef};
use stack::wait::{Sleep, events, notify, unwatch, watch};

use crate::fds::Place;
use crate::kernel::{self, Errno};
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
    let wanted = wait.events | events::ERR | events::HUP;
    attempt(wait, mark, |s, _| {
        let gone = s.socket(wait.socket).is_none();
        (gone || socket::readiness(s, wait.socket) & wanted != 0).then_some(())
    })
    .map(|done| done.unwrap_or(()))
}

/// Waits until `body` gives something. It is tried after each pump, in the same turn, so that what a packet
/// brings is taken by the turn that takes the packet. None: the kernel's descriptor is ready.
pub(crate) fn attempt<R>(
    wait: &Wait,
    mark: &Mark,
    mut body: impl FnMut(&mut Entered<'_>, u64) -> Option<R>,
) -> Result<Option<R>, Errno> {
    let stack = startup::stack().ok_or(Errno::BADF)?;
    let shard = wait.place.shard;
    let mut vigil = Vigil::begin(stack, mark, wait.deadline, None);
    // LINUX: one of the threads that wait in accept() is woken, all that wait for bytes or room.
    let exclusive = matches!(wait.socket, SocketRef::Listener(_));
    let asked = wait.events | if exclusive { events::EXCLUSIVE } else { 0 };
    let wanted = wait.events | events::ERR | events::HUP;
    let mut entry: Option<Sleep> = None;
    let ended = loop {
        vigil.look();
        let done = turn_at(wait.place, |s, now| {
            s.pump();
            let done = body(s, now);
            if done.is_some() {
                if let Some(entry) = entry.take() {
                    unwatch(s, entry);
                }
            } else if entry.is_none() {
                entry = watch(s, wait.socket, asked, vigil.waker());
            }
            done
        })?;
        if done.is_some() {
            return Ok(done);
        }
        if entry.is_none() {
            vigil.unwatched();
        }
        if vigil.is_interrupted() {
            break Err(Errno::INTR);
        }
        if vigil.is_over() {
            break Err(Errno::AGAIN);
        }
        let kernel_is_ready = match wait.also {
            Some(fd) => pause_with(&mut vigil, fd),
            None => vigil.pause(Kernel::Nothing).map(|_| false),
        };
        vigil.drive_others(1 << (shard & 63));
        match kernel_is_ready {
            Ok(true) => break Ok(None),
            Ok(false) => {}
            Err(error) => break Err(error),
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

/// The pause of a call that waits for a kernel descriptor as well: true if that is ready.
fn pause_with(vigil: &mut Vigil<'_>, fd: i32) -> Result<bool, Errno> {
    let mut polled =
        [(fd, libc::POLLIN), (-1, 0)].map(|(fd, events)| libc::pollfd { fd, events, revents: 0 });
    if !vigil.pause(Kernel::Poll(&mut polled))? {
        let nothing = [0i64; 2];
        let arguments = [polled.as_mut_ptr() as usize, 1, nothing.as_ptr() as usize, 0, 8];
        // SAFETY: the kernel reads and writes our array, and reads our timespec.
        match unsafe { kernel::call(libc::SYS_ppoll, arguments) } {
            // Whether a signal ends the call is for the mark to say.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(polled[0].revents != 0)
}
