//! SO_REUSEPORT: listeners on one address and port share what comes there, flow by flow.

use super::{Listener, Tuple, numbers};
use crate::ip::net::Addr;
use crate::region::{Handle, Walk};
use crate::shard::{LISTEN_BUCKETS, Shard};

/// The listener for a peer's SYN: of those on just this address, or else of those on any, the one that the flow's hash
/// names. It stays the same as long as the group does.
pub(super) fn choose(s: &Shard, tuple: &Tuple) -> Option<Handle<Listener>> {
    let (mut exact, mut any) = ((0, None), (0, None));
    for (h, l) in bucket(s, tuple.local_port) {
        if l.addr == tuple.local {
            exact = (exact.0 + 1, Some(h));
        } else if l.addr.is_any() {
            any = (any.0 + 1, Some(h));
        }
    }
    let (addr, (members, last)) = if exact.0 > 0 { (tuple.local, exact) } else { (Addr::ANY, any) };
    if members <= 1 {
        return last;
    }
    let mut group = bucket(s, tuple.local_port).filter(|(_, l)| l.addr == addr);
    // Scaled instead of divided: the high bits of the product are less than `members`.
    let place = (u64::from(numbers::of_flow(s, tuple)) * members) >> 32;
    group.nth(place as usize).map(|(h, _)| h)
}

/// Whether a listener is found by its address and port.
pub(super) fn is_chained(s: &Shard, h: Handle<Listener>) -> bool {
    s.listeners.get(h).is_some_and(|l| bucket(s, l.port).any(|(other, _)| other == h))
}

/// The listeners on a port.
fn bucket(s: &Shard, port: u16) -> impl Iterator<Item = (Handle<Listener>, &Listener)> {
    let first = s.ports.get(usize::from(port) % LISTEN_BUCKETS).copied().unwrap_or(0);
    let mut walk = Walk::over(&s.listeners, first);
    let all = core::iter::from_fn(move || {
        let (at, l) = walk.item(&s.listeners)?;
        walk.to(l.chain);
        Some((s.listeners.at(at)?, l))
    });
    all.filter(move |(_, l)| l.port == port)
}
