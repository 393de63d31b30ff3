//! IP: from a frame to the protocol it carries.

#![forbid(unsafe_code)]

pub mod net;

use crate::region::FrameId;
use crate::shard::Shard;

/// Handles one received frame, which is `HELD`; takes it over.
pub fn input(s: &mut Shard, frame: FrameId, _now: u64) {
    s.frames.release(frame);
}
