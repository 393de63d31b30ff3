//! Initial sequence numbers (RFC 6528) and timestamp offsets.

use super::{Seq, Tuple};
use crate::shard::{Shard, keyed};

/// LINUX: the clock that is added moves once in 64 ns, so the space is passed through in under five minutes.
const CLOCK_SHIFT: u32 = 6;
/// What the number is for, and the length of the message: no two hashes with the same key have both in common.
const FOR_TIMESTAMP: (u64, u8) = (2, 9);
const FOR_FAST_OPEN: (u64, u8) = (5, 9);
const FOR_COOKIE: (u64, u8) = (3, 13);
const FOR_FLOW: (u64, u8) = (7, 13);
const FOR_MINUTE: u8 = 15;
/// Behind the ports in the second word of a tuple.
const BEHIND_PORTS: u32 = 32;
/// What the length leaves of that word for the minute.
const MINUTE_MASK: u32 = 0xff_ffff;

/// RFC 6528 3: "ISN = M + F(localip, localport, remoteip, remoteport, secretkey)".
pub(super) fn initial(s: &mut Shard, tuple: &Tuple, now: u64) -> Seq {
    // The half of the hash that the connection table does not use.
    let hash = (s.hash(tuple) >> 32) as u32;
    Seq(hash.wrapping_add((now >> CLOCK_SHIFT) as u32))
}

/// One offset for all connections between two hosts: later ones continue the clock, so that a peer's TIME_WAIT can
/// tell a new SYN from an old one (RFC 6191).
pub(super) fn timestamp_offset(s: &mut Shard, tuple: &Tuple) -> u32 {
    let [addresses, _] = tuple.words();
    // Mostly the next is for the same hosts.
    let (last, offset) = s.after.timestamp_offset;
    if last == addresses {
        return offset;
    }
    let (purpose, len) = FOR_TIMESTAMP;
    let offset = keyed::hash(s.head.key, addresses, purpose, len) as u32;
    s.after.timestamp_offset = (addresses, offset);
    offset
}

/// What hides a SYN cookie, and the minute's part of it (RFC 4987 3.6).
pub(super) fn of_cookie(s: &Shard, tuple: &Tuple) -> Seq {
    let [addresses, ports] = tuple.words();
    let (purpose, len) = FOR_COOKIE;
    Seq(keyed::hash(s.head.key, addresses, ports | purpose << BEHIND_PORTS, len) as u32)
}

pub(super) fn of_minute(s: &Shard, tuple: &Tuple, minute: u32) -> u32 {
    let [addresses, ports] = tuple.words();
    let minute = u64::from(minute & MINUTE_MASK) << BEHIND_PORTS;
    keyed::hash(s.head.key, addresses, ports | minute, FOR_MINUTE) as u32
}

/// RFC 7413 4.1.2: the cookie proves that the peer is where it says to be, so it depends on the addresses alone.
pub(super) fn fast_open_cookie(s: &Shard, tuple: &Tuple) -> u64 {
    let [addresses, _] = tuple.words();
    let (purpose, len) = FOR_FAST_OPEN;
    keyed::hash(s.head.key, addresses, purpose, len)
}

/// Spreads flows over listeners that share a port.
pub(super) fn of_flow(s: &Shard, tuple: &Tuple) -> u32 {
    let [addresses, ports] = tuple.words();
    let (purpose, len) = FOR_FLOW;
    keyed::hash(s.head.key, addresses, ports | purpose << BEHIND_PORTS, len) as u32
}
