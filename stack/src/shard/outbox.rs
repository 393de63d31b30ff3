//! Frames that are ready to leave, in order. The pump moves them to a TX ring.

use super::Shard;
use crate::region::{FrameId, Frames, Table, settle};
use core::ops::Range;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub struct Ends {
    taken: u32,
    put: u32,
}

impl Ends {
    /// The place of the next frame.
    pub(crate) fn put(&self) -> u32 {
        self.put
    }
}

/// A ring that cannot overflow: it has a place for every frame, and one more, and a frame is in it once at most. So the
/// ends are told apart by their places alone, and no bits in them make it longer than it is.
pub struct Outbox {
    ring: Table<u32>,
}

impl Outbox {
    pub(crate) fn new(ring: Table<u32>) -> Self {
        Self { ring }
    }

    /// Queues the packet of `frame`, which is complete, for the link in its metadata. A frame that is on its way
    /// already is left alone.
    #[inline]
    pub fn put(&mut self, ends: &mut Ends, frames: &mut Frames, frame: FrameId) {
        let Some(meta) = frames.meta_mut(frame) else { return };
        if meta.in_flight != 0 {
            return;
        }
        let mask = self.ring.len() - 1;
        if let Some(entry) = self.ring.get_mut(ends.put as usize & mask) {
            *entry = frame.0;
        }
        // In this order: `recover_outbox` makes up for what a death leaves out.
        settle();
        ends.put = ends.put.wrapping_add(1);
        settle();
        meta.in_flight = 1;
    }
}

impl Shard {
    /// See [`Outbox::put`].
    pub fn transmit(&mut self, frame: FrameId) {
        self.outbox.put(&mut self.head.outbox, &mut self.frames, frame);
    }

    /// The frame that is next to leave.
    #[inline]
    pub fn next_out(&self) -> Option<FrameId> {
        let Ends { taken, put } = self.head.outbox;
        let mask = self.outbox.ring.len() - 1;
        if (taken ^ put) as usize & mask == 0 {
            return None;
        }
        self.outbox.ring.get(taken as usize & mask).map(|&f| FrameId(f))
    }

    /// The frame that [`Shard::next_out`] named is on a ring now.
    pub fn advance_outbox(&mut self) {
        self.head.outbox.taken = self.head.outbox.taken.wrapping_add(1);
    }

    /// After a death: what is in the outbox is in flight, also if its sender did not get to say so.
    pub(super) fn recover_outbox(&mut self) {
        let Ends { taken, put } = self.head.outbox;
        let mask = self.outbox.ring.len() - 1;
        let waiting = put.wrapping_sub(taken) & mask as u32;
        self.mark_waiting(0..waiting, 1);
        self.head.outbox.put = taken.wrapping_add(waiting);
    }

    /// After a death: what was queued from place `put` on is not to leave.
    pub(crate) fn take_back_from_outbox(&mut self, put: u32) {
        let Ends { taken, put: end } = self.head.outbox;
        let mask = self.outbox.ring.len() - 1;
        let places = |to: u32| to.wrapping_sub(taken) & mask as u32;
        let (waiting, kept) = (places(end), places(put));
        // Else it is a place of long ago.
        if kept > waiting {
            return;
        }
        self.mark_waiting(kept..waiting, 0);
        self.head.outbox.put = put;
    }

    /// Says of frames in the outbox, counted from the next that leaves, whether they are in flight.
    fn mark_waiting(&mut self, places: Range<u32>, in_flight: u8) {
        let mask = self.outbox.ring.len() - 1;
        for step in places {
            let at = self.head.outbox.taken.wrapping_add(step) as usize & mask;
            let frame = self.outbox.ring.get(at).map(|&f| FrameId(f));
            if let Some(meta) = frame.and_then(|f| self.frames.meta_mut(f)) {
                meta.in_flight = in_flight;
            }
        }
    }

    pub fn outbox_is_empty(&self) -> bool {
        self.next_out().is_none()
    }
}
