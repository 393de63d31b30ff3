//! Owners of connections, who have SIGURG when urgent data comes (F_SETOWN).
//!
//! For each such connection there is a pair of UNIX stream sockets. The program sets the owner of one end as it set that of its
//! own descriptor: the kernel remembers process or group, and in whose name. A byte with MSG_OOB into the other end makes
//! the kernel send the signal, if that user may: pids that were given anew, groups and rights are its affair.

use std::collections::HashMap;

use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use stack::region::Handle;
use stack::tcp::Connection;

/// A connection that has an owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owned {
    pub(crate) shard: u32,
    pub(crate) connection: Handle<Connection>,
}

#[derive(Default)]
pub(crate) struct Owners {
    bells: HashMap<(u32, u32), Bell>,
}

struct Bell {
    /// Its owner is the connection's.
    owned: OwnedFd,
    /// What is written here, the other end gets.
    ringer: OwnedFd,
}

impl Owners {
    /// The descriptor whose owner has the signal.
    pub(crate) fn bell_of(&mut self, of: Owned) -> Result<BorrowedFd<'_>, Errno> {
        let bell = match self.bells.entry((of.shard, of.connection.raw())) {
            std::collections::hash_map::Entry::Occupied(bell) => bell.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => place.insert(Bell::new()?),
        };
        Ok(bell.owned.as_fd())
    }

    pub(crate) fn has_any_in(&self, shard: u32) -> bool {
        self.bells.keys().any(|key| key.0 == shard)
    }

    /// Those of a shard that are owed a signal, as `take` tells; the ones that it tells nothing of are forgotten.
    pub(crate) fn gather_owed(
        &mut self,
        shard: u32,
        mut take: impl FnMut(Handle<Connection>) -> Option<bool>,
    ) -> Vec<u32> {
        let mut owed = Vec::new();
        self.bells.retain(|&(of, connection), _| {
            if of != shard {
                return true;
            }
            let told = take(Handle::from_raw(connection));
            owed.extend(told.filter(|&is_owed| is_owed).map(|_| connection));
            told.is_some()
        });
        owed
    }

    pub(crate) fn signal(&self, shard: u32, owed: &[u32]) {
        for &connection in owed {
            if let Some(bell) = self.bells.get(&(shard, connection)) {
                bell.ring();
            }
        }
    }
}

impl Bell {
    fn new() -> Result<Bell, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (owned, ringer) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(Bell { owned, ringer })
    }

    fn ring(&self) {
        // A kernel without urgent data on UNIX sockets (before Linux 5.15) cannot do it: nor can anybody else here.
        let _ = send(&self.ringer, &[1], SendFlags::OOB);
        // Nothing of it may stay there. Urgent bytes that later ones have followed are ordinary ones.
        let mut rest = [0; 16];
        let _ = rustix::net::recv(&self.owned, &mut rest, rustix::net::RecvFlags::OOB);
        for _ in 0..MOST_LEFT {
            if !read(&self.owned, &mut rest).is_ok_and(|count| count > 0) {
                break;
            }
        }
    }
}

const MOST_LEFT: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(shard: u32, connection: u32) -> Owned {
        Owned { shard, connection: Handle::from_raw(connection) }
    }

    #[test]
    fn a_connection_keeps_its_bell_until_nothing_is_told_of_it() {
        let mut owners = Owners::default();
        let number = |bell: BorrowedFd<'_>| rustix::fd::AsRawFd::as_raw_fd(&bell);
        let first = owners.bell_of(owned(0, 7)).map(number).expect("a bell");
        owners.bell_of(owned(1, 7)).expect("a bell");
        owners.bell_of(owned(0, 8)).expect("a bell");
        assert_eq!(owners.bell_of(owned(0, 7)).map(number), Ok(first));
        let owed = owners.gather_owed(0, |connection| (connection.raw() == 7).then_some(true));
        assert_eq!(owed, [7], "who is owed");
        assert_eq!(owners.bells.len(), 2, "the other one of the shard has no owner any more");
        assert_eq!(owners.gather_owed(0, |_| Some(false)), [0u32; 0]);
        assert_eq!(owners.gather_owed(1, |_| None), [0u32; 0]);
        assert!(owners.has_any_in(0) && !owners.has_any_in(1));
    }

    #[test]
    fn a_bell_rings_as_often_as_it_is_told_to() {
        let bell = Bell::new().expect("a pair");
        for _ in 0..2000 {
            bell.ring();
            assert_eq!(read(&bell.owned, &mut [0; 16]), Err(Errno::AGAIN), "nothing stays in it");
        }
    }
}
