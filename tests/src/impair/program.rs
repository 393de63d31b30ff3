//! The XDP program of one direction: loaded, told its plan, attached for as long as the value lives.

use aya::Ebpf;
use aya::maps::{Array, MapData, XskMap};
use aya::programs::{Xdp, XdpMode};
use rustix::fd::{AsRawFd as _, BorrowedFd};

use super::Wire;
use crate::Outcome;

/// What the relay has to do with a packet: bits of the word in front of it, as tests/bpf/impair.c has them.
pub(super) const TWICE: u32 = 1;
pub(super) const LATE: u32 = 2;

/// `struct plan` of tests/bpf/impair.c.
#[repr(C)]
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    drop: u32,
    corrupt: u32,
    duplicate: u32,
    reorder: u32,
}

/// `struct tally`: what happened to the TCP packets of one direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub seen: u64,
    pub dropped: u64,
    pub corrupted: u64,
    pub duplicated: u64,
    pub reordered: u64,
}

// SAFETY: plain integers without padding, as the kernel copies them.
unsafe impl aya::Pod for Plan {}
// SAFETY: as above.
unsafe impl aya::Pod for Tally {}

pub(super) struct Program {
    sockets: XskMap<MapData>,
    tallies: Array<MapData, Tally>,
    // Holds the attachment: the program leaves the device with it.
    _loaded: Ebpf,
}

impl Program {
    /// `direction` sets the decisions of the two devices apart.
    pub(super) fn attach(device: &str, wire: &Wire, direction: u64) -> Outcome<Program> {
        let mut loaded = Ebpf::load(OBJECT).map_err(|e| format!("loading impair.o: {e}"))?;
        let mut map = |name| loaded.take_map(name).ok_or_else(|| format!("impair.o has no map {name}"));
        let bad = |e| format!("a map of impair.o: {e}");
        let mut plans: Array<MapData, Plan> = map("plans")?.try_into().map_err(bad)?;
        let tallies = map("tallies")?.try_into().map_err(bad)?;
        let sockets = map("sockets")?.try_into().map_err(bad)?;
        plans.set(0, Plan::of(wire, direction), 0).map_err(bad)?;
        let program = loaded.program_mut("impair").ok_or("impair.o has no program impair")?;
        let program: &mut Xdp = program.try_into().map_err(|e| format!("impair.o: {e}"))?;
        program.load().map_err(|e| format!("impair.o is refused: {e:?}"))?;
        program
            .attach(device, XdpMode::Driver)
            .map_err(|e| format!("attaching impair.o to {device}: {e:?}"))?;
        Ok(Program { sockets, tallies, _loaded: loaded })
    }

    pub(super) fn deliver_to(&mut self, socket: BorrowedFd<'_>) -> Outcome {
        self.sockets.set(0, socket.as_raw_fd(), 0).map_err(|e| format!("the relay's socket: {e}"))
    }

    pub(super) fn tally(&self) -> Tally {
        self.tallies.get(&0, 0).unwrap_or_default()
    }
}

impl Plan {
    fn of(wire: &Wire, direction: u64) -> Plan {
        Plan {
            seed: wire.seed.wrapping_mul(2).wrapping_add(direction),
            drop: of_four_billion(wire.loss),
            corrupt: of_four_billion(wire.corrupt),
            duplicate: of_four_billion(wire.duplicate),
            reorder: of_four_billion(wire.reorder),
        }
    }
}

/// Saturates: a chance of 1 misses one packet in four billion.
fn of_four_billion(chance: f64) -> u32 {
    (chance * 2f64.powi(32)) as u32
}

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/impair.o");
