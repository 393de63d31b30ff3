//! Initial sequence numbers (RFC 6528) and timestamp offsets.

use super::{Seq, Tuple};
use crate::shard::{Shard, keyed};

/// LINUX: the clock that is added moves once in 64 ns, so the space is passed through in under five minutes.
const CLOCK_SHIFT: u32 = 6;
/// Makes the message longer than that of any other hash with the same key.
const FOR_TIMESTAMP: (u64, u8) = (2, 9);

/// RFC 6528 3: "ISN = M + F(localip, localport, remoteip, remoteport, secretkey)".
pub(super) fn initial(s: &mut Shard, tuple: &Tuple, now: u64) -> Seq {
    // The half of the hash that the connection table does not use.
    let hash = (s.hash(tuple) >> 32) as u32;
    Seq(hash.wrapping_add((now >> CLOCK_SHIFT) as u32))
}

/// One offset for all connections between two hosts: later ones continue the clock, so that a peer's TIME_WAIT can
/// tell a new SYN from an old one (RFC 6191).
pub(super) fn timestamp_offset(s: &Shard, tuple: &Tuple) -> u32 {
    let [addresses, _] = tuple.words();
    let (purpose, len) = FOR_TIMESTAMP;
    keyed::hash(s.head.key, addresses, purpose, len) as u32
}
