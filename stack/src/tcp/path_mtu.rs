//! What the path carries: RFC 1191 and RFC 4821.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The search for a larger MTU.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Probing {
    pub pad: u64,
}
