//! The relay's packet memory: chunks that both devices' sockets share.

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use stack::link::xsk::UmemArea;

use crate::Outcome;

pub(super) const CHUNK: u32 = 2048;

pub(super) struct Umem {
    pub(super) area: UmemArea,
    /// Chunks that nobody holds, by their offset.
    pub(super) free: Vec<u64>,
}

impl Umem {
    pub(super) fn new(chunks: u32) -> Outcome<Umem> {
        let len = chunks as usize * CHUNK as usize;
        // SAFETY: a new mapping, which is never unmapped: the kernel may write to it until this process ends.
        let base = unsafe {
            mmap_anonymous(
                core::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
            )
        };
        let base = base.map_err(|e| format!("memory for {chunks} packets: {e}"))?;
        let area = UmemArea { base: base.cast(), len, chunk_size: CHUNK, headroom: 0 };
        let free = (0..u64::from(chunks)).map(|chunk| chunk * u64::from(CHUNK)).collect();
        Ok(Umem { area, free })
    }

    /// A chunk is named by any address inside it.
    pub(super) fn release(&mut self, address: u64) {
        self.free.push(address - address % u64::from(CHUNK));
    }

    pub(super) fn bytes(&self, address: u64, length: u32) -> &[u8] {
        self.assert_inside(address, length);
        // SAFETY: just checked to lie in the mapping; the kernel does not write to a chunk that it handed out.
        unsafe { core::slice::from_raw_parts(self.area.base.add(address as usize), length as usize) }
    }

    /// A copy of a packet in another chunk; None when there is none.
    pub(super) fn copy(&mut self, address: u64, length: u32) -> Option<u64> {
        let target = self.free.pop()? + HEADROOM;
        self.assert_inside(address, length);
        self.assert_inside(target, length);
        // SAFETY: both were just checked; the chunk came off the free list, so it is another one.
        unsafe {
            let base = self.area.base;
            core::ptr::copy_nonoverlapping(
                base.add(address as usize),
                base.add(target as usize),
                length as usize,
            );
        }
        Some(target)
    }

    /// What stands in a ring came from the kernel: if this breaks, the relay has mixed something up.
    fn assert_inside(&self, address: u64, length: u32) {
        let end = address % u64::from(CHUNK) + u64::from(length);
        assert!(end <= u64::from(CHUNK) && (address as usize) < self.area.len, "{address} {length}");
    }
}

const HEADROOM: u64 = 256;
