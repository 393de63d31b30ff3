//! The XDP program of one device: loading it, attaching it, and the tables that say which packets are ours.

mod link;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::Xdp;
use rustix::fd::{BorrowedFd, OwnedFd};

use crate::fault::Fault;

/// How the program hangs on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// Run by the driver, before the kernel makes a packet buffer.
    Native,
    /// Run by the kernel for a driver that has no XDP. AF_XDP then copies.
    Generic,
}

/// What a local port is to the stack: the bits of steer.c's `ports`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortUse {
    pub(crate) wildcard: bool,
    pub(crate) exact: bool,
    pub(crate) leased: bool,
}

pub(crate) struct Steering {
    attachment: Attachment,
    link: OwnedFd,
    sockets: XskMap<MapData>,
    ports: Array<MapData, u32>,
    listeners: HashMap<MapData, [u8; 8], u32>,
    local_addresses: HashMap<MapData, [u8; 4], u32>,
    redirected: PerCpuArray<MapData, u64>,
    known_addresses: HashSet<Ipv4Addr>,
    // Holds the loaded program; the tables above were taken out of it.
    _program: Ebpf,
}

impl Steering {
    /// Loads the program and attaches it, to the driver if that can, else generically. It passes everything until told otherwise.
    pub(crate) fn attach(device: &str, ifindex: u32, generic_only: bool) -> Result<Steering, Fault> {
        let mut program = Ebpf::load(OBJECT).map_err(|error| Fault::new(explain_load(&error)))?;
        let steer: &mut Xdp = program
            .program_mut("steer")
            .ok_or_else(|| Fault::new("the built-in BPF object has no program steer: rebuild shunt"))?
            .try_into()
            .map_err(Fault::of("the built-in BPF object"))?;
        steer.load().map_err(|error| Fault::new(explain_load(&error)))?;
        let fd = steer.fd().map_err(Fault::of("the XDP program"))?;
        let (link, attachment) = link::attach(fd.as_fd().as_raw_fd(), ifindex, generic_only)
            .map_err(|errno| Fault::new(link::explain(device, errno)))?;

        let missing =
            |name| move || Fault::new(format!("the built-in BPF object has no map {name}: rebuild shunt"));
        let mut map = |name| program.take_map(name).ok_or_else(missing(name));
        Ok(Steering {
            attachment,
            link,
            sockets: map("sockets")?.try_into().map_err(bad_map)?,
            ports: map("ports")?.try_into().map_err(bad_map)?,
            listeners: map("listeners")?.try_into().map_err(bad_map)?,
            local_addresses: map("local_addresses")?.try_into().map_err(bad_map)?,
            redirected: map("redirected")?.try_into().map_err(bad_map)?,
            known_addresses: HashSet::new(),
            _program: program,
        })
    }

    pub(crate) fn attachment(&self) -> Attachment {
        self.attachment
    }

    /// The program stays attached for as long as any process holds this descriptor.
    pub(crate) fn link(&self) -> BorrowedFd<'_> {
        rustix::fd::AsFd::as_fd(&self.link)
    }

    /// Takes the program off the device, whoever else holds the link.
    pub(crate) fn detach(&self) {
        link::detach(rustix::fd::AsRawFd::as_raw_fd(&self.link));
    }

    /// From now on, what arrives on `queue` and is ours goes to `socket`.
    pub(crate) fn serve_queue(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), Fault> {
        self.sockets
            .set(queue, rustix::fd::AsRawFd::as_raw_fd(&socket), 0)
            .map_err(|error| Fault::new(format!("cannot steer packets of queue {queue}: {error}")))
    }

    pub(crate) fn mark_port(&mut self, port: u16, usage: PortUse) -> Result<(), Fault> {
        let bits = u32::from(usage.wildcard) | u32::from(usage.exact) << 1 | u32::from(usage.leased) << 2;
        self.ports
            .set(u32::from(port), bits, 0)
            .map_err(|error| Fault::new(format!("cannot steer packets of port {port}: {error}")))
    }

    pub(crate) fn add_listener(&mut self, address: Ipv4Addr, port: u16) -> Result<(), Fault> {
        self.listeners
            .insert(endpoint(address, port), 1, 0)
            .map_err(|error| Fault::new(format!("cannot steer packets of {address}:{port}: {error}")))
    }

    pub(crate) fn remove_listener(&mut self, address: Ipv4Addr, port: u16) -> Result<(), Fault> {
        unless_gone(self.listeners.remove(&endpoint(address, port)))
            .map_err(|error| Fault::new(format!("cannot stop steering {address}:{port}: {error}")))
    }

    /// Makes `addresses` the host's own.
    pub(crate) fn update_local_addresses(&mut self, addresses: &HashSet<Ipv4Addr>) -> Result<(), Fault> {
        for gone in self.known_addresses.difference(addresses) {
            unless_gone(self.local_addresses.remove(&gone.octets()))
                .map_err(|error| Fault::new(format!("cannot stop steering {gone}: {error}")))?;
        }
        for new in addresses.difference(&self.known_addresses) {
            self.local_addresses
                .insert(new.octets(), 1, 0)
                .map_err(|error| Fault::new(format!("cannot steer packets of {new}: {error}")))?;
        }
        self.known_addresses.clone_from(addresses);
        Ok(())
    }

    /// TCP segments and ICMP errors redirected so far.
    pub(crate) fn redirected(&self) -> (u64, u64) {
        let sum = |index| match self.redirected.get(&index, 0) {
            Ok(values) => values.iter().sum(),
            Err(_) => 0,
        };
        (sum(0), sum(1))
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Attachment::Native => "native XDP",
            Attachment::Generic => "generic XDP (the driver has none of its own: slower)",
        })
    }
}

/// As it stands in a packet: see steer.c.
fn endpoint(address: Ipv4Addr, port: u16) -> [u8; 8] {
    let [a, b, c, d] = address.octets();
    let [high, low] = port.to_be_bytes();
    [a, b, c, d, high, low, 0, 0]
}

/// Removing what is not there is no error.
fn unless_gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::SyscallError(error)) if error.io_error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn bad_map(error: MapError) -> Fault {
    Fault::new(format!("the built-in BPF object does not fit this program ({error}): rebuild shunt"))
}

fn explain_load(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<std::io::Error>()
            && io.kind() == ErrorKind::PermissionDenied
        {
            return "the kernel refuses to load an XDP program: run as root (or with CAP_BPF and CAP_NET_ADMIN)".into();
        }
        cause = current.source();
    }
    format!("cannot load the XDP program: {error}")
}

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/steer.o");
