//! Path MTU discovery: by what routers say, and by probing where they say nothing.

use crate::harness::{MILLISECOND, SECOND};
use crate::peer::{ACK, Peer, SYN, Send};
use stack::region::Handle;
use stack::tcp::{self, Connection, Settings};
use std::collections::BTreeMap;

const OPTIONS: [u8; 4] = [2, 4, 5, 180];

/// A connection whose peer takes segments of 1460 bytes and a window of 64 KiB.
fn established(sysctls: impl Fn(&mut stack::tcp::Sysctls)) -> (Peer, Handle<Connection>) {
    let mut peer = Peer::new();
    sysctls(&mut peer.shard.head.sysctls);
    let listener = peer.listen(4, &Settings { no_delay: 1, ..Settings::default() });
    let options = OPTIONS.to_vec();
    peer.send_any(&Send { flags: SYN, seq: 9, ack: 0, window: 65_535, payload: vec![], options });
    (peer.seq, peer.ack) = (10, peer.only().seq + 1);
    peer.send(ACK, b"");
    let c = tcp::accept(&mut peer.shard, listener).unwrap();
    stack::socket::hold(&mut peer.shard, stack::socket::SocketRef::Connection(c), 1).unwrap();
    (peer, c)
}

/// A peer that keeps what comes beyond a hole, behind a path that drops what is larger than `most`.
#[derive(Default)]
struct Taker {
    got: Vec<u8>,
    beyond: BTreeMap<u32, Vec<u8>>,
    largest: usize,
}

impl Taker {
    /// Acknowledges each segment that has passed.
    fn take(&mut self, peer: &mut Peer, most: usize) {
        for segment in peer.sent() {
            if segment.payload.len() > most || segment.payload.is_empty() {
                continue;
            }
            self.largest = self.largest.max(segment.payload.len());
            self.beyond.insert(segment.seq, segment.payload);
            while let Some(bytes) = self.beyond.remove(&peer.ack) {
                peer.ack += bytes.len() as u32;
                self.got.extend(bytes);
            }
            peer.send(ACK, b"");
        }
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * i % 251) as u8).collect()
}

/// Moves `len` bytes over a path that drops what is larger than `most`: the largest segment that passed.
fn transfer(peer: &mut Peer, c: Handle<Connection>, len: usize, most: usize) -> usize {
    let bytes = pattern(len);
    let (mut sent, mut taker) = (0, Taker::default());
    for _ in 0..20_000 {
        if taker.got.len() >= len {
            break;
        }
        if let Ok(n) = peer.write(c, &bytes[sent..]) {
            sent += n;
        }
        taker.take(peer, most);
        peer.wait(20 * MILLISECOND);
    }
    assert!(taker.got == bytes, "{} of {len} bytes", taker.got.len());
    taker.largest
}

#[test]
fn probing_finds_the_largest_segment_that_passes_without_a_word_from_routers() {
    let (mut peer, c) = established(|s| s.tcp_mtu_probing = 2);
    assert_eq!(tcp::info(&peer.shard, c, peer.now).send_mss, 1024, "it begins with the base");
    let largest = transfer(&mut peer, c, 3_000_000, 1300);
    assert!((1290..=1300).contains(&largest), "{largest}");
    assert!(peer.shard.counters.path_mtu_probes >= 3);
    // What failed was the probe, not the network.
    assert!(tcp::info(&peer.shard, c, peer.now).congestion_window > 10);
}

#[test]
fn a_path_that_takes_everything_is_found_to() {
    let (mut peer, c) = established(|s| s.tcp_mtu_probing = 2);
    let largest = transfer(&mut peer, c, 3_000_000, 1460);
    assert!(largest >= 1452, "{largest}");
}

#[test]
fn a_black_hole_is_seen_after_timeouts_and_got_around() {
    let (mut peer, c) = established(|s| s.tcp_mtu_probing = 1);
    assert_eq!(tcp::info(&peer.shard, c, peer.now).send_mss, 1460);
    transfer(&mut peer, c, 20_000, 1100);
    assert_eq!(peer.shard.counters.path_mtu_black_holes, 1);
    assert_eq!(tcp::info(&peer.shard, c, peer.now).send_mss, 1024);
}

#[test]
fn without_probing_nothing_of_the_kind_happens() {
    let (mut peer, c) = established(|s| s.tcp_mtu_probing = 0);
    transfer(&mut peer, c, 100_000, 1460);
    assert_eq!(peer.shard.counters.path_mtu_probes + peer.shard.counters.path_mtu_black_holes, 0);
}

#[test]
fn what_a_router_said_holds_for_later_connections_and_is_forgotten_after_its_time() {
    let (mut peer, c) = established(|s| s.mtu_expires = 30);
    peer.write(c, &pattern(3000)).unwrap();
    let first = peer.sent()[0].seq;
    crate::network::unreachable(&mut peer, 4, 1000, first);
    assert_eq!(tcp::info(&peer.shard, c, peer.now).path_mtu, 1000);
    let mut taker = Taker::default();
    for _ in 0..100 {
        taker.take(&mut peer, 960);
        peer.wait(20 * MILLISECOND);
    }
    assert_eq!(taker.got.len(), 3000);
    peer.port += 1;
    let other = peer.connect(&Settings::default());
    assert_eq!(tcp::info(&peer.shard, other, peer.now).path_mtu, 1000);
    assert_eq!(u16::from_be_bytes([peer.only().options[2], 0]) >> 8, 960 >> 8, "and is what the SYN offers");
    peer.port -= 1;
    peer.wait(31 * SECOND);
    peer.sent();
    for _ in 0..2 {
        peer.write(c, &pattern(1400)).unwrap();
        taker.take(&mut peer, 1460);
    }
    assert_eq!(tcp::info(&peer.shard, c, peer.now).path_mtu, 1500);
    peer.write(c, &pattern(3000)).unwrap();
    assert_eq!(peer.sent()[0].payload.len(), 1460);
}

#[test]
fn the_word_of_a_router_counts_only_for_those_who_want_it() {
    for (discovery, dropped, expected) in [(1, 0, 1000), (2, 0, 1000), (4, 0, 1500), (1, 2, 1500)] {
        let (mut peer, c) = established(|s| s.ip_no_pmtu_disc = dropped);
        let settings = Settings { mtu_discovery: discovery, ..Settings::default() };
        let now = peer.now;
        stack::socket::configure(&mut peer.shard, stack::socket::SocketRef::Connection(c), &settings, now);
        peer.write(c, &pattern(3000)).unwrap();
        let first = peer.sent()[0].seq;
        crate::network::unreachable(&mut peer, 4, 1000, first);
        assert_eq!(tcp::info(&peer.shard, c, peer.now).path_mtu, expected, "{discovery} {dropped}");
    }
}
