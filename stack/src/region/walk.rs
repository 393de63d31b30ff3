//! Walks along links that lie in the region.
//!
//! Another process may have written over any link, so that a chain leads back into itself. Whoever follows links does it
//! by a [`Walk`], which takes no more steps than there are items; whoever takes things out of a list until it is empty,
//! or has walks within walks, counts by [`Steps`]. What was cut short is noted in the shard's [`Damage`], for
//! [`Shard::mend`](crate::shard::Shard::mend) to put the tables in order.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

/// How many walks were cut short in a shard since it was last put in order, as far as this process has seen.
#[derive(Clone, Default)]
pub struct Damage(Arc<AtomicU32>);

impl Damage {
    /// Something in the region contradicts itself.
    #[cold]
    #[inline(never)]
    pub fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// The count since the last time, which starts anew.
    pub(crate) fn take(&self) -> u32 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// Steps that may yet be taken.
pub struct Steps(u32);

impl Steps {
    pub fn of(most: u32) -> Self {
        Self(most)
    }

    /// As many as there are items.
    pub fn over(items: &impl Walked) -> Self {
        Self(items.most())
    }

    /// Takes one. False: there is none left, which is damage.
    #[inline]
    #[must_use]
    pub fn take(&mut self, damage: &Damage) -> bool {
        if self.0 == 0 {
            damage.note();
            return false;
        }
        self.0 -= 1;
        true
    }
}

/// What links thread through: a slab, or the frames.
pub trait Walked {
    /// Names an item, or none.
    type At: Copy;
    type Item;

    fn item_at(&self, at: Self::At) -> Option<&Self::Item>;
    /// No list can be longer than this.
    fn most(&self) -> u32;
    fn damage(&self) -> &Damage;
}

/// A place in a list or chain. Whoever walks says at each item where it goes on.
pub struct Walk<W: Walked> {
    at: W::At,
    steps: Steps,
}

impl<W: Walked> Walk<W> {
    #[inline]
    pub fn over(items: &W, first: W::At) -> Self {
        Self { at: first, steps: Steps::over(items) }
    }

    /// The item at this place; none behind the end, and none after as many as there are.
    #[inline]
    pub fn item<'a>(&mut self, items: &'a W) -> Option<(W::At, &'a W::Item)> {
        let item = items.item_at(self.at)?;
        self.steps.take(items.damage()).then_some((self.at, item))
    }

    #[inline]
    pub fn to(&mut self, next: W::At) {
        self.at = next;
    }

    pub fn at(&self) -> W::At {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Chain([usize; 5], Damage);
    impl Walked for Chain {
        type At = usize;
        type Item = usize;
        fn item_at(&self, at: usize) -> Option<&usize> {
            self.0.get(at).filter(|_| at != 0)
        }
        fn most(&self) -> u32 {
            self.0.len() as u32 - 1
        }
        fn damage(&self) -> &Damage {
            &self.1
        }
    }

    fn walk(chain: &Chain) -> Vec<usize> {
        let mut seen = Vec::new();
        let mut walk = Walk::over(chain, 1);
        while let Some((at, &next)) = walk.item(chain) {
            seen.push(at);
            walk.to(next);
        }
        seen
    }

    #[test]
    fn a_walk_over_all_items_is_whole() {
        let chain = Chain([0, 3, 4, 2, 0], Damage::default());
        assert_eq!(walk(&chain), [1, 3, 2, 4]);
        assert!(!chain.1.is_noted());
    }

    #[test]
    fn a_ring_is_cut_short_and_noted() {
        let chain = Chain([0, 2, 1, 0, 0], Damage::default());
        assert_eq!(walk(&chain), [1, 2, 1, 2]);
        assert_eq!((chain.1.take(), chain.1.take()), (1, 0));
    }

    #[test]
    fn a_walk_that_stands_still_ends() {
        let chain = Chain([0; 5], Damage::default());
        let mut walk = Walk::over(&chain, 1);
        while walk.item(&chain).is_some() {}
        assert!(chain.1.is_noted());
    }
}
