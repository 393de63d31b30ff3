//! Header prediction (Jacobson, 1990): mostly a packet is for the connection that the last one was for, and brings its next
//! data, or acknowledges more of ours, or both, and tells nothing else. It goes a short way, on which every header is where
//! it always is. Whatever is not as expected takes the long way, which alone decides; what is done here is what the long way does with the same packet.

use super::connection::{Connection, Marks};
use super::input;
use super::receive_queue::{self, SMALL};
use super::segment::Segment;
use super::transmit::milliseconds;
use super::urgent::Condition;
use super::{Seq, State, Sysctls, Tuple, ack, delayed_ack, ecn, incoming, rollback, tuning, turn};
use crate::ip::net::{Addr, Net};
use crate::region::{FrameId, FrameMeta, Frames, Handle, settle};
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

/// Takes a packet for an entry of the connection table, if its headers are laid out as usual.
#[inline]
pub(crate) fn take(s: &mut Shard, frame: FrameId, now: u64) -> Taken {
    match take_recent(s, frame, now) {
        Ok(taken) => taken,
        Err(IsFor(tuple)) => take_other(s, frame, &tuple, now),
    }
}

/// Another entry than the recent connection.
struct IsFor(Tuple);

/// Takes the packet if it is for another entry than the last one was for.
#[inline(never)]
fn take_other(s: &mut Shard, frame: FrameId, tuple: &Tuple, now: u64) -> Taken {
    let hash = s.hash(tuple);
    // Of a packet for none of them not even the addresses are known to make sense.
    let Some(entry) = s.flow_of(hash, tuple) else { return Taken::No };
    if let Entry::Connection(h) = entry {
        s.after.recent = h;
        return take_recent(s, frame, now).unwrap_or(Taken::No);
    }
    let Some(packet) = look(&s.frames, frame) else { return Taken::No };
    if !packet.is_whole(&s.net, tuple) {
        return Taken::No;
    }
    let segment = packet.segment(tuple, frame);
    s.counters.tcp_segments_in += 1;
    input::deliver(s, entry, &segment, now);
    Taken::Handled
}

/// Takes the packet if it is for the connection that the last one was for.
#[inline(always)]
fn take_recent(s: &mut Shard, frame: FrameId, now: u64) -> Result<Taken, IsFor> {
    let Some(packet) = look(&s.frames, frame) else { return Ok(Taken::No) };
    let tuple = tuple(packet.front);
    let h = s.after.recent;
    let Some(c) = s.connections.get_mut(h) else { return Err(IsFor(tuple)) };
    if tuple != c.head.tuple || !c.marks.has(Marks::IN_TABLE) {
        return Err(IsFor(tuple));
    }
    if !packet.is_whole(&s.net, &c.head.tuple) {
        return Ok(Taken::No);
    }
    s.counters.tcp_segments_in += 1;
    let (front, len) = (packet.front, packet.len);
    if len > 0 && is_next(c, front) && says_what_is_known(c, front) && fits(c, &s.frames, front, len) {
        let data = packet.data(frame);
        take_data(c, h, &mut s.frames, &s.head.sysctls, data, now);
        if !c.marks.put(Marks::TOUCHED) {
            input::list_touched(s, h, now);
        }
        return Ok(Taken::Queued);
    }
    let segment = packet.segment(&c.head.tuple, frame);
    if is_next(c, front) && moves_on(c, front) && (len == 0 || fits(c, &s.frames, front, len)) {
        take_ack(s, h, &segment, packet.data(frame), now);
        return Ok(if len > 0 { Taken::Queued } else { Taken::Handled });
    }
    input::to_connection(s, h, &segment, now);
    Ok(Taken::Handled)
}

/// Takes a segment that acknowledges something new.
#[inline(never)]
fn take_ack(s: &mut Shard, h: Handle<Connection>, segment: &Segment, data: Data, now: u64) {
    let Some(mut t) = turn::begin(s, h, now) else { return };
    ack::moves_on(&mut t, segment);
    take_data(t.c, h, t.frames, &t.head.sysctls, data, now);
    if !t.c.marks.put(Marks::TOUCHED) {
        input::list_touched(s, h, now);
    }
    rollback::end(&mut s.head);
}

/// What the next segment of the stream brings.
#[derive(Clone, Copy)]
struct Data {
    frame: FrameId,
    payload: u16,
    len: u16,
    is_pushed: bool,
    /// The peer's timestamp.
    stamp: u32,
}

#[inline(always)]
fn take_data(
    c: &mut Connection,
    h: Handle<Connection>,
    frames: &mut Frames,
    sysctls: &Sysctls,
    data: Data,
    now: u64,
) {
    let Data { frame, payload, len, is_pushed, stamp } = data;
    c.timers.last_received = now;
    c.tally.arrived(len, now);
    c.send.probes = 0;
    c.send.window_seq = c.receive.next;
    if c.receive.acked == c.receive.next {
        // RFC 7323 4.3: the segment that advances the left edge.
        c.receive.ts_recent = stamp;
        c.receive.ts_recent_at = milliseconds(now);
    }
    if len > 0 {
        delayed_ack::on_segment(c, sysctls, len, is_pushed, now);
        receive_queue::enqueue(c, h, frames, frame, payload, len);
        settle();
        incoming::advance(c, u32::from(len));
    }
}

/// A packet that has no options but timestamps.
#[derive(Clone, Copy)]
struct Packet<'a> {
    meta: &'a FrameMeta,
    front: &'a Front,
    all: &'a [u8],
    /// Of the payload.
    len: u16,
}

#[inline(always)]
fn look(frames: &Frames, frame: FrameId) -> Option<Packet<'_>> {
    let meta = frames.meta(frame)?;
    let all = frames.packet(frame);
    let (front, payload) = Front::ref_from_prefix(all).ok()?;
    if !is_usual(front, all.len()) {
        return None;
    }
    Some(Packet { meta, front, all, len: payload.len() as u16 })
}

impl Packet<'_> {
    /// Whether it is as it was sent, and to us.
    #[inline(always)]
    fn is_whole(&self, net: &Net, tuple: &Tuple) -> bool {
        let Some(bytes) = self.all.get(ETHERNET_LEN + IPV4_LEN..) else { return false };
        net.is_local(tuple.local)
            && checksum::is_right(checksum::sum_of(self.front.ip.as_plain()))
            && input::checksum_is_right(net, tuple, self.front.tcp.checksum.get(), bytes, self.meta.via)
    }

    /// Where the payload is in the chunk.
    #[inline(always)]
    fn payload(&self) -> u16 {
        self.meta.start + HEADERS as u16
    }

    #[inline(always)]
    fn data(&self, frame: FrameId) -> Data {
        let Front { tcp, timestamps, .. } = self.front;
        let (is_pushed, stamp) = (tcp.flags.has(Flags::PSH), timestamps.value.get());
        Data { frame, payload: self.payload(), len: self.len, is_pushed, stamp }
    }

    #[inline(always)]
    fn segment(&self, tuple: &Tuple, frame: FrameId) -> Segment {
        let Front { ip, tcp, timestamps, .. } = self.front;
        Segment {
            tuple: *tuple,
            seq: Seq(tcp.seq.get()),
            ack: Seq(tcp.ack.get()),
            flags: tcp.flags,
            window: tcp.window.get(),
            urgent: tcp.urgent.get(),
            service: ip.service,
            timestamps: Some(Timestamps { value: timestamps.value.get(), echo: timestamps.echo.get() }),
            frame,
            options: (OPTIONS as u16, TIMESTAMPS_LEN as u16),
            payload: self.payload(),
            len: self.len,
        }
    }
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

/// Whether the segment is the next of the stream, and its headers tell nothing that is seldom told.
#[inline(always)]
fn is_next(c: &Connection, front: &Front) -> bool {
    let Front { ip, tcp, timestamps, .. } = front;
    let seq = Seq(tcp.seq.get());
    let is_old = (timestamps.value.get().wrapping_sub(c.receive.ts_recent) as i32) < 0;
    c.state == State::ESTABLISHED
        && c.marks.has(Marks::TIMESTAMPS)
        && tcp.flags | Flags::PSH == Flags::ACK | Flags::PSH
        && ip.service & ecn::FIELD != ecn::CONGESTION
        && seq == c.receive.next
        && !c.send.window_seq.is_after(seq)
        && !is_old
}

/// Whether it acknowledges nothing, and moves no window.
#[inline(always)]
fn says_what_is_known(c: &Connection, front: &Front) -> bool {
    Seq(front.tcp.ack.get()) == c.send.una
        && u32::from(front.tcp.window.get()).wrapping_shl(u32::from(c.send.scale)) == c.send.window
}

/// Whether it acknowledges something new.
#[inline(always)]
fn moves_on(c: &Connection, front: &Front) -> bool {
    let ack = Seq(front.tcp.ack.get());
    ack.is_after(c.send.una) && !ack.is_after(c.send.next)
}

/// Whether its payload goes behind the queue as it is: no hole is to be filled, there is room for all of it, and it is no
/// sample of the round trip.
#[inline(always)]
fn fits(c: &Connection, frames: &Frames, front: &Front, len: u16) -> bool {
    let r = &c.receive;
    u32::from(len) <= c.receive_window()
        && (len > SMALL || r.queue.is_empty())
        && r.beyond.is_empty()
        && c.urgent.state == Condition::NONE
        && r.unread < c.receive_buffer()
        && !tuning::is_sample(c, len, front.timestamps.echo.get())
        && !frames.is_exhausted()
}
