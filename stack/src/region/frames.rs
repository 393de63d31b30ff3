//! The frame pool: UMEM chunks and who owns each.

use super::list::{Link, Links};
use super::settle;
use super::table::{One, Table};
use super::walk::{Damage, Walked};
use core::ptr::NonNull;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Payload of a frame that we fill starts here: room for Ethernet, IP and TCP with all their options.
pub const HEADROOM: u16 = 128;
/// One frame in this many is kept for ACKs and retransmissions when data has taken all others.
const RESERVE_SHIFT: u32 = 5;

/// A chunk of the UMEM: its index, 0 for none.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct FrameId(pub u32);

impl FrameId {
    pub const NONE: Self = Self(0);

    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    pub fn some(self) -> Option<Self> {
        (self.0 != 0).then_some(self)
    }
}

/// Whose a frame is. A frame is in exactly one of these at any time.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Tenure(pub u8);

impl Tenure {
    pub const FREE: Self = Self(0);
    /// On a fill ring: the kernel may write into it at any moment.
    pub const FILL: Self = Self(1);
    /// In the hands of the code that runs right now.
    pub const HELD: Self = Self(2);
    /// On a connection's queue of bytes that the program has not read.
    pub const RECEIVED: Self = Self(3);
    /// On a connection's queue of segments beyond a hole.
    pub const OUT_OF_ORDER: Self = Self(4);
    /// On a connection's queue of bytes that the peer has not acknowledged.
    pub const SENDING: Self = Self(5);
    /// Nobody's any more; free as soon as the card has let go of it.
    pub const PARTING: Self = Self(6);

    /// Whether somebody can be done with the frame.
    fn has_owner(self) -> bool {
        !matches!(self, Self::FREE | Self::FILL | Self::PARTING)
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug)]
#[repr(C, align(64))]
pub struct FrameMeta {
    /// Place in the queue of the connection that owns the frame.
    pub link: Link,
    /// Raw handle of the connection that owns the frame.
    pub owner: u32,
    pub tenure: Tenure,
    /// 1 while the frame is in the outbox or on a TX ring: then its bytes must not change.
    pub in_flight: u8,
    /// Which link it came from or leaves by.
    pub via: u8,
    /// What the TCP room notes about the segment.
    pub flags: u8,
    /// The packet in the chunk, from its Ethernet header.
    pub start: u16,
    pub len: u16,
    /// The part of the payload that is still of interest.
    pub payload: u16,
    pub payload_len: u16,
    /// First sequence number of `payload`.
    pub seq: u32,
    /// One's complement sum of the payload, not folded in with any header. Of a frame at the end of a run beyond a
    /// hole: the frame at the other end of it.
    pub sum: u32,
    /// When it was last sent, in nanoseconds.
    pub sent_at: u64,
    pub transmissions: u32,
    /// Place among the connection's outstanding frames in the order of their last transmission.
    pub order: Link,
    /// What the connection's delivery count and its clock were when the frame was last sent, in bytes and in
    /// microseconds; and when the first frame of that flight had been sent.
    pub delivered: u32,
    pub delivered_at: u32,
    pub first_sent_at: u32,
}

impl FrameMeta {
    /// From now on the frame is in a queue of the connection `owner`: `len` bytes at `payload` of its chunk, from sequence
    /// number `seq` on. After a death a frame is taken at its word, so the tenure comes last.
    #[inline]
    pub fn give_to(&mut self, owner: u32, tenure: Tenure, seq: u32, payload: u16, len: u16) {
        (self.owner, self.seq) = (owner, seq);
        (self.payload, self.payload_len) = (payload, len);
        settle();
        self.tenure = tenure;
    }

    /// The first bytes of the payload are of no interest any more. After a death on the way the frame ends at another
    /// place than before, which is seen.
    pub fn cut_front(&mut self, bytes: u16) {
        self.seq = self.seq.wrapping_add(u32::from(bytes));
        settle();
        self.payload = self.payload.wrapping_add(bytes);
        settle();
        self.payload_len = self.payload_len.saturating_sub(bytes);
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct FramesHead {
    free: u32,
    fresh: u32,
    /// Frames on fill rings, to know what the pool really has.
    pub on_fill_rings: u32,
    /// The frame that was lent to a fill ring last, for the case of a death on the way there.
    last_lent: FrameId,
}

/// For whom a frame is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Bytes of a program; leaves the reserve alone.
    Data,
    /// ACKs, RSTs, SYNs, the fill ring: what keeps connections moving.
    Control,
}

pub struct Frames {
    head: One<FramesHead>,
    free: Table<u32>,
    meta: Table<FrameMeta>,
    chunks: NonNull<u8>,
    /// The size of a chunk is a power of two: this one.
    chunk_shift: u32,
    /// When so many frames are taken, only the reserve is left.
    ceiling: u32,
    damage: Damage,
}

impl Frames {
    /// # Safety
    /// `chunks` is valid for `meta.len() * chunk_size` bytes for as long as the pool lives. What is not a power of two of
    /// `chunk_size`, which is not 0, is not used.
    pub(crate) unsafe fn new(
        head: One<FramesHead>,
        free: Table<u32>,
        meta: Table<FrameMeta>,
        chunks: NonNull<u8>,
        chunk_size: u32,
        damage: Damage,
    ) -> Self {
        let chunk_shift = chunk_size.trailing_zeros().min(u16::BITS - 1);
        let len = meta.len() as u32;
        let ceiling = len.saturating_sub(len.saturating_sub(1) >> RESERVE_SHIFT);
        Self { head, free, meta, chunks, chunk_shift, ceiling, damage }
    }

    pub(crate) fn format(&mut self) {
        *self.head = FramesHead { free: 0, fresh: 1, on_fill_rings: 0, last_lent: FrameId::NONE };
    }

    pub fn total(&self) -> u32 {
        (self.meta.len() as u32).saturating_sub(1)
    }

    pub fn available(&self) -> u32 {
        self.head.free.saturating_add((self.meta.len() as u32).saturating_sub(self.head.fresh))
    }

    pub fn on_fill_rings(&self) -> u32 {
        self.head.on_fill_rings
    }

    /// Little is left: windows must not grow any more.
    pub fn is_scarce(&self) -> bool {
        self.available() < self.total() / 4
    }

    /// Only the reserve is left: what it holds must keep moving.
    #[inline]
    pub fn is_exhausted(&self) -> bool {
        // Frame 0 counts as taken: it is never given out.
        self.head.fresh.wrapping_sub(self.head.free) >= self.ceiling
    }

    /// A frame in `HELD`, its metadata blank.
    #[inline]
    pub fn alloc(&mut self, purpose: Purpose) -> Option<FrameId> {
        if purpose == Purpose::Data && self.is_exhausted() {
            return None;
        }
        let index = self.take_any()?;
        let meta = self.meta.get_mut(index as usize)?;
        *meta = FrameMeta { tenure: Tenure::HELD, ..FrameMeta::default() };
        Some(FrameId(index))
    }

    #[inline]
    fn take_any(&mut self) -> Option<u32> {
        self.take_free().or_else(|| self.take_fresh())
    }

    #[inline]
    fn take_free(&mut self) -> Option<u32> {
        let top = self.head.free.checked_sub(1)?;
        let index = *self.free.get(top as usize)?;
        self.head.free = top;
        let sound = self.meta.get(index as usize).is_some_and(|m| m.tenure == Tenure::FREE);
        (sound && index != 0).then_some(index)
    }

    #[cold]
    fn take_fresh(&mut self) -> Option<u32> {
        let index = self.head.fresh;
        if index == 0 || index as usize >= self.meta.len() {
            return None;
        }
        self.head.fresh = index + 1;
        Some(index)
    }

    /// The owner is done with the frame. If the card still has it, it is freed by [`Frames::completed`].
    #[inline]
    pub fn release(&mut self, id: FrameId) {
        let Some(meta) = self.meta_mut(id) else { return };
        if !meta.tenure.has_owner() {
            return;
        }
        if meta.in_flight == 0 {
            meta.tenure = Tenure::FREE;
            self.push_free(id);
        } else {
            meta.tenure = Tenure::PARTING;
        }
    }

    /// The card is done with the frame.
    #[inline]
    pub fn completed(&mut self, id: FrameId) {
        let Some(meta) = self.meta_mut(id) else { return };
        meta.in_flight = 0;
        if meta.tenure == Tenure::PARTING {
            meta.tenure = Tenure::FREE;
            self.push_free(id);
        }
    }

    fn put_back(&mut self, id: FrameId) {
        if let Some(meta) = self.meta.get_mut(id.0 as usize) {
            meta.tenure = Tenure::FREE;
        }
        self.push_free(id);
    }

    #[inline]
    fn push_free(&mut self, id: FrameId) {
        if let Some(entry) = self.free.get_mut(self.head.free as usize) {
            *entry = id.0;
            self.head.free += 1;
        }
    }

    /// Lends a free frame to a fill ring; the address to write there.
    #[inline]
    pub fn lend_to_fill_ring(&mut self) -> Option<u64> {
        let id = FrameId(self.take_any()?);
        self.head.last_lent = id;
        // The rest of its metadata is made anew when it comes back.
        let meta = self.meta_mut(id)?;
        (meta.tenure, meta.in_flight) = (Tenure::FILL, 0);
        self.head.on_fill_rings = self.head.on_fill_rings.wrapping_add(1);
        Some(u64::from(id.0) << self.chunk_shift)
    }

    pub fn last_lent(&self) -> FrameId {
        self.head.last_lent
    }

    /// The fill ring did not take the frame after all.
    pub fn take_back_unfilled(&mut self, id: FrameId) {
        if self.meta(id).is_some_and(|m| m.tenure == Tenure::FILL) {
            self.head.on_fill_rings = self.head.on_fill_rings.saturating_sub(1);
            self.put_back(id);
        }
    }

    /// The kernel has put a packet of `len` bytes at `addr`. An address that was not lent is refused.
    #[inline]
    pub fn take_received(&mut self, addr: u64, len: u32, via: u8) -> Option<FrameId> {
        let size = 1u64 << self.chunk_shift;
        let (index, start) = (addr >> self.chunk_shift, addr & (size - 1));
        let id = FrameId(u32::try_from(index).ok()?);
        let meta = self.meta_mut(id)?;
        if meta.tenure != Tenure::FILL {
            return None;
        }
        let fits = start + u64::from(len) <= size;
        let len = if fits { len as u16 } else { 0 };
        *meta = FrameMeta { tenure: Tenure::HELD, via, start: start as u16, len, ..FrameMeta::default() };
        self.head.on_fill_rings = self.head.on_fill_rings.saturating_sub(1);
        Some(id)
    }

    /// Where the card finds the packet of this frame: address and length.
    #[inline]
    pub fn descriptor(&self, id: FrameId) -> Option<(u64, u32)> {
        let meta = self.meta(id)?;
        let addr = (u64::from(id.0) << self.chunk_shift) + u64::from(meta.start);
        let fits = u32::from(meta.start) + u32::from(meta.len) <= self.chunk_size();
        fits.then_some((addr, u32::from(meta.len)))
    }

    /// The frame that holds address `addr` of the UMEM.
    #[inline]
    pub fn at_address(&self, addr: u64) -> FrameId {
        FrameId(u32::try_from(addr >> self.chunk_shift).unwrap_or(0))
    }

    #[inline]
    pub fn chunk_size(&self) -> u32 {
        1 << self.chunk_shift
    }

    #[inline]
    pub fn meta(&self, id: FrameId) -> Option<&FrameMeta> {
        if id.is_none() { None } else { self.meta.get(id.0 as usize) }
    }

    #[inline]
    pub fn meta_mut(&mut self, id: FrameId) -> Option<&mut FrameMeta> {
        if id.is_none() { None } else { self.meta.get_mut(id.0 as usize) }
    }

    /// Both at once.
    #[inline]
    pub fn meta_and_chunk(&mut self, id: FrameId) -> Option<(&mut FrameMeta, &mut [u8])> {
        let size = 1usize << self.chunk_shift;
        let meta = if id.is_none() { None } else { self.meta.get_mut(id.0 as usize) }?;
        // SAFETY: as in `chunk_mut`: there is a chunk for each metadata entry, and they lie in different places.
        let chunk =
            unsafe { core::slice::from_raw_parts_mut(self.chunks.as_ptr().add(id.0 as usize * size), size) };
        Some((meta, chunk))
    }

    /// The whole chunk; empty for a handle that names none.
    #[inline]
    pub fn chunk(&self, id: FrameId) -> &[u8] {
        if id.0 as usize >= self.meta.len() {
            return &[];
        }
        let size = 1usize << self.chunk_shift;
        // SAFETY: `new` was promised a chunk for every metadata entry. The kernel writes only into frames on a
        // fill ring, and bytes have no invalid values.
        unsafe { core::slice::from_raw_parts(self.chunks.as_ptr().add(id.0 as usize * size), size) }
    }

    #[inline]
    pub fn chunk_mut(&mut self, id: FrameId) -> &mut [u8] {
        if id.0 as usize >= self.meta.len() {
            return &mut [];
        }
        let size = 1usize << self.chunk_shift;
        // SAFETY: as above, and `&mut self` makes this the process's only reference.
        unsafe { core::slice::from_raw_parts_mut(self.chunks.as_ptr().add(id.0 as usize * size), size) }
    }

    /// The packet, from its Ethernet header; empty if the metadata makes no sense.
    #[inline]
    pub fn packet(&self, id: FrameId) -> &[u8] {
        self.meta(id).and_then(|m| span(self.chunk(id), m.start, m.len)).unwrap_or(&[])
    }

    #[inline]
    pub fn packet_mut(&mut self, id: FrameId) -> &mut [u8] {
        let Some((start, len)) = self.meta(id).map(|m| (m.start, m.len)) else { return &mut [] };
        span_mut(self.chunk_mut(id), start, len)
    }

    /// The part of the payload that is still of interest.
    #[inline]
    pub fn payload(&self, id: FrameId) -> &[u8] {
        self.meta(id).and_then(|m| span(self.chunk(id), m.payload, m.payload_len)).unwrap_or(&[])
    }

    #[inline]
    pub fn payload_mut(&mut self, id: FrameId) -> &mut [u8] {
        let Some((start, len)) = self.meta(id).map(|m| (m.payload, m.payload_len)) else { return &mut [] };
        span_mut(self.chunk_mut(id), start, len)
    }

    /// Copies the packet of `from` into the chunk of `to` at `start`; the bytes copied.
    pub fn copy_packet(&mut self, from: FrameId, to: FrameId, start: usize) -> usize {
        if from == to {
            return 0;
        }
        let source = self.packet(from);
        let (bytes, len) = (source.as_ptr(), source.len());
        let Some(target) = self.chunk_mut(to).get_mut(start..start + len) else { return 0 };
        // SAFETY: `source` lies in the chunk of `from`, `target` in that of `to`, which is another one.
        unsafe { core::ptr::copy_nonoverlapping(bytes, target.as_mut_ptr(), len) };
        len
    }

    /// All frames, with their metadata, that were ever used: for recovery and checks.
    pub fn used(&self) -> impl Iterator<Item = (FrameId, &FrameMeta)> {
        let fresh = self.head.fresh as usize;
        self.meta.iter().enumerate().take(fresh).skip(1).map(|(i, m)| (FrameId(i as u32), m))
    }

    /// Frees what nobody owns after a death, as `keep` tells: it says which tenure a frame has now. Frames on fill
    /// rings keep theirs.
    pub(crate) fn recover(&mut self, mut keep: impl FnMut(FrameId, &FrameMeta) -> Tenure) {
        self.head.fresh = self.head.fresh.clamp(1, self.meta.len() as u32);
        self.head.free = 0;
        self.head.on_fill_rings = 0;
        for index in (1..self.head.fresh).rev() {
            let id = FrameId(index);
            let Some(meta) = self.meta.get_mut(index as usize) else { continue };
            if meta.tenure == Tenure::FILL {
                self.head.on_fill_rings += 1;
                continue;
            }
            meta.tenure = keep(id, meta);
            match (meta.tenure, meta.in_flight) {
                (Tenure::FREE, 0) => self.put_back(id),
                (Tenure::FREE, _) => meta.tenure = Tenure::PARTING,
                _ => {}
            }
        }
    }

    /// Every frame is free and on the stack once, or owned.
    pub fn check(&self) -> bool {
        let Some(stack) = self.free.get(..self.head.free as usize) else { return false };
        let free = self.used().filter(|(_, m)| m.tenure == Tenure::FREE).count();
        let lent = self.used().filter(|(_, m)| m.tenure == Tenure::FILL).count();
        free == stack.len()
            && lent == self.head.on_fill_rings as usize
            && stack.iter().all(|&i| self.meta(FrameId(i)).is_some_and(|m| m.tenure == Tenure::FREE))
    }
}

fn span(chunk: &[u8], start: u16, len: u16) -> Option<&[u8]> {
    chunk.get(usize::from(start)..usize::from(start) + usize::from(len))
}

fn span_mut(chunk: &mut [u8], start: u16, len: u16) -> &mut [u8] {
    chunk.get_mut(usize::from(start)..usize::from(start) + usize::from(len)).unwrap_or(&mut [])
}

impl Links for Frames {
    fn link(&mut self, index: u32) -> Option<&mut Link> {
        self.meta_mut(FrameId(index)).map(|m| &mut m.link)
    }
}

impl Walked for Frames {
    type At = FrameId;
    type Item = FrameMeta;

    #[inline]
    fn item_at(&self, id: FrameId) -> Option<&FrameMeta> {
        self.meta(id)
    }

    fn most(&self) -> u32 {
        self.total()
    }

    #[inline]
    fn damage(&self) -> &Damage {
        &self.damage
    }
}

// SAFETY: the pool is reached only through its shard's lock.
unsafe impl Send for Frames {}
