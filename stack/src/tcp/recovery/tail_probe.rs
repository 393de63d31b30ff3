//! Tail loss probes (RFC 8985 7): when the last segments of a flight are lost, nothing comes back that could tell. So
//! after two round trips of silence one segment more is sent, whose acknowledgement tells what is missing.

use super::scoreboard::{self, SACKED};
use super::{Facts, Phase, Progress, reduction, resend, states, timer};
use crate::region::FrameId;
use crate::tcp::connection::Marks;
use crate::tcp::turn::Turn;
use crate::tcp::{output, rtt};

/// LINUX: TCP_TIMEOUT_MIN.
const LEAST_MARGIN: u64 = 2_000_000;

/// Sets the timer for a probe where one is of use. `is_fresh`: an ACK has just moved on, so the timeout counts from now.
pub(super) fn schedule(t: &mut Turn<'_>, is_fresh: bool) -> bool {
    // net.ipv4.tcp_early_retrans: 3 and 4 ask for probes.
    let is_on = matches!(t.head.sysctls.tcp_early_retrans, 3 | 4);
    // "The sender should schedule a PTO only if all of the following": SACK is spoken, and nothing is being repaired.
    let is_calm = matches!(t.c.recovery.phase, Phase::OPEN | Phase::CWR);
    if !is_on || !is_calm || !scoreboard::is_selective(t) || t.c.send.queue.first == t.c.send.fresh.0 {
        return false;
    }
    let timeout = if is_fresh { t.now + rtt::timeout(&t.c.rtt) } else { timer::timeout_at(t) };
    let mut at = t.now + wait(t);
    if timeout > t.now {
        at = at.min(timeout);
    }
    t.c.marks.clear(Marks::REORDERING);
    t.c.marks.set(Marks::TAIL_PROBE);
    t.c.timers.resend = at;
    true
}

/// "PTO = 2 * SRTT", and when a single segment is out, more for the ACK that its receiver may hold back.
///
/// LINUX: that is the least timeout, where the RFC says WCDelAckT.
fn wait(t: &Turn<'_>) -> u64 {
    if t.c.rtt.smoothed == 0 {
        return rtt::INITIAL_TIMEOUT;
    }
    let twice = u64::from(t.c.rtt.smoothed / 4) * 1000;
    let r = &t.c.recovery;
    let is_alone = r.order.len.wrapping_add(r.sacked).wrapping_add(r.waiting) == 1;
    twice + if is_alone { u64::from(t.head.sysctls.tcp_rto_min_us) * 1000 } else { LEAST_MARGIN }
}

/// "TLP_send_probe()": new data if there is any that may go, else the last segment again.
pub(super) fn send(t: &mut Turn<'_>) {
    // "At most one outstanding": a second one would tell no more.
    if !t.c.marks.has(Marks::PROBE_OUT) && probe(t) {
        t.counters.tcp_tail_probes += 1;
        t.c.marks.set(Marks::PROBE_OUT);
        t.c.recovery.probe_end = t.c.send.next;
        return timer::restart(t);
    }
    t.c.timers.resend = timer::timeout_at(t).max(t.now + 1);
}

fn probe(t: &mut Turn<'_>) -> bool {
    t.c.recovery.facts.clear(Facts::PROBE_REPEATS);
    if output::send_probe(t) {
        return true;
    }
    // What the peer has named has come through: nothing of the tail is lost.
    let is_missing = |last: &FrameId| t.frames.meta(*last).is_some_and(|m| m.flags & SACKED == 0);
    let Some(last) = last_sent(t).filter(is_missing) else { return false };
    t.c.recovery.facts.set(Facts::PROBE_REPEATS);
    resend::resend(t, last)
}

/// The youngest frame that was sent.
fn last_sent(t: &Turn<'_>) -> Option<FrameId> {
    match t.frames.meta(t.c.send.fresh) {
        Some(fresh) => FrameId(fresh.link.prev).some(),
        None => FrameId(t.c.send.queue.last).some(),
    }
}

/// RFC 8985 7.4: what an ACK tells of the probe, and with it of the tail. `una` is moved already.
pub(super) fn on_ack(t: &mut Turn<'_>, progress: &Progress) {
    let (una, end) = (t.c.send.una, t.c.recovery.probe_end);
    if !t.c.marks.has(Marks::PROBE_OUT) || una.is_before(end) {
        return;
    }
    if !t.c.recovery.facts.has(Facts::PROBE_REPEATS) || progress.probe_was_needless {
        // "A case where there was no packet loss": new data has arrived, or the original and the probe.
        t.c.marks.clear(Marks::PROBE_OUT);
    } else if una.is_after(end) {
        // "There was a loss that was repaired by the probe": the congestion that caused it counts.
        reduction::begin(t);
        t.c.recovery.phase = Phase::CWR;
        reduction::end(t);
        states::keep_open(t);
    } else if progress.acked == 0 && progress.is_duplicate {
        // The ACK of the original and then the one of the probe.
        t.c.marks.clear(Marks::PROBE_OUT);
    }
}
