//! Writing the headers of a TCP segment in front of its payload.

use super::checksum;
use super::headers::{
    DONT_FRAGMENT, ETHERNET_LEN, EtherType, EthernetHeader, Flags, IPV4_LEN, Ipv4Header, Protocol, TCP_LEN,
    TcpHeader,
};
use super::options::TIMESTAMPS_LEN;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

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
const VERSION_AND_LEN: u8 = 0x45;
/// LINUX: net.ipv4.ip_default_ttl.
const TIME_TO_LIVE: u8 = 64;

/// The headers of a segment without its options.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Fixed {
    ethernet: EthernetHeader,
    ip: Ipv4Header,
    tcp: TcpHeader,
}

impl SegmentHeaders<'_> {
    pub fn byte_len(&self) -> usize {
        FIXED + self.options.len()
    }

    /// Writes the headers so that they end where `room` ends. None when they do not fit.
    #[inline]
    pub fn write(&self, room: &mut [u8]) -> Option<()> {
        let place = room.last_chunk_mut::<{ FIXED + MAX_OPTIONS }>()?;
        let place = place.get_mut(MAX_OPTIONS.checked_sub(self.options.len())?..)?;
        let (fixed, options) = place.split_first_chunk_mut::<FIXED>()?;
        let tcp_len = TCP_LEN as u16 + self.options.len() as u16 + self.payload_len;
        let total_len = IPV4_LEN as u16 + tcp_len;
        let offset = ((TCP_LEN + self.options.len()) as u8 / 4) << 4;
        *Fixed::mut_from_bytes(fixed).ok()? = Fixed {
            ethernet: EthernetHeader { to: self.mac_to, from: self.mac_from, kind: EtherType::IPV4 },
            ip: Ipv4Header {
                version_and_len: VERSION_AND_LEN,
                service: self.service,
                total_len: total_len.into(),
                // RFC 6864 4.1: of an atomic datagram any value does.
                identification: 0.into(),
                fragment: DONT_FRAGMENT.into(),
                time_to_live: TIME_TO_LIVE,
                protocol: Protocol::TCP,
                checksum: checksum::finish(self.ip_sum(total_len)).into(),
                source: self.source.into(),
                destination: self.destination.into(),
            },
            tcp: TcpHeader {
                source: self.source_port.into(),
                destination: self.destination_port.into(),
                seq: self.seq.into(),
                ack: self.ack.into(),
                offset,
                flags: self.flags,
                window: self.window.into(),
                checksum: checksum::finish(self.tcp_sum(tcp_len, offset)).into(),
                urgent: self.urgent.into(),
            },
        };
        write_options(options, self.options);
        Some(())
    }

    /// The sum of the IP header, from what it is about to be.
    #[inline]
    fn ip_sum(&self, total_len: u16) -> u64 {
        u64::from(word(VERSION_AND_LEN, self.service))
            + u64::from(total_len)
            + u64::from(DONT_FRAGMENT)
            + u64::from(word(TIME_TO_LIVE, Protocol::TCP.0))
            + u64::from(self.source)
            + u64::from(self.destination)
    }

    /// The sum of the segment with its pseudo-header, in the same way.
    #[inline]
    fn tcp_sum(&self, tcp_len: u16, offset: u8) -> u64 {
        let fields = checksum::pseudo_header(self.source, self.destination, Protocol::TCP.0, tcp_len)
            + u64::from(self.source_port)
            + u64::from(self.destination_port)
            + u64::from(self.seq)
            + u64::from(self.ack)
            + u64::from(word(offset, self.flags.0))
            + u64::from(self.window)
            + u64::from(self.urgent)
            + u64::from(self.payload_sum);
        let options = match self.options.as_array::<TIMESTAMPS_LEN>() {
            Some(timestamps) => checksum::sum_of(timestamps),
            None if self.options.is_empty() => 0,
            None => checksum::wide_sum(self.options),
        };
        checksum::plus(options, fields)
    }
}

/// Most segments have the timestamps alone: so many bytes are copied without a call.
#[inline]
fn write_options(place: &mut [u8], options: &[u8]) {
    match (place.as_mut_array::<TIMESTAMPS_LEN>(), options.as_array::<TIMESTAMPS_LEN>()) {
        (Some(place), Some(options)) => *place = *options,
        _ => place.copy_from_slice(options),
    }
}

const fn word(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

/// The headers of a run of segments with timestamps, which differ in their place, their flags and their payload alone.
pub struct Template {
    bytes: [u8; TEMPLATE],
    /// Sums of all but what differs.
    ip_sum: u64,
    tcp_sum: u64,
}

const TEMPLATE: usize = FIXED + TIMESTAMPS_LEN;
const TEMPLATE_OFFSET: u8 = ((TCP_LEN + TIMESTAMPS_LEN) as u8 / 4) << 4;

impl Template {
    /// For the segments that follow one with these headers. None if it has other options.
    pub fn of(first: &SegmentHeaders<'_>) -> Option<Self> {
        let blank = SegmentHeaders { seq: 0, flags: Flags(0), payload_len: 0, payload_sum: 0, ..*first };
        let mut room = [0; FIXED + MAX_OPTIONS];
        blank.write(&mut room)?;
        (first.options.len() == TIMESTAMPS_LEN).then_some(())?;
        Some(Self {
            bytes: *room.last_chunk()?,
            ip_sum: blank.ip_sum(0),
            tcp_sum: u64::from(checksum::fold(blank.tcp_sum(0, TEMPLATE_OFFSET))),
        })
    }

    pub const LEN: usize = TEMPLATE;

    /// As [`SegmentHeaders::write`].
    #[inline]
    pub fn write(
        &self,
        room: &mut [u8],
        seq: u32,
        flags: Flags,
        payload_len: u16,
        payload_sum: u32,
    ) -> Option<()> {
        let tcp_len = (TCP_LEN + TIMESTAMPS_LEN) as u16 + payload_len;
        let total_len = IPV4_LEN as u16 + tcp_len;
        let sum =
            self.tcp_sum + u64::from(tcp_len) + u64::from(seq) + u64::from(flags.0) + u64::from(payload_sum);
        let place = room.last_chunk_mut::<TEMPLATE>()?;
        *place = self.bytes;
        let (fixed, _) = Fixed::mut_from_prefix(place).ok()?;
        fixed.ip.total_len = total_len.into();
        fixed.ip.checksum = checksum::finish(self.ip_sum + u64::from(total_len)).into();
        fixed.tcp.seq = seq.into();
        fixed.tcp.flags = flags;
        fixed.tcp.checksum = checksum::finish(sum).into();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::{Timestamps, timestamp_bytes};
    use super::*;

    #[test]
    fn a_template_writes_what_would_be_written_without_it() {
        let options = timestamp_bytes(Timestamps { value: 0xdead_beef, echo: 77 });
        let mut headers = SegmentHeaders {
            mac_to: [1; 6],
            mac_from: [2; 6],
            source: 0x0a00_0001,
            destination: 0xc0a8_ffff,
            source_port: 40_000,
            destination_port: 80,
            seq: 1,
            ack: 0xffff_fff0,
            flags: Flags::ACK,
            window: 500,
            urgent: 0,
            service: 2,
            options: &options,
            payload_len: 1448,
            payload_sum: 0xabcd,
        };
        let template = Template::of(&headers).unwrap();
        for (seq, len, sum) in
            [(0, 0, 0), (u32::MAX, 1448, 0xffff), (0x8000_7fff, 1, 0x4100), (77, 1400, 0x1_2345)]
        {
            for flags in [Flags::ACK, Flags::ACK | Flags::PSH, Flags::ACK | Flags::FIN | Flags::CWR] {
                (headers.seq, headers.flags, headers.payload_len, headers.payload_sum) =
                    (seq, flags, len, sum);
                let (mut one, mut other) = ([7; 128], [7; 128]);
                headers.write(&mut one).unwrap();
                template.write(&mut other, seq, flags, len, sum).unwrap();
                assert_eq!(one, other, "{seq} {flags:?} {len}");
            }
        }
        headers.options = &[];
        assert!(Template::of(&headers).is_none());
    }
}
