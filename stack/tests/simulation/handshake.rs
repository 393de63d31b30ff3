//! Opening connections: both sides, refusals, overflows, silence.

use crate::harness::{MILLISECOND, SECOND};
use crate::peer::*;
use stack::Error;
use stack::link::sim::address;
use stack::socket::{self, SocketRef};
use stack::tcp::{self, Settings, State};

#[test]
fn a_syn_is_answered_with_our_options_only_if_the_peer_offered_them() {
    for offers in [false, true] {
        let mut peer = Peer::new();
        peer.listen(4, &Settings::default());
        let options =
            if offers { vec![2, 4, 2, 24, 1, 3, 3, 7, 1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0] } else { vec![] };
        peer.send_any(&Send { flags: SYN, seq: 500, ack: 0, window: 1000, payload: vec![], options });
        let answer = peer.only();
        assert_eq!((answer.flags, answer.ack), (SYN | ACK, 501));
        assert_eq!(answer.options[..4], [2, 4, 0x05, 0xb4], "an MSS of 1460");
        assert_eq!(answer.options.len(), if offers { 20 } else { 4 });
        if offers {
            assert_eq!(answer.options[4..8], [1, 1, 8, 10]);
            assert_eq!(answer.options[12..16], [0, 0, 0, 9], "the peer's timestamp comes back");
        }
    }
}

#[test]
fn initial_sequence_numbers_differ_by_peer_and_grow_with_time() {
    let mut peer = Peer::new();
    peer.listen(64, &Settings::default());
    let mut numbers = Vec::new();
    for port in 1..20 {
        peer.port = port;
        peer.send_at(1, SYN, b"");
        numbers.push(peer.only().seq);
    }
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|w| w[1] - w[0] > 1000), "{numbers:?}");
    let first = peer.connect_number(4000);
    peer.now += 64_000;
    assert_eq!(peer.connect_number(4000).wrapping_sub(first), 1000, "one in 64 ns (RFC 6528)");
}

impl Peer {
    /// The initial sequence number of a connection to `port` of the peer, which is given up at once.
    fn connect_number(&mut self, port: u16) -> u32 {
        self.port = port;
        let c = self.connect(&Settings::default());
        let seq = self.only().seq;
        self.close(c);
        seq
    }
}

#[test]
fn a_syn_without_an_answer_is_sent_ten_more_times_and_then_given_up() {
    let mut peer = Peer::new();
    let c = peer.connect(&Settings::default());
    let start = peer.now;
    assert_eq!(peer.only().flags, SYN);
    let mut at = Vec::new();
    while peer.state(c) == State::SYN_SENT {
        peer.wait(100 * MILLISECOND);
        at.extend(peer.sent().iter().map(|_| (peer.now - start + SECOND / 2) / SECOND));
    }
    // LINUX: four a second apart, then tcp_syn_retries with back-off.
    assert_eq!(at, [1, 2, 3, 4, 5, 7, 11, 19, 35, 67]);
    assert_eq!((peer.now - start) / SECOND, 131);
    assert_eq!(peer.read(c, 1), Err(Error::TimedOut));
}

#[test]
fn a_syn_ack_without_an_answer_is_sent_five_more_times_and_forgotten() {
    let mut peer = Peer::new();
    peer.listen(4, &Settings::default());
    peer.send(SYN, b"");
    let first = peer.only();
    let mut again = 0;
    for _ in 0..700 {
        peer.wait(100 * MILLISECOND);
        for seen in peer.sent() {
            assert_eq!((seen.flags, seen.seq, seen.ack), (SYN | ACK, first.seq, first.ack));
            again += 1;
        }
    }
    assert_eq!(again, 5);
    assert_eq!(peer.shard.requests.in_use(), 0);
}

#[test]
fn both_sides_may_open_at_once() {
    let mut peer = Peer::new();
    let c = peer.connect(&Settings::default());
    let ours = peer.only();
    peer.send(SYN, b"");
    let answer = peer.only();
    assert_eq!((answer.flags, answer.seq, answer.ack), (SYN | ACK, ours.seq, peer.seq));
    assert_eq!(peer.state(c), State::SYN_RECEIVED);
    peer.ack = ours.seq + 1;
    peer.send_at(peer.seq - 1, SYN | ACK, b"");
    peer.send(ACK, b"hello");
    assert_eq!(peer.state(c), State::ESTABLISHED);
    assert_eq!(peer.read(c, 10), Ok(b"hello".to_vec()));
}

#[test]
fn an_ack_of_something_never_sent_is_answered_by_a_reset_while_we_connect() {
    let mut peer = Peer::new();
    let c = peer.connect(&Settings::default());
    let syn = peer.only();
    peer.ack = syn.seq + 77;
    peer.send_at(1, SYN | ACK, b"");
    let answer = peer.only();
    assert_eq!((answer.flags, answer.seq), (RST, syn.seq + 77));
    assert_eq!(peer.state(c), State::SYN_SENT);
    // A reset is believed only with the right acknowledgement.
    peer.send_at(1, RST | ACK, b"");
    assert_eq!(peer.state(c), State::SYN_SENT);
    peer.ack = syn.seq + 1;
    peer.send_at(1, RST | ACK, b"");
    assert_eq!(peer.read(c, 1), Err(Error::Refused));
}

#[test]
fn a_full_accept_queue_drops_the_final_ack_and_lets_the_peer_in_later() {
    let mut peer = Peer::new();
    let listener = peer.listen(1, &Settings::default());
    // LINUX: a backlog of n lets n + 1 in.
    for _ in 0..2 {
        peer.open();
        peer.port += 1;
    }
    // This SYN is not even looked at.
    peer.send(SYN, b"");
    assert_eq!(peer.sent(), []);
    assert_eq!(peer.shard.counters.accept_queue_overflows, 1);
    let first = tcp::accept(&mut peer.shard, listener).unwrap();
    assert_eq!(peer.state(first), State::ESTABLISHED);

    // Two handshakes begin while there is room for one.
    let mut half_open = Vec::new();
    for port in [6000, 6001] {
        (peer.port, peer.seq) = (port, 700);
        peer.send(SYN, b"");
        half_open.push(peer.only());
    }
    for (port, answer) in [6000, 6001].into_iter().zip(&half_open) {
        (peer.port, peer.seq, peer.ack) = (port, 701, answer.seq + 1);
        peer.send_at(701, ACK, b"");
    }
    assert_eq!(peer.shard.counters.accept_queue_overflows, 2);
    assert_eq!(peer.shard.requests.in_use(), 1, "the second stays half open");
    assert!(tcp::accept(&mut peer.shard, listener).is_some());
    // The peer believes to be connected and sends.
    peer.send_at(701, ACK, b"late");
    assert!(tcp::accept(&mut peer.shard, listener).is_some());
    let second = tcp::accept(&mut peer.shard, listener).unwrap();
    assert_eq!(peer.read(second, 10), Ok(b"late".to_vec()));
}

#[test]
fn the_syn_queue_is_bounded() {
    let mut peer = Peer::new();
    peer.shard.head.sysctls.tcp_syncookies = 0;
    peer.listen(4, &Settings::default());
    for port in 1..=1000 {
        peer.port = port;
        peer.send_at(1, SYN, b"");
    }
    // LINUX: inet_csk_reqsk_queue_is_full(): one more than the backlog.
    assert_eq!((peer.sent().len(), peer.shard.requests.in_use()), (5, 5));
    assert_eq!(peer.shard.counters.syn_queue_overflows, 995);
}

#[test]
fn closing_a_listener_resets_those_who_wait_and_forgets_those_half_open() {
    let mut peer = Peer::new();
    let listener = peer.listen(8, &Settings::default());
    peer.open();
    let established = (peer.seq, peer.ack);
    peer.port += 1;
    peer.send_at(1, SYN, b"");
    let half_open = peer.only();
    socket::let_go(&mut peer.shard, SocketRef::Listener(listener), 1, peer.now);
    let reset = peer.only();
    assert_eq!((reset.flags & RST, reset.seq), (RST, established.1));
    peer.ack = half_open.seq + 1;
    peer.send_at(2, ACK, b"");
    assert_eq!(peer.only().flags, RST);
    assert_eq!((peer.shard.connections.in_use(), peer.shard.requests.in_use()), (0, 0));
}

#[test]
fn a_deferred_accept_waits_for_the_first_bytes() {
    let mut peer = Peer::new();
    let listener = peer.listen(8, &Settings { defer_accept: 5, ..Settings::default() });
    peer.open();
    assert!(tcp::accept(&mut peer.shard, listener).is_none());
    peer.send(ACK, b"GET");
    let c = tcp::accept(&mut peer.shard, listener).unwrap();
    assert_eq!(peer.read(c, 10), Ok(b"GET".to_vec()));
}

#[test]
fn a_listener_on_one_address_goes_before_one_on_all() {
    let mut peer = Peer::new();
    let all = tcp::listen(&mut peer.shard, stack::ip::net::Addr::ANY, 80, 4, &Settings::default()).unwrap();
    let own = tcp::listen(&mut peer.shard, address(1), 80, 4, &Settings::default()).unwrap();
    peer.open();
    assert!(tcp::accept(&mut peer.shard, all).is_none());
    assert!(tcp::accept(&mut peer.shard, own).is_some());
    tcp::stop_listening(&mut peer.shard, own, peer.now);
    peer.sent();
    peer.port += 1;
    peer.open();
    assert!(tcp::accept(&mut peer.shard, all).is_some());
}
