//! Initial sequence numbers (RFC 6528) and timestamp offsets.

use super::{Seq, Tuple};
use crate::shard::Shard;
use core::hash::Hasher;
use siphasher::sip::SipHasher13;
use zerocopy::IntoBytes;

/// LINUX: the clock that is added moves once in 64 ns, so the space is passed through in under five minutes.
const CLOCK_SHIFT: u32 = 6;
/// Tell the two hashes from that of the connection table, which has the same key.
const FOR_SEQUENCE: u8 = 1;
const FOR_TIMESTAMP: u8 = 2;

/// RFC 6528 3: "ISN = M + F(localip, localport, remoteip, remoteport, secretkey)".
pub(super) fn initial(s: &Shard, tuple: &Tuple, now: u64) -> Seq {
    let mut hasher = hasher(s, FOR_SEQUENCE);
    hasher.write(tuple.as_bytes());
    Seq((hasher.finish() as u32).wrapping_add((now >> CLOCK_SHIFT) as u32))
}

/// One offset for all connections between two hosts: later ones continue the clock, so that a peer's TIME_WAIT can
/// tell a new SYN from an old one (RFC 6191).
pub(super) fn timestamp_offset(s: &Shard, tuple: &Tuple) -> u32 {
    let mut hasher = hasher(s, FOR_TIMESTAMP);
    hasher.write(tuple.local.as_bytes());
    hasher.write(tuple.remote.as_bytes());
    hasher.finish() as u32
}

fn hasher(s: &Shard, purpose: u8) -> SipHasher13 {
    let [a, b] = s.head.key;
    let mut hasher = SipHasher13::new_with_keys(a, b);
    hasher.write_u8(purpose);
    hasher
}
