//! Which processes have ended, for the moments in which the keeper cannot hear it: while it waits for a lock that one of
//! them took along.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use super::sessions::Session;

/// By slot, what tells the end of its process: the control socket hangs up, the process becomes readable.
#[derive(Clone, Default)]
pub(crate) struct Deaths(Arc<Mutex<HashMap<u16, Vec<OwnedFd>>>>);

impl Deaths {
    pub(crate) fn watch(&self, slot: u16, session: &Session) -> Result<(), Errno> {
        let signs = std::iter::once(&session.socket).chain(&session.process);
        let signs = signs.map(|sign| fcntl_dupfd_cloexec(sign, 0)).collect::<Result<_, _>>()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, signs);
        Ok(())
    }

    pub(crate) fn forget(&self, slot: u16) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
    }

    pub(crate) fn has_ended(&self, slot: u16) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some([socket, process @ ..]) = all.get(&slot).map(Vec::as_slice) else { return false };
        let mut signs = vec![PollFd::new(socket, PollFlags::RDHUP)];
        signs.extend(process.iter().map(|process| PollFd::new(process, PollFlags::IN)));
        poll(&mut signs, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ended| ended > 0)
    }
}
