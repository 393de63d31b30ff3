//! One direction of the wire: a bottleneck with a queue, then a length. Packets lie in a queue by the time at which they
//! come out at the far end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Wire;
use super::clock::nanoseconds;
use super::program::{LATE, TWICE};

/// A packet on its way: where its bytes lie is the relay's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) address: u64,
    pub(super) length: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LaneTally {
    /// Dropped because the queue before the bottleneck was full.
    pub(super) queue_full: u64,
    /// The longest that a packet came out after its time, in microseconds: what the relay could not keep up with.
    pub(super) worst_delay_us: u64,
}

pub(super) struct Lane {
    length_ns: u64,
    late_ns: u64,
    /// 0: no bottleneck.
    bits_per_second: f64,
    queue_bytes: f64,
    /// When the bottleneck has sent what waits before it.
    free_at: u64,
    /// By time, and at the same time in order of arrival.
    under_way: BinaryHeap<Reverse<(u64, u64, u64, u32)>>,
    arrivals: u64,
    pub(super) tally: LaneTally,
}

impl Lane {
    pub(super) fn new(wire: &Wire) -> Lane {
        Lane {
            length_ns: nanoseconds(wire.round_trip_ms / 2.0),
            late_ns: nanoseconds(wire.late_ms),
            bits_per_second: wire.megabits * 1e6,
            queue_bytes: f64::from(wire.queue) * FULL_FRAME,
            free_at: 0,
            under_way: BinaryHeap::new(),
            arrivals: 0,
            tally: LaneTally::default(),
        }
    }

    /// False: the queue is full, the packet is dropped.
    pub(super) fn accept(&mut self, now: u64, packet: Packet, marks: u32) -> bool {
        let Some(leaves) = self.through_the_bottleneck(now, packet.length) else {
            self.tally.queue_full += 1;
            return false;
        };
        let late = if marks & LATE != 0 { self.late_ns } else { 0 };
        self.arrivals += 1;
        self.under_way.push(Reverse((
            leaves + self.length_ns + late,
            self.arrivals,
            packet.address,
            packet.length,
        )));
        true
    }

    /// When the last bit is on the wire; None when too much waits already.
    fn through_the_bottleneck(&mut self, now: u64, length: u32) -> Option<u64> {
        if self.bits_per_second == 0.0 {
            return Some(now);
        }
        let begins = self.free_at.max(now);
        let waiting_bytes = (begins - now) as f64 / 8e9 * self.bits_per_second;
        if waiting_bytes > self.queue_bytes {
            return None;
        }
        let bits = (f64::from(length) + FRAMING) * 8.0;
        self.free_at = begins + (bits / self.bits_per_second * 1e9) as u64;
        Some(self.free_at)
    }

    /// The next packet whose time has come.
    pub(super) fn due(&mut self, now: u64) -> Option<Packet> {
        let &Reverse((due, _, address, length)) = self.under_way.peek()?;
        if due > now {
            return None;
        }
        self.under_way.pop();
        self.tally.worst_delay_us = self.tally.worst_delay_us.max((now - due) / 1000);
        Some(Packet { address, length })
    }

    /// When the next packet comes out.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.under_way.peek().map(|&Reverse((due, ..))| due)
    }
}

pub(super) fn comes_twice(marks: u32) -> bool {
    marks & TWICE != 0
}

/// Preamble, check sequence and gap, as on Ethernet.
const FRAMING: f64 = 24.0;
const FULL_FRAME: f64 = 1514.0 + FRAMING;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(address: u64) -> Packet {
        Packet { address, length: 1514 }
    }

    fn order(lane: &mut Lane, until: u64) -> Vec<u64> {
        std::iter::from_fn(|| lane.due(until)).map(|packet| packet.address).collect()
    }

    #[test]
    fn a_packet_comes_out_after_half_a_round_trip() {
        let mut lane = Lane::new(&Wire { round_trip_ms: 10.0, ..Wire::default() });
        assert!(lane.accept(1000, packet(1), 0));
        assert_eq!(lane.next_due(), Some(5_001_000));
        assert_eq!(lane.due(5_000_999), None);
        assert_eq!(lane.due(5_001_000), Some(packet(1)));
    }

    #[test]
    fn packets_of_one_moment_keep_their_order_and_a_late_one_falls_back() {
        let mut lane = Lane::new(&Wire { late_ms: 1.0, ..Wire::default() });
        for (address, marks) in [(1, 0), (2, LATE), (3, 0), (4, 0)] {
            assert!(lane.accept(0, packet(address), marks));
        }
        assert_eq!(order(&mut lane, 2_000_000), [1, 3, 4, 2]);
    }

    #[test]
    fn the_bottleneck_spaces_packets_and_drops_what_its_queue_cannot_hold() {
        let wire = Wire { megabits: 8.0, queue: 3, ..Wire::default() };
        let mut lane = Lane::new(&wire);
        let taken = (0..10).filter(|&address| lane.accept(0, packet(address), 0)).count();
        assert_eq!((taken, lane.tally.queue_full), (4, 6));
        // A byte takes a microsecond.
        assert_eq!(lane.next_due(), Some(1_538_000));
        assert_eq!(order(&mut lane, 2 * 1_538_000), [0, 1]);
    }
}
