//! The connections of a script: what relative numbers mean, what was sent, and what has happened.

use crate::host::Host;
use crate::packet::{ACK, Cookie, Number, Opt, PSH, SYN, Segment};
use crate::script::Icmp;
use crate::wire;
use stack::link::sim::address;
use stack::tcp::Tuple;
use std::collections::{BTreeMap, VecDeque};

const MILLISECOND: u64 = 1_000_000;
const LISTEN_PORT: u16 = 80;
const PEER_PORTS: u16 = 5000;
const OUR_PORTS: u16 = 41_000;

pub(crate) struct World {
    pub host: Box<dyn Host>,
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
    pub(crate) fn new(host: Box<dyn Host>, peer_isn: u32) -> Self {
        Self {
            start: host.now(),
            host,
            pending: VecDeque::new(),
            log: Vec::new(),
            is_broken: false,
            flows: BTreeMap::new(),
            peer_isn,
        }
    }

    /// Lets the clock run. Stops early when something is sent.
    pub(crate) fn advance(&mut self, until: u64) -> Result<(), String> {
        self.collect()?;
        if self.pending.is_empty() {
            let advanced = self.host.advance(until);
            self.heed(advanced)?;
        }
        self.collect()
    }

    /// Takes what the stack has sent, and has every invariant checked.
    pub(crate) fn collect(&mut self) -> Result<(), String> {
        while let Some((at, bytes)) = self.host.sent() {
            let segment = self.understand(&bytes)?;
            let shown = self.shown(&segment);
            self.note_at(at, &format!("> {shown}"));
            self.pending.push_back((at, segment));
        }
        let checked = self.host.check();
        self.heed(checked)
    }

    fn heed(&mut self, outcome: Result<(), String>) -> Result<(), String> {
        self.is_broken |= outcome.is_err();
        outcome
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
        let mut shown = self.shown(seen);
        if self.host.pushes_otherwise() {
            shown.flags = shown.flags & !PSH | wanted.flags & PSH;
        }
        wanted.is_met_by(&shown, (self.host.delay(0) / MILLISECOND) as u32)
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
        let given = self.host.give(frame);
        self.heed(given)?;
        self.collect()
    }

    /// The connection `number`: one that the peer opens, unless connect() has named it before.
    pub(crate) fn flow(&mut self, number: u16) -> &mut Flow {
        let peer_isn = self.peer_isn;
        self.flows.entry(number).or_insert_with(|| Flow::new(theirs(number), peer_isn))
    }

    /// The connection that a call names.
    pub(crate) fn tuple_of(&mut self, opens: bool, name: Option<&str>) -> Tuple {
        let digits = name.and_then(|n| n.strip_prefix('@')).unwrap_or("1");
        let number = digits.parse().unwrap_or(1);
        if opens {
            let flow = Flow::new(ours(number), self.peer_isn);
            self.flows.entry(number).and_modify(|f| f.tuple = flow.tuple).or_insert(flow);
        }
        self.flow(number).tuple
    }

    /// The connection's next SYN starts another one, with numbers of its own.
    pub(crate) fn renew(&mut self, number: u16) {
        self.flow(number).local_isn = None;
    }

    pub(crate) fn recover(&mut self) -> Result<(), String> {
        let recovered = self.host.recover();
        self.heed(recovered)?;
        self.collect()
    }

    pub(crate) fn seconds(&self, time: u64) -> String {
        let micros = time.saturating_sub(self.start) / 1000;
        format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }

    pub(crate) fn note(&mut self, what: &str) {
        self.note_at(self.host.now(), what);
    }

    fn note_at(&mut self, at: u64, what: &str) {
        self.log.push(format!("{:>12} {what}", self.seconds(at)));
    }
}

impl Flow {
    fn new(tuple: Tuple, peer_isn: u32) -> Self {
        Self { tuple, peer_isn, local_isn: None, timestamp_base: None, last_timestamp: 0, cookie: None }
    }
}

/// A connection that the peer opens, and one that we open.
pub(crate) fn theirs(number: u16) -> Tuple {
    Tuple {
        local: address(1),
        remote: address(0),
        local_port: LISTEN_PORT,
        remote_port: PEER_PORTS.wrapping_add(number),
    }
}

pub(crate) fn ours(number: u16) -> Tuple {
    Tuple {
        local: address(1),
        remote: address(0),
        local_port: OUR_PORTS.wrapping_add(number),
        remote_port: LISTEN_PORT,
    }
}
