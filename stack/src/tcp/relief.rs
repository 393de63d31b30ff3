//! The region is short of frames: what lies beyond holes goes first.
//!
//! A peer that leaves holes and never fills them would hold frames for as long as it likes, and with enough
//! connections close the windows of all others.

use super::{beyond, turn};
use crate::shard::Shard;

/// Connections that the end of one burst looks at.
const LOOKED_AT: u32 = 64;

/// Gives frames back until there are enough, from one connection after the other, each in its turn.
///
/// RFC 2018 8: "The data receiver is permitted to discard data in its queue that has not been acknowledged to the data
/// sender". LINUX: tcp_prune_ofo_queue() does so on the connection that wants memory, under the pressure of all.
pub(super) fn relieve(s: &mut Shard, now: u64) {
    let end = s.connections.high_water();
    for _ in 0..LOOKED_AT.min(end) {
        if !s.frames.is_scarce() {
            return;
        }
        s.after.relieved = if s.after.relieved < end { s.after.relieved + 1 } else { 1 };
        let Some(h) = s.connections.at(s.after.relieved) else { continue };
        if s.connections.get(h).is_none_or(|c| c.receive.beyond.is_empty()) {
            continue;
        }
        let Some(mut t) = turn::begin(s, h, now) else { continue };
        for _ in 0..t.frames.total() {
            if !t.frames.is_scarce() || !beyond::prune(&mut t) {
                break;
            }
        }
    }
}
