//! What connections cost in memory, and that a million of them are no trouble.

#[path = "../examples/engine/card.rs"]
mod card;
#[path = "../examples/engine/crowd.rs"]
mod crowd;

use crowd::Crowd;
use stack::region::{Region, Sizes};
use stack::socket::SocketRef;
use stack::tcp::{Request, TimeWait};
use stack::wait::{self, Interest, events};

const KIB: usize = 1024;
/// Far from each other in every table: a prime.
const STRIDE: u32 = 7_919_111;
const PROGRAM: u16 = 1;
const MEMBERS: u32 = 1_000_000;

/// Bytes of a region of these sizes.
fn bytes(sizes: Sizes) -> usize {
    Region::private(sizes, [1, 2], 0).unwrap().bytes()
}

/// What one more of something costs, in all tables together.
fn each(grow: impl Fn(u32) -> Sizes) -> usize {
    const FEW: u32 = 1 << 14;
    const MANY: u32 = 1 << 17;
    (bytes(grow(MANY)) - bytes(grow(FEW))) / (MANY - FEW) as usize
}

#[test]
fn an_idle_connection_costs_a_kibibyte_at_most_with_all_that_hangs_on_it() {
    // A program holds it, and an epoll instance watches it.
    let cost = each(|n| Sizes { connections: n, references: n, watches: n, ..Sizes::tiny() });
    println!("an idle connection with its reference and its watch: {cost} bytes");
    assert!(cost <= KIB, "{cost} bytes");
}

#[test]
fn half_open_and_time_wait_entries_have_64_bytes_each_and_little_beside() {
    assert!(size_of::<Request>() <= 64 && size_of::<TimeWait>() <= 64);
    // Generation tag, place on the stack of free slots, share of the hash's buckets.
    const BESIDE: usize = 2 + 4 + 8;
    let half_open = each(|n| Sizes { requests: n, ..Sizes::tiny() });
    let time_wait = each(|n| Sizes { time_waits: n, ..Sizes::tiny() });
    println!("half-open: {half_open} bytes, TIME_WAIT: {time_wait} bytes, with tag, free stack and bucket");
    assert!(half_open <= 64 + BESIDE && time_wait <= 64 + BESIDE);
}

#[test]
fn a_million_idle_connections_stay_in_their_memory_and_still_work() {
    let before = resident();
    let mut crowd = Crowd::new(MEMBERS);
    let epoll = wait::create(&mut crowd.shard, PROGRAM).unwrap();
    for number in 0..MEMBERS {
        let socket = SocketRef::Connection(crowd.member(number).connection);
        let interest =
            Interest { descriptor: number as i32, socket, events: events::IN, data: u64::from(number) };
        wait::add(&mut crowd.shard, epoll, &interest).unwrap();
    }
    assert_eq!((crowd.shard.connections.in_use(), crowd.shard.requests.in_use()), (MEMBERS, 0));
    let used = resident().saturating_sub(before);
    println!(
        "{MEMBERS} idle connections: {} MiB resident, {} bytes each",
        used >> 20,
        used / MEMBERS as usize
    );
    // Besides the connections: frames, the other tables, and what the test itself keeps of each.
    assert!(used <= MEMBERS as usize * (KIB + 16) + (32 << 20), "{used} bytes");
    assert_chains_are_short(&crowd);
    for step in 0..10_000u32 {
        let number = step.wrapping_mul(STRIDE) % MEMBERS;
        assert_eq!(crowd.hear(number, 100), 100, "connection {number} does not get what its peer sends");
        assert_eq!(crowd.speak(number, 200), 200, "connection {number} cannot send");
    }
    for number in 0..1000 {
        let member = crowd.member(number);
        crowd.dismiss(number, member);
    }
    assert_eq!((crowd.shard.connections.in_use(), crowd.shard.time_waits.in_use()), (MEMBERS - 1000, 1000));
    crowd.shard.check().unwrap();
}

/// Finding a connection takes as long among many as among few: the buckets grow with the entries, and are used evenly.
fn assert_chains_are_short(crowd: &Crowd) {
    let buckets = crowd.shard.flows.len() as f64;
    let load = f64::from(crowd.len()) / buckets;
    assert!(load <= 1.0, "{load} entries for each bucket");
    let occupied = crowd.shard.flows.iter().filter(|&&first| first != 0).count() as f64;
    let expected = buckets * (1.0 - (-load).exp());
    println!(
        "{load:.2} entries for each bucket, {occupied} buckets used, {expected:.0} expected of a perfect hash"
    );
    assert!((occupied / expected - 1.0).abs() < 0.02);
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
