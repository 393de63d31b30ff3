//! Connections by Fast Open that were reset: they count among TCP_FASTOPEN's for a minute.
//!
//! RFC 7413 5.1: who forges sources can have the real owners of these addresses reset what his SYNs opened, and so make room for more of
//! them: "limit the total number of pending TFO connection requests", those included that ended so.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// LINUX: reqsk_fastopen_remove().
const REMEMBERED: u32 = 60;
/// A power of two above that.
const SECONDS: usize = 64;
const MASK: usize = SECONDS - 1;

/// How many there were in each of the last seconds.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Resets {
    in_second: [u16; SECONDS],
    /// The second that was counted last.
    last: u32,
}

impl Resets {
    /// One more.
    pub(super) fn add(&mut self, now: u64) {
        self.forget_old(now);
        if let Some(count) = self.in_second.get_mut(self.last as usize & MASK) {
            *count = count.saturating_add(1);
        }
    }

    /// Those of the last minute.
    pub(super) fn count(&mut self, now: u64) -> u32 {
        self.forget_old(now);
        self.in_second.iter().map(|&count| u32::from(count)).sum()
    }

    fn forget_old(&mut self, now: u64) {
        let second = (now / 1_000_000_000) as u32;
        // What a second's place has from before goes when it comes round, or is too old.
        let passed = second.wrapping_sub(self.last).min(SECONDS as u32);
        for step in 1..=passed {
            let stale = self.last.wrapping_add(step).wrapping_sub(REMEMBERED);
            for place in [stale, self.last.wrapping_add(step)] {
                if let Some(count) = self.in_second.get_mut(place as usize & MASK) {
                    *count = 0;
                }
            }
        }
        self.last = second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn each_counts_for_a_minute_to_the_second() {
        let mut resets = Resets::new_zeroed();
        for second in [100, 100, 130, 159] {
            resets.add(second * SECOND);
        }
        let counts = [159, 160, 189, 190, 218, 219].map(|second| resets.count(second * SECOND));
        assert_eq!(counts, [4, 2, 2, 1, 1, 0]);
        resets.add(1000 * SECOND);
        assert_eq!((resets.count(1059 * SECOND), resets.count(1060 * SECOND)), (1, 0));
        resets.add(2000 * SECOND);
        assert_eq!(resets.count(9_000_000 * SECOND), 0);
    }
}
