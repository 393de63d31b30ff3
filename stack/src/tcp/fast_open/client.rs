//! The connecting side: RFC 7413 4.2.

use super::super::segment::Segment;
use super::super::transmit::{milliseconds, path_mss};
use super::super::turn::{self, Turn};
use super::super::{Connection, Seq, Settings, State, handshake, send_queue, transmit};
use super::{CLIENT, CLIENT_WITHOUT_COOKIE, Stage};
use crate::Error;
use crate::region::{FrameId, Handle, Steps, Walked};
use crate::shard::{Shard, ShardHead};
use crate::socket::Source;
use crate::wire::options::{Cookie, MAX_LEN};
use crate::wire::{SynOptions, checksum};

/// What we know of a peer.
enum Knowledge {
    /// Fast Open is off, or nothing is known: a cookie may be asked for.
    Nothing,
    /// Data may go along, with this cookie or without any.
    Cookie(Cookie, u16),
    NoneNeeded,
}

fn knowledge(t: &mut Turn<'_>) -> Knowledge {
    let (remote, now) = (t.c.head.tuple.remote, milliseconds(t.now));
    if needs_no_cookie(t.head, &t.c.settings) {
        return Knowledge::NoneNeeded;
    }
    let key = t.head.key;
    match t.head.fast_open.find(key, remote, now) {
        Some((cookie, mss)) => Knowledge::Cookie(cookie, mss),
        None => Knowledge::Nothing,
    }
}

fn needs_no_cookie(head: &ShardHead, settings: &Settings) -> bool {
    head.sysctls.tcp_fastopen & CLIENT_WITHOUT_COOKIE != 0 || settings.fast_open_without_cookie != 0
}

/// connect(): what Fast Open has to do with it. True: the SYN waits for the first bytes.
///
/// LINUX: tcp_fastopen_defer_connect().
pub(in crate::tcp) fn defers(t: &mut Turn<'_>) -> bool {
    if t.c.settings.fast_open_connect == 0 || !is_allowed(t.head) {
        return false;
    }
    let knows = !matches!(knowledge(t), Knowledge::Nothing);
    t.c.fast_open = if knows { Stage::DEFERRED } else { Stage::ASKED };
    knows
}

/// MSG_FASTOPEN, which the namespace may not want.
pub(in crate::tcp) fn ask(t: &mut Turn<'_>) {
    t.c.fast_open = Stage::ASKED;
}

pub(in crate::tcp) fn is_allowed(head: &ShardHead) -> bool {
    head.sysctls.tcp_fastopen & CLIENT != 0
}

/// The option in our SYN. LINUX: a SYN that is sent again is an ordinary one.
pub(in crate::tcp) fn cookie_for_syn(t: &mut Turn<'_>) -> Option<Cookie> {
    if t.c.state != State::SYN_SENT || t.c.fast_open != Stage::ASKED || t.c.send.retries > 0 {
        return None;
    }
    match knowledge(t) {
        Knowledge::Nothing => Some(Cookie::default()),
        Knowledge::Cookie(cookie, _) => Some(cookie),
        Knowledge::NoneNeeded => None,
    }
}

/// Takes as many of a program's bytes as the SYN can carry, if it may carry any.
pub(in crate::tcp) fn put_data(t: &mut Turn<'_>, from: &mut impl Source) -> Result<usize, Error> {
    let mss = match knowledge(t) {
        Knowledge::Nothing => return Ok(0),
        Knowledge::Cookie(_, mss) => mss,
        Knowledge::NoneNeeded => transmit::DEFAULT_MSS,
    };
    // LINUX: room for all the options that there may be; the peer's MSS is that of the last time.
    let room = path_mss(&t.c.path, t.frames.chunk_size()).min(mss).saturating_sub(MAX_LEN as u16);
    if room == 0 || from.remaining() == 0 {
        return Ok(0);
    }
    t.c.send.mss = room;
    send_queue::fill(t, &mut Part { of: from, left: usize::from(room) })
}

/// The first bytes of a program's.
struct Part<'a, S> {
    of: &'a mut S,
    left: usize,
}

impl<S: Source> Source for Part<'_, S> {
    fn remaining(&self) -> usize {
        self.of.remaining().min(self.left)
    }

    fn take(&mut self, into: &mut [u8]) -> usize {
        let got = self.of.take(into);
        self.left = self.left.saturating_sub(got);
        got
    }
}

/// The frame that goes along with our first SYN.
pub(in crate::tcp) fn data_for_syn(t: &mut Turn<'_>) -> Option<FrameId> {
    let is_first = t.c.state == State::SYN_SENT && t.c.send.retries == 0;
    let frame = t.c.send.fresh.some().filter(|_| is_first && t.c.fast_open == Stage::ASKED)?;
    t.c.fast_open = Stage::SENT;
    Some(frame)
}

/// Whether the connection's SYN waits for the program's first bytes.
pub(in crate::tcp) fn is_deferred(c: &Connection) -> bool {
    c.state == State::SYN_SENT && c.fast_open == Stage::DEFERRED
}

/// The first bytes are here: the SYN goes, with as many of them as it can carry.
pub(in crate::tcp) fn open_deferred(
    s: &mut Shard,
    h: Handle<Connection>,
    from: &mut impl Source,
    now: u64,
) -> Result<usize, Error> {
    turn::act(s, h, now, |t| {
        if !is_deferred(t.c) {
            return Err(Error::Invalid);
        }
        t.c.fast_open = Stage::ASKED;
        let taken = put_data(t, from);
        handshake::begin(t);
        taken
    })
    .unwrap_or(Err(Error::BadDescriptor))
}

/// The peer's SYN+ACK: keeps his cookie, and sees what became of the data in our SYN. The connection has just been
/// established.
///
/// LINUX: tcp_rcv_fastopen_synack().
pub(in crate::tcp) fn answered(t: &mut Turn<'_>, segment: &Segment, said: &SynOptions) {
    let had_data = t.c.fast_open == Stage::SENT;
    if t.c.fast_open != Stage::ASKED && !had_data {
        return;
    }
    t.c.fast_open = Stage::NONE;
    let (key, remote, now) = (t.head.key, t.c.head.tuple.remote, milliseconds(t.now));
    let cookie = said.fast_open.filter(|cookie| !cookie.bytes().is_empty());
    if let Some(cookie) = cookie {
        t.head.fast_open.remember(key, remote, &cookie, t.c.send.peer_mss, now);
    }
    if !had_data {
        return;
    }
    drop_taken(t, segment.ack);
    if segment.ack == t.c.send.end {
        t.counters.fast_open_active += 1;
        t.c.fast_open = Stage::TAKEN;
        return;
    }
    // "If the SYN-ACK does not acknowledge the data", it goes as any fresh segment does.
    t.counters.fast_open_active_failed += 1;
    if t.c.send.retries > 0 && cookie.is_none() {
        // RFC 7413 4.1.3.1: something on the way may not like data in a SYN.
        t.head.fast_open.forget(key, remote);
    }
}

/// What the peer took of the data in our SYN leaves the queue, and nothing of the rest counts as sent.
fn drop_taken(t: &mut Turn<'_>, ack: Seq) {
    t.c.send.next = ack;
    let mut steps = Steps::over(t.frames);
    while let Some((start, end)) = send_queue::extent(t.frames, FrameId(t.c.send.queue.first))
        && steps.take(t.frames.damage())
    {
        let frame = FrameId(t.c.send.queue.first);
        if !ack.is_before(end) {
            t.c.send.queue.pop_front(t.frames);
            t.frames.release(frame);
            continue;
        }
        if ack.is_after(start)
            && let Some(meta) = t.frames.meta_mut(frame)
        {
            meta.cut_front(ack.since(start) as u16);
            let sum = checksum::sum(t.frames.payload(frame));
            if let Some(meta) = t.frames.meta_mut(frame) {
                meta.sum = sum;
            }
        }
        break;
    }
    t.c.send.fresh = FrameId(t.c.send.queue.first);
}
