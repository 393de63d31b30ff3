//! When what was received is acknowledged: RFC 9293 3.8.6.3, RFC 5681 4.2.

use super::connection::Marks;
use super::turn::Turn;
use crate::wire::Flags;

/// LINUX: TCP_DELACK_MIN.
pub(super) const DELAY: u64 = 40_000_000;

pub(super) fn acknowledge_if_due(t: &mut Turn<'_>) {
    let pending = t.c.receive.next.since(t.c.receive.acked);
    if !t.c.marks.has(Marks::ACK_NOW) && pending == 0 {
        return;
    }
    // RFC 9293 3.8.6.3 and RFC 5681 4.2: an ACK for at least every second full segment.
    let is_quick = t.c.receive.quick > 0 && !t.c.marks.has(Marks::INTERACTIVE);
    let is_due = t.c.marks.has(Marks::ACK_NOW)
        || pending > u32::from(t.c.receive.mss)
        || is_quick
        || t.c.settings.quick_ack != 0;
    if is_due {
        acknowledge(t);
    } else if t.c.timers.ack == 0 {
        t.c.timers.ack = t.now + DELAY;
    }
}

/// Sends an ACK without payload; if that is not possible now, it stays due.
pub(super) fn acknowledge(t: &mut Turn<'_>) {
    let seq = t.c.send.next;
    if !t.has_path() || !t.send_bare(Flags::ACK, seq) {
        t.c.marks.set(Marks::ACK_NOW);
        if t.c.timers.push == 0 {
            t.c.timers.push = t.now + DELAY;
        }
    }
}

/// LINUX: tcp_event_data_sent(): a program that answers soon after it got something will answer again.
pub(super) fn note_reply(t: &mut Turn<'_>) {
    if t.c.receive.acked != t.c.receive.next || t.now.saturating_sub(t.c.timers.last_received) < DELAY {
        t.c.marks.set(Marks::INTERACTIVE);
    }
}
