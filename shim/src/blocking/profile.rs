//! How long a thread that has nothing to do looks for packets itself before it sleeps.

use core::sync::atomic::Ordering;

use crate::{environment, thread};

/// One row for each value of `SHUNT_PROFILE`.
struct Profile {
    /// Nanoseconds of spinning.
    spin: u64,
    /// After so many spins in vain a thread goes to sleep at once; 0 for never.
    patience: u32,
    /// Nanoseconds after which a spinning thread lets others have its processor once. No quick answer: whoever is to
    /// give it may be waiting for this very processor.
    yield_after: u64,
}

/// The processor is worth less than the microseconds.
const LATENCY: Profile = Profile { spin: 5_000_000, patience: 0, yield_after: 5_000 };
/// About as long as it takes to wake another, sleeping processor: then two that talk to each other stay awake.
/// Whoever could answer may need this very processor, or take longer: then spinning is waste, and the thread learns it.
const BALANCED: Profile = Profile { spin: 50_000, patience: 3, yield_after: u64::MAX };
/// A thread that gave spinning up tries it again once in so many waits.
const TRY_AGAIN: u32 = 64;
/// Waits without spinning after another thread wanted the processor.
const CROWDED: u32 = 32;

fn current() -> &'static Profile {
    if environment::wants_latency() { &LATENCY } else { &BALANCED }
}

pub(super) fn yield_after() -> u64 {
    current().yield_after
}

/// How long this thread spins in the wait that begins.
pub(super) fn spin() -> u64 {
    let profile = current();
    let thread = thread::current();
    let crowded = thread.crowded.load(Ordering::Relaxed);
    if crowded != 0 {
        thread.crowded.store(crowded - 1, Ordering::Relaxed);
        return 0;
    }
    let vain = thread.vain_spins.load(Ordering::Relaxed);
    let has_given_up = profile.patience != 0 && vain >= profile.patience && !vain.is_multiple_of(TRY_AGAIN);
    if has_given_up { 0 } else { profile.spin }
}

/// Somebody else had the processor while this thread spun: it does without for a while, in any profile. A thread that
/// sleeps is let in before those that use the processor up; one that spins waits until they had their share.
pub(super) fn crowded() {
    thread::current().crowded.store(CROWDED, Ordering::Relaxed);
}

/// What a wait showed: it ended while the thread spun, or a sleep was needed.
pub(super) fn learn(spun: u64, slept: bool) {
    let vain = &thread::current().vain_spins;
    match (spun, slept) {
        (_, true) => vain.store(vain.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed),
        (0, false) => {}
        (_, false) => vain.store(0, Ordering::Relaxed),
    }
}
