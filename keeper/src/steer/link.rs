//! Attaching by a bpf_link: the program goes when the last descriptor of the link is closed, however its holder ended.
//!
//! aya falls back to an attachment that outlives us and keeps the link's descriptor to itself, which programs must hold too.

use std::os::fd::RawFd;

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::Errno;

use super::Attachment;

/// Native, or generic when the driver has no XDP.
pub(super) fn attach(
    program: RawFd,
    ifindex: u32,
    generic_only: bool,
) -> Result<(OwnedFd, Attachment), Errno> {
    if generic_only {
        return Ok((create_link(program, ifindex, XDP_FLAGS_SKB_MODE)?, Attachment::Generic));
    }
    match create_link(program, ifindex, XDP_FLAGS_DRV_MODE) {
        Ok(link) => Ok((link, Attachment::Native)),
        // Another program holds the device: generic mode would be refused too, or would not see its packets.
        Err(errno @ (Errno::BUSY | Errno::EXIST | Errno::PERM)) => Err(errno),
        Err(_) => Ok((create_link(program, ifindex, XDP_FLAGS_SKB_MODE)?, Attachment::Generic)),
    }
}

pub(super) fn explain(device: &str, errno: Errno) -> String {
    match errno {
        Errno::BUSY | Errno::EXIST => format!(
            "device {device} has an XDP program already: remove it (ip link set {device} xdp off), or stop the program that put it there"
        ),
        Errno::PERM => format!(
            "not permitted to attach XDP to {device}: run as root (or with CAP_NET_ADMIN and CAP_BPF)"
        ),
        Errno::INVAL => format!(
            "the kernel refuses XDP on {device} (Linux 5.9 or later is needed, and an MTU that fits one page)"
        ),
        errno => format!(
            "device {device} takes no XDP program, native or generic ({errno}): choose another by --dev"
        ),
    }
}

/// The part of `union bpf_attr` that BPF_LINK_CREATE reads.
#[repr(C)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    rest: [u64; 4],
}

fn create_link(program: RawFd, ifindex: u32, flags: u32) -> Result<OwnedFd, Errno> {
    let attributes =
        LinkCreate { program: program as u32, ifindex, attach_type: BPF_XDP, flags, rest: [0; 4] };
    // SAFETY: the kernel reads `size_of::<LinkCreate>()` bytes of a live value and keeps no pointer to it.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const attributes, size_of::<LinkCreate>())
    };
    if result < 0 {
        let errno = std::io::Error::last_os_error().raw_os_error();
        return Err(errno.map_or(Errno::IO, Errno::from_raw_os_error));
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}

/// A link that is detached already stays so.
pub(super) fn detach(link: RawFd) {
    let attributes: u32 = link as u32;
    // SAFETY: the kernel reads four bytes of a live value.
    let _ = unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_DETACH, &raw const attributes, size_of::<u32>()) };
}

const BPF_LINK_DETACH: libc::c_long = 34;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
