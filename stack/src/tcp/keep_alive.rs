//! Keep-alive: RFC 9293 3.8.4, as Linux's tcp_keepalive_timer() does it.

use super::connection::Marks;
use super::timers::SECOND;
use super::transmit::milliseconds;
use super::turn::Turn;
use super::{State, input, patience};
use crate::wire::Flags;

/// LINUX: TCP_RESOURCE_PROBE_INTERVAL: when a probe could not be sent.
const TRY_AGAIN: u64 = 500_000_000;

/// What the socket asks for, or else the namespace.
fn or_default(asked: u32, default: u32) -> u32 {
    if asked != 0 { asked } else { default }
}

fn idle_time(t: &Turn<'_>) -> u64 {
    u64::from(or_default(t.c.settings.keep_idle, t.head.sysctls.tcp_keepalive_time)) * SECOND
}

fn interval(t: &Turn<'_>) -> u64 {
    u64::from(or_default(t.c.settings.keep_interval, t.head.sysctls.tcp_keepalive_intvl)).max(1) * SECOND
}

/// How long the peer has said nothing. What is out of the window, or has no ACK, may be a stranger's, who could put the
/// probes off for ever.
///
/// LINUX: keepalive_time_elapsed().
fn quiet_for(t: &Turn<'_>) -> u64 {
    let since_data = milliseconds(t.now).wrapping_sub(t.c.timers.data_at);
    t.now.saturating_sub(t.c.timers.last_received).min(u64::from(since_data) * 1_000_000).min(t.now)
}

/// SO_KEEPALIVE may have been switched, or its time changed.
pub(super) fn set(t: &mut Turn<'_>) {
    // Before the handshake is done the timer is that of the SYN+ACK.
    if t.c.marks.has(Marks::ORPHAN) || t.c.is_open_early() {
        return;
    }
    if t.c.settings.keep_alive == 0 {
        t.c.timers.idle = 0;
    } else if t.c.send.probes == 0 || t.c.timers.idle == 0 {
        t.c.timers.idle = (t.now - quiet_for(t)).max(1) + idle_time(t);
    }
}

/// Nothing was heard for long, as it seems.
pub(super) fn due(t: &mut Turn<'_>) {
    if t.c.settings.keep_alive == 0 || !t.c.state.is_synchronized() || t.c.state == State::TIME_WAIT {
        return;
    }
    // "It SHOULD be possible to send keep-alive packets only when no sent data is outstanding": that is sent again,
    // or the window probed, which tells as much.
    if t.c.has_outstanding() || t.c.send.fresh.some().is_some() {
        t.c.timers.idle = t.now + idle_time(t);
        return;
    }
    let quiet = quiet_for(t);
    if quiet < idle_time(t) {
        t.c.timers.idle = t.now - quiet + idle_time(t);
        return;
    }
    if is_over(t, quiet) {
        input::abort_with_reset(t, t.c.send.next);
        return patience::give_up(t);
    }
    let is_sent = t.has_path() && t.send_bare(Flags::ACK, t.c.send.una - 1);
    t.c.timers.idle = t.now + if is_sent { interval(t) } else { TRY_AGAIN };
    if is_sent {
        t.c.send.probes = t.c.send.probes.saturating_add(1);
        t.counters.tcp_keep_alive_probes += 1;
    }
}

/// LINUX: with TCP_USER_TIMEOUT the time counts, not the number of probes.
fn is_over(t: &Turn<'_>, quiet: u64) -> bool {
    let probes = u32::from(t.c.send.probes);
    match t.c.settings.user_timeout {
        0 => probes >= or_default(t.c.settings.keep_count, t.head.sysctls.tcp_keepalive_probes),
        asked => quiet >= u64::from(asked) * 1_000_000 && probes > 0,
    }
}
