//! What the kernel dropped at the socket, for `shunt status`.

use rustix::fd::AsFd;
use rustix::io;
use rustix::net::sockopt::xdp_statistics;

/// Frames that the kernel did not deliver or send, since the socket was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelDrops {
    /// Too long for a chunk, or no memory.
    pub rx_dropped: u64,
    /// The RX ring was full: nobody drove the shard in time.
    pub rx_ring_full: u64,
    /// The fill ring was empty: no frames to receive into.
    pub fill_ring_empty: u64,
    /// Fill ring entries that name no chunk.
    pub rx_invalid: u64,
    /// TX ring entries that name no bytes of the UMEM.
    pub tx_invalid: u64,
}

impl KernelDrops {
    pub fn at(socket: impl AsFd) -> io::Result<KernelDrops> {
        let statistics = xdp_statistics(socket)?;
        Ok(KernelDrops {
            rx_dropped: statistics.rx_dropped,
            rx_ring_full: statistics.rx_ring_full.unwrap_or(0),
            fill_ring_empty: statistics.rx_fill_ring_empty_descs.unwrap_or(0),
            rx_invalid: statistics.rx_invalid_descs,
            tx_invalid: statistics.tx_invalid_descs,
        })
    }
}
