//! The little memory that attaching takes, from mappings of our own.
//!
//! The program's malloc is not ours to call: it may be replaced by one that uses the calls we stand in for, and a hook may
//! run in a signal handler that interrupted it. Blocks come in powers of two and are kept for the next of their size.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::kernel;
use crate::signals::LockedSection;

struct Heap {
    lock: AtomicU32,
    /// Free blocks of each power of two; each holds the address of the next.
    free: [AtomicPtr<u8>; CLASSES],
    /// The unused rest of the last mapping.
    next: AtomicPtr<u8>,
    end: AtomicPtr<u8>,
}

/// Up to 1 MiB; what is larger has a mapping of its own.
const CLASSES: usize = 21;
const SMALLEST: u32 = 4;
const CHUNK: usize = 1 << 20;

#[cfg_attr(not(test), global_allocator)]
static HEAP: Heap = Heap {
    lock: AtomicU32::new(0),
    free: [const { AtomicPtr::new(null_mut()) }; CLASSES],
    next: AtomicPtr::new(null_mut()),
    end: AtomicPtr::new(null_mut()),
};

fn class_of(layout: &Layout) -> usize {
    let size = layout.size().max(layout.align()).max(1);
    (usize::BITS - (size - 1).leading_zeros()).max(SMALLEST) as usize
}

// SAFETY: blocks are distinct, at least as large as asked, and aligned to their size (a power of two that is no
// smaller than the alignment; mappings are page-aligned, alignments above a page are refused).
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > 4096 {
            return null_mut();
        }
        let class = class_of(&layout);
        let Some(free) = self.free.get(class) else { return map(layout.size()) };
        let _held = self.hold();
        let block = free.load(Ordering::Relaxed);
        if block.is_null() {
            return self.carve(1 << class);
        }
        // SAFETY: a free block holds the next one's address.
        free.store(unsafe { block.cast::<*mut u8>().read() }, Ordering::Relaxed);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let class = class_of(&layout);
        let Some(free) = self.free.get(class) else {
            // SAFETY: `alloc` mapped it, whole.
            let _ = unsafe { kernel::call(libc::SYS_munmap, [block as usize, layout.size()]) };
            return;
        };
        let _held = self.hold();
        // SAFETY: the block is free and at least 16 bytes long.
        unsafe { block.cast::<*mut u8>().write(free.load(Ordering::Relaxed)) };
        free.store(block, Ordering::Relaxed);
    }
}

impl Heap {
    fn hold(&self) -> Held<'_> {
        let section = LockedSection::enter();
        // ORDERING: sees what the last holder left.
        while self.lock.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            core::hint::spin_loop();
        }
        Held { lock: &self.lock, _section: section }
    }

    /// A new block; sizes differ, so each starts at a multiple of its own.
    fn carve(&self, size: usize) -> *mut u8 {
        let (next, end) = (self.next.load(Ordering::Relaxed), self.end.load(Ordering::Relaxed));
        let skip = next.align_offset(size.min(4096));
        if next.is_null() || (end as usize).saturating_sub(next as usize) < size.saturating_add(skip) {
            let chunk = map(CHUNK.max(size));
            if !chunk.is_null() {
                self.next.store(chunk.wrapping_add(size), Ordering::Relaxed);
                self.end.store(chunk.wrapping_add(CHUNK.max(size)), Ordering::Relaxed);
            }
            return chunk;
        }
        let block = next.wrapping_add(skip);
        self.next.store(block.wrapping_add(size), Ordering::Relaxed);
        block
    }
}

struct Held<'a> {
    lock: &'a AtomicU32,
    _section: LockedSection,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // ORDERING: pairs with `hold`.
        self.lock.store(0, Ordering::Release);
    }
}

fn map(size: usize) -> *mut u8 {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
    // SAFETY: a new anonymous mapping.
    match unsafe { kernel::call(libc::SYS_mmap, [0, size, protection, flags, usize::MAX, 0]) } {
        Ok(address) => address as *mut u8,
        Err(_) => null_mut(),
    }
}

/// Keeps other threads out of the heap while the process forks, so that the child finds it whole.
pub(crate) fn before_fork() {
    core::mem::forget(HEAP.hold());
}

/// In parent and child alike.
pub(crate) fn after_fork() {
    drop(Held { lock: &HEAP.lock, _section: LockedSection::entered() });
}
