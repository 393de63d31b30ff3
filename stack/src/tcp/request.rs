//! Half-open connections: from a peer's SYN to its final ACK.

use super::entries::Speaks;
use super::fast_open::{self, Verdict};
use super::passive::{self, Agreement};
use super::segment::Segment;
use super::transmit::milliseconds;
use super::{
    Connection, Listener, Request, Seq, Settings, Tuple, cookies, listen, numbers, recover, reply, rtt, turn,
    window,
};
use crate::region::{HEADROOM, Handle, Purpose};
use crate::shard::{Entry, EntryHead, Shard};
use crate::wire::options::{Cookie, parse, timestamp_bytes};
use crate::wire::{Flags, SegmentHeaders, Timestamps};

/// LINUX: reqsk_timer_handler(): below this a queue is never thought crowded, and no entry is tried less often.
const SMALLEST_CROWD: u32 = 8;
const LEAST_RETRIES: u32 = 2;
/// net.ipv4.tcp_synack_retries takes no more.
const MOST_RETRIES: u32 = 255;
/// LINUX: secs_to_retrans(): the count is a byte.
const MOST_DEFERRED: u8 = u8::MAX;
/// Three seconds of waits of 64 ms: as long as the kernel looks for a neighbour.
const MOST_PATH_WAITS: u8 = 52;

/// A SYN for a listener. `iss` is given when it takes over a TIME_WAIT entry: such a peer is real.
///
/// LINUX: tcp_conn_request().
pub(super) fn on_syn(
    s: &mut Shard,
    listener: Handle<Listener>,
    segment: &Segment,
    iss: Option<Seq>,
    now: u64,
) {
    let Some(l) = s.listeners.get(listener) else { return };
    let sysctls = &s.head.sysctls;
    let is_crowded = iss.is_none() && (sysctls.tcp_syncookies == 2 || l.half_open > l.backlog);
    let wants_cookie = is_crowded || s.requests.is_full();
    if wants_cookie && sysctls.tcp_syncookies == 0 {
        s.counters.syn_queue_overflows += 1;
        return;
    }
    // LINUX: while nobody accepts, nobody new is let in.
    if listen::is_full(l) {
        s.counters.accept_queue_overflows += 1;
        return;
    }
    // LINUX: without cookies the last quarter is for peers that are known from earlier connections. We keep no
    // record of peers, so it stays empty.
    let most = sysctls.tcp_max_syn_backlog;
    if sysctls.tcp_syncookies == 0 && iss.is_none() && most.saturating_sub(l.half_open) < most >> 2 {
        s.counters.syn_queue_overflows += 1;
        return;
    }
    let said = parse(segment.options_in(&s.frames));
    let iss = iss.unwrap_or_else(|| numbers::initial(s, &segment.tuple, now));
    let agreement = passive::agree(s, listener, segment, &said, iss);
    if wants_cookie {
        return cookies::answer(s, &agreement, segment, now);
    }
    match fast_open::on_syn(s, &agreement, segment, &said, now) {
        Verdict::Taken => {}
        Verdict::Ordinary(cookie) => begin(s, &agreement, cookie, now),
    }
}

/// Makes the entry, and answers.
fn begin(s: &mut Shard, a: &Agreement, cookie: Option<Cookie>, now: u64) {
    let interval = s.head.sysctls.tcp_invalid_ratelimit;
    let request = Request {
        head: EntryHead::new(a.tuple),
        listener: a.listener,
        iss: a.iss,
        irs: a.irs,
        ts_recent: a.ts_recent,
        since: milliseconds(now),
        due: 0,
        answered: milliseconds(now).wrapping_sub(interval),
        peer_mss: a.peer_mss,
        scale: a.scale,
        resent: 0,
        speaks: a.speaks,
        path_waits: 0,
        timeouts: 0,
        pad: 0,
    };
    let Some(h) = s.requests.insert(request) else { return };
    turn::enter_table(s, Entry::Request(h));
    if let Some(l) = s.listeners.get_mut(a.listener) {
        l.half_open = l.half_open.saturating_add(1);
        l.young = l.young.saturating_add(1);
    }
    answer(s, h, a, cookie, now);
}

impl Request {
    fn agreement(&self) -> Agreement {
        Agreement {
            tuple: self.head.tuple,
            listener: self.listener,
            iss: self.iss,
            irs: self.irs,
            ts_recent: self.ts_recent,
            peer_mss: self.peer_mss,
            scale: self.scale,
            speaks: self.speaks,
        }
    }
}

/// Sends the SYN+ACK, or tries again soon when the address of the next hop is not known yet.
fn answer(s: &mut Shard, h: Handle<Request>, a: &Agreement, cookie: Option<Cookie>, now: u64) {
    let is_sent = send_syn_ack(s, a, cookie, now);
    let Some(r) = s.requests.get_mut(h) else { return };
    if is_sent {
        r.path_waits = 0;
        return wait_for_answer(s, h, now);
    }
    r.path_waits = r.path_waits.saturating_add(1);
    let wait =
        super::transmit::FIRST_PATH_WAIT << (r.path_waits - 1).min(super::transmit::LONGEST_PATH_WAIT_SHIFT);
    r.due = milliseconds(now + wait);
    s.arm(Entry::Request(h), now + wait);
}

/// The SYN+ACK is out: RFC 6298 5.5 doubles the time that the answer may take.
fn wait_for_answer(s: &mut Shard, h: Handle<Request>, now: u64) {
    let most = u64::from(s.head.sysctls.tcp_rto_max_ms) * 1_000_000;
    let Some(r) = s.requests.get_mut(h) else { return };
    let deadline = now + (rtt::INITIAL_TIMEOUT << r.timeouts.min(7)).min(most);
    r.due = milliseconds(deadline);
    s.arm(Entry::Request(h), deadline);
}

/// The SYN+ACK was not answered.
///
/// LINUX: reqsk_timer_handler().
pub(super) fn on_timer(s: &mut Shard, h: Handle<Request>, now: u64) {
    let Some(r) = s.requests.get(h).copied() else { return };
    let early = r.due.wrapping_sub(milliseconds(now)) as i32;
    if early > 0 {
        return s.arm(Entry::Request(h), now + early as u64 * 1_000_000);
    }
    match r.path_waits {
        0 => {}
        MOST_PATH_WAITS => return forget(s, h),
        _ => return answer(s, h, &r.agreement(), None, now),
    }
    let Some(l) = s.listeners.get(r.listener) else { return forget(s, h) };
    let (timeouts, deferred) = (u32::from(r.timeouts), u32::from(deferred_timeouts(&l.settings)));
    let was_answered = r.speaks.has(Speaks::ANSWERED);
    let is_over = timeouts >= retries(s, r.listener);
    let may_still_wait = deferred > 0 && was_answered && timeouts < deferred;
    if is_over && !may_still_wait {
        return forget(s, h);
    }
    // An ACK that was put off is asked for again at the end of that time, as the peer's last chance.
    let is_asked = deferred == 0 || !was_answered || timeouts + 1 >= deferred;
    if r.timeouts == 0
        && let Some(l) = s.listeners.get_mut(r.listener)
    {
        l.young = l.young.saturating_sub(1);
    }
    if let Some(r) = s.requests.get_mut(h) {
        r.timeouts = r.timeouts.saturating_add(1);
        r.resent = r.resent.saturating_add(u8::from(is_asked));
    }
    if is_asked {
        s.counters.tcp_retransmissions += 1;
        answer(s, h, &r.agreement(), None, now);
    } else {
        wait_for_answer(s, h, now);
    }
}

/// How often an unanswered SYN+ACK is sent again.
///
/// LINUX: half of the queue is for young entries: when it fills up, the old ones get fewer tries.
fn retries(s: &Shard, listener: Handle<Listener>) -> u32 {
    let Some(l) = s.listeners.get(listener) else { return 0 };
    let retries = match l.settings.syn_count {
        0 => s.head.sysctls.tcp_synack_retries,
        count => count,
    };
    let mut retries = retries.min(MOST_RETRIES);
    if l.half_open.saturating_mul(2) > l.backlog.max(SMALLEST_CROWD) {
        let mut young = l.young.saturating_mul(2);
        while retries > LEAST_RETRIES && l.half_open >= young {
            retries -= 1;
            young = young.saturating_mul(2);
        }
    }
    retries
}

/// TCP_DEFER_ACCEPT in timeouts of the SYN+ACK.
///
/// LINUX: secs_to_retrans(): as many as it takes for their sum to reach the seconds.
fn deferred_timeouts(settings: &Settings) -> u8 {
    let (mut count, mut sum, mut timeout) = (0, 0, 1);
    while count < MOST_DEFERRED && sum < settings.defer_accept {
        sum = sum.saturating_add(timeout);
        timeout = (timeout * 2).min((rtt::LARGEST_TIMEOUT / 1_000_000_000) as u32);
        count += 1;
    }
    count
}

/// Ends a half-open connection.
pub(super) fn forget(s: &mut Shard, h: Handle<Request>) {
    uncount(s, h);
    turn::leave_table(s, Entry::Request(h));
    s.requests.free(h);
}

/// The handshake is done: `connection` goes on in its place.
pub(super) fn give_place(s: &mut Shard, h: Handle<Request>, connection: Handle<Connection>) {
    uncount(s, h);
    if let Some(r) = s.requests.get_mut(h) {
        r.speaks = r.speaks.with(Speaks::SUCCEEDED, true);
    }
    turn::give_place(s, Entry::Request(h), Entry::Connection(connection));
}

/// The listener has one less.
fn uncount(s: &mut Shard, h: Handle<Request>) {
    let Some(r) = s.requests.get(h) else { return };
    if let Some(l) = s.listeners.get_mut(r.listener) {
        l.half_open = l.half_open.saturating_sub(1);
        l.young = l.young.saturating_sub(u32::from(r.timeouts == 0));
    }
}

/// False without a way to the peer. Without a frame the SYN+ACK is lost, and its timer sends another.
fn send_syn_ack(s: &mut Shard, a: &Agreement, cookie: Option<Cookie>, now: u64) -> bool {
    let path = s.net.path(a.tuple.remote).filter(|p| p.resolved != 0);
    s.after.keeper |= s.net.head.wanted != 0;
    let Some(path) = path else {
        s.counters.neighbour_missing += 1;
        return false;
    };
    let clock = milliseconds(now).wrapping_add(numbers::timestamp_offset(s, &a.tuple));
    let Some(settings) = s.listeners.get(a.listener).map(|l| &l.settings) else { return false };
    let (bytes, len) = passive::answer_options(s, a, settings, &path, clock, cookie);
    let headers = SegmentHeaders {
        mac_to: path.to,
        mac_from: path.from,
        source: a.tuple.local.0,
        destination: a.tuple.remote.0,
        source_port: a.tuple.local_port,
        destination_port: a.tuple.remote_port,
        seq: a.iss.0,
        ack: (a.irs + 1).0,
        flags: passive::answer_flags(a.speaks),
        window: window::initial(settings, &s.head.sysctls) as u16,
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

/// Whether one more answer may go: two ends that do not understand each other would answer for ever.
///
/// LINUX: tcp_oow_rate_limited().
fn may_answer(s: &mut Shard, h: Handle<Request>, now: u64) -> bool {
    let interval = s.head.sysctls.tcp_invalid_ratelimit;
    let Some(r) = s.requests.get_mut(h) else { return false };
    let is_due = milliseconds(now).wrapping_sub(r.answered) >= interval;
    if is_due {
        r.answered = milliseconds(now);
    }
    is_due
}

/// A segment that cannot be right is answered by an ACK of what can (RFC 9293 3.10.7.4).
fn challenge(s: &mut Shard, h: Handle<Request>, segment: &Segment, now: u64) {
    if !may_answer(s, h, now) {
        return;
    }
    let Some(r) = s.requests.get(h).copied() else { return };
    let value = milliseconds(now).wrapping_add(numbers::timestamp_offset(s, &r.head.tuple));
    let Some(l) = s.listeners.get(r.listener) else { return };
    let window = window::initial(&l.settings, &s.head.sysctls) as u16;
    let bytes = timestamp_bytes(Timestamps { value, echo: r.ts_recent });
    let options: &[u8] = if r.speaks.has(Speaks::TIMESTAMPS) { &bytes } else { &[] };
    s.counters.tcp_challenge_acks += 1;
    reply::send(s, segment, r.iss + 1, r.irs + 1, Flags::ACK, window, options);
}

fn is_in_window(s: &Shard, r: &Request, segment: &Segment) -> bool {
    let Some(l) = s.listeners.get(r.listener) else { return false };
    let left = r.irs + 1;
    let right = left + window::initial(&l.settings, &s.head.sysctls);
    let overlaps = segment.end().is_after(left) && segment.seq.is_before(right);
    segment.seq == left || overlaps || (segment.seq == right && segment.end() == right)
}

/// A segment for a half-open connection.
///
/// LINUX: tcp_check_req().
pub(super) fn on_segment(s: &mut Shard, h: Handle<Request>, segment: &Segment, now: u64) {
    let Some(r) = s.requests.get(h).copied() else { return };
    let flags = segment.flags;
    let timestamps = segment.timestamps.filter(|_| r.speaks.has(Speaks::TIMESTAMPS));
    let is_old = timestamps.is_some_and(|t| (t.value.wrapping_sub(r.ts_recent) as i32) < 0);
    let is_first_syn = segment.seq == r.irs && flags.only(Flags::SYN | Flags::ACK | Flags::RST) == Flags::SYN;
    if is_first_syn && !is_old {
        // The peer has not seen our SYN+ACK yet.
        if may_answer(s, h, now) && send_syn_ack(s, &r.agreement(), None, now) {
            wait_for_answer(s, h, now);
        }
        return;
    }
    // "If SEG.ACK is not acceptable, form a reset segment".
    if flags.has(Flags::ACK) && segment.ack != r.iss + 1 {
        s.counters.tcp_no_socket += u64::from(!flags.has(Flags::RST));
        return reply::reset(s, segment);
    }
    if is_old || !is_in_window(s, &r, segment) {
        s.counters.tcp_old_timestamp += u64::from(is_old);
        s.counters.tcp_out_of_window += u64::from(!is_old);
        if !flags.has(Flags::RST) {
            challenge(s, h, segment, now);
        }
        return;
    }
    if flags.has(Flags::RST) && segment.seq == r.irs + 1 {
        s.counters.tcp_resets_in += 1;
        return forget(s, h);
    }
    // RFC 5961 3.2 and 4.2: a reset beside RCV.NXT, or a SYN, may come from somebody who guesses. LINUX believes
    // both here; we ask the peer, who answers with the right one if he means it.
    if flags.has(Flags::RST) || (flags.has(Flags::SYN) && segment.seq != r.irs) {
        return challenge(s, h, segment, now);
    }
    if flags.has(Flags::ACK) {
        acknowledged(s, h, segment, now);
    }
}

/// The final ACK.
fn acknowledged(s: &mut Shard, h: Handle<Request>, segment: &Segment, now: u64) {
    let Some(r) = s.requests.get_mut(h) else { return };
    if let Some(t) = segment.timestamps
        && r.speaks.has(Speaks::TIMESTAMPS)
        && !segment.seq.is_after(r.irs + 1)
    {
        r.ts_recent = t.value;
    }
    let r = *r;
    let Some(l) = s.listeners.get(r.listener) else { return forget(s, h) };
    // TCP_DEFER_ACCEPT: the program wants to hear of a connection only when it has sent something.
    if r.timeouts < deferred_timeouts(&l.settings) && segment.end() == r.irs + 1 {
        s.counters.deferred_accepts += 1;
        return put_off(s, h);
    }
    if listen::is_full(l) {
        s.counters.accept_queue_overflows += 1;
        return overflow(s, h, segment);
    }
    let a = r.agreement();
    // A full table of connections is as a full accept queue: the peer sends again.
    let Some(connection) = passive::create(s, &a, Some(h), now) else { return };
    let elapsed = (r.resent == 0).then(|| milliseconds(now).wrapping_sub(r.since));
    passive::complete(s, &a, connection, segment, elapsed, now);
    s.requests.free(h);
}

/// After a death: an entry that was being succeeded goes on, unless its heir is whole.
pub(super) fn recover_succession(s: &mut Shard) {
    for index in 1..s.requests.high_water() {
        let Some(h) = s.requests.at(index) else { continue };
        let Some(r) = s.requests.get_mut(h).filter(|r| r.speaks.has(Speaks::SUCCEEDED)) else { continue };
        r.speaks = r.speaks.with(Speaks::SUCCEEDED, false);
        let tuple = r.head.tuple;
        match heir(s, &tuple) {
            Some(connection) if is_whole(s, connection) => s.requests.free(h),
            Some(connection) => recover::drop_unfinished(s, connection),
            None => {}
        }
    }
}

fn heir(s: &Shard, tuple: &Tuple) -> Option<Handle<Connection>> {
    let mut all = s.connections.live();
    all.find(|&h| s.connections.get(h).is_some_and(|c| c.head.tuple == *tuple && !c.state.is_closed()))
}

fn is_whole(s: &Shard, h: Handle<Connection>) -> bool {
    s.connections.get(h).is_some_and(|c| c.is_to_be_accepted() || !c.socket.references.is_empty())
}

fn put_off(s: &mut Shard, h: Handle<Request>) {
    if let Some(r) = s.requests.get_mut(h) {
        r.speaks = r.speaks.with(Speaks::ANSWERED, true);
    }
}

/// LINUX: the ACK is dropped; the peer, who believes to be connected, sends again what it sends. Or it hears of it.
fn overflow(s: &mut Shard, h: Handle<Request>, segment: &Segment) {
    if s.head.sysctls.tcp_abort_on_overflow == 0 {
        return put_off(s, h);
    }
    reply::reset(s, segment);
    forget(s, h);
}

/// Every half-open connection belongs to a listener, which counts it.
pub(super) fn check(s: &Shard) -> bool {
    let requests = || s.requests.live().filter_map(|h| s.requests.get(h));
    let listeners = || s.listeners.live().filter_map(|h| s.listeners.get(h));
    let half_open: u32 = listeners().map(|l| l.half_open).sum();
    let young: u32 = listeners().map(|l| l.young).sum();
    requests().all(|r| s.listeners.get(r.listener).is_some())
        && half_open == s.requests.in_use()
        && young as usize == requests().filter(|r| r.timeouts == 0).count()
}
