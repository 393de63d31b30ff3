//! A card without a wire: packets are moved from the outbox of one shard into frames that another has lent, as the pump
//! and the rings do it.

use stack::region::{FrameId, HEADROOM};
use stack::shard::Shard;
use stack::{ip, tcp};

/// Where a driver puts a packet into a chunk: behind XDP's headroom.
const START: u64 = 256;
/// Frames on the fill ring.
const LENT: usize = 64;

/// What lies on a card's rings.
#[derive(Default)]
pub(crate) struct Card {
    /// Chunks that the card may write into.
    fill: Vec<u64>,
    /// Packets that have come: address and length.
    received: Vec<(u64, u32)>,
    /// Frames that the card is sending.
    leaving: Vec<FrameId>,
}

impl Card {
    /// A card whose fill ring is full.
    pub(crate) fn new(s: &mut Shard) -> Self {
        let mut card = Self::default();
        card.refill(s);
        card
    }

    fn refill(&mut self, s: &mut Shard) {
        while self.fill.len() < LENT
            && let Some(addr) = s.frames.lend_to_fill_ring()
        {
            self.fill.push(addr);
        }
    }

    /// A packet comes in.
    pub(crate) fn deliver(&mut self, s: &mut Shard, packet: &[u8]) {
        let Some(addr) = self.fill.pop() else { return };
        let frame = s.frames.at_address(addr);
        let start = START as usize;
        s.frames.chunk_mut(frame)[start..start + packet.len()].copy_from_slice(packet);
        self.received.push((addr + START, packet.len() as u32));
    }

    /// Takes what has come off the ring, into `frames`, and fills the fill ring again.
    #[inline(never)]
    pub(crate) fn take(&mut self, s: &mut Shard, frames: &mut Vec<FrameId>, via: u8) {
        for (addr, len) in self.received.drain(..) {
            s.counters.rx_frames += 1;
            s.counters.rx_bytes += u64::from(len);
            frames.extend(s.frames.take_received(addr, len, via));
        }
        self.refill(s);
    }

    /// The sending half of a pump: the outbox goes to the TX ring.
    #[inline(never)]
    pub(crate) fn transmit(&mut self, s: &mut Shard) {
        while let Some(frame) = s.next_out() {
            if let Some((_, len)) = s.frames.descriptor(frame) {
                s.counters.tx_frames += 1;
                s.counters.tx_bytes += u64::from(len);
            }
            s.advance_outbox();
            self.leaving.push(frame);
        }
    }

    /// The card has sent what was on the TX ring.
    #[inline(never)]
    pub(crate) fn complete(&mut self, s: &mut Shard) {
        for frame in self.leaving.drain(..) {
            s.frames.completed(frame);
        }
    }

    /// Every packet that the card is sending, as bytes.
    pub(crate) fn packets<'a>(&'a self, s: &'a Shard) -> impl Iterator<Item = &'a [u8]> {
        self.leaving.iter().map(|&frame| s.frames.packet(frame))
    }
}

/// What the pump does with frames that have come: IP, TCP, and at the end of the burst what that calls for.
#[inline(never)]
pub(crate) fn receive(s: &mut Shard, frames: &mut Vec<FrameId>, now: u64) {
    for frame in frames.drain(..) {
        ip::input(s, frame, now);
    }
    tcp::end_of_burst(s, now);
}

/// A program's memory that costs nothing: bytes appear in it and vanish there without being copied.
pub(crate) struct Nowhere(pub(crate) usize);

impl stack::socket::Source for Nowhere {
    fn remaining(&self) -> usize {
        self.0
    }

    fn take(&mut self, into: &mut [u8]) -> usize {
        self.0 -= into.len();
        into.len()
    }
}

impl stack::socket::Sink for Nowhere {
    fn room(&self) -> usize {
        self.0
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        self.0 -= bytes.len();
        bytes.len()
    }
}

const _: () = assert!(HEADROOM as u64 <= START);
