//! Invariants of connections, their queues, and listeners.

use super::connection::{Connection, Marks};
use super::listen::AcceptLinks;
use super::{Seq, State, beyond, congestion, fast_open, orphans, recovery, request, reuse_port, urgent};
use crate::region::{FrameId, Frames, Handle, List, Tenure, Walk};
use crate::shard::{Entry, Shard};

/// Linear in what the shard holds: for tests and debug builds, after every step.
pub fn check(s: &mut Shard) -> Result<(), &'static str> {
    let mut in_queues = 0;
    for index in 1..s.connections.high_water() {
        let Some(h) = s.connections.at(index) else { continue };
        in_queues += connection(s, h)?;
    }
    let owned = [Tenure::RECEIVED, Tenure::OUT_OF_ORDER, Tenure::SENDING];
    if s.frames.used().filter(|(_, m)| owned.contains(&m.tenure)).count() != in_queues {
        return Err("a frame is owned by a connection but in none of its queues");
    }
    if !request::check(s) {
        return Err("half-open entries and their listeners' counts disagree");
    }
    if !fast_open::check(s) {
        return Err("connections that are open early and their listeners' counts disagree");
    }
    if s.head.orphans != orphans::count(s) {
        return Err("the number of orphans is not that of the connections that nobody holds");
    }
    listeners(s)
}

fn connection(s: &mut Shard, h: Handle<Connection>) -> Result<usize, &'static str> {
    let Some(c) = s.connections.get(h).copied() else { return Ok(0) };
    if c.marks.has(Marks::IN_TABLE) != (s.flow(&c.head.tuple) == Some(Entry::Connection(h))) {
        return Err("a connection is not found by its tuple, or is found after its end");
    }
    let touched = c.marks.has(Marks::TOUCHED);
    if !touched && (c.state.is_closed() || c.state == State::TIME_WAIT) == c.marks.has(Marks::IN_TABLE) {
        return Err("a connection's state and its place in the table disagree");
    }
    if c.marks.has(Marks::IN_TABLE) && !touched && !c.head.timer_is_armed() && c.timers.armed != 0 {
        return Err("a connection believes in a timer that is not armed");
    }
    if !c.state.is_opening() && !c.state.is_closed() {
        congestion::check(&c)?;
    }
    receiving(&mut s.frames, h, &c)?;
    sending(&mut s.frames, h, &c)?;
    Ok((c.receive.queue.len + c.receive.beyond.len + c.send.queue.len) as usize)
}

/// Walks a queue: every frame is the connection's, with this tenure; `each` gets start and end of its payload.
fn walk(
    frames: &mut Frames,
    owner: Handle<Connection>,
    queue: &List,
    tenure: Tenure,
    mut each: impl FnMut(FrameId, Seq, Seq) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    if !queue.check(frames) {
        return Err("a queue of frames is broken");
    }
    let mut walk = Walk::over(frames, FrameId(queue.first));
    while let Some((at, meta)) = walk.item(frames) {
        if meta.owner != owner.raw() || meta.tenure != tenure {
            return Err("a frame in a queue belongs to somebody else");
        }
        let start = Seq(meta.seq);
        each(at, start, start + u32::from(meta.payload_len))?;
        walk.to(FrameId(meta.link.next));
    }
    Ok(())
}

fn receiving(frames: &mut Frames, h: Handle<Connection>, c: &Connection) -> Result<(), &'static str> {
    let mut bytes = 0;
    let mut last = None;
    walk(frames, h, &c.receive.queue, Tenure::RECEIVED, |_, start, end| {
        if last.is_some_and(|last| last != start) || start == end {
            return Err("the receive queue has a hole");
        }
        bytes = end.since(start).saturating_add(bytes);
        last = Some(end);
        Ok(())
    })?;
    if bytes != c.receive.unread {
        return Err("the receive queue holds other than the unread bytes");
    }
    let fin = u32::from(c.marks.has(Marks::FIN_RECEIVED));
    if last.is_some_and(|last| last + fin != c.receive.next) {
        return Err("the receive queue does not end at RCV.NXT");
    }
    let mut before = c.receive.next;
    let mut is_first = true;
    walk(frames, h, &c.receive.beyond, Tenure::OUT_OF_ORDER, |_, start, end| {
        if start.is_before(before)
            || (is_first && start == before && fin == 0)
            || end.is_after(c.receive.edge)
        {
            return Err("segments beyond a hole overlap or lie outside of the window");
        }
        (before, is_first) = (end, false);
        Ok(())
    })?;
    if !urgent::check(c) {
        return Err("the urgent mark is not where it can be");
    }
    if !beyond::check(c, frames) {
        return Err("the runs beyond holes are not those of the frames");
    }
    if !c.state.is_opening() && !c.state.is_closed() && c.receive.edge.is_before(c.receive.next) {
        return Err("the receive window is negative");
    }
    Ok(())
}

fn sending(frames: &mut Frames, h: Handle<Connection>, c: &Connection) -> Result<(), &'static str> {
    if c.state.is_closed() {
        return if c.send.queue.is_empty() { Ok(()) } else { Err("a closed connection still sends") };
    }
    if c.send.una.is_after(c.send.next) || c.send.next.is_after(c.send.end + 1) {
        return Err("SND.UNA, SND.NXT and the end of the queue are out of order");
    }
    if !c.probing.is_sound(c.send.next) {
        return Err("a probe of the path MTU was never sent");
    }
    let mut at = None;
    let mut fresh = FrameId::NONE;
    walk(frames, h, &c.send.queue, Tenure::SENDING, |frame, start, end| {
        // The FIN has a frame of its own when it is sent by itself.
        let is_bare_fin = start == end && start == c.send.end && c.fin_is_sent();
        if at.unwrap_or(c.first_byte()) != start || (start == end && !is_bare_fin) {
            return Err("the send queue has a hole");
        }
        if fresh.is_none() && !start.is_before(c.send.next) {
            fresh = frame;
        }
        at = Some(end);
        Ok(())
    })?;
    if at.is_some_and(|at| at != c.send.end) {
        return Err("the send queue does not end where the program stopped");
    }
    if fresh != c.send.fresh {
        return Err("the first fresh frame is not where SND.NXT is");
    }
    if c.state.is_opening() { Ok(()) } else { recovery::check(frames, c) }
}

fn listeners(s: &mut Shard) -> Result<(), &'static str> {
    let mut queued = 0;
    for index in 1..s.listeners.high_water() {
        let Some(h) = s.listeners.at(index) else { continue };
        let Some(l) = s.listeners.get(h).copied() else { continue };
        if !l.accept_queue.check(&mut AcceptLinks(&mut s.connections)) {
            return Err("an accept queue is broken");
        }
        queued += l.accept_queue.len as usize;
        if !reuse_port::is_chained(s, h) {
            return Err("a listener is not found by its port");
        }
    }
    let waiting = s.connections.live().filter_map(|h| s.connections.get(h)).filter(|c| c.is_to_be_accepted());
    if waiting.count() != queued {
        return Err("a connection waits in no accept queue");
    }
    Ok(())
}

/// Whether the queues of a connection agree with its numbers.
pub(super) fn queues_are_sound(frames: &mut Frames, h: Handle<Connection>, c: &Connection) -> bool {
    receiving(frames, h, c).is_ok() && sending(frames, h, c).is_ok()
}
