//! Answers to segments that may be a stranger's: RFC 5961.

use super::connection::Marks;
use super::segment::Segment;
use super::transmit::milliseconds;
use super::turn::Turn;
use super::{State, beyond, incoming, input};
use crate::Error;
use crate::shard::ShardHead;
use crate::wire::Flags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Challenge ACKs of the shard that are left for this second.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub struct Challenges {
    second: u32,
    left: u32,
}

/// LINUX: INT_MAX stands for no limit.
const UNLIMITED: u32 = i32::MAX as u32;

/// An ACK that lets a genuine peer show himself: not more than one in a while on a connection, nor more in a second
/// than the namespace says on all of them.
pub(super) fn challenge(t: &mut Turn<'_>) {
    if may_answer(t) && may_challenge(t.head, t.now) {
        t.counters.tcp_challenge_acks += 1;
        t.c.marks.set(Marks::ACK_NOW);
    }
}

/// LINUX: tcp_oow_rate_limited().
fn may_answer(t: &mut Turn<'_>) -> bool {
    let (now, last) = (milliseconds(t.now), t.c.timers.challenged);
    if last != 0 && now.wrapping_sub(last) < t.head.sysctls.tcp_invalid_ratelimit {
        return false;
    }
    t.c.timers.challenged = now.max(1);
    true
}

/// RFC 5961 7: "the challenge ACK throttling". LINUX: tcp_send_challenge_ack(): how many there are in a second cannot be
/// foreseen, or the limit itself would tell an attacker whether his guesses are answered.
fn may_challenge(head: &mut ShardHead, now: u64) -> bool {
    let limit = head.sysctls.tcp_challenge_ack_limit;
    if limit >= UNLIMITED {
        return true;
    }
    let second = (now / 1_000_000_000) as u32;
    if head.challenges.second != second {
        let spread = u64::from(limit.max(1));
        let left = limit.div_ceil(2) + (head.random() % spread) as u32;
        head.challenges = Challenges { second, left };
    }
    let is_left = head.challenges.left > 0;
    head.challenges.left = head.challenges.left.saturating_sub(1);
    is_left
}

/// A segment that is not acceptable, by its place or by its timestamp: RFC 9293 3.10.7.4, "send an acknowledgment in
/// reply (unless the RST bit is set)".
pub(super) fn unacceptable(t: &mut Turn<'_>, segment: &Segment) {
    if segment.flags.has(Flags::RST) {
        if is_reset_of_the_end(t, segment) {
            believe(t);
        }
        return;
    }
    if segment.flags.has(Flags::SYN) {
        return challenge(t);
    }
    if segment.sequence_len() == 0 {
        // Two ends that think each other wrong must not answer each other for ever.
        if may_answer(t) {
            t.counters.tcp_challenge_acks += 1;
            t.c.marks.set(Marks::ACK_NOW);
        }
    } else if segment.seq.is_before(t.c.receive.next) {
        // A peer that sends old bytes again has missed an ACK.
        incoming::came_twice(t, segment, t.c.receive.next);
    } else {
        t.c.marks.set(Marks::ACK_NOW);
    }
}

/// RFC 5961 3.2: "If the RST bit is set and the sequence number exactly matches the next expected sequence number
/// (RCV.NXT), then TCP endpoints MUST reset the connection"; elsewhere in the window it is challenged.
pub(super) fn reset(t: &mut Turn<'_>, segment: &Segment) {
    // LINUX: a peer that has sent beyond a hole resets from where it stands, which is the end of what we hold.
    let is_behind_all = || beyond::end(t.c, t.frames) == Some(segment.seq) && t.c.marks.has(Marks::SACK);
    if segment.seq == t.c.receive.next || is_reset_of_the_end(t, segment) || is_behind_all() {
        believe(t);
    } else {
        challenge(t);
    }
}

/// LINUX: tcp_reset_check(): some peers count their FIN only when it was acknowledged, and reset from before it.
fn is_reset_of_the_end(t: &Turn<'_>, segment: &Segment) -> bool {
    let is_ending = matches!(t.c.state, State::CLOSE_WAIT | State::LAST_ACK | State::CLOSING);
    is_ending && segment.seq + 1 == t.c.receive.next
}

fn believe(t: &mut Turn<'_>) {
    t.counters.tcp_resets_in += 1;
    // LINUX: tcp_reset(): a peer that had closed its half leaves a broken pipe.
    let error = match t.c.state {
        State::CLOSE_WAIT => Error::Pipe,
        _ => Error::Reset,
    };
    input::fail(t, error);
}
