//! connect(): where an undecided socket becomes ours or the kernel's, and what the call answers after that.

use stack::control::Ask;
use stack::ip::net::Addr;
use stack::shard::Shard;
use stack::socket::{self, Endpoint, Placement, Reason, SocketRef};
use stack::tcp::Settings;

use crate::address::Raw;
use crate::blocking::{Wait, wait};
use crate::disconnect::disconnect;
use crate::fds::{Entry, Place, Undecided};
use crate::kernel::{self, Errno, Outcome};
use crate::log::{self, Level};
use crate::signals::{EndedBy, Mark};
use crate::sockets::{connection, decide, decide_ours, release, undecided_again, with_socket};
use crate::turn::{errno, now, turn, turn_at};
use crate::{control, owner, settings, startup};

/// The program's own call, for the kernel.
fn to_kernel(fd: i32, raw: &Raw) -> Outcome {
    // SAFETY: the kernel reads an address of ours.
    unsafe { kernel::call(libc::SYS_connect, [fd as usize, raw.bytes.as_ptr() as usize, raw.length]) }
}

/// connect() on an undecided socket.
pub(crate) fn first(fd: i32, undecided: Undecided, raw: &Raw) -> Outcome {
    let entry = Entry::Undecided(undecided);
    let opened = begin(fd, undecided, raw, |s, bound, remote, settings, now| {
        socket::connect(s, bound, remote, settings, now)
    });
    match opened {
        Ok(place) => {
            decide_ours(fd, entry, Entry::Connection(place));
            let answers_at_once = turn_at(place, |s, _| {
                let handle = connection(place);
                let waits = s.connections.get(handle).is_none_or(|c| c.socket.nonblocking == 0);
                !waits && !stack::tcp::is_deferred(s, handle)
            })?;
            if answers_at_once {
                // LINUX: never finished at once, even if the peer's answer is here already.
                return Err(Errno::INPROGRESS);
            }
            conclude(fd, entry, place, Errno::INPROGRESS)
        }
        Err(Declined::To(why)) => {
            log::line(Level::Debug, &["connect goes to the kernel: ", why]);
            // Also when this fails: the kernel may be in the middle of connecting. A later attempt is the kernel's too.
            decide(fd, entry, Entry::Kernel);
            to_kernel(fd, raw)
        }
        Err(Declined::ForNow) => to_kernel(fd, raw),
        Err(Declined::Failed(error)) => Err(error),
    }
}

pub(crate) enum Declined {
    /// The kernel's from now on.
    To(&'static str),
    /// The kernel will refuse the call itself; the socket stays what it is.
    ForNow,
    Failed(Errno),
}

/// `open` is what makes the connection once it is clear that it may be ours.
pub(crate) fn begin(
    fd: i32,
    undecided: Undecided,
    raw: &Raw,
    open: impl FnOnce(&mut Shard, Option<Endpoint>, Endpoint, &Settings, u64) -> Result<Placement, stack::Error>,
) -> Result<Place, Declined> {
    let family = i32::from(u16::from_ne_bytes([raw.bytes[0], raw.bytes[1]]));
    let expected = if undecided.ipv6 { libc::AF_INET6 } else { libc::AF_INET };
    if family != expected {
        return Err(Declined::ForNow);
    }
    if raw.is_short() {
        return Err(Declined::ForNow);
    }
    let remote = raw.endpoint().ok_or(Declined::To("it is IPv6"))?;
    if remote.0.is_any() || remote.0.is_multicast_or_broadcast() || remote.1 == 0 {
        return Err(Declined::To("the address names no single peer"));
    }
    if undecided.ipv6 && undecided.has_options && settings::is_ipv6_only(fd) {
        return Err(Declined::ForNow);
    }
    let stack = startup::stack().ok_or(Declined::To("the program is not attached"))?;
    // Before anything is asked of the shadow: most of what goes to the kernel goes there by the route.
    if turn(0, |s, _| s.net.path(remote.0).is_none()).map_err(Declined::Failed)? {
        return Err(Declined::To(Reason::Route.text()));
    }
    if undecided.has_options && settings::wants_kernel(fd) {
        return Err(Declined::To("an option asks for it"));
    }
    let bound = if undecided.is_bound { crate::listen::bound(fd).ok() } else { None };
    let bound = bound.filter(|(addr, port)| !addr.is_any() || *port != 0);
    // A port of its own is steered here for as long as the region has a connection on it.
    let claim = match bound {
        Some((_, port)) if port != 0 => {
            Some(Claim::stake(fd).ok_or(Declined::To("the keeper does not grant its port"))?)
        }
        _ => None,
    };
    let shadow = if undecided.has_options { settings::read(fd) } else { settings::untouched(fd) };
    let opened = turn(0, |s, now| match open(s, bound, remote, &shadow.settings, now) {
        Ok(Placement::Ours(connection)) => {
            let socket = SocketRef::Connection(connection);
            if let Err(error) = socket::hold(s, socket, stack.me) {
                stack::tcp::close(s, connection, now);
                return Err(Declined::Failed(errno(error)));
            }
            if let Some(socket) = s.socket_mut(socket) {
                socket.nonblocking = shadow.nonblocking.into();
                socket.receive_timeout = shadow.receive_timeout;
                socket.send_timeout = shadow.send_timeout;
                socket.connecting = 1;
            }
            Ok(connection.raw())
        }
        Ok(Placement::Kernel(reason)) => Err(Declined::To(reason.text())),
        Err(error) => Err(Declined::Failed(errno(error))),
    });
    drop(claim);
    let handle = opened.map_err(Declined::Failed)??;
    let place = Place { shard: 0, ipv6: undecided.ipv6, handle };
    if undecided.has_options {
        owner::carry_over(fd, place);
        // LINUX: tcp_connect_init(): an error of before is forgotten. By asking, it is.
        let _ = settings::number(fd, libc::SOL_SOCKET, libc::SO_ERROR);
    }
    Ok(place)
}

/// The keeper steers the port; dropped, it does so until nothing of the region uses the port any more.
struct Claim(Endpoint);

impl Claim {
    fn stake(fd: i32) -> Option<Claim> {
        let (reply, _) = control::ask(Ask::Claim, &[], Some(fd)).ok()?;
        let [addr, port, ..] = reply.args;
        Some(Claim((Addr(addr), port as u16)))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        crate::listen::give_back(self.0);
    }
}

/// connect() on a connection: how the attempt went, waiting for its end if the socket blocks.
pub(crate) fn again(fd: i32, entry: Entry, place: Place, raw: &Raw) -> Outcome {
    let undecided = undecided_again(place.ipv6);
    let family = u16::from_ne_bytes([raw.bytes[0], raw.bytes[1]]);
    if i32::from(family) == libc::AF_UNSPEC {
        // LINUX: disconnects; the socket can be used again.
        disconnect(fd, place);
        forget(fd, entry, undecided);
        return Ok(0);
    }
    let socket = SocketRef::Connection(connection(place));
    if with_socket(place, socket, |socket| socket.connecting != 0)? {
        conclude(fd, undecided, place, Errno::ALREADY)
    } else {
        Err(Errno::ISCONN)
    }
}

/// All descriptors of the connection are an undecided socket again.
fn forget(fd: i32, connection: Entry, undecided: Entry) {
    for _ in 0..decide(fd, connection, undecided) {
        release(connection);
    }
}

/// `unfinished` is what a call that does not wait answers while the attempt goes on. A failed attempt leaves
/// the socket as it was before: `undecided`.
pub(crate) fn conclude(fd: i32, undecided: Entry, place: Place, unfinished: Errno) -> Outcome {
    let socket = SocketRef::Connection(connection(place));
    let (blocking, timeout) =
        with_socket(place, socket, |socket| (socket.nonblocking == 0, socket.send_timeout))?;
    let by = if timeout == 0 { EndedBy::HandlerWithoutRestart } else { EndedBy::AnyHandler };
    let mark = Mark::begin(by);
    let deadline = (timeout != 0).then(|| now().saturating_add(timeout));
    let mut waited = false;
    loop {
        let outcome = turn_at(place, |s, _| {
            s.pump();
            let outcome = socket::connect_outcome(s, connection(place));
            if outcome != Err(stack::Error::Already)
                && let Some(socket) = s.socket_mut(socket)
            {
                socket.connecting = 0;
            }
            outcome
        })?;
        match outcome {
            Ok(()) => return Ok(0),
            Err(stack::Error::Already) if !blocking => return Err(unfinished),
            // LINUX: the time is up, and the attempt goes on.
            Err(stack::Error::Already) if waited && deadline.is_some_and(|end| now() >= end) => {
                return Err(unfinished);
            }
            Err(stack::Error::Already) => {
                let events = libc::EPOLLOUT as u32;
                match wait(&Wait { place, socket, events, also: None, deadline }, &mark) {
                    Err(Errno::AGAIN) | Ok(()) => waited = true,
                    Err(error) => return Err(error),
                }
            }
            Err(error) => {
                forget(fd, Entry::Connection(place), undecided);
                return Err(errno(error));
            }
        }
    }
}
