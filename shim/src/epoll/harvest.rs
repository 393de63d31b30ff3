//! The events of one epoll_wait, from the region and from the kernel, each descriptor's in one.

use stack::wait::Ready;

use crate::kernel::{self, Errno, Outcome};
use crate::user_memory;

/// More wait for the next call.
const ROOM: usize = 128;

pub(super) struct Harvest {
    events: [libc::epoll_event; ROOM],
    /// Those from the region whose descriptor the kernel may tell of too.
    dual: u128,
    len: usize,
    most: usize,
}

impl Harvest {
    pub(super) fn new(most: usize) -> Self {
        let none = libc::epoll_event { events: 0, u64: 0 };
        Self { events: [none; ROOM], dual: 0, len: 0, most: most.min(ROOM) }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn room(&self) -> usize {
        self.most - self.len
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn add(&mut self, ready: Ready) {
        let same = |event: &&mut libc::epoll_event| ready.dual && event.u64 == ready.data;
        if let Some(event) = self.events.iter_mut().take(self.len).find(same) {
            event.events |= ready.events;
            return;
        }
        let Some(place) = self.events.get_mut(self.len) else { return };
        *place = libc::epoll_event { events: ready.events, u64: ready.data };
        self.dual |= u128::from(ready.dual) << self.len;
        self.len += 1;
    }

    /// Adds up to `most` of what the kernel has to tell.
    pub(super) fn add_from_kernel(&mut self, number: i32, most: usize) -> Result<(), Errno> {
        let room = most.min(self.room());
        let Some(free) = self.events.get_mut(self.len..self.len + room).filter(|free| !free.is_empty())
        else {
            return Ok(());
        };
        let arguments = [number as usize, free.as_mut_ptr() as usize, free.len(), 0, 0, 8];
        // SAFETY: the kernel writes that many events.
        let told = unsafe { kernel::call(libc::SYS_epoll_pwait, arguments) }?;
        let (first, end) = (self.len, self.len + told.min(room));
        for index in first..end {
            let Some(&told) = self.events.get(index) else { break };
            self.take(told);
        }
        Ok(())
    }

    /// One event of the kernel's: together with the region's for the same descriptor, or behind all others.
    fn take(&mut self, told: libc::epoll_event) {
        if told.u64 == super::instances::CALL {
            return;
        }
        let of_region = self.events.iter_mut().take(self.len).enumerate();
        let same =
            of_region.filter(|(index, _)| self.dual >> index & 1 != 0).find(|(_, e)| e.u64 == told.u64);
        if let Some((_, event)) = same {
            event.events |= told.events;
        } else if let Some(place) = self.events.get_mut(self.len) {
            *place = told;
            self.len += 1;
        }
    }

    /// Hands all to the program.
    pub(super) fn give(&self, to: *mut libc::epoll_event) -> Outcome {
        for (index, event) in self.events.iter().take(self.len).enumerate() {
            user_memory::write(to.wrapping_add(index), event)?;
        }
        Ok(self.len)
    }
}
