//! Header prediction (Jacobson, 1990): mostly a packet is the next data of the connection that the last one was for, and
//! tells nothing else. It goes a short way, on which every header is where it always is. Whatever is not as expected
//! takes the long way, which alone decides; what is done here is what the long way does with the same packet.

use super::connection::{Connection, Marks};
use super::input;
use super::receive_queue::{self, SMALL};
use super::segment::Segment;
use super::transmit::milliseconds;
use super::urgent::Condition;
use super::{Seq, State, Sysctls, Tuple, delayed_ack, ecn, incoming, tuning};
use crate::ip::net::{Addr, Net};
use crate::region::{FrameId, FrameMeta, Frames};
use crate::shard::{Entry, Shard};
use crate::wire::headers::{ETHERNET_LEN, IPV4_LEN, TCP_LEN};
use crate::wire::options::{ALIGNED_TIMESTAMPS, TIMESTAMPS_LEN};
use crate::wire::{EtherType, EthernetHeader, Flags, Ipv4Header, Protocol, TcpHeader, Timestamps, checksum};
use zerocopy::network_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The front of nearly every packet.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Front {
    ethernet: EthernetHeader,
    ip: Ipv4Header,
    tcp: TcpHeader,
    timestamps: AlignedTimestamps,
}

/// RFC 7323 appendix A: as everybody lays them out.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct AlignedTimestamps {
    kind: [u8; 4],
    value: U32,
    echo: U32,
}

const OPTIONS: usize = ETHERNET_LEN + IPV4_LEN + TCP_LEN;
const HEADERS: usize = OPTIONS + TIMESTAMPS_LEN;
/// TCP's header with the timestamps, in words.
const OFFSET: u8 = (TCP_LEN + TIMESTAMPS_LEN) as u8 / 4;
const VERSION_AND_LEN: u8 = 0x45;

/// What has become of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Nothing: it is to be taken apart slowly.
    No,
    /// Its frame is in a receive queue.
    Queued,
    /// All is done that it asked for; its frame may still be held.
    Handled,
}

/// Takes a packet for an established connection, if its headers are laid out as usual.
#[inline]
pub(crate) fn take(s: &mut Shard, frame: FrameId, now: u64) -> Taken {
    match take_recent(s, frame, now) {
        Taken::No => take_other(s, frame, now),
        taken => taken,
    }
}

/// Takes the packet if it is for another connection than the last one was for.
#[inline(never)]
fn take_other(s: &mut Shard, frame: FrameId, now: u64) -> Taken {
    let packet = s.frames.packet(frame);
    let Ok((front, _)) = Front::ref_from_prefix(packet) else { return Taken::No };
    if !is_usual(front, packet.len()) {
        return Taken::No;
    }
    let tuple = tuple(front);
    match s.flow(&tuple) {
        Some(Entry::Connection(h)) if h != s.after.recent => s.after.recent = h,
        _ => return Taken::No,
    }
    take_recent(s, frame, now)
}

/// Takes the packet if it is for the connection that the last one was for.
#[inline(always)]
fn take_recent(s: &mut Shard, frame: FrameId, now: u64) -> Taken {
    let h = s.after.recent;
    let Some(c) = s.connections.get_mut(h) else { return Taken::No };
    let Some((meta, front, len)) = look(&s.frames, &s.net, c, frame) else { return Taken::No };
    s.counters.tcp_segments_in += 1;
    let payload = meta.start + HEADERS as u16;
    if !is_next(c, front, len) || s.frames.is_exhausted() {
        let segment = segment(c, front, frame, payload, len);
        input::to_connection(s, h, &segment, now);
        return Taken::Handled;
    }
    s.head.changing = Entry::Connection(h).as_ref();
    note_headers(c, &s.head.sysctls, front, len, now);
    receive_queue::enqueue(c, h, &mut s.frames, frame, payload, len);
    incoming::advance(c, u32::from(len));
    c.tally.arrived(len, now);
    if !c.marks.has(Marks::TOUCHED) {
        input::touch(s, h, now);
    }
    Taken::Queued
}

/// The headers and the length of the payload, if the packet is for this connection, whole, and has no options but
/// timestamps.
#[inline(always)]
fn look<'a>(
    frames: &'a Frames,
    net: &Net,
    c: &Connection,
    frame: FrameId,
) -> Option<(&'a FrameMeta, &'a Front, u16)> {
    let meta = frames.meta(frame)?;
    let packet = frames.packet(frame);
    let (front, payload) = Front::ref_from_prefix(packet).ok()?;
    if !is_usual(front, packet.len()) || tuple(front) != c.head.tuple || !c.marks.has(Marks::IN_TABLE) {
        return None;
    }
    let bytes = packet.get(ETHERNET_LEN + IPV4_LEN..)?;
    let is_whole = net.is_local(c.head.tuple.local)
        && checksum::is_right(checksum::sum_of(front.ip.as_plain()))
        && input::checksum_is_right(net, &c.head.tuple, front.tcp.checksum.get(), bytes, meta.via);
    if is_whole { Some((meta, front, payload.len() as u16)) } else { None }
}

#[inline(always)]
fn tuple(Front { ip, tcp, .. }: &Front) -> Tuple {
    Tuple {
        local: Addr(ip.destination.get()),
        remote: Addr(ip.source.get()),
        local_port: tcp.destination.get(),
        remote_port: tcp.source.get(),
    }
}

#[inline(always)]
fn segment(c: &Connection, front: &Front, frame: FrameId, payload: u16, len: u16) -> Segment {
    let Front { ip, tcp, timestamps, .. } = front;
    Segment {
        tuple: c.head.tuple,
        seq: Seq(tcp.seq.get()),
        ack: Seq(tcp.ack.get()),
        flags: tcp.flags,
        window: tcp.window.get(),
        urgent: tcp.urgent.get(),
        service: ip.service,
        timestamps: Some(Timestamps { value: timestamps.value.get(), echo: timestamps.echo.get() }),
        frame,
        options: (OPTIONS as u16, TIMESTAMPS_LEN as u16),
        payload,
        len,
    }
}

/// Whether nothing is in the headers that is seldom there: options other than timestamps, a fragment, padding behind.
#[inline(always)]
fn is_usual(front: &Front, packet_len: usize) -> bool {
    let Front { ethernet, ip, tcp, timestamps } = front;
    ethernet.kind == EtherType::IPV4
        && ip.version_and_len == VERSION_AND_LEN
        && ETHERNET_LEN + usize::from(ip.total_len.get()) == packet_len
        && !ip.is_fragment()
        && ip.protocol == Protocol::TCP
        && tcp.offset >> 4 == OFFSET
        && timestamps.kind == ALIGNED_TIMESTAMPS
}

/// Whether the segment brings the next bytes of the stream to a connection that has no hole to fill, and does nothing
/// else: acknowledges nothing, moves no window, is no sample of the round trip, tells nothing of congestion.
#[inline(always)]
fn is_next(c: &Connection, front: &Front, len: u16) -> bool {
    let Front { ip, tcp, timestamps, .. } = front;
    let (r, seq) = (&c.receive, Seq(tcp.seq.get()));
    let is_old = (timestamps.value.get().wrapping_sub(r.ts_recent) as i32) < 0;
    c.state == State::ESTABLISHED
        && c.marks.has(Marks::TIMESTAMPS)
        && tcp.flags | Flags::PSH == Flags::ACK | Flags::PSH
        && ip.service & ecn::FIELD != ecn::CONGESTION
        && seq == r.next
        && Seq(tcp.ack.get()) == c.send.una
        && u32::from(tcp.window.get()).wrapping_shl(u32::from(c.send.scale)) == c.send.window
        && !c.send.window_seq.is_after(seq)
        && !is_old
        && len > 0
        && u32::from(len) <= c.receive_window()
        && (len > SMALL || r.queue.is_empty())
        && r.beyond.is_empty()
        && c.urgent.state == Condition::NONE
        && r.unread < c.receive_buffer()
        && !tuning::is_sample(c, len, timestamps.echo.get())
}

/// What the headers say of the peer, though it is nothing new.
#[inline(always)]
fn note_headers(c: &mut Connection, sysctls: &Sysctls, front: &Front, len: u16, now: u64) {
    c.timers.last_received = now;
    c.send.probes = 0;
    c.send.window_seq = c.receive.next;
    delayed_ack::on_segment(c, sysctls, len, front.tcp.flags.has(Flags::PSH), now);
    if c.receive.acked == c.receive.next {
        // RFC 7323 4.3: the segment that advances the left edge.
        c.receive.ts_recent = front.timestamps.value.get();
        c.receive.ts_recent_at = milliseconds(now);
    }
}
