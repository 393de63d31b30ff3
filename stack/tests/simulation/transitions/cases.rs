//! How a connection gets into each state, and what can happen to it there.

use crate::harness::{MILLISECOND, SECOND};
use crate::peer::*;
use stack::region::Handle;
use stack::socket::{self, How, SocketRef};
use stack::tcp::{self, Connection, Listener, Settings, State};

/// How a connection is brought into a state.
pub(super) type Reach = fn() -> Case;
/// What happens to it there; what a call answers, in a word.
pub(super) type Happen = fn(&mut Case) -> &'static str;

/// In the order of RFC 9293 3.3.2. SYN_RECEIVED is there twice: by a listener, and when both sides open at once.
pub(super) const STATES: [(&str, Reach); 12] = [
    ("CLOSED", closed),
    ("LISTEN", listen),
    ("SYN_SENT", syn_sent),
    ("SYN_RECEIVED", syn_received),
    ("SYN_RECEIVED*", both_open),
    ("ESTABLISHED", established),
    ("FIN_WAIT_1", fin_wait_1),
    ("FIN_WAIT_2", fin_wait_2),
    ("CLOSE_WAIT", close_wait),
    ("CLOSING", closing),
    ("LAST_ACK", last_ack),
    ("TIME_WAIT", time_wait),
];

pub(super) const EVENTS: [(&str, Happen); 28] = [
    ("connect", Case::connect),
    ("listen", Case::listen),
    ("accept", Case::accept),
    ("send", Case::send),
    ("receive", Case::receive),
    ("shutdown", Case::shutdown),
    ("close", Case::close),
    ("abort", Case::abort),
    ("SYN", |x| x.arrives(SYN, x.next(), 0, b"")),
    ("SYN, old", |x| x.arrives(SYN, x.next().wrapping_sub(1000), 0, b"")),
    ("SYN+ACK", |x| x.arrives(SYN | ACK, x.next(), x.sent_end, b"")),
    ("ACK, nothing new", |x| x.arrives(ACK, x.next(), x.una(), b"")),
    ("ACK of all", |x| x.arrives(ACK, x.next(), x.sent_end, b"")),
    ("ACK of unsent", |x| x.arrives(ACK, x.next(), x.sent_end.wrapping_add(1000), b"")),
    ("ACK, too old", |x| x.arrives(ACK, x.next(), x.una().wrapping_sub(100_000), b"")),
    ("data", |x| x.arrives(ACK, x.next(), x.una(), b"data")),
    ("data, old", |x| x.arrives(ACK, x.next().wrapping_sub(10), x.una(), b"data")),
    ("data beyond a hole", |x| x.arrives(ACK, x.next().wrapping_add(100), x.una(), b"data")),
    ("data behind window", |x| x.arrives(ACK, x.next().wrapping_add(100_000), x.una(), b"data")),
    ("FIN", |x| x.arrives(ACK | FIN, x.next(), x.una(), b"")),
    ("FIN, ACK of all", |x| x.arrives(ACK | FIN, x.next(), x.sent_end, b"")),
    ("RST", |x| x.arrives(RST, x.next(), 0, b"")),
    ("RST, ACK of all", |x| x.arrives(RST | ACK, x.next(), x.sent_end, b"")),
    ("RST in the window", |x| x.arrives(RST, x.next().wrapping_add(100), 0, b"")),
    ("RST outside", |x| x.arrives(RST, x.next().wrapping_sub(1000), 0, b"")),
    ("no flags", |x| x.arrives(0, x.next(), 0, b"data")),
    ("3 seconds", |x| x.passes(3 * SECOND)),
    ("2 hours", |x| x.passes(7200 * SECOND)),
];

pub(super) struct Case {
    pub peer: Peer,
    listener: Option<Handle<Listener>>,
    c: Option<Handle<Connection>>,
    /// Behind everything that the stack has sent, its SYN and FIN counted.
    pub sent_end: u32,
    /// What of it is acknowledged.
    acked: u32,
}

impl Case {
    fn new(mut peer: Peer, listener: Option<Handle<Listener>>, c: Option<Handle<Connection>>) -> Self {
        let sent_end = peer.ack;
        peer.sent();
        Self { peer, listener, c, sent_end, acked: sent_end }
    }

    fn next(&self) -> u32 {
        self.peer.seq
    }

    fn una(&self) -> u32 {
        self.acked
    }

    /// What the stack has sent since the last look.
    pub(super) fn note_sent(&mut self) -> Vec<Seen> {
        let sent = self.peer.sent();
        for s in sent.iter().filter(|s| s.flags & RST == 0) {
            let fin_or_syn = u32::from(s.flags & (SYN | FIN) != 0);
            let end = s.seq.wrapping_add(s.payload.len() as u32 + fin_or_syn);
            if s.flags & SYN != 0 {
                (self.sent_end, self.acked) = (end, s.seq);
            } else if (end.wrapping_sub(self.sent_end) as i32) > 0 {
                self.sent_end = end;
            }
        }
        sent
    }

    /// A segment of the peer on the way to the state.
    fn peer_sends(mut self, flags: u8) -> Self {
        if flags & ACK != 0 {
            self.acked = self.sent_end;
        }
        self.peer.ack = self.acked;
        self.peer.send(flags, b"");
        // An ACK that is delayed belongs to what came.
        self.peer.wait(50 * MILLISECOND);
        self.note_sent();
        self
    }

    /// As the other, but what we have sent stays unacknowledged.
    fn peer_sends_without_ack(mut self, flags: u8) -> Self {
        self.peer.ack = self.acked;
        self.peer.send(flags, b"");
        // An ACK that is delayed belongs to what came.
        self.peer.wait(50 * MILLISECOND);
        self.note_sent();
        self
    }

    fn we(mut self, act: Happen) -> Self {
        act(&mut self);
        self.note_sent();
        self
    }

    pub(super) fn arrives(&mut self, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> &'static str {
        let ack = if flags & ACK != 0 { ack } else { 0 };
        let payload = payload.to_vec();
        self.peer.send_any(&Send { flags, seq, ack, window: 65_535, payload, options: vec![] });
        ""
    }

    fn passes(&mut self, time: u64) -> &'static str {
        self.peer.wait(time);
        ""
    }

    /// In CLOSED another socket takes its place.
    fn connect(&mut self) -> &'static str {
        match (self.c, self.listener) {
            (Some(c), _) if self.state(c) == State::SYN_SENT || self.state(c) == State::SYN_RECEIVED => {
                answer(socket::connect_outcome(&mut self.peer.shard, c))
            }
            (Some(_), None) | (None, None) if self.condition() == State::CLOSED.name() => {
                self.c = Some(self.peer.connect(&settings()));
                "EINPROGRESS"
            }
            _ => "EISCONN",
        }
    }

    fn listen(&mut self) -> &'static str {
        match (self.c, self.listener) {
            (None, Some(l)) => {
                tcp::set_backlog(&mut self.peer.shard, l, 3);
                "done"
            }
            (Some(_), None) if self.condition() == State::CLOSED.name() => {
                self.c = None;
                self.listener = Some(self.peer.listen(8, &settings()));
                "done"
            }
            _ => "EINVAL",
        }
    }

    fn accept(&mut self) -> &'static str {
        match (self.listener, self.c) {
            (Some(l), None) => answer(socket::accept(&mut self.peer.shard, l, 1, self.peer.now).map(|_| ())),
            _ => NO_CALL,
        }
    }

    fn send(&mut self) -> &'static str {
        let Some(c) = self.c else { return NO_CALL };
        answer(self.peer.write(c, b"data").map(|_| ()))
    }

    fn receive(&mut self) -> &'static str {
        let Some(c) = self.c else { return NO_CALL };
        match self.peer.read(c, 100) {
            Ok(bytes) if bytes.is_empty() => "end",
            other => answer(other.map(|_| ())),
        }
    }

    fn shutdown(&mut self) -> &'static str {
        let Some(c) = self.c else { return NO_CALL };
        answer(socket::shutdown(&mut self.peer.shard, c, How::Write, self.peer.now))
    }

    fn close(&mut self) -> &'static str {
        let socket = match (self.c, self.listener) {
            (Some(c), _) => SocketRef::Connection(c),
            (None, Some(l)) => SocketRef::Listener(l),
            _ => return NO_CALL,
        };
        socket::let_go(&mut self.peer.shard, socket, 1, self.peer.now);
        if self.c.is_none() {
            self.listener = None;
        }
        ""
    }

    fn abort(&mut self) -> &'static str {
        let Some(c) = self.c else { return NO_CALL };
        tcp::abort(&mut self.peer.shard, c, self.peer.now);
        ""
    }

    fn state(&self, c: Handle<Connection>) -> State {
        self.peer.state(c)
    }

    /// The state of what the table of connections has for this peer, else that of the listener.
    pub(super) fn condition(&mut self) -> &'static str {
        match self.peer.entry_state() {
            State::CLOSED if self.listener.is_some() && self.c.is_none() => State::LISTEN.name(),
            state => state.name(),
        }
    }

    /// Of the descriptor that the program holds.
    pub(super) fn readiness(&self) -> u32 {
        self.c.map_or(0, |c| tcp::readiness(&self.peer.shard, c))
    }

    pub(super) fn connection(&self) -> Handle<Connection> {
        self.c.unwrap_or_default()
    }
}

/// No descriptor that could be used for it.
const NO_CALL: &str = "-";

fn answer(result: Result<(), stack::Error>) -> &'static str {
    use stack::Error;
    match result {
        Ok(()) => "done",
        Err(Error::Again) => "EAGAIN",
        Err(Error::Already) => "EALREADY",
        Err(Error::Pipe) => "EPIPE",
        Err(Error::NotConnected) => "ENOTCONN",
        Err(Error::Reset) => "ECONNRESET",
        Err(_) => "another error",
    }
}

pub(super) fn settings() -> Settings {
    Settings { no_delay: 1, quick_ack: 1, ..Settings::default() }
}

/// A connection that was reset; the program holds it still.
fn closed() -> Case {
    let mut case = established();
    let next = case.next();
    case.arrives(RST, next, 0, b"");
    let c = case.connection();
    let _ = case.peer.read(c, 1);
    let listener = case.listener.take();
    if let Some(l) = listener {
        socket::let_go(&mut case.peer.shard, SocketRef::Listener(l), 1, case.peer.now);
    }
    case.note_sent();
    case
}

fn listen() -> Case {
    let mut peer = Peer::new();
    let l = peer.listen(8, &settings());
    Case::new(peer, Some(l), None)
}

pub(super) fn syn_sent() -> Case {
    let mut peer = Peer::new();
    let c = peer.connect(&settings());
    let sent = peer.sent();
    let mut case = Case::new(peer, None, Some(c));
    if let Some(syn) = sent.first() {
        (case.acked, case.sent_end) = (syn.seq, syn.seq.wrapping_add(1));
    }
    case
}

fn syn_received() -> Case {
    listen().peer_sends_without_ack(SYN)
}

fn both_open() -> Case {
    syn_sent().peer_sends_without_ack(SYN)
}

fn established() -> Case {
    let mut peer = Peer::new();
    let l = peer.listen(8, &settings());
    let c = peer.join(l);
    Case::new(peer, Some(l), Some(c))
}

fn fin_wait_1() -> Case {
    established().we(Case::shutdown)
}

fn fin_wait_2() -> Case {
    fin_wait_1().peer_sends(ACK)
}

fn close_wait() -> Case {
    established().peer_sends(ACK | FIN)
}

fn closing() -> Case {
    fin_wait_1().peer_sends_without_ack(ACK | FIN)
}

fn last_ack() -> Case {
    close_wait().we(Case::shutdown)
}

fn time_wait() -> Case {
    fin_wait_2().peer_sends(ACK | FIN)
}
