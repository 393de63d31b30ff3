//! How long a thread that has nothing to do looks for packets itself before it sleeps.

use crate::environment;

/// One row for each value of `SHUNT_PROFILE`.
pub(super) struct Profile {
    /// Nanoseconds of spinning. A sleep and the wake from it cost some microseconds, and much more when the processor
    /// goes idle meanwhile.
    pub(super) spin: u64,
}

/// The processor is worth less than the microseconds.
const LATENCY: Profile = Profile { spin: 5_000_000 };
/// As long as a quick answer takes, and no longer than what a sleep costs.
const BALANCED: Profile = Profile { spin: 20_000 };

pub(super) fn current() -> &'static Profile {
    if environment::wants_latency() { &LATENCY } else { &BALANCED }
}
