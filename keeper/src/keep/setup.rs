//! Bringing a keeper up: everything that can fail, in the order in which a failure costs least.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use rustix::event::epoll;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, Rlimit, getpid, getrlimit, setrlimit};
use stack::drive::Stack;
use stack::link::xsk::{Mode, RingSizes, UmemArea, Xsk};
use stack::region::{AttachError, Region, Sizes};

use super::deaths::Deaths;
use super::driver::Driver;
use super::journal::Journal;
use super::network::Network;
use super::options::Options;
use super::owners::Owners;
use super::ports::Ports;
use super::sessions::{Admission, Sessions};
use super::wakers::Wakers;
use super::{Keeper, Source, now};
use crate::channel;
use crate::cli::{DEFAULT_MEMORY, Setup};
use crate::device::{self, Device};
use crate::ethtool::Unmerged;
use crate::fault::{Fault, explain};
use crate::lease::Lease;
use crate::netlink::Netlink;
use crate::picture::Accelerated;
use crate::signals;
use crate::steer::{Attachment, Steering};

pub(crate) enum Begun {
    Keeper(Box<Keeper>),
    /// Another process keeps this network namespace already.
    AnotherIsThere,
}

/// `in_background`: started by `shunt run`, so it goes when nobody needs it, and says nothing.
pub(crate) fn begin(setup: &Setup, in_background: bool) -> Result<Begun, Fault> {
    let control = match channel::claim_address() {
        Ok(control) => control,
        Err(Errno::ADDRINUSE) => return Ok(Begun::AnotherIsThere),
        Err(errno) => return Err(Fault::new(format!("cannot make the control socket: {}", explain(errno)))),
    };
    let options = Options::new(&setup.tcp)?;
    let signals = signals::take_over().map_err(Fault::of("cannot receive signals"))?;
    raise_limits();
    let mut netlink = Netlink::open()
        .map_err(|errno| Fault::new(format!("cannot ask the kernel about devices: {}", explain(errno))))?;
    let device = device::choose(&mut netlink, setup.dev.as_deref())?;
    let (region, region_fd) = create_region(setup.memory.unwrap_or(DEFAULT_MEMORY), &device)?;
    let mut steering = Steering::attach(&device.name, device.ifindex, setup.generic)?;
    let unmerged = match steering.attachment() {
        Attachment::Generic => Unmerged::make(&device.name),
        Attachment::Native => None,
    };
    let (xsks, modes) = bind_links(&region, &device, steering.attachment())?;
    let links =
        xsks.iter().map(|xsk| fcntl_dupfd_cloexec(xsk.fd(), 0)).collect::<Result<Vec<OwnedFd>, Errno>>();
    let links = links.map_err(|errno| Fault::new(format!("cannot copy descriptors: {}", explain(errno))))?;
    let lease = Lease::take(LEASED_PORTS, setup.ports.clone())?;
    let mut ports = Ports::default();
    ports.lease(&lease, &mut steering)?;
    let ours = vec![Accelerated { device: device.clone(), first_link: 0 }];
    let network = Network::follow(netlink, ours)?;
    steering.update_local_addresses(&network.picture().local_addresses())?;
    let mut stack = Stack::new(region, KEEPERS_SLOT, vec![xsks]);
    let deaths = Deaths::default();
    let witness = deaths.clone();
    stack.ask_of_deaths(Box::new(move |slot| witness.has_ended(slot)));
    if let Some(own) = stack.region.processes().first() {
        own.occupy(getpid().as_raw_nonzero().get() as u32);
    }
    let made = |what: &'static str| {
        move |errno: Errno| Fault::new(format!("cannot make {what}: {}", explain(errno)))
    };
    let keeper = Keeper {
        drivers: (0..stack.shard_count()).map(Driver::new).collect(),
        device,
        stack,
        region_fd,
        links,
        modes,
        steering,
        _unmerged: unmerged,
        lease,
        ports,
        network,
        options,
        wakers: Wakers::default(),
        sessions: Sessions::default(),
        deaths,
        owners: Owners::default(),
        admission: Admission::new(&setup.allow_uid),
        journal: Journal::new(!in_background),
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(made("an epoll instance"))?,
        control,
        bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(made("an eventfd"))?,
        signals,
        waits_for_packets: false,
        has_errand: false,
        is_ending: false,
        lingers: in_background.then_some(LINGER),
        idle_since: None,
        kick_at: None,
        sweep_at: 0,
        sweep_pause: 0,
    };
    open_for_business(Box::new(keeper)).map(Begun::Keeper)
}

fn open_for_business(mut keeper: Box<Keeper>) -> Result<Box<Keeper>, Fault> {
    let now = now();
    for index in 0..keeper.stack.shard_count() {
        let Some(mut turn) = keeper.stack.enter(index, now) else { continue };
        let cut = keeper.network.write_all(&mut turn);
        keeper.options.write(&mut turn);
        let ports = u32::from(*keeper.lease.ports.start())..u32::from(*keeper.lease.ports.end()) + 1;
        turn.net.lease_ports(*keeper.lease.ports.start(), ports.end, keeper.lease.taken.iter().copied());
        // The first turn fills the fill rings.
        turn.pump();
        keeper.leave(turn);
        if cut > 0 {
            keeper.journal.note(does_not_fit(cut));
        }
    }
    for (queue, link) in keeper.links.iter().enumerate() {
        keeper.steering.serve_queue(queue as u32, link.as_fd())?;
    }
    keeper.listen_for(keeper.control.as_fd(), Source::Control)?;
    keeper.listen_for(keeper.bell.as_fd(), Source::Bell)?;
    keeper.listen_for(keeper.signals.as_fd(), Source::Signals)?;
    keeper.listen_for(keeper.network.fd(), Source::Network)?;
    keeper.introduce();
    channel::open(&keeper.control)
        .map_err(|errno| Fault::new(format!("cannot open the control socket: {}", explain(errno))))?;
    Ok(keeper)
}

impl Keeper {
    fn introduce(&mut self) {
        let Device { name, queues, .. } = &self.device;
        let mode = self.modes.first().map_or("", String::as_str);
        let (from, to) = (self.lease.ports.start(), self.lease.ports.end());
        let mebibytes = self.stack.region.bytes() >> 20;
        let attachment = self.steering.attachment();
        self.journal.note(format!(
            "keeping {name}: {attachment}, {mode}, queues: {queues}, memory: {mebibytes} MiB, outgoing ports: {from}-{to}"
        ));
        if self.network.picture().has_policy {
            self.journal.note(POLICY_ROUTING);
        }
        if let Some(complaint) = self.options.complaint() {
            self.journal.note(complaint);
        }
        if crate::firewall::has_rules() {
            self.journal.note(crate::firewall::WARNING);
        }
    }

    pub(super) fn attachment_word(&self) -> &'static str {
        match self.steering.attachment() {
            Attachment::Native => "native",
            Attachment::Generic => "generic",
        }
    }
}

fn create_region(memory: usize, device: &Device) -> Result<(Region, OwnedFd), Fault> {
    let frame = device.mtu as usize + FRAME_OVERHEAD;
    let mut sizes = Sizes::for_memory(memory);
    if frame > 2048 {
        // Half as many frames of twice the size.
        (sizes.chunk_size, sizes.frames) = (4096, sizes.frames / 2);
    }
    if frame > 4096 {
        let most = 4096 - FRAME_OVERHEAD;
        let Device { name, mtu, .. } = device;
        return Err(Fault::new(format!(
            "the MTU of {name} is {mtu}, and a frame must fit a page: ip link set {name} mtu {most}"
        )));
    }
    let mut key = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut key))
        .map_err(Fault::of("/dev/urandom"))?;
    let [a, b] =
        [0, 8].map(|at| key.iter().skip(at).take(8).fold(0, |word, &byte| word << 8 | u64::from(byte)));
    Region::create(sizes, [a, b], now()).map_err(|error| {
        Fault::new(match error {
            AttachError::System(Errno::NOMEM) => {
                "not enough memory for the region: ask for less by --memory".into()
            }
            AttachError::System(errno) => format!("cannot create the region: {}", explain(errno)),
            other => format!("cannot create the region: {other:?}"),
        })
    })
}

/// One link for each queue, all over the UMEM of shard 0.
fn bind_links(
    region: &Region,
    device: &Device,
    attachment: Attachment,
) -> Result<(Vec<Xsk>, Vec<String>), Fault> {
    let (base, len) = region.umem(0);
    let umem = UmemArea { base: base.as_ptr(), len, chunk_size: region.sizes.chunk_size, headroom: 0 };
    let mode = if attachment == Attachment::Native { Mode::Best } else { Mode::Copy };
    let (mut links, mut modes) = (Vec::new(), Vec::new());
    for queue in 0..device.queues.min(MOST_QUEUES) {
        // SAFETY: the UMEM is part of the region, whose pages the kernel holds for as long as a socket does.
        let bound =
            unsafe { Xsk::create(&umem, device.ifindex, queue, mode, RingSizes::default(), links.first()) };
        let (link, taken) =
            bound.map_err(|error| Fault::new(format!("queue {queue} of {}: {error}", device.name)))?;
        let_many_leave_at_once(&link);
        links.push(link);
        modes.push(taken.to_string());
    }
    Ok((links, modes))
}

/// In copy mode frames on their way count as the socket's send buffer, and one system call sends 32 of them unless told otherwise
/// (from Linux 6.17 on). Both are wishes: without them sending takes more calls.
fn let_many_leave_at_once(link: &Xsk) {
    use rustix::fd::AsRawFd as _;
    let _ = rustix::net::sockopt::set_socket_send_buffer_size_force(link.fd(), SEND_BUFFER);
    let frames = link.sizes().tx;
    // SAFETY: the kernel reads four bytes of a live integer.
    let _ = unsafe {
        let value: *const u32 = &raw const frames;
        libc::setsockopt(link.fd().as_raw_fd(), libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, value.cast(), 4)
    };
}

/// One descriptor for each waiting thread and two for each program; and locked memory for the UMEM. As far as we may.
fn raise_limits() {
    let descriptors = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: descriptors.maximum, ..descriptors });
    let unlimited = Rlimit { current: None, maximum: None };
    let _ = setrlimit(Resource::Memlock, unlimited);
}

pub(super) fn does_not_fit(entries: usize) -> String {
    format!("{entries} addresses or routes have no place in the region: their traffic stays with the kernel")
}

pub(super) const POLICY_ROUTING: &str =
    "policy routing rules exist (ip rule): outgoing connections stay with the kernel";
const KEEPERS_SLOT: u16 = 0;
const LEASED_PORTS: u16 = 20000;
const LINGER: Duration = Duration::from_secs(5);
/// Ethernet header, a VLAN tag, and what the kernel leaves free in front of a received frame.
const FRAME_OVERHEAD: usize = 14 + 4 + 256;
/// As many links as one bit each in a word.
const MOST_QUEUES: u32 = 64;
const SEND_BUFFER: usize = 16 << 20;
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
