//! One AF_XDP ring: a producer index, a consumer index, a flag word and a power-of-two array of entries, in memory
//! shared with the kernel and with every other process that drives the same shard.
//!
//! Nothing of a ring is remembered outside it. Both indices are read from the ring for every operation, and a produced
//! entry is published at once: a copy kept here would be stale as soon as another process had the shard lock, and
//! doubled by a fork. All words are atomics, so a ring that somebody scribbles over gives wrong answers, not undefined
//! behaviour; an index that makes no sense is counted and the ring put back to "empty".

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A ring whose entries are `WORDS` 64-bit words: 1 in the fill and completion rings, 2 in the RX and TX rings.
pub(super) struct Ring<const WORDS: usize> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<AtomicU64>,
    size: u32,
    corrupted: AtomicU64,
    /// The memory that the pointers above point into; unmapped with the ring.
    _memory: Memory,
}

/// Where the parts of a ring lie in its memory, in bytes, as XDP_MMAP_OFFSETS says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) producer: usize,
    pub(super) consumer: usize,
    pub(super) flags: usize,
    pub(super) entries: usize,
}

/// The memory of a ring: a mapping that goes with it, or (in tests) plain memory of this process.
pub(super) struct Memory {
    base: NonNull<u8>,
    len: usize,
    release: fn(NonNull<u8>, usize),
}

impl Memory {
    /// # Safety
    /// `base..base + len` is readable, writable, 8-byte aligned, and stays so until `release` is called with it.
    pub(super) unsafe fn new(base: NonNull<u8>, len: usize, release: fn(NonNull<u8>, usize)) -> Memory {
        Memory { base, len, release }
    }

    /// A reference-sized place for a `T` at `offset`, if it lies inside and is aligned.
    fn place<T>(&self, offset: usize, count: usize) -> Option<NonNull<T>> {
        let bytes = size_of::<T>().checked_mul(count)?;
        let end = offset.checked_add(bytes)?;
        if end > self.len || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: offset is within the memory that `new` was promised.
        Some(unsafe { self.base.add(offset) }.cast())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        (self.release)(self.base, self.len);
    }
}

// SAFETY: the pointers lead to shared memory that lives as long as the ring, and are only used as atomics.
unsafe impl<const WORDS: usize> Send for Ring<WORDS> {}
// SAFETY: as above. Two threads producing or consuming at once lose entries (the shard lock prevents it), nothing else.
unsafe impl<const WORDS: usize> Sync for Ring<WORDS> {}

impl<const WORDS: usize> Ring<WORDS> {
    /// None when the layout does not fit the memory or the size is not a power of two.
    pub(super) fn new(memory: Memory, layout: Layout, size: u32) -> Option<Ring<WORDS>> {
        if !size.is_power_of_two() {
            return None;
        }
        Some(Ring {
            producer: memory.place(layout.producer, 1)?,
            consumer: memory.place(layout.consumer, 1)?,
            flags: memory.place(layout.flags, 1)?,
            entries: memory.place(layout.entries, WORDS.checked_mul(size as usize)?)?,
            size,
            corrupted: AtomicU64::new(0),
            _memory: memory,
        })
    }

    /// Entries that the other side has published and we have not taken. Reads two words and writes none.
    #[inline]
    pub(super) fn available(&self) -> u32 {
        // ORDERING: Acquire, so that the entries (and the frames they name) are read after the index that covers them.
        let waiting =
            self.producer().load(Ordering::Acquire).wrapping_sub(self.consumer().load(Ordering::Relaxed));
        if waiting <= self.size { waiting } else { 0 }
    }

    /// Room for entries that we produce.
    #[inline]
    pub(super) fn free(&self) -> u32 {
        self.size - self.unsent().min(self.size)
    }

    /// Entries that we produced and the other side has not taken yet.
    #[inline]
    pub(super) fn unsent(&self) -> u32 {
        // ORDERING: Acquire, so that a slot is overwritten after the other side has read it.
        let consumer = self.consumer().load(Ordering::Acquire);
        self.producer().load(Ordering::Relaxed).wrapping_sub(consumer)
    }

    /// Takes up to `max` entries. Each is taken off the ring before `each` sees it: a process that dies inside `each` loses one
    /// frame to the recovery, where the other order would hand the same frame out twice.
    #[inline]
    pub(super) fn consume(&self, max: u32, mut each: impl FnMut([u64; WORDS])) -> u32 {
        let mut consumer = self.consumer().load(Ordering::Relaxed);
        // ORDERING: Acquire pairs with the kernel's release of the producer index: the entries are read after it.
        let producer = self.producer().load(Ordering::Acquire);
        let waiting = producer.wrapping_sub(consumer);
        if waiting > self.size {
            self.restart(self.consumer(), producer);
            return 0;
        }
        let count = waiting.min(max);
        for _ in 0..count {
            let entry = self.read(consumer);
            consumer = consumer.wrapping_add(1);
            // ORDERING: Release, so that the kernel reuses the slot after we have read it.
            self.consumer().store(consumer, Ordering::Release);
            each(entry);
        }
        count
    }

    /// Looks at up to `max` entries without taking them: whoever dies before [`Ring::skip`] leaves them to the next.
    #[inline]
    pub(super) fn peek(&self, max: u32, mut each: impl FnMut([u64; WORDS])) -> u32 {
        let count = self.available().min(max);
        let consumer = self.consumer().load(Ordering::Relaxed);
        for step in 0..count {
            each(self.read(consumer.wrapping_add(step)));
        }
        count
    }

    /// Takes the `count` entries that [`Ring::peek`] showed.
    #[inline]
    pub(super) fn skip(&self, count: u32) {
        let consumer = self.consumer().load(Ordering::Relaxed);
        // ORDERING: Release, so that the kernel reuses the slots after we have read them.
        self.consumer().store(consumer.wrapping_add(count.min(self.available())), Ordering::Release);
    }

    /// The entry that was produced last, by whomever. Meaningless in a ring that never had one.
    pub(super) fn last_produced(&self) -> [u64; WORDS] {
        self.read(self.producer().load(Ordering::Relaxed).wrapping_sub(1))
    }

    /// Adds one entry and publishes it; false when the ring is full.
    #[inline]
    pub(super) fn produce(&self, entry: [u64; WORDS]) -> bool {
        let producer = self.producer().load(Ordering::Relaxed);
        // ORDERING: Acquire, so that the slot is written after the kernel has read what was in it.
        let consumer = self.consumer().load(Ordering::Acquire);
        let unsent = producer.wrapping_sub(consumer);
        if unsent >= self.size {
            if unsent > self.size {
                self.restart(self.producer(), consumer);
            }
            return false;
        }
        self.write(producer, entry);
        // ORDERING: Release, so that the kernel sees the entry (and the frame it names) before the index that covers it.
        self.producer().store(producer.wrapping_add(1), Ordering::Release);
        true
    }

    /// The kernel asks to be woken (XDP_RING_NEED_WAKEUP).
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        // ORDERING: the flag must be read after our producer index is visible, or a driver that goes to sleep in between
        // is never woken. Only a full fence orders a store before a load.
        core::sync::atomic::fence(Ordering::SeqCst);
        self.flags().load(Ordering::Relaxed) & NEED_WAKEUP != 0
    }

    /// How often this process found indices that cannot be.
    pub(super) fn corrupted(&self) -> u64 {
        self.corrupted.load(Ordering::Relaxed)
    }

    /// Makes the ring empty by moving our own index onto the other side's, which the kernel keeps a private copy of.
    #[cold]
    fn restart(&self, ours: &AtomicU32, theirs: u32) {
        self.corrupted.fetch_add(1, Ordering::Relaxed);
        // ORDERING: Release, as for every index that we publish.
        ours.store(theirs, Ordering::Release);
    }

    #[cfg(test)]
    pub(super) fn producer_for_test(&self) -> &AtomicU32 {
        self.producer()
    }

    fn read(&self, index: u32) -> [u64; WORDS] {
        core::array::from_fn(|word| self.word(index, word).load(Ordering::Relaxed))
    }

    fn write(&self, index: u32, entry: [u64; WORDS]) {
        for (word, value) in entry.into_iter().enumerate() {
            self.word(index, word).store(value, Ordering::Relaxed);
        }
    }

    #[inline]
    fn word(&self, index: u32, word: usize) -> &AtomicU64 {
        let slot = (index & (self.size - 1)) as usize;
        // SAFETY: slot < size and word < WORDS, and `new` checked that size * WORDS words lie in the memory.
        unsafe { self.entries.add(slot * WORDS + word).as_ref() }
    }

    #[inline]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: `new` checked that it lies in the memory, aligned; the memory lives as long as self.
        unsafe { self.producer.as_ref() }
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.consumer.as_ref() }
    }

    #[inline]
    fn flags(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.flags.as_ref() }
    }
}

const NEED_WAKEUP: u32 = 1;

#[cfg(test)]
mod tests;
