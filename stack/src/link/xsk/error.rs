//! Why there is no AF_XDP socket, in words that tell the user what to do.

use core::fmt;

use rustix::io::Errno;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// The kernel knows no AF_XDP.
    Unsupported,
    /// Not root, and without the capabilities.
    NotPermitted,
    /// Another program has an AF_XDP socket on this queue.
    QueueTaken,
    /// The limit on locked memory is below the size of the UMEM.
    MemoryLimit,
    /// The card went away, or never had such a queue.
    NoSuchQueue,
    /// Anything else, and where.
    Other(BindStep, Errno),
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindStep {
    Socket,
    Umem,
    Rings,
    Bind,
}

impl BindError {
    /// The same error number means something else at each step.
    pub(super) fn at(step: BindStep, errno: Errno) -> BindError {
        match (step, errno) {
            (BindStep::Socket, Errno::AFNOSUPPORT) => BindError::Unsupported,
            (_, Errno::PERM | Errno::ACCESS) => BindError::NotPermitted,
            (BindStep::Umem, Errno::NOBUFS | Errno::NOMEM) => BindError::MemoryLimit,
            (BindStep::Bind, Errno::BUSY) => BindError::QueueTaken,
            (BindStep::Bind, Errno::NODEV | Errno::NXIO | Errno::INVAL) => BindError::NoSuchQueue,
            _ => BindError::Other(step, errno),
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Unsupported => f.write_str(
                "this kernel has no AF_XDP: use one built with CONFIG_XDP_SOCKETS (Linux 5.4 or later)",
            ),
            BindError::NotPermitted => f.write_str(
                "AF_XDP is not permitted: run as root (or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF)",
            ),
            BindError::QueueTaken => f.write_str(
                "the queue is taken by another AF_XDP program: stop that one, or choose another device",
            ),
            BindError::MemoryLimit => f.write_str(
                "the limit on locked memory is too low: raise it (ulimit -l) or ask for less by --memory",
            ),
            BindError::NoSuchQueue => f.write_str(
                "the device has no such queue (any more): see ip link and ethtool -l for what there is",
            ),
            BindError::Other(step, errno) => write!(f, "cannot set up AF_XDP ({step}): {errno}"),
        }
    }
}

impl fmt::Display for BindStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BindStep::Socket => "socket",
            BindStep::Umem => "UMEM registration",
            BindStep::Rings => "rings",
            BindStep::Bind => "bind",
        })
    }
}

impl core::error::Error for BindError {}
