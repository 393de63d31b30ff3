//! Congestion control: how much may be in the network.
//!
//! Loss recovery ([`super::recovery`]) decides what was lost; an algorithm here decides what that means for the
//! window, and how the window grows while nothing is lost.

mod bbr;
mod cubic;
mod hystart;
mod newreno;
mod validation;

pub(super) use validation::{after_idle, note_use};

use super::connection::{Connection, Marks};
use super::recovery::Phase;
use super::turn::Turn;
use super::{Seq, ecn, pacing, rate};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub(in crate::tcp) struct Congestion {
    /// Bytes.
    pub window: u32,
    pub threshold: u32,
    /// Both as they were before the last reduction, in case it turns out to have been needless.
    pub prior_window: u32,
    pub prior_threshold: u32,
    /// Bytes a second that may be sent; 0 for no limit.
    pub pacing_rate: u64,
    /// When the next segment may go, in nanoseconds.
    pub paced_until: u64,
    /// What the algorithm keeps for itself, zeroed at its start.
    pub private: Private,
    /// The most that was in flight in the window that ends at `used_until`.
    pub used: u32,
    pub used_until: Seq,
    /// A number of [`Choice`].
    pub choice: Choice,
    pub pad: [u8; 7],
}

pub(in crate::tcp) type Private = [u64; 12];

/// An algorithm, as it is kept in settings: 0 means that of the namespace.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Choice(pub u8);

impl Choice {
    pub const RENO: Self = Self(1);
    pub const CUBIC: Self = Self(2);
    pub const BBR: Self = Self(3);
    const NAMES: [(Self, &'static str); 3] =
        [(Self::RENO, "reno"), (Self::CUBIC, "cubic"), (Self::BBR, "bbr")];

    /// As TCP_CONGESTION names it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(_, known)| *known == name).map(|(choice, _)| choice)
    }

    pub fn name(self) -> &'static str {
        Self::NAMES.into_iter().find(|(choice, _)| *choice == self).map_or("reno", |(_, name)| name)
    }
}

/// What an ACK told about the network.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tcp) struct Report {
    /// Bytes that the peer is now known to have, cumulatively or selectively acknowledged.
    pub delivered: u32,
    /// Of these, what moved SND.UNA.
    pub acked: u32,
    /// Bytes that are now thought to be lost and were not before.
    pub lost: u32,
    /// Bytes in flight before the ACK.
    pub flight: u32,
    /// The round trip of what it acknowledges, in nanoseconds, if it is certain.
    pub round_trip: Option<u64>,
    /// Nothing is being repaired: the window may grow.
    pub is_open: bool,
}

/// The connection at one moment, as algorithms see it.
#[derive(Clone, Copy, Debug, Default)]
struct Moment {
    /// Nanoseconds.
    now: u64,
    mss: u32,
    una: Seq,
    next: Seq,
    /// Bytes in flight.
    flight: u32,
    /// The smoothed round trip in microseconds; 0 before there was one.
    round_trip: u32,
    /// The window was in use, so that its growth says something.
    is_limited: bool,
    /// Losses are being repaired.
    is_repairing: bool,
    /// Bytes delivered over the connection's life; wraps.
    delivered: u32,
    /// For choices that flows should not all make alike.
    random: u32,
}

impl Moment {
    fn of(t: &Turn<'_>) -> Self {
        Self {
            now: t.now,
            mss: u32::from(t.c.send.mss).max(1),
            una: t.c.send.una,
            next: t.c.send.next,
            flight: t.c.in_flight(),
            round_trip: t.c.rtt.smoothed / 8,
            is_limited: validation::is_limited(t.c),
            is_repairing: t.c.recovery.phase >= Phase::RECOVERY,
            delivered: t.c.delivery.delivered,
            random: (t.head.key[0] ^ t.now).wrapping_mul(t.head.key[1] | 1).rotate_left(32) as u32,
        }
    }
}

/// RFC 6928: ten segments.
///
/// LINUX: TCP_INIT_CWND knows no limit in bytes.
const INITIAL_SEGMENTS: u32 = 10;
/// Far above any bandwidth-delay product; keeps sums within 32 bits.
const LARGEST_WINDOW: u32 = 1 << 30;

fn initial_window(mss: u32) -> u32 {
    INITIAL_SEGMENTS * mss
}

/// The handshake is done.
pub(super) fn start(t: &mut Turn<'_>) {
    t.c.congestion = Congestion {
        window: initial_window(u32::from(t.c.send.mss)),
        threshold: u32::MAX,
        used_until: t.c.send.next,
        ..Congestion::new_zeroed()
    };
    choose(t);
}

/// Takes the algorithm that the program, or the namespace, has chosen. On a live connection the window stays.
pub(super) fn choose(t: &mut Turn<'_>) {
    let chosen = match t.c.settings.congestion {
        0 => t.head.sysctls.tcp_congestion_control.min(u32::from(u8::MAX)) as u8,
        choice => choice,
    };
    if t.c.congestion.choice == Choice(chosen) {
        return;
    }
    let moment = Moment::of(t);
    let c = &mut t.c.congestion;
    c.choice = Choice(chosen);
    c.private = Private::default();
    (c.pacing_rate, c.paced_until) = (0, 0);
    if c.choice == Choice::BBR {
        bbr::start(c, &moment);
    }
    pacing::set_rate(t);
}

/// Every ACK that delivered something is told here, once, after recovery has looked at it.
pub(super) fn on_ack(t: &mut Turn<'_>, report: &Report) {
    let sample = rate::sample(t, report.delivered);
    match t.c.congestion.choice {
        Choice::BBR => {
            let moment = Moment::of(t);
            bbr::on_ack(&mut t.c.congestion, &moment, report, sample);
            if bbr::is_resting(&t.c.congestion) {
                rate::on_idle_program(t);
            }
        }
        _ if !report.is_open => {}
        Choice::CUBIC => {
            let moment = Moment::of(t);
            cubic::grow(&mut t.c.congestion, &moment, report);
        }
        _ => {
            let moment = Moment::of(t);
            newreno::grow(&mut t.c.congestion, &moment, report.acked);
        }
    }
    t.c.congestion.window = t.c.congestion.window.min(LARGEST_WINDOW);
    pacing::set_rate(t);
}

/// The algorithm sets the window on every ACK, also while losses are repaired; recovery then leaves it alone.
pub(super) fn has_own_control(c: &Congestion) -> bool {
    c.choice == Choice::BBR
}

/// The network is congested: a loss was seen, or ECN says so. Sets the threshold, and remembers what was before. How
/// the window gets there is recovery's affair.
pub(super) fn on_loss(t: &mut Turn<'_>) {
    ecn::reduced(t.c);
    let moment = Moment::of(t);
    let c = &mut t.c.congestion;
    (c.prior_window, c.prior_threshold) = (c.window, c.threshold);
    match c.choice {
        Choice::BBR => bbr::on_loss(c),
        Choice::CUBIC => c.threshold = cubic::threshold_after_loss(c, &moment),
        _ => c.threshold = newreno::threshold_after_loss(c, &moment),
    }
}

/// A retransmission timeout. `is_first` is false for the same data timing out again: RFC 5681 3.1 lets the threshold be
/// as it is then. The window becomes recovery's affair.
pub(super) fn on_timeout(t: &mut Turn<'_>, is_first: bool) {
    if is_first {
        on_loss(t);
    }
    match t.c.congestion.choice {
        Choice::BBR => bbr::on_timeout(&mut t.c.congestion),
        Choice::CUBIC => cubic::on_timeout(&mut t.c.congestion),
        _ => {}
    }
}

/// The last [`on_loss`] was a mistake: nothing had been lost.
pub(super) fn undo(t: &mut Turn<'_>) {
    let c = &mut t.c.congestion;
    match c.choice {
        Choice::BBR => bbr::undo(c),
        Choice::CUBIC => cubic::undo(c),
        _ => newreno::undo(c),
    }
}

/// What the algorithm knows, as TCP_CC_INFO has it.
pub(super) fn details(c: &Congestion) -> Option<[u32; 5]> {
    (c.choice == Choice::BBR).then(|| bbr::details(c))
}

/// What holds of every connection that is past its handshake.
pub(super) fn check(c: &Connection) -> Result<(), &'static str> {
    if c.congestion.window == 0 || c.congestion.window > LARGEST_WINDOW {
        return Err("the congestion window is nothing or beyond all measure");
    }
    if c.marks.has(Marks::PACED) && c.congestion.pacing_rate == 0 {
        return Err("output waits for a schedule that there is none of");
    }
    if c.congestion.choice == Choice::BBR && !bbr::is_sound(&c.congestion) {
        return Err("BBR's state is none that it has");
    }
    Ok(())
}
