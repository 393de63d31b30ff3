//! The cookies that peers gave us: RFC 7413 4.1.3.
//!
//! A small table of fixed size; what was not used for the longest time gives way.

use crate::ip::net::Addr;
use crate::shard::keyed;
use crate::wire::options::Cookie;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Peer {
    addr: Addr,
    /// When it was last used, in milliseconds.
    used: u32,
    cookie: [u8; 16],
    /// Bytes of the cookie; 0 for a free place.
    len: u8,
    pad: u8,
    /// What the peer's SYN+ACK said.
    mss: u16,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Peers([[Peer; WAYS]; SETS]);

const SETS: usize = 32;
const WAYS: usize = 4;
/// Tells this hash from others with the same key.
const FOR_PEERS: (u64, u8) = (6, 10);

impl Peers {
    fn set(&mut self, key: [u64; 2], addr: Addr) -> Option<&mut [Peer; WAYS]> {
        let (purpose, len) = FOR_PEERS;
        let hash = keyed::hash(key, u64::from(addr.0), purpose, len);
        self.0.get_mut(hash as usize % SETS)
    }

    /// Cookie and MSS of a peer.
    pub(super) fn find(&mut self, key: [u64; 2], addr: Addr, now: u32) -> Option<(Cookie, u16)> {
        let peer = self.set(key, addr)?.iter_mut().find(|p| p.addr == addr && p.len != 0)?;
        peer.used = now;
        let cookie = Cookie::new(peer.cookie.get(..usize::from(peer.len))?)?;
        Some((cookie, peer.mss))
    }

    pub(super) fn remember(&mut self, key: [u64; 2], addr: Addr, cookie: &Cookie, mss: u16, now: u32) {
        let Some(set) = self.set(key, addr) else { return };
        let known = set.iter().position(|p| p.addr == addr && p.len != 0);
        let age = |p: &Peer| if p.len == 0 { u32::MAX } else { now.wrapping_sub(p.used) };
        let oldest = || (0..WAYS).max_by_key(|&i| set.get(i).map_or(0, age));
        let Some(place) = known.or_else(oldest).and_then(|i| set.get_mut(i)) else { return };
        let bytes = cookie.bytes();
        *place = Peer { addr, used: now, cookie: [0; 16], len: bytes.len() as u8, pad: 0, mss };
        if let Some(room) = place.cookie.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    pub(super) fn forget(&mut self, key: [u64; 2], addr: Addr) {
        if let Some(set) = self.set(key, addr) {
            set.iter_mut().filter(|p| p.addr == addr).for_each(|p| p.len = 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn the_table_keeps_what_was_used_last_and_its_size() {
        let (mut peers, key) = (Peers::new_zeroed(), [1, 2]);
        let cookie = |n: u32| Cookie::new(&n.to_be_bytes()).unwrap();
        for n in 1..=10_000 {
            peers.remember(key, Addr(n), &cookie(n), 1000 + (n % 100) as u16, n);
            // This one is used all the time.
            assert_eq!(peers.find(key, Addr(1), n), Some((cookie(1), 1001)));
        }
        let known = (1..=10_000).filter(|&n| peers.find(key, Addr(n), 0).is_some()).count();
        assert_eq!(known, SETS * WAYS);
        peers.remember(key, Addr(1), &cookie(77), 900, 5);
        assert_eq!(peers.find(key, Addr(1), 6), Some((cookie(77), 900)));
        peers.forget(key, Addr(1));
        assert_eq!(peers.find(key, Addr(1), 7), None);
    }
}
