//! A simulated wire between two shards, with a clock of its own: what it does to packets comes from a seed, so every
//! run can be repeated.

#![forbid(unsafe_code)]

use crate::ip;
use crate::ip::net::{Addr, Device, LocalAddress, Neighbour, NeighbourState, Route, RouteKind};
use crate::region::{AttachError, FrameId, Purpose, Region, Sizes};
use crate::shard::Shard;
use crate::tcp;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What the wire does to packets. Shares are in millionths.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub loss: u32,
    pub duplication: u32,
    pub corruption: u32,
    /// Packets that are held up, and so come after later ones.
    pub reordering: u32,
    /// One way, in nanoseconds.
    pub delay: u64,
    /// By how much a packet is held up at most.
    pub jitter: u64,
    /// Bits per second; 0 for no limit.
    pub rate: u64,
    /// Bytes that may wait for the transmitter, what is more is dropped; 0 for no limit.
    pub queue: u64,
    /// For each end, how long it takes a packet at most to get to the transmitter, in nanoseconds; those of one
    /// connection stay in order. Without it, flows whose timers tick alike find the same places in a queue again and again.
    pub access: [u64; 2],
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            loss: 0,
            duplication: 0,
            corruption: 0,
            reordering: 0,
            delay: 50_000,
            jitter: 2_000_000,
            rate: 1_000_000_000,
            queue: 0,
            access: [0; 2],
        }
    }
}

const MILLION: u64 = 1_000_000;
/// Where received packets start: XDP leaves as much in front of them.
const RECEIVE_START: u16 = 256;
const IFINDEX: u32 = 2;
const MTU: u32 = 1500;
/// The clock does not start at 0, where a time that was never set could pass for one that was.
const START: u64 = 1_000_000_000;

/// Two shards and the wire between them.
pub struct Sim {
    pub now: u64,
    pub ends: [Shard; 2],
    pub conditions: Conditions,
    /// Packets under way, by arrival; the second part of the key keeps those of one moment apart.
    wire: BTreeMap<(u64, u64), Packet>,
    /// Packets on the way to a transmitter, by arrival there.
    access: BTreeMap<(u64, u64), Packet>,
    /// When the last packet of each port got to its transmitter.
    arrived: BTreeMap<(usize, [u8; 4]), u64>,
    sent: u64,
    /// When each end's transmitter is free again.
    busy_until: [u64; 2],
    random: u64,
    /// Every packet that was put on the wire, for tests that look at them.
    pub tap: Option<Vec<Packet>>,
    /// What each packet met at the transmitter, for tests that look at the queue.
    pub waits: Option<Vec<Wait>>,
}

/// A packet at the transmitter of an end.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub from: usize,
    pub at: u64,
    pub len: usize,
    /// How long it waited, in nanoseconds; none when the queue was full and it was dropped.
    pub waited: Option<u64>,
}

/// A packet on the wire.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The end that it goes to.
    pub to: usize,
    pub at: u64,
    pub bytes: Vec<u8>,
}

/// The address of an end.
pub const fn address(end: usize) -> Addr {
    Addr(0x0a63_0001 + end as u32)
}

const fn mac(end: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, 1 + end as u8]
}

impl Sim {
    pub fn new(sizes: Sizes, conditions: Conditions, seed: u64) -> Result<Self, AttachError> {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut ends = [
            Region::private_shard(sizes, [seed, 0x5eed], START)?,
            Region::private_shard(sizes, [!seed, 0xfeed], START)?,
        ];
        for (end, shard) in ends.iter_mut().enumerate() {
            attach(shard, end);
        }
        Ok(Self {
            now: START,
            ends,
            conditions,
            wire: BTreeMap::new(),
            access: BTreeMap::new(),
            arrived: BTreeMap::new(),
            sent: 0,
            busy_until: [0; 2],
            random,
            tap: None,
            waits: None,
        })
    }

    /// Lets the clock run to the next arrival or timer, and both ends do what that asks for. False when nothing is
    /// left to happen.
    pub fn step(&mut self) -> bool {
        let next = self.next_event();
        if next == u64::MAX {
            return false;
        }
        self.run_until(next);
        true
    }

    /// When the next packet arrives or the next timer is due; `u64::MAX` for never.
    pub fn next_event(&mut self) -> u64 {
        self.flush();
        let first =
            |packets: &BTreeMap<(u64, u64), Packet>| packets.keys().next().map_or(u64::MAX, |key| key.0);
        let arrival = first(&self.wire).min(first(&self.access));
        let timers = self.ends.iter().map(|s| s.wheel.next_deadline()).min().unwrap_or(u64::MAX);
        arrival.min(timers)
    }

    /// What happens up to `time`, as one burst.
    pub fn run_until(&mut self, time: u64) {
        self.now = self.now.max(time);
        while let Some(entry) = self.access.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let packet = entry.remove();
            self.carry(1 - packet.to, packet.bytes);
        }
        while let Some(entry) = self.wire.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let packet = entry.remove();
            self.deliver(&packet);
        }
        for shard in &mut self.ends {
            shard.head.now = self.now;
            tcp::end_of_burst(shard, self.now);
            while let Some(entry) = shard.pop_due(self.now) {
                tcp::on_timer(shard, entry, self.now);
            }
        }
        self.flush();
        for shard in &mut self.ends {
            shard.mend(self.now);
        }
    }

    /// Lets `nanoseconds` pass.
    pub fn run_for(&mut self, nanoseconds: u64) {
        let end = self.now + nanoseconds;
        loop {
            let next = self.next_event();
            if next > end {
                break;
            }
            self.run_until(next);
        }
        self.run_until(end);
    }

    /// Hands a packet to the end that it is for.
    pub fn deliver(&mut self, packet: &Packet) {
        let Some(shard) = self.ends.get_mut(packet.to) else { return };
        receive(shard, &packet.bytes, self.now);
    }

    /// Puts what both ends have queued on the wire.
    pub fn flush(&mut self) {
        for from in 0..self.ends.len() {
            while let Some(frame) = self.ends[from].next_out() {
                self.ends[from].advance_outbox();
                let bytes = self.ends[from].frames.packet(frame).to_vec();
                self.ends[from].frames.completed(frame);
                self.approach(from, bytes);
            }
        }
    }

    /// On the way to the transmitter.
    fn approach(&mut self, from: usize, bytes: Vec<u8>) {
        let most = self.conditions.access[from];
        if most == 0 {
            return self.carry(from, bytes);
        }
        let ports = bytes.get(34..38).and_then(|ports| ports.try_into().ok()).unwrap_or([0; 4]);
        let delay = self.random() % most;
        let arrived = self.arrived.entry((from, ports)).or_insert(0);
        *arrived = (*arrived).max(self.now + delay);
        self.sent += 1;
        self.access.insert((*arrived, self.sent), Packet { to: 1 - from, at: self.now, bytes });
    }

    fn carry(&mut self, from: usize, bytes: Vec<u8>) {
        if let Some(tap) = &mut self.tap {
            tap.push(Packet { to: 1 - from, at: self.now, bytes: bytes.clone() });
        }
        let c = self.conditions;
        let start = self.busy_until[from].max(self.now);
        let duration = (bytes.len() as u64 * 8 * 1_000_000_000).checked_div(c.rate).unwrap_or(0);
        let waiting = (start - self.now) as u128 * u128::from(c.rate) / 8_000_000_000;
        let has_room = c.queue == 0 || waiting + bytes.len() as u128 <= u128::from(c.queue);
        if let Some(waits) = &mut self.waits {
            let waited = has_room.then_some(start - self.now);
            waits.push(Wait { from, at: self.now, len: bytes.len(), waited });
        }
        if !has_room {
            return;
        }
        self.busy_until[from] = start + duration;
        if self.happens(c.loss) {
            return;
        }
        let copies = 1 + u32::from(self.happens(c.duplication));
        for _ in 0..copies {
            let mut packet = Packet { to: 1 - from, at: self.now, bytes: bytes.clone() };
            if self.happens(c.corruption) {
                self.corrupt(&mut packet.bytes);
            }
            let held_up = if self.happens(c.reordering) { self.random() % (c.jitter + 1) } else { 0 };
            self.sent += 1;
            self.wire.insert((start + duration + c.delay + held_up, self.sent), packet);
        }
    }

    /// Changes up to 32 bits that lie together: the Internet checksum finds all such damage.
    fn corrupt(&mut self, bytes: &mut [u8]) {
        let bits = self.random();
        // Behind the Ethernet header, which has its own check in reality.
        let words = bytes.len().saturating_sub(14) / 2;
        if words == 0 {
            return;
        }
        let at = 14 + 2 * (bits as usize % words);
        if let Some(byte) = bytes.get_mut(at + (bits >> 40) as usize % 2) {
            *byte ^= 1 << (bits >> 32 & 7);
        }
    }

    fn happens(&mut self, share: u32) -> bool {
        share != 0 && self.random() % MILLION < u64::from(share)
    }

    /// xorshift64*, apart from the shards' own generators.
    pub fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    pub fn check(&mut self) -> Result<(), &'static str> {
        let [a, b] = &mut self.ends;
        a.check()?;
        b.check()?;
        let is_whole = |s: &Shard| s.counters.region_damaged == 0 && !s.damage.is_noted();
        if is_whole(a) && is_whole(b) { Ok(()) } else { Err("a walk was cut short") }
    }

    /// Packets under way.
    pub fn in_the_wire(&self) -> usize {
        self.wire.len()
    }
}

/// Gives a shard a device, an address, a route and its peer's hardware address.
pub fn attach(shard: &mut Shard, end: usize) {
    let device =
        Device { ifindex: IFINDEX, mtu: MTU, mac: mac(end), first_link: 0, queues: 1, ..Device::default() };
    let local = LocalAddress { addr: address(end), ifindex: IFINDEX };
    let on_link = Route {
        destination: Addr(address(end).0 & 0xffff_ff00),
        source: address(end),
        prefix_len: 24,
        kind: RouteKind::DEVICE,
        ..Route::default()
    };
    let itself =
        Route { destination: address(end), prefix_len: 32, kind: RouteKind::LOCAL, ..Route::default() };
    shard.net.replace(&[device], &[local], &[on_link, itself]);
    shard.net.lease_ports(40_000, 60_000, core::iter::empty());
    let peer = 1 - end.min(1);
    shard.net.set_neighbour(Neighbour {
        addr: address(peer),
        mac: mac(peer),
        state: NeighbourState::KNOWN,
        ..Neighbour::default()
    });
}

/// Hands one packet to a shard as a card would. Without a free frame it is lost.
pub fn receive(shard: &mut Shard, bytes: &[u8], now: u64) -> Option<FrameId> {
    let frame = shard.frames.alloc(Purpose::Control)?;
    let start = usize::from(RECEIVE_START);
    let place = shard.frames.chunk_mut(frame).get_mut(start..start + bytes.len());
    match place {
        Some(place) => place.copy_from_slice(bytes),
        None => {
            shard.frames.release(frame);
            return None;
        }
    }
    if let Some(meta) = shard.frames.meta_mut(frame) {
        (meta.start, meta.len, meta.via) = (RECEIVE_START, bytes.len() as u16, 0);
    }
    ip::input(shard, frame, now);
    Some(frame)
}
