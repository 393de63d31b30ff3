//! The programs: one session for each control socket, which stands for one process.

use std::collections::{BTreeSet, HashMap};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{PidfdFlags, getuid, pidfd_open};
use stack::region::Region;

/// Number of a session; never used twice.
pub(crate) type Id = u32;

pub(crate) struct Session {
    pub(crate) socket: OwnedFd,
    /// Becomes readable when the process ends, even if a copy of the socket is left in another. None for a forked child, whose
    /// process does not exist yet when its session begins.
    pub(crate) process: Option<OwnedFd>,
    pub(crate) pid: u32,
    pub(crate) user: u32,
    pub(crate) is_admitted: bool,
    /// After Hello: its slot in the region.
    pub(crate) slot: Option<u16>,
    pub(crate) wakers: Vec<u16>,
}

/// Who may attach: everybody attached can read and forge the region's traffic.
pub(crate) struct Admission {
    users: BTreeSet<u32>,
}

impl Admission {
    /// Root, whoever starts the keeper (also by sudo), and those that he names.
    pub(crate) fn new(named: &[u32]) -> Admission {
        let mut users = BTreeSet::from([0, getuid().as_raw()]);
        users.extend(std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse::<u32>().ok()));
        users.extend(named);
        Admission { users }
    }

    pub(crate) fn admits(&self, user: u32) -> bool {
        self.users.contains(&user)
    }

    pub(crate) fn refusal(user: u32) -> String {
        format!("user {user} is not admitted to this keeper: restart it with --allow-uid {user}")
    }
}

#[derive(Default)]
pub(crate) struct Sessions {
    sessions: HashMap<Id, Session>,
    last: Id,
}

impl Sessions {
    /// Takes a new connection. Gives its number, and the user if he is not admitted.
    pub(crate) fn begin(&mut self, socket: OwnedFd, admission: &Admission) -> Result<Id, Errno> {
        let peer = socket_peercred(&socket)?;
        let process = pidfd_open(peer.pid, PidfdFlags::NONBLOCK).ok();
        Ok(self.enter(Session {
            socket,
            process,
            pid: peer.pid.as_raw_nonzero().get() as u32,
            user: peer.uid.as_raw(),
            is_admitted: admission.admits(peer.uid.as_raw()),
            slot: None,
            wakers: Vec::new(),
        }))
    }

    /// A session for a child that is about to be forked, and the child's end of it.
    pub(crate) fn begin_child(&mut self, slot: u16, waker: u16) -> Result<(Id, OwnedFd), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, child) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // Nonblocking is our end's wish alone.
        rustix::io::ioctl_fionbio(&child, false)?;
        let session = Session {
            socket,
            process: None,
            pid: 0,
            user: 0,
            is_admitted: true,
            slot: Some(slot),
            wakers: vec![waker],
        };
        Ok((self.enter(session), child))
    }

    fn enter(&mut self, session: Session) -> Id {
        self.last = self.last.wrapping_add(1);
        self.sessions.insert(self.last, session);
        self.last
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    pub(crate) fn socket(&self, id: Id) -> Option<BorrowedFd<'_>> {
        self.sessions.get(&id).map(|session| session.socket.as_fd())
    }

    pub(crate) fn end(&mut self, id: Id) -> Option<Session> {
        self.sessions.remove(&id)
    }

    /// How many processes are attached to the region.
    pub(crate) fn attached(&self) -> usize {
        self.sessions.values().filter(|session| session.slot.is_some()).count()
    }

    /// Whether anybody is connected at all, be it for a question.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

/// A slot of the region that no process has. The first is the keeper's own.
pub(crate) fn vacant_slot(region: &Region) -> Option<u16> {
    let slots = region.processes().iter().enumerate().skip(1);
    slots.filter(|(_, slot)| slot.is_vacant()).find_map(|(number, _)| u16::try_from(number).ok())
}
