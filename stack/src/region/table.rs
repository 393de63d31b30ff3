//! A slice of the mapping.

use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use zerocopy::{FromBytes, IntoBytes};

/// `len` values of `T` somewhere in the mapping, as a slice.
///
/// The bound is what makes a shared mapping bearable: every bit pattern is a valid `T`, so whatever another process
/// writes there is a wrong value at worst.
pub struct Table<T> {
    start: NonNull<T>,
    len: usize,
}

impl<T: FromBytes + IntoBytes> Table<T> {
    /// # Safety
    /// `start` is aligned and valid for reads and writes of `len` values for as long as the table lives, and nobody
    /// in this process makes another reference to them while the shard that the table belongs to is unlocked by it.
    pub(crate) unsafe fn new(start: NonNull<T>, len: usize) -> Self {
        Self { start, len }
    }

    /// Of this table the first `len` values, or all if they are fewer.
    pub(crate) fn cut_to(self, len: usize) -> Self {
        Self { len: len.min(self.len), ..self }
    }
}

impl<T> Deref for Table<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        #[cfg(test)]
        fuse::burn();
        // SAFETY: `new` was promised `len` valid values; every bit pattern is one.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        #[cfg(test)]
        fuse::burn();
        // SAFETY: as above, and `&mut self` makes this the process's only reference.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

// SAFETY: a table is reached only through the shard's lock, which admits one thread at a time.
unsafe impl<T: Send> Send for Table<T> {}

/// One value in the mapping.
pub struct One<T>(Table<T>);

impl<T: FromBytes + IntoBytes> One<T> {
    /// # Safety
    /// As for [`Table::new`], with a length of one.
    pub(crate) unsafe fn new(at: NonNull<T>) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { Table::new(at, 1) })
    }
}

impl<T> Deref for One<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: `new` was promised one valid value.
        unsafe { self.0.start.as_ref() }
    }
}

impl<T> DerefMut for One<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `&mut self` makes this the process's only reference.
        unsafe { self.0.start.as_mut() }
    }
}

/// How often a thread may yet look at tables: in tests, that tell so whether something ends, without a clock.
#[cfg(test)]
pub(crate) mod fuse {
    use core::cell::Cell;

    std::thread_local! {
        static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    }

    /// Lets the thread look so often, and no more.
    pub(crate) fn set(looks: u64) {
        LEFT.set(looks);
    }

    pub(super) fn burn() {
        let left = LEFT.get();
        assert!(left > 0, "this does not end");
        LEFT.set(left - 1);
    }
}
