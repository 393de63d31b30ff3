//! One stack, whose peers are the script: its clock, what it sent, and what relative numbers mean.

use crate::packet::{ACK, Cookie, Number, Opt, SYN, Segment};
use crate::script::Icmp;
use crate::wire;
use stack::ip::net::{Addr, Device, LocalAddress, Neighbour, NeighbourState, Route, RouteKind};
use stack::link::sim::{self, address};
use stack::region::{Region, Sizes};
use stack::shard::Shard;
use stack::tcp::{self, Settings, Tuple};
use std::collections::{BTreeMap, VecDeque};

pub(crate) const LISTEN_PORT: u16 = 80;
const PEER_PORTS: u16 = 5000;
const OUR_PORTS: u16 = 41_000;
const KEY: [u64; 2] = [0x736372, 0x697074];
/// The clock does not start at 0, where a time that was never set could pass for one that was.
const START: u64 = 1_000_000_000;
const DEFAULT_PEER_ISN: u32 = 1_000_000;
const IFINDEX: u32 = 2;
/// Initial sequence numbers move once in so many nanoseconds.
const ISN_TICK: u64 = 64;
/// Timers that may fire at one moment.
const MOST_TIMERS: usize = 100_000;

/// What a script may set before it begins.
pub(crate) struct Setup {
    pub sizes: Sizes,
    pub mtu: u32,
    pub peer_isn: u32,
    pub local_isn: Option<u32>,
    /// The initial number of a connection that we open, not of one that the peer opens, is to be `local_isn`.
    pub opens: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { sizes: Sizes::tiny(), mtu: 1500, peer_isn: DEFAULT_PEER_ISN, local_isn: None, opens: false }
    }
}

pub(crate) struct World {
    pub shard: Shard,
    pub now: u64,
    pub start: u64,
    /// What the stack has sent and no line has looked at, with its time.
    pub pending: VecDeque<(u64, Segment)>,
    /// Everything that happened, as it is shown when something goes wrong.
    pub log: Vec<String>,
    /// An invariant does not hold.
    pub is_broken: bool,
    flows: BTreeMap<u16, Flow>,
    peer_isn: u32,
}

/// A connection between the stack and the peer.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub tuple: Tuple,
    peer_isn: u32,
    local_isn: Option<u32>,
    /// What is added to a timestamp of ours in the script.
    timestamp_base: Option<u32>,
    last_timestamp: u32,
    cookie: Option<Vec<u8>>,
}

impl World {
    pub(crate) fn new(setup: &Setup) -> Result<Self, String> {
        let start = match setup.local_isn {
            Some(wanted) => start_for(setup, wanted)?,
            None => START,
        };
        Ok(Self {
            shard: shard(setup, start)?,
            now: start,
            start,
            pending: VecDeque::new(),
            log: Vec::new(),
            is_broken: false,
            flows: BTreeMap::new(),
            peer_isn: setup.peer_isn,
        })
    }

    /// Lets the clock run; timers fire when they are due. Stops early when something is sent.
    pub(crate) fn advance(&mut self, until: u64) -> Result<(), String> {
        self.collect()?;
        for _ in 0..MOST_TIMERS {
            if !self.pending.is_empty() {
                return Ok(());
            }
            let next = self.shard.wheel.next_deadline().max(self.now);
            if next > until {
                self.now = self.now.max(until);
                self.shard.head.now = self.now;
                return Ok(());
            }
            self.now = next;
            self.fire()?;
        }
        Err("timers fire without end".into())
    }

    fn fire(&mut self) -> Result<(), String> {
        self.shard.head.now = self.now;
        while let Some(entry) = self.shard.pop_due(self.now) {
            tcp::on_timer(&mut self.shard, entry, self.now);
        }
        self.collect()
    }

    /// Takes what the stack has queued, and has every invariant checked.
    pub(crate) fn collect(&mut self) -> Result<(), String> {
        while let Some(frame) = self.shard.next_out() {
            self.shard.advance_outbox();
            let bytes = self.shard.frames.packet(frame).to_vec();
            self.shard.frames.completed(frame);
            let segment = self.understand(&bytes)?;
            self.note(&format!("> {}", self.shown(&segment)));
            self.pending.push_back((self.now, segment));
        }
        self.shard.check().map_err(|broken| {
            self.is_broken = true;
            format!("check(): {broken}")
        })
    }

    /// The segment with relative numbers, but for timestamps.
    fn understand(&mut self, bytes: &[u8]) -> Result<Segment, String> {
        let (local_port, remote_port, mut segment, payload) = wire::read(bytes)?;
        let ports = (local_port, remote_port);
        let found = self.flows.iter_mut().find(|(_, f)| (f.tuple.local_port, f.tuple.remote_port) == ports);
        let (&number, flow) = found.ok_or(format!("a packet of no connection of the script: {ports:?}"))?;
        segment.flow = number;
        if segment.has(SYN) && flow.local_isn.is_none() {
            flow.local_isn = Some(segment.seq);
        }
        segment.seq = segment.seq.wrapping_sub(flow.local_isn.unwrap_or(0));
        segment.ack = segment.ack.filter(|_| segment.has(ACK)).map(|a| a.wrapping_sub(flow.peer_isn));
        segment.content = wire::content(&segment, &payload);
        for option in segment.options.iter_mut().flatten() {
            match option {
                Opt::Sack(blocks) => blocks.iter_mut().for_each(|(a, b)| {
                    (*a, *b) = (a.wrapping_sub(flow.peer_isn), b.wrapping_sub(flow.peer_isn));
                }),
                Opt::Timestamps { value: Number::Is(value), .. } => flow.last_timestamp = *value,
                Opt::FastOpen(Cookie::Is(cookie)) if !cookie.is_empty() => {
                    flow.cookie = Some(cookie.clone());
                }
                _ => {}
            }
        }
        Ok(segment)
    }

    /// With timestamps as the script counts them, once it has said how.
    pub(crate) fn shown(&self, segment: &Segment) -> Segment {
        let mut shown = segment.clone();
        let base = self.flows.get(&segment.flow).and_then(|f| f.timestamp_base).unwrap_or(0);
        for option in shown.options.iter_mut().flatten() {
            if let Opt::Timestamps { value: Number::Is(value), .. } = option {
                *value = value.wrapping_sub(base);
            }
        }
        shown
    }

    /// Whether `seen` is what was expected. The first timestamp that a script names says how it counts them.
    pub(crate) fn is_met(&mut self, wanted: &Segment, seen: &Segment) -> bool {
        let named = wanted.options.iter().flatten().find_map(|o| match o {
            Opt::Timestamps { value: Number::Is(n), .. } => Some(*n),
            _ => None,
        });
        let came = seen.options.iter().flatten().find_map(|o| match o {
            Opt::Timestamps { value: Number::Is(n), .. } => Some(*n),
            _ => None,
        });
        if let (Some(named), Some(came), Some(flow)) = (named, came, self.flows.get_mut(&seen.flow)) {
            flow.timestamp_base.get_or_insert(came.wrapping_sub(named));
        }
        wanted.is_met_by(&self.shown(seen))
    }

    pub(crate) fn inject(&mut self, written: &Segment) -> Result<(), String> {
        self.note(&format!("< {written}"));
        let flow = self.flow(written.flow).clone();
        let mut segment = written.clone();
        segment.seq = segment.seq.wrapping_add(flow.peer_isn);
        segment.content_base = flow.peer_isn;
        segment.ack = segment.ack.map(|a| a.wrapping_add(flow.local_isn.unwrap_or(0)));
        for option in segment.options.iter_mut().flatten() {
            match option {
                Opt::Sack(blocks) => blocks.iter_mut().for_each(|(a, b)| {
                    let isn = flow.local_isn.unwrap_or(0);
                    (*a, *b) = (a.wrapping_add(isn), b.wrapping_add(isn));
                }),
                Opt::Timestamps { echo, .. } => match echo {
                    Number::Last => *echo = Number::Is(flow.last_timestamp),
                    Number::Is(n) if *n != 0 => {
                        *n = n.wrapping_add(flow.timestamp_base.unwrap_or(0));
                    }
                    _ => {}
                },
                Opt::FastOpen(cookie @ Cookie::Last) => {
                    *cookie = Cookie::Is(flow.cookie.clone().ok_or("no cookie came yet")?);
                }
                _ => {}
            }
        }
        let frame = wire::frame(&flow.tuple, &segment)?;
        self.give(&frame)
    }

    pub(crate) fn inject_icmp(&mut self, icmp: &Icmp) -> Result<(), String> {
        let (kind, code) = match icmp.kind.as_str() {
            "net_unreachable" => (3, 0),
            "host_unreachable" => (3, 1),
            "proto_unreachable" => (3, 2),
            "port_unreachable" => (3, 3),
            "frag_needed" => (3, 4),
            "source_route_failed" => (3, 5),
            "source_quench" => (4, 0),
            "ttl_exceeded" => (11, 0),
            "parameter_problem" => (12, 0),
            other => return Err(format!("no ICMP error is called {other}")),
        };
        self.note(&format!("< icmp {} about {}", icmp.kind, icmp.seq));
        let flow = self.flow(icmp.flow).clone();
        let seq = icmp.seq.wrapping_add(flow.local_isn.unwrap_or(0));
        self.give(&wire::icmp_frame(&flow.tuple, kind, code, icmp.mtu, seq))
    }

    fn give(&mut self, frame: &[u8]) -> Result<(), String> {
        self.shard.head.now = self.now;
        sim::receive(&mut self.shard, frame, self.now);
        tcp::end_of_burst(&mut self.shard, self.now);
        self.collect()
    }

    /// The connection `number`: one that the peer opens, unless connect() has named it before.
    pub(crate) fn flow(&mut self, number: u16) -> &mut Flow {
        let peer_isn = self.peer_isn;
        self.flows.entry(number).or_insert_with(|| Flow::new(theirs(number), peer_isn))
    }

    /// connect() is about to open the connection `number`.
    pub(crate) fn opens(&mut self, number: u16) -> Tuple {
        let flow = Flow::new(ours(number), self.peer_isn);
        let tuple = flow.tuple;
        self.flows.insert(number, flow);
        tuple
    }

    /// The connection's next SYN starts another one, with numbers of its own.
    pub(crate) fn renew(&mut self, number: u16) {
        self.flow(number).local_isn = None;
    }

    /// As after a death of the owner of the lock between two changes.
    pub(crate) fn recover(&mut self) -> Result<(), String> {
        self.shard.head.changing = Default::default();
        self.shard.recover(self.now);
        self.collect()
    }

    pub(crate) fn seconds(&self, time: u64) -> String {
        let micros = time.saturating_sub(self.start) / 1000;
        format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }

    pub(crate) fn note(&mut self, what: &str) {
        self.log.push(format!("{:>12} {what}", self.seconds(self.now)));
    }
}

impl Flow {
    fn new(tuple: Tuple, peer_isn: u32) -> Self {
        Self { tuple, peer_isn, local_isn: None, timestamp_base: None, last_timestamp: 0, cookie: None }
    }
}

fn theirs(number: u16) -> Tuple {
    Tuple {
        local: address(1),
        remote: address(0),
        local_port: LISTEN_PORT,
        remote_port: PEER_PORTS.wrapping_add(number),
    }
}

fn ours(number: u16) -> Tuple {
    Tuple {
        local: address(1),
        remote: address(0),
        local_port: OUR_PORTS.wrapping_add(number),
        remote_port: LISTEN_PORT,
    }
}

fn shard(setup: &Setup, start: u64) -> Result<Shard, String> {
    let mut shard = Region::private_shard(setup.sizes, KEY, start).map_err(|e| format!("{e:?}"))?;
    let mac = |end: u8| [2, 0, 0, 0, 0, 1 + end];
    let device = Device {
        ifindex: IFINDEX,
        mtu: setup.mtu,
        mac: mac(1),
        first_link: 0,
        queues: 1,
        ..Device::default()
    };
    let local = LocalAddress { addr: address(1), ifindex: IFINDEX };
    let on_link = Route {
        destination: Addr(address(1).0 & 0xffff_ff00),
        source: address(1),
        prefix_len: 24,
        kind: RouteKind::DEVICE,
        ..Route::default()
    };
    shard.net.replace(&[device], &[local], &[on_link]);
    shard.net.lease_ports(40_000, 60_000, core::iter::empty());
    set_neighbour(&mut shard, NeighbourState::KNOWN);
    Ok(shard)
}

/// What is known of the way to the peer.
pub(crate) fn set_neighbour(shard: &mut Shard, state: NeighbourState) {
    shard.net.set_neighbour(Neighbour {
        addr: address(0),
        mac: [2, 0, 0, 0, 0, 1],
        state,
        ..Neighbour::default()
    });
}

/// When the clock must start for the first connection to get the initial sequence number `wanted`.
fn start_for(setup: &Setup, wanted: u32) -> Result<u64, String> {
    let mut shard = shard(setup, START)?;
    let tuple = if setup.opens { ours(1) } else { theirs(1) };
    tcp::connect(&mut shard, tuple, &Settings::default(), START).map_err(|e| format!("{e:?}"))?;
    let frame = shard.next_out().ok_or("no SYN was sent")?;
    let (_, _, syn, _) = wire::read(shard.frames.packet(frame))?;
    Ok(START + u64::from(wanted.wrapping_sub(syn.seq)) * ISN_TICK)
}
