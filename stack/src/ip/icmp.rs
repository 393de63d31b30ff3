//! ICMP errors about packets that we sent.

use super::net::Addr;
use crate::Error;
use crate::region::FrameId;
use crate::shard::Shard;
use crate::tcp::{self, Datagram, Seq, Tuple, Unreachable};
use crate::wire::{IcmpHeader, Ipv4Header, Protocol, checksum};
use zerocopy::FromBytes;
use zerocopy::network_endian::{U16, U32};

const DESTINATION_UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
/// Ports and sequence number: what a quote is sure to hold of a TCP header (RFC 792).
type Quoted = (U16, U16, U32);

pub(super) fn receive(s: &mut Shard, frame: FrameId, datagram: &Datagram, now: u64) {
    match parse(s, frame, datagram) {
        Ok(Some((tuple, seq, what))) => tcp::unreachable(s, &tuple, seq, what, now),
        Ok(None) => s.counters.ip_other_protocol += 1,
        Err(Malformed) => s.counters.ip_malformed += 1,
    }
}

struct Malformed;

/// The connection that an error is about, the sequence number that it quotes, and what it says. None: not an error
/// about a TCP segment.
fn parse(
    s: &Shard,
    frame: FrameId,
    datagram: &Datagram,
) -> Result<Option<(Tuple, Seq, Unreachable)>, Malformed> {
    let packet = s.frames.packet(frame);
    let start = usize::from(datagram.start);
    let bytes = packet.get(start..start + usize::from(datagram.len)).ok_or(Malformed)?;
    if !checksum::is_right(checksum::sum(bytes)) {
        return Err(Malformed);
    }
    let (header, quote) = IcmpHeader::ref_from_prefix(bytes).map_err(|_| Malformed)?;
    let Some(what) = what(header) else { return Ok(None) };
    let (ip, _) = Ipv4Header::ref_from_prefix(quote).map_err(|_| Malformed)?;
    if ip.protocol != Protocol::TCP {
        return Ok(None);
    }
    let quoted = quote.get(ip.header_len()..).ok_or(Malformed)?;
    let (from, to, seq) = read(quoted).ok_or(Malformed)?;
    let tuple = Tuple {
        local: Addr(ip.source.get()),
        remote: Addr(ip.destination.get()),
        local_port: from.get(),
        remote_port: to.get(),
    };
    Ok(Some((tuple, Seq(seq.get()), what)))
}

fn read(quoted: &[u8]) -> Option<Quoted> {
    let (from, rest) = U16::read_from_prefix(quoted).ok()?;
    let (to, rest) = U16::read_from_prefix(rest).ok()?;
    let (seq, _) = U32::read_from_prefix(rest).ok()?;
    Some((from, to, seq))
}

/// RFC 792 and RFC 1122 3.2.2.1. LINUX: icmp_err_convert.
fn what(header: &IcmpHeader) -> Option<Unreachable> {
    match (header.kind, header.code) {
        (DESTINATION_UNREACHABLE, 4) => Some(Unreachable::TooBig(header.next_hop_mtu.get())),
        (DESTINATION_UNREACHABLE, code) => destination(code),
        (TIME_EXCEEDED, _) => Some(Unreachable::Expired),
        (PARAMETER_PROBLEM, _) => Some(Unreachable::BadHeader),
        _ => None,
    }
}

fn destination(code: u8) -> Option<Unreachable> {
    Some(match code {
        0 => Unreachable::Network,
        1 => Unreachable::Host,
        2 => Unreachable::Other(Error::NoProtocolOption),
        3 => Unreachable::Other(Error::Refused),
        5 => Unreachable::Other(Error::NotSupported),
        6 | 9 | 11 => Unreachable::Other(Error::NetUnreachable),
        7 => Unreachable::Other(Error::HostDown),
        8 => Unreachable::Other(Error::NoNetwork),
        10 | 12..=15 => Unreachable::Other(Error::HostUnreachable),
        _ => return None,
    })
}
