//! Making a region, and mapping one that somebody else made.

use super::frames::Frames;
use super::gate::Gate;
use super::layout::{Carver, Header, LAYOUT_VERSION, MAGIC, PAGE, Sizes};
use super::slab::Slab;
use super::slots::{ProcessSlot, WakerSlot};
use super::table::{One, Table};
use super::walk::Damage;
use super::wheel::{SLOTS, Wheel};
use crate::ip::net::Net;
use crate::shard::{Outbox, Shard};
use alloc::sync::Arc;
use core::ptr::NonNull;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use zerocopy::{FromBytes, IntoBytes};

/// A mapped region. Clones share the mapping.
#[derive(Clone)]
pub struct Region {
    mapping: Arc<Mapping>,
    pub sizes: Sizes,
    places: Places,
}

/// Why a region cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    NotARegion,
    /// It was made by another version of shunt.
    OtherVersion(u32),
    /// Its header contradicts itself.
    Malformed,
    System(Errno),
}

impl From<Errno> for AttachError {
    fn from(e: Errno) -> Self {
        Self::System(e)
    }
}

struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is an address range; what lies in it is guarded by the gates.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the last owner goes; shards hold a clone, so nothing refers into the range.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Offsets of the parts that are not a shard's.
#[derive(Clone, Copy)]
struct Places {
    gates: usize,
    processes: usize,
    wakers: usize,
    first_shard: usize,
    shard_bytes: usize,
    frames: usize,
}

impl Places {
    fn of(sizes: &Sizes) -> Self {
        let mut carver = Carver::new();
        let gates = carver.take::<Gate>(sizes.shards as usize);
        let processes = carver.take::<ProcessSlot>(sizes.processes as usize);
        let wakers = carver.take::<WakerSlot>(sizes.wakers as usize);
        let mut measure = Carver::new();
        let start = measure.pages(0);
        let _ = ShardPlaces::carve(&mut measure, sizes);
        let shard_bytes = measure.end() - start;
        let first_shard = carver.pages(shard_bytes * sizes.shards as usize);
        let frames = carver.pages(Self::frame_bytes(sizes) * sizes.shards as usize);
        Self { gates, processes, wakers, first_shard, shard_bytes, frames }
    }

    fn frame_bytes(sizes: &Sizes) -> usize {
        sizes.frames as usize * sizes.chunk_size as usize
    }

    fn total(&self, sizes: &Sizes) -> usize {
        (self.frames + Self::frame_bytes(sizes) * sizes.shards as usize).next_multiple_of(PAGE)
    }
}

impl Region {
    /// A new region in a memfd, to be handed to other processes.
    pub fn create(sizes: Sizes, key: [u64; 2], now: u64) -> Result<(Self, OwnedFd), AttachError> {
        let places = Places::of(&sizes);
        let len = places.total(&sizes);
        let fd = memfd_create("shunt-region", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, len as u64)?;
        // A shrunk memfd would turn every access into SIGBUS.
        rustix::fs::fcntl_add_seals(&fd, rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW)?;
        let mut region = Self { mapping: map(&fd, len)?, sizes, places };
        region.format(key, now);
        Ok((region, fd))
    }

    /// A region of this process alone: for tests and simulations.
    pub fn private(sizes: Sizes, key: [u64; 2], now: u64) -> Result<Self, AttachError> {
        let places = Places::of(&sizes);
        let len = places.total(&sizes);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choice disturbs nothing.
        let base =
            unsafe { mmap_anonymous(core::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags) }?;
        let base = NonNull::new(base.cast()).ok_or(AttachError::Malformed)?;
        let mut region = Self { mapping: Arc::new(Mapping { base, len }), sizes, places };
        region.format(key, now);
        Ok(region)
    }

    /// The shard of a region of this process alone, owned outright: for simulations, which need no lock.
    pub fn private_shard(sizes: Sizes, key: [u64; 2], now: u64) -> Result<Shard, AttachError> {
        let region = Self::private(Sizes { shards: 1, ..sizes }, key, now)?;
        // SAFETY: nobody else has the region, so this is the only view of its shard.
        let mut shard = unsafe { region.shard(0) };
        shard.after.reserve(&region.sizes);
        Ok(shard)
    }

    /// Maps the region behind `fd`.
    pub fn attach(fd: impl AsFd) -> Result<Self, AttachError> {
        let len = usize::try_from(fstat(&fd)?.st_size).map_err(|_| AttachError::Malformed)?;
        if len < size_of::<Header>() {
            return Err(AttachError::NotARegion);
        }
        let mapping = map(&fd, len)?;
        // SAFETY: the mapping is at least a header long, and headers have no invalid values.
        let header = unsafe { mapping.base.cast::<Header>().read() };
        if header.magic != MAGIC {
            return Err(AttachError::NotARegion);
        }
        if header.version != LAYOUT_VERSION {
            return Err(AttachError::OtherVersion(header.version));
        }
        if !header.sizes.are_sane() {
            return Err(AttachError::Malformed);
        }
        let places = Places::of(&header.sizes);
        if places.total(&header.sizes) != len || header.bytes != len as u64 {
            return Err(AttachError::Malformed);
        }
        Ok(Self { mapping, sizes: header.sizes, places })
    }

    fn format(&mut self, key: [u64; 2], now: u64) {
        let bytes = self.mapping.len as u64;
        let header = Header { magic: MAGIC, version: LAYOUT_VERSION, pad: 0, bytes, sizes: self.sizes };
        // SAFETY: the mapping starts with a header, and nobody else has it yet.
        unsafe { self.mapping.base.cast::<Header>().write(header) };
        for index in 0..self.sizes.shards {
            // SAFETY: nobody else has the region yet.
            let mut shard = unsafe { self.shard(index) };
            shard.format(key, now);
        }
    }

    /// What another process may write over in the first shard: its tables, word by word. Nobody may have a reference into
    /// the shard while he writes.
    #[cfg(test)]
    pub(crate) fn words(&self) -> &[core::sync::atomic::AtomicU32] {
        let words = self.places.shard_bytes / size_of::<u32>();
        // SAFETY: within the mapping, aligned to a page, and every word is a valid atomic; the lifetime is that of `self`.
        unsafe {
            core::slice::from_raw_parts(self.mapping.base.add(self.places.first_shard).cast().as_ptr(), words)
        }
    }

    pub fn bytes(&self) -> usize {
        self.mapping.len
    }

    /// The range that is to be registered as UMEM for shard `index`, and its chunks' size.
    pub fn umem(&self, index: u32) -> (NonNull<u8>, usize) {
        let len = Places::frame_bytes(&self.sizes);
        // SAFETY: within the mapping for every shard, as `total` counts them.
        let start = unsafe {
            self.mapping.base.add(self.places.frames + len * (index.min(self.sizes.shards - 1)) as usize)
        };
        (start, len)
    }

    pub fn gate(&self, index: u32) -> Option<&Gate> {
        // SAFETY: gates are atomics, for which all bytes are valid, and are only ever shared.
        unsafe { self.shared::<Gate>(self.places.gates, self.sizes.shards) }.get(index as usize)
    }

    pub fn processes(&self) -> &[ProcessSlot] {
        // SAFETY: as for the gates.
        unsafe { self.shared(self.places.processes, self.sizes.processes) }
    }

    pub fn wakers(&self) -> &[WakerSlot] {
        // SAFETY: as for the gates.
        unsafe { self.shared(self.places.wakers, self.sizes.wakers) }
    }

    /// # Safety
    /// `offset` was carved for `len` values of `T`, and `T` consists of atomics.
    unsafe fn shared<T>(&self, offset: usize, len: u32) -> &[T] {
        // SAFETY: the caller's promise; the mapping lives as long as `self`.
        unsafe { core::slice::from_raw_parts(self.mapping.base.add(offset).cast().as_ptr(), len as usize) }
    }

    /// Views shard `index`.
    ///
    /// # Safety
    /// A process makes one view of each shard, and uses it only while it holds the shard's gate.
    pub(crate) unsafe fn shard(&self, index: u32) -> Shard {
        let mut carver = Carver::new();
        let start = carver.pages(0);
        let p = ShardPlaces::carve(&mut carver, &self.sizes);
        let base = self.places.first_shard + self.places.shard_bytes * index as usize - start;
        let view = View { region: self, base };
        let s = &self.sizes;
        let damage = Damage::default();
        // SAFETY: each place was carved for just what is taken there, and the caller keeps the view exclusive.
        unsafe {
            Shard {
                head: view.one(p.head),
                frames: Frames::new(
                    view.one(p.frames_head),
                    view.table(p.frames_free, s.frames as usize),
                    view.table(p.frames_meta, s.frames as usize),
                    self.umem(index).0,
                    s.chunk_size,
                    damage.clone(),
                ),
                outbox: Outbox::new(view.table(p.outbox, (s.frames as usize).next_power_of_two())),
                connections: view.slab(p.connections, s.connections, &damage),
                requests: view.slab(p.requests, s.requests, &damage),
                time_waits: view.slab(p.time_waits, s.time_waits, &damage),
                listeners: view.slab(p.listeners, s.listeners, &damage),
                watches: view.slab(p.watches, s.watches, &damage),
                epolls: view.slab(p.epolls, s.epolls, &damage),
                references: view.slab(p.references, s.references, &damage),
                held_by: view.table(p.held_by, s.processes as usize),
                flows: view.table(p.flows, s.flow_buckets()),
                ports: view.table(p.ports, crate::shard::LISTEN_BUCKETS),
                wheel: Wheel::new(
                    view.one(p.wheel_head),
                    view.table(p.wheel_slots, SLOTS),
                    s.flow_buckets() as u32,
                    damage.clone(),
                ),
                net: Net::new(
                    view.one(p.net_head),
                    view.table(p.devices, s.devices as usize),
                    view.table(p.addresses, s.addresses as usize),
                    view.table(p.routes, s.routes as usize),
                    view.table(p.neighbours, s.neighbours as usize),
                    view.table(p.taken_ports, 65536 / 64),
                ),
                counters: view.one(p.counters),
                after: crate::shard::After::default(),
                damage,
                index,
                region: self.clone(),
            }
        }
    }
}

fn map(fd: impl AsFd, len: usize) -> Result<Arc<Mapping>, AttachError> {
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice disturbs nothing.
    let base = unsafe { mmap(core::ptr::null_mut(), len, prot, MapFlags::SHARED, fd, 0) }?;
    let base = NonNull::new(base.cast()).ok_or(AttachError::Malformed)?;
    Ok(Arc::new(Mapping { base, len }))
}

/// Offsets of a shard's parts.
struct ShardPlaces {
    head: usize,
    counters: usize,
    frames_head: usize,
    frames_free: usize,
    frames_meta: usize,
    outbox: usize,
    connections: SlabPlaces,
    requests: SlabPlaces,
    time_waits: SlabPlaces,
    listeners: SlabPlaces,
    watches: SlabPlaces,
    epolls: SlabPlaces,
    references: SlabPlaces,
    held_by: usize,
    flows: usize,
    ports: usize,
    wheel_head: usize,
    wheel_slots: usize,
    net_head: usize,
    devices: usize,
    addresses: usize,
    routes: usize,
    neighbours: usize,
    taken_ports: usize,
}

struct SlabPlaces {
    head: usize,
    tags: usize,
    free: usize,
    items: usize,
}

impl SlabPlaces {
    fn carve<T>(carver: &mut Carver, len: u32) -> Self {
        let len = len as usize;
        Self {
            head: carver.take::<super::slab::SlabHead>(1),
            tags: carver.take::<u16>(len),
            free: carver.take::<u32>(len),
            items: carver.take::<T>(len),
        }
    }
}

impl ShardPlaces {
    fn carve(carver: &mut Carver, s: &Sizes) -> Self {
        Self {
            head: carver.take::<crate::shard::ShardHead>(1),
            counters: carver.take::<crate::shard::Counters>(1),
            frames_head: carver.take::<super::frames::FramesHead>(1),
            frames_free: carver.take::<u32>(s.frames as usize),
            frames_meta: carver.take::<super::frames::FrameMeta>(s.frames as usize),
            outbox: carver.take::<u32>((s.frames as usize).next_power_of_two()),
            connections: SlabPlaces::carve::<crate::tcp::Connection>(carver, s.connections),
            requests: SlabPlaces::carve::<crate::tcp::Request>(carver, s.requests),
            time_waits: SlabPlaces::carve::<crate::tcp::TimeWait>(carver, s.time_waits),
            listeners: SlabPlaces::carve::<crate::tcp::Listener>(carver, s.listeners),
            watches: SlabPlaces::carve::<crate::wait::Watch>(carver, s.watches),
            epolls: SlabPlaces::carve::<crate::wait::Epoll>(carver, s.epolls),
            references: SlabPlaces::carve::<crate::socket::Reference>(carver, s.references),
            held_by: carver.take::<super::List>(s.processes as usize),
            flows: carver.take::<u32>(s.flow_buckets()),
            ports: carver.take::<u32>(crate::shard::LISTEN_BUCKETS),
            wheel_head: carver.take::<super::wheel::WheelHead>(1),
            wheel_slots: carver.take::<u32>(SLOTS),
            net_head: carver.take::<crate::ip::net::NetHead>(1),
            devices: carver.take::<crate::ip::net::Device>(s.devices as usize),
            addresses: carver.take::<crate::ip::net::LocalAddress>(s.addresses as usize),
            routes: carver.take::<crate::ip::net::Route>(s.routes as usize),
            neighbours: carver.take::<crate::ip::net::Neighbour>(s.neighbours as usize),
            taken_ports: carver.take::<u64>(65536 / 64),
        }
    }
}

struct View<'a> {
    region: &'a Region,
    base: usize,
}

impl View<'_> {
    /// # Safety
    /// `place` was carved for a `T` in this shard, and the caller keeps the view exclusive.
    unsafe fn one<T: FromBytes + IntoBytes>(&self, place: usize) -> One<T> {
        // SAFETY: the caller's promise.
        unsafe { One::new(self.region.mapping.base.add(self.base + place).cast()) }
    }

    /// # Safety
    /// As for `one`, with `len` of them.
    unsafe fn table<T: FromBytes + IntoBytes>(&self, place: usize, len: usize) -> Table<T> {
        // SAFETY: the caller's promise.
        unsafe { Table::new(self.region.mapping.base.add(self.base + place).cast(), len) }
    }

    /// # Safety
    /// As for `one`.
    unsafe fn slab<T: FromBytes + IntoBytes>(&self, p: SlabPlaces, len: u32, damage: &Damage) -> Slab<T> {
        let len = len as usize;
        // SAFETY: the caller's promise.
        unsafe {
            Slab::new(
                self.one(p.head),
                self.table(p.tags, len),
                self.table(p.free, len),
                self.table(p.items, len),
                damage.clone(),
            )
        }
    }
}

#[cfg(test)]
mod tests;
