//! How the window gets from where it was to the threshold: proportional rate reduction (RFC 6937). For each part of the
//! flight that arrives, a part goes out, so that neither a burst nor a silence follows a loss.

use super::{Phase, Progress};
use crate::tcp::Seq;
use crate::tcp::congestion;
use crate::tcp::connection::Marks;
use crate::tcp::turn::Turn;

/// A reduction begins: the threshold is set.
pub(super) fn begin(t: &mut Turn<'_>) {
    t.c.marks.clear(Marks::PROBE_OUT);
    congestion::on_loss(t);
    let r = &mut t.c.recovery;
    r.until = t.c.send.next;
    (r.reduction_delivered, r.reduction_sent) = (0, 0);
}

pub(super) fn is_under_way(t: &Turn<'_>) -> bool {
    matches!(t.c.recovery.phase, Phase::CWR | Phase::RECOVERY)
}

/// The window after an ACK that delivered something.
pub(super) fn on_ack(t: &mut Turn<'_>, progress: &Progress) {
    if progress.delivered == 0 || congestion::has_own_control(&t.c.congestion) {
        return;
    }
    let mss = u64::from(t.c.send.mss).max(1);
    let (pipe, threshold) = (u64::from(t.c.in_flight()), u64::from(t.c.congestion.threshold));
    let before = u64::from(t.c.congestion.prior_window).max(1);
    let r = &mut t.c.recovery;
    r.reduction_delivered = r.reduction_delivered.saturating_add(progress.delivered);
    let (delivered, sent) = (u64::from(r.reduction_delivered), u64::from(r.reduction_sent));
    let mut allowed = if pipe > threshold {
        // "sndcnt = CEIL(prr_delivered * ssthresh / RecoverFS) - prr_out", and what goes out goes in whole segments.
        (delivered * threshold / before).next_multiple_of(mss).saturating_sub(sent)
    } else {
        // PRR-CRB; "PRR-SSRB: limit = MAX(prr_delivered - prr_out, DeliveredData) + MSS". LINUX: the latter only while
        // the ACKs move on and show no further loss.
        let is_good = progress.acked > 0 && progress.lost == 0;
        let limit = delivered.saturating_sub(sent).max(u64::from(progress.delivered));
        (limit + if is_good { mss } else { 0 }).min(threshold - pipe)
    };
    if sent == 0 {
        // RFC 6937 4: the first retransmission goes at once.
        allowed = allowed.max(mss);
    }
    t.c.congestion.window = (pipe + allowed).clamp(mss, u64::from(u32::MAX)) as u32;
}

/// "At the end of recovery cwnd is ssthresh."
pub(super) fn end(t: &mut Turn<'_>) {
    let is_whole = t.c.recovery.phase == Phase::CWR || t.c.marks.has(Marks::MAY_UNDO);
    if is_whole && !congestion::has_own_control(&t.c.congestion) && t.c.congestion.threshold != u32::MAX {
        t.c.congestion.window = t.c.congestion.threshold;
    }
}

/// ECN says that the network is congested (RFC 3168 6.1.2), or our own link does: the window is reduced once for what
/// is outstanding now, though nothing is to be sent again. Nothing of it may be undone. `ack` is what says so: beyond
/// the end of the last reduction it speaks of what was sent since.
pub(in crate::tcp) fn enter_cwr(t: &mut Turn<'_>, ack: Seq) {
    t.c.recovery.facts.set(super::Facts::WINDOW_STAYS);
    let is_over = t.c.recovery.phase == Phase::CWR && ack.is_after(t.c.recovery.until);
    if is_over {
        end(t);
    }
    if is_over || t.c.recovery.phase < Phase::CWR {
        t.c.marks.clear(Marks::MAY_UNDO);
        begin(t);
        t.c.recovery.phase = Phase::CWR;
    }
}
