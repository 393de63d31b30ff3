use super::*;

const SIZE: u32 = 8;
const LAYOUT: Layout = Layout { producer: 0, consumer: 64, flags: 128, entries: 192 };
const BYTES: usize = LAYOUT.entries + SIZE as usize * 16;

/// Plain memory that both ends of a ring are laid over: ours, and the one that plays the kernel.
fn memory() -> Memory {
    let words = vec![0u64; BYTES / 8].into_boxed_slice();
    let base = NonNull::new(Box::into_raw(words).cast::<u8>()).expect("a box is not null");
    // SAFETY: a fresh box of BYTES bytes, 8-byte aligned, given back by `release` alone.
    unsafe { Memory::new(base, BYTES, release) }
}

fn release(base: NonNull<u8>, len: usize) {
    let words = core::ptr::slice_from_raw_parts_mut(base.as_ptr().cast::<u64>(), len / 8);
    // SAFETY: the box that `memory` made of the same length.
    drop(unsafe { Box::from_raw(words) });
}

fn ring<const WORDS: usize>() -> Ring<WORDS> {
    Ring::new(memory(), LAYOUT, SIZE).expect("the layout fits")
}

fn take<const WORDS: usize>(ring: &Ring<WORDS>, max: u32) -> Vec<[u64; WORDS]> {
    let mut taken = Vec::new();
    ring.consume(max, |entry| taken.push(entry));
    taken
}

#[test]
fn entries_come_out_in_the_order_they_went_in() {
    let ring = ring::<2>();
    for i in 0..5 {
        assert!(ring.produce([i, i + 100]));
    }
    assert_eq!(ring.available(), 5);
    assert_eq!(take(&ring, 2), [[0, 100], [1, 101]]);
    assert_eq!(take(&ring, 99), [[2, 102], [3, 103], [4, 104]]);
    assert_eq!(ring.available(), 0);
    assert!(take(&ring, 99).is_empty());
}

#[test]
fn a_full_ring_refuses_and_keeps_what_it_has() {
    let ring = ring::<1>();
    for i in 0..u64::from(SIZE) {
        assert!(ring.produce([i]));
    }
    assert_eq!((ring.free(), ring.unsent()), (0, SIZE));
    assert!(!ring.produce([99]));
    assert_eq!(take(&ring, 1), [[0]]);
    assert!(ring.produce([8]));
    assert_eq!(take(&ring, 99).last(), Some(&[8]));
    assert_eq!(ring.corrupted(), 0, "full is not corrupted");
}

#[test]
fn indices_wrap_around_32_bits() {
    let ring = ring::<1>();
    ring.producer().store(u32::MAX - 1, Ordering::Relaxed);
    ring.consumer().store(u32::MAX - 1, Ordering::Relaxed);
    for i in 0..4 {
        assert!(ring.produce([i]));
    }
    assert_eq!(ring.available(), 4);
    assert_eq!(take(&ring, 9), [[0], [1], [2], [3]]);
    assert_eq!(ring.consumer().load(Ordering::Relaxed), 2);
    assert_eq!(ring.corrupted(), 0);
}

#[test]
fn an_entry_leaves_the_ring_before_it_is_looked_at() {
    let ring = ring::<1>();
    assert!(ring.produce([7]) && ring.produce([8]));
    let mut left = Vec::new();
    ring.consume(9, |_| left.push(ring.available()));
    assert_eq!(left, [1, 0]);
}

#[test]
fn a_corrupted_producer_empties_the_ring_and_is_counted() {
    let ring = ring::<1>();
    for producer in [SIZE + 1, 0x8000_0000, u32::MAX] {
        ring.consumer().store(0, Ordering::Relaxed);
        ring.producer().store(producer, Ordering::Relaxed);
        assert_eq!(ring.available(), 0);
        assert!(take(&ring, 99).is_empty());
        assert_eq!(ring.consumer().load(Ordering::Relaxed), producer, "we go on from where the kernel is");
    }
    assert_eq!(ring.corrupted(), 3);
    assert!(ring.produce([1]));
    assert_eq!(take(&ring, 99), [[1]]);
}

#[test]
fn a_corrupted_consumer_loses_what_was_unsent_and_is_counted() {
    let ring = ring::<1>();
    ring.consumer().store(5, Ordering::Relaxed);
    assert_eq!(ring.free(), 0, "an impossible index is no room");
    assert!(!ring.produce([1]));
    assert_eq!(ring.corrupted(), 1);
    assert_eq!(ring.free(), SIZE);
    assert!(ring.produce([2]));
    assert_eq!(take(&ring, 99), [[2]]);
}

#[test]
fn two_users_of_one_ring_need_nothing_but_the_ring() {
    let one = ring::<1>();
    let other_memory = {
        let (base, len) = (one._memory.base, one._memory.len);
        // SAFETY: the same memory; `one` outlives it below and is the one that releases it.
        unsafe { Memory::new(base, len, |_, _| ()) }
    };
    let other = Ring::<1>::new(other_memory, LAYOUT, SIZE).expect("the layout fits");
    assert!(one.produce([1]));
    assert!(other.produce([2]));
    assert!(one.produce([3]));
    assert_eq!(take(&other, 1), [[1]]);
    assert_eq!(take(&one, 9), [[2], [3]]);
    assert_eq!((one.available(), other.available()), (0, 0));
}

#[test]
fn the_wakeup_flag_is_read_from_the_ring() {
    let ring = ring::<1>();
    assert!(!ring.needs_wakeup());
    ring.flags().store(NEED_WAKEUP, Ordering::Relaxed);
    assert!(ring.needs_wakeup());
}

#[test]
fn a_layout_that_does_not_fit_is_refused() {
    assert!(Ring::<2>::new(memory(), LAYOUT, SIZE * 2).is_none(), "entries past the end");
    assert!(Ring::<2>::new(memory(), LAYOUT, 6).is_none(), "not a power of two");
    assert!(
        Ring::<2>::new(memory(), Layout { flags: BYTES, ..LAYOUT }, SIZE).is_none(),
        "flags past the end"
    );
    assert!(Ring::<2>::new(memory(), Layout { producer: 2, ..LAYOUT }, SIZE).is_none(), "not aligned");
    assert!(
        Ring::<2>::new(memory(), Layout { entries: usize::MAX - 7, ..LAYOUT }, SIZE).is_none(),
        "overflow"
    );
}
