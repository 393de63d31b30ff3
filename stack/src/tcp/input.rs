//! A segment arrives: RFC 9293 3.10.7.

use super::connection::Marks;
use super::paws::{self, Verdict};
use super::segment::Segment;
use super::turn::{self, Turn};
use super::{
    Connection, Seq, State, Tuple, ack, challenge, handshake, incoming, listen, readiness, request, rollback,
    timewait, urgent,
};
use crate::Error;
use crate::ip::net::{Addr, Net, VIA_LOOPBACK};
use crate::region::{FrameId, Handle};
use crate::shard::{Entry, Shard};
use crate::wire::headers::TCP_LEN;
use crate::wire::{Flags, Protocol, TcpHeader, checksum, options};
use zerocopy::FromBytes;

/// Takes one TCP packet that IP has looked through.
pub(crate) fn receive(s: &mut Shard, frame: FrameId, from: Datagram, now: u64) {
    let found = match parse(s, frame, &from) {
        Ok(found) => found,
        Err(Refused::Malformed) => return s.counters.tcp_malformed += 1,
        Err(Refused::Checksum) => return s.counters.tcp_bad_checksum += 1,
    };
    let header = found.header;
    let header_len = (TCP_LEN + found.options.len()) as u16;
    let segment = Segment {
        tuple: tuple(header, &from),
        seq: Seq(header.seq.get()),
        ack: Seq(header.ack.get()),
        flags: header.flags,
        window: header.window.get(),
        urgent: header.urgent.get(),
        service: from.service,
        timestamps: options::timestamps(found.options),
        frame,
        options: (from.start + TCP_LEN as u16, found.options.len() as u16),
        payload: found.chunk_start + from.start + header_len,
        len: found.payload.len() as u16,
    };
    s.counters.tcp_segments_in += 1;
    arrive(s, &segment, now);
}

/// Where in a frame the segment is, and between whom.
#[derive(Clone, Copy)]
pub(crate) struct Datagram {
    pub source: Addr,
    pub destination: Addr,
    /// The link that it came by.
    pub via: u8,
    /// The second byte of the IP header: DSCP and the ECN codepoint.
    pub service: u8,
    /// Of the TCP header, in the packet.
    pub start: u16,
    /// Bytes from there on.
    pub len: u16,
}

/// A segment that carries nothing but timestamps.
const BARE: usize = TCP_LEN + options::TIMESTAMPS_LEN;

enum Refused {
    Malformed,
    Checksum,
}

/// The parts of a segment that is as it was sent.
struct Found<'a> {
    /// Where its packet begins in the chunk.
    chunk_start: u16,
    header: &'a TcpHeader,
    options: &'a [u8],
    payload: &'a [u8],
}

#[inline]
fn parse<'a>(s: &'a Shard, frame: FrameId, from: &Datagram) -> Result<Found<'a>, Refused> {
    let packet = s.frames.packet(frame);
    let start = usize::from(from.start);
    let bytes = packet.get(start..start + usize::from(from.len)).ok_or(Refused::Malformed)?;
    let (header, behind) = TcpHeader::ref_from_prefix(bytes).map_err(|_| Refused::Malformed)?;
    let options_len = header.header_len().checked_sub(TCP_LEN).ok_or(Refused::Malformed)?;
    let (options, payload) = behind.split_at_checked(options_len).ok_or(Refused::Malformed)?;
    if !checksum_is_right(&s.net, &tuple(header, from), header.checksum.get(), bytes, from.via) {
        return Err(Refused::Checksum);
    }
    let chunk_start = s.frames.meta(frame).map_or(0, |m| m.start);
    Ok(Found { chunk_start, header, options, payload })
}

#[inline]
fn tuple(header: &TcpHeader, from: &Datagram) -> Tuple {
    Tuple {
        local: from.destination,
        remote: from.source,
        local_port: header.destination.get(),
        remote_port: header.source.get(),
    }
}

/// Whether a segment that came by link `via` is as it was sent: `field` is its checksum, `bytes` all of it.
#[inline(always)]
pub(super) fn checksum_is_right(net: &Net, tuple: &Tuple, field: u16, bytes: &[u8], via: u8) -> bool {
    // What came through this region's memory alone could not be changed on the way.
    if via == VIA_LOOPBACK {
        return true;
    }
    let len = bytes.len() as u16;
    let pseudo = checksum::pseudo_header(tuple.remote.0, tuple.local.0, Protocol::TCP.0, len);
    // A local sender leaves the pseudo-header's sum alone, for a card to finish that there is none of.
    if field == checksum::fold(pseudo) && net.is_virtual(via) {
        return true;
    }
    let sum = match bytes.as_array::<BARE>() {
        Some(bare) => checksum::sum_of(bare),
        None => checksum::wide_sum(bytes),
    };
    checksum::is_right(checksum::plus(pseudo, sum))
}

/// Hands the segment to the entry that it is for.
fn arrive(s: &mut Shard, segment: &Segment, now: u64) {
    let recent = s.after.recent;
    let is_for = |c: &Connection| c.head.tuple == segment.tuple && c.marks.has(Marks::IN_TABLE);
    if s.connections.get(recent).is_some_and(is_for) {
        return to_connection(s, recent, segment, now);
    }
    match s.flow(&segment.tuple) {
        Some(entry) => deliver(s, entry, segment, now),
        None => listen::on_segment(s, segment, now),
    }
}

/// Hands the segment to the entry that its addresses and ports have found.
pub(super) fn deliver(s: &mut Shard, entry: Entry, segment: &Segment, now: u64) {
    match entry {
        Entry::Connection(h) => {
            s.after.recent = h;
            to_connection(s, h, segment, now);
        }
        Entry::Request(h) => request::on_segment(s, h, segment, now),
        Entry::TimeWait(h) => timewait::on_segment(s, h, segment, now),
    }
}

/// What the segment does to the connection is settled at the end of the burst.
pub(super) fn to_connection(s: &mut Shard, h: Handle<Connection>, segment: &Segment, now: u64) {
    let mut begun = turn::begin(s, h, now);
    let Some(t) = &mut begun else { return };
    t.c.tally.arrived(segment.len, now);
    process(t, segment);
    if !t.c.marks.put(Marks::TOUCHED) {
        list_touched(s, h, now);
    }
    rollback::end(&mut s.head);
}

/// Puts a connection on the list of those for which the end of the burst does something.
pub(super) fn list_touched(s: &mut Shard, h: Handle<Connection>, now: u64) {
    if s.after.touched.len() < s.after.touched.capacity() {
        s.after.touched.push(h);
    } else {
        finish_burst(s, h, now);
    }
}

/// Sends what the burst called for, once.
pub(super) fn finish_burst(s: &mut Shard, h: Handle<Connection>, now: u64) {
    let _ = turn::act(s, h, now, |t| t.c.marks.clear(Marks::TOUCHED));
}

fn process(t: &mut Turn<'_>, segment: &Segment) {
    match t.c.state {
        State::SYN_SENT => handshake::in_syn_sent(t, segment),
        // The burst has ended the connection already; the peer sends again what it wants answered.
        State::TIME_WAIT => {}
        state if state.is_closed() => {}
        _ => in_other_states(t, segment),
    }
}

fn in_other_states(t: &mut Turn<'_>, segment: &Segment) {
    match paws::judge(t, segment) {
        Verdict::Good => {}
        Verdict::OldAck => return,
        Verdict::Old => {
            t.counters.tcp_old_timestamp += 1;
            return challenge::unacceptable(t, segment);
        }
    }
    if !is_acceptable(t.c, segment) {
        t.counters.tcp_out_of_window += 1;
        return challenge::unacceptable(t, segment);
    }
    if segment.flags.has(Flags::RST) {
        return challenge::reset(t, segment);
    }
    if segment.flags.has(Flags::SYN) && !handshake::is_answer_to_both_open(t.c, segment) {
        return syn(t, segment);
    }
    // "If the ACK bit is off, drop the segment and return."
    if !segment.flags.has(Flags::ACK) {
        return;
    }
    paws::note(t, segment);
    if t.c.state == State::SYN_RECEIVED && !handshake::in_syn_received(t, segment) {
        return;
    }
    if !ack::process(t, segment) || t.c.state.is_closed() {
        return;
    }
    urgent::on_pointer(t, segment);
    if segment.len > 0 || segment.flags.has(Flags::FIN) {
        incoming::process(t, segment);
        urgent::on_arrival(t);
    }
}

/// RFC 9293 3.10.7.4, "first, check sequence number".
///
/// LINUX: tcp_sequence() is a little wider than the RFC: what lies at the right edge passes, so that the ACKs of a
/// peer that fills a closed window count; the payload is cut to the window later.
fn is_acceptable(c: &Connection, segment: &Segment) -> bool {
    !segment.end().is_before(c.receive.acked) && !segment.seq.is_after(c.receive.edge)
}

/// RFC 5961 4.2: a SYN on a synchronized connection is challenged, whatever its sequence number.
fn syn(t: &mut Turn<'_>, segment: &Segment) {
    if t.c.state == State::SYN_RECEIVED && segment.seq + 1 == t.c.receive.next {
        t.c.marks.set(Marks::ACK_NOW);
        return;
    }
    challenge::challenge(t);
}

/// The connection is over, because of `error`.
pub(super) fn fail(t: &mut Turn<'_>, error: Error) {
    t.counters.connections_aborted += 1;
    t.c.socket.error = error.errno() as u32;
    t.enter(State::CLOSED);
    t.announce(
        readiness::ERR | readiness::HUP | readiness::READABLE | readiness::RDHUP | readiness::WRITABLE,
    );
}

/// RFC 9293 3.10.7.4: "<SEQ=SEG.ACK><CTL=RST>", for a segment that cannot be of this connection, or that nobody reads.
pub(super) fn refuse(t: &mut Turn<'_>, segment: &Segment) {
    if t.has_path() {
        t.counters.tcp_resets_out += 1;
        t.send_control(Flags::RST, segment.ack, Some(&[]));
    }
}

/// RFC 9293 3.10.5: the connection is aborted from our side.
pub(super) fn abort_with_reset(t: &mut Turn<'_>, seq: Seq) {
    if t.has_path() {
        t.counters.tcp_resets_out += 1;
        t.send_bare(Flags::RST | Flags::ACK, seq);
    }
}
