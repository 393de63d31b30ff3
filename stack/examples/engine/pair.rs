//! Two engines with a card each, and what happens between them.
//!
//! Every step goes through [`End::step`], so that those of one side can be measured and what has to come before them,
//! or happens at the other side, is left out.

use crate::card::{self, Card, Nowhere};
use stack::ip::net::VIA_LOOPBACK;
use stack::link::sim::{Conditions, Sim, address};
use stack::region::{FrameId, Handle, Sizes};
use stack::shard::Shard;
use stack::socket::{self, SocketRef};
use stack::tcp::{self, Connection, Listener, Settings, Tuple};

/// Payload of a full segment with timestamps.
pub(crate) const SEGMENT: usize = 1448;
/// Segments that come, or are written, at a time.
pub(crate) const BURST: usize = 16;
/// Segments that one ACK is for, with most peers.
pub(crate) const PER_ACK: usize = 2;
/// Bytes of a question, and of its answer.
pub(crate) const MESSAGE: usize = 64;
const PORT: u16 = 80;
const PORTS: core::ops::Range<u16> = 40_000..60_000;
/// The process that holds all sockets.
const PROGRAM: u16 = 1;
const MICROSECOND: u64 = 1_000;
const MINUTE: u64 = 60_000_000_000;

/// What a side does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// What has come is taken off the RX ring, and the fill ring filled again.
    Take,
    /// It goes through IP and TCP, and what that calls for is queued.
    Receive,
    /// The program reads all that is there. The bytes are not copied.
    Read,
    /// The program writes. The bytes are not copied, but their sum is taken.
    Write,
    /// The outbox goes to the TX ring.
    Transmit,
    /// Completions are taken from the card.
    Complete,
    Connect,
    Accept,
    Close,
}

/// A shard and its card.
pub(crate) struct End {
    pub(crate) shard: Shard,
    card: Card,
    /// Frames that are between the ring and IP.
    frames: Vec<FrameId>,
    /// The steps that are measured.
    pub(crate) measured: &'static [Step],
    /// The link that packets seem to come by.
    pub(crate) via: u8,
}

impl End {
    fn new(mut shard: Shard) -> Self {
        Self { card: Card::new(&mut shard), shard, frames: Vec::new(), measured: &[], via: 0 }
    }

    fn step<R>(&mut self, step: Step, work: impl FnOnce(&mut Self) -> R) -> R {
        if self.measured.contains(&step) { measured(self, work) } else { work(self) }
    }

    fn receive(&mut self, now: u64) {
        self.step(Step::Take, |end| end.card.take(&mut end.shard, &mut end.frames, end.via));
        self.step(Step::Receive, |end| card::receive(&mut end.shard, &mut end.frames, now));
    }

    fn read(&mut self, c: Handle<Connection>, now: u64) {
        let _ =
            self.step(Step::Read, |end| tcp::read(&mut end.shard, c, &mut Nowhere(usize::MAX), false, now));
    }

    fn write(&mut self, c: Handle<Connection>, len: usize, now: u64) {
        let _ = self.step(Step::Write, |end| tcp::write(&mut end.shard, c, &mut Nowhere(len), false, now));
    }

    fn transmit(&mut self) {
        self.step(Step::Transmit, |end| end.card.transmit(&mut end.shard));
    }

    fn complete(&mut self) {
        self.step(Step::Complete, |end| end.card.complete(&mut end.shard));
    }

    fn connect(&mut self, tuple: Tuple, now: u64) -> Handle<Connection> {
        self.step(Step::Connect, |end| {
            let c = tcp::connect(&mut end.shard, tuple, &settings(), now).expect("a connection");
            end.shard.driven_by(PROGRAM);
            socket::hold(&mut end.shard, SocketRef::Connection(c), PROGRAM).expect("a reference");
            c
        })
    }

    fn accept(&mut self, listener: Handle<Listener>) -> Handle<Connection> {
        self.step(Step::Accept, |end| {
            let c = tcp::accept(&mut end.shard, listener).expect("a peer");
            end.shard.driven_by(PROGRAM);
            socket::hold(&mut end.shard, SocketRef::Connection(c), PROGRAM).expect("a reference");
            c
        })
    }

    fn close(&mut self, c: Handle<Connection>, now: u64) {
        self.step(Step::Close, |end| {
            socket::let_go(&mut end.shard, SocketRef::Connection(c), PROGRAM, now);
        });
    }
}

/// Callgrind collects while this runs: see scripts/count.sh.
#[inline(never)]
pub(crate) fn measured<T, R>(on: T, work: impl FnOnce(T) -> R) -> R {
    work(on)
}

/// Puts what `from` has queued on the card of `to`.
fn carry(from: &mut End, to: &mut End) {
    from.transmit();
    for packet in from.card.packets(&from.shard) {
        to.card.deliver(&mut to.shard, packet);
    }
    from.complete();
}

fn settings() -> Settings {
    Settings { no_delay: 1, ..Settings::default() }
}

pub(crate) struct Pair {
    now: u64,
    pub(crate) client: End,
    pub(crate) server: End,
    listener: Handle<Listener>,
    /// The next port that the client connects from.
    port: u16,
}

/// An established connection.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    client: Handle<Connection>,
    server: Handle<Connection>,
}

/// Who closes first, and has to stay in TIME_WAIT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    Client,
    Server,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let sizes = Sizes { frames: 2048, ..Sizes::tiny() };
        let sim = Sim::new(sizes, Conditions::default(), 7).expect("memory");
        let now = sim.now;
        let [client, mut server] = sim.ends.map(End::new);
        let listener = tcp::listen(&mut server.shard, address(1), PORT, 64, &settings()).expect("a listener");
        Self { now, client, server, listener, port: PORTS.start }
    }

    /// The time of the next event, a little later than that of the last.
    fn tick(&mut self) -> u64 {
        self.now += 20 * MICROSECOND;
        self.client.shard.head.now = self.now;
        self.server.shard.head.now = self.now;
        self.now
    }

    pub(crate) fn connect(&mut self) -> Ends {
        let now = self.tick();
        let local_port = self.port;
        self.port = if local_port + 1 == PORTS.end { PORTS.start } else { local_port + 1 };
        let tuple = Tuple { local: address(0), remote: address(1), local_port, remote_port: PORT };
        let client = self.client.connect(tuple, now);
        carry(&mut self.client, &mut self.server);
        self.server.receive(now);
        carry(&mut self.server, &mut self.client);
        self.client.receive(now);
        carry(&mut self.client, &mut self.server);
        self.server.receive(now);
        Ends { client, server: self.server.accept(self.listener) }
    }

    /// The client has written full segments, which are on the server's card.
    pub(crate) fn burst_comes(&mut self, ends: Ends, segments: usize) {
        let now = self.tick();
        self.client.write(ends.client, segments * SEGMENT, now);
        carry(&mut self.client, &mut self.server);
    }

    /// What has come is received, and read by the server's program.
    pub(crate) fn take_burst(&mut self, ends: Ends) {
        self.server.receive(self.now);
        self.server.read(ends.server, self.now);
    }

    /// The server's ACKs have come to the client's card.
    pub(crate) fn acks_come(&mut self) {
        carry(&mut self.server, &mut self.client);
    }

    pub(crate) fn take_acks(&mut self) {
        self.client.receive(self.now);
    }

    /// A burst as Linux receives it, with an ACK for each second segment, all of which are on the client's card.
    pub(crate) fn burst_in_pairs(&mut self, ends: Ends) {
        for _ in 0..BURST / PER_ACK {
            self.burst_comes(ends, PER_ACK);
            self.take_burst(ends);
            self.acks_come();
        }
    }

    /// A question is on the server's card.
    pub(crate) fn question_comes(&mut self, ends: Ends) {
        let now = self.tick();
        self.client.write(ends.client, MESSAGE, now);
        carry(&mut self.client, &mut self.server);
    }

    /// The server's turn: the question is received and read, an answer written and sent.
    pub(crate) fn answer(&mut self, ends: Ends) {
        self.server.receive(self.now);
        self.server.read(ends.server, self.now);
        self.server.write(ends.server, MESSAGE, self.now);
        self.server.transmit();
    }

    /// The client gets the answer.
    pub(crate) fn answer_comes(&mut self, ends: Ends) {
        carry(&mut self.server, &mut self.client);
        self.client.receive(self.now);
        self.client.read(ends.client, self.now);
    }

    /// Both sides close; the first ends in TIME_WAIT.
    pub(crate) fn close(&mut self, ends: Ends, first: First) {
        let now = self.tick();
        let (one, other) = match first {
            First::Client => ((&mut self.client, ends.client), (&mut self.server, ends.server)),
            First::Server => ((&mut self.server, ends.server), (&mut self.client, ends.client)),
        };
        one.0.close(one.1, now);
        carry(one.0, other.0);
        other.0.receive(now);
        other.0.close(other.1, now);
        carry(other.0, one.0);
        one.0.receive(now);
        carry(one.0, other.0);
        other.0.receive(now);
    }

    /// A third of TIME_WAIT's minute passes.
    pub(crate) fn let_time_waits_end(&mut self) {
        self.now += MINUTE / 3;
        for end in [&mut self.client, &mut self.server] {
            while let Some(entry) = end.shard.pop_due(self.now) {
                tcp::on_timer(&mut end.shard, entry, self.now);
            }
        }
    }

    /// Packets to the server pass for what never left the host: their checksums are not looked at.
    pub(crate) fn trust_the_wire(&mut self) {
        self.server.via = VIA_LOOPBACK;
    }
}
