//! A turn: one connection with the parts of the shard that its work needs, and what has to follow that work.
//!
//! The protocol's functions change the connection and queue frames. Whatever touches other tables (timers, watches,
//! the connection table, slabs) is done in one place, [`settle`], from what they left in the connection.

use super::connection::Marks;
use super::{Connection, State, fast_open, orphans, output, rate, rollback, timers, timewait};
use crate::ip::net::Net;
use crate::region::{FrameId, Frames, Handle, List, Slab, Steps, Walked};
use crate::shard::{Counters, Entry, EntryRef, Outbox, Shard, ShardHead};
use crate::socket::{Reference, SocketRef};
use crate::wait;
use core::sync::atomic::Ordering;

pub(super) struct Turn<'a> {
    pub handle: Handle<Connection>,
    pub c: &'a mut Connection,
    pub frames: &'a mut Frames,
    pub counters: &'a mut Counters,
    pub net: &'a mut Net,
    pub head: &'a mut ShardHead,
    pub outbox: &'a mut Outbox,
    /// The keeper has something to do.
    pub keeper: &'a mut bool,
    pub now: u64,
    /// What the segment at hand told about the rate of delivery.
    pub noted: rate::Noted,
}

impl Turn<'_> {
    /// Queues the packet of `frame`.
    pub(super) fn transmit(&mut self, frame: FrameId) {
        self.outbox.put(&mut self.head.outbox, self.frames, frame);
        self.count_sent(1);
    }

    /// So many packets are queued.
    pub(super) fn count_sent(&mut self, segments: u32) {
        self.counters.tcp_segments_out += u64::from(segments);
        self.c.tally.segments_out = self.c.tally.segments_out.wrapping_add(segments);
    }

    /// EPOLL bits that programs will be told of.
    pub(super) fn announce(&mut self, events: u32) {
        self.c.news |= events as u16;
    }
}

#[inline]
pub(super) fn begin(s: &mut Shard, handle: Handle<Connection>, now: u64) -> Option<Turn<'_>> {
    open(s, handle, now, rollback::begin)
}

/// The same for a connection that is being made, until [`rollback::end`]: after a death it was never there.
#[inline]
pub(super) fn make(s: &mut Shard, handle: Handle<Connection>, now: u64) -> Option<Turn<'_>> {
    open(s, handle, now, |head, _, entry, _| rollback::begin_to_make(head, entry))
}

#[inline(always)]
fn open(
    s: &mut Shard,
    handle: Handle<Connection>,
    now: u64,
    note: impl FnOnce(&mut ShardHead, &Slab<Reference>, EntryRef, &Connection),
) -> Option<Turn<'_>> {
    let c = s.connections.get_mut(handle)?;
    note(&mut s.head, &s.references, Entry::Connection(handle).as_ref(), c);
    Some(Turn {
        handle,
        c,
        frames: &mut s.frames,
        counters: &mut s.counters,
        net: &mut s.net,
        head: &mut s.head,
        outbox: &mut s.outbox,
        keeper: &mut s.after.keeper,
        now,
        noted: rate::Noted::default(),
    })
}

/// Lets `work` act on a connection, then sends what may go and settles what follows.
pub(super) fn act<R>(
    s: &mut Shard,
    handle: Handle<Connection>,
    now: u64,
    work: impl FnOnce(&mut Turn<'_>) -> R,
) -> Option<R> {
    // Where it was made: to move one costs more than most work in it.
    let mut begun = begin(s, handle, now);
    let turn = begun.as_mut()?;
    let result = work(turn);
    output::run(turn);
    let outcome = Outcome::of(turn.c, now);
    carry_out(s, handle, outcome, now);
    Some(result)
}

/// What a connection's new condition asks for elsewhere.
struct Outcome {
    /// EPOLL bits that somebody watches for.
    news: u16,
    /// The handshake of a connection that was open early may be done.
    may_be_counted: bool,
    /// A small entry takes the connection's place.
    shrinks: bool,
    is_over: bool,
    /// What the entry's timer has to be moved to.
    deadline: Option<u64>,
}

impl Outcome {
    #[inline]
    fn of(c: &mut Connection, now: u64) -> Self {
        let news = core::mem::take(&mut c.news);
        let shrinks =
            c.state == State::TIME_WAIT || (c.state == State::FIN_WAIT_2 && c.marks.has(Marks::SHRINKS));
        let is_over = shrinks || c.state.is_closed();
        Self {
            news: if c.socket.watches.is_empty() { 0 } else { news },
            may_be_counted: c.listener.is_some(),
            shrinks,
            is_over,
            deadline: if is_over { None } else { timers::next(c, now) },
        }
    }
}

/// Does what a connection's new condition asks for elsewhere: tells programs, moves the entry between the tables,
/// sets its timer.
pub(super) fn settle(s: &mut Shard, handle: Handle<Connection>, now: u64) {
    let Some(c) = s.connections.get_mut(handle) else { return };
    let outcome = Outcome::of(c, now);
    carry_out(s, handle, outcome, now);
}

#[inline]
fn carry_out(s: &mut Shard, handle: Handle<Connection>, outcome: Outcome, now: u64) {
    if outcome.may_be_counted {
        fast_open::settle(s, handle);
    }
    if outcome.news != 0 {
        wait::notify(s, SocketRef::Connection(handle), u32::from(outcome.news));
    }
    if let Some(deadline) = outcome.deadline {
        s.arm(Entry::Connection(handle), deadline);
    }
    if outcome.is_over {
        end(s, handle, outcome.shrinks, now);
    }
    rollback::end(&mut s.head);
}

#[inline(never)]
fn end(s: &mut Shard, handle: Handle<Connection>, shrinks: bool, now: u64) {
    if shrinks {
        timewait::enter(s, handle, now);
    }
    retire(s, handle);
}

/// Takes a connection that is over out of the tables; frees it when no program holds it.
pub(super) fn retire(s: &mut Shard, handle: Handle<Connection>) {
    let Some(c) = s.connections.get(handle) else { return };
    let (is_in_table, may_be_counted) = (c.marks.has(Marks::IN_TABLE), c.listener.is_some());
    if is_in_table {
        leave_table(s, Entry::Connection(handle));
    }
    if may_be_counted {
        fast_open::settle(s, handle);
    }
    let Some(c) = s.connections.get_mut(handle) else { return };
    // TIME_WAIT goes on in an entry of its own, as may FIN_WAIT_2; all others are closed already.
    c.state = State::CLOSED;
    c.timers.armed = 0;
    release_queue(&mut s.frames, &mut c.send.queue);
    release_queue(&mut s.frames, &mut c.receive.beyond);
    c.receive.runs = List::EMPTY;
    c.send.fresh = FrameId::NONE;
    c.send.end = c.send.una.earlier_of(c.send.end);
    if c.marks.has(Marks::ORPHAN) {
        release_queue(&mut s.frames, &mut c.receive.queue);
        s.connections.free(handle);
        orphans::forget(s);
    }
}

pub(super) fn release_queue(frames: &mut Frames, queue: &mut List) {
    let mut steps = Steps::over(frames);
    while let Some(frame) = queue.pop_front(frames)
        && steps.take(frames.damage())
    {
        frames.release(FrameId(frame));
    }
}

/// Enters a connection or a half-open entry into the connection table. They are what `Gate::live` counts.
pub(super) fn enter_table(s: &mut Shard, entry: Entry) {
    if let Entry::Connection(h) = entry
        && let Some(c) = s.connections.get_mut(h)
    {
        c.marks.set(Marks::IN_TABLE);
    }
    s.flow_insert(entry);
    count_live(s, 1);
}

/// `heir` takes the place of a connection or a half-open entry in the connection table; its tuple is the same.
pub(super) fn give_place(s: &mut Shard, entry: Entry, heir: Entry) {
    if let Entry::Connection(h) = entry
        && !s.connections.get_mut(h).is_some_and(|c| c.marks.take(Marks::IN_TABLE))
    {
        return;
    }
    s.disarm(entry);
    s.flow_replace(entry, heir);
    match heir {
        Entry::Connection(h) => {
            if let Some(c) = s.connections.get_mut(h) {
                c.marks.set(Marks::IN_TABLE);
            }
        }
        // Neither a program nor a peer waits for it.
        Entry::TimeWait(_) => count_live(s, -1),
        Entry::Request(_) => {}
    }
}

/// Takes a connection or a half-open entry out of the connection table and off the timer wheel.
pub(super) fn leave_table(s: &mut Shard, entry: Entry) {
    if let Entry::Connection(h) = entry
        && !s.connections.get_mut(h).is_some_and(|c| c.marks.take(Marks::IN_TABLE))
    {
        return;
    }
    s.disarm(entry);
    s.flow_remove(entry);
    count_live(s, -1);
}

/// The only place that changes `Gate::live`.
fn count_live(s: &Shard, change: i32) {
    if let Some(gate) = s.region.gate(s.index) {
        // The lock is ours, so nobody else writes.
        let live = gate.live.load(Ordering::Relaxed);
        gate.live.store(live.saturating_add_signed(change), Ordering::Relaxed);
    }
}

/// After a death: the count from what is there.
pub(super) fn recount_live(s: &Shard) {
    let connections = s.connections.live().filter_map(|h| s.connections.get(h));
    let live = connections.filter(|c| c.marks.has(Marks::IN_TABLE)).count() as u32 + s.requests.in_use();
    if let Some(gate) = s.region.gate(s.index) {
        gate.live.store(live, Ordering::Relaxed);
    }
}
