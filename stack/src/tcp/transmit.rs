//! Building one segment and handing it to the link.

use super::connection::Marks;
use super::turn::Turn;
use super::{Seq, delayed_ack, ecn, pacing, path_mtu, rate, recovery, sack, send_queue, urgent, window};
use crate::ip::net::{NeighbourState, Path, VIA_LOOPBACK};
use crate::region::{FrameId, HEADROOM, Purpose};
use crate::wire::options::{TIMESTAMPS_LEN, segment_bytes, timestamp_bytes};
use crate::wire::{Flags, SegmentHeaders, Timestamps};

/// Room that a received packet may have in front of it: XDP's headroom and what drivers add.
const RECEIVE_HEADROOM: u32 = 320;
/// Ethernet, IP and TCP headers without options.
const HEADERS: u32 = 54;
const IP_AND_TCP: u32 = 40;
/// RFC 9293 3.7.1: the MSS of a peer that says nothing.
pub(super) const DEFAULT_MSS: u16 = 536;
/// LINUX: TCP_MIN_SND_MSS less the options.
const SMALLEST_MSS: u16 = 48;
pub(super) const FIRST_PATH_WAIT: u64 = 1_000_000;
pub(super) const LONGEST_PATH_WAIT_SHIFT: u8 = 6;

/// The largest segment, without options, that the path and our frames can carry.
pub(super) fn path_mss(path: &Path, chunk_size: u32) -> u16 {
    let headroom = if path.via == VIA_LOOPBACK { u32::from(HEADROOM) } else { RECEIVE_HEADROOM };
    let by_frame = chunk_size.saturating_sub(headroom + HEADERS);
    let by_path = u32::from(path.mtu).saturating_sub(IP_AND_TCP);
    by_frame.min(by_path).clamp(u32::from(SMALLEST_MSS), u32::from(u16::MAX)) as u16
}

impl Turn<'_> {
    /// Milliseconds, as our timestamps count them on this connection.
    pub(super) fn timestamp(&self) -> u32 {
        milliseconds(self.now).wrapping_add(self.c.timestamp_offset)
    }

    /// The same at another time.
    pub(super) fn timestamp_of(&self, time: u64) -> u32 {
        milliseconds(time).wrapping_add(self.c.timestamp_offset)
    }

    /// Sets the size of a full segment from what the path, the peer and the program allow.
    pub(super) fn fit_segments(&mut self) {
        let c = &mut *self.c;
        let mut mss = path_mss(&c.path, self.frames.chunk_size()).min(c.send.peer_mss.max(SMALLEST_MSS));
        if let Some(limit) = c.probing.limit() {
            mss = mss.min(limit.max(SMALLEST_MSS));
        }
        if c.settings.max_segment != 0 {
            mss = mss.min(c.settings.max_segment.clamp(u32::from(SMALLEST_MSS), u32::from(u16::MAX)) as u16);
        }
        let options = if c.marks.has(Marks::TIMESTAMPS) { TIMESTAMPS_LEN as u16 } else { 0 };
        c.send.mss = mss.saturating_sub(options).max(SMALLEST_MSS - TIMESTAMPS_LEN as u16);
    }

    /// Whether packets can leave: the way is known, down to the address of the next hop. If not, a timer tries again.
    pub(super) fn has_path(&mut self) -> bool {
        let path = &self.c.path;
        if path.generation == self.net.head.generation && path.resolved != 0 {
            return true;
        }
        if let Some(path) = self.net.path(self.c.head.tuple.remote) {
            let mtu = core::mem::replace(&mut self.c.path, path).mtu;
            path_mtu::recall(self);
            if mtu != self.c.path.mtu {
                self.fit_segments();
            }
            if path.resolved != 0 {
                self.c.send.path_waits = 0;
                return true;
            }
        }
        self.counters.neighbour_missing += 1;
        *self.keeper |= self.net.head.wanted != 0;
        let shift = self.c.send.path_waits.min(LONGEST_PATH_WAIT_SHIFT);
        self.c.send.path_waits = self.c.send.path_waits.saturating_add(1);
        self.c.timers.push = self.now + (FIRST_PATH_WAIT << shift);
        false
    }

    /// The kernel has given up on the next hop.
    pub(super) fn neighbour_failed(&self) -> bool {
        let Path { next_hop, device, resolved, .. } = self.c.path;
        let mut known = self.net.neighbours().iter();
        resolved == 0
            && known.any(|n| n.addr == next_hop && n.device == device && n.state == NeighbourState::FAILED)
    }

    /// Sends a segment without payload. False when no frame is free; the path must be there.
    pub(super) fn send_bare(&mut self, flags: Flags, seq: Seq) -> bool {
        self.send_control(flags, seq, None)
    }

    /// Sends a segment without payload; `options` instead of those of every segment.
    pub(super) fn send_control(&mut self, flags: Flags, seq: Seq, options: Option<&[u8]>) -> bool {
        let Some(frame) = self.frames.alloc(Purpose::Control) else {
            self.counters.no_frame += 1;
            return false;
        };
        if let Some(meta) = self.frames.meta_mut(frame) {
            meta.payload = HEADROOM;
        }
        self.send_frame(frame, flags, seq, options);
        self.frames.release(frame);
        true
    }

    /// Sends a segment with a copy of the payload of `of`, which stays as if it had never been sent.
    pub(super) fn send_copy(&mut self, of: FrameId, flags: Flags, seq: Seq, options: Option<&[u8]>) -> bool {
        let Some(payload) = self.frames.meta(of).copied() else { return false };
        let Some(frame) = self.frames.alloc(Purpose::Control) else {
            self.counters.no_frame += 1;
            return false;
        };
        send_queue::copy(self.frames, (of, payload.payload), (frame, HEADROOM), payload.payload_len);
        if let Some(meta) = self.frames.meta_mut(frame) {
            (meta.payload, meta.payload_len, meta.sum) = (HEADROOM, payload.payload_len, payload.sum);
        }
        self.send_frame(frame, flags, seq, options);
        self.frames.release(frame);
        true
    }

    /// Sends a frame of the queue, for the first time or again.
    pub(super) fn send_queued(&mut self, frame: FrameId) {
        let Some(meta) = self.frames.meta_mut(frame) else { return };
        // What ended a write when it was sent first still does when it is sent again.
        if meta.link.next == 0 && meta.payload_len > 0 {
            meta.flags |= recovery::PUSH;
        }
        let mut flags = Flags::ACK;
        for (bit, flag) in [(recovery::PUSH, Flags::PSH), (recovery::FIN, Flags::FIN)] {
            if meta.flags & bit != 0 {
                flags = flags | flag;
            }
        }
        let seq = meta.seq;
        rate::on_sent(self, frame);
        self.send_frame(frame, flags, Seq(seq), None);
        if let Some(meta) = self.frames.meta_mut(frame) {
            meta.sent_at = self.now;
            meta.transmissions = meta.transmissions.saturating_add(1);
            let len = u32::from(meta.payload_len);
            self.c.tally.data_out = self.c.tally.data_out.wrapping_add(u32::from(len > 0));
            pacing::on_sent(self, len);
            recovery::on_sent(self, frame);
        }
        self.c.timers.last_sent = self.now;
    }

    fn send_frame(&mut self, frame: FrameId, flags: Flags, seq: Seq, options: Option<&[u8]>) {
        let acks = flags.has(Flags::ACK);
        let window =
            if flags.has(Flags::SYN) { window::announce_unscaled(self) } else { window::announce(self) };
        let (ours, with_blocks);
        let options = match options {
            Some(options) => options,
            None if acks && sack::is_due(self) => {
                let payload = self.frames.meta(frame).map_or(0, |m| m.payload_len);
                let blocks = sack::blocks(self, payload);
                let timestamps = Timestamps { value: self.timestamp(), echo: self.c.receive.ts_recent };
                let timestamps = self.c.marks.has(Marks::TIMESTAMPS).then_some(timestamps);
                let len;
                (with_blocks, len) = segment_bytes(timestamps, &blocks);
                with_blocks.get(..len).unwrap_or(&[])
            }
            None if self.c.marks.has(Marks::TIMESTAMPS) => {
                let echo = if acks { self.c.receive.ts_recent } else { 0 };
                ours = timestamp_bytes(Timestamps { value: self.timestamp(), echo });
                &ours
            }
            None => &[],
        };
        let Some((payload_len, payload_sum)) = self.frames.meta(frame).map(|m| (m.payload_len, m.sum)) else {
            return;
        };
        let is_new_data = payload_len > 0 && !seq.is_before(self.c.send.next);
        let (flags, service) = ecn::outgoing(self.c, flags, is_new_data);
        let urgent = urgent::pointer(self.c, seq);
        let flags = if urgent.is_some() { flags | Flags::URG } else { flags };
        let headers = SegmentHeaders {
            urgent: urgent.unwrap_or(0),
            payload_len,
            payload_sum,
            ..self.headers(seq, flags, window, service, options)
        };
        let via = self.c.path.via;
        let Some((meta, chunk)) = self.frames.meta_and_chunk(frame) else { return };
        let header_len = headers.byte_len() as u16;
        meta.start = meta.payload.saturating_sub(header_len);
        meta.len = payload_len.wrapping_add(header_len);
        meta.via = via;
        let Some(room) = chunk.get_mut(..usize::from(meta.payload)) else { return };
        if headers.write(room).is_none() {
            return;
        }
        self.transmit(frame);
        if acks {
            self.acknowledged();
        }
    }

    /// The headers of a segment without payload from this connection.
    #[inline]
    pub(super) fn headers<'a>(
        &self,
        seq: Seq,
        flags: Flags,
        window: u16,
        service: u8,
        options: &'a [u8],
    ) -> SegmentHeaders<'a> {
        let (path, tuple) = (&self.c.path, &self.c.head.tuple);
        SegmentHeaders {
            mac_to: path.to,
            mac_from: path.from,
            source: tuple.local.0,
            destination: tuple.remote.0,
            source_port: tuple.local_port,
            destination_port: tuple.remote_port,
            seq: seq.0,
            ack: if flags.has(Flags::ACK) { self.c.receive.next.0 } else { 0 },
            flags,
            window,
            urgent: 0,
            service,
            options,
            payload_len: 0,
            payload_sum: 0,
        }
    }

    /// What we have received is acknowledged now.
    pub(super) fn acknowledged(&mut self) {
        let is_new = self.c.receive.acked != self.c.receive.next;
        self.c.receive.acked = self.c.receive.next;
        delayed_ack::acknowledged(self.c, is_new);
    }
}

pub(super) fn milliseconds(now: u64) -> u32 {
    (now / 1_000_000) as u32
}
