//! The process's table: descriptor number -> what it is. A lookup is one load.
//!
//! One word per descriptor in a private, lazily populated mapping that is sized once by the hard limit, so it never
//! moves and needs no lock. fork() copies it. Zero means "the kernel's", which also stands for every number that
//! the table does not reach: a descriptor we do not know is never anything but the kernel's.

use core::ops::Range;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use crate::kernel;

/// Where an accelerated socket is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) shard: u8,
    /// Made as AF_INET6: its addresses are shown as IPv4-mapped ones.
    pub(crate) ipv6: bool,
    pub(crate) handle: u32,
}

/// A TCP socket that has neither connected nor listened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Undecided {
    /// All duplicates of one description carry the same, by which the decision finds them.
    pub(crate) serial: u32,
    pub(crate) ipv6: bool,
    /// It was bound, so its shadow must be asked where to.
    pub(crate) is_bound: bool,
    /// setsockopt() was called on it, so its shadow must be asked for everything.
    pub(crate) has_options: bool,
    /// It has duplicates, or had.
    pub(crate) is_shared: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// A plain kernel descriptor, or none.
    Kernel,
    Undecided(Undecided),
    /// An accelerated connection.
    Connection(Place),
    /// Listens in the kernel and in the region.
    Listener(Place),
    /// An epoll instance; `epoll` knows it by this number.
    Epoll {
        instance: u32,
    },
    /// One of ours, which the program must neither see nor hit.
    Own {
        slot: u32,
    },
}

const UNDECIDED: u8 = 1;
const CONNECTION: u8 = 2;
const LISTENER: u8 = 3;
const EPOLL: u8 = 4;
const OWN: u8 = 5;

impl Entry {
    /// Kind, shard, flags, and a handle: bytes 7, 5, 4 and 3..0.
    fn encode(self) -> u64 {
        let place = |handle| Place { shard: 0, ipv6: false, handle };
        let (kind, place) = match self {
            Entry::Kernel => return 0,
            Entry::Undecided(u) => {
                let flags = u64::from(u.is_bound) << 33
                    | u64::from(u.has_options) << 34
                    | u64::from(u.is_shared) << 35;
                return flags | encode(UNDECIDED, Place { ipv6: u.ipv6, ..place(u.serial) });
            }
            Entry::Connection(place) => (CONNECTION, place),
            Entry::Listener(place) => (LISTENER, place),
            Entry::Epoll { instance } => (EPOLL, place(instance)),
            Entry::Own { slot } => (OWN, place(slot)),
        };
        encode(kind, place)
    }

    fn decode(word: u64) -> Entry {
        let place = Place { shard: (word >> 40) as u8, ipv6: word >> 32 & 1 != 0, handle: word as u32 };
        match (word >> 56) as u8 {
            UNDECIDED => Entry::Undecided(Undecided {
                serial: place.handle,
                ipv6: place.ipv6,
                is_bound: word >> 33 & 1 != 0,
                has_options: word >> 34 & 1 != 0,
                is_shared: word >> 35 & 1 != 0,
            }),
            CONNECTION => Entry::Connection(place),
            LISTENER => Entry::Listener(place),
            EPOLL => Entry::Epoll { instance: place.handle },
            OWN => Entry::Own { slot: place.handle },
            _ => Entry::Kernel,
        }
    }
}

fn encode(kind: u8, place: Place) -> u64 {
    let Place { shard, ipv6, handle } = place;
    u64::from(kind) << 56 | u64::from(shard) << 40 | u64::from(ipv6) << 32 | u64::from(handle)
}

static TABLE: AtomicPtr<AtomicU64> = AtomicPtr::new(core::ptr::null_mut());
static SIZE: AtomicUsize = AtomicUsize::new(0);
/// No entry at or above this number was ever set: walks end here. Ours, which sit high, count apart.
static USED: AtomicUsize = AtomicUsize::new(0);
static USED_BY_US: AtomicUsize = AtomicUsize::new(0);

/// More than the kernel's default ceiling (fs.nr_open); the mapping costs memory only where it is touched.
const LARGEST_TABLE: usize = 1 << 21;

/// Makes the table, if it is not there yet; before anything is entered.
pub(crate) fn create(hard_limit: u64) -> kernel::Outcome {
    if !TABLE.load(Ordering::Relaxed).is_null() {
        return Ok(await_size());
    }
    let size = usize::try_from(hard_limit).unwrap_or(LARGEST_TABLE).clamp(1024, LARGEST_TABLE);
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as usize;
    // SAFETY: a new anonymous mapping.
    let address = unsafe { kernel::call(libc::SYS_mmap, [0, size * 8, protection, flags, usize::MAX, 0]) }?;
    let (none, new) = (core::ptr::null_mut(), address as *mut AtomicU64);
    if TABLE.compare_exchange(none, new, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        // SAFETY: our own mapping, which nobody else knows.
        let _ = unsafe { kernel::call(libc::SYS_munmap, [address, size * 8]) };
        return Ok(await_size());
    }
    // ORDERING: whoever sees the size sees the address.
    SIZE.store(size, Ordering::Release);
    Ok(size)
}

/// Another thread is making the table: it has the size in a moment.
fn await_size() -> usize {
    loop {
        // ORDERING: as in `word`.
        match SIZE.load(Ordering::Acquire) {
            0 => core::hint::spin_loop(),
            size => return size,
        }
    }
}

#[inline(always)]
fn word(fd: i32) -> Option<&'static AtomicU64> {
    let index = fd as usize;
    // ORDERING: pairs with `create`. A negative number is a huge index.
    if index >= SIZE.load(Ordering::Acquire) {
        return None;
    }
    // SAFETY: inside the mapping, which is zeroed and never unmapped.
    Some(unsafe { &*TABLE.load(Ordering::Relaxed).add(index) })
}

#[inline(always)]
pub(crate) fn lookup(fd: i32) -> Entry {
    match word(fd) {
        // ORDERING: what the entry's handle names was prepared before it was entered.
        Some(word) => match word.load(Ordering::Acquire) {
            0 => Entry::Kernel,
            set => Entry::decode(set),
        },
        None => Entry::Kernel,
    }
}

/// Enters `entry` and returns what stood there. False numbers are ignored.
pub(crate) fn replace(fd: i32, entry: Entry) -> Entry {
    let Some(word) = word(fd) else { return Entry::Kernel };
    count_used(fd, entry);
    // ORDERING: publishes what the handle names, and takes over what another thread entered.
    Entry::decode(word.swap(entry.encode(), Ordering::AcqRel))
}

/// Changes `fd` from `old` to `new` only if it still is `old`: another thread may have closed it meanwhile.
pub(crate) fn exchange(fd: i32, old: Entry, new: Entry) -> bool {
    count_used(fd, new);
    // ORDERING: as `replace`.
    word(fd).is_some_and(|word| {
        word.compare_exchange(old.encode(), new.encode(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    })
}

fn count_used(fd: i32, entry: Entry) {
    if fd <= 2 && matches!(entry, Entry::Connection(_)) {
        crate::hooks::streams::stand_in(fd);
    }
    let used = match entry {
        Entry::Kernel => return,
        Entry::Own { .. } => &USED_BY_US,
        _ => &USED,
    };
    if used.load(Ordering::Relaxed) <= fd as usize {
        used.fetch_max(fd as usize + 1, Ordering::Relaxed);
    }
}

/// Whether an entry for `fd` could be kept at all.
pub(crate) fn reaches(fd: i32) -> bool {
    word(fd).is_some()
}

/// Every descriptor of `first..=last` that is not plainly the kernel's, ours included.
pub(crate) fn all_entries(first: u32, last: u32) -> impl Iterator<Item = (i32, Entry)> {
    let used = USED.load(Ordering::Relaxed).max(USED_BY_US.load(Ordering::Relaxed));
    set_in(first as usize..used.min(last as usize + 1))
}

/// Every descriptor of the program that is not plainly the kernel's.
pub(crate) fn entries() -> impl Iterator<Item = (i32, Entry)> {
    set_in(0..USED.load(Ordering::Relaxed)).filter(|(_, entry)| !matches!(entry, Entry::Own { .. }))
}

fn set_in(range: Range<usize>) -> impl Iterator<Item = (i32, Entry)> {
    range.filter_map(|index| {
        let fd = index as i32;
        Some((fd, lookup(fd))).filter(|(_, entry)| *entry != Entry::Kernel)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_being_a_word() {
        let flags = [false, true];
        for (ipv6, is_bound, has_options) in
            flags.iter().flat_map(|a| flags.iter().flat_map(move |b| flags.map(|c| (*a, *b, c))))
        {
            for handle in [0, 1, 0x1234_5678, u32::MAX] {
                let place = Place { shard: 63, ipv6, handle };
                let undecided =
                    Undecided { serial: handle, ipv6, is_bound, has_options, is_shared: !is_bound };
                let entries = [
                    Entry::Undecided(undecided),
                    Entry::Connection(place),
                    Entry::Listener(place),
                    Entry::Own { slot: handle },
                ];
                for entry in entries {
                    assert_eq!(Entry::decode(entry.encode()), entry);
                    assert_ne!(entry.encode(), 0, "0 is the kernel's");
                }
            }
        }
    }

    #[test]
    fn what_the_table_does_not_reach_is_the_kernels() {
        for fd in [-1, i32::MIN, i32::MAX] {
            assert_eq!(replace(fd, Entry::Own { slot: 1 }), Entry::Kernel);
            assert_eq!(lookup(fd), Entry::Kernel);
        }
    }
}
