//! The two sockets and what lies between them: packets come off one, stay as long as the wire is long, go out by the other.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fd::AsFd as _;
use rustix::net::netdevice::name_to_index;
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use stack::link::xsk::{KernelDrops, Mode, RingSizes, Xsk};

use super::Wire;
use super::capture::Capture;
use super::clock::Clock;
use super::lane::{Lane, Packet, comes_twice};
use super::program::Program;
use super::umem::Umem;
use crate::Outcome;

pub struct Relay {
    clock: Clock,
    umem: Umem,
    /// Towards the first device and towards the second.
    ends: [End; 2],
    /// What came from the end of the same number.
    lanes: [Lane; 2],
    capture: Option<Capture>,
    out_of_memory: u64,
}

struct End {
    device: String,
    program: Program,
    xsk: Xsk,
    /// Packets that found no room in the TX ring.
    stalled: u64,
}

impl Relay {
    pub fn between(devices: [&str; 2], wire: &Wire) -> Outcome<Relay> {
        let umem = Umem::new(CHUNKS)?;
        let first = End::open(devices[0], wire, 0, &umem, None)?;
        let second = End::open(devices[1], wire, 1, &umem, Some(&first.xsk))?;
        let capture = wire.capture.as_deref().map(Capture::create).transpose()?;
        let mut relay = Relay {
            clock: Clock::start(),
            umem,
            ends: [first, second],
            lanes: [Lane::new(wire), Lane::new(wire)],
            capture,
            out_of_memory: 0,
        };
        relay.refill();
        for end in &mut relay.ends {
            end.program.deliver_to(end.xsk.fd())?;
        }
        Ok(relay)
    }

    /// Works until `stop` is set, which a signal that interrupts the sleep does.
    pub fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let now = self.clock.now();
            for from in 0..2 {
                self.take_in(from, now);
                self.let_out(from, now);
            }
            self.refill();
            self.sleep();
        }
    }

    fn take_in(&mut self, from: usize, now: u64) {
        let Relay { clock, umem, ends, lanes, capture, out_of_memory } = self;
        let (Some(end), Some(lane)) = (ends.get(from), lanes.get_mut(from)) else { return };
        end.xsk.complete(u32::MAX, |address| umem.release(address));
        let seen = end.xsk.peek_received(BATCH, |address, length| {
            let marks = marks_of(umem.bytes(address - 4, 4));
            if let Some(capture) = capture {
                capture.note(clock.time_of_day(now), umem.bytes(address, length));
            }
            let mut enter = |umem: &mut Umem, address| {
                if !lane.accept(now, Packet { address, length }, marks) {
                    umem.release(address);
                }
            };
            if comes_twice(marks) {
                match umem.copy(address, length) {
                    Some(copy) => enter(umem, copy),
                    None => *out_of_memory += 1,
                }
            }
            enter(umem, address);
        });
        end.xsk.skip_received(seen);
    }

    fn let_out(&mut self, from: usize, now: u64) {
        let (Some(end), Some(lane)) = (self.ends.get_mut(1 - from), self.lanes.get_mut(from)) else { return };
        while end.xsk.tx_free() > 0
            && let Some(packet) = lane.due(now)
        {
            end.xsk.transmit(packet.address, packet.length);
        }
        if end.xsk.tx_free() == 0 {
            end.stalled += 1;
        }
        if end.xsk.needs_kick() {
            // What the kernel does not take now it takes in the next round.
            let _ = Xsk::kick(end.xsk.fd());
        }
    }

    /// Both devices always have chunks to receive into.
    fn refill(&mut self) {
        for end in &self.ends {
            for _ in 0..end.xsk.fill_free() {
                let Some(chunk) = self.umem.free.pop() else { return };
                end.xsk.refill(chunk);
            }
        }
    }

    /// Until a packet comes in, or one's time has come.
    fn sleep(&self) {
        if self.ends.iter().any(|end| end.xsk.rx_available() > 0) {
            return;
        }
        let unsent = self.ends.iter().any(|end| end.xsk.tx_unsent() > 0);
        let next = self.lanes.iter().filter_map(Lane::next_due).min();
        let nanoseconds = match next {
            _ if unsent => RETRY,
            Some(due) => due.saturating_sub(self.clock.now()).min(LONGEST_SLEEP),
            None => LONGEST_SLEEP,
        };
        let timeout = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds as i64 };
        use rustix::fd::AsRawFd as _;
        let mut waits = self.ends.each_ref().map(|end| libc::pollfd {
            fd: end.xsk.fd().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
        // SAFETY: the array and the time are live; no signal mask is given.
        unsafe { libc::ppoll(waits.as_mut_ptr(), 2, &raw const timeout, core::ptr::null()) };
    }

    /// `name value` lines: what was done on purpose, then what went wrong on the way (which must be nothing).
    pub fn report(&self) -> Vec<(String, u64)> {
        let mut lines = Vec::new();
        for (end, lane) in self.ends.iter().zip(&self.lanes) {
            let tally = end.program.tally();
            let kernel = KernelDrops::at(end.xsk.fd()).unwrap_or_default();
            let strays = kernel.rx_dropped + kernel.rx_ring_full + kernel.rx_invalid + kernel.tx_invalid;
            for (name, value) in [
                ("seen", tally.seen),
                ("dropped", tally.dropped),
                ("corrupted", tally.corrupted),
                ("duplicated", tally.duplicated),
                ("reordered", tally.reordered),
                ("queue_full", lane.tally.queue_full),
                ("worst_delay_us", lane.tally.worst_delay_us),
                ("stray", strays + kernel.fill_ring_empty),
                ("stalled", end.stalled),
            ] {
                lines.push((format!("{}_{name}", end.device), value));
            }
        }
        lines.push(("out_of_memory".to_owned(), self.out_of_memory));
        lines
    }
}

impl End {
    fn open(device: &str, wire: &Wire, direction: u64, umem: &Umem, shared: Option<&Xsk>) -> Outcome<End> {
        let any = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .map_err(|e| format!("a socket: {e}"))?;
        let ifindex = name_to_index(&any, device).map_err(|e| format!("device {device}: {e}"))?;
        let program = Program::attach(device, wire, direction)?;
        let sizes = RingSizes { rx: 8192, tx: 8192, fill: 8192, completion: 16384 };
        // SAFETY: the memory is never unmapped.
        let opened = unsafe { Xsk::create(&umem.area, ifindex, 0, Mode::Copy, sizes, shared) };
        let (xsk, _) = opened.map_err(|e| format!("AF_XDP on {device}: {e}"))?;
        set_socket_send_buffer_size_force(xsk.fd().as_fd(), SEND_BUFFER)
            .map_err(|e| format!("a send buffer for {device}: {e}"))?;
        Ok(End { device: device.to_owned(), program, xsk, stalled: 0 })
    }
}

/// What the XDP program wrote in front of the packet.
fn marks_of(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |word| u32::from_ne_bytes(*word))
}

/// 128 MiB: both fill rings, and 200 ms with a queue as long at 500 Mb/s.
const CHUNKS: u32 = 1 << 16;
const BATCH: u32 = 256;
const SEND_BUFFER: usize = 64 << 20;
const LONGEST_SLEEP: u64 = 50_000_000;
/// How soon the kernel is asked again to take what it did not.
const RETRY: u64 = 20_000;
