//! The engine alone, timed: `cargo bench -p stack`. What the events are, and what they cost in instructions, says
//! instructions.txt.

#[path = "../examples/engine/card.rs"]
mod card;
#[path = "../examples/engine/crowd.rs"]
mod crowd;
#[path = "../examples/engine/pair.rs"]
mod pair;

use crowd::Crowd;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use pair::{BURST, Ends, First, Pair};
use std::cell::RefCell;

const SAMPLES: u32 = 2000;
const CROWDS: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Far from each other in every table: a prime.
const STRIDE: u32 = 7_919_111;

fn main() {
    divan::main();
}

/// A connection between two engines, and something that is prepared by one closure and measured in the other.
fn between(bencher: Bencher<'_, '_>, items: usize, prepare: fn(&mut Pair, Ends), act: fn(&mut Pair, Ends)) {
    with(Pair::new(), bencher, items, prepare, act);
}

fn with(
    mut pair: Pair,
    bencher: Bencher<'_, '_>,
    items: usize,
    prepare: fn(&mut Pair, Ends),
    act: fn(&mut Pair, Ends),
) {
    let ends = pair.connect();
    let pair = RefCell::new(pair);
    bencher
        .counter(ItemsCount::new(items))
        .with_inputs(|| prepare(&mut pair.borrow_mut(), ends))
        .bench_local_values(|()| act(&mut pair.borrow_mut(), ends));
}

/// 16 full segments come and are read.
#[divan::bench(sample_size = 1, sample_count = SAMPLES, args = ["summed", "unsummed"])]
fn receive_16_segments(bencher: Bencher<'_, '_>, how: &str) {
    let mut pair = Pair::new();
    if how == "unsummed" {
        pair.trust_the_wire();
    }
    let prepare = |pair: &mut Pair, ends| {
        pair.acks_come();
        pair.take_acks();
        pair.burst_comes(ends, BURST);
    };
    with(pair, bencher, BURST, prepare, Pair::take_burst);
}

/// 16 full segments are written, sent, and copied to the card of the peer.
#[divan::bench(sample_size = 1, sample_count = SAMPLES)]
fn send_16_segments(bencher: Bencher<'_, '_>) {
    let prepare = |pair: &mut Pair, ends| {
        pair.take_burst(ends);
        pair.acks_come();
        pair.take_acks();
    };
    between(bencher, BURST, prepare, |pair, ends| pair.burst_comes(ends, BURST));
}

/// 8 ACKs come, each for two full segments.
#[divan::bench(sample_size = 1, sample_count = SAMPLES)]
fn take_8_acks(bencher: Bencher<'_, '_>) {
    between(bencher, 8, Pair::burst_in_pairs, |pair, _| pair.take_acks());
}

/// 64 bytes are received, read and answered.
#[divan::bench(sample_size = 1, sample_count = SAMPLES)]
fn turn(bencher: Bencher<'_, '_>) {
    let prepare = |pair: &mut Pair, ends| {
        pair.answer_comes(ends);
        pair.question_comes(ends);
    };
    between(bencher, 1, prepare, Pair::answer);
}

/// A connection from SYN to TIME_WAIT: both sides, and the copies of eight packets between them.
#[divan::bench(sample_size = 1, sample_count = SAMPLES, args = ["client closes", "server closes"])]
fn connection_of_two_engines(bencher: Bencher<'_, '_>, who: &str) {
    let first = if who == "client closes" { First::Client } else { First::Server };
    let pair = RefCell::new(Pair::new());
    bencher.with_inputs(|| pair.borrow_mut().let_time_waits_end()).bench_local_values(|()| {
        let mut pair = pair.borrow_mut();
        let ends = pair.connect();
        pair.close(ends, first);
    });
}

/// The same of the accepting side alone, with the writing of the peer's four segments.
#[divan::bench(sample_size = 1, sample_count = SAMPLES)]
fn connection_accepted_and_closed(bencher: Bencher<'_, '_>) {
    let mut crowd = Crowd::new(0);
    let mut number = 0;
    bencher.bench_local(|| {
        let member = crowd.admit(number);
        crowd.dismiss(number, member);
        number += 1;
    });
}

/// Finding one of so many idle connections, each time another one: what grows is the caches' part.
#[divan::bench(args = CROWDS, sample_size = 1000, sample_count = 100)]
fn look_up_among(bencher: Bencher<'_, '_>, connections: u32) {
    let mut crowd = Crowd::new(connections);
    let mut number = 0u32;
    bencher.bench_local(|| {
        number = number.wrapping_add(STRIDE) % connections;
        black_box(crowd.shard.flow(&crowd::tuple(number)))
    });
}

/// Finding the same one among so many: its cache lines are warm, and its hash is remembered.
#[divan::bench(args = CROWDS, sample_size = 1000, sample_count = 100)]
fn look_up_again_among(bencher: Bencher<'_, '_>, connections: u32) {
    let mut crowd = Crowd::new(connections);
    bencher.bench_local(|| black_box(crowd.shard.flow(&crowd::tuple(connections / 2))));
}

/// 64 bytes for one of so many connections, each time another one, received, read and answered with as many.
#[divan::bench(args = CROWDS, sample_size = 100, sample_count = 100)]
fn turn_with_one_of(bencher: Bencher<'_, '_>, connections: u32) {
    let mut crowd = Crowd::new(connections);
    let mut number = 0u32;
    bencher.bench_local(|| {
        number = number.wrapping_add(STRIDE) % crowd.len();
        let member = crowd.member(number);
        black_box((crowd.hear(number, 64), crowd.speak(number, 64), member.connection))
    });
}
