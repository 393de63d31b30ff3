//! Packets between two sockets of one region: copied from the sender's frame into a fresh one and fed to the input.
//!
//! The copy keeps ownership simple: the sender's frame stays with it until it is acknowledged, as with a card.

use crate::ip;
use crate::region::{FrameId, HEADROOM, Purpose};
use crate::shard::Shard;

/// Carries the packet of `sent` across and completes `sent`. Without a free frame the packet is lost, as on a wire.
pub(crate) fn carry(s: &mut Shard, sent: FrameId, now: u64) {
    let Some(received) = s.frames.alloc(Purpose::Control) else {
        s.counters.no_frame += 1;
        s.frames.completed(sent);
        return;
    };
    s.counters.loopback_frames += 1;
    let start = usize::from(HEADROOM);
    let len = s.frames.copy_packet(sent, received, start);
    if let Some(meta) = s.frames.meta_mut(received) {
        meta.start = HEADROOM;
        meta.len = len as u16;
        meta.via = ip::net::VIA_LOOPBACK;
    }
    s.frames.completed(sent);
    ip::input(s, received, now);
}
