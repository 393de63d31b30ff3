//! IP: from a frame to the protocol it carries.

#![forbid(unsafe_code)]

mod icmp;
pub mod net;

use crate::region::{FrameId, Tenure};
use crate::shard::Shard;
use crate::tcp::{self, Datagram, Taken};
use crate::wire::headers::{ETHERNET_LEN, IPV4_LEN};
use crate::wire::{EtherType, EthernetHeader, Ipv4Header, Protocol, checksum};
use net::Addr;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Handles one received frame, which is `HELD`; takes it over.
pub fn input(s: &mut Shard, frame: FrameId, now: u64) {
    match tcp::take_expected(s, frame, now) {
        Taken::Queued => return,
        Taken::Handled => {}
        Taken::No => take_apart(s, frame, now),
    }
    // Whoever wanted the frame has made it his.
    if s.frames.meta(frame).is_some_and(|m| m.tenure == Tenure::HELD) {
        s.frames.release(frame);
    }
}

fn take_apart(s: &mut Shard, frame: FrameId, now: u64) {
    match parse(s, frame) {
        Ok((Protocol::TCP, datagram)) => tcp::receive(s, frame, datagram, now),
        Ok((Protocol::ICMP, datagram)) => icmp::receive(s, frame, &datagram, now),
        Ok(_) => s.counters.ip_other_protocol += 1,
        Err(Refused::Malformed) => s.counters.ip_malformed += 1,
        Err(Refused::Checksum) => s.counters.ip_bad_checksum += 1,
        Err(Refused::Fragment) => s.counters.ip_fragments += 1,
        Err(Refused::NotOurs) => s.counters.ip_not_ours += 1,
    }
}

enum Refused {
    Malformed,
    Checksum,
    Fragment,
    NotOurs,
}

/// What every packet begins with.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Front {
    ethernet: EthernetHeader,
    ip: Ipv4Header,
}

#[inline]
fn parse(s: &Shard, frame: FrameId) -> Result<(Protocol, Datagram), Refused> {
    let meta = s.frames.meta(frame).ok_or(Refused::Malformed)?;
    let packet = s.frames.packet(frame);
    let (front, _) = Front::ref_from_prefix(packet).map_err(|_| Refused::Malformed)?;
    let header = &front.ip;
    if front.ethernet.kind != EtherType::IPV4 || header.version() != 4 {
        return Err(Refused::Malformed);
    }
    let header_len = header.header_len();
    let header_sum = match header_len {
        IPV4_LEN => checksum::sum_of(header.as_plain()),
        _ => sum_with_options(packet, header_len).ok_or(Refused::Malformed)?,
    };
    if !checksum::is_right(header_sum) {
        return Err(Refused::Checksum);
    }
    // Behind `total` there may be Ethernet's padding.
    let total = usize::from(header.total_len.get());
    if total < header_len || total > packet.len() - ETHERNET_LEN {
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
    let start = (ETHERNET_LEN + header_len) as u16;
    let len = (total - header_len) as u16;
    Ok((
        header.protocol,
        Datagram { source, destination, via: meta.via, service: header.service, start, len },
    ))
}

#[cold]
fn sum_with_options(packet: &[u8], header_len: usize) -> Option<u64> {
    let header = packet.get(ETHERNET_LEN..ETHERNET_LEN + header_len)?;
    (header_len > IPV4_LEN).then(|| checksum::wide_sum(header))
}
