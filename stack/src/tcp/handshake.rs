//! Opening a connection from our side, and the simultaneous open: RFC 9293 3.10.7.3.

use super::connection::{Connection, Marks};
use super::segment::Segment;
use super::transmit::{self, path_mss};
use super::turn::{self, Turn};
use super::{
    Seq, Settings, State, Sysctls, Tuple, ack, close, delayed_ack, fast_open, input, keep_alive, numbers,
    path_mtu, patience, readiness, rollback, rtt, timewait, tuning, window,
};
use crate::Error;
use crate::ip::net::Path;
use crate::region::Handle;
use crate::shard::{Entry, EntryHead, Shard};
use crate::socket::Source;
use crate::wire::options::{self, parse, syn_bytes};
use crate::wire::{Flags, SynOptions, Timestamps};

/// LINUX: tcp_ecn: 1 asks for ECN, 2 only grants it.
const ASK_FOR_ECN: u32 = 1;
/// LINUX: TCP_TIMEOUT_MIN.
const LEAST_WAIT: u64 = 2_000_000;

/// See [`super::connect`].
pub(super) fn connect(
    s: &mut Shard,
    tuple: Tuple,
    settings: &Settings,
    now: u64,
) -> Result<Handle<Connection>, Error> {
    let h = prepare(s, tuple, settings, now)?;
    let _ = turn::act(s, h, now, |t| {
        if !fast_open::defers(t) {
            begin(t);
        }
    });
    Ok(h)
}

/// See [`super::connect_with_data`].
pub(super) fn connect_with_data(
    s: &mut Shard,
    tuple: Tuple,
    settings: &Settings,
    from: &mut impl Source,
    now: u64,
) -> Result<(Handle<Connection>, usize), Error> {
    if !fast_open::is_allowed(&s.head) {
        return Err(Error::NotSupported);
    }
    let h = prepare(s, tuple, settings, now)?;
    let taken = turn::act(s, h, now, |t| {
        fast_open::ask(t);
        let taken = fast_open::put_data(t, from);
        begin(t);
        taken
    });
    match taken {
        Some(Err(Error::Fault)) => {
            close::close(s, h, now);
            Err(Error::Fault)
        }
        // Without a frame the data follows when the connection is there.
        taken => Ok((h, taken.and_then(Result::ok).unwrap_or(0))),
    }
}

/// The connection in the table, with everything offered that the peer's SYN may decline.
fn prepare(s: &mut Shard, tuple: Tuple, settings: &Settings, now: u64) -> Result<Handle<Connection>, Error> {
    let path = s.net.path(tuple.remote).ok_or(Error::NetUnreachable)?;
    let reused = timewait::take_over(s, &tuple);
    let iss = reused.unwrap_or_else(|| numbers::initial(s, &tuple, now));
    let h = create(s, tuple, settings, path, iss, now).ok_or(Error::NoBuffers)?;
    turn::enter_table(s, Entry::Connection(h));
    s.counters.connections_opened_active += 1;
    if let Some(mut t) = turn::make(s, h, now) {
        t.enter(State::SYN_SENT);
        path_mtu::recall(&mut t);
        let offered = offered(&t.head.sysctls);
        t.c.marks.set(offered);
    }
    rollback::end(&mut s.head);
    Ok(h)
}

/// Sends the first SYN.
pub(super) fn begin(t: &mut Turn<'_>) {
    // LINUX: what limits a handshake in time counts from its first SYN.
    t.c.timers.resending_since = t.now.max(1);
    t.c.timers.resend = t.now + patience::until_user_timeout(t, rtt::INITIAL_TIMEOUT);
    send_syn(t);
}

/// A connection with everything set that does not depend on the peer; not in the table yet.
pub(super) fn create(
    s: &mut Shard,
    tuple: Tuple,
    settings: &Settings,
    path: Path,
    iss: Seq,
    now: u64,
) -> Option<Handle<Connection>> {
    let timestamp_offset = numbers::timestamp_offset(s, &tuple);
    let Some(h) = s.connections.alloc() else {
        s.counters.table_full += 1;
        return None;
    };
    let chunk_size = s.frames.chunk_size();
    let c = s.connections.get_mut(h)?;
    c.head = EntryHead::new(tuple);
    c.state = State::CLOSED;
    c.path = path;
    c.settings = *settings;
    c.timestamp_offset = timestamp_offset;
    c.send.una = iss;
    c.send.next = iss + 1;
    c.send.end = iss + 1;
    c.send.small = iss;
    c.send.peer_mss = transmit::DEFAULT_MSS;
    c.send.mss = path_mss(&path, chunk_size);
    c.receive.scale = window::scale_for(settings, &s.head.sysctls);
    c.tuning = tuning::initial(&s.head.sysctls);
    c.receive.mss = transmit::DEFAULT_MSS;
    c.acking = delayed_ack::initial(settings, &s.head.sysctls);
    c.rtt = rtt::initial();
    c.timers.last_received = now;
    Some(h)
}

/// Sends our SYN, with an ACK if the peer's has come.
pub(super) fn send_syn(t: &mut Turn<'_>) {
    if !t.has_path() {
        return;
    }
    let answers = t.c.state == State::SYN_RECEIVED;
    let mut offer = offer(&t.c.settings, &t.c.path, t.frames.chunk_size());
    if t.c.marks.has(Marks::TIMESTAMPS) {
        let echo = if answers { t.c.receive.ts_recent } else { 0 };
        offer.timestamps = Some(Timestamps { value: t.timestamp(), echo });
    }
    if t.c.marks.has(Marks::SCALED) {
        offer.window_scale = Some(t.c.receive.scale);
    }
    offer.sack_permitted = t.c.marks.has(Marks::SACK);
    offer.fast_open = fast_open::cookie_for_syn(t);
    if !answers {
        // The right edge is only known with the peer's number; until then it is relative to nothing.
        t.c.receive.edge = t.c.receive.next + window::initial(&t.c.settings, &t.head.sysctls);
    }
    let (bytes, len) = syn_bytes(&offer);
    let flags = syn_flags(t.c, &t.head.sysctls);
    let iss = t.c.first_byte() - 1;
    let options = bytes.get(..len);
    match fast_open::data_for_syn(t) {
        Some(data) => t.send_copy(data, flags, iss, options),
        None => t.send_control(flags, iss, options),
    };
    t.c.timers.last_sent = t.now;
}

/// RFC 3168 6.1.1: an ECN-setup SYN has ECE and CWR, an ECN-setup SYN-ACK has ECE alone.
fn syn_flags(c: &Connection, sysctls: &Sysctls) -> Flags {
    let speaks_ecn = c.marks.has(Marks::ECN);
    if c.state == State::SYN_RECEIVED {
        let flags = Flags::SYN | Flags::ACK;
        return if speaks_ecn { flags | Flags::ECE } else { flags };
    }
    // RFC 3168 6.1.1.1: a host on the way may drop what it does not know, "the initiator SHOULD" then try without.
    let falls_back = c.send.retries > 0 && sysctls.tcp_ecn_fallback != 0;
    if speaks_ecn && !falls_back { Flags::SYN | Flags::ECE | Flags::CWR } else { Flags::SYN }
}

/// What the namespace lets a SYN offer.
fn offered(sysctls: &Sysctls) -> Marks {
    let mut marks = Marks::default();
    for (value, mark) in [
        (sysctls.tcp_timestamps, Marks::TIMESTAMPS),
        (sysctls.tcp_window_scaling, Marks::SCALED),
        (sysctls.tcp_sack, Marks::SACK),
        (u32::from(sysctls.tcp_ecn == ASK_FOR_ECN), Marks::ECN),
    ] {
        if value != 0 {
            marks.set(mark);
        }
    }
    marks
}

/// The MSS that we offer: what the path and our frames take, or less if the program says so.
pub(super) fn offer(settings: &Settings, path: &Path, chunk_size: u32) -> SynOptions {
    let mut mss = path_mss(path, chunk_size);
    if settings.max_segment != 0 {
        mss = mss.min(settings.max_segment.min(u32::from(u16::MAX)) as u16);
    }
    SynOptions { mss: Some(mss), ..SynOptions::default() }
}

/// The way to the peer was missing when the SYN was due; it may be there now, or never.
pub(super) fn retry_path(t: &mut Turn<'_>) {
    if t.has_path() {
        return send_syn(t);
    }
    if t.neighbour_failed() {
        input::fail(t, Error::HostUnreachable);
    }
}

/// The SYN was not answered.
pub(super) fn resend_due(t: &mut Turn<'_>) {
    if !patience::bears_another_syn(t) {
        return;
    }
    t.c.timers.resend = t.now + patience::until_user_timeout(t, rtt::timeout(&t.c.rtt));
    t.counters.tcp_retransmissions += 1;
    t.c.recovery.total = t.c.recovery.total.saturating_add(1);
    send_syn(t);
}

/// RFC 9293 3.10.7.3.
pub(super) fn in_syn_sent(t: &mut Turn<'_>, segment: &Segment) {
    let flags = segment.flags;
    let acks = flags.has(Flags::ACK);
    // "If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset".
    if acks && (!segment.ack.is_after(t.c.send.una) || segment.ack.is_after(t.c.syn_end())) {
        if !flags.has(Flags::RST) && t.has_path() {
            t.counters.tcp_resets_out += 1;
            t.send_control(Flags::RST, segment.ack, Some(&[]));
        }
        // LINUX: the peer remembers another connection, which this has ended, so the SYN goes again at once.
        if t.c.send.retries == 0 {
            t.c.timers.resend = t.now + LEAST_WAIT;
        }
        return;
    }
    if flags.has(Flags::RST) {
        if acks {
            t.counters.tcp_resets_in += 1;
            input::fail(t, Error::Refused);
        }
        return;
    }
    if !flags.has(Flags::SYN) {
        return;
    }
    let said = parse(segment.options_in(t.frames));
    learn(t, segment, &said);
    if !acks {
        return both_open(t, segment);
    }
    // RFC 3168 6.1.1: only ECE without CWR in the answer is a yes.
    if !flags.has(Flags::ECE) || flags.has(Flags::CWR) {
        t.c.marks.clear(Marks::ECN);
    }
    established(t, segment, u32::from(segment.window));
    fast_open::answered(t, segment, &said);
    t.c.marks.set(Marks::ACK_NOW);
}

/// Both sides open at once: RFC 9293 3.5, figure 7.
fn both_open(t: &mut Turn<'_>, segment: &Segment) {
    if !segment.flags.has(Flags::ECE) || !segment.flags.has(Flags::CWR) {
        t.c.marks.clear(Marks::ECN);
    }
    t.enter(State::SYN_RECEIVED);
    t.c.send.window = u32::from(segment.window);
    t.c.marks.set(Marks::ACK_NOW);
}

/// The peer's SYN+ACK after both have opened at once; his SYN we know already.
///
/// LINUX: tcp_validate_incoming() lets it pass since 6.11.
pub(super) fn is_answer_to_both_open(c: &Connection, segment: &Segment) -> bool {
    c.state == State::SYN_RECEIVED
        && !c.marks.has(Marks::PASSIVE)
        && segment.flags.has(Flags::ACK)
        && segment.sequence_len() == 1
        && segment.seq + 1 == c.receive.next
        && segment.ack == c.send.next
}

/// Takes over what the peer's SYN says.
fn learn(t: &mut Turn<'_>, segment: &Segment, said: &SynOptions) {
    let window = window::initial(&t.c.settings, &t.head.sysctls);
    let c = &mut *t.c;
    c.receive.next = segment.seq + 1;
    c.receive.acked = segment.seq + 1;
    c.receive.edge = c.receive.next + window;
    c.send.peer_mss = said.mss.unwrap_or(transmit::DEFAULT_MSS);
    c.receive.ts_recent = said.timestamps.map_or(0, |x| x.value);
    c.receive.ts_recent_at = transmit::milliseconds(t.now);
    if said.timestamps.is_none() {
        c.marks.clear(Marks::TIMESTAMPS);
    }
    if !said.sack_permitted {
        c.marks.clear(Marks::SACK);
    }
    match said.window_scale.filter(|_| c.marks.has(Marks::SCALED)) {
        Some(scale) => c.send.scale = scale.min(options::MAX_WINDOW_SCALE),
        // RFC 7323 2.2: both or none.
        None => {
            c.marks.clear(Marks::SCALED);
            (c.send.scale, c.receive.scale) = (0, 0);
        }
    }
    t.fit_segments();
}

/// Our SYN is acknowledged, and the peer's is here.
fn established(t: &mut Turn<'_>, segment: &Segment, window: u32) {
    if t.c.send.retries == 0 && t.c.timers.last_sent != 0 {
        let elapsed = t.now.saturating_sub(t.c.timers.last_sent);
        rtt::measured(&mut t.c.rtt, elapsed);
    }
    begin_transfer(t, segment.seq, segment.ack, window);
}

/// The state that a handshake ends in, whichever side began it.
pub(super) fn begin_transfer(t: &mut Turn<'_>, seq: Seq, acked: Seq, window: u32) {
    path_mtu::start(t);
    ack::start(t, seq, acked, window);
    t.enter(State::ESTABLISHED);
    t.c.rtt.backoff = 0;
    t.c.timers.last_received = t.now;
    t.c.timers.resend = 0;
    t.c.timers.resending_since = 0;
    t.c.send.retries = 0;
    t.c.tally.delivered = 1;
    if !t.c.marks.has(Marks::PASSIVE) {
        // LINUX: the SYN counts.
        t.c.tally.bytes_acked = 1;
    }
    keep_alive::set(t);
    tuning::begin(t);
    t.announce(readiness::WRITABLE);
}

/// The ACK of our SYN+ACK in a simultaneous open. False: drop the segment.
pub(super) fn in_syn_received(t: &mut Turn<'_>, segment: &Segment) -> bool {
    let acked = t.c.first_byte();
    if segment.ack.is_before(acked) || segment.ack.is_after(t.c.send.next) {
        input::refuse(t, segment);
        return false;
    }
    let is_syn = segment.flags.has(Flags::SYN);
    // RFC 7323 2.2: the window of a SYN is never scaled.
    let shift = if is_syn { 0 } else { t.c.send.scale.min(options::MAX_WINDOW_SCALE) };
    if t.c.is_open_early() {
        fast_open::confirmed(t);
    } else {
        established(t, segment, u32::from(segment.window) << shift);
    }
    // RFC 9293 3.10.7.4: a FIN that shutdown() asked for while the handshake was under way.
    if t.c.marks.has(Marks::FIN_QUEUED) {
        t.enter(State::FIN_WAIT_1);
    }
    if is_syn {
        t.c.marks.set(Marks::ACK_NOW);
    }
    !is_syn
}
