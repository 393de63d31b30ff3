//! The receive buffer's size, as the flow needs it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What the growth of the receive buffer goes by.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Tuning {
    /// The buffer's size now; 0 for the size that the settings name.
    pub buffer: u32,
    pub pad: u32,
}
