//! A connection that a peer opens: what its SYN says, what we answer, and the connection that comes of it.
//!
//! Shared by the three ways there: a half-open entry, a SYN cookie, and data in the SYN.

use super::connection::{Connection, Marks};
use super::entries::Speaks;
use super::segment::Segment;
use super::transmit::{self, milliseconds};
use super::turn::{self, Turn};
use super::{
    Listener, Request, Seq, Settings, State, Tuple, ecn, handshake, input, listen, path_mtu, request,
    rollback, rtt, window,
};
use crate::ip::net::Path;
use crate::region::Handle;
use crate::shard::{Entry, Shard};
use crate::wire::options::{Cookie, MAX_WINDOW_SCALE, TIMESTAMPS_LEN, syn_bytes};
use crate::wire::{Flags, SynOptions, Timestamps};

/// The peer does not scale its windows.
pub(super) const UNSCALED: u8 = u8::MAX;

/// What the peer's SYN said, as far as we took it up.
#[derive(Clone, Copy)]
pub(super) struct Agreement {
    pub tuple: Tuple,
    pub listener: Handle<Listener>,
    /// Our initial sequence number, and the peer's.
    pub iss: Seq,
    pub irs: Seq,
    pub ts_recent: u32,
    pub peer_mss: u16,
    /// Shift of the peer's windows, or `UNSCALED`.
    pub scale: u8,
    pub speaks: Speaks,
}

/// What we take up of a SYN's offers.
pub(super) fn agree(
    s: &Shard,
    listener: Handle<Listener>,
    segment: &Segment,
    said: &SynOptions,
    iss: Seq,
) -> Agreement {
    let sysctls = &s.head.sysctls;
    let speaks = Speaks::default()
        .with(Speaks::TIMESTAMPS, said.timestamps.is_some() && sysctls.tcp_timestamps != 0)
        .with(Speaks::SACK, said.sack_permitted && sysctls.tcp_sack != 0)
        .with(Speaks::ECN, asks_for_ecn(segment) && sysctls.tcp_ecn != 0);
    Agreement {
        tuple: segment.tuple,
        listener,
        iss,
        irs: segment.seq,
        ts_recent: said.timestamps.map_or(0, |t| t.value),
        peer_mss: said.mss.unwrap_or(transmit::DEFAULT_MSS),
        scale: said.window_scale.filter(|_| sysctls.tcp_window_scaling != 0).unwrap_or(UNSCALED),
        speaks,
    }
}

/// RFC 3168 6.1.1: "a SYN packet with the ECE and CWR flags set" is an ECN-setup SYN.
///
/// LINUX: one whose IP header is marked as well comes from a confused host, and is taken for an ordinary SYN.
fn asks_for_ecn(segment: &Segment) -> bool {
    segment.flags.has(Flags::ECE) && segment.flags.has(Flags::CWR) && segment.service & ecn::FIELD == 0
}

/// The flags of our SYN+ACK. RFC 3168 6.1.1: an ECN-setup SYN-ACK has ECE set and CWR not.
pub(super) fn answer_flags(speaks: Speaks) -> Flags {
    let flags = Flags::SYN | Flags::ACK;
    if speaks.has(Speaks::ECN) { flags | Flags::ECE } else { flags }
}

/// The options of our SYN+ACK; `clock` is our timestamp.
pub(super) fn answer_options(
    s: &Shard,
    a: &Agreement,
    settings: &Settings,
    path: &Path,
    clock: u32,
    cookie: Option<Cookie>,
) -> ([u8; 40], usize) {
    let mut offer = handshake::offer(settings, path, s.frames.chunk_size());
    if a.speaks.has(Speaks::TIMESTAMPS) {
        offer.timestamps = Some(Timestamps { value: clock, echo: a.ts_recent });
    }
    offer.sack_permitted = a.speaks.has(Speaks::SACK);
    if a.scale != UNSCALED {
        offer.window_scale = Some(window::scale_for(settings, &s.head.sysctls));
    }
    offer.fast_open = cookie;
    syn_bytes(&offer)
}

/// The connection that the agreement is about, in the table; its handshake is not finished. `request` is the
/// half-open entry whose place it takes.
pub(super) fn create(
    s: &mut Shard,
    a: &Agreement,
    request: Option<Handle<Request>>,
    now: u64,
) -> Option<Handle<Connection>> {
    let settings = s.listeners.get(a.listener)?.settings;
    let path = s.net.path(a.tuple.remote).unwrap_or_default();
    let connection = handshake::create(s, a.tuple, &settings, path, a.iss, now)?;
    match request {
        Some(request) => request::give_place(s, request, connection),
        None => turn::enter_table(s, Entry::Connection(connection)),
    }
    s.counters.connections_opened_passive += 1;
    take_over(turn::make(s, connection, now).as_mut()?, a);
    Some(connection)
}

fn take_over(t: &mut Turn<'_>, a: &Agreement) {
    t.enter(State::SYN_RECEIVED);
    let c = &mut *t.c;
    c.marks.set(Marks::PASSIVE);
    for (what, mark) in
        [(Speaks::TIMESTAMPS, Marks::TIMESTAMPS), (Speaks::SACK, Marks::SACK), (Speaks::ECN, Marks::ECN)]
    {
        if a.speaks.has(what) {
            c.marks.set(mark);
        }
    }
    if a.scale == UNSCALED {
        c.receive.scale = 0;
    } else {
        c.marks.set(Marks::SCALED);
        c.send.scale = a.scale;
    }
    c.send.peer_mss = a.peer_mss;
    c.receive.next = a.irs + 1;
    c.receive.acked = a.irs + 1;
    c.receive.edge = c.receive.next + window::initial(&c.settings, &t.head.sysctls);
    c.receive.ts_recent = a.ts_recent;
    c.receive.ts_recent_at = milliseconds(t.now);
    path_mtu::recall(t);
    t.fit_segments();
}

/// `segment` has the ACK of our SYN+ACK: the connection is established and waits to be accepted. `elapsed` is the
/// round trip in milliseconds, if it is known.
pub(super) fn complete(
    s: &mut Shard,
    a: &Agreement,
    connection: Handle<Connection>,
    segment: &Segment,
    elapsed: Option<u32>,
    now: u64,
) {
    let is_bare = is_bare(a, segment);
    if let Some(t) = &mut turn::make(s, connection, now) {
        if let Some(elapsed) = elapsed {
            rtt::measured(&mut t.c.rtt, u64::from(elapsed) * 1_000_000);
        }
        let shift = t.c.send.scale.min(MAX_WINDOW_SCALE);
        // A segment that is looked at once more is a little after this, so that its window counts again.
        let seq = if is_bare { segment.seq } else { a.irs };
        handshake::begin_transfer(t, seq, segment.ack, u32::from(segment.window) << shift);
        if is_bare {
            t.c.tally.arrived(0, now);
        }
        t.c.news = 0;
    }
    rollback::end(&mut s.head);
    listen::enqueue(s, a.listener, connection);
    if is_bare {
        s.after.recent = connection;
        turn::settle(s, connection, now);
    } else {
        input::deliver(s, Entry::Connection(connection), segment, now);
    }
}

/// Whether a final ACK is nothing else, as it mostly is: then all is known of it that the connection could find out.
fn is_bare(a: &Agreement, segment: &Segment) -> bool {
    let options = usize::from(segment.options.1);
    segment.seq == a.irs + 1
        && segment.flags == Flags::ACK
        && segment.len == 0
        && (options == 0 || (options == TIMESTAMPS_LEN && segment.timestamps.is_some()))
}
