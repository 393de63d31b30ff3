//! TCP Fast Open (RFC 7413): bytes in the SYN, taken once, and the ways back to an ordinary handshake.

use crate::harness::{self, CLIENT, MILLISECOND, SECOND, SERVER, run_for, settle, sim, tuple};
use crate::peer::*;
use stack::Error;
use stack::link::sim::{Conditions, Sim};
use stack::region::Handle;
use stack::socket::{self, SocketRef};
use stack::tcp::{self, Connection, Listener, Settings, State};

const CLIENT_AND_SERVER: u32 = 3;
/// Asks for a cookie, behind an MSS of 1460.
const ASKS: [u8; 8] = [2, 4, 5, 180, 34, 2, 1, 1];

fn settings() -> Settings {
    Settings { fast_open: 4, ..Settings::default() }
}

/// The cookie in the options of a segment.
fn cookie_of(seen: &Seen) -> Option<Vec<u8>> {
    let mut rest = &seen.options[..];
    loop {
        match *rest {
            [0, ..] | [] => return None,
            [1, ref tail @ ..] => rest = tail,
            [34, len, ..] => return Some(rest[2..usize::from(len)].to_vec()),
            [_, len, ..] => rest = &rest[usize::from(len)..],
            _ => return None,
        }
    }
}

impl Peer {
    fn with_fast_open() -> (Self, Handle<Listener>) {
        let mut peer = Self::new();
        peer.shard.head.sysctls.tcp_fastopen = CLIENT_AND_SERVER;
        let listener = peer.listen(8, &settings());
        (peer, listener)
    }

    fn fast_syn(&mut self, cookie: Option<&[u8]>, payload: &[u8]) {
        let mut options = vec![2, 4, 5, 180];
        if let Some(cookie) = cookie {
            options.extend_from_slice(&[1, 1, 34, 2 + cookie.len() as u8]);
            options.extend_from_slice(cookie);
        }
        let payload = payload.to_vec();
        self.send_any(&Send { flags: SYN, seq: 500, ack: 0, window: 4000, payload, options });
    }

    /// What a client of this address gets when it asks.
    fn learn_cookie(&mut self) -> Vec<u8> {
        self.port = 999;
        self.send_any(&Send {
            flags: SYN,
            seq: 500,
            ack: 0,
            window: 1000,
            payload: vec![],
            options: ASKS.to_vec(),
        });
        let answer = self.only();
        self.ack = answer.seq + 1;
        self.send_at(501, RST | ACK, b"");
        self.port = 5000;
        cookie_of(&answer).expect("a cookie")
    }

    /// A connection made of a SYN with data, its SYN+ACK, and the connection as accepted.
    fn opened(&mut self, l: Handle<Listener>, payload: &[u8]) -> (Seen, Handle<Connection>) {
        let cookie = self.learn_cookie();
        self.fast_syn(Some(&cookie), payload);
        let answer = self.only();
        assert_eq!((answer.flags, answer.ack), (SYN | ACK, 501 + payload.len() as u32));
        let c = tcp::accept(&mut self.shard, l).expect("acceptable before the handshake is done");
        socket::hold(&mut self.shard, SocketRef::Connection(c), 1).unwrap();
        assert_eq!(self.state(c), State::SYN_RECEIVED);
        (self.seq, self.ack) = (answer.ack, answer.seq + 1);
        (answer, c)
    }
}

#[test]
fn data_in_a_syn_with_a_good_cookie_is_read_and_answered_before_the_handshake_is_done() {
    let (mut peer, l) = Peer::with_fast_open();
    let (answer, c) = peer.opened(l, b"GET /");
    assert_eq!(peer.read(c, 100), Ok(b"GET /".to_vec()));
    assert_eq!(peer.write(c, b"hello"), Ok(5));
    let reply = peer.only();
    assert_eq!((reply.flags & ACK, reply.seq, reply.payload), (ACK, answer.seq + 1, b"hello".to_vec()));
    peer.ack = answer.seq + 6;
    peer.send(ACK, b" more");
    assert_eq!(peer.state(c), State::ESTABLISHED);
    assert_eq!(peer.read(c, 100), Ok(b" more".to_vec()));
    assert_eq!(tcp::unacknowledged(&peer.shard, c), 0);
    assert_eq!(peer.shard.counters.fast_open_passive, 1);
    assert!(tcp::info(&peer.shard, c, peer.now).syn_data);
    assert_eq!(peer.shard.listeners.get(l).unwrap().early, 0);
}

#[test]
fn the_data_of_a_syn_is_not_taken_twice() {
    let (mut peer, l) = Peer::with_fast_open();
    let (answer, c) = peer.opened(l, b"once");
    // The peer has not heard us, and sends its SYN again, then the data.
    peer.send_at(500, SYN, b"");
    assert_eq!(peer.only(), answer);
    peer.send_at(501, ACK, b"once");
    peer.send_at(505, ACK, b" more");
    assert_eq!(peer.read(c, 100), Ok(b"once more".to_vec()));
    assert_eq!(peer.state(c), State::ESTABLISHED);
}

#[test]
fn a_wrong_cookie_or_none_leads_to_an_ordinary_handshake() {
    let (mut peer, l) = Peer::with_fast_open();
    let good = peer.learn_cookie();
    peer.fast_syn(Some(&[1; 8]), b"data");
    let answer = peer.only();
    assert_eq!((answer.ack, cookie_of(&answer)), (501, Some(good.clone())), "with a good one");
    peer.ack = answer.seq + 1;
    peer.send_at(501, ACK, b"data");
    let c = tcp::accept(&mut peer.shard, l).unwrap();
    assert_eq!(peer.read(c, 10), Ok(b"data".to_vec()));
    peer.sent();
    peer.port = 5001;
    peer.fast_syn(None, b"data");
    let answer = peer.only();
    assert_eq!((answer.ack, cookie_of(&answer)), (501, None));
    let counters = &peer.shard.counters;
    assert_eq!((counters.fast_open_passive, counters.fast_open_passive_failed), (0, 1));
    // The namespace or the socket may not want it.
    peer.shard.head.sysctls.tcp_fastopen = 1;
    peer.port = 5002;
    peer.fast_syn(Some(&good), b"data");
    let answer = peer.only();
    assert_eq!((answer.ack, cookie_of(&answer)), (501, None));
}

#[test]
fn a_listener_has_so_many_connections_that_are_open_early_and_no_more() {
    let (mut peer, l) = Peer::with_fast_open();
    let cookie = peer.learn_cookie();
    let mut answers = Vec::new();
    for port in 1..=6 {
        peer.port = port;
        peer.fast_syn(Some(&cookie), b"x");
        answers.push(peer.only());
    }
    let taken: Vec<_> = answers.iter().map(|a| a.ack).collect();
    assert_eq!(taken, [502, 502, 502, 502, 501, 501]);
    assert_eq!(peer.shard.counters.fast_open_overflows, 2);
    // Accepted ones count until their handshake is done, or they are gone.
    let first = tcp::accept(&mut peer.shard, l).unwrap();
    socket::hold(&mut peer.shard, SocketRef::Connection(first), 1).unwrap();
    assert_eq!(peer.shard.listeners.get(l).unwrap().early, 4);
    peer.port = 1;
    peer.send_at(502, RST, b"");
    assert_eq!(peer.read(first, 1), Ok(b"x".to_vec()));
    assert_eq!(peer.read(first, 1), Err(Error::Reset));
    assert_eq!(peer.shard.listeners.get(l).unwrap().early, 3);
    (peer.port, peer.ack) = (2, answers[1].seq + 1);
    peer.send_at(502, ACK, b"");
    assert_eq!(peer.shard.listeners.get(l).unwrap().early, 2);
    // All of these go with their listener.
    peer.sent();
    socket::let_go(&mut peer.shard, SocketRef::Listener(l), 1, peer.now);
    peer.sent();
    peer.close(first);
    assert_eq!(peer.shard.connections.in_use(), 0);
}

#[test]
fn servers_may_do_without_cookies_and_all_listeners_may_take_part() {
    for (sysctl, option) in [(0x202, 0), (2, 1), (0x602, 0)] {
        let mut peer = Peer::new();
        peer.shard.head.sysctls.tcp_fastopen = sysctl;
        let fast_open = if sysctl & 0x400 != 0 { 0 } else { 4 };
        let l =
            peer.listen(8, &Settings { fast_open, fast_open_without_cookie: option, ..Settings::default() });
        peer.fast_syn(None, b"data");
        assert_eq!(peer.only().ack, 505);
        let c = tcp::accept(&mut peer.shard, l).unwrap();
        assert_eq!(peer.read(c, 10), Ok(b"data".to_vec()));
    }
}

#[test]
fn the_syn_ack_of_an_early_connection_is_sent_again_and_then_given_up() {
    let (mut peer, l) = Peer::with_fast_open();
    let (answer, c) = peer.opened(l, b"x");
    let (start, mut at) = (peer.now, Vec::new());
    while peer.state(c) == State::SYN_RECEIVED {
        peer.wait(100 * MILLISECOND);
        for seen in peer.sent() {
            assert_eq!(seen, answer);
            at.push((peer.now - start + SECOND / 2) / SECOND);
        }
    }
    // LINUX: tcp_synack_retries and one more.
    assert_eq!(at, [1, 3, 7, 15, 31, 63]);
    assert_eq!(peer.read(c, 1), Ok(b"x".to_vec()));
    assert_eq!(peer.read(c, 1), Err(Error::TimedOut));
}

#[test]
fn a_program_that_closes_early_has_its_answer_delivered_all_the_same() {
    let (mut peer, l) = Peer::with_fast_open();
    let (answer, c) = peer.opened(l, b"x");
    assert_eq!(peer.read(c, 9), Ok(b"x".to_vec()));
    peer.write(c, b"bye").unwrap();
    peer.close(c);
    let sent = peer.sent();
    assert_eq!(sent.iter().flat_map(|s| s.payload.clone()).collect::<Vec<_>>(), b"bye");
    assert!(sent.last().unwrap().flags & FIN != 0);
    // All of it is lost; the SYN+ACK comes again, and so does the rest.
    peer.wait(1500 * MILLISECOND);
    let again = peer.sent();
    assert!(again.contains(&answer), "{again:?}");
    peer.ack = answer.seq + 5;
    peer.send(ACK, b"");
    peer.send(ACK | FIN, b"");
    assert_eq!(peer.state(c), State::CLOSED);
    assert_eq!((peer.shard.connections.in_use(), peer.shard.time_waits.in_use()), (0, 1));
}

#[test]
fn a_client_asks_for_a_cookie_keeps_it_and_sends_data_with_its_next_syn() {
    let mut peer = Peer::new();
    let tuple = peer.tuple();
    let now = peer.now;
    let (c, n) =
        tcp::connect_with_data(&mut peer.shard, tuple, &Settings::default(), &mut &b"data"[..], now).unwrap();
    assert_eq!(n, 0, "no cookie yet");
    let syn = peer.only();
    assert_eq!((syn.payload.len(), cookie_of(&syn)), (0, Some(vec![])));
    peer.ack = syn.seq + 1;
    let options = vec![2, 4, 4, 0, 34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1];
    let answer = Send { flags: SYN | ACK, seq: 77, ack: syn.seq + 1, window: 9000, payload: vec![], options };
    peer.send_any(&answer);
    assert_eq!((peer.only().flags, peer.state(c)), (ACK, State::ESTABLISHED));

    // The next one, with more than the peer's MSS of 1024 lets the SYN carry.
    let (mut data, mut next) = (vec![7; 3000], peer);
    data[0] = 1;
    next.port = 5001;
    let tuple = next.tuple();
    let now = next.now;
    let (c, n) =
        tcp::connect_with_data(&mut next.shard, tuple, &Settings::default(), &mut &data[..], now).unwrap();
    assert_eq!(n, 1024 - 40);
    let syn = next.only();
    assert_eq!((syn.flags, &syn.payload[..]), (SYN, &data[..n]));
    assert_eq!(cookie_of(&syn), Some(vec![1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(next.write(c, b"later"), Err(Error::Again));
    next.send_any(&Send { ack: syn.seq + 1 + n as u32, options: vec![2, 4, 4, 0], ..answer.clone() });
    assert_eq!(next.only().payload, b"");
    assert_eq!((next.state(c), tcp::unacknowledged(&next.shard, c)), (State::ESTABLISHED, 0));
    assert_eq!(next.shard.counters.fast_open_active, 1);
    assert!(tcp::info(&next.shard, c, next.now).syn_data);
    next.write(c, &data[n..n + 10]).unwrap();
    assert_eq!(next.only().seq, syn.seq + 1 + n as u32);
}

/// A client with a cookie for the peer, whose SYN with `data` has been sent.
fn client_with_data(data: &[u8]) -> (Peer, Handle<Connection>, Seen) {
    let mut peer = Peer::new();
    let (tuple, now) = (peer.tuple(), peer.now);
    peer.shard.head.sysctls.tcp_fastopen = 5;
    let (c, n) =
        tcp::connect_with_data(&mut peer.shard, tuple, &Settings::default(), &mut &data[..], now).unwrap();
    socket::hold(&mut peer.shard, SocketRef::Connection(c), 1).unwrap();
    assert_eq!(n, data.len());
    let syn = peer.only();
    assert_eq!((&syn.payload[..], cookie_of(&syn)), (data, None));
    (peer, c, syn)
}

#[test]
fn data_that_the_syn_ack_does_not_acknowledge_is_sent_again_at_once() {
    for taken in [0, 3, 7] {
        let (mut peer, c, syn) = client_with_data(b"request");
        peer.ack = syn.seq + 1 + taken;
        peer.send(SYN | ACK, b"");
        let next = peer.only();
        assert_eq!(next.payload, &b"request"[taken as usize..]);
        assert_eq!((next.seq, next.ack), (syn.seq + 1 + taken, peer.seq));
        peer.ack = syn.seq + 8;
        peer.send(ACK, b"");
        assert_eq!((peer.state(c), tcp::unacknowledged(&peer.shard, c)), (State::ESTABLISHED, 0));
        let failed = u64::from(taken < 7);
        assert_eq!(tcp::info(&peer.shard, c, peer.now).syn_data, failed == 0);
        let counters = &peer.shard.counters;
        assert_eq!((counters.fast_open_active, counters.fast_open_active_failed), (1 - failed, failed));
    }
    let (mut peer, c, syn) = client_with_data(b"request");
    peer.ack = syn.seq + 9;
    peer.send(SYN | ACK, b"");
    assert_eq!((peer.only().flags, peer.state(c)), (RST, State::SYN_SENT), "more than was sent");
}

#[test]
fn a_syn_with_data_that_is_lost_is_followed_by_a_plain_one() {
    let (mut peer, c, syn) = client_with_data(b"request");
    peer.wait(1100 * MILLISECOND);
    let again = peer.only();
    assert_eq!((again.flags, again.seq, again.payload.len()), (SYN, syn.seq, 0));
    assert_eq!(cookie_of(&again), None);
    peer.ack = syn.seq + 1;
    peer.send(SYN | ACK, b"");
    assert_eq!(peer.only().payload, b"request");
    // Or both arrived, and the first one's answer comes late.
    let (mut peer, other, syn) = client_with_data(b"request");
    peer.wait(1100 * MILLISECOND);
    peer.sent();
    peer.ack = syn.seq + 8;
    peer.send(SYN | ACK, b"");
    assert_eq!((peer.only().payload.len(), peer.state(other)), (0, State::ESTABLISHED));
    let _ = c;
}

#[test]
fn a_deferred_connect_waits_for_the_first_write() {
    let mut peer = Peer::new();
    let settings = Settings { fast_open_connect: 1, ..Settings::default() };
    // Nothing is known of the peer: an ordinary SYN that asks.
    let c = peer.connect(&settings);
    assert_eq!(cookie_of(&peer.only()), Some(vec![]));
    peer.close(c);

    peer.shard.head.sysctls.tcp_fastopen = 5;
    peer.port = 5001;
    let c = peer.connect(&settings);
    assert_eq!(peer.sent(), []);
    assert!(tcp::is_deferred(&peer.shard, c));
    assert_eq!(socket::connect_outcome(&mut peer.shard, c), Ok(()));
    assert_ne!(tcp::readiness(&peer.shard, c) & 4, 0, "writable");
    peer.wait(10 * SECOND);
    assert_eq!(peer.sent(), []);
    let now = peer.now;
    assert_eq!(tcp::open_deferred(&mut peer.shard, c, &mut &b"first"[..], now), Ok(5));
    let syn = peer.only();
    assert_eq!((syn.flags, &syn.payload[..]), (SYN, &b"first"[..]));
    peer.ack = syn.seq + 6;
    peer.send(SYN | ACK, b"");
    assert_eq!(peer.state(c), State::ESTABLISHED);
    // One that is never written to just goes.
    peer.port = 5002;
    let c = peer.connect(&settings);
    peer.sent();
    peer.close(c);
    assert_eq!((peer.sent().len(), peer.shard.connections.get(c).is_none()), (0, true));
}

/// Both ends are ours, on a wire that loses: nothing is lost, nothing comes twice.
#[test]
fn over_a_bad_wire_every_byte_arrives_once() {
    for seed in 0..60 {
        let is_bad = seed % 3 != 0;
        let bad =
            Conditions { loss: 300_000, duplication: 100_000, reordering: 200_000, ..Conditions::default() };
        let conditions = if is_bad { bad } else { Conditions::default() };
        let mut sim = sim(conditions, seed);
        for end in &mut sim.ends {
            end.head.sysctls.tcp_fastopen = CLIENT_AND_SERVER;
        }
        let l = tcp::listen(
            &mut sim.ends[SERVER],
            stack::link::sim::address(SERVER),
            harness::PORT,
            16,
            &settings(),
        )
        .unwrap();
        harness::hold(&mut sim, SERVER, SocketRef::Listener(l));
        for port in 40_000..40_006 {
            one_exchange(&mut sim, l, port);
        }
        if !is_bad {
            let taken = sim.ends[SERVER].counters.fast_open_passive;
            assert_eq!((taken, sim.ends[CLIENT].counters.fast_open_active), (5, 5));
        }
    }
}

fn one_exchange(sim: &mut Sim, l: Handle<Listener>, port: u16) {
    let request: Vec<u8> = (0..2500u32).map(|n| (n ^ u32::from(port)) as u8).collect();
    let now = sim.now;
    let mut left = &request[..];
    let (client, _) =
        tcp::connect_with_data(&mut sim.ends[CLIENT], tuple(port), &Settings::default(), &mut left, now)
            .unwrap();
    harness::hold(sim, CLIENT, SocketRef::Connection(client));
    let (mut server, mut got) = (None, Vec::new());
    for _ in 0..4000 {
        run_for(sim, 20 * MILLISECOND);
        let now = sim.now;
        if !left.is_empty() {
            let _ = tcp::write(&mut sim.ends[CLIENT], client, &mut left, false, now);
        }
        server = server.or_else(|| harness::accept(sim, l));
        if let Some(server) = server
            && let Ok(bytes) = harness::read(sim, SERVER, server, 4000)
        {
            got.extend(bytes);
        }
        if got.len() >= request.len() && harness::state(sim, CLIENT, client) == State::ESTABLISHED {
            break;
        }
    }
    settle(sim);
    assert_eq!(got, request, "port {port}");
    for (end, c) in [(CLIENT, client), (SERVER, server.unwrap())] {
        let now = sim.now;
        tcp::abort(&mut sim.ends[end], c, now);
        harness::close(sim, end, c);
    }
    settle(sim);
}
