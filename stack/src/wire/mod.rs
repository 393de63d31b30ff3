//! Packets as they are on the wire: views of headers, TCP options, checksums.

#![forbid(unsafe_code)]

pub mod checksum;
pub mod emit;
pub mod headers;
pub mod options;

pub use emit::{SegmentHeaders, Template};
pub use headers::{EtherType, EthernetHeader, Flags, IcmpHeader, Ipv4Header, Protocol, TcpHeader};
pub use options::{Cookie, SackBlock, SackBlocks, SynOptions, Timestamps};
