//! An AF_XDP socket on queue 0 of a rig's device, as another program would hold it, written straight on the system calls.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::Outcome;
use crate::rig::{DEVICE, Rig, Side};

const CHUNKS: usize = 64;
const CHUNK_SIZE: u32 = 4096;

/// Holds the queue until it is dropped.
pub struct TakenQueue {
    _socket: OwnedFd,
}

impl TakenQueue {
    pub fn take(rig: &Rig, side: Side) -> Outcome<Self> {
        let namespace = format!("/run/netns/{}", rig.namespace(side));
        // Only the thread that enters the namespace is in it, and it ends here.
        let taken = std::thread::spawn(move || take_in(&namespace)).join();
        match taken {
            Ok(Ok(socket)) => Ok(TakenQueue { _socket: socket }),
            Ok(Err(error)) => Err(format!("taking the queue: {error}")),
            Err(_) => Err("taking the queue broke".to_owned()),
        }
    }
}

fn take_in(namespace: &str) -> io::Result<OwnedFd> {
    let namespace = File::open(namespace)?;
    // SAFETY: the descriptor is open; setns touches no memory.
    checked(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })?;
    // SAFETY: takes numbers alone.
    let number = checked(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the number was just opened and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };

    let length = CHUNKS * CHUNK_SIZE as usize;
    // SAFETY: a fresh anonymous mapping; it stays for as long as the kernel may write there, that is for ever.
    let memory = unsafe {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0)
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let frames = libc::xdp_umem_reg {
        addr: memory as u64,
        len: length as u64,
        chunk_size: CHUNK_SIZE,
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    };
    set(&socket, libc::XDP_UMEM_REG, &frames)?;
    for ring in [libc::XDP_UMEM_FILL_RING, libc::XDP_UMEM_COMPLETION_RING, libc::XDP_RX_RING] {
        set(&socket, ring, &(CHUNKS as u32))?;
    }
    let device = std::ffi::CString::new(DEVICE)?;
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: libc::XDP_COPY,
        // SAFETY: a string that ends in zero.
        sxdp_ifindex: unsafe { libc::if_nametoindex(device.as_ptr()) },
        sxdp_queue_id: 0,
        sxdp_shared_umem_fd: 0,
    };
    // SAFETY: the pointer and the length are those of `address`.
    checked(unsafe { libc::bind(number, (&raw const address).cast(), size_of_val(&address) as u32) })?;
    Ok(socket)
}

fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of `value`.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as u32,
        )
    })?;
    Ok(())
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
