//! Keeping the stack's picture of the network true: addresses and routes anew on every change, neighbours one by one.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::fd::BorrowedFd;
use stack::ip::net::{Neighbour, NeighbourState};
use stack::shard::Shard;

use crate::fault::{Fault, explain};
use crate::netlink::{Event, Events, NeighbourRecord, Netlink, Record};
use crate::picture::{Accelerated, Picture};

pub(crate) struct Network {
    netlink: Netlink,
    events: Events,
    ours: Vec<Accelerated>,
    picture: Picture,
    neighbours: HashMap<Key, Known>,
    /// When the picture is to be taken anew: a little after a change, because changes come in bursts.
    retake_at: Option<u64>,
    refresh_at: u64,
}

/// Number of the device, and the address.
type Key = (u8, Ipv4Addr);

/// What the kernel says of a neighbour, and what we make of it.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    mac: Option<[u8; 6]>,
    /// NUD_ bits.
    state: u16,
    /// `Neighbour::uses` at the last refresh.
    uses: u32,
    failed_at: u64,
}

impl Network {
    pub(crate) fn follow(mut netlink: Netlink, ours: Vec<Accelerated>) -> Result<Network, Fault> {
        // Listening begins before the first look, so that no change falls in between.
        let events = Events::open()
            .map_err(|errno| Fault::new(format!("cannot follow the network: {}", explain(errno))))?;
        let picture = Picture::take(&mut netlink, &ours)?;
        let mut network = Network {
            netlink,
            events,
            ours,
            picture,
            neighbours: HashMap::new(),
            retake_at: None,
            refresh_at: 0,
        };
        network.relist_neighbours(0)?;
        Ok(network)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.events.fd()
    }

    pub(crate) fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Writes everything into a shard that knows nothing.
    pub(crate) fn write_all(&self, shard: &mut Shard) -> usize {
        let cut = self.write_picture(shard);
        for (key, known) in &self.neighbours {
            tell(shard, *key, known);
        }
        cut
    }

    /// The number of entries for which the region has no place.
    pub(crate) fn write_picture(&self, shard: &mut Shard) -> usize {
        shard.net.replace(&self.picture.devices, &self.picture.addresses, &self.picture.routes)
    }

    /// What the kernel has told. Gives the neighbours that are to be told to the shards.
    pub(crate) fn take_events(&mut self, now: u64) -> Result<Vec<Key>, Fault> {
        let events = self
            .events
            .take()
            .map_err(|errno| Fault::new(format!("cannot follow the network: {}", explain(errno))))?;
        let mut changed = Vec::new();
        for event in events {
            match event {
                Event::Configuration => self.retake_at = self.retake_at.or(Some(now + SETTLING)),
                Event::Neighbour { record, is_gone } => changed.extend(self.note(&record, is_gone, now)),
                Event::Lost => {
                    self.retake_at = Some(now);
                    changed.extend(self.relist_neighbours(now)?);
                }
            }
        }
        Ok(changed)
    }

    pub(crate) fn tell_neighbours(&self, shard: &mut Shard, keys: &[Key]) {
        for key in keys {
            if let Some(known) = self.neighbours.get(key) {
                tell(shard, *key, known);
            }
        }
    }

    /// Takes the picture anew if it is time. True if it differs.
    pub(crate) fn retake(&mut self, now: u64) -> Result<bool, Fault> {
        if self.retake_at.is_none_or(|time| time > now) {
            return Ok(false);
        }
        self.retake_at = Some(now + RETRY);
        let picture = Picture::take(&mut self.netlink, &self.ours)?;
        self.retake_at = None;
        let differs = picture != self.picture;
        self.picture = picture;
        Ok(differs)
    }

    /// Neighbours that the stack waits for and the kernel must be asked about: after the lock is given back. Those that
    /// the kernel knows already are told at once.
    pub(crate) fn gather_wanted(&self, shard: &mut Shard, now: u64) -> Vec<Key> {
        if core::mem::take(&mut shard.net.head.wanted) == 0 {
            return Vec::new();
        }
        let waits = |neighbour: &&Neighbour| {
            matches!(neighbour.state, NeighbourState::WANTED | NeighbourState::FAILED)
        };
        let waiting: Vec<Neighbour> = shard.net.neighbours().iter().filter(waits).copied().collect();
        let mut to_ask = Vec::new();
        for neighbour in waiting {
            let key = (neighbour.device, Ipv4Addr::from(neighbour.addr));
            let known = self.neighbours.get(&key).copied().unwrap_or_default();
            if verdict(&known).0 == NeighbourState::KNOWN {
                tell(shard, key, &known);
            } else if neighbour.state == NeighbourState::WANTED {
                to_ask.push(key);
            } else if known.failed_at + RETRY_FAILED <= now {
                // LINUX: a neighbour that failed is asked for again when somebody sends to it.
                shard.net.set_neighbour(Neighbour { state: NeighbourState::WANTED, ..neighbour });
                to_ask.push(key);
            }
        }
        to_ask
    }

    /// Has the kernel resolve them. The answers come as events.
    pub(crate) fn resolve(&mut self, keys: &[Key]) {
        for &(number, address) in keys {
            let Some(device) = self.ours.get(usize::from(number)) else { continue };
            // A refusal (a full neighbour table, a device that went down) leaves the neighbour unresolved: the stack's
            // connection times out as it would for an address that does not answer.
            let _ = self.netlink.resolve(device.device.ifindex, address);
        }
    }

    /// Neighbours that the stack uses and of whom the kernel, which does not see our packets, is no longer sure.
    pub(crate) fn gather_stale(&mut self, shard: &Shard, now: u64) -> Vec<Key> {
        if now < self.refresh_at {
            return Vec::new();
        }
        self.refresh_at = now + REFRESH;
        let mut stale = Vec::new();
        for neighbour in shard.net.neighbours().iter().filter(|n| n.state == NeighbourState::KNOWN) {
            let key = (neighbour.device, Ipv4Addr::from(neighbour.addr));
            let Some(known) = self.neighbours.get_mut(&key) else { continue };
            let used = core::mem::replace(&mut known.uses, neighbour.uses) != neighbour.uses;
            if used && known.state & NUD_STALE != 0 {
                stale.push(key);
            }
        }
        stale
    }

    /// When `retake` has something to do.
    pub(crate) fn next_retake(&self) -> Option<u64> {
        self.retake_at
    }

    /// When `gather_stale` has something to do.
    pub(crate) fn next_refresh(&self) -> u64 {
        self.refresh_at
    }

    fn relist_neighbours(&mut self, now: u64) -> Result<Vec<Key>, Fault> {
        let records = self
            .netlink
            .neighbours()
            .map_err(|errno| Fault::new(format!("cannot list the neighbours: {}", explain(errno))))?;
        let mut changed = Vec::new();
        for record in records {
            if let Record::Neighbour(record) = record {
                changed.extend(self.note(&record, false, now));
            }
        }
        Ok(changed)
    }

    /// Gives the key if the stack has to be told.
    fn note(&mut self, record: &NeighbourRecord, is_gone: bool, now: u64) -> Option<Key> {
        let number = self.ours.iter().position(|ours| ours.device.ifindex == record.ifindex)?;
        let key = (u8::try_from(number).ok()?, record.address);
        let (mac, state) = if is_gone { (None, 0) } else { (record.mac, record.state) };
        let known = self.neighbours.entry(key).or_default();
        let before = verdict(known);
        let failed_at = if state & NUD_FAILED != 0 { now } else { known.failed_at };
        *known = Known { mac, state, failed_at, ..*known };
        let is_news = verdict(known) != before || state & NUD_FAILED != 0;
        is_news.then_some(key)
    }
}

/// The state that the stack is told, and the address with it.
fn verdict(known: &Known) -> (NeighbourState, [u8; 6]) {
    match known.mac {
        Some(mac) if known.state & NUD_VALID != 0 => (NeighbourState::KNOWN, mac),
        _ if known.state & NUD_FAILED != 0 => (NeighbourState::FAILED, [0; 6]),
        _ => (NeighbourState::VACANT, [0; 6]),
    }
}

fn tell(shard: &mut Shard, (device, address): Key, known: &Known) {
    let (state, mac) = verdict(known);
    let told = shard.net.neighbours().iter().find(|n| n.device == device && n.addr == address.into());
    match (told.map(|n| n.state), state) {
        // Of a neighbour that nobody asked for, only an address is news.
        (None, NeighbourState::VACANT | NeighbourState::FAILED) => {}
        // The kernel is still looking for it.
        (Some(NeighbourState::WANTED), NeighbourState::VACANT) => {}
        _ => shard.net.set_neighbour(Neighbour { addr: address.into(), mac, state, device, uses: 0 }),
    }
}

const SETTLING: u64 = Duration::from_millis(20).as_nanos() as u64;
/// After a failure.
const RETRY: u64 = Duration::from_secs(1).as_nanos() as u64;
const REFRESH: u64 = Duration::from_secs(5).as_nanos() as u64;
const RETRY_FAILED: u64 = Duration::from_secs(1).as_nanos() as u64;
const NUD_STALE: u16 = 0x04;
const NUD_FAILED: u16 = 0x20;
/// Reachable, stale, delay, probe, noarp, permanent: an address to send to.
const NUD_VALID: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80;
