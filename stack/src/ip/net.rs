//! Addresses, routes and neighbours: a snapshot that the keeper writes and everybody reads, under the shard's lock.

use crate::region::{One, Table};
use core::net::Ipv4Addr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An IPv4 address in host order.
#[derive(
    FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
#[repr(transparent)]
pub struct Addr(pub u32);

impl Addr {
    pub const ANY: Self = Self(0);

    pub const fn is_any(self) -> bool {
        self.0 == 0
    }

    pub const fn is_loopback(self) -> bool {
        self.0 >> 24 == 127
    }

    pub const fn is_multicast_or_broadcast(self) -> bool {
        self.0 >> 28 == 14 || self.0 == u32::MAX
    }
}

impl From<Ipv4Addr> for Addr {
    fn from(a: Ipv4Addr) -> Self {
        Self(u32::from(a))
    }
}

impl From<Addr> for Ipv4Addr {
    fn from(a: Addr) -> Self {
        Self::from(a.0)
    }
}

impl core::fmt::Debug for Addr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", Ipv4Addr::from(*self))
    }
}

pub type Mac = [u8; 6];

/// The link number of packets between two sockets of this region; all others are numbers of XSKs.
pub const VIA_LOOPBACK: u8 = u8::MAX;

/// An accelerated network device.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Device {
    pub ifindex: u32,
    pub mtu: u32,
    pub mac: Mac,
    /// The XSK of its queue 0; those of the other queues follow.
    pub first_link: u8,
    pub queues: u8,
    /// 1 for a device on which a local sender may leave the TCP checksum at its pseudo-header sum.
    pub is_virtual: u8,
    pub pad: [u8; 3],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LocalAddress {
    pub addr: Addr,
    pub ifindex: u32,
}

/// What a route leads to.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct RouteKind(pub u8);

impl RouteKind {
    /// A device of ours.
    pub const DEVICE: Self = Self(0);
    /// This host itself.
    pub const LOCAL: Self = Self(1);
    /// Something that stays with the kernel: another device, unreachable, policy routing...
    pub const KERNEL: Self = Self(2);
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Route {
    pub destination: Addr,
    /// The next hop; 0 for a destination on the link itself.
    pub gateway: Addr,
    /// The preferred source address.
    pub source: Addr,
    /// 0 for the device's.
    pub mtu: u32,
    pub metric: u32,
    pub prefix_len: u8,
    pub kind: RouteKind,
    /// Index of the device.
    pub device: u8,
    pub pad: u8,
}

/// What is known of a neighbour.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct NeighbourState(pub u8);

impl NeighbourState {
    pub const VACANT: Self = Self(0);
    /// The stack asks the keeper to have it resolved.
    pub const WANTED: Self = Self(1);
    pub const KNOWN: Self = Self(2);
    /// The kernel gave up on it.
    pub const FAILED: Self = Self(3);
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Neighbour {
    pub addr: Addr,
    pub mac: Mac,
    pub state: NeighbourState,
    pub device: u8,
    /// Counts uses, so that the keeper keeps fresh what is in use.
    pub uses: u32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub struct NetHead {
    /// Changes whenever the keeper writes: a cached path with another generation is looked up again.
    pub generation: u32,
    pub devices: u32,
    pub addresses: u32,
    pub routes: u32,
    /// The leased range of local ports for outgoing connections: from, and one past the end.
    pub ports_from: u32,
    pub ports_to: u32,
    /// 1 when some neighbour is `WANTED`.
    pub wanted: u32,
    pub pad: u32,
    /// What routers have said of the paths to hosts.
    learned: [LearnedMtu; LEARNED],
}

/// How many paths are known to carry less than their device; a later one takes the place of one like it.
const LEARNED: usize = 32;

/// A path that carries less than its device.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default)]
#[repr(C)]
pub struct LearnedMtu {
    to: Addr,
    mtu: u32,
    /// In seconds of the shard's clock.
    until: u32,
}

/// How packets reach a destination; kept by each connection.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Path {
    pub generation: u32,
    pub next_hop: Addr,
    pub mtu: u16,
    pub device: u8,
    /// The link, or [`VIA_LOOPBACK`].
    pub via: u8,
    /// 1 when the address of the next hop is in `to`.
    pub resolved: u8,
    pub pad: [u8; 3],
    pub from: Mac,
    pub to: Mac,
}

pub struct Net {
    pub head: One<NetHead>,
    devices: Table<Device>,
    addresses: Table<LocalAddress>,
    routes: Table<Route>,
    neighbours: Table<Neighbour>,
    /// One bit for each port of the leased range that a kernel socket has already.
    taken_ports: Table<u64>,
    recent: Recent,
}

/// The way that was looked for last: mostly the next is to the same host.
#[derive(Default)]
struct Recent {
    to: Addr,
    path: Path,
    /// Of the next hop among the neighbours; none has it if it is no neighbour.
    place: usize,
}

impl Net {
    pub(crate) fn new(
        head: One<NetHead>,
        devices: Table<Device>,
        addresses: Table<LocalAddress>,
        routes: Table<Route>,
        neighbours: Table<Neighbour>,
        taken_ports: Table<u64>,
    ) -> Self {
        let recent = Recent::default();
        Self { head, devices, addresses, routes, neighbours, taken_ports, recent }
    }

    pub fn devices(&self) -> &[Device] {
        self.devices.get(..self.head.devices as usize).unwrap_or(&[])
    }

    pub fn addresses(&self) -> &[LocalAddress] {
        self.addresses.get(..self.head.addresses as usize).unwrap_or(&[])
    }

    pub fn routes(&self) -> &[Route] {
        self.routes.get(..self.head.routes as usize).unwrap_or(&[])
    }

    /// Replaces all three lists; what does not fit is cut, and the number of cut entries returned.
    pub fn replace(&mut self, devices: &[Device], addresses: &[LocalAddress], routes: &[Route]) -> usize {
        self.head.devices = fill(&mut self.devices, devices);
        self.head.addresses = fill(&mut self.addresses, addresses);
        self.head.routes = fill(&mut self.routes, routes);
        self.changed();
        (devices.len() + addresses.len() + routes.len())
            - (self.head.devices + self.head.addresses + self.head.routes) as usize
    }

    fn changed(&mut self) {
        self.head.generation = self.head.generation.wrapping_add(1).max(1);
    }

    #[inline(always)]
    pub fn is_local(&self, addr: Addr) -> bool {
        // Most hosts have one address, or one that nearly all packets are for.
        let is_first = self.addresses.first().is_some_and(|a| a.addr == addr && self.head.addresses > 0);
        is_first || self.has_address(addr)
    }

    #[inline(never)]
    fn has_address(&self, addr: Addr) -> bool {
        self.addresses().iter().any(|a| a.addr == addr)
    }

    /// Whether the device of a link is one on which checksums may be left to the card.
    pub fn is_virtual(&self, via: u8) -> bool {
        let has_link = |d: &&Device| (d.first_link..d.first_link.saturating_add(d.queues)).contains(&via);
        self.devices().iter().find(has_link).is_some_and(|d| d.is_virtual != 0)
    }

    /// The route to `to`: the longest prefix, then the smallest metric.
    pub fn route(&self, to: Addr) -> Option<&Route> {
        let matches = self.routes().iter().filter(|r| covers(r, to));
        matches.max_by_key(|r| (r.prefix_len, core::cmp::Reverse(r.metric)))
    }

    /// Looks the way to `to` up, as far as it is known. None: not ours to send.
    pub fn path(&mut self, to: Addr) -> Option<Path> {
        let Recent { to: last, path, place } = &self.recent;
        if *last != to || path.generation != self.head.generation || path.resolved == 0 {
            return self.find_path(to);
        }
        if let Some(entry) = self.neighbours.get_mut(*place) {
            entry.uses = entry.uses.wrapping_add(1);
        }
        Some(*path)
    }

    fn find_path(&mut self, to: Addr) -> Option<Path> {
        let way = self.way(to)?;
        let mut found = Recent { to, path: way, place: usize::MAX };
        if way.resolved == 0
            && let Some((place, mac)) = self.neighbour(way.next_hop, way.device)
        {
            found = Recent { to, path: Path { resolved: 1, to: mac, ..way }, place };
        }
        let path = found.path;
        self.recent = found;
        Some(path)
    }

    /// The same without a look at the neighbours, none of whom is asked for by it.
    pub fn way(&self, to: Addr) -> Option<Path> {
        let route = *self.route(to)?;
        let generation = self.head.generation;
        if route.kind == RouteKind::LOCAL {
            let mtu = u16::MAX;
            return Some(Path {
                generation,
                next_hop: to,
                mtu,
                via: VIA_LOOPBACK,
                resolved: 1,
                ..Path::default()
            });
        }
        if route.kind != RouteKind::DEVICE {
            return None;
        }
        let device = *self.devices().get(usize::from(route.device))?;
        let next_hop = if route.gateway.is_any() { to } else { route.gateway };
        let mtu = if route.mtu == 0 { device.mtu } else { route.mtu.min(device.mtu) };
        Some(Path {
            generation,
            next_hop,
            mtu: mtu.min(u32::from(u16::MAX)) as u16,
            device: route.device,
            via: device.first_link,
            from: device.mac,
            ..Path::default()
        })
    }

    /// A router says that packets to `to` must not be larger. Times in seconds.
    pub(crate) fn learn_mtu(&mut self, to: Addr, mtu: u16, until: u32, now: u32) {
        let smaller = self.learned_mtu(to, now).map_or(mtu, |(known, _)| known.min(mtu));
        if let Some(place) = self.head.learned.get_mut(place_of_path(to)) {
            *place = LearnedMtu { to, mtu: smaller.into(), until };
        }
    }

    /// The MTU of the path to `to` if it is less than the device's, and until when that is believed.
    pub(crate) fn learned_mtu(&self, to: Addr, now: u32) -> Option<(u16, u32)> {
        let entry = self.head.learned.get(place_of_path(to))?;
        let holds = entry.to == to && entry.mtu != 0 && entry.until > now;
        holds.then_some((entry.mtu.min(u32::from(u16::MAX)) as u16, entry.until))
    }

    /// The place of a neighbour and its address. One that is not known is marked as wanted.
    fn neighbour(&mut self, addr: Addr, device: u8) -> Option<(usize, Mac)> {
        let place = self.place(addr, device)?;
        let entry = self.neighbours.get_mut(place)?;
        if entry.state == NeighbourState::KNOWN {
            entry.uses = entry.uses.wrapping_add(1);
            return Some((place, entry.mac));
        }
        if entry.state != NeighbourState::FAILED {
            *entry = Neighbour { addr, device, state: NeighbourState::WANTED, ..Neighbour::default() };
        }
        self.head.wanted = 1;
        None
    }

    /// A new connection wants to go by a neighbour. LINUX: one that failed to answer is asked for again.
    pub fn ask_again(&mut self, path: &Path) {
        if let Some(entry) = self.place(path.next_hop, path.device).and_then(|i| self.neighbours.get_mut(i))
            && entry.state == NeighbourState::FAILED
            && entry.addr == path.next_hop
        {
            entry.state = NeighbourState::WANTED;
            self.head.wanted = 1;
        }
    }

    /// The keeper's word on a neighbour.
    pub fn set_neighbour(&mut self, neighbour: Neighbour) {
        if let Some(entry) =
            self.place(neighbour.addr, neighbour.device).and_then(|i| self.neighbours.get_mut(i))
        {
            *entry = Neighbour { uses: entry.uses, ..neighbour };
            self.changed();
        }
    }

    pub fn neighbours(&self) -> &[Neighbour] {
        &self.neighbours
    }

    /// Where `addr` is or may be put: open addressing over a few places, the last of which is given up if need be.
    fn place(&self, addr: Addr, device: u8) -> Option<usize> {
        const PROBES: usize = 16;
        let start = (addr.0 ^ u32::from(device) << 8).wrapping_mul(0x9e37_79b1) as usize;
        let mut vacant = None;
        for step in 0..PROBES.min(self.neighbours.len()) {
            let place = (start + step) % self.neighbours.len();
            let entry = self.neighbours.get(place)?;
            if entry.state == NeighbourState::VACANT {
                vacant = vacant.or(Some(place));
            } else if entry.addr == addr && entry.device == device {
                return Some(place);
            }
        }
        vacant.or(Some(start % self.neighbours.len()))
    }

    pub fn lease_ports(&mut self, from: u16, to: u32, taken: impl Iterator<Item = u16>) {
        self.head.ports_from = u32::from(from);
        self.head.ports_to = to.min(65536);
        self.taken_ports.fill(0);
        for port in taken {
            if let Some(word) = self.taken_ports.get_mut(usize::from(port) / 64) {
                *word |= 1 << (port % 64);
            }
        }
    }

    /// Whether `port` is ours to connect from.
    pub fn may_connect_from(&self, port: u16) -> bool {
        let leased = (self.head.ports_from..self.head.ports_to).contains(&u32::from(port));
        leased && self.taken_ports.get(usize::from(port) / 64).is_some_and(|w| w & (1 << (port % 64)) == 0)
    }
}

fn place_of_path(to: Addr) -> usize {
    to.0.wrapping_mul(0x9e37_79b1) as usize >> 16 & (LEARNED - 1)
}

fn fill<T: Copy>(table: &mut [T], from: &[T]) -> u32 {
    let n = table.len().min(from.len());
    table[..n].copy_from_slice(&from[..n]);
    n as u32
}

fn covers(route: &Route, addr: Addr) -> bool {
    let shift = 32u32.saturating_sub(u32::from(route.prefix_len));
    (u64::from(addr.0) ^ u64::from(route.destination.0)) >> shift == 0
}
