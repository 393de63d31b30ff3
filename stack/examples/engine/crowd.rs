//! A shard with many established connections, whose peers are segments written by hand.

use crate::card::{self, Card, Nowhere};
use stack::ip::net::{Addr, Neighbour, NeighbourState};
use stack::link::sim::{address, attach};
use stack::region::{FrameId, Handle, Region, Sizes};
use stack::shard::Shard;
use stack::socket::{self, SocketRef};
use stack::tcp::{self, Connection, Listener, Settings, Tuple};
use stack::wire::emit::MAX_OPTIONS;
use stack::wire::headers::{ETHERNET_LEN, IPV4_LEN};
use stack::wire::options::{syn_bytes, timestamp_bytes};
use stack::wire::{Flags, SegmentHeaders, SynOptions, TcpHeader, Timestamps};
use zerocopy::FromBytes;

const US: usize = 1;
const PORT: u16 = 80;
/// Connections from each of the peers' addresses, which lie behind our own.
const PORTS: u32 = 50_000;
const FIRST_PORT: u32 = 10_000;
const FIRST_PEER: Addr = Addr(address(US).0 + 1);
const PROGRAM: u16 = 1;
const START: u64 = 1_000_000_000;
const PEERS_START: u32 = 77;
const HEADERS: usize = ETHERNET_LEN + IPV4_LEN + 20 + MAX_OPTIONS;

pub(crate) struct Crowd {
    pub(crate) shard: Shard,
    card: Card,
    frames: Vec<FrameId>,
    now: u64,
    listener: Handle<Listener>,
    members: Vec<Member>,
}

/// An established connection, and where its peer stands in both streams.
#[derive(Clone, Copy)]
pub(crate) struct Member {
    pub(crate) connection: Handle<Connection>,
    seq: u32,
    ack: u32,
}

impl Crowd {
    /// A shard with `members` connections, accepted and idle.
    pub(crate) fn new(members: u32) -> Self {
        let mut shard = Region::private_shard(sizes(members), [3, 5], START).expect("memory");
        attach(&mut shard, US);
        for peer in 0..=members / PORTS {
            let addr = Addr(FIRST_PEER.0 + peer);
            shard.net.set_neighbour(Neighbour {
                addr,
                mac: [2; 6],
                state: NeighbourState::KNOWN,
                ..Neighbour::default()
            });
        }
        let listener =
            tcp::listen(&mut shard, address(US), PORT, 64, &Settings::default()).expect("a listener");
        let card = Card::new(&mut shard);
        let mut crowd = Self { shard, card, frames: Vec::new(), now: START, listener, members: Vec::new() };
        for number in 0..members {
            let member = crowd.admit(number);
            crowd.members.push(member);
        }
        crowd
    }

    pub(crate) fn len(&self) -> u32 {
        self.members.len() as u32
    }

    pub(crate) fn member(&self, number: u32) -> Member {
        self.members[number as usize]
    }

    /// Opens connection `number`, and has the program accept it.
    pub(crate) fn admit(&mut self, number: u32) -> Member {
        self.now += 1000;
        let offer = SynOptions {
            mss: Some(1460),
            window_scale: Some(7),
            timestamps: Some(Timestamps { value: 1, echo: 0 }),
            sack_permitted: true,
            ..SynOptions::default()
        };
        let (options, len) = syn_bytes(&offer);
        let syn = Member { connection: Handle::NONE, seq: PEERS_START, ack: 0 };
        self.send(number, syn, Flags::SYN, &options[..len], 0);
        let seen = self.answer().expect("a SYN+ACK");
        let mut member = Member { seq: PEERS_START + 1, ack: seen.seq.get().wrapping_add(1), ..syn };
        self.say(number, member, Flags::ACK, 0);
        member.connection = tcp::accept(&mut self.shard, self.listener).expect("nobody to accept");
        let socket = SocketRef::Connection(member.connection);
        socket::hold(&mut self.shard, socket, PROGRAM).expect("a reference");
        member
    }

    /// Both sides of a connection close it, ours first.
    pub(crate) fn dismiss(&mut self, number: u32, mut member: Member) {
        socket::let_go(&mut self.shard, SocketRef::Connection(member.connection), PROGRAM, self.now);
        let fin = self.answer().expect("a FIN");
        member.ack = fin.seq.get().wrapping_add(1);
        self.say(number, member, Flags::FIN | Flags::ACK, 0);
        let _ = self.answer();
    }

    /// A member's peer sends `len` bytes, and the program reads them. The bytes read.
    pub(crate) fn hear(&mut self, number: u32, len: u16) -> usize {
        let member = self.member(number);
        self.say(number, member, Flags::ACK | Flags::PSH, len);
        self.members[number as usize].seq = member.seq.wrapping_add(u32::from(len));
        let sink = &mut Nowhere(usize::MAX);
        let read = tcp::read(&mut self.shard, member.connection, sink, false, self.now).unwrap_or(0);
        while self.answer().is_some() {}
        read
    }

    /// The program of a member writes `len` bytes, and its peer acknowledges them. The payload that left.
    pub(crate) fn speak(&mut self, number: u32, len: u16) -> u32 {
        let mut member = self.member(number);
        let source = &mut Nowhere(usize::from(len));
        let _ = tcp::write(&mut self.shard, member.connection, source, false, self.now);
        let Some(seen) = self.answer() else { return 0 };
        let sent = seen.seq.get().wrapping_sub(member.ack);
        member.ack = member.ack.wrapping_add(u32::from(len));
        self.members[number as usize].ack = member.ack;
        self.say(number, member, Flags::ACK, 0);
        if sent == 0 { u32::from(len) } else { 0 }
    }

    /// A segment of a member's peer with timestamps.
    pub(crate) fn say(&mut self, number: u32, member: Member, flags: Flags, len: u16) {
        let options = timestamp_bytes(Timestamps { value: 1, echo: 0 });
        self.send(number, member, flags, &options, len);
    }

    fn send(&mut self, number: u32, member: Member, flags: Flags, options: &[u8], len: u16) {
        let tuple = tuple(number);
        let headers = SegmentHeaders {
            mac_to: [2, 0, 0, 0, 0, 2],
            mac_from: [2; 6],
            source: tuple.remote.0,
            destination: tuple.local.0,
            source_port: tuple.remote_port,
            destination_port: tuple.local_port,
            seq: member.seq,
            ack: member.ack,
            flags,
            window: 500,
            urgent: 0,
            service: 0,
            options,
            payload_len: len,
            payload_sum: 0,
        };
        let mut packet = [0; HEADERS + 1500];
        let Some(room) = packet.get_mut(..HEADERS) else { return };
        if headers.write(room).is_some() {
            let from = HEADERS - headers.byte_len();
            self.card.deliver(&mut self.shard, &packet[from..HEADERS + usize::from(len)]);
        }
        self.card.take(&mut self.shard, &mut self.frames, 0);
        card::receive(&mut self.shard, &mut self.frames, self.now);
    }

    /// The last segment that the shard has queued; all are sent.
    fn answer(&mut self) -> Option<TcpHeader> {
        self.card.transmit(&mut self.shard);
        let last = self.card.packets(&self.shard).last();
        let tcp = last.and_then(|packet| packet.get(ETHERNET_LEN + IPV4_LEN..));
        let header = tcp.and_then(|bytes| TcpHeader::read_from_prefix(bytes).ok()).map(|(header, _)| header);
        self.card.complete(&mut self.shard);
        header
    }
}

/// The 4-tuple of connection `number`, as the shard sees it.
pub(crate) fn tuple(number: u32) -> Tuple {
    Tuple {
        local: address(US),
        remote: Addr(FIRST_PEER.0 + number / PORTS),
        local_port: PORT,
        remote_port: (FIRST_PORT + number % PORTS) as u16,
    }
}

/// Tables for so many connections, each held by a program and watched by it.
pub(crate) fn sizes(members: u32) -> Sizes {
    let connections = members + 16;
    Sizes {
        connections,
        references: connections,
        watches: connections,
        neighbours: 64,
        time_waits: 65_536,
        ..Sizes::tiny()
    }
}
