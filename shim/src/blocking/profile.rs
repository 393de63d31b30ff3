//! How long a thread that has nothing to do looks for packets itself before it sleeps.

use crate::environment;

/// One row for each value of `SHUNT_PROFILE`.
pub(super) struct Profile {
    /// Nanoseconds of spinning.
    pub(super) spin: u64,
    /// Spin only if the last wait of the thread was over within this time: else this one is likely to be long too.
    pub(super) if_last: u64,
    /// Nanoseconds after which a spinning thread lets others have its processor for a moment, first and then again and
    /// again. Whom it has just woken may be waiting for the same one.
    pub(super) yield_first: u64,
    pub(super) yield_every: u64,
}

/// The processor is worth less than the microseconds.
const LATENCY: Profile =
    Profile { spin: 5_000_000, if_last: u64::MAX, yield_first: 20_000, yield_every: 20_000 };
/// About as long as a sleep and a wake cost on an idle processor: then two that talk to each other stay awake, and spinning
/// in vain costs no more than twice the sleep.
const BALANCED: Profile = Profile { spin: 50_000, if_last: 200_000, yield_first: 0, yield_every: 2_000 };

pub(super) fn current() -> &'static Profile {
    if environment::wants_latency() { &LATENCY } else { &BALANCED }
}
