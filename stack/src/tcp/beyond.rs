//! Segments beyond a hole: frames in order of sequence number, which do not overlap and form runs without holes.
//!
//! The first and the last frame of a run name each other, so that a search goes from run to run and never through
//! one. The runs are in a list of their own too, the one that grew last in front: that is what selective
//! acknowledgements tell ([`super::sack`]).

use super::incoming::{self, Fit};
use super::segment::Segment;
use super::turn::Turn;
use super::{Connection, Seq, receive_queue, sack};
use crate::region::{FrameId, Frames, Link, Links, List, Steps, Tenure, Walk, Walked};

/// In `FrameMeta::flags`: a FIN follows the payload.
const FIN: u8 = 1;
/// Runs that one connection may have. Whoever sends nothing but holes makes each search this long and no longer.
const MOST_RUNS: u32 = 1024;

/// Frames without a hole between them.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub first: FrameId,
    pub last: FrameId,
    /// The first place and the one behind the last, a FIN counted.
    pub start: Seq,
    pub end: Seq,
}

/// The links of the list of runs, which lie in their first frames.
struct Recency<'a>(&'a mut Frames);

impl Links for Recency<'_> {
    fn link(&mut self, index: u32) -> Option<&mut Link> {
        self.0.meta_mut(FrameId(index)).map(|m| &mut m.order)
    }
}

/// Where a queued segment starts and ends, its FIN counted.
fn extent(frames: &Frames, frame: FrameId) -> (Seq, Seq) {
    frames.meta(frame).map_or((Seq(0), Seq(0)), |m| {
        let start = Seq(m.seq);
        (start, start + u32::from(m.payload_len) + u32::from(m.flags & FIN))
    })
}

/// From the first frame of a run to its last, and back. A received frame needs no sum, so it is kept there.
fn other_end(frames: &Frames, frame: FrameId) -> FrameId {
    FrameId(frames.meta(frame).map_or(0, |m| m.sum))
}

fn set_ends(frames: &mut Frames, first: FrameId, last: FrameId) {
    if let Some(meta) = frames.meta_mut(first) {
        meta.sum = last.0;
    }
    if let Some(meta) = frames.meta_mut(last) {
        meta.sum = first.0;
    }
}

fn run_from(frames: &Frames, first: FrameId) -> Option<Run> {
    let last = other_end(frames, first.some()?);
    Some(Run { first, last, start: extent(frames, first).0, end: extent(frames, last).1 })
}

fn run_before(frames: &Frames, first: FrameId) -> Option<Run> {
    let last = FrameId(frames.meta(first)?.link.prev);
    run_from(frames, other_end(frames, last.some()?))
}

fn run_behind(frames: &Frames, last: FrameId) -> Option<Run> {
    run_from(frames, FrameId(frames.meta(last)?.link.next))
}

/// The run behind `run`; the first of all behind none.
fn run_following(t: &Turn<'_>, run: Option<Run>) -> Option<Run> {
    match run {
        Some(run) => run_behind(t.frames, run.last),
        None => run_from(t.frames, FrameId(t.c.receive.beyond.first)),
    }
}

/// Goes from run to run.
fn each_run(
    frames: &Frames,
    first: Option<Run>,
    next: impl Fn(&Run) -> Option<Run>,
) -> impl Iterator<Item = Run> {
    let mut steps = Steps::over(frames);
    core::iter::successors(first, next).take_while(move |_| steps.take(frames.damage()))
}

/// The runs, the one that grew last in front.
pub(super) fn by_recency(c: &Connection, frames: &Frames) -> impl Iterator<Item = Run> {
    let first = run_from(frames, FrameId(c.receive.runs.first));
    each_run(frames, first, |run| run_from(frames, FrameId(frames.meta(run.first)?.order.next)))
}

/// The last run that does not start behind `place`.
fn find(c: &Connection, frames: &Frames, place: Seq) -> Option<Run> {
    let last = run_from(frames, other_end(frames, FrameId(c.receive.beyond.last)))?;
    // The newest segment is the most likely one; then one that goes on where the one before it ended.
    if !last.start.is_after(place) {
        return Some(last);
    }
    if extent(frames, FrameId(c.receive.beyond.first)).0.is_after(place) {
        return None;
    }
    if let Some(recent) = run_from(frames, FrameId(c.receive.runs.first))
        && !recent.start.is_after(place)
        && run_behind(frames, recent.last).is_none_or(|next| next.start.is_after(place))
    {
        return Some(recent);
    }
    each_run(frames, Some(last), |run| run_before(frames, run.first)).find(|run| !run.start.is_after(place))
}

/// The place behind all that is held.
pub(super) fn end(c: &Connection, frames: &Frames) -> Option<Seq> {
    FrameId(c.receive.beyond.last).some().map(|last| extent(frames, last).1)
}

/// Keeps the part of the segment that is neither in the queue yet nor outside of the window.
pub(super) fn insert(t: &mut Turn<'_>, segment: &Segment, fit: Fit) {
    let len = u32::from(fit.len) + u32::from(fit.fin);
    if len == 0 {
        return;
    }
    t.c.tally.beyond = t.c.tally.beyond.wrapping_add(1);
    let (mut start, mut end) = (segment.seq, segment.seq + len);
    let before = find(t.c, t.frames, start);
    if let Some(run) = before
        && run.end.is_after(start)
    {
        sack::duplicate(t, start, end.earlier_of(run.end));
        start = run.end;
        if !end.is_after(start) {
            t.counters.tcp_duplicates += 1;
            return freshen(t, run.first);
        }
    }
    let behind = run_following(t, before);
    let is_apart =
        before.is_none_or(|run| run.end != start) && behind.is_none_or(|run| run.start.is_after(end));
    if !may_keep(t, start, is_apart) {
        return;
    }
    end = drop_covered(t, before, start, end);
    let fin = fit.fin && end == segment.seq + len;
    let payload_len = end.since(start).saturating_sub(u32::from(fin));
    if payload_len == 0 && !fin {
        return;
    }
    t.counters.tcp_out_of_order += 1;
    let joined = before.filter(|run| run.end == start);
    if let Some(run) = joined
        && !fin
        && payload_len <= u32::from(receive_queue::SMALL)
        && receive_queue::coalesce(
            t.frames,
            run.last,
            segment.frame,
            skip(segment, start),
            payload_len as u16,
        )
    {
        join(t, run);
        return freshen(t, run.first);
    }
    let Some(meta) = t.frames.meta_mut(segment.frame) else { return };
    meta.flags = u8::from(fin) * FIN;
    meta.order = Link::default();
    let payload = skip(segment, start);
    meta.give_to(t.handle.raw(), Tenure::OUT_OF_ORDER, start.0, payload, payload_len as u16);
    let after = before.map_or(FrameId::NONE, |run| run.last);
    t.c.receive.beyond.insert_after(t.frames, after.0, segment.frame.0);
    let first = match joined {
        Some(run) => run.first,
        None => {
            t.c.receive.runs.push_front(&mut Recency(t.frames), segment.frame.0);
            segment.frame
        }
    };
    set_ends(t.frames, first, segment.frame);
    if let Some(run) = run_from(t.frames, first) {
        join(t, run);
    }
    freshen(t, first);
}

/// Where the byte of `start` is in the segment's chunk.
fn skip(segment: &Segment, start: Seq) -> u16 {
    segment.payload.wrapping_add(start.since(segment.seq) as u16)
}

/// What the new segment, from `start` to `end`, covers in whole goes; the first run that it covers in part bounds it.
fn drop_covered(t: &mut Turn<'_>, before: Option<Run>, start: Seq, end: Seq) -> Seq {
    let mut behind = run_following(t, before);
    let mut steps = Steps::over(t.frames);
    while let Some(run) = behind.filter(|run| run.start.is_before(end) && steps.take(t.frames.damage())) {
        sack::duplicate(t, run.start.later_of(start), run.end.earlier_of(end));
        if run.end.is_after(end) {
            return run.start;
        }
        behind = run_behind(t.frames, run.last);
        t.c.receive.runs.remove(&mut Recency(t.frames), run.first.0);
        remove_all(t, &run);
    }
    end
}

fn remove_all(t: &mut Turn<'_>, run: &Run) {
    let mut walk = Walk::over(t.frames, run.first);
    while let Some((at, meta)) = walk.item(t.frames) {
        walk.to(FrameId(meta.link.next));
        t.c.receive.beyond.remove(t.frames, at.0);
        t.frames.release(at);
        if at == run.last {
            break;
        }
    }
}

/// Makes one of a run and the one behind it, if nothing is missing between them any more.
fn join(t: &mut Turn<'_>, run: Run) {
    let end = extent(t.frames, run.last).1;
    if let Some(next) = run_behind(t.frames, run.last).filter(|next| next.start == end) {
        t.c.receive.runs.remove(&mut Recency(t.frames), next.first.0);
        set_ends(t.frames, run.first, next.last);
    }
}

/// The run that begins with `first` has grown, or was asked for once more.
fn freshen(t: &mut Turn<'_>, first: FrameId) {
    if t.c.receive.runs.first != first.0 {
        t.c.receive.runs.remove(&mut Recency(t.frames), first.0);
        t.c.receive.runs.push_front(&mut Recency(t.frames), first.0);
    }
}

/// Whether there is memory for a segment at `start`, which `is_apart` from all runs or makes one longer. What lies farther from the reader gives way to it.
///
/// LINUX: tcp_prune_ofo_queue(). RFC 2018 8: "the data receiver is permitted to discard data in its queue that has
/// not been acknowledged to the data sender, even if the data has already been reported in a SACK option".
fn may_keep(t: &mut Turn<'_>, start: Seq, is_apart: bool) -> bool {
    let frames = t.c.receive.queue.len.saturating_add(t.c.receive.beyond.len);
    let is_full = frames.saturating_mul(t.frames.chunk_size()) >= t.c.receive_buffer();
    let has_run = |t: &Turn<'_>| !is_apart || t.c.receive.runs.len < MOST_RUNS;
    if !is_full && has_run(t) && !t.frames.is_scarce() {
        return true;
    }
    let farthest = FrameId(t.c.receive.beyond.last);
    if farthest.is_none() || !extent(t.frames, farthest).0.is_after(start) {
        t.counters.tcp_pruned += 1;
        return false;
    }
    prune(t);
    // One frame comes for the one that went; but a run may only come for one that went in whole.
    has_run(t)
}

/// Gives up the frame that is farthest from the reader. False: there is none.
pub(super) fn prune(t: &mut Turn<'_>) -> bool {
    let Some(last) = FrameId(t.c.receive.beyond.last).some() else { return false };
    let first = other_end(t.frames, last);
    if first == last {
        t.c.receive.runs.remove(&mut Recency(t.frames), first.0);
    } else {
        let before = FrameId(t.frames.meta(last).map_or(0, |m| m.link.prev));
        set_ends(t.frames, first, before);
    }
    t.c.receive.beyond.remove(t.frames, last.0);
    t.frames.release(last);
    t.counters.tcp_pruned += 1;
    true
}

/// RCV.NXT has moved: the runs that it reaches are no longer beyond a hole.
pub(super) fn drain(t: &mut Turn<'_>) {
    let reached = t.c.receive.next;
    // One for each run and one for each frame: the frames go to another queue, which may have been bent into this one.
    let mut steps = Steps::of(t.frames.most().saturating_mul(2));
    while let Some(run) = run_from(t.frames, FrameId(t.c.receive.beyond.first)) {
        if !steps.take(t.frames.damage()) || run.start.is_after(t.c.receive.next) {
            break;
        }
        if run.start.is_before(reached) {
            sack::duplicate(t, run.start, run.end.earlier_of(reached));
        }
        t.c.receive.runs.remove(&mut Recency(t.frames), run.first.0);
        while steps.take(t.frames.damage()) {
            let Some(frame) = t.c.receive.beyond.pop_front(t.frames).map(FrameId) else { break };
            move_to_reader(t, frame);
            if frame == run.last {
                break;
            }
        }
    }
}

/// A frame that is no longer beyond a hole joins the bytes in order, as far as they are new.
fn move_to_reader(t: &mut Turn<'_>, frame: FrameId) {
    let (start, end) = extent(t.frames, frame);
    let Some(meta) = t.frames.meta_mut(frame) else { return };
    meta.tenure = Tenure::HELD;
    let (payload, len, fin) = (meta.payload, meta.payload_len, meta.flags & FIN != 0);
    let known = t.c.receive.next.since(start).min(u32::from(len)) as u16;
    if end.is_after(t.c.receive.next) && t.c.state.may_receive() {
        let new = len - known;
        if new > 0 {
            receive_queue::adopt(t, frame, payload.wrapping_add(known), new);
        }
        incoming::arrived(t, u32::from(new), fin);
    }
    if t.frames.meta(frame).is_some_and(|m| m.tenure == Tenure::HELD) {
        t.frames.release(frame);
    }
}

/// After a death: the runs from the frames, which are in order already.
pub(super) fn recover(c: &mut Connection, frames: &mut Frames) {
    c.receive.runs = List::EMPTY;
    let mut walk = Walk::over(frames, FrameId(c.receive.beyond.first));
    while let Some((at, meta)) = walk.item(frames) {
        let (start, previous) = (Seq(meta.seq), FrameId(meta.link.prev));
        walk.to(FrameId(meta.link.next));
        let goes_on = previous.some().is_some() && extent(frames, previous).1 == start;
        if goes_on {
            let first = other_end(frames, previous);
            set_ends(frames, first, at);
        } else {
            set_ends(frames, at, at);
            c.receive.runs.push_front(&mut Recency(frames), at.0);
        }
    }
}

/// The runs are those that the frames make, each is in the list once, and none touches the next. The links of the
/// queue are known to be sound.
pub(super) fn check(c: &Connection, frames: &mut Frames) -> bool {
    if !c.receive.runs.check(&mut Recency(frames)) || c.receive.runs.len > MOST_RUNS {
        return false;
    }
    let (mut runs, mut end) = (0, None);
    let first = run_from(frames, FrameId(c.receive.beyond.first));
    for run in each_run(frames, first, |run| run_behind(frames, run.last)) {
        if !has_no_hole(frames, &run) {
            return false;
        }
        if other_end(frames, run.last) != run.first || end == Some(run.start) {
            return false;
        }
        end = Some(run.end);
        runs += 1;
    }
    runs == c.receive.runs.len
}

/// From its first frame to its last each begins where the one before it ends.
fn has_no_hole(frames: &Frames, run: &Run) -> bool {
    let mut reached = run.start;
    let mut walk = Walk::over(frames, run.first);
    while let Some((at, meta)) = walk.item(frames) {
        if Seq(meta.seq) != reached {
            return false;
        }
        if at == run.last {
            return true;
        }
        reached = extent(frames, at).1;
        walk.to(FrameId(meta.link.next));
    }
    false
}
