//! Making and binding the socket: zero-copy if the driver can, else copy mode, and why.

use core::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::sockopt;
use rustix::net::xdp::{SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use rustix::thread::{NanosleepRelativeResult, Timespec, nanosleep};

use super::{BindError, BindStep, RingSizes, UmemArea, Xsk};

/// What to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Zero-copy, and copy mode when the driver refuses.
    Best,
    /// Copy mode at once. The only one that works with an XDP program in generic (SKB) mode.
    Copy,
}

/// What the kernel agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    ZeroCopy,
    /// Copy mode; if zero-copy was tried, with the error that refused it.
    Copy {
        refused: Option<Errno>,
    },
    /// The mode of the socket whose UMEM is shared.
    Shared {
        zero_copy: bool,
    },
}

impl core::fmt::Display for Taken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Taken::ZeroCopy | Taken::Shared { zero_copy: true } => f.write_str("zero-copy"),
            Taken::Copy { refused: None } | Taken::Shared { zero_copy: false } => f.write_str("copy"),
            Taken::Copy { refused: Some(Errno::OPNOTSUPP) } => {
                f.write_str("copy (the driver has no zero-copy)")
            }
            Taken::Copy { refused: Some(errno) } => write!(f, "copy (zero-copy refused: {errno})"),
        }
    }
}

pub(super) fn open(umem: &UmemArea, sizes: RingSizes, registers: bool) -> Result<OwnedFd, BindError> {
    let socket = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .map_err(|errno| BindError::at(BindStep::Socket, errno))?;
    if registers {
        sockopt::set_xdp_umem_reg(&socket, umem.registration())
            .map_err(|errno| BindError::at(BindStep::Umem, errno))?;
    }
    sockopt::set_xdp_umem_fill_ring_size(&socket, sizes.fill)
        .and_then(|()| sockopt::set_xdp_umem_completion_ring_size(&socket, sizes.completion))
        .and_then(|()| sockopt::set_xdp_rx_ring_size(&socket, sizes.rx))
        .and_then(|()| sockopt::set_xdp_tx_ring_size(&socket, sizes.tx))
        .map_err(|errno| BindError::at(BindStep::Rings, errno))?;
    Ok(socket)
}

pub(super) fn bind_alone(socket: &OwnedFd, ifindex: u32, queue: u32, mode: Mode) -> Result<Taken, BindError> {
    let address = |flags| SocketAddrXdp::new(flags | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP, ifindex, queue);
    let mut refused = None;
    if mode == Mode::Best {
        match bind_patiently(socket, &address(SocketAddrXdpFlags::XDP_ZEROCOPY)) {
            Ok(()) => return Ok(Taken::ZeroCopy),
            Err(Errno::BUSY) => return Err(BindError::QueueTaken),
            Err(errno) => refused = Some(errno),
        }
    }
    bind_patiently(socket, &address(SocketAddrXdpFlags::XDP_COPY))
        .map_err(|errno| BindError::at(BindStep::Bind, errno))?;
    Ok(Taken::Copy { refused })
}

/// The kernel takes mode and wakeup from the first socket, and refuses any flag but this one.
pub(super) fn bind_shared(
    socket: &OwnedFd,
    ifindex: u32,
    queue: u32,
    first: &Xsk,
) -> Result<Taken, BindError> {
    let address = SocketAddrXdpWithSharedUmem {
        addr: SocketAddrXdp::new(SocketAddrXdpFlags::XDP_SHARED_UMEM, ifindex, queue),
        shared_umem_fd: first.fd(),
    };
    bind_patiently(socket, &address).map_err(|errno| BindError::at(BindStep::Bind, errno))?;
    Ok(Taken::Shared { zero_copy: first.is_zero_copy() })
}

/// The kernel gives a queue back some time after the last user of it closed: busy may mean "not yet".
fn bind_patiently(socket: &OwnedFd, address: &impl SocketAddrArg) -> Result<(), Errno> {
    let mut result = bind(socket, address);
    for _ in 0..BUSY_RETRIES {
        if result != Err(Errno::BUSY) {
            break;
        }
        sleep(BUSY_PAUSE);
        result = bind(socket, address);
    }
    result
}

fn sleep(pause: Duration) {
    let Ok(mut left) = Timespec::try_from(pause) else { return };
    while let NanosleepRelativeResult::Interrupted(rest) = nanosleep(&left) {
        left = rest;
    }
}

const BUSY_RETRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(20);
