//! Selective acknowledgements (RFC 2018) and reports of duplicates (D-SACK, RFC 2883), as they come with an ACK.

use super::scoreboard::{self, SACKED, end_of};
use super::{Facts, Progress, UNDO_NOT_COUNTED, rack};
use crate::region::{FrameId, FrameMeta, Tenure, Walk};
use crate::tcp::Seq;
use crate::tcp::connection::Marks;
use crate::tcp::segment::Segment;
use crate::tcp::turn::Turn;
use crate::wire::options::{self, MAX_SACK_BLOCKS, SackBlock, SackBlocks, TIMESTAMPS_LEN};

/// Takes the blocks of the segment; SND.UNA is still what it was before.
#[inline]
pub(in crate::tcp) fn take(t: &mut Turn<'_>, segment: &Segment, progress: &mut Progress) {
    let len = usize::from(segment.options.1);
    let has_none = len < SHORTEST || (len == TIMESTAMPS_LEN && segment.timestamps.is_some());
    if !has_none && scoreboard::is_selective(t) {
        look_for(t, segment, progress);
    }
}

#[inline(never)]
fn look_for(t: &mut Turn<'_>, segment: &Segment, progress: &mut Progress) {
    let blocks = options::sack_blocks(segment.options_in(t.frames));
    if !blocks.is_empty() {
        process(t, segment.ack, &blocks, progress);
    }
}

fn process(t: &mut Turn<'_>, ack: Seq, blocks: &SackBlocks, progress: &mut Progress) {
    let is_report = reports_duplicate(ack, blocks.as_slice());
    let seen = core::mem::take(&mut t.c.recovery.seen);
    for (nth, block) in blocks.as_slice().iter().enumerate() {
        let (start, end) = (Seq(block.start), Seq(block.end));
        let is_report = is_report && nth == 0;
        if is_report && start.is_before(end) && !end.is_after(t.c.send.next) {
            duplicate(t, start, end, progress);
        }
        if !is_valid(t, start, end, is_report) {
            // What an overtaken ACK says is merely old.
            let is_old = is_report || (start.is_before(end) && !end.is_after(t.c.send.una));
            t.counters.tcp_bad_sack_blocks += u64::from(!is_old);
            continue;
        }
        let fingerprint = fingerprint(block);
        if let Some(place) = t.c.recovery.seen.get_mut(nth) {
            *place = fingerprint;
        }
        // Each block comes in several ACKs; only the first of them can be longer than it was.
        let is_known = nth > 0 && seen.contains(&fingerprint);
        if end.is_after(t.c.send.una) && !is_known {
            mark_range(t, start, end, progress);
        }
    }
}

/// RFC 2883 4: "the first SACK block is ... [a D-SACK block if it] covers sequence numbers below the cumulative
/// acknowledgement" or if it "is [a] subset of the second".
fn reports_duplicate(ack: Seq, blocks: &[SackBlock]) -> bool {
    let Some(first) = blocks.first() else { return false };
    let (start, end) = (Seq(first.start), Seq(first.end));
    if start.is_before(ack) {
        return true;
    }
    blocks.get(1).is_some_and(|second| !end.is_after(Seq(second.end)) && !start.is_before(Seq(second.start)))
}

/// Whether a block can be meant as it stands. Reports of duplicates may reach back as far as the flight that may yet
/// be undone.
///
/// LINUX: tcp_is_sackblock_valid(): a block that begins at SND.UNA acknowledges what the ACK itself should have.
fn is_valid(t: &Turn<'_>, start: Seq, end: Seq, is_report: bool) -> bool {
    if !start.is_before(end) || end.is_after(t.c.send.next) || !start.is_before(t.c.send.next) {
        return false;
    }
    if start.is_after(t.c.send.una) {
        return true;
    }
    if !is_report || !t.c.marks.has(Marks::MAY_UNDO) || end.is_after(t.c.send.una) {
        return false;
    }
    let from = t.c.recovery.undo_from;
    !start.is_before(from) || (end.is_after(from) && !start.is_before(end - t.c.send.largest_window))
}

/// Something arrived twice.
fn duplicate(t: &mut Turn<'_>, start: Seq, end: Seq, progress: &mut Progress) {
    progress.duplicate_reported = true;
    let mss = u32::from(t.c.send.mss).max(1);
    let segments = end.since(start).div_ceil(mss);
    let r = &mut t.c.recovery;
    r.duplicates = r.duplicates.saturating_add(segments);
    // A duplicate that we did not make is the network's.
    if r.duplicates > r.total {
        return;
    }
    let is_of_probe = t.c.marks.has(Marks::PROBE_OUT)
        && r.facts.has(Facts::PROBE_REPEATS)
        && end == r.probe_end
        && segments <= 1;
    progress.probe_was_needless |= is_of_probe;
    if !is_of_probe {
        r.facts.set(Facts::DUPLICATE_PENDING);
    }
    if t.c.marks.has(Marks::MAY_UNDO) && r.undo_count != UNDO_NOT_COUNTED && end.is_after(r.undo_from) {
        let segments = segments.min(u32::from(u16::MAX)) as u16;
        r.undo_count = r.undo_count.saturating_sub(segments);
    }
}

/// Marks the frames that lie within a block as a whole. Part of a frame is none of it: what we cut, we cut before we
/// send it, so a peer that has a part has been lied to, or lies.
fn mark_range(t: &mut Turn<'_>, start: Seq, end: Seq, progress: &mut Progress) {
    let mut walk = Walk::over(t.frames, find(t, start));
    while let Some((at, &meta)) = walk.item(t.frames)
        && at != t.c.send.fresh
        && !end_of(&meta).is_after(end)
    {
        t.c.recovery.cursor = at;
        walk.to(if meta.flags & SACKED != 0 {
            behind_run(t, meta.order.next, meta.link.next)
        } else {
            note_sample(t, at, progress);
            scoreboard::mark_sacked(t, at, progress);
            FrameId(meta.link.next)
        });
    }
    t.c.recovery.highest = t.c.recovery.highest.later_of(end);
}

/// What a frame that the peer has newly got says about the round trip, and about the order of arrival.
fn note_sample(t: &mut Turn<'_>, frame: FrameId, progress: &mut Progress) {
    let Some(meta) = t.frames.meta(frame).copied() else { return };
    progress.sacked = true;
    rack::advance(t, &meta, progress);
    if meta.transmissions > 1 {
        return;
    }
    progress.newest_sacked_at = progress.newest_sacked_at.max(meta.sent_at);
    progress.oldest_sacked_at = match progress.oldest_sacked_at {
        0 => meta.sent_at,
        oldest => oldest.min(meta.sent_at),
    };
    progress.note_original(t, &meta);
}

/// The first frame that does not begin before `start`. Blocks grow where they grew last, so the search begins there,
/// and it steps over whole runs of frames that the peer has.
fn find(t: &Turn<'_>, start: Seq) -> FrameId {
    let from = t.c.recovery.cursor.some().unwrap_or(FrameId(t.c.send.queue.first));
    let mut walk = Walk::over(t.frames, from);
    while let Some((at, meta)) = walk.item(t.frames)
        && Seq(meta.seq).is_after(start)
    {
        let (back, first) = run_start(t, at, meta);
        if back != at && !Seq(first.seq).is_after(start) {
            walk.to(back);
            break;
        }
        match first.link.prev {
            0 => return back,
            before => walk.to(FrameId(before)),
        }
    }
    let mut walk = Walk::over(t.frames, walk.at());
    while let Some((at, meta)) = walk.item(t.frames)
        && Seq(meta.seq).is_before(start)
        && at != t.c.send.fresh
    {
        let run_end = t.frames.meta(FrameId(meta.order.next)).filter(|_| meta.flags & SACKED != 0);
        walk.to(match run_end {
            Some(last) if !end_of(last).is_after(start) => FrameId(last.link.next),
            _ => FrameId(meta.link.next),
        });
    }
    walk.at()
}

/// The first frame of the run that `at` is in, or `at` itself. In the middle of a run the links are those of an
/// earlier time: they lead to a frame of the same run, or to one that has left the queue and is passed over.
fn run_start<'a>(t: &'a Turn<'_>, at: FrameId, meta: &'a FrameMeta) -> (FrameId, &'a FrameMeta) {
    let back = FrameId(if meta.flags & SACKED != 0 { meta.order.prev } else { 0 });
    let is_ours = |m: &&FrameMeta| {
        m.owner == meta.owner
            && m.tenure == Tenure::SENDING
            && m.flags & SACKED != 0
            && !Seq(m.seq).is_before(t.c.send.una)
            && Seq(m.seq).is_before(Seq(meta.seq))
    };
    t.frames.meta(back).filter(is_ours).map_or((at, meta), |first| (back, first))
}

/// The frame behind the run that ends with `last`.
fn behind_run(t: &Turn<'_>, last: u32, next: u32) -> FrameId {
    FrameId(t.frames.meta(FrameId(last)).filter(|m| m.flags & SACKED != 0).map_or(next, |m| m.link.next))
}

/// Tells a block from others of the same few ACKs; never 0. That two look alike costs no more than one of them.
fn fingerprint(block: &SackBlock) -> u16 {
    let mixed = block.start.wrapping_mul(0x9e37_79b1) ^ block.end.wrapping_mul(0x85eb_ca77);
    ((mixed >> 16) as u16).max(1)
}

/// Kind, length and one block.
const SHORTEST: usize = 10;
const _: () = assert!(MAX_SACK_BLOCKS == 4, "there is a place for the fingerprint of each");
