//! Fixed pools of equal things, named by handles.

use super::handle::{Handle, next_generation};
use super::table::{One, Table};
use super::walk::{Damage, Walked};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Set in a slot's tag while the slot is in use; the bits below are its generation.
const USED: u16 = 1 << 15;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct SlabHead {
    /// How many entries of the free stack are valid.
    free: u32,
    /// Slots at and above this one were never used, so a big slab costs no memory before it is needed.
    fresh: u32,
}

/// Slot 0 is never given out: a handle of zero names nothing.
pub struct Slab<T> {
    head: One<SlabHead>,
    tags: Table<u16>,
    free: Table<u32>,
    items: Table<T>,
    damage: Damage,
}

impl<T: FromBytes + IntoBytes> Slab<T> {
    pub(crate) fn new(
        head: One<SlabHead>,
        tags: Table<u16>,
        free: Table<u32>,
        items: Table<T>,
        damage: Damage,
    ) -> Self {
        // With an item for each tag, who has found the tag need not ask again.
        let len = tags.len().min(items.len());
        Self { head, tags: tags.cut_to(len), free, items: items.cut_to(len), damage }
    }

    /// Makes a zeroed slab usable.
    pub(crate) fn format(&mut self) {
        *self.head = SlabHead { free: 0, fresh: 1 };
    }

    /// A zeroed item, or nothing when all are in use.
    pub fn alloc(&mut self) -> Option<Handle<T>> {
        self.take(T::zero)
    }

    /// Takes the item in; nothing when all places are in use.
    pub fn insert(&mut self, item: T) -> Option<Handle<T>> {
        self.take(|place| *place = item)
    }

    #[inline]
    fn take(&mut self, fill: impl FnOnce(&mut T)) -> Option<Handle<T>> {
        let index = self.take_free().or_else(|| self.take_fresh())?;
        let tag = self.tags.get_mut(index as usize)?;
        *tag |= USED;
        let generation = *tag & !USED;
        fill(self.items.get_mut(index as usize)?);
        Some(Handle::new(index, generation))
    }

    fn take_free(&mut self) -> Option<u32> {
        let top = self.head.free.checked_sub(1)?;
        let index = *self.free.get(top as usize)?;
        self.head.free = top;
        let sound = self.tags.get(index as usize).is_some_and(|tag| tag & USED == 0);
        (sound && index != 0).then_some(index)
    }

    fn take_fresh(&mut self) -> Option<u32> {
        let index = self.head.fresh;
        if index == 0 || index as usize >= self.items.len() {
            return None;
        }
        self.head.fresh = index + 1;
        Some(index)
    }

    /// Gives the slot back. A stale handle is ignored.
    pub fn free(&mut self, handle: Handle<T>) {
        if !self.is_live(handle) {
            return;
        }
        if let Some(tag) = self.tags.get_mut(handle.index() as usize) {
            *tag = next_generation(handle.generation());
        }
        self.push_free(handle.index());
    }

    fn push_free(&mut self, index: u32) {
        let top = self.head.free as usize;
        if let Some(entry) = self.free.get_mut(top) {
            *entry = index;
            self.head.free += 1;
        }
    }

    /// Slot 0 is never in use, so a handle of zero is not live.
    #[inline]
    pub fn is_live(&self, handle: Handle<T>) -> bool {
        self.tags.get(handle.index() as usize) == Some(&(handle.generation() | USED))
    }

    #[inline]
    pub fn get(&self, handle: Handle<T>) -> Option<&T> {
        // SAFETY: a tag has this index, and so has an item: `new` made the tables equally long.
        self.is_live(handle).then(|| unsafe { self.items.get_unchecked(handle.index() as usize) })
    }

    #[inline]
    pub fn get_mut(&mut self, handle: Handle<T>) -> Option<&mut T> {
        // SAFETY: as above.
        self.is_live(handle).then(|| unsafe { self.items.get_unchecked_mut(handle.index() as usize) })
    }

    /// The handle of the object in slot `index`, if there is one.
    #[inline]
    pub fn at(&self, index: u32) -> Option<Handle<T>> {
        let tag = *self.tags.get(index as usize)?;
        (tag & USED != 0 && index != 0).then(|| Handle::new(index, tag & !USED))
    }

    /// Item `index` whatever its generation: for lists, whose links are plain indices. To look at one, walk.
    #[inline]
    pub(crate) fn item_mut(&mut self, index: u32) -> Option<&mut T> {
        self.items.get_mut(index as usize)
    }

    pub fn capacity(&self) -> u32 {
        (self.items.len() as u32).saturating_sub(1)
    }

    /// One past the highest slot that was ever used.
    pub fn high_water(&self) -> u32 {
        self.head.fresh.min(self.items.len() as u32)
    }

    pub fn in_use(&self) -> u32 {
        self.high_water().saturating_sub(1).saturating_sub(self.head.free)
    }

    pub fn is_full(&self) -> bool {
        self.head.free == 0 && self.head.fresh as usize >= self.items.len()
    }

    /// All live handles. Linear in the slab: for recovery, checks and listings.
    pub fn live(&self) -> impl Iterator<Item = Handle<T>> + '_ {
        (1..self.high_water()).filter_map(|index| self.at(index))
    }

    /// Rebuilds the free stack from the tags, as after a death in the middle of a change.
    pub(crate) fn recover(&mut self) {
        self.head.fresh = self.head.fresh.clamp(1, self.items.len() as u32);
        self.head.free = 0;
        for index in (1..self.high_water()).rev() {
            if self.at(index).is_none() {
                self.push_free(index);
            }
        }
    }

    /// Every slot is either in use or on the free stack once.
    pub fn check(&self) -> bool {
        let free = self.head.free as usize;
        let Some(stack) = self.free.get(..free) else { return false };
        let unused = (1..self.high_water()).filter(|&index| self.at(index).is_none()).count();
        self.head.fresh >= 1
            && unused == free
            && stack.iter().all(|&index| index != 0 && index < self.high_water() && self.at(index).is_none())
    }
}

/// Along links that are plain indices, whatever the generation of what they name.
impl<T: FromBytes + IntoBytes> Walked for Slab<T> {
    type At = u32;
    type Item = T;

    #[inline]
    fn item_at(&self, index: u32) -> Option<&T> {
        if index == 0 { None } else { self.items.get(index as usize) }
    }

    fn most(&self) -> u32 {
        self.capacity()
    }

    #[inline]
    fn damage(&self) -> &Damage {
        &self.damage
    }
}
