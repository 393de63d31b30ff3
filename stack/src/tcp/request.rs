//! Half-open connections: from a peer's SYN to its final ACK.

use super::connection::Marks;
use super::entries::Speaks;
use super::handshake::{self, SYN_ACK_RETRIES};
use super::segment::Segment;
use super::transmit::{self, milliseconds};
use super::{Listener, Request, State, input, listen, numbers, reply, rtt, turn, window};
use crate::region::{HEADROOM, Handle, Purpose};
use crate::shard::{Entry, EntryHead, Shard};
use crate::wire::options::{parse, syn_bytes};
use crate::wire::{Flags, SegmentHeaders, Timestamps};

/// The peer does not scale its windows.
const UNSCALED: u8 = u8::MAX;
/// LINUX: net.ipv4.tcp_max_syn_backlog at its least; a listener with a short backlog gets as much.
const LEAST_HALF_OPEN: u32 = 128;
/// LINUX: net.ipv4.tcp_invalid_ratelimit, in milliseconds.
pub(super) const ANSWER_INTERVAL: u32 = 500;

/// A SYN for a listener.
pub(super) fn on_syn(s: &mut Shard, listener: Handle<Listener>, segment: &Segment, now: u64) {
    let Some(l) = s.listeners.get(listener) else { return };
    // LINUX: tcp_conn_request(): while nobody accepts, nobody new is let in.
    if listen::is_full(l) {
        s.counters.accept_queue_overflows += 1;
        return;
    }
    if l.half_open >= l.backlog.max(LEAST_HALF_OPEN) {
        s.counters.syn_queue_overflows += 1;
        return;
    }
    let Some(h) = s.requests.alloc() else {
        s.counters.syn_queue_overflows += 1;
        return;
    };
    let said = parse(options(s, segment));
    let sysctls = s.head.sysctls;
    let speaks = Speaks::default()
        .with(Speaks::TIMESTAMPS, said.timestamps.is_some() && sysctls.tcp_timestamps != 0)
        .with(Speaks::SACK, said.sack_permitted && sysctls.tcp_sack != 0);
    let iss = numbers::initial(s, &segment.tuple, now);
    let Some(r) = s.requests.get_mut(h) else { return };
    *r = Request {
        head: EntryHead::new(segment.tuple),
        listener,
        iss,
        irs: segment.seq,
        ts_recent: said.timestamps.map_or(0, |t| t.value),
        since: milliseconds(now),
        due: 0,
        answered: milliseconds(now).wrapping_sub(ANSWER_INTERVAL),
        peer_mss: said.mss.unwrap_or(transmit::DEFAULT_MSS),
        scale: said.window_scale.filter(|_| sysctls.tcp_window_scaling != 0).unwrap_or(UNSCALED),
        resent: 0,
        speaks,
        path_waits: 0,
        pad: [0; 2],
    };
    turn::enter_table(s, Entry::Request(h));
    if let Some(l) = s.listeners.get_mut(listener) {
        l.half_open += 1;
    }
    answer(s, h, now);
}

fn options<'a>(s: &'a Shard, segment: &Segment) -> &'a [u8] {
    let (at, len) = (usize::from(segment.options.0), usize::from(segment.options.1));
    s.frames.packet(segment.frame).get(at..at + len).unwrap_or(&[])
}

/// Sends the SYN+ACK, or tries again soon when the address of the next hop is not known yet.
fn answer(s: &mut Shard, h: Handle<Request>, now: u64) {
    let is_sent = send_syn_ack(s, h, now);
    let Some(r) = s.requests.get_mut(h) else { return };
    let deadline = if is_sent {
        r.path_waits = 0;
        now + (rtt::INITIAL_TIMEOUT << r.resent.min(7))
    } else {
        r.path_waits = r.path_waits.saturating_add(1);
        now + (transmit::FIRST_PATH_WAIT << r.path_waits.min(transmit::LONGEST_PATH_WAIT_SHIFT))
    };
    r.due = milliseconds(deadline);
    s.arm(Entry::Request(h), deadline);
}

/// The SYN+ACK was not answered.
pub(super) fn on_timer(s: &mut Shard, h: Handle<Request>, now: u64) {
    let Some(r) = s.requests.get_mut(h) else { return };
    let early = r.due.wrapping_sub(milliseconds(now)) as i32;
    if early > 0 {
        return s.arm(Entry::Request(h), now + early as u64 * 1_000_000);
    }
    if u32::from(r.resent) >= SYN_ACK_RETRIES {
        return forget(s, h);
    }
    match r.path_waits {
        0 => {
            r.resent += 1;
            s.counters.tcp_retransmissions += 1;
        }
        MOST_PATH_WAITS => return forget(s, h),
        _ => {}
    }
    answer(s, h, now);
}

/// Ends a half-open connection.
fn forget(s: &mut Shard, h: Handle<Request>) {
    let listener = s.requests.get(h).map(|r| r.listener).unwrap_or_default();
    if let Some(l) = s.listeners.get_mut(listener) {
        l.half_open = l.half_open.saturating_sub(1);
    }
    turn::leave_table(s, Entry::Request(h));
    s.requests.free(h);
}

/// False without a way to the peer. Without a frame the SYN+ACK is lost, and its timer sends another.
fn send_syn_ack(s: &mut Shard, h: Handle<Request>, now: u64) -> bool {
    let Some(r) = s.requests.get(h).copied() else { return false };
    let Some(settings) = s.listeners.get(r.listener).map(|l| l.settings) else { return false };
    let tuple = r.head.tuple;
    let path = s.net.path(tuple.remote).filter(|p| p.resolved != 0);
    s.after.keeper |= s.net.head.wanted != 0;
    let Some(path) = path else {
        s.counters.neighbour_missing += 1;
        return false;
    };
    let mut offer = handshake::offer(&settings, &path, s.frames.chunk_size());
    if r.speaks.has(Speaks::TIMESTAMPS) {
        let value = milliseconds(now).wrapping_add(numbers::timestamp_offset(s, &tuple));
        offer.timestamps = Some(Timestamps { value, echo: r.ts_recent });
    }
    offer.sack_permitted = r.speaks.has(Speaks::SACK);
    if r.scale != UNSCALED {
        offer.window_scale = Some(window::scale_for(&settings, &s.head.sysctls));
    }
    let (bytes, len) = syn_bytes(&offer);
    let headers = SegmentHeaders {
        mac_to: path.to,
        mac_from: path.from,
        source: tuple.local.0,
        destination: tuple.remote.0,
        source_port: tuple.local_port,
        destination_port: tuple.remote_port,
        seq: r.iss.0,
        ack: (r.irs + 1).0,
        flags: Flags::SYN | Flags::ACK,
        window: window::initial(&settings, &s.head.sysctls) as u16,
        urgent: 0,
        service: 0,
        options: bytes.get(..len).unwrap_or(&[]),
        payload_len: 0,
        payload_sum: 0,
    };
    send_headers(s, &headers, path.via);
    true
}

/// Sends a packet that belongs to no connection.
pub(super) fn send_headers(s: &mut Shard, headers: &SegmentHeaders<'_>, via: u8) {
    let Some(frame) = s.frames.alloc(Purpose::Control) else {
        s.counters.no_frame += 1;
        return;
    };
    let len = headers.byte_len() as u16;
    let room = s.frames.chunk_mut(frame).get_mut(..usize::from(HEADROOM));
    if room.and_then(|room| headers.write(room)).is_some() {
        if let Some(meta) = s.frames.meta_mut(frame) {
            (meta.start, meta.len, meta.via) = (HEADROOM - len, len, via);
        }
        s.counters.tcp_segments_out += 1;
        s.transmit(frame);
    }
    s.frames.release(frame);
}

/// Sends the SYN+ACK again because of what the peer sent; not more than once in a while, or two ends that do not
/// understand each other would answer for ever.
fn answer_again(s: &mut Shard, h: Handle<Request>, now: u64) {
    let Some(r) = s.requests.get_mut(h) else { return };
    if milliseconds(now).wrapping_sub(r.answered) >= ANSWER_INTERVAL {
        r.answered = milliseconds(now);
        send_syn_ack(s, h, now);
    }
}

/// A segment for a half-open connection.
///
/// LINUX: tcp_check_req().
pub(super) fn on_segment(s: &mut Shard, h: Handle<Request>, segment: &Segment, now: u64) {
    let Some(r) = s.requests.get(h).copied() else { return };
    let Some(l) = s.listeners.get(r.listener) else { return forget(s, h) };
    let (expected, settings) = (r.irs + 1, l.settings);
    let flags = segment.flags;
    // The peer has not seen our SYN+ACK yet.
    if segment.seq == r.irs && flags.only(Flags::SYN | Flags::ACK | Flags::RST) == Flags::SYN {
        return answer_again(s, h, now);
    }
    if flags.has(Flags::RST) {
        if segment.seq == expected {
            s.counters.tcp_resets_in += 1;
            forget(s, h);
        }
        return;
    }
    let edge = expected + window::initial(&settings, &s.head.sysctls);
    let is_old = segment
        .timestamps
        .is_some_and(|t| r.speaks.has(Speaks::TIMESTAMPS) && (t.value.wrapping_sub(r.ts_recent) as i32) < 0);
    if segment.seq.is_before(expected) || segment.seq.is_after(edge) || is_old {
        s.counters.tcp_out_of_window += 1;
        return answer_again(s, h, now);
    }
    if flags.has(Flags::SYN) || !flags.has(Flags::ACK) {
        return;
    }
    if segment.ack != r.iss + 1 {
        s.counters.tcp_no_socket += 1;
        return reply::reset(s, segment);
    }
    if is_deferred(&settings, &r, segment, now) {
        return;
    }
    if listen::is_full(l) {
        // LINUX: the ACK is dropped; the peer, who believes to be connected, sends again what it sends.
        s.counters.accept_queue_overflows += 1;
        return;
    }
    promote(s, h, segment, now);
}

/// TCP_DEFER_ACCEPT: the program wants to hear of a connection only when it has sent something.
fn is_deferred(settings: &super::Settings, r: &Request, segment: &Segment, now: u64) -> bool {
    let waited = milliseconds(now).wrapping_sub(r.since) / 1000;
    segment.len == 0 && !segment.flags.has(Flags::FIN) && waited < settings.defer_accept
}

/// The handshake is complete: a connection takes the entry's place.
fn promote(s: &mut Shard, h: Handle<Request>, segment: &Segment, now: u64) {
    let Some(r) = s.requests.get(h).copied() else { return };
    let Some(settings) = s.listeners.get(r.listener).map(|l| l.settings) else { return };
    let tuple = r.head.tuple;
    let path = s.net.path(tuple.remote).unwrap_or_default();
    let Some(connection) = handshake::create(s, tuple, &settings, path, r.iss, now) else { return };
    forget(s, h);
    turn::enter_table(s, Entry::Connection(connection));
    s.counters.connections_opened_passive += 1;
    let initial_window = window::initial(&settings, &s.head.sysctls);
    if let Some(mut t) = turn::begin(s, connection, now) {
        t.enter(State::SYN_RECEIVED);
        let c = &mut *t.c;
        c.marks.set(Marks::PASSIVE);
        if r.speaks.has(Speaks::TIMESTAMPS) {
            c.marks.set(Marks::TIMESTAMPS);
        }
        if r.scale == UNSCALED {
            c.receive.scale = 0;
        } else {
            c.marks.set(Marks::SCALED);
            c.send.scale = r.scale;
        }
        if r.speaks.has(Speaks::SACK) {
            c.marks.set(Marks::SACK);
        }
        c.send.peer_mss = r.peer_mss;
        c.receive.next = r.irs + 1;
        c.receive.acked = r.irs + 1;
        c.receive.edge = c.receive.next + initial_window;
        c.receive.ts_recent = r.ts_recent;
        c.receive.ts_recent_at = milliseconds(now);
        if r.resent == 0 {
            let elapsed = milliseconds(now).wrapping_sub(r.since);
            rtt::measured(&mut c.rtt, u64::from(elapsed) * 1_000_000);
        }
        t.fit_segments();
        let shift = t.c.send.scale;
        // The segment's own place is a little after this, so that its window counts again.
        handshake::begin_transfer(&mut t, r.irs, segment.ack, u32::from(segment.window) << shift.min(14));
        t.c.news = 0;
    }
    listen::enqueue(s, r.listener, connection);
    input::to_connection(s, connection, segment, now);
}

/// Every half-open connection belongs to a listener, which counts it.
pub(super) fn check(s: &Shard) -> bool {
    let has_listener = |h| s.requests.get(h).is_some_and(|r: &Request| s.listeners.get(r.listener).is_some());
    let claimed: u32 = s.listeners.live().filter_map(|h| s.listeners.get(h)).map(|l| l.half_open).sum();
    s.requests.live().all(has_listener) && claimed == s.requests.in_use()
}

/// Three seconds of waits of 64 ms: as long as the kernel looks for a neighbour.
const MOST_PATH_WAITS: u8 = 52;
