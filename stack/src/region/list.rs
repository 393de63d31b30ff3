//! Doubly linked lists threaded through the items of a slab.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An item's place in one list: slot indices, 0 for none.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Link {
    pub next: u32,
    pub prev: u32,
}

/// The ends of a list and its length.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct List {
    pub first: u32,
    pub last: u32,
    pub len: u32,
}

/// Where the links of one kind of list are kept.
///
/// An index that names no item yields `None`; the list operations then stop. Each of them looks at a few links and no
/// more; who goes from link to link does so by a [`Walk`](super::Walk).
pub trait Links {
    fn link(&mut self, index: u32) -> Option<&mut Link>;
}

impl List {
    pub const EMPTY: Self = Self { first: 0, last: 0, len: 0 };

    pub fn is_empty(&self) -> bool {
        self.first == 0
    }

    #[inline(always)]
    pub fn push_back(&mut self, links: &mut impl Links, index: u32) {
        let Some(link) = links.link(index) else { return };
        *link = self.link_behind();
        self.join(links, index);
    }

    /// The link of an item that is about to [`join`](List::join).
    #[inline]
    pub fn link_behind(&self) -> Link {
        Link { next: 0, prev: self.last }
    }

    /// The item, whose link is [`link_behind`](List::link_behind) already, goes behind all others.
    #[inline]
    pub fn join(&mut self, links: &mut impl Links, index: u32) {
        match links.link(self.last) {
            Some(last) if self.last != 0 => last.next = index,
            _ => self.first = index,
        }
        self.last = index;
        self.len = self.len.wrapping_add(1);
    }

    pub fn push_front(&mut self, links: &mut impl Links, index: u32) {
        let Some(link) = links.link(index) else { return };
        *link = Link { next: self.first, prev: 0 };
        match links.link(self.first) {
            Some(first) if self.first != 0 => first.prev = index,
            _ => self.last = index,
        }
        self.first = index;
        self.len = self.len.wrapping_add(1);
    }

    /// Puts `index` behind `after`, which is in this list; in front of all when `after` is 0.
    pub fn insert_after(&mut self, links: &mut impl Links, after: u32, index: u32) {
        if after == 0 {
            return self.push_front(links, index);
        }
        if after == self.last {
            return self.push_back(links, index);
        }
        let Some(next) = links.link(after).map(|l| l.next) else { return };
        let Some(link) = links.link(index) else { return };
        *link = Link { next, prev: after };
        if let Some(l) = links.link(after) {
            l.next = index;
        }
        if let Some(l) = links.link(next) {
            l.prev = index;
        }
        self.len = self.len.wrapping_add(1);
    }

    /// An item that is taken out leads nowhere any more: popping until nothing is left ends, whatever the links say, as
    /// long as nothing is put in meanwhile.
    #[inline]
    pub fn pop_front(&mut self, links: &mut impl Links) -> Option<u32> {
        let index = self.first;
        if index == 0 {
            return None;
        }
        let Some(link) = links.link(index) else {
            *self = Self::EMPTY;
            return Some(index);
        };
        let next = core::mem::take(link).next;
        self.first = next;
        if next == 0 {
            self.last = 0;
        } else if let Some(l) = links.link(next) {
            l.prev = 0;
        }
        self.len = self.len.wrapping_sub(1);
        Some(index)
    }

    /// Takes the first `count` items off, behind which is `next`. Their links stay as they are.
    #[inline]
    pub fn drop_front(&mut self, links: &mut impl Links, count: u32, next: u32) {
        self.first = next;
        self.len = self.len.wrapping_sub(count);
        match links.link(next) {
            Some(link) if next != 0 => link.prev = 0,
            _ => self.last = 0,
        }
    }

    /// Takes `index`, which is in this list, out of it.
    pub fn remove(&mut self, links: &mut impl Links, index: u32) {
        let Some(link) = links.link(index) else {
            *self = Self::EMPTY;
            return;
        };
        let Link { next, prev } = core::mem::take(link);
        if prev == 0 {
            self.first = next;
        } else if let Some(l) = links.link(prev) {
            l.next = next;
        }
        if next == 0 {
            self.last = prev;
        } else if let Some(l) = links.link(next) {
            l.prev = prev;
        }
        self.len = self.len.wrapping_sub(1);
    }

    /// Puts the items in order, those that are equal as they are now. False, and nothing is done, if the links
    /// contradict each other.
    pub fn sort<L: Links>(&mut self, links: &mut L, is_after: impl Fn(&L, u32, u32) -> bool) -> bool {
        if !self.check(links) {
            return false;
        }
        // A merge sort from below: place n holds a chain of 2^n items in order, or none.
        let mut chains = [0; u32::BITS as usize];
        while let Some(item) = self.pop_front(links) {
            let mut chain = item;
            for place in &mut chains {
                match core::mem::replace(place, 0) {
                    0 => {
                        *place = chain;
                        break;
                    }
                    earlier => chain = merge(links, earlier, chain, &is_after),
                }
            }
        }
        let mut at = chains.into_iter().fold(0, |later, earlier| merge(links, earlier, later, &is_after));
        *self = Self::EMPTY;
        while let Some(next) = links.link(at).filter(|_| at != 0).map(|l| l.next) {
            self.push_back(links, at);
            at = next;
        }
        true
    }

    /// The links agree with each other and with the length. A ring has a link that does not lead back to where it was
    /// reached from.
    pub fn check(&self, links: &mut impl Links) -> bool {
        let (mut at, mut prev, mut seen) = (self.first, 0, 0u32);
        while at != 0 && seen <= self.len {
            let Some(link) = links.link(at) else { return false };
            if link.prev != prev {
                return false;
            }
            (prev, at, seen) = (at, link.next, seen.wrapping_add(1));
        }
        at == 0 && prev == self.last && seen == self.len
    }
}

/// One chain of two that are in order; `earlier` goes first where they are equal.
fn merge<L: Links>(
    links: &mut L,
    mut earlier: u32,
    mut later: u32,
    is_after: impl Fn(&L, u32, u32) -> bool,
) -> u32 {
    let (mut first, mut last) = (0, 0);
    while earlier != 0 || later != 0 {
        let takes_later = earlier == 0 || (later != 0 && is_after(links, earlier, later));
        let from = if takes_later { &mut later } else { &mut earlier };
        let item = *from;
        *from = links.link(item).map_or(0, |l| core::mem::take(l).next);
        match links.link(last) {
            Some(link) if last != 0 => link.next = item,
            _ => first = item,
        }
        last = item;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ten([Link; 10]);
    impl Links for Ten {
        fn link(&mut self, index: u32) -> Option<&mut Link> {
            self.0.get_mut(index as usize)
        }
    }

    fn order(list: &List, links: &mut Ten) -> Vec<u32> {
        assert!(list.check(links));
        let mut out = Vec::new();
        let mut at = list.first;
        while at != 0 {
            out.push(at);
            at = links.0[at as usize].next;
        }
        out
    }

    #[test]
    fn keeps_the_order_in_which_items_were_put() {
        let (mut list, mut links) = (List::EMPTY, Ten([Link::default(); 10]));
        for index in [3, 4, 5] {
            list.push_back(&mut links, index);
        }
        list.push_front(&mut links, 1);
        list.insert_after(&mut links, 3, 9);
        list.insert_after(&mut links, 0, 8);
        assert_eq!(order(&list, &mut links), [8, 1, 3, 9, 4, 5]);
        list.remove(&mut links, 3);
        list.remove(&mut links, 5);
        assert_eq!(list.pop_front(&mut links), Some(8));
        assert_eq!(order(&list, &mut links), [1, 9, 4]);
        list.drop_front(&mut links, 2, 4);
        assert_eq!(order(&list, &mut links), [4]);
        list.drop_front(&mut links, 1, 0);
        assert_eq!((order(&list, &mut links), list), (vec![], List::EMPTY));
    }

    #[test]
    fn sorts_and_leaves_equal_items_as_they_were() {
        let (mut list, mut links) = (List::EMPTY, Ten([Link::default(); 10]));
        for index in [7, 2, 9, 4, 1, 8, 3] {
            list.push_back(&mut links, index);
        }
        assert!(list.sort(&mut links, |_, a, b| a / 2 > b / 2));
        assert_eq!(order(&list, &mut links), [1, 2, 3, 4, 7, 9, 8]);
        links.0[9].next = 2;
        assert!(!list.sort(&mut links, |_, a, b| a > b), "a ring has no order");
    }

    #[test]
    fn an_index_outside_the_slab_is_refused() {
        let (mut list, mut links) = (List::EMPTY, Ten([Link::default(); 10]));
        list.push_back(&mut links, 77);
        assert!(list.is_empty());
        assert!(!List { first: 77, last: 77, len: 1 }.check(&mut links));
    }
}
