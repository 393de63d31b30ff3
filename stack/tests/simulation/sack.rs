//! What the stack tells of segments beyond holes and of those that came twice: RFC 2018 and RFC 2883.

use crate::peer::*;
use etherparse::{TcpOptionElement, TcpOptionsIterator};
use stack::Error;
use stack::region::{Handle, Tenure};
use stack::tcp::{self, Connection, Settings};

/// MSS 1460 and SACK permitted; the same with timestamps.
const SACK: [u8; 8] = [2, 4, 5, 180, 1, 1, 4, 2];
const SACK_AND_TIMESTAMPS: [u8; 16] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0];

fn established(options: &[u8]) -> (Peer, Handle<Connection>, u32) {
    let (peer, c) = Peer::established_with(&Settings { no_delay: 1, ..Settings::default() }, options);
    let base = peer.seq;
    (peer, c, base)
}

/// The blocks of a segment, as another implementation reads them, relative to `base`.
fn blocks(seen: &Seen, base: u32) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for option in TcpOptionsIterator::from_slice(&seen.options) {
        if let TcpOptionElement::SelectiveAcknowledgement(first, rest) =
            option.expect("options that others can read")
        {
            let all = core::iter::once(Some(first)).chain(rest).flatten();
            found.extend(all.map(|(a, b)| (a.wrapping_sub(base), b.wrapping_sub(base))));
        }
    }
    found
}

/// Sends bytes `from..to` of the stream; the acknowledgement that came, and its blocks.
fn give(peer: &mut Peer, base: u32, from: u32, to: u32) -> (u32, Vec<(u32, u32)>) {
    let bytes: Vec<u8> = (from..to).map(|n| n as u8).collect();
    peer.send_at(base.wrapping_add(from), ACK, &bytes);
    let answer = peer.only();
    (answer.ack.wrapping_sub(base), blocks(&answer, base))
}

#[test]
fn the_newest_block_comes_first_and_the_most_recent_others_follow() {
    let (mut peer, c, base) = established(&SACK);
    assert_eq!(give(&mut peer, base, 100, 200), (0, vec![(100, 200)]));
    assert_eq!(give(&mut peer, base, 300, 400), (0, vec![(300, 400), (100, 200)]));
    assert_eq!(give(&mut peer, base, 500, 600), (0, vec![(500, 600), (300, 400), (100, 200)]));
    assert_eq!(give(&mut peer, base, 700, 800), (0, vec![(700, 800), (500, 600), (300, 400), (100, 200)]));
    assert_eq!(give(&mut peer, base, 900, 950).1, [(900, 950), (700, 800), (500, 600), (300, 400)]);
    // A block that grows is the newest again; two that meet become one.
    assert_eq!(give(&mut peer, base, 200, 250).1, [(100, 250), (900, 950), (700, 800), (500, 600)]);
    assert_eq!(give(&mut peer, base, 600, 700).1, [(500, 800), (100, 250), (900, 950), (300, 400)]);
    assert_eq!(give(&mut peer, base, 250, 300).1, [(100, 400), (500, 800), (900, 950)]);
    assert_eq!(give(&mut peer, base, 0, 100), (400, vec![(500, 800), (900, 950)]));
    assert_eq!(give(&mut peer, base, 400, 500), (800, vec![(900, 950)]));
    assert_eq!(give(&mut peer, base, 800, 900), (950, vec![]));
    let whole: Vec<u8> = (0..950u32).map(|n| n as u8).collect();
    assert_eq!(peer.read(c, 2000), Ok(whole));
}

#[test]
fn timestamps_leave_room_for_three_blocks() {
    let (mut peer, _, base) = established(&SACK_AND_TIMESTAMPS);
    for from in [100, 300, 500] {
        give(&mut peer, base, from, from + 50);
    }
    assert_eq!(give(&mut peer, base, 700, 750).1, [(700, 750), (500, 550), (300, 350)]);
}

#[test]
fn a_peer_that_did_not_offer_it_is_told_nothing() {
    let (mut peer, _, base) = established(&[]);
    assert_eq!(give(&mut peer, base, 100, 200), (0, vec![]));
}

#[test]
fn what_came_twice_is_the_first_block_of_one_acknowledgement() {
    let (mut peer, _, base) = established(&SACK);
    assert_eq!(give(&mut peer, base, 0, 100), (100, vec![]));
    // RFC 2883 4.1.1: a whole duplicate; 4.1.3: one while there is a hole.
    assert_eq!(give(&mut peer, base, 0, 100), (100, vec![(0, 100)]));
    assert_eq!(give(&mut peer, base, 200, 300), (100, vec![(200, 300)]));
    assert_eq!(give(&mut peer, base, 50, 100), (100, vec![(50, 100), (200, 300)]));
    // 4.2.1: a part below the acknowledgement, 4.2.2: a part within a block.
    assert_eq!(give(&mut peer, base, 50, 150), (150, vec![(50, 100), (200, 300)]));
    assert_eq!(give(&mut peer, base, 250, 350), (150, vec![(250, 300), (200, 350)]));
    assert_eq!(give(&mut peer, base, 400, 450), (150, vec![(400, 450), (200, 350)]));
    assert_eq!(give(&mut peer, base, 210, 220), (150, vec![(210, 220), (200, 350), (400, 450)]));
    // What fills a hole and overlaps what lies behind it.
    assert_eq!(give(&mut peer, base, 150, 250), (350, vec![(200, 250), (400, 450)]));
    assert_eq!(peer.shard.counters.tcp_duplicates_reported, 6);
}

#[test]
fn each_of_many_duplicates_in_a_burst_is_told_of() {
    let (mut peer, _, base) = established(&SACK);
    give(&mut peer, base, 0, 300);
    for from in [0, 100, 200] {
        let bytes: Vec<u8> = vec![0; 100];
        let seq = base.wrapping_add(from);
        let (ack, window) = (peer.ack, 65_535);
        let frame = peer.frame(&Send { flags: ACK, seq, ack, window, payload: bytes, options: vec![] });
        peer.give(&frame);
    }
    let told: Vec<_> = peer.sent().iter().map(|s| blocks(s, base)).collect();
    assert_eq!(told, [[(0, 100)], [(100, 200)], [(200, 300)]]);
}

#[test]
fn duplicates_are_not_told_of_when_the_namespace_says_so() {
    let (mut peer, _, base) = established(&SACK);
    peer.shard.head.sysctls.tcp_dsack = 0;
    give(&mut peer, base, 0, 100);
    assert_eq!(give(&mut peer, base, 0, 100), (100, vec![]));
    assert_eq!(give(&mut peer, base, 200, 300), (100, vec![(200, 300)]));
    assert_eq!(give(&mut peer, base, 200, 300), (100, vec![(200, 300)]));
}

#[test]
fn a_segment_over_several_blocks_and_holes_makes_one_of_them() {
    let (mut peer, c, base) = established(&SACK);
    for from in [100, 200, 300, 420] {
        give(&mut peer, base, from, from + 50);
    }
    let (_, told) = give(&mut peer, base, 80, 400);
    assert_eq!(told, [(100, 150), (80, 400), (420, 470)], "the first overlap is the one that is told of");
    assert_eq!(give(&mut peer, base, 380, 430).1[1..], [(80, 470)]);
    assert_eq!(give(&mut peer, base, 0, 80), (470, vec![]));
    let whole: Vec<u8> = (0..470u32).map(|n| n as u8).collect();
    assert_eq!(peer.read(c, 2000), Ok(whole));
}

#[test]
fn small_segments_that_follow_each_other_beyond_a_hole_share_a_frame() {
    let (mut peer, c, base) = established(&SACK);
    for n in 0..200 {
        let from = 100 + n * 4;
        assert_eq!(give(&mut peer, base, from, from + 4), (0, vec![(100, from + 4)]));
    }
    let held =
        |peer: &Peer| peer.shard.frames.used().filter(|(_, m)| m.tenure == Tenure::OUT_OF_ORDER).count();
    assert_eq!(held(&peer), 1);
    assert_eq!(give(&mut peer, base, 0, 100), (900, vec![]));
    let whole: Vec<u8> = (0..900u32).map(|n| n as u8).collect();
    assert_eq!(peer.read(c, 2000), Ok(whole));
}

#[test]
fn tiny_holes_without_end_cost_no_more_memory_than_the_buffer_and_leave_the_connection_whole() {
    let (mut peer, c, base) = established(&SACK);
    let held =
        |peer: &Peer| peer.shard.frames.used().filter(|(_, m)| m.tenure == Tenure::OUT_OF_ORDER).count();
    let before = peer.shard.frames.available();
    // Every second byte of the window, from behind and from the front, again and again.
    for round in 0..3 {
        for n in 0..8_000u32 {
            let place = if round % 2 == 0 { 32_000 - 2 * n } else { 2 * n + 2 };
            peer.send_at(base.wrapping_add(place), ACK, &[place as u8]);
            for seen in peer.sent_unchecked() {
                assert!(blocks(&seen, base).len() <= 4);
            }
        }
        peer.shard.check().unwrap();
        let total = peer.shard.frames.total();
        assert!(peer.shard.frames.available() >= total / 4 - 1, "scarcity bounds it");
        assert!(held(&peer) <= 1024);
    }
    assert!(peer.shard.counters.tcp_pruned > 0);
    assert_eq!(peer.read(c, 1), Err(Error::Again));
    // The stream itself goes on, and takes with it what was kept.
    let mut got = Vec::new();
    for n in 0..40 {
        let bytes: Vec<u8> = (n * 1000..(n + 1) * 1000u32).map(|n| n as u8).collect();
        peer.send_at(base.wrapping_add(n * 1000), ACK, &bytes);
        peer.sent();
        got.extend(peer.read(c, 2000).unwrap());
    }
    assert!(got.iter().zip(0u32..).all(|(&byte, n)| byte == n as u8) && got.len() == 40_000);
    assert!(held(&peer) == 0 && peer.shard.frames.available() >= before - 1);
}

#[test]
fn a_segment_nearer_to_the_reader_takes_the_place_of_the_farthest() {
    let (mut peer, _, base) = established(&SACK);
    for n in 0..peer.shard.frames.total() {
        peer.send_at(base.wrapping_add(60_000 - 2 * n), ACK, b"x");
        peer.sent_unchecked();
    }
    let pruned = peer.shard.counters.tcp_pruned;
    assert!(pruned > 0);
    let (_, told) = give(&mut peer, base, 10, 12);
    assert_eq!((told[0], peer.shard.counters.tcp_pruned), ((10, 12), pruned + 1));
    let (_, told) = give(&mut peer, base, 62_000, 62_002);
    assert_eq!(
        (told[0], peer.shard.counters.tcp_pruned),
        ((10, 12), pruned + 2),
        "the farthest is not taken"
    );
}

#[test]
fn data_carries_blocks_when_they_fit_beside_it() {
    let (mut peer, c, base) = established(&SACK);
    give(&mut peer, base, 100, 200);
    peer.write(c, b"hello").unwrap();
    assert_eq!(blocks(&peer.only(), base), [(100, 200)]);
    peer.write(c, &[7; 1460]).unwrap();
    let full = peer.only();
    assert_eq!((full.payload.len(), blocks(&full, base)), (1460, vec![]));
}

#[test]
fn after_three_acks_of_a_hole_one_stands_for_the_rest_of_a_burst() {
    let burst = |compressed: u32| {
        let (mut peer, _, base) = established(&SACK);
        peer.shard.head.sysctls.tcp_comp_sack_nr = compressed;
        for n in 1..=10 {
            let (seq, ack, window) = (base.wrapping_add(n * 200), peer.ack, 65_535);
            let frame =
                peer.frame(&Send { flags: ACK, seq, ack, window, payload: vec![0; 100], options: vec![] });
            peer.give(&frame);
        }
        tcp::end_of_burst(&mut peer.shard, peer.now);
        let sent = peer.sent();
        (sent.len(), blocks(sent.last().unwrap(), base)[0])
    };
    assert_eq!(burst(44), (4, (2000, 2100)));
    assert_eq!(burst(2), (6, (2000, 2100)));
    assert_eq!(burst(0), (10, (2000, 2100)));
}
