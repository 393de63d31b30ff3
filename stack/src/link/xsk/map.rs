//! Mapping the four rings of a socket.

use core::ptr::NonNull;

use rustix::fd::BorrowedFd;
use rustix::io::{self, Errno};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::sockopt::xdp_mmap_offsets;
use rustix::net::xdp::{
    XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING,
    XdpRingOffset,
};

use super::RingSizes;
use super::ring::{Layout, Memory, Ring};

pub(super) struct Rings {
    pub(super) rx: Ring<2>,
    pub(super) tx: Ring<2>,
    pub(super) fill: Ring<1>,
    pub(super) completion: Ring<1>,
}

pub(super) fn map_rings(socket: BorrowedFd<'_>, sizes: RingSizes) -> io::Result<Rings> {
    let offsets = xdp_mmap_offsets(socket)?;
    Ok(Rings {
        rx: map(socket, XDP_PGOFF_RX_RING, offsets.rx, sizes.rx)?,
        tx: map(socket, XDP_PGOFF_TX_RING, offsets.tx, sizes.tx)?,
        fill: map(socket, XDP_UMEM_PGOFF_FILL_RING, offsets.fr, sizes.fill)?,
        completion: map(socket, XDP_UMEM_PGOFF_COMPLETION_RING, offsets.cr, sizes.completion)?,
    })
}

/// The kernel refuses a mapping that is longer than the ring, so a size that is too large fails here.
fn map<const WORDS: usize>(
    socket: BorrowedFd<'_>,
    page_offset: u64,
    offsets: XdpRingOffset,
    size: u32,
) -> io::Result<Ring<WORDS>> {
    // Kernels before 5.4 have no flag word; their offsets end before it.
    let flags = offsets.flags.ok_or(Errno::NOSYS)?;
    let layout = Layout {
        producer: offsets.producer as usize,
        consumer: offsets.consumer as usize,
        flags: flags as usize,
        entries: offsets.desc as usize,
    };
    let entry_bytes = WORDS * size_of::<u64>();
    let len = (size as usize).checked_mul(entry_bytes).and_then(|bytes| bytes.checked_add(layout.entries));
    let len = len.ok_or(Errno::INVAL)?;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let sharing = MapFlags::SHARED | MapFlags::POPULATE;
    // SAFETY: a new mapping at an address that the kernel chooses touches no memory that is in use.
    let base = unsafe { mmap(core::ptr::null_mut(), len, protection, sharing, socket, page_offset) }?;
    let base = NonNull::new(base.cast()).ok_or(Errno::INVAL)?;
    // SAFETY: mmap gave `len` bytes, page-aligned; nobody but `unmap` ends the mapping.
    let memory = unsafe { Memory::new(base, len, unmap) };
    Ring::new(memory, layout, size).ok_or(Errno::INVAL)
}

fn unmap(base: NonNull<u8>, len: usize) {
    // SAFETY: called once, when the ring that owns the mapping is dropped; no pointer into it is left.
    // A failure means that the arguments are not a mapping, which `map` rules out; there is nothing to do about it.
    let _ = unsafe { munmap(base.as_ptr().cast(), len) };
}
