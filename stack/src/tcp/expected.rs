//! Header prediction (Jacobson, 1990): mostly a packet is the next data of the connection that the last one was for, and
//! tells nothing else. It goes a short way, on which every header is where it always is. Whatever is not as expected
//! takes the long way, which alone decides; what is done here is what the long way does with the same packet.

use super::connection::{Connection, Marks};
use super::input;
use super::receive_queue::{self, SMALL};
use super::transmit::milliseconds;
use super::{Seq, State, Tuple, incoming, tuning};
use crate::ip::net::{Addr, Net};
use crate::region::{FrameId, Frames};
use crate::shard::{Entry, Shard};
use crate::wire::headers::{ETHERNET_LEN, IPV4_LEN, TCP_LEN};
use crate::wire::options::{ALIGNED_TIMESTAMPS, TIMESTAMPS_LEN};
use crate::wire::{EtherType, EthernetHeader, Flags, Ipv4Header, Protocol, TcpHeader, checksum};
use zerocopy::network_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The front of nearly every packet.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Front {
    ethernet: EthernetHeader,
    ip: Ipv4Header,
    tcp: TcpHeader,
    timestamps: Timestamps,
}

/// RFC 7323 appendix A: as everybody lays them out.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Timestamps {
    kind: [u8; 4],
    value: U32,
    echo: U32,
}

const HEADERS: usize = ETHERNET_LEN + IPV4_LEN + TCP_LEN + TIMESTAMPS_LEN;
/// TCP's header and the timestamps, in words, where the header says it.
const OFFSET: u8 = ((TCP_LEN + TIMESTAMPS_LEN) as u8 / 4) << 4;
const VERSION_AND_LEN: u8 = 0x45;

/// The lowest bits of the second byte of the IP header.
const ECN: u8 = 3;

/// Takes a packet that is just what was expected next. False: nothing is done, and it goes the long way.
#[inline]
pub(crate) fn take(s: &mut Shard, frame: FrameId, now: u64) -> bool {
    let h = s.after.recent;
    let Some(c) = s.connections.get_mut(h) else { return false };
    let Some(data) = look(&s.frames, &s.net, c, frame) else { return false };
    s.head.changing = Entry::Connection(h).as_ref();
    s.counters.tcp_segments_in += 1;
    note_headers(c, &data, now);
    receive_queue::enqueue(c, h, &mut s.frames, frame, data.payload, data.len);
    incoming::advance(c, u32::from(data.len));
    if !c.marks.has(Marks::TOUCHED) {
        input::touch(s, h, now);
    }
    true
}

/// What an expected segment brings.
struct Data {
    /// Where in the chunk.
    payload: u16,
    len: u16,
    timestamp: u32,
}

/// Whether the packet is what the connection expects.
#[inline(always)]
fn look(frames: &Frames, net: &Net, c: &Connection, frame: FrameId) -> Option<Data> {
    let meta = frames.meta(frame)?;
    let packet = frames.packet(frame);
    let (front, _) = Front::ref_from_prefix(packet).ok()?;
    let len = packet.len() - HEADERS;
    if !is_plain(front, packet.len()) || !is_for(c, front) || !is_next(c, front, len as u32) {
        return None;
    }
    if frames.is_exhausted() || !net.is_local(c.head.tuple.local) {
        return None;
    }
    let segment = packet.get(ETHERNET_LEN + IPV4_LEN..)?;
    let sums_are_right = checksum::is_right(checksum::sum_of(front.ip.as_plain()))
        && input::checksum_is_right(net, &c.head.tuple, front.tcp.checksum.get(), segment, meta.via);
    sums_are_right.then(|| Data {
        payload: meta.start + HEADERS as u16,
        len: len as u16,
        timestamp: front.timestamps.value.get(),
    })
}

/// Whether nothing is in the headers that is seldom there: options other than timestamps, a fragment, padding, word of
/// congestion, flags other than ACK and PSH.
#[inline(always)]
fn is_plain(front: &Front, packet_len: usize) -> bool {
    let Front { ethernet, ip, tcp, timestamps } = front;
    ethernet.kind == EtherType::IPV4
        && ip.version_and_len == VERSION_AND_LEN
        && ip.service & ECN != ECN
        && ETHERNET_LEN + usize::from(ip.total_len.get()) == packet_len
        && !ip.is_fragment()
        && ip.protocol == Protocol::TCP
        && tcp.offset == OFFSET
        && tcp.flags | Flags::PSH == Flags::ACK | Flags::PSH
        && timestamps.kind == ALIGNED_TIMESTAMPS
}

#[inline(always)]
fn is_for(c: &Connection, front: &Front) -> bool {
    let Front { ip, tcp, .. } = front;
    let tuple = Tuple {
        local: Addr(ip.destination.get()),
        remote: Addr(ip.source.get()),
        local_port: tcp.destination.get(),
        remote_port: tcp.source.get(),
    };
    tuple == c.head.tuple
}

/// Whether the segment brings the next bytes of the stream to a connection that has no hole to fill, and does nothing
/// else: acknowledges nothing, moves no window, is no sample of the round trip.
#[inline(always)]
fn is_next(c: &Connection, front: &Front, len: u32) -> bool {
    let Front { tcp, timestamps, .. } = front;
    let (seq, r) = (Seq(tcp.seq.get()), &c.receive);
    let is_old = (timestamps.value.get().wrapping_sub(r.ts_recent) as i32) < 0;
    c.state == State::ESTABLISHED
        && c.marks.has(Marks::TIMESTAMPS)
        && seq == r.next
        && Seq(tcp.ack.get()) == c.send.una
        && u32::from(tcp.window.get()).wrapping_shl(u32::from(c.send.scale)) == c.send.window
        && !c.send.window_seq.is_after(seq)
        && !is_old
        && len > 0
        && len <= c.receive_window()
        && (len > u32::from(SMALL) || r.queue.is_empty())
        && r.beyond.is_empty()
        && !tuning::is_sample(c, len as u16, timestamps.echo.get())
}

/// What the headers say of the peer, though it is nothing new.
#[inline(always)]
fn note_headers(c: &mut Connection, data: &Data, now: u64) {
    c.timers.last_received = now;
    c.send.probes = 0;
    c.send.window_seq = c.receive.next;
    c.receive.mss = c.receive.mss.max(data.len);
    if c.receive.acked == c.receive.next {
        // RFC 7323 4.3: the segment that advances the left edge.
        c.receive.ts_recent = data.timestamp;
        c.receive.ts_recent_at = milliseconds(now);
    }
}
