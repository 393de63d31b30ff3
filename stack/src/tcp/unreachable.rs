//! ICMP errors about our connections.

use super::turn;
use super::{Seq, Tuple, input, recovery};
use crate::Error;
use crate::shard::{Entry, Shard};

/// What an ICMP error says of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    Network,
    Host,
    Protocol,
    Port,
    /// RFC 1191: the MTU of the next hop.
    TooBig(u16),
}

/// LINUX: the smallest path MTU that is believed (net.ipv4.route.min_pmtu).
const LEAST_MTU: u16 = 552;

/// An ICMP error that quotes a segment of ours.
///
/// LINUX: tcp_v4_err(): while a connection opens, an error ends it; later it is only remembered, for RFC 1122
/// 4.2.3.9 forbids to end a connection for a soft error.
pub(crate) fn unreachable(s: &mut Shard, tuple: &Tuple, seq: Seq, what: Unreachable, now: u64) {
    let Some(Entry::Connection(h)) = s.flow(tuple) else { return };
    let Some(c) = s.connections.get(h) else { return };
    // RFC 5927 4: the quoted segment must be one that is outstanding.
    if seq.is_before(c.send.una) || !seq.is_before(c.send.next) {
        return;
    }
    s.counters.icmp_errors += 1;
    let _ = turn::act(s, h, now, |t| match what {
        Unreachable::TooBig(mtu) if mtu >= LEAST_MTU && mtu < t.c.path.mtu => {
            t.c.path.mtu = mtu;
            t.fit_segments();
            recovery::send_again_smaller(t);
        }
        Unreachable::TooBig(_) => {}
        _ if t.c.state.is_opening() => input::fail(t, error(what)),
        _ => {}
    });
}

/// LINUX: icmp_err_convert.
fn error(what: Unreachable) -> Error {
    match what {
        Unreachable::Network => Error::NetUnreachable,
        Unreachable::Protocol => Error::NoProtocolOption,
        Unreachable::Port => Error::Refused,
        Unreachable::Host | Unreachable::TooBig(_) => Error::HostUnreachable,
    }
}
