//! A peer made by hand: it sends just the segments that a test wants, and shows what the stack answers, read by an
//! independent parser.

use crate::harness::MILLISECOND;
use etherparse::{IpNumber, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use stack::link::sim::{self, Conditions, Sim, address};
use stack::region::{Handle, Sizes};
use stack::shard::{Entry, Shard};
use stack::socket::{self, SocketRef};
use stack::tcp::{self, Connection, Listener, Settings, State, Tuple};

pub(crate) const SYN: u8 = 2;
pub(crate) const FIN: u8 = 1;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;
const PORT: u16 = 80;
const PEER_PORT: u16 = 5000;

/// A segment that the stack sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub payload: Vec<u8>,
    pub options: Vec<u8>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { flags, seq, ack, window, payload, options } = self;
        write!(
            f,
            "<flags {flags:#x} seq {seq} ack {ack} window {window} {} bytes {options:?}>",
            payload.len()
        )
    }
}

/// A segment that the peer sends.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub payload: Vec<u8>,
    pub options: Vec<u8>,
}

/// One stack, whose peer is the test.
pub(crate) struct Peer {
    pub shard: Shard,
    pub now: u64,
    /// The peer's next sequence number, and what it acknowledges.
    pub seq: u32,
    pub ack: u32,
    pub port: u16,
}

impl Peer {
    pub(crate) fn new() -> Self {
        let sim = Sim::new(Sizes::tiny(), Conditions::default(), 99).unwrap();
        let [_, shard] = sim.ends;
        Self { shard, now: sim.now, seq: 10_000, ack: 0, port: PEER_PORT }
    }

    pub(crate) fn tuple(&self) -> Tuple {
        Tuple { local: address(1), remote: address(0), local_port: PORT, remote_port: self.port }
    }

    pub(crate) fn listen(&mut self, backlog: u32, settings: &Settings) -> Handle<Listener> {
        let l = tcp::listen(&mut self.shard, address(1), PORT, backlog, settings).unwrap();
        socket::hold(&mut self.shard, SocketRef::Listener(l), 1).unwrap();
        l
    }

    pub(crate) fn connect(&mut self, settings: &Settings) -> Handle<Connection> {
        let tuple = self.tuple();
        let c = tcp::connect(&mut self.shard, tuple, settings, self.now).unwrap();
        socket::hold(&mut self.shard, SocketRef::Connection(c), 1).unwrap();
        c
    }

    /// A connection that the stack has accepted from this peer.
    pub(crate) fn established(settings: &Settings) -> (Self, Handle<Connection>) {
        let mut peer = Self::new();
        let listener = peer.listen(8, settings);
        let c = peer.join(listener);
        (peer, c)
    }

    /// The peer opens a connection, and a program accepts it.
    pub(crate) fn join(&mut self, listener: Handle<Listener>) -> Handle<Connection> {
        self.open();
        let c = tcp::accept(&mut self.shard, listener).expect("nothing to accept");
        socket::hold(&mut self.shard, SocketRef::Connection(c), 1).unwrap();
        c
    }

    /// As [`Self::established`], with options in the peer's SYN.
    pub(crate) fn established_with(settings: &Settings, options: &[u8]) -> (Self, Handle<Connection>) {
        let mut peer = Self::new();
        let listener = peer.listen(8, settings);
        peer.open_with(options);
        let c = tcp::accept(&mut peer.shard, listener).expect("nothing to accept");
        socket::hold(&mut peer.shard, SocketRef::Connection(c), 1).unwrap();
        (peer, c)
    }

    /// The peer's three-way handshake, without options.
    pub(crate) fn open(&mut self) {
        self.open_with(&[]);
    }

    pub(crate) fn open_with(&mut self, options: &[u8]) {
        let (seq, options) = (self.seq, options.to_vec());
        self.send_any(&Send { flags: SYN, seq, ack: 0, window: 65_535, payload: vec![], options });
        self.seq = seq.wrapping_add(1);
        let answer = self.only();
        assert_eq!((answer.flags, answer.ack), (SYN | ACK, self.seq));
        self.ack = answer.seq + 1;
        self.send(ACK, b"");
        assert_eq!(self.sent(), []);
    }

    /// Sends the next segment of the peer's stream.
    pub(crate) fn send(&mut self, flags: u8, payload: &[u8]) {
        let seq = self.seq;
        self.send_at(seq, flags, payload);
        self.seq = seq
            .wrapping_add(payload.len() as u32)
            .wrapping_add(u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0));
    }

    /// Sends a segment of any place.
    pub(crate) fn send_at(&mut self, seq: u32, flags: u8, payload: &[u8]) {
        let ack = if flags & ACK != 0 { self.ack } else { 0 };
        self.send_any(&Send { flags, seq, ack, window: 65_535, payload: payload.to_vec(), options: vec![] });
    }

    pub(crate) fn send_any(&mut self, s: &Send) {
        self.give(&self.frame(s));
        tcp::end_of_burst(&mut self.shard, self.now);
    }

    /// A frame as another implementation writes it.
    pub(crate) fn frame(&self, s: &Send) -> Vec<u8> {
        let (from, to) = (address(0).0.to_be_bytes(), address(1).0.to_be_bytes());
        let mut tcp = etherparse::TcpHeader::new(self.port, PORT, s.seq, s.window);
        tcp.acknowledgment_number = s.ack;
        tcp.syn = s.flags & SYN != 0;
        tcp.fin = s.flags & FIN != 0;
        tcp.rst = s.flags & RST != 0;
        tcp.ack = s.flags & ACK != 0;
        tcp.set_options_raw(&s.options).unwrap();
        let builder = PacketBuilder::ethernet2([2; 6], [2, 0, 0, 0, 0, 2]).ipv4(from, to, 64).tcp_header(tcp);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &s.payload).unwrap();
        bytes
    }

    pub(crate) fn give(&mut self, frame: &[u8]) {
        sim::receive(&mut self.shard, frame, self.now);
    }

    /// What the stack has sent since the last look.
    pub(crate) fn sent(&mut self) -> Vec<Seen> {
        let seen = self.sent_unchecked();
        self.shard.check().unwrap();
        seen
    }

    /// The same, for a test that sends so much that the invariants are not looked at after each segment.
    pub(crate) fn sent_unchecked(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(frame) = self.shard.next_out() {
            self.shard.advance_outbox();
            seen.push(read(self.shard.frames.packet(frame)));
            self.shard.frames.completed(frame);
        }
        seen
    }

    /// The one segment that the stack has sent since the last look.
    pub(crate) fn only(&mut self) -> Seen {
        let mut seen = self.sent();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// Lets time pass; timers fire when they are due.
    pub(crate) fn wait(&mut self, nanoseconds: u64) {
        let end = self.now + nanoseconds;
        while self.now < end {
            self.now = self.shard.wheel.next_deadline().clamp(self.now, end);
            self.shard.head.now = self.now;
            while let Some(entry) = self.shard.pop_due(self.now) {
                tcp::on_timer(&mut self.shard, entry, self.now);
            }
            self.now = (self.now + MILLISECOND / 4).min(end);
        }
    }

    /// The state of what the table of connections holds for this peer.
    pub(crate) fn entry_state(&mut self) -> State {
        let tuple = self.tuple();
        match self.shard.flow(&tuple) {
            Some(Entry::Connection(h)) => self.state(h),
            Some(Entry::TimeWait(h)) if self.shard.time_waits.get(h).is_some_and(|t| t.is_half_closed()) => {
                State::FIN_WAIT_2
            }
            Some(Entry::TimeWait(_)) => State::TIME_WAIT,
            Some(Entry::Request(_)) => State::SYN_RECEIVED,
            None => State::CLOSED,
        }
    }

    pub(crate) fn state(&self, c: Handle<Connection>) -> State {
        self.shard.connections.get(c).map_or(State::CLOSED, |c| c.state)
    }

    pub(crate) fn write(&mut self, c: Handle<Connection>, bytes: &[u8]) -> Result<usize, stack::Error> {
        tcp::write(&mut self.shard, c, &mut &bytes[..], false, self.now)
    }

    pub(crate) fn read(&mut self, c: Handle<Connection>, most: usize) -> Result<Vec<u8>, stack::Error> {
        let mut buffer = vec![0; most];
        let n = tcp::read(&mut self.shard, c, &mut &mut buffer[..], false, self.now)?;
        buffer.truncate(n);
        Ok(buffer)
    }

    pub(crate) fn close(&mut self, c: Handle<Connection>) {
        socket::let_go(&mut self.shard, SocketRef::Connection(c), 1, self.now);
    }
}

/// Takes a packet of ours apart with another implementation, which also judges the checksums.
pub(crate) fn read(packet: &[u8]) -> Seen {
    let sliced = SlicedPacket::from_ethernet(packet).expect("a packet that others can read");
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("not IPv4: {packet:02x?}") };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum(), "IPv4 checksum");
    assert_eq!((header.protocol, header.dont_fragment), (IpNumber::TCP, true));
    assert_eq!(packet.len(), 14 + usize::from(header.total_len));
    let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("not TCP: {packet:02x?}") };
    let right = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap();
    assert_eq!(tcp.checksum(), right, "TCP checksum");
    let bits = [(tcp.fin(), FIN), (tcp.syn(), SYN), (tcp.rst(), RST), (tcp.ack(), ACK)];
    Seen {
        flags: bits.iter().filter(|b| b.0).map(|b| b.1).sum(),
        seq: tcp.sequence_number(),
        ack: tcp.acknowledgment_number(),
        window: tcp.window_size(),
        payload: tcp.payload().to_vec(),
        options: tcp.options().to_vec(),
    }
}
