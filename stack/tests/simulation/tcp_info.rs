//! TCP_INFO tells the truth.

use crate::harness::{CLIENT, MILLISECOND, SERVER, connected, read, settle, sim, write};
use crate::peer::{ACK, Peer, Send};
use stack::link::sim::Conditions;
use stack::tcp::{self, Info, Settings};

fn info(peer: &Peer, c: stack::region::Handle<stack::tcp::Connection>) -> Info {
    tcp::info(&peer.shard, c, peer.now)
}

#[test]
fn both_ends_of_a_transfer_count_the_same_bytes_and_segments() {
    let mut sim = sim(Conditions::default(), 1);
    let (client, server) = connected(&mut sim);
    let bytes = vec![7; 50_000];
    let (mut sent, mut got) = (0, 0);
    while got < bytes.len() {
        sent += write(&mut sim, CLIENT, client, &bytes[sent..]).unwrap_or(0);
        settle(&mut sim);
        got += read(&mut sim, SERVER, server, 100_000).map_or(0, |part| part.len());
    }
    settle(&mut sim);
    let of = |end: usize, c| tcp::info(&sim.ends[end], c, sim.now);
    let (out, into) = (of(CLIENT, client), of(SERVER, server));
    // LINUX: the SYN of the side that connected counts.
    assert_eq!((out.bytes_acked, out.bytes_sent, out.bytes_resent), (50_001, 50_000, 0));
    assert_eq!((into.bytes_received, into.bytes_acked, into.bytes_sent), (50_000, 0, 0));
    assert_eq!(out.data_segments_out, into.data_segments_in);
    // The ACK of the handshake came before there was a connection to count it.
    assert_eq!((out.segments_out, into.segments_in + 1), (1 + out.data_segments_out + 1, out.segments_out));
    assert_eq!(out.delivered, out.data_segments_out + 1);
    assert!(out.delivery_rate > 0 && out.smallest_round_trip < 10_000 && out.pacing_rate > 0);
    assert_eq!((out.not_sent, out.unacknowledged, out.lost, out.resent), (0, 0, 0, 0));
    assert!(out.timestamps && out.selective && out.window_scaling && !out.ecn);
}

#[test]
fn the_times_in_which_something_held_up_sending_add_up() {
    let (mut peer, c) = Peer::established(&Settings { no_delay: 1, ..Settings::default() });
    assert_eq!((info(&peer, c).busy_time, info(&peer, c).window_limited), (0, 0));
    peer.write(c, &[1; 100]).unwrap();
    peer.sent();
    peer.wait(50 * MILLISECOND);
    // The window closes with the ACK, and there is more to send.
    peer.ack += 100;
    let (seq, ack) = (peer.seq, peer.ack);
    let shut = Send { flags: ACK, seq, ack, window: 0, payload: vec![], options: vec![] };
    peer.send_any(&shut);
    peer.write(c, &[2; 100]).unwrap();
    peer.wait(70 * MILLISECOND);
    let now = info(&peer, c);
    assert!((115_000..=125_000).contains(&now.busy_time), "{now:?}");
    assert!((65_000..=75_000).contains(&now.window_limited), "{now:?}");
    assert_eq!((now.send_window, now.not_sent), (0, 100));
    peer.send(ACK, b"");
    peer.sent();
    peer.ack += 100;
    peer.send(ACK, b"");
    let before = info(&peer, c).busy_time;
    peer.wait(100 * MILLISECOND);
    assert_eq!(info(&peer, c).busy_time, before, "nothing to send");
}

#[test]
fn timeouts_and_what_they_repeat_are_counted() {
    let (mut peer, c) = Peer::established(&Settings { no_delay: 1, ..Settings::default() });
    peer.write(c, &[1; 100]).unwrap();
    peer.only();
    let mut resent = 0;
    for _ in 0..20 {
        peer.wait(50 * MILLISECOND);
        resent += peer.sent().len() as u32;
    }
    let late = info(&peer, c);
    assert_eq!((u32::from(late.retransmits), u32::from(late.timeouts)), (resent, resent));
    assert_eq!((late.timeout_rows, late.total_retransmissions), (1, resent));
    assert_eq!((late.bytes_resent, late.bytes_sent), (u64::from(resent) * 100, u64::from(resent + 1) * 100));
    peer.ack += 100;
    peer.send(ACK, b"");
    let mended = info(&peer, c);
    assert_eq!((mended.retransmits, mended.timeout_rows, mended.bytes_acked), (0, 1, 100));
    assert!((500..1000).contains(&mended.timeout_time), "{mended:?}");
}

#[test]
fn what_comes_out_of_order_is_counted() {
    let (mut peer, c) = Peer::established(&Settings::default());
    peer.send_at(peer.seq + 100, ACK, &[2; 100]);
    peer.send_at(peer.seq + 300, ACK, &[4; 100]);
    peer.send_at(peer.seq, ACK, &[1; 100]);
    let now = info(&peer, c);
    assert_eq!((now.segments_beyond, now.data_segments_in, now.bytes_received), (2, 3, 200));
}
