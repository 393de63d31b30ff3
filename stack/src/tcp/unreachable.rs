//! ICMP errors about our connections.

use super::connection::Marks;
use super::turn::{self, Turn};
use super::{Request, Seq, Tuple, input, path_mtu, readiness, request, rtt};
use crate::Error;
use crate::region::{FrameId, Handle};
use crate::shard::{Entry, Shard};

/// What an ICMP error says of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    Network,
    Host,
    /// The packet lived too long, or its fragments came too late.
    Expired,
    /// Somebody could not read its header.
    BadHeader,
    Other(Error),
    /// RFC 1191: the MTU of the next hop.
    TooBig(u16),
}

impl Unreachable {
    fn error(self) -> Error {
        match self {
            Self::Network => Error::NetUnreachable,
            Self::Host | Self::Expired => Error::HostUnreachable,
            Self::BadHeader => Error::Protocol,
            Self::Other(error) => error,
            Self::TooBig(_) => Error::MessageSize,
        }
    }
}

/// An ICMP error that quotes a segment of ours.
pub(crate) fn unreachable(s: &mut Shard, tuple: &Tuple, seq: Seq, what: Unreachable, now: u64) {
    match s.flow(tuple) {
        Some(Entry::Connection(h)) => {
            let _ = turn::act(s, h, now, |t| of_connection(t, seq, what));
        }
        Some(Entry::Request(h)) => of_request(s, h, seq, what),
        // What is over cannot be helped any more.
        Some(Entry::TimeWait(_)) | None => {}
    }
}

/// LINUX: tcp_req_err(): only what will not be otherwise in a moment ends a half-open connection.
fn of_request(s: &mut Shard, h: Handle<Request>, seq: Seq, what: Unreachable) {
    if s.requests.get(h).is_none_or(|r| r.iss != seq) {
        s.counters.icmp_out_of_window += 1;
        return;
    }
    s.counters.icmp_errors += 1;
    match what {
        Unreachable::Other(_) | Unreachable::TooBig(_) => {}
        _ => request::forget(s, h),
    }
}

/// LINUX: tcp_v4_err(): while a connection opens, an error ends it; later it is only remembered, for RFC 1122
/// 4.2.3.9 forbids to end a connection for a soft error, and RFC 5927 4.2 advises to take all of them as such.
fn of_connection(t: &mut Turn<'_>, seq: Seq, what: Unreachable) {
    // RFC 5927 4.1: the quoted segment must be one that is outstanding. LINUX: one without payload may lie at SND.NXT.
    if seq.is_before(t.c.send.una) || seq.is_after(t.c.send.next) {
        t.counters.icmp_out_of_window += 1;
        return;
    }
    t.counters.icmp_errors += 1;
    if let Unreachable::TooBig(mtu) = what {
        return path_mtu::too_big(t, seq, mtu);
    }
    if matches!(what, Unreachable::Network | Unreachable::Host) {
        revert_back_off(t, seq);
    }
    if t.c.syn_is_outstanding() {
        return input::fail(t, what.error());
    }
    if t.c.settings.reports_errors != 0 && !t.c.marks.has(Marks::ORPHAN) {
        t.c.socket.error = what.error().errno() as u32;
        t.announce(readiness::ERR);
    } else {
        t.c.probing.soft_error = what.error().errno() as u8;
    }
}

/// RFC 6069: where packets do not get through, a timeout says nothing about congestion: the last back-off is undone.
fn revert_back_off(t: &mut Turn<'_>, seq: Seq) {
    let is_probe = t.c.marks.has(Marks::PROBING);
    if seq != t.c.send.una || t.c.send.retries == 0 || t.c.rtt.backoff == 0 || is_probe {
        return;
    }
    t.c.rtt.backoff -= 1;
    let head = t.frames.meta(FrameId(t.c.send.queue.first));
    let sent_at = head.map_or(t.c.timers.last_sent, |m| m.sent_at);
    // "If this has already elapsed, retransmit at once."
    t.c.timers.resend = sent_at.saturating_add(rtt::timeout(&t.c.rtt)).max(t.now);
}
