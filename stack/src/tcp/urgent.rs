//! Urgent data: RFC 9293 3.8.5 as RFC 6093 and Linux understand it, which is a single byte beside the stream.
//!
//! The byte stays in the queue, at its mark; a reader that does not want it in line passes over it.

use super::connection::{Connection, Marks};
use super::segment::Segment;
use super::turn::Turn;
use super::{Seq, readiness, receive_queue};
use crate::Error;
use crate::region::{Frames, Handle};
use crate::shard::Shard;
use crate::socket::Sink;
use crate::wire::Flags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The urgent byte that came, and the place behind the one that was sent.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Urgent {
    pub mark: Seq,
    pub sent: Seq,
    pub state: Condition,
    /// 1 until `sent` is acknowledged.
    pub is_sending: u8,
    /// 1 while a process or a group of them is to have SIGURG, and while it is owed that.
    pub has_owner: u8,
    pub owes_signal: u8,
}

/// What is known of the urgent byte of the peer.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Condition(u8);

impl Condition {
    pub(super) const NONE: Self = Self(0);
    /// It was pointed at.
    const AWAITED: Self = Self(1);
    const HERE: Self = Self(2);
    /// The program has it; the mark still stands.
    const TAKEN: Self = Self(3);
}

/// The farthest that a pointer reaches.
const FARTHEST: u32 = u16::MAX as u32;

/// Where the program stands in the stream.
pub(super) fn reader(c: &Connection) -> Seq {
    c.receive.next - u32::from(c.marks.has(Marks::FIN_RECEIVED)) - c.receive.unread
}

/// A segment with URG.
///
/// RFC 6093 2.1: "the urgent pointer points to the octet following the urgent data", which nearly all stacks do, and
/// RFC 1122 would have it point to the last octet. LINUX: tcp_stdurg chooses; tcp_check_urg().
pub(super) fn on_pointer(t: &mut Turn<'_>, segment: &Segment) {
    if !segment.flags.has(Flags::URG) {
        return;
    }
    let points_behind = t.head.sysctls.tcp_stdurg == 0;
    let mark = segment.seq + u32::from(segment.urgent.saturating_sub(u16::from(points_behind)));
    let u = t.c.urgent;
    let is_known = u.state != Condition::NONE && !mark.is_after(u.mark);
    if mark.is_before(reader(t.c)) || mark.is_before(t.c.receive.next) || is_known {
        return;
    }
    t.counters.tcp_urgent += 1;
    if hides_next(t.c) {
        // LINUX: the reader stands before the byte of the last mark, which would become a byte in line.
        receive_queue::take(t.c, t.frames, &mut Nowhere(1));
    }
    t.c.urgent.mark = mark;
    t.c.urgent.state = Condition::AWAITED;
    signal(t);
}

/// LINUX: sk_send_sigurg(): the owner hears of the pointer, though the byte may not be there yet. Whoever drives may have no
/// right to signal him: the keeper does it.
fn signal(t: &mut Turn<'_>) {
    if t.c.urgent.has_owner != 0 {
        t.c.urgent.owes_signal = 1;
        *t.keeper = true;
    }
}

/// Bytes have come: perhaps the urgent one.
pub(super) fn on_arrival(t: &mut Turn<'_>) {
    if t.c.urgent.state == Condition::AWAITED && t.c.urgent.mark.is_before(t.c.receive.next) {
        t.c.urgent.state = Condition::HERE;
        t.announce(readiness::PRI);
    }
}

/// The urgent byte is there to be had by MSG_OOB.
pub(super) fn is_here(c: &Connection) -> bool {
    c.urgent.state == Condition::HERE
}

/// The program has read up to the mark (SIOCATMARK).
pub(super) fn is_at_mark(c: &Connection) -> bool {
    c.urgent.state != Condition::NONE && c.urgent.mark == reader(c)
}

/// At the mark, with a byte there that does not belong in line.
pub(super) fn hides_next(c: &Connection) -> bool {
    is_at_mark(c) && c.settings.urgent_inline == 0
}

/// Bytes that one read may take: none beyond the mark, so that the program sees where it is.
///
/// LINUX: tcp_recvmsg_locked(); the byte at the mark itself is passed over, or read like any other when it is in line.
pub(super) fn readable(c: &Connection) -> u32 {
    let ahead = c.urgent.mark.since(reader(c));
    let stops = c.urgent.state != Condition::NONE && ahead > 0 && ahead < c.receive.unread;
    if stops { ahead } else { c.receive.unread }
}

/// What FIONREAD tells: as far as the mark.
pub(super) fn unread(c: &Connection) -> u32 {
    let is_plain = c.settings.urgent_inline != 0
        || c.urgent.state == Condition::NONE
        || c.urgent.mark.is_before(reader(c))
        || !c.urgent.mark.is_before(c.receive.next);
    if is_plain { c.receive.unread } else { c.urgent.mark.since(reader(c)) }
}

/// Copies to the program as [`receive_queue::take`] and [`receive_queue::peek`] do, and minds the mark. None if nothing is
/// there but the byte that is not in line.
pub(super) fn read(
    c: &mut Connection,
    frames: &mut Frames,
    to: &mut impl Sink,
    peek: bool,
) -> Option<(usize, bool)> {
    let hidden = u32::from(hides_next(c));
    if peek {
        let readable = if hidden > 0 { c.receive.unread.saturating_sub(hidden) } else { readable(c) };
        let mut to = UpTo(to, readable as usize);
        return (readable > 0).then(|| receive_queue::peek(c, frames, &mut to, hidden as usize));
    }
    if hidden > 0 {
        receive_queue::take(c, frames, &mut Nowhere(1));
        c.urgent.state = Condition::NONE;
        if c.receive.unread == 0 {
            return None;
        }
    }
    let readable = readable(c) as usize;
    let outcome = receive_queue::take(c, frames, &mut UpTo(to, readable));
    if c.urgent.state != Condition::NONE && reader(c).is_after(c.urgent.mark) {
        c.urgent.state = Condition::NONE;
    }
    Some(outcome)
}

/// The mark is not behind the reader, and the byte is here if it is said to be.
pub(super) fn check(c: &Connection) -> bool {
    let is_reached = c.urgent.mark.is_before(c.receive.next);
    match c.urgent.state {
        Condition::NONE => true,
        Condition::AWAITED => !is_reached,
        _ => is_reached && !c.urgent.mark.is_before(reader(c)),
    }
}

/// A place for bytes that nobody wants.
struct Nowhere(usize);

impl Sink for Nowhere {
    fn room(&self) -> usize {
        self.0
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        self.0 -= bytes.len().min(self.0);
        bytes.len()
    }
}

/// A part of the room that a program has.
struct UpTo<'a, S>(&'a mut S, usize);

impl<S: Sink> Sink for UpTo<'_, S> {
    fn room(&self) -> usize {
        self.0.room().min(self.1)
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let taken = self.0.put(bytes);
        self.1 = self.1.saturating_sub(taken);
        taken
    }
}

/// recv(MSG_OOB): the byte, whatever lies before it. Ok(0) is the end of the stream; without urgent data, or with it in
/// line, `Invalid`. It never waits.
///
/// LINUX: tcp_recv_urg().
pub fn read_urgent(
    s: &mut Shard,
    h: Handle<Connection>,
    to: &mut impl Sink,
    peek: bool,
) -> Result<usize, Error> {
    let c = s.connections.get_mut(h).ok_or(Error::BadDescriptor)?;
    if c.settings.urgent_inline != 0 || matches!(c.urgent.state, Condition::NONE | Condition::TAKEN) {
        return Err(Error::Invalid);
    }
    if c.urgent.state == Condition::AWAITED {
        let is_over = c.state.is_closed() || c.marks.has(Marks::READ_SHUT);
        return if is_over { Ok(0) } else { Err(Error::Again) };
    }
    let ahead = c.urgent.mark.since(reader(c)) as usize;
    let mut byte = UpTo(to, 1);
    let wanted = byte.room();
    let (copied, _) = receive_queue::peek(c, &s.frames, &mut byte, ahead);
    if copied < wanted {
        return Err(Error::Fault);
    }
    if !peek {
        c.urgent.state = Condition::TAKEN;
    }
    Ok(copied)
}

/// SIOCATMARK.
pub fn at_mark(s: &Shard, h: Handle<Connection>) -> bool {
    s.connections.get(h).is_some_and(is_at_mark)
}

/// F_SETOWN and its like: from now on somebody is to have SIGURG, or nobody any more.
pub fn set_owned(s: &mut Shard, h: Handle<Connection>, owned: bool) {
    if let Some(c) = s.connections.get_mut(h) {
        (c.urgent.has_owner, c.urgent.owes_signal) = (owned.into(), 0);
    }
}

/// Whether the owner is owed SIGURG, which is taken to be sent then; none if there is no owner any more.
pub fn take_signal(s: &mut Shard, h: Handle<Connection>) -> Option<bool> {
    // LINUX: a connection that no program holds has no file, and so no owner.
    let owned = |c: &&mut Connection| c.urgent.has_owner != 0 && !c.marks.has(Marks::ORPHAN);
    let c = s.connections.get_mut(h).filter(owned)?;
    Some(core::mem::take(&mut c.urgent.owes_signal) != 0)
}

/// What the program has written ends with an urgent byte.
pub(super) fn mark_end(t: &mut Turn<'_>) {
    t.c.urgent.sent = t.c.send.end;
    t.c.urgent.is_sending = 1;
}

/// SND.UNA has moved.
pub(super) fn on_ack(c: &mut Connection) {
    if c.urgent.is_sending != 0 && !c.urgent.sent.is_after(c.send.una) {
        c.urgent.is_sending = 0;
    }
}

/// The urgent pointer of a segment that starts at `seq`, if it needs one.
///
/// LINUX: one that is too far away is pointed at as far as the field reaches, when all has been sent.
pub(super) fn pointer(c: &Connection, seq: Seq) -> Option<u16> {
    if c.urgent.is_sending == 0 || !seq.is_before(c.urgent.sent) {
        return None;
    }
    let ahead = c.urgent.sent.since(seq);
    let is_told = ahead <= FARTHEST || (seq + FARTHEST).is_after(c.send.next);
    is_told.then_some(ahead.min(FARTHEST) as u16)
}
