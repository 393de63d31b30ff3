//! Headers of fixed size, byte for byte as they are on the wire.

use core::ops::BitOr;
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub const ETHERNET_LEN: usize = 14;
pub const IPV4_LEN: usize = 20;
pub const TCP_LEN: usize = 20;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct EtherType(pub U16);

impl EtherType {
    pub const IPV4: Self = Self(U16::new(0x0800));
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct EthernetHeader {
    pub to: [u8; 6],
    pub from: [u8; 6],
    pub kind: EtherType,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Protocol(pub u8);

impl Protocol {
    pub const ICMP: Self = Self(1);
    pub const TCP: Self = Self(6);
}

/// More fragments follow, or this one is not the first.
const FRAGMENT_MASK: u16 = 0x3fff;
pub const DONT_FRAGMENT: u16 = 0x4000;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Ipv4Header {
    pub version_and_len: u8,
    pub service: u8,
    pub total_len: U16,
    pub identification: U16,
    pub fragment: U16,
    pub time_to_live: u8,
    pub protocol: Protocol,
    pub checksum: U16,
    pub source: U32,
    pub destination: U32,
}

impl Ipv4Header {
    pub fn version(&self) -> u8 {
        self.version_and_len >> 4
    }

    /// Bytes of the header, its options included.
    pub fn header_len(&self) -> usize {
        usize::from(self.version_and_len & 15) * 4
    }

    /// The header as bytes, without options.
    pub fn as_plain(&self) -> &[u8; IPV4_LEN] {
        zerocopy::transmute_ref!(self)
    }

    pub fn is_fragment(&self) -> bool {
        self.fragment.get() & FRAGMENT_MASK != 0
    }
}

/// The control bits of a TCP segment.
#[derive(
    FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Default, Debug, PartialEq, Eq,
)]
#[repr(transparent)]
pub struct Flags(pub u8);

impl Flags {
    pub const FIN: Self = Self(1);
    pub const SYN: Self = Self(2);
    pub const RST: Self = Self(4);
    pub const PSH: Self = Self(8);
    pub const ACK: Self = Self(16);
    pub const URG: Self = Self(32);
    /// RFC 3168: congestion was experienced.
    pub const ECE: Self = Self(64);
    /// RFC 3168: the congestion window was reduced.
    pub const CWR: Self = Self(128);

    /// Whether any of `other` is set.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    #[inline]
    pub const fn only(self, of: Self) -> Self {
        Self(self.0 & of.0)
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct TcpHeader {
    pub source: U16,
    pub destination: U16,
    pub seq: U32,
    pub ack: U32,
    pub offset: u8,
    pub flags: Flags,
    pub window: U16,
    pub checksum: U16,
    pub urgent: U16,
}

impl TcpHeader {
    /// Bytes of the header, its options included.
    pub fn header_len(&self) -> usize {
        usize::from(self.offset >> 4) * 4
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct IcmpHeader {
    pub kind: u8,
    pub code: u8,
    pub checksum: U16,
    pub unused: U16,
    /// Of a "fragmentation needed" (RFC 1191).
    pub next_hop_mtu: U16,
}
