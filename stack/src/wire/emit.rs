//! Writing the headers of a TCP segment in front of its payload.

use super::checksum;
use super::headers::{
    DONT_FRAGMENT, ETHERNET_LEN, EtherType, EthernetHeader, Flags, IPV4_LEN, Ipv4Header, Protocol, TCP_LEN,
    TcpHeader,
};
use zerocopy::IntoBytes;

/// Everything in front of the payload of a segment.
pub struct SegmentHeaders<'a> {
    pub mac_to: [u8; 6],
    pub mac_from: [u8; 6],
    pub source: u32,
    pub destination: u32,
    pub source_port: u16,
    pub destination_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: Flags,
    pub window: u16,
    /// The urgent pointer; 0 without URG.
    pub urgent: u16,
    /// The second byte of the IP header: DSCP and the ECN codepoint.
    pub service: u8,
    /// A multiple of four bytes, at most [`MAX_OPTIONS`].
    pub options: &'a [u8],
    pub payload_len: u16,
    /// Sum of the payload's words.
    pub payload_sum: u32,
}

pub const MAX_OPTIONS: usize = 40;
const FIXED: usize = ETHERNET_LEN + IPV4_LEN + TCP_LEN;
/// LINUX: net.ipv4.ip_default_ttl.
const TIME_TO_LIVE: u8 = 64;

impl SegmentHeaders<'_> {
    pub fn byte_len(&self) -> usize {
        FIXED + self.options.len()
    }

    /// Writes the headers so that they end where `room` ends. None when they do not fit.
    #[inline]
    pub fn write(&self, room: &mut [u8]) -> Option<()> {
        let place = room.last_chunk_mut::<{ FIXED + MAX_OPTIONS }>()?;
        let place = place.get_mut(MAX_OPTIONS.checked_sub(self.options.len())?..)?;
        let tcp_len = TCP_LEN as u16 + self.options.len() as u16 + self.payload_len;
        let ethernet = EthernetHeader { to: self.mac_to, from: self.mac_from, kind: EtherType::IPV4 };
        let mut ip = Ipv4Header {
            version_and_len: 0x45,
            service: self.service,
            total_len: (IPV4_LEN as u16 + tcp_len).into(),
            // RFC 6864 4.1: of an atomic datagram any value does.
            identification: 0.into(),
            fragment: DONT_FRAGMENT.into(),
            time_to_live: TIME_TO_LIVE,
            protocol: Protocol::TCP,
            checksum: 0.into(),
            source: self.source.into(),
            destination: self.destination.into(),
        };
        ip.checksum = checksum::finish(checksum::sum(ip.as_bytes())).into();
        let mut tcp = TcpHeader {
            source: self.source_port.into(),
            destination: self.destination_port.into(),
            seq: self.seq.into(),
            ack: self.ack.into(),
            offset: ((TCP_LEN + self.options.len()) as u8 / 4) << 4,
            flags: self.flags,
            window: self.window.into(),
            checksum: 0.into(),
            urgent: self.urgent.into(),
        };
        let sum = checksum::pseudo_header(self.source, self.destination, Protocol::TCP.0, tcp_len)
            + checksum::sum(tcp.as_bytes())
            + checksum::sum(self.options)
            + self.payload_sum;
        tcp.checksum = checksum::finish(sum).into();
        let (fixed, options) = place.split_first_chunk_mut::<FIXED>()?;
        let (a, rest) = fixed.split_first_chunk_mut::<ETHERNET_LEN>()?;
        let (b, c) = rest.split_first_chunk_mut::<IPV4_LEN>()?;
        a.copy_from_slice(ethernet.as_bytes());
        b.copy_from_slice(ip.as_bytes());
        c.copy_from_slice(tcp.as_bytes());
        options.copy_from_slice(self.options);
        Some(())
    }
}
