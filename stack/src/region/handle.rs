//! Typed 32-bit names for things in the region.
//!
//! A region holds no pointers, since every process maps it somewhere else. What stands in their place is an index
//! into a slab plus the generation of that slot: a handle that outlived its object is noticed instead of naming
//! the slot's next tenant.

use core::marker::PhantomData;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of a handle that hold the index; the rest is the generation.
pub const INDEX_BITS: u32 = 22;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const GENERATION_MASK: u16 = ((1u32 << (32 - INDEX_BITS)) - 1) as u16;

/// Names one `T` of a slab. Zero names nothing, so zeroed memory holds no dangling handle.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Handle<T> {
    raw: u32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    pub const NONE: Self = Self::from_raw(0);

    pub const fn from_raw(raw: u32) -> Self {
        Self { raw, kind: PhantomData }
    }

    pub(crate) const fn new(index: u32, generation: u16) -> Self {
        Self::from_raw(((generation & GENERATION_MASK) as u32) << INDEX_BITS | (index & INDEX_MASK))
    }

    pub const fn raw(self) -> u32 {
        self.raw
    }

    pub const fn index(self) -> u32 {
        self.raw & INDEX_MASK
    }

    pub(crate) const fn generation(self) -> u16 {
        (self.raw >> INDEX_BITS) as u16
    }

    pub const fn is_none(self) -> bool {
        self.index() == 0
    }

    pub const fn is_some(self) -> bool {
        !self.is_none()
    }

    pub fn some(self) -> Option<Self> {
        self.is_some().then_some(self)
    }
}

pub(crate) const fn next_generation(generation: u16) -> u16 {
    generation.wrapping_add(1) & GENERATION_MASK
}

// Derives would ask `T` for these too; a handle is a number whatever it names.
impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Handle<T> {}
impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}
impl<T> Eq for Handle<T> {}
impl<T> Default for Handle<T> {
    fn default() -> Self {
        Self::NONE
    }
}
impl<T> core::fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.index(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_carries_its_index_and_generation() {
        let h: Handle<u8> = Handle::new(1234, 77);
        assert_eq!((h.index(), h.generation()), (1234, 77));
        assert!(Handle::<u8>::NONE.is_none());
    }

    #[test]
    fn generations_wrap_within_their_bits() {
        assert_eq!(next_generation(GENERATION_MASK), 0);
    }
}
