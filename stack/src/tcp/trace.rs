//! Every change of state passes here: counted by kind, and the latest kept one by one.

use super::turn::Turn;
use super::{State, Tuple};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Changes that are kept one by one.
const KEPT: usize = 64;
/// One more than the largest number of a state.
const STATES: usize = 12;

/// What a shard remembers of its connections' changes of state.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Trace {
    /// From which state to which, how often.
    counts: [[u32; STATES]; STATES],
    changes: [Change; KEPT],
    /// Changes so far; the latest lies at one less, modulo what is kept.
    total: u64,
}

/// One connection's change from one state to another.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug)]
#[repr(C)]
pub struct Change {
    /// Nanoseconds.
    pub at: u64,
    pub tuple: Tuple,
    pub from: State,
    pub to: State,
    pad: [u8; 2],
}

impl Trace {
    pub(super) fn note(&mut self, tuple: Tuple, from: State, to: State, now: u64) {
        let row = self.counts.get_mut(usize::from(from.0));
        if let Some(count) = row.and_then(|row| row.get_mut(usize::from(to.0))) {
            *count = count.wrapping_add(1);
        }
        if let Some(place) = self.changes.get_mut((self.total % KEPT as u64) as usize) {
            *place = Change { at: now, tuple, from, to, pad: [0; 2] };
        }
        self.total = self.total.wrapping_add(1);
    }

    /// Every kind of change that there was: from, to, how often.
    pub fn counts(&self) -> impl Iterator<Item = (State, State, u32)> {
        let row = |(from, row): (usize, &[u32; STATES])| {
            let row = *row;
            (0..STATES).zip(row).map(move |(to, count)| (State(from as u8), State(to as u8), count))
        };
        self.counts.iter().enumerate().flat_map(row).filter(|(_, _, count)| *count != 0)
    }

    /// The latest changes, the oldest of them first.
    pub fn latest(&self) -> impl Iterator<Item = &Change> {
        let first = self.total.saturating_sub(KEPT as u64);
        (first..self.total).filter_map(|n| self.changes.get((n % KEPT as u64) as usize))
    }
}

impl Turn<'_> {
    /// The connection is in another state from now on.
    pub(super) fn enter(&mut self, to: State) {
        let from = core::mem::replace(&mut self.c.state, to);
        if from != to {
            self.head.trace.note(self.c.head.tuple, from, to, self.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn the_latest_changes_are_kept_in_order_and_all_are_counted() {
        let mut trace = Trace::new_zeroed();
        for at in 0..100 {
            trace.note(Tuple::default(), State::SYN_SENT, State::ESTABLISHED, at);
        }
        trace.note(Tuple::default(), State(200), State(255), 100);
        assert_eq!(trace.counts().collect::<Vec<_>>(), [(State::SYN_SENT, State::ESTABLISHED, 100)]);
        let kept: Vec<u64> = trace.latest().map(|change| change.at).collect();
        assert_eq!(kept, (37..=100).collect::<Vec<_>>());
    }
}
