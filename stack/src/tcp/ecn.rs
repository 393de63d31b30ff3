//! Explicit congestion notification: RFC 3168. What the handshake agreed on is in [`Marks::ECN`].

use super::connection::{Connection, Marks};
use super::segment::Segment;
use super::turn::Turn;
use super::{delayed_ack, recovery};
use crate::wire::Flags;

/// The codepoints of the IP header, in the lowest bits of its second byte.
pub(super) const FIELD: u8 = 3;
const CAPABLE: u8 = 2;
pub(super) const CONGESTION: u8 = 3;

/// Payload has come, perhaps through a queue that was long.
///
/// RFC 3168 6.1.3: once a CE packet was received, all ACKs have ECN-Echo set, until a segment with CWR comes.
/// LINUX: tcp_ecn_accept_cwr(): a peer that has reduced its window may be down to one segment, and waits.
pub(super) fn on_segment(t: &mut Turn<'_>, segment: &Segment) {
    if !t.c.marks.has(Marks::ECN) {
        return;
    }
    if segment.flags.has(Flags::CWR) {
        t.c.marks.clear(Marks::ECHO);
        t.c.marks.set(Marks::ACK_NOW);
    }
    if segment.service & FIELD != CONGESTION {
        return;
    }
    t.counters.tcp_congestion_marks += 1;
    if !t.c.marks.has(Marks::ECHO) {
        t.c.marks.set(Marks::ECHO);
        delayed_ack::be_quick(t.c);
        t.c.marks.set(Marks::ACK_NOW);
    }
}

/// RFC 3168 6.1.2: "If the sender receives an ECN-Echo ACK packet [...] then the sender knows that congestion was
/// encountered in the network on the path from the sender to the receiver", and reacts as to a loss, once a window.
pub(super) fn on_ack(t: &mut Turn<'_>, segment: &Segment) {
    if t.c.marks.has(Marks::ECN) && segment.flags.has(Flags::ECE) && !segment.flags.has(Flags::SYN) {
        recovery::enter_cwr(t, segment.ack);
    }
}

/// The window was reduced, for whatever reason: the peer hears of it.
pub(super) fn reduced(c: &mut Connection) {
    if c.marks.has(Marks::ECN) {
        c.marks.set(Marks::REDUCED);
    }
}

/// The flags of a segment that goes out, and the second byte of its IP header.
///
/// RFC 3168 6.1.2: CWR "on the first new data packet sent after the window reduction"; 6.1.4 and 6.1.5: neither pure
/// ACKs nor what is sent again may be marked.
#[inline]
pub(super) fn outgoing(c: &mut Connection, flags: Flags, is_new_data: bool) -> (Flags, u8) {
    let service = c.settings.service & !FIELD;
    if !c.marks.has(Marks::ECN) || flags.has(Flags::SYN) {
        return (flags, service);
    }
    let mut flags = flags;
    if c.marks.has(Marks::ECHO) && flags.has(Flags::ACK) {
        flags = flags | Flags::ECE;
    }
    if !is_new_data {
        return (flags, service);
    }
    if c.marks.take(Marks::REDUCED) {
        flags = flags | Flags::CWR;
    }
    (flags, service | CAPABLE)
}
