//! Connections that no program holds any more: how many there may be.

use super::connection::Marks;
use super::turn::Turn;
use super::{Connection, State, input, readiness};
use crate::region::Handle;
use crate::shard::Shard;

/// LINUX: TCP_TIMEWAIT_LEN.
const RECENT: u64 = 60_000_000_000;

/// No program holds the connection from now on.
pub(super) fn abandon(s: &mut Shard, h: Handle<Connection>) {
    let Some(c) = s.connections.get_mut(h) else { return };
    if !c.marks.has(Marks::ORPHAN) {
        c.marks.set(Marks::ORPHAN);
        s.head.orphans = s.head.orphans.saturating_add(1);
    }
}

/// An orphan is gone.
pub(super) fn forget(s: &mut Shard) {
    s.head.orphans = s.head.orphans.saturating_sub(1);
}

/// LINUX: tcp_too_many_orphans().
pub(super) fn are_too_many(t: &Turn<'_>, weight: u32) -> bool {
    u64::from(t.head.orphans) << weight > u64::from(t.head.sysctls.tcp_max_orphans)
}

/// LINUX: tcp_out_of_resources(): when there are too many, those go first that hear nothing. True: this one went.
pub(super) fn is_ended_for_room(t: &mut Turn<'_>, is_owed_reset: bool) -> bool {
    let quiet = t.now.saturating_sub(t.c.timers.last_sent);
    let is_stuck = quiet > 2 * t.largest_timeout() || !is_owed_reset;
    if !are_too_many(t, u32::from(is_stuck) + u32::from(t.c.probing.soft_error != 0)) {
        return false;
    }
    let window_is_shut = t.c.send.window == 0 && !t.c.has_outstanding();
    end(t, is_owed_reset || quiet <= RECENT || window_is_shut);
    true
}

/// Ends an orphan for which there is no room.
pub(super) fn end(t: &mut Turn<'_>, with_reset: bool) {
    t.counters.orphans_ended += 1;
    if with_reset {
        input::abort_with_reset(t, t.c.send.next);
    }
    t.enter(State::CLOSED);
    t.announce(readiness::HUP);
}

/// After a death: the count from the marks.
pub(super) fn recount(s: &mut Shard) {
    s.head.orphans = count(s);
}

pub(super) fn count(s: &Shard) -> u32 {
    let connections = s.connections.live().filter_map(|h| s.connections.get(h));
    connections.filter(|c| c.marks.has(Marks::ORPHAN)).count() as u32
}
