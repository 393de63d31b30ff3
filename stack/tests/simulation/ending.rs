//! The end of connections: both orders, TIME_WAIT, orphans, resets.

use crate::harness::SECOND;
use crate::peer::*;
use stack::Error;
use stack::tcp::{self, Settings, State};

fn settings() -> Settings {
    Settings { no_delay: 1, ..Settings::default() }
}

#[test]
fn closing_first_goes_over_fin_wait_to_time_wait() {
    let (mut peer, c) = Peer::established(&settings());
    peer.close(c);
    let fin = peer.only();
    assert_eq!(fin.flags, FIN | ACK);
    assert_eq!(peer.state(c), State::FIN_WAIT_1);
    peer.ack += 1;
    peer.send(ACK, b"");
    assert_eq!(peer.entry_state(), State::FIN_WAIT_2);
    peer.send(FIN | ACK, b"");
    assert_eq!(peer.only().ack, peer.seq);
    assert_eq!((peer.shard.connections.in_use(), peer.shard.time_waits.in_use()), (0, 1));
    // The last ACK may get lost: the FIN comes again and is acknowledged again, and the wait begins anew.
    peer.wait(50 * SECOND);
    peer.send_at(peer.seq - 1, FIN | ACK, b"");
    let again = peer.only();
    assert_eq!((again.flags, again.seq, again.ack), (ACK, peer.ack, peer.seq));
    peer.wait(59 * SECOND);
    assert_eq!(peer.shard.time_waits.in_use(), 1);
    peer.wait(2 * SECOND);
    assert_eq!(peer.shard.time_waits.in_use(), 0);
}

#[test]
fn closing_second_goes_over_close_wait_and_last_ack() {
    let (mut peer, c) = Peer::established(&settings());
    peer.send(FIN | ACK, b"bye");
    assert_eq!(peer.only().ack, peer.seq);
    assert_eq!(peer.state(c), State::CLOSE_WAIT);
    assert_eq!(peer.read(c, 10), Ok(b"bye".to_vec()));
    peer.close(c);
    assert_eq!(peer.only().flags, FIN | ACK);
    assert_eq!(peer.state(c), State::LAST_ACK);
    peer.ack += 1;
    peer.send(ACK, b"");
    assert_eq!((peer.shard.connections.in_use(), peer.shard.time_waits.in_use()), (0, 0));
    assert_eq!(peer.sent(), []);
}

#[test]
fn closing_at_once_goes_over_closing() {
    let (mut peer, c) = Peer::established(&settings());
    peer.close(c);
    peer.only();
    peer.send(FIN | ACK, b"");
    assert_eq!(peer.state(c), State::CLOSING);
    assert_eq!(peer.only().ack, peer.seq);
    peer.ack += 1;
    peer.send(ACK, b"");
    assert_eq!((peer.shard.connections.in_use(), peer.shard.time_waits.in_use()), (0, 1));
}

#[test]
fn what_was_written_before_close_arrives_with_the_fin_behind_it() {
    let (mut peer, c) = Peer::established(&settings());
    peer.write(c, &[1; 5360]).unwrap();
    peer.close(c);
    let sent = peer.sent();
    assert_eq!(sent.iter().map(|s| s.payload.len()).sum::<usize>(), 5360);
    assert_eq!(sent.iter().filter(|s| s.flags & FIN != 0).count(), 1);
    assert_eq!(sent.last().unwrap().flags & FIN, FIN);
    // All of it is lost; all of it comes again, the FIN too.
    peer.wait(SECOND);
    assert!(peer.sent().iter().all(|s| s.seq == peer.ack));
    for _ in 0..10 {
        peer.ack += 536;
        peer.send(ACK, b"");
        if let Some(last) = peer.sent().last()
            && last.flags & FIN != 0
        {
            peer.ack = last.seq + last.payload.len() as u32 + 1;
            peer.send(ACK, b"");
            break;
        }
    }
    assert_eq!(peer.entry_state(), State::FIN_WAIT_2);
}

#[test]
fn an_orphan_whose_peer_never_closes_is_given_up_after_a_minute() {
    let (mut peer, c) = Peer::established(&settings());
    peer.close(c);
    peer.only();
    peer.ack += 1;
    peer.send(ACK, b"");
    assert_eq!(peer.shard.connections.in_use(), 0, "a small entry is enough");
    peer.wait(59 * SECOND);
    assert_eq!(peer.entry_state(), State::FIN_WAIT_2);
    peer.wait(2 * SECOND);
    assert_eq!((peer.entry_state(), peer.sent()), (State::CLOSED, vec![]));
}

#[test]
fn bytes_for_an_orphan_are_answered_by_a_reset() {
    let (mut peer, c) = Peer::established(&settings());
    peer.close(c);
    peer.only();
    peer.send(ACK, b"are you there?");
    assert_eq!(peer.only().flags & RST, RST);
    assert_eq!(peer.shard.connections.in_use(), 0);
}

#[test]
fn an_orphan_whose_peer_is_silent_is_given_up_sooner_than_a_connection_in_use() {
    let (mut peer, c) = Peer::established(&settings());
    peer.write(c, b"x").unwrap();
    peer.close(c);
    // LINUX: at the first timeout that lies beyond the 102 s that eight retries would take.
    peer.wait(100 * SECOND);
    assert_eq!(peer.state(c), State::FIN_WAIT_1);
    peer.wait(110 * SECOND);
    assert_eq!(peer.shard.connections.in_use(), 0);
}

#[test]
fn lingering_for_no_time_resets() {
    let (mut peer, c) = Peer::established(&Settings { linger: 1, ..settings() });
    peer.write(c, b"lost").unwrap();
    peer.close(c);
    assert_eq!(peer.sent().last().unwrap().flags & RST, RST);
    assert_eq!((peer.shard.connections.in_use(), peer.shard.time_waits.in_use()), (0, 0));
}

#[test]
fn a_new_syn_reopens_a_connection_in_time_wait_and_an_old_one_does_not() {
    let mut peer = Peer::new();
    let listener = peer.listen(8, &settings());
    let c = peer.join(listener);
    peer.close(c);
    peer.only();
    peer.ack += 1;
    peer.send(FIN | ACK, b"");
    peer.only();
    let end = peer.seq;
    peer.send_at(end - 500, SYN, b"");
    assert_eq!(peer.only().flags, ACK);
    assert_eq!(peer.shard.time_waits.in_use(), 1);
    peer.seq = end + 1000;
    peer.open();
    assert_eq!(peer.shard.time_waits.in_use(), 0);
    assert!(tcp::accept(&mut peer.shard, listener).is_some());
}

#[test]
fn a_reset_in_its_place_ends_time_wait() {
    let (mut peer, c) = Peer::established(&settings());
    peer.close(c);
    peer.ack += 1;
    peer.send(FIN | ACK, b"");
    peer.sent();
    peer.send_at(peer.seq + 5, RST, b"");
    assert_eq!(peer.shard.time_waits.in_use(), 1);
    peer.send_at(peer.seq, RST, b"");
    assert_eq!(peer.shard.time_waits.in_use(), 0);
}

#[test]
fn a_program_that_has_not_closed_yet_sees_the_end_of_an_ended_connection() {
    let (mut peer, c) = Peer::established(&settings());
    tcp::shutdown_write(&mut peer.shard, c, peer.now);
    peer.only();
    peer.ack += 1;
    peer.send(FIN | ACK, b"tail");
    assert_eq!(peer.shard.time_waits.in_use(), 1);
    assert_eq!(peer.read(c, 10), Ok(b"tail".to_vec()));
    assert_eq!(peer.read(c, 10), Ok(vec![]));
    assert_eq!(peer.write(c, b"x"), Err(Error::Pipe));
    peer.close(c);
    peer.sent();
    assert_eq!(peer.shard.connections.in_use(), 0);
}

#[test]
fn a_segment_for_nobody_is_answered_by_a_reset_that_its_sender_believes() {
    let mut peer = Peer::new();
    peer.ack = 777;
    peer.send_at(100, ACK, b"abc");
    let reset = peer.only();
    assert_eq!((reset.flags, reset.seq), (RST, 777));
    peer.send_at(100, SYN, b"");
    let reset = peer.only();
    assert_eq!((reset.flags, reset.seq, reset.ack), (RST | ACK, 0, 101));
    peer.send_at(100, RST, b"");
    assert_eq!(peer.sent(), []);
}

#[test]
fn late_segments_get_few_answers_from_what_is_half_open_or_over() {
    let mut peer = Peer::new();
    let listener = peer.listen(8, &settings());
    peer.send(SYN, b"");
    peer.ack = peer.only().seq + 1;
    for _ in 0..100 {
        peer.send_at(peer.seq - 5000, ACK, b"");
    }
    assert!(peer.sent().len() <= 1, "half open");
    peer.send(ACK, b"");
    let c = tcp::accept(&mut peer.shard, listener).unwrap();
    stack::socket::hold(&mut peer.shard, stack::socket::SocketRef::Connection(c), 1).unwrap();
    peer.close(c);
    peer.ack += 1;
    peer.send(FIN | ACK, b"");
    peer.sent();
    for _ in 0..100 {
        peer.send_at(peer.seq - 5000, ACK, b"");
    }
    assert!(peer.sent().len() <= 1, "TIME_WAIT");
    // LINUX: bytes are no part of a loop of ACKs.
    peer.send_at(peer.seq - 5000, ACK, b"old");
    peer.send_at(peer.seq - 5000, ACK, b"old");
    assert_eq!(peer.sent().len(), 2);
}
