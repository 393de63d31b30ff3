//! The one connection table and the timer wheel, over the three kinds of entry.
//!
//! LINUX: half-open, established and TIME_WAIT entries share one hash, so a segment needs one look-up.

use super::{Shard, keyed};
use crate::region::wheel::Timed;
use crate::region::{Handle, Slab, Steps, TimerLink, Walked};
use crate::tcp::{Connection, Request, TimeWait, Tuple};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const KIND_SHIFT: u32 = 30;
const SLOT_MASK: u32 = (1 << KIND_SHIFT) - 1;
const REQUEST: u32 = 1;
const CONNECTION: u32 = 2;
const TIME_WAIT: u32 = 3;

/// An entry of the connection table, named by kind and slot: 0 is none. For links inside the tables, whose entries
/// are taken out before their slot is freed; so it needs no generation.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct EntryRef(pub u32);

/// What a table entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Request(Handle<Request>),
    Connection(Handle<Connection>),
    TimeWait(Handle<TimeWait>),
}

impl Entry {
    pub fn as_ref(self) -> EntryRef {
        EntryRef(match self {
            Entry::Request(h) => REQUEST << KIND_SHIFT | h.index(),
            Entry::Connection(h) => CONNECTION << KIND_SHIFT | h.index(),
            Entry::TimeWait(h) => TIME_WAIT << KIND_SHIFT | h.index(),
        })
    }
}

impl EntryRef {
    pub(crate) const NONE: Self = Self(0);

    fn slot(self) -> u32 {
        self.0 & SLOT_MASK
    }
}

/// The part that every kind of entry has.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug)]
#[repr(C)]
pub struct EntryHead {
    pub tuple: Tuple,
    chain: u32,
    timer: TimerLink,
}

impl EntryHead {
    pub fn new(tuple: Tuple) -> Self {
        Self { tuple, ..Self::default() }
    }

    pub fn timer_is_armed(&self) -> bool {
        self.timer.is_armed()
    }
}

/// The three slabs, as one space of entries.
struct Entries<'a> {
    requests: &'a mut Slab<Request>,
    connections: &'a mut Slab<Connection>,
    time_waits: &'a mut Slab<TimeWait>,
}

impl Entries<'_> {
    fn head(&mut self, entry: EntryRef) -> Option<&mut EntryHead> {
        match entry.0 >> KIND_SHIFT {
            REQUEST => self.requests.item_mut(entry.slot()).map(|r| &mut r.head),
            CONNECTION => self.connections.item_mut(entry.slot()).map(|c| &mut c.head),
            TIME_WAIT => self.time_waits.item_mut(entry.slot()).map(|t| &mut t.head),
            _ => None,
        }
    }
}

impl Timed for Entries<'_> {
    fn timer(&mut self, entry: u32) -> Option<&mut TimerLink> {
        self.head(EntryRef(entry)).map(|h| &mut h.timer)
    }
}

macro_rules! entries {
    ($shard:expr) => {
        Entries {
            requests: &mut $shard.requests,
            connections: &mut $shard.connections,
            time_waits: &mut $shard.time_waits,
        }
    };
}

impl Shard {
    fn resolve(&self, entry: EntryRef) -> Option<Entry> {
        match entry.0 >> KIND_SHIFT {
            REQUEST => self.requests.at(entry.slot()).map(Entry::Request),
            CONNECTION => self.connections.at(entry.slot()).map(Entry::Connection),
            TIME_WAIT => self.time_waits.at(entry.slot()).map(Entry::TimeWait),
            _ => None,
        }
    }

    fn bucket(&mut self, tuple: &Tuple) -> usize {
        let hash = self.hash(tuple);
        self.bucket_of(hash)
    }

    fn bucket_of(&self, hash: u64) -> usize {
        hash as usize & (self.flows.len() - 1)
    }

    /// A number that belongs to the 4-tuple, and that an outsider cannot foresee. Its lower half names the bucket.
    #[inline]
    pub(crate) fn hash(&mut self, tuple: &Tuple) -> u64 {
        // What is looked up is often entered or taken out next.
        let (last, hash) = &self.after.hashed;
        if last == tuple && *hash != 0 {
            return *hash;
        }
        self.hash_anew(tuple)
    }

    #[inline(never)]
    fn hash_anew(&mut self, tuple: &Tuple) -> u64 {
        let [first, rest] = tuple.words();
        let hash = keyed::hash(self.head.key, first, rest, size_of::<Tuple>() as u8);
        self.after.hashed = (*tuple, hash);
        hash
    }

    /// No chain has more entries than the table has buckets.
    fn chain_steps(&self) -> Steps {
        Steps::of(self.flows.len() as u32)
    }

    /// The entry of this 4-tuple.
    pub fn flow(&mut self, tuple: &Tuple) -> Option<Entry> {
        let hash = self.hash(tuple);
        self.flow_of(hash, tuple)
    }

    /// The same, of a tuple whose hash is known.
    pub(crate) fn flow_of(&self, hash: u64, tuple: &Tuple) -> Option<Entry> {
        let mut at = EntryRef(*self.flows.get(self.bucket_of(hash))?);
        let mut steps = self.chain_steps();
        while steps.take(&self.damage) {
            let head = match at.0 >> KIND_SHIFT {
                REQUEST => &self.requests.item_at(at.slot())?.head,
                CONNECTION => &self.connections.item_at(at.slot())?.head,
                TIME_WAIT => &self.time_waits.item_at(at.slot())?.head,
                _ => return None,
            };
            if head.tuple == *tuple {
                return self.resolve(at);
            }
            at = EntryRef(head.chain);
        }
        None
    }

    /// Enters `entry`, whose head holds its tuple, into the table.
    pub fn flow_insert(&mut self, entry: Entry) {
        let at = entry.as_ref();
        let Some(tuple) = entries!(self).head(at).map(|h| h.tuple) else { return };
        let bucket = self.bucket(&tuple);
        let Some(first) = self.flows.get_mut(bucket) else { return };
        let next = core::mem::replace(first, at.0);
        if let Some(head) = entries!(self).head(at) {
            head.chain = next;
        }
    }

    /// Takes `entry` out of the table; nothing happens if it is not in it.
    pub fn flow_remove(&mut self, entry: Entry) {
        let target = entry.as_ref();
        let Some(EntryHead { tuple, chain, .. }) = entries!(self).head(target).copied() else { return };
        let bucket = self.bucket(&tuple);
        let mut before = EntryRef::NONE;
        let mut at = EntryRef(self.flows.get(bucket).copied().unwrap_or(0));
        let mut steps = self.chain_steps();
        while steps.take(&self.damage) {
            let Some(next) = entries!(self).head(at).map(|h| h.chain) else { return };
            if at == target {
                match entries!(self).head(before) {
                    Some(head) => head.chain = chain,
                    None => self.flows[bucket] = chain,
                }
                if let Some(head) = entries!(self).head(target) {
                    head.chain = 0;
                }
                return;
            }
            (before, at) = (at, EntryRef(next));
        }
    }

    /// Puts `heir`, which has the same tuple, into the table where `entry` is.
    pub fn flow_replace(&mut self, entry: Entry, heir: Entry) {
        let (target, heir) = (entry.as_ref(), heir.as_ref());
        let Some(tuple) = entries!(self).head(target).map(|h| h.tuple) else { return };
        let bucket = self.bucket(&tuple);
        let mut steps = self.chain_steps();
        let Some(first) = self.flows.get_mut(bucket) else { return };
        let mut entries = entries!(self);
        let chain = entries.head(target).map_or(0, |h| core::mem::take(&mut h.chain));
        if let Some(head) = entries.head(heir) {
            head.chain = chain;
        }
        if *first == target.0 {
            *first = heir.0;
            return;
        }
        let mut at = EntryRef(*first);
        while steps.take(&self.damage) {
            let Some(head) = entries.head(at) else { return };
            if head.chain == target.0 {
                head.chain = heir.0;
                return;
            }
            at = EntryRef(head.chain);
        }
    }

    /// Sets the entry's timer; an armed one is moved.
    pub fn arm(&mut self, entry: Entry, deadline: u64) {
        self.wheel.arm(&mut entries!(self), entry.as_ref().0, deadline);
    }

    pub fn disarm(&mut self, entry: Entry) {
        self.wheel.disarm(&mut entries!(self), entry.as_ref().0);
    }

    /// One entry whose timer is due, now disarmed.
    pub fn pop_due(&mut self, now: u64) -> Option<Entry> {
        let mut steps = self.chain_steps();
        while steps.take(&self.damage) {
            let at = self.wheel.pop_due(&mut entries!(self), now)?;
            if let Some(entry) = self.resolve(EntryRef(at)) {
                return Some(entry);
            }
        }
        None
    }

    /// All live entries: for recovery and checks.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let requests = self.requests.live().map(Entry::Request);
        let connections = self.connections.live().map(Entry::Connection);
        requests.chain(connections).chain(self.time_waits.live().map(Entry::TimeWait))
    }

    /// After a death: chains and wheel anew from the slabs, whose timers are all set to fire soon (an early timer
    /// looks at what is really due and arms itself again).
    pub(super) fn recover_entries(&mut self, now: u64, in_table: impl Fn(&Shard, Entry) -> bool) {
        self.flows.fill(0);
        self.wheel.format(now);
        let mut index = 0u32;
        let slots = [self.requests.high_water(), self.connections.high_water(), self.time_waits.high_water()];
        for (kind, high) in (REQUEST..).zip(slots) {
            for slot in 1..high {
                let at = EntryRef(kind << KIND_SHIFT | slot);
                let Some(entry) = self.resolve(at) else { continue };
                if let Some(head) = entries!(self).head(at) {
                    head.chain = 0;
                    head.timer = TimerLink::default();
                }
                if in_table(self, entry) {
                    self.flow_insert(entry);
                    index = index.wrapping_add(1);
                    self.arm(entry, now.saturating_add(u64::from(index % 16u32) << 20));
                }
            }
        }
    }

    /// Chains and wheel hold live entries only, each chain entry in the bucket of its tuple.
    pub(super) fn check_entries(&mut self) -> bool {
        let mut seen = 0;
        for bucket in 0..self.flows.len() {
            let mut at = EntryRef(self.flows[bucket]);
            while at != EntryRef::NONE {
                if self.resolve(at).is_none() {
                    return false;
                }
                let Some(head) = entries!(self).head(at).copied() else { return false };
                if self.bucket(&head.tuple) != bucket || seen > self.flows.len() {
                    return false;
                }
                at = EntryRef(head.chain);
                seen += 1;
            }
        }
        self.wheel.check(&mut entries!(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::net::Addr;
    use crate::region::{Region, Sizes};

    #[test]
    fn an_heir_is_found_wherever_in_its_chain_the_entry_was() {
        let mut s = Region::private_shard(Sizes::tiny(), [3, 5], 0).unwrap();
        let tuple = |port| Tuple { remote: Addr(1), remote_port: port, ..Tuple::default() };
        let mut requests = Vec::new();
        while let Some(h) = s.requests.alloc() {
            s.requests.get_mut(h).unwrap().head = EntryHead::new(tuple(requests.len() as u16));
            s.flow_insert(Entry::Request(h));
            requests.push(h);
        }
        for (port, &h) in (0..).zip(&requests).take(s.connections.capacity() as usize) {
            let heir = s.connections.alloc().unwrap();
            s.connections.get_mut(heir).unwrap().head = EntryHead::new(tuple(port));
            s.flow_replace(Entry::Request(h), Entry::Connection(heir));
            s.requests.free(h);
            assert!(s.check_entries());
            assert_eq!(s.flow(&tuple(port)), Some(Entry::Connection(heir)));
            let next = requests.get(usize::from(port) + 1).map(|&h| Entry::Request(h));
            assert_eq!(s.flow(&tuple(port + 1)), next);
        }
    }
}
