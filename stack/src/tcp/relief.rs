//! The region is short of frames: what lies beyond holes goes first, and who has more than his share gets no more.
//!
//! A peer that leaves holes and never fills them would hold frames for as long as it likes, and with enough
//! connections close the windows of all others. So would a program that does not read, or whose peer does not.

use super::turn::Turn;
use super::{Connection, beyond, rollback, send_queue, tuning, turn, window};
use crate::region::{Handle, Steps, Walked};
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
        let mut steps = Steps::over(t.frames);
        while t.frames.is_scarce() && beyond::prune(&mut t) && steps.take(t.frames.damage()) {}
        rollback::end(&mut s.head);
    }
}

/// Bytes that a connection which holds so much may announce all the same.
///
/// LINUX: __sk_mem_raise_allocated(): each has tcp_rmem's least, until nothing at all is left.
pub(super) fn least_space(t: &Turn<'_>, held: u32) -> u32 {
    let least = if t.frames.is_exhausted() { 0 } else { t.head.sysctls.tcp_rmem_least };
    least.saturating_sub(held) >> window::OVERHEAD_SHIFT
}

/// A program wants to write: if the connection holds more frames than its share, its send buffer shrinks to half of
/// what is in it, but not below tcp_wmem's least. A size that the program has set stays.
///
/// LINUX: sk_stream_moderate_sndbuf(), for a socket that __sk_mem_raise_allocated() refuses.
pub(super) fn moderate(s: &mut Shard, h: Handle<Connection>) {
    let share = s.frames.total() / s.connections.in_use().max(1);
    let least = s.head.sysctls.tcp_wmem_least;
    let Some(c) = s.connections.get_mut(h).filter(|c| !tuning::send_is_fixed(&c.settings)) else { return };
    let held = c.send.queue.len.saturating_add(c.receive.queue.len).saturating_add(c.receive.beyond.len);
    if held > share {
        let half = send_queue::used(c, s.frames.chunk_size()) / 2;
        c.tuning.send_buffer = c.tuning.send_buffer.min(half.max(least));
    }
}
