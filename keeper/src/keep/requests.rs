//! What programs ask, and the answers (see `stack::control`).

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, write};
use stack::control::{Ask, MOST_DESCRIPTORS, Reply, Report, Request, VERSION};
use stack::ip::net::Addr;
use stack::region::{Handle, LAYOUT_VERSION};
use stack::tcp;

use super::owners::Owned;
use super::sessions::{Admission, Id, vacant_slot};
use super::{Keeper, now};
use crate::channel::{Incoming, answer, next_request};
use crate::proof::{Held, port_held_by};

/// A refusal: the errno for the program, and the reason for the log.
struct Refused(Errno, String);

/// Numbers and descriptors of a granted reply.
struct Granted {
    args: [u32; 7],
    descriptors: Vec<OwnedFd>,
}

impl Granted {
    fn numbers<const N: usize>(numbers: [u32; N]) -> Granted {
        let mut args = [0; 7];
        args.iter_mut().zip(numbers).for_each(|(place, number)| *place = number);
        Granted { args, descriptors: Vec::new() }
    }

    fn with(mut self, descriptor: BorrowedFd<'_>) -> Result<Granted, Refused> {
        let copy = rustix::io::fcntl_dupfd_cloexec(descriptor, 0).map_err(no_descriptors)?;
        self.descriptors.push(copy);
        Ok(self)
    }
}

fn no_descriptors(errno: Errno) -> Refused {
    Refused(errno, "the keeper has no descriptors left: raise its limit (ulimit -n)".into())
}

impl Keeper {
    /// Something came on a session's socket: everything that is there is answered.
    pub(crate) fn hear(&mut self, id: Id) {
        for _ in 0..REQUESTS_AT_ONCE {
            let Some(socket) = self.sessions.socket(id) else { return };
            match next_request(socket) {
                Incoming::Nothing => return,
                Incoming::Hangup | Incoming::Malformed => return self.bury(id),
                Incoming::Request(request, descriptors) => {
                    let result = self.consider(id, &request, &descriptors);
                    if !self.reply(id, result) {
                        // Whoever does not take his answers has no use for them.
                        return self.bury(id);
                    }
                }
            }
        }
    }

    fn reply(&self, id: Id, result: Result<Granted, Refused>) -> bool {
        let Some(socket) = self.sessions.socket(id) else { return false };
        match result {
            Ok(granted) => {
                let descriptors: Vec<_> = granted.descriptors.iter().map(OwnedFd::as_fd).collect();
                answer(socket, &Reply::granted(granted.args), &descriptors).is_ok()
            }
            Err(Refused(errno, why)) => {
                answer(socket, &Reply::refused(errno.raw_os_error() as u32, &why), &[]).is_ok()
            }
        }
    }

    fn consider(&mut self, id: Id, request: &Request, descriptors: &[OwnedFd]) -> Result<Granted, Refused> {
        let Some(session) = self.sessions.get(id) else {
            return Err(Refused(Errno::NOTCONN, "the session has ended".into()));
        };
        if !session.is_admitted {
            return Err(Refused(Errno::ACCESS, Admission::refusal(session.user)));
        }
        let Some(ask) = Ask::from_number(request.ask) else {
            return Err(other_version());
        };
        let [first, second, ..] = request.args;
        match (ask, session.slot) {
            (Ask::Hello, _) => self.hello(id, first, second),
            (Ask::Status, _) => self.status(first),
            (Ask::Stop, _) => Ok(self.stop(id, first != 0)),
            (_, None) => Err(Refused(Errno::PROTO, "Hello comes first".into())),
            (Ask::NewWaker, Some(slot)) => self.new_waker(id, slot),
            (Ask::WakerBell, Some(_)) => match self.wakers.bell(first) {
                Some(_) => {
                    let (first, mut bells) = self.wakers.group(first);
                    bells.try_fold(Granted::numbers([first]), Granted::with)
                }
                None => Err(Refused(Errno::NOENT, "there is no such waker".into())),
            },
            (Ask::FreeWaker, Some(_)) => self.free_waker(id, first),
            (Ask::Claim, Some(slot)) => self.claim(slot, descriptors),
            (Ask::Release, Some(_)) => {
                let port = u16::try_from(second).map_err(|_| Refused(Errno::INVAL, "no such port".into()))?;
                // Nobody's claim is lost by it while the region has a listener or a connection there.
                self.ports.release(Held { address: Addr(first).into(), port });
                self.sweep_soon();
                Ok(Granted::numbers([]))
            }
            (Ask::Fork, Some(slot)) => self.fork(slot),
            (Ask::Own, Some(_)) => self.own(first, second),
        }
    }

    fn hello(&mut self, id: Id, version: u32, layout: u32) -> Result<Granted, Refused> {
        if (version, layout) != (VERSION, LAYOUT_VERSION) {
            return Err(other_version());
        }
        if self.sessions.get(id).is_some_and(|session| session.slot.is_some()) {
            return Err(Refused(Errno::ALREADY, "this session is attached already".into()));
        }
        // What this program does next may be meant for sysctls that were set just before.
        self.follow_options();
        let slot = self.occupy(id)?;
        let waker = match self.wakers.give(self.stack.region.wakers(), slot) {
            Ok(waker) => waker,
            Err(errno) => return Err(no_wakers(errno)),
        };
        if let Some(session) = self.sessions.get_mut(id) {
            session.wakers.push(waker);
        }
        let shards = self.stack.shard_count();
        let links: Vec<BorrowedFd<'_>> = self.links.iter().map(OwnedFd::as_fd).collect();
        let bell =
            self.wakers.bell(waker.into()).ok_or(Refused(Errno::IO, "the new waker is gone".into()))?;
        let granted = Granted::numbers([slot.into(), shards, links.len() as u32, waker.into()])
            .with(self.region_fd.as_fd())?
            .with(self.bell.as_fd())?
            .with(self.steering.link())?
            .with(bell)?;
        links.into_iter().take(MOST_DESCRIPTORS - 4).try_fold(granted, Granted::with)
    }

    /// A slot of the region for the session's process.
    fn occupy(&mut self, id: Id) -> Result<u16, Refused> {
        let full = || Refused(Errno::USERS, "the region is full: too many programs are attached".into());
        let slot = vacant_slot(&self.stack.region).ok_or_else(full)?;
        let pid = self.sessions.get(id).map_or(0, |session| session.pid);
        if let Some(place) = self.stack.region.processes().get(usize::from(slot)) {
            place.occupy(pid);
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.slot = Some(slot);
            self.deaths.watch(slot, session).map_err(no_descriptors)?;
        }
        Ok(slot)
    }

    fn new_waker(&mut self, id: Id, slot: u16) -> Result<Granted, Refused> {
        let waker = self.wakers.give(self.stack.region.wakers(), slot).map_err(no_wakers)?;
        if let Some(session) = self.sessions.get_mut(id) {
            session.wakers.push(waker);
        }
        let bell =
            self.wakers.bell(waker.into()).ok_or(Refused(Errno::IO, "the new waker is gone".into()))?;
        Granted::numbers([waker.into()]).with(bell)
    }

    fn free_waker(&mut self, id: Id, number: u32) -> Result<Granted, Refused> {
        let own = self.sessions.get_mut(id).and_then(|session| {
            let place = session.wakers.iter().position(|&waker| u32::from(waker) == number)?;
            Some(session.wakers.swap_remove(place))
        });
        let waker = own.ok_or(Refused(Errno::PERM, "that waker belongs to somebody else".into()))?;
        self.wakers.take_back(self.stack.region.wakers(), waker);
        Ok(Granted::numbers([]))
    }

    fn claim(&mut self, slot: u16, descriptors: &[OwnedFd]) -> Result<Granted, Refused> {
        let [shadow] = descriptors else {
            return Err(Refused(Errno::INVAL, "a claim comes with one descriptor".into()));
        };
        let held = port_held_by(shadow).map_err(|why| Refused(Errno::ACCESS, why.into()))?;
        self.follow_options();
        self.ports
            .claim(held, slot, &mut self.steering)
            .map_err(|fault| Refused(Errno::NOBUFS, fault.to_string()))?;
        Ok(Granted::numbers([Addr::from(held.address).0, held.port.into()]))
    }

    fn fork(&mut self, parent: u16) -> Result<Granted, Refused> {
        let full = || Refused(Errno::USERS, "the region is full: too many programs are attached".into());
        let slot = vacant_slot(&self.stack.region).ok_or_else(full)?;
        let waker = self.wakers.give(self.stack.region.wakers(), slot).map_err(no_wakers)?;
        let (id, child) = match self.sessions.begin_child(slot, waker) {
            Ok(begun) => begun,
            Err(errno) => {
                self.wakers.take_back(self.stack.region.wakers(), waker);
                return Err(no_descriptors(errno));
            }
        };
        let processes = self.stack.region.processes();
        let parent_pid = processes
            .get(usize::from(parent))
            .map_or(0, |p| p.pid.load(std::sync::atomic::Ordering::Relaxed));
        if let Some(place) = processes.get(usize::from(slot)) {
            place.occupy(parent_pid);
        }
        self.listen_to(id).map_err(no_descriptors)?;
        if let Some(session) = self.sessions.get(id) {
            self.deaths.watch(slot, session).map_err(no_descriptors)?;
        }
        let bell =
            self.wakers.bell(waker.into()).ok_or(Refused(Errno::IO, "the new waker is gone".into()))?;
        let mut granted = Granted::numbers([slot.into(), waker.into()]);
        granted.descriptors.push(child);
        granted.with(bell)
    }

    fn own(&mut self, shard: u32, connection: u32) -> Result<Granted, Refused> {
        let mut turn =
            self.stack.enter(shard, now()).ok_or(Refused(Errno::INVAL, "there is no such shard".into()))?;
        let handle = Handle::from_raw(connection);
        let is_there = turn.connections.get(handle).is_some();
        if is_there {
            // From now on it counts as owned, so that it is not forgotten before the program says so.
            tcp::set_owned(&mut turn, handle, true);
        }
        self.has_errand |= self.leave(turn);
        if !is_there {
            return Err(Refused(Errno::BADF, "there is no such connection".into()));
        }
        let bell = self.owners.bell_of(Owned { shard, connection: handle }).map_err(no_descriptors)?;
        Granted::numbers([]).with(bell)
    }

    fn status(&mut self, which: u32) -> Result<Granted, Refused> {
        let report = match Report::from_number(which) {
            Some(Report::Status) => self.report(),
            Some(Report::Options) => self.report_options(),
            Some(Report::Trace) => self.report_trace(),
            None => return Err(Refused(Errno::INVAL, "there is no such report".into())),
        };
        let failed = |errno| Refused(errno, "the keeper has no memory for its report".into());
        let memory = memfd_create("shunt-status", MemfdFlags::CLOEXEC).map_err(failed)?;
        let mut rest = report.as_bytes();
        while !rest.is_empty() {
            let written = write(&memory, rest).map_err(failed)?;
            rest = rest.get(written..).unwrap_or(&[]);
        }
        Granted::numbers([]).with(memory.as_fd())
    }

    fn stop(&mut self, id: Id, force: bool) -> Granted {
        let itself = usize::from(self.sessions.get(id).is_some_and(|session| session.slot.is_some()));
        let attached = self.sessions.attached() - itself;
        if attached == 0 || force {
            self.journal.note("stopped by shunt stop");
            self.is_ending = true;
        }
        Granted::numbers([attached as u32])
    }
}

fn other_version() -> Refused {
    Refused(
        Errno::PROTONOSUPPORT,
        "the program's libshunt.so and the keeper are of different versions: run shunt stop, then start again".into(),
    )
}

fn no_wakers(errno: Errno) -> Refused {
    Refused(errno, "the region has no waker left: too many threads wait at once".into())
}

/// One program must not keep the keeper from the others.
const REQUESTS_AT_ONCE: usize = 64;
