//! How long a thread that has nothing to do looks for packets itself before it sleeps.

use core::sync::atomic::Ordering;

use crate::{environment, thread};

/// One row for each value of `SHUNT_PROFILE`.
struct Profile {
    /// Nanoseconds of spinning. A sleep and the wake from it cost some microseconds, and much more when the processor
    /// goes idle meanwhile.
    spin: u64,
    /// After so many spins in vain a thread goes to sleep at once; 0 for never.
    patience: u32,
}

/// The processor is worth less than the microseconds.
const LATENCY: Profile = Profile { spin: 5_000_000, patience: 0 };
/// As long as a quick answer takes, and no longer than what a sleep costs. Whoever could answer may need this very
/// processor, or take longer than that: then spinning is waste, and the thread learns it.
const BALANCED: Profile = Profile { spin: 20_000, patience: 4 };
/// A thread that gave spinning up tries it again once in so many waits.
const TRY_AGAIN: u32 = 64;

fn current() -> &'static Profile {
    if environment::wants_latency() { &LATENCY } else { &BALANCED }
}

/// How long this thread spins in the wait that begins.
pub(super) fn spin() -> u64 {
    let (profile, vain) = (current(), thread::current().vain_spins.load(Ordering::Relaxed));
    let has_given_up = profile.patience != 0 && vain >= profile.patience && !vain.is_multiple_of(TRY_AGAIN);
    if has_given_up { 0 } else { profile.spin }
}

/// What the wait showed: spinning ended it, or a sleep was needed.
pub(super) fn learn(spun: u64, ended_it: bool) {
    let vain = &thread::current().vain_spins;
    match (spun, ended_it) {
        (0, true) => {}
        (_, true) => vain.store(0, Ordering::Relaxed),
        (_, false) => vain.store(vain.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed),
    }
}
