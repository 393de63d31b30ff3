//! Two network namespaces joined by a veth pair, for one test: the test's own thread is in the first, where the device is
//! called `here`; `there` runs things in the second. Both go with the test. Without root there is nothing to test.

use std::net::Ipv4Addr;
use std::process::Command;

use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::net::addr::{SocketAddrArg, SocketAddrOpaque};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};
use rustix::process::geteuid;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

pub(crate) const HERE: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
pub(crate) const THERE: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 2);

pub(crate) struct Rig {
    there: OwnedFd,
}

impl Rig {
    pub(crate) fn up() -> Option<Rig> {
        Rig::with_queues(1)
    }

    pub(crate) fn with_queues(queues: u32) -> Option<Rig> {
        if !geteuid().is_root() {
            eprintln!("not root: skipped");
            return None;
        }
        new_namespace();
        let here = own_namespace();
        new_namespace();
        let rig = Rig { there: own_namespace() };
        enter(&here);
        let sizes = format!("numrxqueues {queues} numtxqueues {queues}");
        // The other namespace has no name: it is told by a process that is in it.
        let mut inside = rig.there(|| Command::new("sleep").arg("60").spawn()).expect("sleep runs");
        rig.ip(&format!("link add here {sizes} type veth peer name there {sizes} netns {}", inside.id()));
        rig.ip("addr add 10.98.0.1/24 dev here");
        rig.ip("link set here up");
        rig.ip("link set lo up");
        rig.there(|| ip("addr add 10.98.0.2/24 dev there"));
        rig.there(|| ip("link set there up"));
        inside.kill().and_then(|()| inside.wait()).expect("ended");
        Some(rig)
    }

    pub(crate) fn ifindex(&self) -> u32 {
        ifindex("here")
    }

    pub(crate) fn ip(&self, arguments: &str) {
        ip(arguments);
    }

    /// Runs `action` in the other namespace, on a thread that ends with it.
    pub(crate) fn there<R: Send>(&self, action: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(&self.there);
                action()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Puts a frame on the wire towards `here`.
    pub(crate) fn there_sends(&self, frame: Vec<u8>) {
        self.there(move || {
            let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None);
            let sent =
                sendto(socket.expect("a socket"), &frame, SendFlags::empty(), &Device(ifindex("there")));
            assert_eq!(sent, Ok(frame.len()));
        });
    }
}

/// A packet socket's address: the device that a frame leaves by.
struct Device(u32);

// SAFETY: the pointer and length are those of a live, initialised sockaddr_ll.
unsafe impl SocketAddrArg for Device {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, u32) -> R) -> R {
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: 0,
            sll_ifindex: self.0 as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0xff; 8],
        };
        f((&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32)
    }
}

fn new_namespace() {
    // SAFETY: only this thread's network namespace changes, and a test's thread has no sockets yet.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
}

fn own_namespace() -> OwnedFd {
    open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("opened")
}

fn enter(namespace: &OwnedFd) {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("entered");
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip runs");
    assert!(status.success(), "ip {arguments}");
}

fn ifindex(name: &str) -> u32 {
    let any =
        socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).expect("a socket");
    name_to_index(&any, name).expect("the device is there")
}
