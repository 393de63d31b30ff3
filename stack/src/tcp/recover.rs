//! Order after a death in the middle of a change.
//!
//! Slabs and frames' metadata are the truth: a frame says whose it is, and where in the stream. Queues, chains and
//! counts are made anew from that. The connection that was being changed is put back to what it was before, if it was not
//! the dead one's alone; that one cannot be trusted and is reset.

use super::connection::{Connection, Marks};
use super::turn;
use super::{Seq, State, beyond, fast_open, input, listen, orphans, readiness, recovery, request, rollback};
use crate::Error;
use crate::region::{FrameId, Frames, Handle, List, Tenure, Walk, Walked};
use crate::shard::{Entry, EntryRef, Shard};

/// After a death: queues of frames, accept queues and listeners' chains from what is in the slabs; the connection
/// `changing` is put back or reset.
pub fn recover(s: &mut Shard, changing: EntryRef) {
    s.after.touched.clear();
    let mut put_back = None;
    for index in 1..s.connections.high_water() {
        let Some(h) = s.connections.at(index) else { continue };
        let is_suspect = Entry::Connection(h).as_ref() == changing;
        let is_good = !is_suspect || rollback::put_back(s, h);
        put_back = put_back.or((is_suspect && is_good).then_some(h));
        prepare(s, h, !is_good);
    }
    request::recover_succession(s);
    let connections = &s.connections;
    s.frames.recover(|_, meta| {
        let owner = connections.get(Handle::from_raw(meta.owner));
        let goes_on = owner.is_some_and(|c| match meta.tenure {
            Tenure::RECEIVED => true,
            Tenure::OUT_OF_ORDER | Tenure::SENDING => !c.state.is_closed(),
            _ => false,
        });
        if goes_on { meta.tenure } else { Tenure::FREE }
    });
    relink(s);
    listen::recover(s);
    for index in 1..s.connections.high_water() {
        let Some(h) = s.connections.at(index) else { continue };
        sort(s, h);
        rollback::cut_received(s, h);
        if put_back == Some(h) {
            s.counters.turns_taken_back += 1;
            rollback::fit(s, h);
        }
        verify(s, h);
    }
    fast_open::recount(s);
    orphans::recount(s);
    turn::recount_live(s);
}

/// Whether a live entry is to be found by its tuple (a closed connection that a program still holds is not).
pub fn belongs_in_table(s: &Shard, entry: Entry) -> bool {
    match entry {
        Entry::Connection(h) => s.connections.get(h).is_some_and(|c| c.marks.has(Marks::IN_TABLE)),
        Entry::Request(_) | Entry::TimeWait(_) => true,
    }
}

fn prepare(s: &mut Shard, h: Handle<Connection>, is_suspect: bool) {
    let Some(c) = s.connections.get_mut(h) else { return };
    c.receive.queue = List::EMPTY;
    c.receive.beyond = List::EMPTY;
    c.send.queue = List::EMPTY;
    c.send.fresh = FrameId::NONE;
    c.timers.armed = 0;
    c.marks.clear(Marks::TOUCHED);
    if is_suspect && rollback::was_being_made(&s.head) {
        drop_unfinished(s, h);
    } else if is_suspect && !c.state.is_closed() {
        reset(s, h);
    }
}

/// A connection that was just being made of a SYN: the peer, who hears nothing, asks again.
pub(super) fn drop_unfinished(s: &mut Shard, h: Handle<Connection>) {
    end(s, h);
    if let Some(c) = s.connections.get_mut(h) {
        c.marks.set(Marks::ORPHAN);
    }
}

/// Ends a connection whose data cannot be trusted, and says so to both sides.
fn reset(s: &mut Shard, h: Handle<Connection>) {
    s.counters.connections_lost_by_death += 1;
    let now = s.head.now;
    if let Some(mut t) = turn::begin(s, h, now) {
        if t.c.state.is_synchronized() {
            let seq = t.c.send.next;
            input::abort_with_reset(&mut t, seq);
        }
        input::fail(&mut t, Error::Reset);
    }
    s.head.changing = EntryRef::default();
    end(s, h);
}

fn end(s: &mut Shard, h: Handle<Connection>) {
    if let Some(c) = s.connections.get_mut(h) {
        c.state = State::CLOSED;
        c.marks.clear(Marks::IN_TABLE);
        c.send.end = c.send.una;
        c.news = 0;
    }
}

/// Bytes in which there is a hole are nothing that a program should read.
fn drop_received(s: &mut Shard, h: Handle<Connection>) {
    let Some(c) = s.connections.get_mut(h) else { return };
    turn::release_queue(&mut s.frames, &mut c.receive.queue);
    c.receive.unread = 0;
}

/// Puts every frame into the queue that its tenure names.
fn relink(s: &mut Shard) {
    for index in 1..=s.frames.total() {
        let frame = FrameId(index);
        let Some(meta) = s.frames.meta(frame).copied() else { continue };
        let Some(c) = s.connections.get_mut(Handle::from_raw(meta.owner)) else { continue };
        let queue = match meta.tenure {
            Tenure::RECEIVED => &mut c.receive.queue,
            Tenure::OUT_OF_ORDER => &mut c.receive.beyond,
            Tenure::SENDING => &mut c.send.queue,
            _ => continue,
        };
        queue.push_back(&mut s.frames, index);
    }
}

/// Brings the frames of each queue into the order of the stream.
fn sort(s: &mut Shard, h: Handle<Connection>) {
    let Some(c) = s.connections.get_mut(h) else { return };
    let seq = |frames: &Frames, index| frames.meta(FrameId(index)).map_or(Seq(0), |m| Seq(m.seq));
    for queue in [&mut c.receive.queue, &mut c.receive.beyond, &mut c.send.queue] {
        if !queue.sort(&mut s.frames, |frames, a, b| seq(frames, a).is_after(seq(frames, b))) {
            s.frames.damage().note();
        }
    }
}

/// Sets what follows from the queues, and ends connections whose queues contradict their numbers.
fn verify(s: &mut Shard, h: Handle<Connection>) {
    let Some(c) = s.connections.get_mut(h) else { return };
    c.receive.unread = 0;
    let mut walk = Walk::over(&s.frames, FrameId(c.receive.queue.first));
    while let Some((_, meta)) = walk.item(&s.frames) {
        c.receive.unread = c.receive.unread.saturating_add(meta.payload_len.into());
        walk.to(FrameId(meta.link.next));
    }
    beyond::recover(c, &mut s.frames);
    let mut walk = Walk::over(&s.frames, FrameId(c.send.queue.first));
    while let Some((at, meta)) = walk.item(&s.frames) {
        if c.send.fresh.is_none() && !Seq(meta.seq).is_before(c.send.next) {
            c.send.fresh = at;
        }
        walk.to(FrameId(meta.link.next));
    }
    if !c.state.is_closed() {
        recovery::rebuild(&mut s.frames, c);
    }
    let unheld = c.socket.references.is_empty() && !c.is_to_be_accepted() && !c.marks.has(Marks::ORPHAN);
    let is_sound = super::check::queues_are_sound(&mut s.frames, h, c);
    if unheld {
        // Made, but not given to any program yet.
        c.marks.set(Marks::ORPHAN);
    }
    if unheld && c.state.is_opening() {
        drop_unfinished(s, h);
    } else if !is_sound || (unheld && !c.state.is_closed()) {
        reset(s, h);
    }
    if !is_sound {
        drop_received(s, h);
    }
    let Some(c) = s.connections.get_mut(h) else { return };
    if c.state.is_closed() || c.state == State::TIME_WAIT {
        c.marks.clear(Marks::IN_TABLE);
        turn::retire(s, h);
    } else {
        c.news |= (readiness::READABLE | readiness::WRITABLE) as u16;
    }
}
