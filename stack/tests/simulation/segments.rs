//! What single segments do to an established connection.

use crate::harness::{MILLISECOND, SECOND};
use crate::peer::*;
use stack::Error;
use stack::link::sim::address;
use stack::region::Tenure;
use stack::tcp::{self, Settings, State};

fn plain() -> Settings {
    Settings { no_delay: 1, ..Settings::default() }
}

#[test]
fn a_blind_reset_is_challenged_and_only_the_exact_one_believed() {
    let (mut peer, c) = Peer::established(&plain());
    let next = peer.seq;
    peer.send_at(next + 1000, RST, b"");
    let challenge = peer.only();
    assert_eq!((challenge.flags, challenge.ack), (ACK, next));
    peer.send_at(next + 2000, RST, b"");
    assert_eq!(peer.sent(), [], "one challenge in a while");
    peer.send_at(next - 1, RST, b"");
    assert_eq!((peer.sent(), peer.state(c)), (vec![], State::ESTABLISHED));
    peer.send_at(next, RST, b"");
    assert_eq!(peer.sent(), []);
    assert_eq!(peer.read(c, 1), Err(Error::Reset));
    assert_eq!(peer.read(c, 1), Ok(vec![]));
    assert_eq!(peer.write(c, b"x"), Err(Error::Pipe));
}

#[test]
fn a_syn_on_an_established_connection_is_challenged() {
    let (mut peer, c) = Peer::established(&plain());
    peer.send_at(peer.seq, SYN, b"");
    assert_eq!(peer.only().flags, ACK);
    assert_eq!(peer.state(c), State::ESTABLISHED);
}

#[test]
fn received_bytes_stay_readable_after_a_reset() {
    let (mut peer, c) = Peer::established(&plain());
    peer.send(ACK, b"last words");
    peer.sent();
    peer.send_at(peer.seq, RST, b"");
    assert_eq!(peer.read(c, 100), Ok(b"last words".to_vec()));
    assert_eq!(peer.read(c, 100), Err(Error::Reset));
}

#[test]
fn overlapping_and_reordered_segments_come_out_as_one_stream() {
    let (mut peer, c) = Peer::established(&plain());
    let base = peer.seq;
    let whole: Vec<u8> = (0..60).collect();
    for (from, to) in [(40, 50), (10, 20), (15, 45), (30, 35), (5, 12), (45, 60)] {
        peer.send_at(base + from, ACK, &whole[from as usize..to as usize]);
    }
    let acks: Vec<u32> = peer.sent().iter().map(|s| s.ack).collect();
    assert_eq!(acks, [base; 6], "each segment beyond the hole repeats the same ACK");
    assert_eq!(peer.read(c, 100), Err(Error::Again));
    peer.send_at(base, ACK, &whole[..8]);
    assert_eq!(peer.only().ack, base + 60);
    assert_eq!(peer.read(c, 100), Ok(whole));
}

#[test]
fn a_fin_that_overtakes_its_data_waits_for_it() {
    let (mut peer, c) = Peer::established(&plain());
    let base = peer.seq;
    peer.send_at(base + 4, ACK | FIN, b"5678");
    assert_eq!(peer.only().ack, base);
    assert_eq!(peer.state(c), State::ESTABLISHED);
    peer.send_at(base, ACK, b"1234");
    assert_eq!(peer.only().ack, base + 9);
    assert_eq!(peer.state(c), State::CLOSE_WAIT);
    assert_eq!(peer.read(c, 100), Ok(b"12345678".to_vec()));
    assert_eq!(peer.read(c, 100), Ok(vec![]));
}

#[test]
fn every_second_full_segment_is_acknowledged_and_a_lone_one_within_forty_milliseconds() {
    let (mut peer, c) = Peer::established(&plain());
    // The first segments are acknowledged at once; an answer of ours tells that a reply carries the ACK.
    peer.send(ACK, &[1; 1448]);
    assert_eq!(peer.only().ack, peer.seq);
    peer.write(c, b"answer").unwrap();
    peer.ack = peer.only().seq + 6;
    peer.send(ACK, &[2; 1448]);
    assert_eq!(peer.sent(), []);
    peer.send(ACK, &[3; 1448]);
    assert_eq!(peer.only().ack, peer.seq);
    peer.send(ACK, &[4; 1448]);
    peer.wait(38 * MILLISECOND);
    assert_eq!(peer.sent(), []);
    peer.wait(4 * MILLISECOND);
    assert_eq!(peer.only().ack, peer.seq);
}

#[test]
fn nagle_holds_a_second_small_segment_back_until_the_first_is_acknowledged() {
    let (mut peer, c) = Peer::established(&Settings::default());
    peer.write(c, b"one").unwrap();
    assert_eq!(peer.only().payload, b"one");
    peer.write(c, b"two").unwrap();
    peer.write(c, b"three").unwrap();
    assert_eq!(peer.sent(), []);
    peer.ack += 3;
    peer.send(ACK, b"");
    assert_eq!(peer.only().payload, b"twothree");

    let (mut peer, c) = Peer::established(&plain());
    peer.write(c, b"one").unwrap();
    peer.write(c, b"two").unwrap();
    let payloads: Vec<_> = peer.sent().into_iter().map(|s| s.payload).collect();
    assert_eq!(payloads, [b"one", b"two"]);
}

#[test]
fn a_cork_holds_a_partial_segment_for_two_tenths_of_a_second_at_most() {
    let (mut peer, c) = Peer::established(&Settings { cork: 1, ..Settings::default() });
    peer.write(c, &[7; 2000]).unwrap();
    let full: Vec<_> = peer.sent().iter().map(|s| s.payload.len()).collect();
    assert_eq!(full, [536; 3], "the peer named no MSS");
    peer.ack += 3 * 536;
    peer.send(ACK, b"");
    peer.wait(190 * MILLISECOND);
    assert_eq!(peer.sent(), []);
    peer.wait(20 * MILLISECOND);
    assert_eq!(peer.only().payload.len(), 2000 - 3 * 536);
}

#[test]
fn the_segment_that_three_duplicate_acks_ask_for_is_sent_at_once() {
    let (mut peer, c) = Peer::established(&plain());
    peer.write(c, &[7; 536 * 8]).unwrap();
    let sent = peer.sent();
    assert_eq!(sent.len(), 8);
    let base = peer.ack;
    for nth in 1..=3 {
        peer.send(ACK, b"");
        let again = peer.sent();
        if nth < 3 {
            assert_eq!(again, []);
        } else {
            assert_eq!((again[0].seq, again.len()), (base, 1));
        }
    }
    // A partial ACK: the next hole is repaired without more duplicates (RFC 6582).
    peer.ack = base + 536 * 3;
    peer.send(ACK, b"");
    assert_eq!(peer.only().seq, base + 536 * 3);
    assert_eq!(peer.shard.counters.tcp_fast_recoveries, 1);
}

#[test]
fn silence_is_met_with_doubling_timeouts_until_the_connection_is_given_up() {
    let (mut peer, c) = Peer::established(&plain());
    peer.write(c, b"anybody?").unwrap();
    let first = peer.only();
    let start = peer.now;
    let mut gaps = Vec::new();
    let mut last = start;
    while peer.state(c) != State::CLOSED && peer.now < start + 3000 * SECOND {
        peer.wait(10 * MILLISECOND);
        for again in peer.sent() {
            assert_eq!((again.seq, again.payload.as_slice()), (first.seq, &b"anybody?"[..]));
            gaps.push((peer.now - last) / (100 * MILLISECOND));
            last = peer.now;
        }
    }
    assert_eq!(gaps[..6], [2, 4, 8, 16, 32, 64], "tenths of a second");
    assert!(gaps[11..].iter().all(|&g| (1195..=1205).contains(&g)), "{gaps:?}");
    assert!((900..1050).contains(&((peer.now - start) / SECOND)), "{}", (peer.now - start) / SECOND);
    assert_eq!(peer.read(c, 1), Err(Error::TimedOut));
}

#[test]
fn a_user_timeout_gives_up_earlier() {
    let (mut peer, c) = Peer::established(&Settings { user_timeout: 3000, ..plain() });
    peer.write(c, b"x").unwrap();
    peer.wait(10 * SECOND);
    assert_eq!(peer.read(c, 1), Err(Error::TimedOut));
}

#[test]
fn a_closed_window_is_probed_and_the_rest_goes_when_it_opens() {
    let (mut peer, c) = Peer::established(&plain());
    peer.write(c, &[9; 536]).unwrap();
    peer.only();
    peer.ack += 536;
    peer.send_any(&Send {
        flags: ACK,
        seq: peer.seq,
        ack: peer.ack,
        window: 0,
        payload: vec![],
        options: vec![],
    });
    peer.write(c, b"more").unwrap();
    assert_eq!(peer.sent(), []);
    let mut probes = 0;
    for _ in 0..300 {
        peer.wait(100 * MILLISECOND);
        for probe in peer.sent() {
            assert_eq!((probe.seq, probe.payload.len()), (peer.ack - 1, 0));
            probes += 1;
            let (seq, ack) = (peer.seq, peer.ack);
            peer.send_any(&Send { flags: ACK, seq, ack, window: 0, payload: vec![], options: vec![] });
        }
    }
    assert!((6..=9).contains(&probes), "{probes} probes in half a minute");
    peer.send(ACK, b"");
    assert_eq!(peer.only().payload, b"more");
    assert_eq!(peer.state(c), State::ESTABLISHED);
}

#[test]
fn our_window_closes_when_nobody_reads_and_never_shrinks() {
    let (mut peer, c) = Peer::established(&Settings { receive_buffer: 65_536, buffers_fixed: 2, ..plain() });
    let (mut edge, mut total) = (0u32, 0);
    loop {
        peer.send(ACK, &[5; 1000]);
        total += 1000;
        peer.wait(50 * MILLISECOND);
        let Some(last) = peer.sent().pop() else { continue };
        let right = last.ack.wrapping_add(u32::from(last.window));
        assert!(edge == 0 || right.wrapping_sub(edge) as i32 >= 0, "the window shrank");
        edge = right;
        if last.window < 1000 {
            break;
        }
    }
    assert!((25_000..66_000).contains(&total), "{total}");
    // What lies beyond the window is not taken.
    let before = tcp::unread(&peer.shard, c);
    peer.send_at(edge + 10, ACK, &[5; 1000]);
    assert_eq!(tcp::unread(&peer.shard, c), before);
    peer.sent();
    assert_eq!(peer.read(c, 1 << 20).unwrap().len(), total);
    assert!(peer.only().window > 30_000, "the peer hears of the room");
}

#[test]
fn a_flood_of_single_bytes_does_not_take_the_frames() {
    let (mut peer, c) = Peer::established(&plain());
    for i in 0..3000u32 {
        peer.send(ACK, &[i as u8]);
        peer.sent();
    }
    let held = peer.shard.frames.used().filter(|(_, m)| m.tenure == Tenure::RECEIVED).count();
    assert!(held <= 3, "{held} frames for 3,000 bytes");
    assert_eq!(peer.read(c, 4000), Ok((0..3000u32).map(|i| i as u8).collect()));
}

#[test]
fn a_peer_that_keeps_silent_is_found_dead_by_keep_alive() {
    let settings = Settings { keep_alive: 1, keep_idle: 10, keep_interval: 2, keep_count: 3, ..plain() };
    let (mut peer, c) = Peer::established(&settings);
    peer.wait(9 * SECOND);
    assert_eq!(peer.sent(), []);
    peer.wait(2 * SECOND);
    let probe = peer.only();
    assert_eq!((probe.seq, probe.flags, probe.payload.len()), (peer.ack - 1, ACK, 0));
    // An answer buys another ten seconds.
    peer.send(ACK, b"");
    peer.wait(9 * SECOND);
    assert_eq!(peer.sent(), []);
    peer.wait(10 * SECOND);
    let last = peer.sent();
    assert_eq!(last.iter().map(|s| s.flags & RST).collect::<Vec<_>>(), [0, 0, 0, RST]);
    assert_eq!(peer.read(c, 1), Err(Error::TimedOut));
}

#[test]
fn a_keep_alive_probe_of_the_peer_is_answered() {
    let (mut peer, _) = Peer::established(&plain());
    peer.send_at(peer.seq - 1, ACK, b"");
    assert_eq!(peer.only().ack, peer.seq);
}

#[test]
fn an_old_timestamp_marks_a_duplicate_unless_it_is_a_reset() {
    let stamp = |value: u32| {
        let mut options = vec![1, 1, 8, 10];
        options.extend(value.to_be_bytes());
        options.extend([0; 4]);
        options
    };
    let mut peer = Peer::new();
    let listener = peer.listen(4, &plain());
    let syn = [vec![2, 4, 5, 180], stamp(1000)].concat();
    peer.send_any(&Send { flags: SYN, seq: 1, ack: 0, window: 9000, payload: vec![], options: syn });
    let ack = peer.only().seq + 1;
    let segment = |seq, value, payload: &[u8]| Send {
        flags: ACK,
        seq,
        ack,
        window: 9000,
        payload: payload.to_vec(),
        options: stamp(value),
    };
    peer.send_any(&segment(2, 1001, b"new"));
    let c = tcp::accept(&mut peer.shard, listener).unwrap();
    peer.sent();
    peer.send_any(&segment(5, 999, b"old"));
    assert_eq!(peer.only().ack, 5);
    assert_eq!(peer.shard.counters.tcp_old_timestamp, 1);
    peer.send_any(&Send { flags: RST, ..segment(5, 1, b"") });
    assert_eq!(peer.read(c, 10), Ok(b"new".to_vec()));
    assert_eq!(peer.read(c, 10), Err(Error::Reset));
}

#[test]
fn a_wrong_checksum_is_dropped_and_a_partial_one_taken_on_a_virtual_device_only() {
    let (mut peer, c) = Peer::established(&plain());
    let segment = |peer: &Peer| Send {
        flags: ACK,
        seq: peer.seq,
        ack: peer.ack,
        window: 9000,
        payload: b"data".to_vec(),
        options: vec![],
    };
    let mut frame = peer.frame(&segment(&peer));
    frame[51] ^= 1;
    peer.give(&frame);
    assert_eq!(peer.shard.counters.tcp_bad_checksum, 1);
    let pseudo =
        stack::wire::checksum::pseudo_header(address(0).0, address(1).0, 6, (frame.len() - 34) as u16);
    let partial = stack::wire::checksum::fold(pseudo);
    frame[50..52].copy_from_slice(&partial.to_be_bytes());
    peer.give(&frame);
    assert_eq!(peer.shard.counters.tcp_bad_checksum, 2);
    let devices: Vec<_> =
        peer.shard.net.devices().iter().map(|d| stack::ip::net::Device { is_virtual: 1, ..*d }).collect();
    let (addresses, routes) = (peer.shard.net.addresses().to_vec(), peer.shard.net.routes().to_vec());
    peer.shard.net.replace(&devices, &addresses, &routes);
    peer.give(&frame);
    tcp::end_of_burst(&mut peer.shard, peer.now);
    assert_eq!(peer.read(c, 10), Ok(b"data".to_vec()));
}

#[test]
fn a_fin_waits_for_a_window_too() {
    let (mut peer, c) = Peer::established(&plain());
    let (seq, ack) = (peer.seq, peer.ack);
    peer.send_any(&Send { flags: ACK, seq, ack, window: 0, payload: vec![], options: vec![] });
    peer.close(c);
    assert_eq!(peer.sent(), []);
    peer.wait(SECOND);
    assert!(peer.sent().iter().all(|s| s.flags & FIN == 0 && s.seq == ack - 1), "probes only");
    peer.send(ACK, b"");
    assert_eq!(peer.only().flags, FIN | ACK);
}

#[test]
fn the_round_trip_is_measured_from_sending_to_acknowledgement() {
    let (mut peer, c) = Peer::established(&plain());
    for _ in 0..40 {
        peer.write(c, b"tick").unwrap();
        peer.sent();
        peer.wait(30 * MILLISECOND);
        peer.ack += 4;
        peer.send(ACK, b"");
    }
    let info = tcp::info(&peer.shard, c, peer.now);
    assert!((28_000..32_000).contains(&info.round_trip), "{info:?}");
    assert!((228_000..240_000).contains(&info.timeout), "{info:?}");
}

#[test]
fn an_echo_of_an_earlier_transmission_does_not_stretch_the_round_trip() {
    let mut peer = Peer::new();
    let listener = peer.listen(4, &plain());
    let stamps = |value: u32, echo: &[u8]| [&[1, 1, 8, 10], &value.to_be_bytes()[..], echo].concat();
    let say = |peer: &mut Peer, flags, value, echo: &[u8]| {
        let (seq, ack, options) = (peer.seq, peer.ack, stamps(value, echo));
        peer.send_any(&Send { flags, seq, ack, window: 9000, payload: vec![], options });
    };
    say(&mut peer, SYN, 1, &[0; 4]);
    (peer.seq, peer.ack) = (peer.seq + 1, peer.only().seq + 1);
    say(&mut peer, ACK, 2, &[0; 4]);
    let c = tcp::accept(&mut peer.shard, listener).unwrap();
    peer.write(c, b"lost").unwrap();
    let original = peer.only();
    // The peer had it at once, but its ACK was lost; it answers the third transmission with the echo of the first.
    for wait in [250, 400] {
        peer.wait(wait * MILLISECOND);
        assert_eq!(peer.only().payload, b"lost");
    }
    peer.ack += 4;
    say(&mut peer, ACK, 3, &original.options[8 - 4..8]);
    let info = tcp::info(&peer.shard, c, peer.now);
    assert_eq!((info.unacknowledged, info.backoff), (0, 0));
    assert!(info.round_trip < 20_000, "50 ms since the last transmission, 650 since the first: {info:?}");
}

#[test]
fn segments_in_order_have_an_ack_of_their_own_before_the_first_beyond_a_hole() {
    let (mut peer, _c) = Peer::established(&plain());
    let frame = |seq| Send { flags: ACK, seq, ack: 0, window: 9000, payload: vec![1; 100], options: vec![] };
    let (base, ack) = (peer.seq, peer.ack);
    for seq in [base, base + 200, base + 300, base + 400] {
        let frame = peer.frame(&Send { ack, ..frame(seq) });
        peer.give(&frame);
    }
    tcp::end_of_burst(&mut peer.shard, peer.now);
    // The sender counts three duplicates, not two, and repairs the hole at once.
    assert_eq!(peer.sent().iter().map(|s| s.ack).collect::<Vec<_>>(), [base + 100; 4]);
}

#[test]
fn a_bulk_reader_sends_no_ack_for_each_read() {
    let (mut peer, c) = Peer::established(&plain());
    for _ in 0..40 {
        peer.send(ACK, &[3; 1000]);
    }
    peer.sent();
    for _ in 0..400 {
        assert_eq!(peer.read(c, 100).unwrap().len(), 100);
    }
    assert!(peer.sent().len() <= 2);
}

#[test]
fn peers_whose_bytes_nobody_reads_cannot_take_the_last_frames() {
    let mut peer = Peer::new();
    let large = Settings { receive_buffer: 1 << 20, buffers_fixed: 2, ..plain() };
    let listener = peer.listen(8, &large);
    let mut flood = Vec::new();
    for port in 1..=6 {
        (peer.port, peer.seq) = (port, 10_000);
        let c = peer.join(listener);
        flood.push((port, c, peer.ack));
    }
    for round in 0..360u32 {
        for &(port, _, ack) in &flood {
            (peer.port, peer.ack) = (port, ack);
            peer.send_at(10_001 + round * 1000, ACK, &[1; 1000]);
        }
        peer.sent();
    }
    assert!(peer.shard.frames.available() >= 30, "{} frames left", peer.shard.frames.available());
    assert!(peer.shard.counters.no_frame > 0);
    // Another connection opens, and its ACKs get through.
    (peer.port, peer.seq) = (7, 10_000);
    let c = peer.join(listener);
    let ack = peer.ack;
    for &(_, c, _) in &flood {
        while peer.read(c, 1 << 16).is_ok() {}
    }
    peer.sent();
    peer.ack = ack;
    peer.send(ACK, b"goes on");
    assert_eq!(peer.read(c, 10), Ok(b"goes on".to_vec()));
    assert_eq!(peer.write(c, b"as before"), Ok(9));
}
