//! What the path carries: RFC 1191 and RFC 4821.

use super::recovery;
use super::turn::Turn;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// LINUX: the smallest path MTU that is believed (net.ipv4.route.min_pmtu).
const LEAST_MTU: u16 = 552;

/// What is known of the path.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Probing {
    /// The errno of the last ICMP error that did not end the connection; 0 for none since something arrived.
    pub soft_error: u8,
    pub pad: [u8; 7],
}

/// A router says that it could not pass a segment on.
pub(super) fn too_big(t: &mut Turn<'_>, mtu: u16) {
    if mtu >= LEAST_MTU && mtu < t.c.path.mtu {
        t.c.path.mtu = mtu;
        t.fit_segments();
        recovery::send_again_smaller(t);
    }
}
