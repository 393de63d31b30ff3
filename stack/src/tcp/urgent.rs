//! Urgent data: RFC 9293 3.8.5, as RFC 6093 and Linux understand it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The urgent byte that came, and the one that was sent.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Urgent {
    pub pad: u64,
}
