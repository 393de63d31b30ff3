//! What the network says besides segments: neighbours that are not known, ICMP errors.

use crate::harness::{MILLISECOND, SECOND};
use crate::peer::*;
use stack::Error;
use stack::ip::net::{Neighbour, NeighbourState};
use stack::link::sim::address;
use stack::tcp::{self, Settings, State};

const HOST: u8 = 1;
const PORT: u8 = 3;
const TOO_BIG: u8 = 4;

fn settings() -> Settings {
    Settings { no_delay: 1, ..Settings::default() }
}

fn say(peer: &mut Peer, state: NeighbourState) {
    peer.shard.net.set_neighbour(Neighbour { addr: address(0), mac: [2; 6], state, ..Neighbour::default() });
}

/// An ICMP error that quotes the start of `segment`, as a router would send it.
pub(crate) fn unreachable(peer: &mut Peer, code: u8, mtu: u16, seq: u32) {
    use etherparse::{IpNumber, Ipv4Header, PacketBuilder, TcpHeader};
    let (us, them) = (address(1).0.to_be_bytes(), address(0).0.to_be_bytes());
    let mut quote = Vec::new();
    Ipv4Header::new(20, 64, IpNumber::TCP, us, them).unwrap().write(&mut quote).unwrap();
    let header = TcpHeader::new(80, peer.port, seq, 1000);
    header.write(&mut quote).unwrap();
    quote.truncate(28);
    let [high, low] = mtu.to_be_bytes();
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [2, 0, 0, 0, 0, 2]).ipv4(them, us, 64);
    builder.icmpv4_raw(3, code, [0, 0, high, low]).write(&mut bytes, &quote).unwrap();
    peer.give(&bytes);
    tcp::end_of_burst(&mut peer.shard, peer.now);
}

#[test]
fn a_syn_waits_for_its_neighbour_and_asks_the_keeper() {
    let mut peer = Peer::new();
    say(&mut peer, NeighbourState::VACANT);
    peer.connect(&settings());
    assert_eq!(peer.sent(), []);
    assert!(peer.shard.after.keeper && peer.shard.net.head.wanted == 1);
    assert_eq!(peer.shard.counters.neighbour_missing, 1);
    peer.wait(20 * MILLISECOND);
    assert_eq!(peer.sent(), []);
    say(&mut peer, NeighbourState::KNOWN);
    peer.wait(70 * MILLISECOND);
    assert_eq!(peer.only().flags, SYN);
}

#[test]
fn a_neighbour_that_cannot_be_found_makes_the_host_unreachable() {
    let mut peer = Peer::new();
    say(&mut peer, NeighbourState::VACANT);
    let c = peer.connect(&settings());
    peer.wait(50 * MILLISECOND);
    say(&mut peer, NeighbourState::FAILED);
    peer.wait(100 * MILLISECOND);
    assert_eq!(peer.read(c, 1), Err(Error::HostUnreachable));
}

#[test]
fn data_waits_for_a_neighbour_that_got_lost_and_goes_when_it_is_back() {
    let (mut peer, c) = Peer::established(&settings());
    say(&mut peer, NeighbourState::VACANT);
    peer.write(c, b"hello").unwrap();
    peer.send(ACK, b"and you");
    assert_eq!(peer.sent(), []);
    say(&mut peer, NeighbourState::KNOWN);
    peer.wait(70 * MILLISECOND);
    let sent = peer.sent();
    assert_eq!((sent[0].payload.as_slice(), sent[0].ack), (&b"hello"[..], peer.seq));
}

#[test]
fn an_unreachable_port_refuses_a_connection_that_opens() {
    for (code, error) in [(PORT, Error::Refused), (HOST, Error::HostUnreachable)] {
        let mut peer = Peer::new();
        let c = peer.connect(&settings());
        let syn = peer.only();
        unreachable(&mut peer, code, 0, syn.seq - 5);
        assert_eq!(peer.state(c), State::SYN_SENT, "the quoted number is none of ours");
        unreachable(&mut peer, code, 0, syn.seq);
        assert_eq!(peer.read(c, 1), Err(error));
    }
}

#[test]
fn an_icmp_error_does_not_end_an_established_connection() {
    let (mut peer, c) = Peer::established(&settings());
    peer.write(c, b"hello").unwrap();
    let sent = peer.only();
    unreachable(&mut peer, HOST, 0, sent.seq);
    assert_eq!(peer.state(c), State::ESTABLISHED);
    assert_eq!(peer.shard.counters.icmp_errors, 1);
}

#[test]
fn a_path_that_takes_less_gets_smaller_segments_at_once() {
    let mut peer = Peer::new();
    let listener = peer.listen(4, &settings());
    let options = vec![2, 4, 5, 180];
    peer.send_any(&Send { flags: SYN, seq: 9, ack: 0, window: 65_535, payload: vec![], options });
    (peer.seq, peer.ack) = (10, peer.only().seq + 1);
    peer.send(ACK, b"");
    let c = tcp::accept(&mut peer.shard, listener).unwrap();
    let bytes: Vec<u8> = (0..6000u32).map(|i| (i % 251) as u8).collect();
    peer.write(c, &bytes).unwrap();
    let sent = peer.sent();
    assert_eq!(sent[0].payload.len(), 1460);
    unreachable(&mut peer, TOO_BIG, 100, sent[0].seq);
    assert_eq!(peer.sent(), [], "an MTU that small is not believed");
    unreachable(&mut peer, TOO_BIG, 1000, sent[0].seq);
    let mut got = Vec::new();
    for _ in 0..20 {
        for segment in peer.sent() {
            assert!(segment.payload.len() <= 960, "{segment:?}");
            if segment.seq == peer.ack {
                got.extend_from_slice(&segment.payload);
                peer.ack += segment.payload.len() as u32;
            }
        }
        peer.send(ACK, b"");
        peer.wait(SECOND);
    }
    assert!(got == bytes, "{} bytes", got.len());
}

#[test]
fn a_way_that_is_asked_for_again_is_the_keepers_latest_and_counts_as_used() {
    let mut peer = Peer::new();
    let net = &mut peer.shard.net;
    let uses = |net: &stack::ip::net::Net| net.neighbours().iter().map(|n| n.uses).sum::<u32>();
    let (first, before) = (net.path(address(0)).unwrap(), uses(net));
    assert_eq!(net.path(address(0)), Some(first));
    assert_eq!(uses(net), before + 1);
    let moved =
        Neighbour { addr: address(0), mac: [9; 6], state: NeighbourState::KNOWN, ..Default::default() };
    net.set_neighbour(moved);
    assert_eq!(net.path(address(0)).map(|path| path.to), Some([9; 6]));
    net.set_neighbour(Neighbour { state: NeighbourState::FAILED, ..moved });
    assert_eq!(net.path(address(0)).map(|path| path.resolved), Some(0));
    net.replace(&[], &[], &[]);
    assert_eq!(net.path(address(0)), None);
}
