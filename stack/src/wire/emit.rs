//! Writing the headers of a TCP segment in front of its payload.

use super::checksum;
use super::headers::{
    DONT_FRAGMENT, ETHERNET_LEN, EtherType, EthernetHeader, Flags, IPV4_LEN, Protocol, TCP_LEN,
};
use super::options::TIMESTAMPS_LEN;
use zerocopy::network_endian::U32;
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

/// The headers of a segment without its options; those of IP and TCP by rows of 32 bits, as RFC 791 3.1 and RFC 9293 3.1
/// draw them: rows can be made, and added up, at once.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Fixed {
    ethernet: EthernetHeader,
    ip: [U32; IPV4_LEN / 4],
    tcp: [U32; TCP_LEN / 4],
}

/// RFC 6864 4.1: of an atomic datagram any identification does.
const IP_FRAGMENT_ROW: u32 = DONT_FRAGMENT as u32;
const IP_PROTOCOL_ROW: u32 = u32::from_be_bytes([TIME_TO_LIVE, Protocol::TCP.0, 0, 0]);

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
        let fixed = Fixed::mut_from_bytes(fixed).ok()?;
        fixed.ethernet = EthernetHeader { to: self.mac_to, from: self.mac_from, kind: EtherType::IPV4 };
        let tcp_len = TCP_LEN as u16 + self.options.len() as u16 + self.payload_len;
        let [first, fragment, protocol, source, destination] = self.ip(IPV4_LEN as u16 + tcp_len);
        let sum = checksum::finish(sum_of([first, fragment, protocol, source, destination]));
        let ip = [first, fragment, protocol | u32::from(sum), source, destination];
        fixed.ip = ip.map(U32::new);
        let [ports, seq, ack, flags, last] = self.tcp();
        let sum = checksum::finish(self.tcp_sum(tcp_len));
        fixed.tcp = [ports, seq, ack, flags, u32::from(sum) << 16 | last].map(U32::new);
        write_options(options, self.options);
        Some(())
    }

    /// IP's header without its checksum.
    #[inline]
    fn ip(&self, total_len: u16) -> [u32; IPV4_LEN / 4] {
        let first = u32::from(word(VERSION_AND_LEN, self.service)) << 16 | u32::from(total_len);
        [first, IP_FRAGMENT_ROW, IP_PROTOCOL_ROW, self.source, self.destination]
    }

    /// TCP's header without its checksum.
    #[inline]
    fn tcp(&self) -> [u32; TCP_LEN / 4] {
        let offset = ((TCP_LEN + self.options.len()) as u8 / 4) << 4;
        [
            u32::from(self.source_port) << 16 | u32::from(self.destination_port),
            self.seq,
            self.ack,
            u32::from(word(offset, self.flags.0)) << 16 | u32::from(self.window),
            u32::from(self.urgent),
        ]
    }

    /// The sum of the segment with its pseudo-header.
    #[inline]
    fn tcp_sum(&self, tcp_len: u16) -> u64 {
        let fields = checksum::pseudo_header(self.source, self.destination, Protocol::TCP.0, tcp_len)
            + sum_of(self.tcp())
            + u64::from(self.payload_sum);
        let options = match self.options.as_array::<TIMESTAMPS_LEN>() {
            Some(timestamps) => checksum::sum_of(timestamps),
            None if self.options.is_empty() => 0,
            None => checksum::wide_sum(self.options),
        };
        checksum::plus(options, fields)
    }
}

#[inline]
fn sum_of(rows: [u32; 5]) -> u64 {
    rows.into_iter().map(u64::from).sum()
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

/// The headers of segments with timestamps that leave one after the other: they differ in their place, their payload and
/// PSH alone.
pub struct Template {
    front: Front,
    /// The row of TCP's header that has the flags.
    flags: u32,
    /// The length of the payload that `front` is right for.
    payload_len: u16,
    /// Sums of all but what differs.
    ip_sum: u64,
    tcp_sum: u64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Front {
    fixed: Fixed,
    timestamps: [u8; TIMESTAMPS_LEN],
}

impl Template {
    /// For segments with these headers, without urgent data and with no options but timestamps.
    //
    // Not in place: where the compiler sees what the rows are it keeps them one by one, and copies them one by one.
    #[inline(never)]
    pub fn of(headers: &SegmentHeaders<'_>, timestamps: &[u8; TIMESTAMPS_LEN]) -> Self {
        let blank =
            SegmentHeaders { seq: 0, payload_len: 0, payload_sum: 0, options: timestamps, ..*headers };
        let (ip, tcp) = (blank.ip(0), blank.tcp());
        let ethernet = EthernetHeader { to: blank.mac_to, from: blank.mac_from, kind: EtherType::IPV4 };
        let fixed = Fixed { ethernet, ip: ip.map(U32::new), tcp: tcp.map(U32::new) };
        let mut template = Self {
            front: Front { fixed, timestamps: *timestamps },
            flags: tcp[3],
            payload_len: 0,
            ip_sum: sum_of(ip),
            tcp_sum: u64::from(checksum::fold(blank.tcp_sum(TEMPLATE_TCP_LEN))),
        };
        template.fit(headers.payload_len);
        template
    }

    pub const LEN: usize = size_of::<Front>();

    /// As [`SegmentHeaders::write`].
    #[inline]
    pub fn write(
        &mut self,
        room: &mut [u8],
        seq: u32,
        push: bool,
        payload_len: u16,
        payload_sum: u32,
    ) -> Option<()> {
        if payload_len != self.payload_len {
            self.fit(payload_len);
        }
        let push = if push { u32::from(Flags::PSH.0) } else { 0 };
        let sum = self.tcp_sum + u64::from(seq) + u64::from(push) + u64::from(payload_sum);
        let front = Front::mut_from_bytes(room.last_chunk_mut::<{ Self::LEN }>()?).ok()?;
        *front = self.front;
        let [_, place, _, flags, last] = &mut front.fixed.tcp;
        *place = seq.into();
        *flags = (self.flags | push << 16).into();
        *last = (u32::from(checksum::finish(sum)) << 16).into();
        Some(())
    }

    /// The payload has another length from now on.
    #[inline]
    fn fit(&mut self, payload_len: u16) {
        let total_len = u32::from((IPV4_LEN as u16 + TEMPLATE_TCP_LEN).wrapping_add(payload_len));
        let sum = checksum::finish(self.ip_sum + u64::from(total_len));
        let [first, _, protocol, ..] = &mut self.front.fixed.ip;
        *first = (first.get() & 0xffff_0000 | total_len).into();
        *protocol = (IP_PROTOCOL_ROW | u32::from(sum)).into();
        self.tcp_sum = checksum::plus(self.tcp_sum, u64::from(payload_len) + u64::from(!self.payload_len));
        self.payload_len = payload_len;
    }
}

const TEMPLATE_TCP_LEN: u16 = (TCP_LEN + TIMESTAMPS_LEN) as u16;

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
        let flags = Flags::ACK | Flags::ECE;
        headers.flags = flags;
        let mut template = Template::of(&headers, &options);
        for (seq, len, sum) in
            [(0, 0, 0), (u32::MAX, 1448, 0xffff), (0x8000_7fff, 1, 0x4100), (77, 1400, 0x1_2345)]
        {
            for push in [false, true] {
                (headers.seq, headers.payload_len, headers.payload_sum) = (seq, len, sum);
                headers.flags = if push { flags | Flags::PSH } else { flags };
                let (mut one, mut other) = ([7; 128], [7; 128]);
                headers.write(&mut one).unwrap();
                template.write(&mut other, seq, push, len, sum).unwrap();
                assert_eq!(one, other, "{seq} {push} {len}");
            }
        }
    }
}
