//! The region: one mapping that holds everything, as plain data without pointers.
//!
//! Unsafe code lives here and in `link::xsk`; the rooms above see slices, slabs and lists.

pub mod frames;
pub mod gate;
pub mod handle;
mod layout;
pub mod list;
mod mapping;
pub mod slab;
pub mod slots;
pub mod table;
pub mod walk;
pub mod wheel;

pub use frames::{FrameId, FrameMeta, Frames, HEADROOM, Purpose, Tenure};
pub use gate::Gate;
pub use handle::Handle;
pub use layout::{LAYOUT_VERSION, Sizes};
pub use list::{Link, Links, List};
pub use mapping::{AttachError, Region};
pub use slab::Slab;
pub use slots::{ProcessSlot, WakerSlot};
pub use table::{One, Table};
pub use walk::{Damage, Steps, Walk, Walked};
pub use wheel::{TICK_SHIFT, TimerLink, Wheel};

/// What is written before this is in memory before what is written after it, as a process that is killed leaves it.
///
/// A death inside the lock shows every store that was executed, so the machine's own ordering does not matter; but the
/// compiler must not have exchanged the two.
#[inline]
pub(crate) fn settle() {
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
}
