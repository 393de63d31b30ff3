//! Frames of segments and back, by another implementation than the engine's own.

use crate::packet::{ACK, Content, Cookie, FIN, Number, Opt, PSH, RST, SYN, Segment, pattern};
use etherparse::{
    IpEcn, IpHeaders, IpNumber, Ipv4Header, NetSlice, PacketBuilder, SlicedPacket, TransportSlice,
};
use stack::link::sim::address;
use stack::tcp::Tuple;

const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
const TIME_TO_LIVE: u8 = 64;

/// A frame to the stack. The numbers of `segment` are those of the wire here.
pub(crate) fn frame(tuple: &Tuple, segment: &Segment) -> Result<Vec<u8>, String> {
    let mut tcp = etherparse::TcpHeader::new(
        tuple.remote_port,
        tuple.local_port,
        segment.seq,
        segment.window.unwrap_or(0),
    );
    tcp.acknowledgment_number = segment.ack.unwrap_or(0);
    (tcp.fin, tcp.syn, tcp.rst) = (segment.has(FIN), segment.has(SYN), segment.has(RST));
    (tcp.psh, tcp.ack, tcp.urg) = (segment.has(PSH), segment.has(ACK), segment.has(32));
    (tcp.ece, tcp.cwr) = (segment.has(64), segment.has(128));
    tcp.urgent_pointer = segment.urgent.unwrap_or(0);
    let options = option_bytes(segment.options.as_deref().unwrap_or(&[]))?;
    tcp.set_options_raw(&options).map_err(|e| e.to_string())?;
    let mut ip = ip_header(IpNumber::TCP);
    ip.ecn = IpEcn::try_new(segment.ecn.unwrap_or(0)).map_err(|e| e.to_string())?;
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ip(IpHeaders::Ipv4(ip, Default::default()));
    let mut bytes = Vec::new();
    builder.tcp_header(tcp).write(&mut bytes, &payload(segment)).map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// An ICMP error about a segment of ours with this (absolute) sequence number.
pub(crate) fn icmp_frame(tuple: &Tuple, kind: u8, code: u8, mtu: u16, seq: u32) -> Vec<u8> {
    let mut quote = Vec::new();
    let (us, them) = (address(1).0.to_be_bytes(), address(0).0.to_be_bytes());
    let quoted = Ipv4Header::new(1480, TIME_TO_LIVE, IpNumber::TCP, us, them).unwrap();
    quoted.write(&mut quote).unwrap();
    etherparse::TcpHeader::new(tuple.local_port, tuple.remote_port, seq, 1000).write(&mut quote).unwrap();
    quote.truncate(28);
    let [high, low] = mtu.to_be_bytes();
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(MACS.0, MACS.1)
        .ipv4(them, us, TIME_TO_LIVE)
        .icmpv4_raw(kind, code, [0, 0, high, low])
        .write(&mut bytes, &quote)
        .unwrap();
    bytes
}

fn ip_header(protocol: IpNumber) -> Ipv4Header {
    let (us, them) = (address(1).0.to_be_bytes(), address(0).0.to_be_bytes());
    let mut header = Ipv4Header::new(0, TIME_TO_LIVE, protocol, them, us).unwrap();
    header.dont_fragment = true;
    header
}

/// What a SYN carries comes behind its own number.
fn first_byte(segment: &Segment) -> u32 {
    segment.seq.wrapping_add(u32::from(segment.has(SYN)))
}

fn payload(segment: &Segment) -> Vec<u8> {
    let base = first_byte(segment).wrapping_sub(segment.content_base);
    (0..segment.len)
        .map(|i| match segment.content {
            Content::Fill(byte) => byte,
            _ => pattern(base.wrapping_add(i)),
        })
        .collect()
}

fn option_bytes(options: &[Opt]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let certain = |n: &Number| match n {
        Number::Is(n) => Ok(*n),
        _ => Err("what is sent has certain numbers".to_string()),
    };
    for option in options {
        match option {
            Opt::End => bytes.push(0),
            Opt::Nop => bytes.push(1),
            Opt::Mss(n) => {
                bytes.extend([2, 4]);
                bytes.extend((certain(n)? as u16).to_be_bytes());
            }
            Opt::WindowScale(n) => bytes.extend([3, 3, certain(n)? as u8]),
            Opt::SackPermitted => bytes.extend([4, 2]),
            Opt::Sack(blocks) => {
                bytes.extend([5, 2 + 8 * blocks.len() as u8]);
                blocks.iter().for_each(|(a, b)| {
                    bytes.extend(a.to_be_bytes());
                    bytes.extend(b.to_be_bytes());
                });
            }
            Opt::Timestamps { value, echo } => {
                bytes.extend([8, 10]);
                bytes.extend(certain(value)?.to_be_bytes());
                bytes.extend(certain(echo)?.to_be_bytes());
            }
            Opt::FastOpen(Cookie::Is(cookie)) => {
                bytes.extend([34, 2 + cookie.len() as u8]);
                bytes.extend(cookie);
            }
            Opt::FastOpen(_) => return Err("there is no such cookie yet".into()),
            Opt::Raw(raw) => bytes.extend(raw),
        }
    }
    Ok(bytes)
}

/// A packet that the stack sent: its ports, and the segment with the numbers of the wire.
pub(crate) fn read(packet: &[u8]) -> Result<(u16, u16, Segment, Vec<u8>), String> {
    let sliced = SlicedPacket::from_ethernet(packet).map_err(|e| e.to_string())?;
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { return Err("not IPv4".into()) };
    let header = ip.header().to_header();
    if header.header_checksum != header.calc_header_checksum() {
        return Err("the IPv4 checksum is wrong".into());
    }
    if (header.protocol, header.dont_fragment) != (IpNumber::TCP, true) {
        return Err("not TCP, or may be fragmented".into());
    }
    if packet.len() != 14 + usize::from(header.total_len) {
        return Err("the length is not that of the packet".into());
    }
    let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { return Err("not TCP".into()) };
    let right = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).map_err(|e| e.to_string())?;
    if tcp.checksum() != right {
        return Err("the TCP checksum is wrong".into());
    }
    let bits = [
        (tcp.fin(), FIN),
        (tcp.syn(), SYN),
        (tcp.rst(), RST),
        (tcp.psh(), PSH),
        (tcp.ack(), ACK),
        (tcp.urg(), 32),
        (tcp.ece(), 64),
        (tcp.cwr(), 128),
    ];
    let segment = Segment {
        flow: 0,
        ecn: Some(header.ecn.value()),
        flags: bits.iter().filter(|b| b.0).map(|b| b.1).sum(),
        seq: tcp.sequence_number(),
        len: tcp.payload().len() as u32,
        ack: Some(tcp.acknowledgment_number()),
        window: Some(tcp.window_size()),
        urgent: Some(tcp.urgent_pointer()),
        options: Some(options(tcp.options())),
        content: Content::Pattern,
        content_base: 0,
    };
    Ok((tcp.source_port(), tcp.destination_port(), segment, tcp.payload().to_vec()))
}

/// What the payload is, for a segment whose numbers are relative.
pub(crate) fn content(segment: &Segment, payload: &[u8]) -> Content {
    let base = first_byte(segment);
    let is_pattern = |(i, &byte): (usize, &u8)| byte == pattern(base.wrapping_add(i as u32));
    match payload {
        _ if payload.iter().enumerate().all(is_pattern) => Content::Pattern,
        [first, rest @ ..] if rest.iter().all(|b| b == first) => Content::Fill(*first),
        _ => Content::Mixed,
    }
}

fn options(bytes: &[u8]) -> Vec<Opt> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let [kind, tail @ ..] = rest {
        let len = match kind {
            0 | 1 => 1,
            _ => tail.first().map_or(0, |&len| usize::from(len)),
        };
        if len < 1 || (*kind > 1 && len < 2) || len > rest.len() {
            found.push(Opt::Raw(rest.to_vec()));
            break;
        }
        let (this, next) = rest.split_at(len);
        found.push(option(this));
        if *kind == 0 {
            break;
        }
        rest = next;
    }
    found
}

fn option(bytes: &[u8]) -> Opt {
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    match bytes {
        [0] => Opt::End,
        [1] => Opt::Nop,
        &[2, 4, a, b] => Opt::Mss(Number::Is(u32::from(u16::from_be_bytes([a, b])))),
        &[3, 3, n] => Opt::WindowScale(Number::Is(u32::from(n))),
        [4, 2] => Opt::SackPermitted,
        [5, blocks @ ..] if blocks.len() % 8 == 1 => {
            Opt::Sack((0..blocks.len() / 8).map(|i| (word(2 + 8 * i), word(6 + 8 * i))).collect())
        }
        [8, 10, ..] => Opt::Timestamps { value: Number::Is(word(2)), echo: Number::Is(word(6)) },
        [34, _, cookie @ ..] => Opt::FastOpen(Cookie::Is(cookie.to_vec())),
        _ => Opt::Raw(bytes.to_vec()),
    }
}
