//! The short ways in and out do what the long ways do.
//!
//! In: two stacks get the same packets, those of one with padding behind, which changes nothing but that they go the long
//! way. Out: the segments of a burst are as each would be alone.

use crate::harness::{MILLISECOND, SECOND};
use crate::peer::*;
use stack::region::Handle;
use stack::tcp::{self, Connection, Settings};
use zerocopy::IntoBytes;

const STEPS: usize = 4000;
const FULL: u32 = 1448;
const SERVICE: usize = 15;
const SYN_OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 3, 232, 0, 0, 0, 0, 1, 3, 3, 7];

/// xorshift: the same for both stacks.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % n
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

/// A stack that is sent to, and what its packets are followed by.
struct Side {
    peer: Peer,
    connection: Handle<Connection>,
    padding: &'static [u8],
}

impl Side {
    fn new(padding: &'static [u8]) -> Self {
        let settings = Settings { no_delay: 1, ..Settings::default() };
        let (peer, connection) = Peer::established_with(&settings, &SYN_OPTIONS);
        Self { peer, connection, padding }
    }

    fn give(&mut self, frame: &[u8]) {
        self.peer.give(&[frame, self.padding].concat());
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        self.peer.shard.connections.get(self.connection).map(|c| c.as_bytes().to_vec())
    }
}

/// A segment as the peer might send it next: mostly full and in order, or an ACK alone.
fn segment(dice: &mut Dice, side: &Peer, clock: u32) -> Send {
    let len = match dice.below(8) {
        0 => 0,
        1 | 2 => dice.below(FULL + 1),
        _ => FULL,
    };
    let out_of_place = if dice.one_in(20) { dice.below(4 * FULL).wrapping_sub(2 * FULL) } else { 0 };
    let flags = match dice.below(60) {
        0 => SYN | ACK,
        1 => 0,
        2 => ACK | 32,
        3 => ACK | 64,
        n if n < 20 => ACK | 8,
        _ => ACK,
    };
    let old = if dice.one_in(30) { dice.below(5000) } else { 0 };
    let [v0, v1, v2, v3] = clock.wrapping_sub(old).to_be_bytes();
    let timestamps = vec![1, 1, 8, 10, v0, v1, v2, v3, 0, 0, 0, 1];
    Send {
        flags,
        seq: side.seq.wrapping_add(out_of_place),
        ack: side.ack.wrapping_sub(if dice.one_in(20) { dice.below(3000) } else { 0 }),
        window: if dice.one_in(10) { dice.below(65_536) as u16 } else { 500 },
        payload: (0..len).map(|i| (i * 7) as u8).collect(),
        options: if dice.one_in(25) { vec![] } else { timestamps },
    }
}

/// What a network or a bad card does to a packet now and then.
fn mishandle(dice: &mut Dice, frame: &mut Vec<u8>) {
    let place = 14 + dice.below(frame.len().min(74) as u32 - 14) as usize;
    match dice.below(80) {
        0 => frame[place] ^= 1 << dice.below(8),
        1 => frame.truncate(40),
        2 => frame.extend_from_slice(&[0; 6]),
        3 => {
            // "Congestion experienced", with the header's sum as a router leaves it.
            frame[SERVICE] |= 3;
            let sum = u16::from_be_bytes([frame[24], frame[25]]) - 3;
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        _ => {}
    }
}

#[test]
fn the_short_way_does_what_the_long_way_does() {
    for seed in 1..=6 {
        let mut dice = Dice(seed * 0x9e37_79b9);
        let mut sides = [Side::new(&[]), Side::new(&[0; 6])];
        let mut written = 0;
        for step in 0..STEPS {
            let pause = if dice.one_in(200) { u64::from(dice.below(3)) * SECOND } else { MILLISECOND / 8 };
            let sent = segment(&mut dice, &sides[0].peer, 1000 + step as u32);
            let mut frame = sides[0].peer.frame(&sent);
            mishandle(&mut dice, &mut frame);
            let (ends_burst, reads, writes) = (dice.one_in(3), dice.one_in(4), dice.one_in(12));
            let most = dice.below(20_000) as usize;
            let outcomes = sides.each_mut().map(|side| {
                side.peer.wait(pause);
                side.give(&frame);
                if ends_burst {
                    tcp::end_of_burst(&mut side.peer.shard, side.peer.now);
                }
                let read = reads.then(|| side.peer.read(side.connection, most));
                if writes {
                    let _ = side.peer.write(side.connection, &[9; 700]);
                }
                (side.peer.sent(), read, side.bytes(), *side.peer.shard.counters)
            });
            let [short, long] = outcomes;
            assert_eq!(short.0, long.0, "seed {seed}, step {step}, after {sent:?}");
            assert_eq!(short.1, long.1, "seed {seed}, step {step}");
            assert!(short.2 == long.2, "seed {seed}, step {step}: connections differ after {sent:?}");
            assert_eq!(short.3, long.3, "seed {seed}, step {step}, after {sent:?}");
            // The peer goes on as if the segment had come through, or from what it is told.
            for side in &mut sides {
                if sent.seq == side.peer.seq {
                    side.peer.seq = sent.seq.wrapping_add(sent.payload.len() as u32);
                }
                for answer in &short.0 {
                    (side.peer.seq, side.peer.ack) =
                        (answer.ack, answer.seq.wrapping_add(answer.payload.len() as u32));
                }
            }
            written += short.0.iter().map(|answer| answer.payload.len()).sum::<usize>();
        }
        let received = sides[0].peer.shard.counters.bytes_received;
        assert!(received > 500_000 && written > 50_000, "seed {seed}: {received} and {written} bytes");
    }
}

#[test]
fn the_segments_of_a_burst_differ_in_their_place_alone() {
    let mut side = Side::new(&[]);
    let bytes: Vec<u8> = (0..8 * FULL + 100).map(|i| (i ^ i >> 8) as u8).collect();
    // Twice, so that the second burst finds some of the first acknowledged, and another window.
    for _ in 0..2 {
        side.peer.wait(5 * MILLISECOND);
        let start = side.peer.ack;
        assert_eq!(side.peer.write(side.connection, &bytes), Ok(bytes.len()));
        // The parser of another implementation has looked at every checksum.
        let sent = side.peer.sent();
        let sizes: Vec<_> = sent.iter().map(|s| s.payload.len() as u32).collect();
        assert_eq!(sizes, [vec![FULL; 8], vec![100]].concat());
        assert_eq!(sent.iter().flat_map(|s| s.payload.clone()).collect::<Vec<_>>(), bytes);
        for (i, segment) in sent.iter().enumerate() {
            assert_eq!((segment.seq, segment.flags), (start.wrapping_add(i as u32 * FULL), ACK));
            let one = |s: &Seen| (s.ack, s.window, s.options.clone());
            assert_eq!(one(segment), one(&sent[0]));
        }
        side.peer.ack = start.wrapping_add(8 * FULL);
        let [v0, v1, v2, v3] = 5000u32.to_be_bytes();
        let options = vec![1, 1, 8, 10, v0, v1, v2, v3, 0, 0, 0, 1];
        let (seq, ack) = (side.peer.seq, side.peer.ack);
        side.peer.send_any(&Send { flags: ACK, seq, ack, window: 600, payload: vec![1; 10], options });
        side.peer.seq = seq.wrapping_add(10);
        side.peer.ack = start.wrapping_add(bytes.len() as u32);
        side.peer.sent();
    }
}
