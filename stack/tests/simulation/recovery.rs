//! Loss recovery against peers that no honest stack is like: whatever they say, the counts hold (`check()` after each
//! step), nothing is lost, and the connection lives on.

use crate::harness::{MILLISECOND, SECOND};
use crate::peer::*;
use stack::region::Handle;
use stack::tcp::{self, Connection, Settings, State};

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as u32 % sides
    }
}

const MSS: u32 = 500;

/// A peer that speaks SACK, if `sack`, and what it has received.
struct Receiver {
    peer: Peer,
    c: Handle<Connection>,
    /// First sequence number of the stream, what is acknowledged, and the highest place that was seen.
    base: u32,
    acked: u32,
    seen: u32,
}

fn receiver(sack: bool) -> Receiver {
    let mut peer = Peer::new();
    let settings = Settings { no_delay: 1, send_buffer: 1 << 20, buffers_fixed: 1, ..Settings::default() };
    let listener = peer.listen(4, &settings);
    let [high, low] = (MSS as u16).to_be_bytes();
    // Without SACK its place is taken by NOPs.
    let permitted = if sack { [4, 2] } else { [1, 1] };
    let options = [&[2, 4, high, low][..], &[3, 3, 7, 1][..], &permitted, &[1, 1]].concat();
    peer.send_any(&Send { flags: SYN, seq: peer.seq, ack: 0, window: 65_535, payload: vec![], options });
    (peer.seq, peer.ack) = (peer.seq + 1, peer.only().seq + 1);
    peer.send(ACK, b"");
    let c = tcp::accept(&mut peer.shard, listener).unwrap();
    let base = peer.ack;
    Receiver { peer, c, base, acked: base, seen: base }
}

impl Receiver {
    fn acknowledge(&mut self, ack: u32, blocks: &[(u32, u32)]) {
        let mut options = vec![];
        if !blocks.is_empty() {
            options.extend([1, 1, 5, 2 + 8 * blocks.len() as u8]);
            for (start, end) in blocks {
                options.extend(start.to_be_bytes());
                options.extend(end.to_be_bytes());
            }
        }
        let seq = self.peer.seq;
        self.peer.send_any(&Send { flags: ACK, seq, ack, window: 65_535, payload: vec![], options });
    }

    /// Takes what the stack sends, and how many segments it was.
    fn look(&mut self) -> usize {
        let sent = self.peer.sent();
        for segment in &sent {
            let end = segment.seq.wrapping_add(segment.payload.len() as u32);
            if end.wrapping_sub(self.seen) as i32 > 0 {
                self.seen = end;
            }
        }
        sent.len()
    }

    /// A place of the flight, mostly between two segments.
    fn place(&self, dice: &mut Dice) -> u32 {
        let flight = self.seen.wrapping_sub(self.acked);
        let at = dice.roll(flight + 1);
        self.acked.wrapping_add(if dice.roll(8) == 0 { at } else { at / MSS * MSS })
    }

    /// Acknowledges everything until nothing is left, and looks whether the stack still sends.
    fn finish(mut self) {
        self.peer.write(self.c, &[1; 3000]).ok();
        for _ in 0..3000 {
            self.look();
            let ack = self.seen;
            self.acknowledge(ack, &[]);
            if tcp::unacknowledged(&self.peer.shard, self.c) == 0 {
                break;
            }
            self.peer.wait(20 * MILLISECOND);
        }
        assert_eq!(tcp::unacknowledged(&self.peer.shard, self.c), 0);
        assert_eq!(self.peer.state(self.c), State::ESTABLISHED);
        let info = tcp::info(&self.peer.shard, self.c, self.peer.now);
        assert_eq!(info.unacknowledged, 0);
        let written = self.peer.write(self.c, &[2; 100]).unwrap();
        assert_eq!((written, self.look()), (100, 1));
    }
}

/// One thing that a peer may say, true or not.
fn say(r: &mut Receiver, dice: &mut Dice, sack: bool) {
    let mut blocks = vec![];
    for _ in 0..dice.roll(5) {
        let (a, b) = (r.place(dice), r.place(dice));
        blocks.push(match dice.roll(10) {
            0 => (b, a),
            1 => (a.wrapping_sub(5000), a),
            2 => (a, b.wrapping_add(100_000)),
            3 => (r.base, a),
            _ => (a.min(b), a.max(b)),
        });
    }
    let ack = match dice.roll(6) {
        0 => r.place(dice),
        1 => r.acked.wrapping_sub(dice.roll(3) * MSS),
        _ => r.acked,
    };
    if ack.wrapping_sub(r.acked) as i32 > 0 {
        r.acked = ack;
    }
    r.acknowledge(ack, if sack { &blocks } else { &[] });
}

#[test]
fn whatever_a_peer_acknowledges_the_counts_hold_and_the_connection_lives() {
    for seed in 1..=60u64 {
        for sack in [true, false] {
            let (mut r, mut dice) = (receiver(sack), Dice(seed * 0x9e37_79b9));
            for _ in 0..400 {
                if dice.roll(3) == 0 {
                    r.peer.write(r.c, &vec![7; dice.roll(20_000) as usize + 1]).ok();
                }
                r.look();
                say(&mut r, &mut dice, sack);
                r.look();
                if dice.roll(4) == 0 {
                    r.peer.wait(u64::from(dice.roll(300)) * MILLISECOND);
                }
            }
            r.finish();
        }
    }
}

#[test]
fn a_million_tiny_holes_cost_no_more_than_the_flight_they_are_in() {
    let mut r = receiver(true);
    // Slow start opens the window to a few hundred segments.
    for _ in 0..12 {
        r.peer.write(r.c, &[7; 200_000]).ok();
        r.look();
        r.acked = r.seen;
        let ack = r.acked;
        r.acknowledge(ack, &[]);
        r.peer.wait(MILLISECOND);
    }
    r.peer.write(r.c, &[7; 200_000]).ok();
    r.look();
    let flight = r.seen.wrapping_sub(r.acked) / MSS;
    assert!(flight > 100, "{flight} segments in flight");
    // A million blocks, each of them a single segment, backwards and forwards.
    let mut dice = Dice(5);
    for _ in 0..250_000 {
        let block = |dice: &mut Dice| {
            let at = r.acked.wrapping_add((2 * dice.roll(flight / 2) + 1) * MSS);
            (at, at.wrapping_add(MSS))
        };
        let blocks = [(); 4].map(|()| block(&mut dice));
        let ack = r.acked;
        r.acknowledge(ack, &blocks);
    }
    r.look();
    r.peer.wait(SECOND);
    r.finish();
}
