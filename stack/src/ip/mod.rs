//! IP: from a frame to the protocol it carries.

#![forbid(unsafe_code)]

mod icmp;
pub mod net;

use crate::region::{FrameId, Tenure};
use crate::shard::Shard;
use crate::tcp::{self, Datagram};
use crate::wire::headers::{ETHERNET_LEN, IPV4_LEN};
use crate::wire::{EtherType, EthernetHeader, Ipv4Header, Protocol, checksum};
use net::Addr;
use zerocopy::FromBytes;

/// Handles one received frame, which is `HELD`; takes it over.
pub fn input(s: &mut Shard, frame: FrameId, now: u64) {
    match parse(s, frame) {
        Ok((Protocol::TCP, datagram)) => tcp::receive(s, frame, datagram, now),
        Ok((Protocol::ICMP, datagram)) => icmp::receive(s, frame, &datagram, now),
        Ok(_) => s.counters.ip_other_protocol += 1,
        Err(Refused::Malformed) => s.counters.ip_malformed += 1,
        Err(Refused::Checksum) => s.counters.ip_bad_checksum += 1,
        Err(Refused::Fragment) => s.counters.ip_fragments += 1,
        Err(Refused::NotOurs) => s.counters.ip_not_ours += 1,
    }
    // Whoever wanted the frame has made it his.
    if s.frames.meta(frame).is_some_and(|m| m.tenure == Tenure::HELD) {
        s.frames.release(frame);
    }
}

enum Refused {
    Malformed,
    Checksum,
    Fragment,
    NotOurs,
}

fn parse(s: &Shard, frame: FrameId) -> Result<(Protocol, Datagram), Refused> {
    let packet = s.frames.packet(frame);
    let (ethernet, behind) = EthernetHeader::ref_from_prefix(packet).map_err(|_| Refused::Malformed)?;
    let (header, _) = Ipv4Header::ref_from_prefix(behind).map_err(|_| Refused::Malformed)?;
    if ethernet.kind != EtherType::IPV4 || header.version() != 4 {
        return Err(Refused::Malformed);
    }
    let header_len = header.header_len();
    let total = usize::from(header.total_len.get());
    let whole = behind.get(..header_len).filter(|_| header_len >= IPV4_LEN).ok_or(Refused::Malformed)?;
    if !checksum::is_right(checksum::sum(whole)) {
        return Err(Refused::Checksum);
    }
    // Behind `total` there may be Ethernet's padding.
    if total < header_len || total > behind.len() {
        return Err(Refused::Malformed);
    }
    if header.is_fragment() {
        return Err(Refused::Fragment);
    }
    let destination = Addr(header.destination.get());
    let source = Addr(header.source.get());
    if !s.net.is_local(destination) || source.is_any() || source.is_multicast_or_broadcast() {
        return Err(Refused::NotOurs);
    }
    let via = s.frames.meta(frame).map_or(0, |m| m.via);
    let start = (ETHERNET_LEN + header_len) as u16;
    let len = (total - header_len) as u16;
    Ok((header.protocol, Datagram { source, destination, via, service: header.service, start, len }))
}
