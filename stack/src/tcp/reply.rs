//! Answers to segments that no connection takes: resets and the ACKs of TIME_WAIT.
//!
//! They go back the way the segment came, so they need neither a route nor a neighbour.

use super::Seq;
use super::request::send_headers;
use super::segment::Segment;
use crate::shard::Shard;
use crate::wire::{EthernetHeader, Flags, SegmentHeaders};
use zerocopy::FromBytes;

/// RFC 9293 3.10.7.1: the reset that the sender of `segment` will believe.
pub(super) fn reset(s: &mut Shard, segment: &Segment) {
    if segment.flags.has(Flags::RST) {
        return;
    }
    s.counters.tcp_resets_out += 1;
    if segment.flags.has(Flags::ACK) {
        // "If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>".
        send(s, segment, segment.ack, Seq(0), Flags::RST, 0, &[]);
    } else {
        // "If the ACK bit is off, sequence number zero is used, <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>".
        send(s, segment, Seq(0), segment.end(), Flags::RST | Flags::ACK, 0, &[]);
    }
}

pub(super) fn send(
    s: &mut Shard,
    segment: &Segment,
    seq: Seq,
    ack: Seq,
    flags: Flags,
    window: u16,
    options: &[u8],
) {
    let Some(via) = s.frames.meta(segment.frame).map(|m| m.via) else { return };
    let Ok((ethernet, _)) = EthernetHeader::read_from_prefix(s.frames.packet(segment.frame)) else { return };
    let tuple = &segment.tuple;
    let headers = SegmentHeaders {
        mac_to: ethernet.from,
        mac_from: ethernet.to,
        source: tuple.local.0,
        destination: tuple.remote.0,
        source_port: tuple.local_port,
        destination_port: tuple.remote_port,
        seq: seq.0,
        ack: ack.0,
        flags,
        window,
        urgent: 0,
        service: 0,
        options,
        payload_len: 0,
        payload_sum: 0,
    };
    send_headers(s, &headers, via);
}
