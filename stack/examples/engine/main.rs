//! The engine alone, for counting instructions: scripts/count.sh runs it under callgrind.
//!
//!     valgrind --tool=callgrind --toggle-collect='*::measured' target/release/examples/engine receive 4096

mod card;
mod pair;

use pair::{BURST, Ends, First, PER_ACK, Pair, SEGMENT, Step};
use std::hint::black_box;

/// Name, what one of them is, and how to do so many.
type Event = (&'static str, &'static str, fn(usize));

const EVENTS: &[Event] = &[
    ("receive", "full segment received in order", |rounds| receive(rounds, &[Step::Receive], |_| {})),
    ("receive-unsummed", "the same without its checksum", |rounds| {
        receive(rounds, &[Step::Receive], Pair::trust_the_wire);
    }),
    ("take", "its frame taken off the RX ring, another lent", |rounds| {
        receive(rounds, &[Step::Take], |_| {})
    }),
    ("read", "its bytes read, its frame freed", |rounds| receive(rounds, &[Step::Read], |_| {})),
    ("send", "full segment written and queued", |rounds| send(rounds, &[Step::Write])),
    ("sum", "sum of its payload", sum),
    ("leave", "its frame given to the TX ring, and back", |rounds| {
        send(rounds, &[Step::Transmit, Step::Complete]);
    }),
    ("ack", "ACK for two full segments", ack),
    ("turn", "64 bytes received and answered", turn),
    ("accept", "connection accepted, closed, in TIME_WAIT", accept),
    ("connect", "connection opened, closed, in TIME_WAIT", connect),
];

fn main() {
    let mut args = std::env::args().skip(1);
    let (name, rounds) = (args.next(), args.next().and_then(|n| n.parse().ok()));
    let event = EVENTS.iter().find(|e| Some(e.0) == name.as_deref());
    let (Some(event), Some(rounds)) = (event, rounds) else {
        for (name, meaning, _) in EVENTS {
            println!("{name}\t{meaning}");
        }
        return;
    };
    event.2(rounds);
}

fn receive(rounds: usize, steps: &'static [Step], prepare: fn(&mut Pair)) {
    let mut pair = Pair::new();
    let ends = pair.connect();
    prepare(&mut pair);
    pair.server.measured = steps;
    bulk(&mut pair, ends, rounds);
}

fn send(rounds: usize, steps: &'static [Step]) {
    let mut pair = Pair::new();
    let ends = pair.connect();
    pair.client.measured = steps;
    bulk(&mut pair, ends, rounds);
}

fn bulk(pair: &mut Pair, ends: Ends, rounds: usize) {
    for _ in 0..rounds / BURST {
        pair.burst_comes(ends, BURST);
        pair.take_burst(ends);
        pair.acks_come();
        pair.take_acks();
    }
}

fn sum(rounds: usize) {
    let bytes = vec![7; SEGMENT];
    for _ in 0..rounds {
        black_box(pair::measured(&bytes[..], stack::wire::checksum::sum));
    }
}

fn ack(rounds: usize) {
    let mut pair = Pair::new();
    let ends = pair.connect();
    pair.client.measured = &[Step::Receive];
    for _ in 0..rounds * PER_ACK / BURST {
        pair.burst_in_pairs(ends);
        pair.take_acks();
    }
}

fn turn(rounds: usize) {
    let mut pair = Pair::new();
    let ends = pair.connect();
    pair.server.measured =
        &[Step::Take, Step::Receive, Step::Read, Step::Write, Step::Transmit, Step::Complete];
    for _ in 0..rounds {
        pair.question_comes(ends);
        pair.answer(ends);
        pair.answer_comes(ends);
    }
}

const WHOLE_LIFE: &[Step] =
    &[Step::Take, Step::Receive, Step::Transmit, Step::Complete, Step::Connect, Step::Accept, Step::Close];

fn accept(rounds: usize) {
    let mut pair = Pair::new();
    pair.server.measured = WHOLE_LIFE;
    lives(&mut pair, rounds, First::Server);
}

fn connect(rounds: usize) {
    let mut pair = Pair::new();
    pair.client.measured = WHOLE_LIFE;
    lives(&mut pair, rounds, First::Client);
}

fn lives(pair: &mut Pair, rounds: usize, first: First) {
    for _ in 0..rounds {
        let ends = pair.connect();
        pair.close(ends, first);
        pair.let_time_waits_end();
    }
}
