//! SO_REUSEPORT: several listeners share the flows of one address and port.

use crate::peer::*;
use stack::Error;
use stack::ip::net::Addr;
use stack::link::sim::address;
use stack::region::Handle;
use stack::socket::{self, SocketRef};
use stack::tcp::{self, Listener, Settings};

fn shared() -> Settings {
    Settings { reuse_port: 1, ..Settings::default() }
}

fn listen(peer: &mut Peer, addr: Addr, settings: &Settings) -> Result<Handle<Listener>, Error> {
    let l = socket::listen(&mut peer.shard, (addr, 80), 4096, settings)?;
    socket::hold(&mut peer.shard, SocketRef::Listener(l), 1).unwrap();
    Ok(l)
}

/// Opens from these ports; which listener got each.
fn spread(peer: &mut Peer, group: &[Handle<Listener>], ports: core::ops::Range<u16>) -> Vec<usize> {
    let mut got = Vec::new();
    for port in ports {
        (peer.port, peer.seq) = (port, 9000);
        peer.open();
        let mut takers =
            (0..group.len()).filter_map(|i| tcp::accept(&mut peer.shard, group[i]).map(|c| (i, c)));
        let (taker, c) = takers.next().expect("somebody got it");
        assert!(takers.next().is_none());
        got.push(taker);
        tcp::abort(&mut peer.shard, c, peer.now);
        tcp::close(&mut peer.shard, c, peer.now);
        peer.sent();
    }
    got
}

#[test]
fn flows_are_spread_evenly_and_each_stays_where_it_is() {
    let mut peer = Peer::new();
    let group: Vec<_> = (0..4).map(|_| listen(&mut peer, address(1), &shared()).unwrap()).collect();
    let first = spread(&mut peer, &group, 1000..1400);
    assert_eq!(spread(&mut peer, &group, 1000..1400), first);
    for member in 0..4 {
        let share = first.iter().filter(|&&got| got == member).count();
        assert!((60..140).contains(&share), "{share} of 400");
    }
}

#[test]
fn who_leaves_the_group_takes_what_was_not_accepted_along_and_the_others_go_on() {
    let mut peer = Peer::new();
    let group: Vec<_> = (0..3).map(|_| listen(&mut peer, address(1), &shared()).unwrap()).collect();
    peer.open();
    let (port, seq, ack) = (peer.port, peer.seq, peer.ack);
    let taker = group.iter().position(|&l| tcp::listener_readiness(&peer.shard, l) != 0).unwrap();
    socket::let_go(&mut peer.shard, SocketRef::Listener(group[taker]), 1, peer.now);
    let reset = peer.only();
    assert_eq!((reset.flags & RST, reset.seq), (RST, ack));
    let left: Vec<_> = (0..3).filter(|&i| i != taker).map(|i| group[i]).collect();
    spread(&mut peer, &left, 2000..2050);
    // Half-open ones go with it too, and the final ACK finds a listener that knows nothing of it.
    (peer.port, peer.seq) = (port, seq);
    for &l in &left {
        socket::let_go(&mut peer.shard, SocketRef::Listener(l), 1, peer.now);
    }
    peer.send(SYN, b"");
    assert_eq!(peer.only().flags & RST, RST);
    peer.shard.check().unwrap();
}

#[test]
fn all_of_a_group_must_want_to_share() {
    let mut peer = Peer::new();
    let own = Settings::default();
    let l = listen(&mut peer, address(1), &shared()).unwrap();
    assert_eq!(listen(&mut peer, address(1), &own), Err(Error::AddressInUse));
    assert!(listen(&mut peer, address(1), &shared()).is_ok());
    // One on all addresses is not of the group, and those on just this address go before it.
    let all = listen(&mut peer, Addr::ANY, &own).unwrap();
    assert_eq!(listen(&mut peer, Addr::ANY, &shared()), Err(Error::AddressInUse));
    for port in 3000..3050 {
        peer.port = port;
        peer.open();
    }
    assert!(tcp::accept(&mut peer.shard, all).is_none());
    assert!(tcp::accept(&mut peer.shard, l).is_some());
}

#[test]
fn a_group_is_whole_again_after_a_death() {
    let mut peer = Peer::new();
    let group: Vec<_> = (0..4).map(|_| listen(&mut peer, address(1), &shared()).unwrap()).collect();
    let before = spread(&mut peer, &group, 1000..1100);
    peer.shard.recover(peer.now);
    peer.shard.check().unwrap();
    assert_eq!(spread(&mut peer, &group, 1000..1100), before);
}
