//! For how long a peer that does not answer is waited for: retransmissions, closed windows, SYNs.

use super::connection::Marks;
use super::turn::Turn;
use super::{State, input, orphans, output, path_mtu, rtt};
use crate::Error;

/// LINUX: TCP_RTO_MIN, from which tcp_model_timeout() turns retries into a time; for a SYN TCP_TIMEOUT_INIT.
const MODEL_FIRST: u64 = 200_000_000;
/// LINUX: tcp_orphan_retries(), while its retransmissions have not backed off to the end.
const SAFE_ORPHAN_RETRIES: u32 = 8;
const MILLISECOND: u64 = 1_000_000;

impl Turn<'_> {
    /// The largest retransmission timeout, in nanoseconds.
    pub(super) fn largest_timeout(&self) -> u64 {
        u64::from(self.head.sysctls.tcp_rto_max_ms).max(1000) * MILLISECOND
    }
}

/// LINUX: tcp_model_timeout(): the time that so many retries with exponential back-off would take.
fn time_of(retries: u32, first: u64, largest: u64) -> u64 {
    let doublings = (largest / first.max(1)).max(1).ilog2();
    let doubling = |times: u32| ((2u64 << times.min(32)) - 1).saturating_mul(first);
    if retries <= doublings {
        return doubling(retries);
    }
    doubling(doublings).saturating_add(u64::from(retries - doublings).saturating_mul(largest))
}

fn user_timeout(t: &Turn<'_>) -> Option<u64> {
    let milliseconds = u64::from(t.c.settings.user_timeout);
    (milliseconds != 0).then_some(milliseconds * MILLISECOND)
}

fn since_first_resent(t: &Turn<'_>) -> u64 {
    match t.c.timers.resending_since {
        0 => 0,
        since => t.now.saturating_sub(since),
    }
}

/// LINUX: retransmits_timed_out(): not by counting, so that a peer far away and one close by get as long.
fn has_lasted(t: &Turn<'_>, retries: u32, first: u64, limit: Option<u64>) -> bool {
    let limit = limit.unwrap_or_else(|| time_of(retries, first, t.largest_timeout()));
    t.c.send.retries != 0 && since_first_resent(t) >= limit
}

/// A retransmission timeout of data. False: the connection has been given up.
///
/// LINUX: tcp_write_timeout() and, for a window that is closed, tcp_rtx_probe0_timed_out().
pub(super) fn bears_another_timeout(t: &mut Turn<'_>) -> bool {
    if t.c.send.window == 0 && !t.c.marks.has(Marks::ORPHAN) {
        return bears_closed_window(t);
    }
    // RFC 9293 3.8.3: R1, "negative advice" to the IP layer.
    if has_lasted(t, t.head.sysctls.tcp_retries1, MODEL_FIRST, None) {
        path_mtu::suspect_black_hole(t);
        doubt_path(t);
    }
    // "at least 100 seconds for R2".
    let mut retries = t.head.sysctls.tcp_retries2;
    if t.c.marks.has(Marks::ORPHAN) {
        let backs_off = rtt::timeout(&t.c.rtt) < t.largest_timeout();
        retries = orphan_retries(t, backs_off);
        let is_owed_reset = backs_off || !has_lasted(t, retries, MODEL_FIRST, None);
        if orphans::is_ended_for_room(t, is_owed_reset) {
            return false;
        }
    }
    if has_lasted(t, retries, MODEL_FIRST, user_timeout(t)) {
        give_up(t);
        return false;
    }
    t.c.send.retries = t.c.send.retries.saturating_add(1);
    true
}

/// The peer took its window back, and what is outstanding serves as probes: it is alive as long as it answers.
fn bears_closed_window(t: &mut Turn<'_>) -> bool {
    let resent_for = since_first_resent(t);
    let mut limit = t.largest_timeout() * 2;
    let user_timeout = user_timeout(t);
    if let Some(asked) = user_timeout {
        limit = limit.min(asked);
    }
    let silent_for = t.now.saturating_sub(t.c.timers.last_received);
    let is_over =
        user_timeout.is_some_and(|asked| resent_for > asked) || (silent_for > limit && resent_for > limit);
    if is_over {
        give_up(t);
    }
    !is_over
}

/// LINUX: tcp_orphan_retries().
fn orphan_retries(t: &Turn<'_>, backs_off: bool) -> u32 {
    let retries = t.head.sysctls.tcp_orphan_retries;
    match backs_off {
        // An ICMP error says that something is wrong.
        false if t.c.probing.soft_error != 0 => 0,
        true if retries == 0 => SAFE_ORPHAN_RETRIES,
        _ => retries,
    }
}

/// The SYN was not answered. False: the connection has been given up.
pub(super) fn bears_another_syn(t: &mut Turn<'_>) -> bool {
    let sysctls = &t.head.sysctls;
    let retries = match t.c.settings.syn_count {
        0 => sysctls.tcp_syn_retries,
        asked => asked,
    };
    let linear = if t.c.state == State::SYN_SENT { sysctls.tcp_syn_linear_timeouts } else { 0 };
    let is_over = u32::from(t.c.send.retries) >= retries.saturating_add(linear)
        || has_lasted(t, retries, rtt::INITIAL_TIMEOUT, user_timeout(t));
    if is_over {
        give_up(t);
        return false;
    }
    t.c.send.retries = t.c.send.retries.saturating_add(1);
    if u32::from(t.c.send.retries) > linear {
        rtt::back_off(&mut t.c.rtt);
    }
    true
}

/// RFC 9293 3.8.6.1: a closed window is probed for ever as long as the peer answers.
///
/// LINUX: tcp_probe_timer(); unless the user's timeout is over, which answers do not prolong.
pub(super) fn probe_due(t: &mut Turn<'_>) {
    if t.c.timers.resending_since == 0 {
        t.c.timers.resending_since = t.now;
    } else if user_timeout(t).is_some_and(|asked| since_first_resent(t) >= asked) {
        return give_up(t);
    }
    let mut most = t.head.sysctls.tcp_retries2;
    if t.c.marks.has(Marks::ORPHAN) {
        let backs_off = rtt::timeout(&t.c.rtt) < t.largest_timeout();
        most = orphan_retries(t, backs_off);
        if !backs_off && u32::from(t.c.rtt.backoff) >= most {
            return give_up(t);
        }
        if orphans::is_ended_for_room(t, true) {
            return;
        }
    }
    if u32::from(t.c.send.probes) >= most {
        return give_up(t);
    }
    t.counters.tcp_window_probes += 1;
    t.c.send.probes = t.c.send.probes.saturating_add(1);
    if u32::from(t.c.rtt.backoff) < t.head.sysctls.tcp_retries2 {
        rtt::back_off(&mut t.c.rtt);
    }
    t.c.timers.resend = t.now + until_user_timeout(t, rtt::timeout(&t.c.rtt));
    output::probe(t);
    if !t.c.marks.has(Marks::PROBING) {
        // The window took something: that is retransmitted from now on.
        (t.c.send.probes, t.c.rtt.backoff, t.c.timers.resending_since) = (0, 0, 0);
    }
}

/// LINUX: tcp_clamp_rto_to_user_timeout(): `timeout`, but not beyond what the program is ready to wait.
pub(super) fn until_user_timeout(t: &Turn<'_>, timeout: u64) -> u64 {
    match user_timeout(t) {
        Some(asked) if t.c.timers.resending_since != 0 => {
            timeout.min(asked.saturating_sub(since_first_resent(t)).max(MILLISECOND))
        }
        _ => timeout,
    }
}

/// LINUX: tcp_write_err(): what ICMP said of the path says more than that time is up.
pub(super) fn give_up(t: &mut Turn<'_>) {
    t.counters.connections_timed_out += 1;
    let soft = Error::from_errno(u32::from(t.c.probing.soft_error));
    input::fail(t, soft.unwrap_or(Error::TimedOut));
}

/// LINUX: dst_negative_advice(): the next packet looks the way up anew.
fn doubt_path(t: &mut Turn<'_>) {
    t.c.path.generation = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_retries_last_what_ip_sysctl_says() {
        const LARGEST: u64 = 120_000_000_000;
        assert_eq!(time_of(15, MODEL_FIRST, LARGEST) / MILLISECOND, 924_600);
        assert_eq!(time_of(8, MODEL_FIRST, LARGEST) / MILLISECOND, 102_200);
        assert_eq!(time_of(0, MODEL_FIRST, LARGEST) / MILLISECOND, 200);
        assert_eq!(time_of(6, rtt::INITIAL_TIMEOUT, LARGEST) / MILLISECOND, 127_000);
        assert_eq!(time_of(255, MODEL_FIRST, 1_000_000_000) / MILLISECOND, 1_400 + 253_000);
    }
}
