//! A received segment, taken apart.

use super::{Seq, Tuple};
use crate::region::{FrameId, Frames};
use crate::wire::{Flags, Timestamps};

#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// As we see it: `local` is the destination.
    pub tuple: Tuple,
    pub seq: Seq,
    pub ack: Seq,
    pub flags: Flags,
    /// As it is in the header, not scaled.
    pub window: u16,
    pub urgent: u16,
    /// The second byte of the IP header.
    pub service: u8,
    pub timestamps: Option<Timestamps>,
    pub frame: FrameId,
    /// Where the options of the segment are in the packet, and how long they are.
    pub options: (u16, u16),
    /// Where the payload is in the chunk, and how long it is.
    pub payload: u16,
    pub len: u16,
}

impl Segment {
    /// SEG.LEN: SYN and FIN count.
    pub(super) fn sequence_len(&self) -> u32 {
        u32::from(self.len) + u32::from(self.flags.has(Flags::SYN)) + u32::from(self.flags.has(Flags::FIN))
    }

    /// The place behind the segment.
    pub(super) fn end(&self) -> Seq {
        self.seq + self.sequence_len()
    }

    /// Its options, as they are in the packet.
    pub(super) fn options_in<'a>(&self, frames: &'a Frames) -> &'a [u8] {
        let (at, len) = (usize::from(self.options.0), usize::from(self.options.1));
        frames.packet(self.frame).get(at..at + len).unwrap_or(&[])
    }

    /// Behind its payload.
    pub(super) fn payload_end(&self) -> Seq {
        self.seq + u32::from(self.len)
    }
}
