//! The memory that frames live in, as the kernel is told of it.

use rustix::net::xdp::{XdpUmemReg, XdpUmemRegFlags};

/// A part of a shared mapping that is cut into chunks of `chunk_size` (2048 or 4096) bytes.
#[derive(Clone, Copy, Debug)]
pub struct UmemArea {
    /// Page-aligned.
    pub base: *mut u8,
    pub len: usize,
    pub chunk_size: u32,
    /// Bytes that the kernel leaves free in front of a received frame, beyond its own 256.
    pub headroom: u32,
}

impl UmemArea {
    pub(super) fn registration(&self) -> XdpUmemReg {
        XdpUmemReg {
            addr: self.base.expose_provenance() as u64,
            len: self.len as u64,
            chunk_size: self.chunk_size,
            headroom: self.headroom,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        }
    }
}
