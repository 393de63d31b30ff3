//! Taking a reduction back when what was thought lost had only been late: by timestamps (Eifel, RFC 3522 and 4015), or
//! because the peer reports every repetition as a duplicate (RFC 3708).

use super::states::keep_open;
use super::{Facts, Phase, Progress, UNDO_NOT_COUNTED, rack, scoreboard};
use crate::region::FrameId;
use crate::tcp::congestion;
use crate::tcp::connection::Marks;
use crate::tcp::turn::Turn;

/// From here on repetitions are counted.
pub(super) fn begin(t: &mut Turn<'_>) {
    t.c.marks.set(Marks::MAY_UNDO);
    let r = &mut t.c.recovery;
    r.undo_from = t.c.send.una;
    r.undo_count =
        if r.resent == 0 { UNDO_NOT_COUNTED } else { r.resent.min(u32::from(u16::MAX - 1)) as u16 };
}

/// RFC 3522 3.2 step 4: "If the value of the Timestamp Echo Reply field is smaller than RetransmitTS", the ACK answers
/// the original transmission.
fn echoes_original(t: &Turn<'_>, progress: &Progress) -> bool {
    let first = t.c.recovery.resent_stamp;
    first != 0 && progress.echo.is_some_and(|echo| (echo.wrapping_sub(first) as i32) < 0)
}

fn is_all_duplicate(t: &Turn<'_>) -> bool {
    t.c.recovery.undo_count == 0
}

fn is_justified(t: &Turn<'_>, progress: &Progress) -> bool {
    t.c.marks.has(Marks::MAY_UNDO) && (is_all_duplicate(t) || echoes_original(t, progress))
}

/// The window as it was before. `nothing_was_lost`: what waits to be sent again does not have to be.
fn restore(t: &mut Turn<'_>, nothing_was_lost: bool) {
    t.counters.tcp_undone += 1;
    if nothing_was_lost {
        scoreboard::unmark_lost(t);
    }
    if !t.c.recovery.facts.has(Facts::WINDOW_STAYS) {
        congestion::undo(t);
    }
    t.c.marks.clear(Marks::MAY_UNDO);
    // What is late by now is looked for again.
    t.c.recovery.facts.set(Facts::ADVANCED);
}

/// After a timeout; `is_certain` when F-RTO has found it needless.
pub(super) fn loss(t: &mut Turn<'_>, progress: &Progress, is_certain: bool) -> bool {
    if !is_certain && !is_justified(t, progress) {
        return false;
    }
    restore(t, true);
    if holds_back(t) {
        return true;
    }
    if is_certain || scoreboard::is_selective(t) {
        t.c.recovery.phase = Phase::OPEN;
    }
    true
}

/// All that was outstanding at the beginning is acknowledged. True when the state has to last a while longer.
pub(super) fn recovery(t: &mut Turn<'_>, progress: &Progress) -> bool {
    if is_justified(t, progress) {
        restore(t, false);
    } else {
        t.c.recovery.persistence = t.c.recovery.persistence.saturating_sub(1);
    }
    if holds_back(t) {
        return true;
    }
    t.c.recovery.phase = Phase::OPEN;
    false
}

/// RFC 6582 3.2 step 2, without SACK: duplicate ACKs of just this place may be answers to what was sent again
/// needlessly, so the state lasts until something beyond is acknowledged.
fn holds_back(t: &mut Turn<'_>) -> bool {
    let waits = t.c.send.una == t.c.recovery.until && !scoreboard::is_selective(t);
    if waits && !any_repetition(t) {
        t.c.recovery.resent_stamp = 0;
    }
    waits
}

/// Every repetition was reported as a duplicate.
pub(super) fn by_duplicates(t: &mut Turn<'_>) -> bool {
    if !t.c.marks.has(Marks::MAY_UNDO) || !is_all_duplicate(t) {
        return false;
    }
    let r = &mut t.c.recovery;
    r.persistence = r.persistence.saturating_add(1).min(rack::PERSISTENCE);
    restore(t, false);
    true
}

/// A hole was filled during fast recovery. `None` when it was filled by a repetition, as it should; otherwise by what
/// had been late, and true when more such has to be awaited.
pub(super) fn partial(t: &mut Turn<'_>, progress: &Progress) -> Option<bool> {
    if !t.c.marks.has(Marks::MAY_UNDO) || !echoes_original(t, progress) {
        return None;
    }
    rack::note_reordering(t, progress.una_before);
    // While repetitions are out, new segments are clocked out and nothing more counts as lost.
    if t.c.recovery.resent > 0 {
        return Some(true);
    }
    if !any_repetition(t) {
        t.c.recovery.resent_stamp = 0;
    }
    restore(t, true);
    keep_open(t);
    Some(false)
}

/// Something that is outstanding was sent more than once.
pub(super) fn any_repetition(t: &Turn<'_>) -> bool {
    let first = FrameId(t.c.send.queue.first);
    t.c.recovery.resent > 0 || t.frames.meta(first).is_some_and(|m| m.transmissions > 1)
}
