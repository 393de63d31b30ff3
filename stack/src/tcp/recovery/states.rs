//! The states of recovery, and what an ACK changes in them.

use super::{Facts, Phase, Progress, counting, loss, rack, reduction, scoreboard, tail_probe, timer, undo};
use crate::tcp::turn::Turn;
use crate::tcp::{congestion, path_mtu};

/// An ACK was taken apart: judges what it says of losses, and tells congestion control. `una` is moved already.
pub(in crate::tcp) fn on_ack(t: &mut Turn<'_>, progress: &mut Progress, round_trip: Option<u64>) {
    if progress.acked > 0 {
        moved_on(t, progress);
    }
    if let Some(low) = progress.overtaken.filter(|_| scoreboard::is_selective(t)) {
        rack::note_reordering(t, low);
    }
    t.c.recovery.highest = t.c.recovery.highest.later_of(t.c.send.una);
    rack::adapt_window(t);
    tail_probe::on_ack(t, progress);
    if is_dubious(t, progress) {
        judge(t, progress);
    }
    if !progress.is_waiting && (progress.acked > 0 || timer::is_sacked_in_time(t, progress)) {
        timer::after_ack(t);
    }
    report(t, progress, round_trip);
}

fn moved_on(t: &mut Turn<'_>, progress: &mut Progress) {
    if scoreboard::is_selective(t) {
        return;
    }
    counting::remove(t, progress);
    // Which of them had arrived before the others, and before they were sent again, nobody can tell.
    progress.overtaken = None;
    progress.original_arrived &= progress.resent_at == 0;
}

fn is_dubious(t: &Turn<'_>, progress: &Progress) -> bool {
    t.c.recovery.phase != Phase::OPEN
        || progress.is_duplicate
        || progress.sacked
        || progress.duplicate_reported
        || t.c.recovery.waiting > 0
}

/// LINUX: tcp_fastretrans_alert(), whose states these are.
fn judge(t: &mut Turn<'_>, progress: &mut Progress) {
    if loss::suspects_reneging(t, progress) || leave(t, progress) {
        return;
    }
    match t.c.recovery.phase {
        Phase::RECOVERY => {
            if progress.acked == 0 && progress.is_duplicate && !scoreboard::is_selective(t) {
                counting::add(t, progress);
            }
            if progress.acked > 0 && undo::partial(t, progress) == Some(true) {
                return;
            }
            if undo::by_duplicates(t) {
                keep_open(t);
            }
        }
        Phase::LOSS => {
            loss::on_ack(t, progress);
            identify(t, progress);
            if t.c.recovery.phase != Phase::OPEN && !progress.repetition_lost {
                return;
            }
            return decide(t);
        }
        phase => {
            if !scoreboard::is_selective(t) && progress.is_duplicate {
                counting::add(t, progress);
            }
            if phase <= Phase::DISORDER {
                undo::by_duplicates(t);
            }
        }
    }
    identify(t, progress);
    if t.c.recovery.phase != Phase::RECOVERY {
        decide(t);
    }
}

/// What was outstanding when the phase began is acknowledged: the phase ends. True when nothing else is to be judged.
fn leave(t: &mut Turn<'_>, progress: &Progress) -> bool {
    if t.c.recovery.phase == Phase::OPEN {
        t.c.recovery.resent_stamp = 0;
        return false;
    }
    if t.c.send.una.is_before(t.c.recovery.until) {
        return false;
    }
    match t.c.recovery.phase {
        // Something beyond has to be acknowledged, for then the peer has seen CWR.
        Phase::CWR if t.c.send.una != t.c.recovery.until => {
            reduction::end(t);
            t.c.recovery.phase = Phase::OPEN;
        }
        Phase::RECOVERY => {
            if !scoreboard::is_selective(t) {
                counting::reset(t);
            }
            if undo::recovery(t, progress) {
                return true;
            }
            // Not after an undo: that has set the window already.
            reduction::end(t);
        }
        _ => {}
    }
    false
}

/// Marks what is lost.
///
/// LINUX: since 6.17 bit 1 of net.ipv4.tcp_recovery switches nothing: with SACK it is always RACK that tells.
fn identify(t: &mut Turn<'_>, progress: &mut Progress) {
    if !scoreboard::is_selective(t) {
        counting::mark_lost(t, progress);
    } else {
        progress.is_waiting |= rack::mark_lost(t, progress);
    }
}

/// Something is lost, or not.
fn decide(t: &mut Turn<'_>) {
    if t.c.recovery.waiting > 0 {
        if !path_mtu::has_failed(t) {
            enter_recovery(t);
        }
    } else if t.c.recovery.phase != Phase::CWR {
        keep_open(t);
    }
}

/// RFC 6675 5 step 4: fast recovery.
fn enter_recovery(t: &mut Turn<'_>) {
    let was_reducing = reduction::is_under_way(t);
    undo::begin(t);
    if !was_reducing {
        t.c.recovery.facts.clear(Facts::WINDOW_STAYS);
        reduction::begin(t);
    }
    t.c.recovery.until = t.c.send.next;
    t.c.recovery.phase = Phase::RECOVERY;
    t.counters.tcp_fast_recoveries += 1;
}

/// Nothing is being repaired; the state depends on whether anything is out of order.
pub(super) fn keep_open(t: &mut Turn<'_>) {
    let has_hole = t.c.recovery.sacked > 0 || t.c.recovery.waiting > 0 || undo::any_repetition(t);
    let phase = if has_hole { Phase::DISORDER } else { Phase::OPEN };
    if !undo::any_repetition(t) {
        t.c.recovery.resent_stamp = 0;
    }
    if t.c.recovery.phase != phase {
        t.c.recovery.phase = phase;
        t.c.recovery.until = t.c.send.next;
    }
}

/// The reordering timer has found losses.
pub(super) fn lost_without_ack(t: &mut Turn<'_>, progress: &Progress) {
    if t.c.recovery.phase < Phase::RECOVERY && !path_mtu::has_failed(t) {
        enter_recovery(t);
        let mss = u32::from(t.c.send.mss);
        reduction::on_ack(t, &Progress { delivered: mss, ..*progress });
    }
}

fn report(t: &mut Turn<'_>, progress: &Progress, round_trip: Option<u64>) {
    let is_reducing = reduction::is_under_way(t);
    if is_reducing {
        reduction::on_ack(t, progress);
    }
    // LINUX: tcp_may_raise_cwnd(): where packets overtake each other, what SACK tells is progress as well.
    let usual = t.head.sysctls.tcp_reordering;
    let is_progress = progress.acked > 0 || (u32::from(t.c.recovery.reordering) > usual && progress.sacked);
    let report = congestion::Report {
        delivered: progress.delivered,
        acked: progress.delivered,
        lost: progress.lost,
        flight: progress.flight_before,
        round_trip,
        is_open: !is_reducing && is_progress,
    };
    congestion::on_ack(t, &report);
}
