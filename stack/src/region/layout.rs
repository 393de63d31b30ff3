//! Where everything lies in the mapping.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"shuntreg");
/// Raised with every change of any structure in the region.
pub const LAYOUT_VERSION: u32 = 3;
pub(super) const PAGE: usize = 4096;

/// How many of each thing a region holds. Fixed at creation.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Sizes {
    pub shards: u32,
    pub processes: u32,
    pub wakers: u32,
    /// Bytes of a frame: 2048 or 4096.
    pub chunk_size: u32,
    /// Of each shard:
    pub frames: u32,
    pub connections: u32,
    pub requests: u32,
    pub time_waits: u32,
    pub listeners: u32,
    pub watches: u32,
    pub epolls: u32,
    pub references: u32,
    pub devices: u32,
    pub addresses: u32,
    pub routes: u32,
    pub neighbours: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self::for_memory(256 << 20)
    }
}

impl Sizes {
    /// A division of `memory` bytes: three quarters frames, the rest tables.
    pub fn for_memory(memory: usize) -> Self {
        let frames = (memory / 4 * 3 / 2048).clamp(256, 1 << 21) as u32;
        let sockets = (memory / 4 / 2048).clamp(64, 1 << 20) as u32;
        Self {
            shards: 1,
            processes: 1024,
            wakers: 4096,
            chunk_size: 2048,
            frames,
            connections: sockets,
            requests: sockets,
            time_waits: sockets,
            listeners: 1024,
            watches: sockets * 2,
            epolls: 1024,
            references: sockets * 2,
            devices: 16,
            addresses: 256,
            routes: 4096,
            neighbours: 4096,
        }
    }

    /// For tests: small enough that a thousand of them cost nothing.
    pub fn tiny() -> Self {
        Self {
            frames: 1024,
            connections: 64,
            requests: 64,
            time_waits: 64,
            listeners: 16,
            watches: 64,
            epolls: 16,
            references: 64,
            processes: 8,
            wakers: 16,
            devices: 4,
            addresses: 8,
            routes: 16,
            neighbours: 16,
            ..Self::for_memory(1 << 20)
        }
    }

    /// Whether the numbers can be those of a region: a header that was tampered with is refused.
    pub(super) fn are_sane(&self) -> bool {
        let counts = [
            self.frames,
            self.connections,
            self.requests,
            self.time_waits,
            self.listeners,
            self.watches,
            self.epolls,
            self.references,
            self.devices,
            self.addresses,
            self.routes,
            self.neighbours,
            self.processes,
            self.wakers,
        ];
        (1..=64).contains(&self.shards)
            && matches!(self.chunk_size, 2048 | 4096)
            && counts.iter().all(|&n| (2..=1 << 22).contains(&n))
    }

    /// Buckets of the connection table: a power of two, about one for each entry it may hold.
    pub(crate) fn flow_buckets(&self) -> usize {
        (self.connections as usize + self.requests as usize + self.time_waits as usize).next_power_of_two()
    }
}

/// The first bytes of a region.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Header {
    pub magic: u64,
    pub version: u32,
    pub pad: u32,
    pub bytes: u64,
    pub sizes: Sizes,
}

/// Gives out places one behind the other.
pub(super) struct Carver {
    at: usize,
}

impl Carver {
    pub(super) fn new() -> Self {
        Self { at: size_of::<Header>() }
    }

    /// The offset of `len` values of `T`.
    pub(super) fn take<T>(&mut self, len: usize) -> usize {
        self.at = self.at.next_multiple_of(align_of::<T>().max(64));
        let place = self.at;
        self.at += size_of::<T>() * len;
        place
    }

    /// The offset of `bytes` whole pages.
    pub(super) fn pages(&mut self, bytes: usize) -> usize {
        self.at = self.at.next_multiple_of(PAGE);
        let place = self.at;
        self.at += bytes.next_multiple_of(PAGE);
        place
    }

    pub(super) fn end(&self) -> usize {
        self.at.next_multiple_of(PAGE)
    }
}
