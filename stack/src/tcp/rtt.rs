//! The round trip and the retransmission timeout: RFC 6298.

use super::recovery::Progress;
use super::transmit::milliseconds;
use super::turn::Turn;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// RFC 6298, in microseconds.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub(super) struct RoundTrip {
    /// SRTT, times eight; 0 before the first sample.
    pub smoothed: u32,
    /// RTTVAR, times four.
    pub variation: u32,
    /// RTO, not beyond `largest`.
    pub timeout: u32,
    /// Doublings of the timeout since the last fresh acknowledgement.
    pub backoff: u8,
    /// Seconds: the largest timeout.
    pub largest: u8,
    /// Milliseconds: the least timeout beyond the round trip itself.
    pub least: u16,
    /// The shortest round trip of late; 0 before there was one. And when it was measured, in milliseconds.
    pub smallest: u32,
    pub smallest_at: u32,
}

/// RFC 6298 2.1.
pub(super) const INITIAL_TIMEOUT: u64 = 1_000_000_000;
/// LINUX: TCP_RTO_MIN, in milliseconds, before the namespace's is known; the RFC says a second.
const LEAST_TIMEOUT: u16 = 200;
/// LINUX: TCP_RTO_MAX.
pub(super) const LARGEST_TIMEOUT: u64 = 120_000_000_000;
const LARGEST_BACKOFF: u8 = 20;

pub(super) fn initial() -> RoundTrip {
    RoundTrip {
        smoothed: 0,
        variation: 0,
        timeout: (INITIAL_TIMEOUT / 1000) as u32,
        backoff: 0,
        largest: (LARGEST_TIMEOUT / 1_000_000_000) as u8,
        least: LEAST_TIMEOUT,
        smallest: 0,
        smallest_at: 0,
    }
}

/// The timeout in nanoseconds, with its back-off.
#[inline]
pub(super) fn timeout(rtt: &RoundTrip) -> u64 {
    let timeout = u64::from(rtt.timeout).max(1) * 1000;
    if rtt.backoff == 0 { timeout } else { backed_off(rtt, timeout) }
}

#[cold]
fn backed_off(rtt: &RoundTrip, timeout: u64) -> u64 {
    (timeout << rtt.backoff.min(LARGEST_BACKOFF)).min(u64::from(largest(rtt)) * 1000)
}

/// The largest timeout in microseconds.
fn largest(rtt: &RoundTrip) -> u32 {
    u32::from(rtt.largest.max(1)) * 1_000_000
}

/// RFC 6298 5.5: "RTO <- RTO * 2".
pub(super) fn back_off(rtt: &mut RoundTrip) {
    rtt.backoff = rtt.backoff.saturating_add(1).min(LARGEST_BACKOFF);
}

/// The handshake is done: the namespace's limits, and what the handshake took as the shortest round trip so far, to the
/// next millisecond.
pub(super) fn start(t: &mut Turn<'_>) {
    let sysctls = &t.head.sysctls;
    let rtt = &mut t.c.rtt;
    rtt.least = (sysctls.tcp_rto_min_us.div_ceil(1000)).clamp(1, u32::from(u16::MAX)) as u16;
    rtt.largest = (sysctls.tcp_rto_max_ms.div_ceil(1000)).clamp(1, 120) as u8;
    rtt.timeout = rtt.timeout.min(largest(rtt));
    if rtt.smoothed != 0 && rtt.smallest == 0 {
        rtt.smallest = (rtt.smoothed / 8).saturating_add(1000);
        rtt.smallest_at = milliseconds(t.now);
    }
}

/// Takes the sample that an ACK makes, if there is an unambiguous one; the round trip of the newest that it
/// acknowledges, in nanoseconds.
///
/// LINUX: the timeout goes by the oldest segment that the ACK is for, and so by the ACK's own delay too; the algorithm
/// of congestion control, and the shortest round trip, by the newest.
pub(super) fn on_ack(t: &mut Turn<'_>, p: &Progress) -> Option<u64> {
    // Karn's rule, RFC 6298 3: nothing that was sent more than once, unless timestamps tell.
    let (oldest, newest) = match p {
        p if p.resent_at == 0 && p.oldest_sent_at != 0 => (p.oldest_sent_at, p.newest_sent_at),
        p => (p.oldest_sacked_at, p.newest_sacked_at),
    };
    if oldest == 0 {
        if p.resent_at != 0
            && let Some(echo) = p.echo
        {
            let elapsed = by_echo(t, echo, p.resent_at);
            measured(&mut t.c.rtt, elapsed);
            t.c.rtt.backoff = 0;
        }
        return None;
    }
    measured(&mut t.c.rtt, t.now.saturating_sub(oldest));
    t.c.rtt.backoff = 0;
    let round_trip = t.now.saturating_sub(newest);
    note_smallest(t, round_trip);
    Some(round_trip)
}

/// The shortest round trip of the last while (net.ipv4.tcp_min_rtt_wlen): what the path takes without its queues.
fn note_smallest(t: &mut Turn<'_>, nanoseconds: u64) {
    let sample = (nanoseconds / 1000).clamp(1, u64::from(u32::MAX)) as u32;
    let now = milliseconds(t.now);
    let lifetime = t.head.sysctls.tcp_min_rtt_wlen.saturating_mul(1000);
    let rtt = &mut t.c.rtt;
    if rtt.smallest == 0 || sample <= rtt.smallest || now.wrapping_sub(rtt.smallest_at) > lifetime {
        (rtt.smallest, rtt.smallest_at) = (sample, now);
    }
}

/// What an echo tells of a segment that was sent more than once, to the millisecond (RFC 7323 4.1).
///
/// An echo from before it was sent again is ambiguous: either the first transmission took as long as it says, or its
/// ACK was lost and this one answers the second. The round trip is at least the time since the second in both cases,
/// and that is taken. LINUX takes the longer one, and its timeout grows without bound on a wire that loses ACKs.
fn by_echo(t: &Turn<'_>, echo: u32, resent_at: u64) -> u64 {
    let age = t.timestamp().wrapping_sub(echo);
    let since_resent = milliseconds(t.now).wrapping_sub(milliseconds(resent_at));
    u64::from(age.min(since_resent).max(1)) * 1_000_000
}

/// RFC 6298 2.2 and 2.3.
pub(super) fn measured(rtt: &mut RoundTrip, nanoseconds: u64) {
    let sample = (nanoseconds / 1000).clamp(1, LARGEST_TIMEOUT / 1000) as u32;
    if rtt.smoothed == 0 {
        rtt.smoothed = sample * 8;
        rtt.variation = sample * 2;
    } else {
        let error = sample.abs_diff(rtt.smoothed / 8);
        rtt.variation = (rtt.variation - rtt.variation / 4).saturating_add(error);
        rtt.smoothed = (rtt.smoothed - rtt.smoothed / 8).saturating_add(sample);
    }
    // LINUX: the minimum is one of the variation, not of the sum.
    let margin = rtt.variation.max(u32::from(rtt.least) * 1000);
    rtt.timeout = (rtt.smoothed / 8).saturating_add(margin).min(largest(rtt));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_sample_sets_and_later_ones_smooth() {
        let mut rtt = initial();
        measured(&mut rtt, 1_000_000_000);
        assert_eq!((rtt.smoothed / 8, rtt.variation / 4), (1_000_000, 500_000));
        assert_eq!(timeout(&rtt), 3_000_000_000);
        for _ in 0..200 {
            measured(&mut rtt, 50_000_000);
        }
        assert!(rtt.smoothed / 8 < 51_000);
        assert!((250_000_000..252_000_000).contains(&timeout(&rtt)));
    }

    #[test]
    fn the_timeout_doubles_up_to_two_minutes() {
        let mut rtt = initial();
        back_off(&mut rtt);
        assert_eq!(timeout(&rtt), 2 * INITIAL_TIMEOUT);
        for _ in 0..100 {
            back_off(&mut rtt);
        }
        assert_eq!(timeout(&rtt), LARGEST_TIMEOUT);
    }
}
