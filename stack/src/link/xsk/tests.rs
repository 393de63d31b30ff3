//! Sockets on a veth pair in a network namespace that this test's thread alone is in. Without root there is nothing to test.

use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use rustix::process::geteuid;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::*;

const SIZES: RingSizes = RingSizes { rx: 64, tx: 256, fill: 64, completion: 256 };
const CHUNK: u32 = 2048;
const CHUNKS: u32 = 512;

/// Runs `test` in a network namespace of its own with `here` and `there`, a veth pair of two queues.
fn on_a_veth_pair(test: impl FnOnce(u32) + Send + 'static) {
    if !geteuid().is_root() {
        eprintln!("not root: skipped");
        return;
    }
    let thread = std::thread::spawn(move || {
        // SAFETY: a fresh thread that shares no descriptors or file system state by what is unshared here.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
        ip("link add here numrxqueues 2 numtxqueues 2 type veth peer name there numrxqueues 2 numtxqueues 2");
        ip("link set here up");
        ip("link set there up");
        test(index("here"));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip runs");
    assert!(status.success(), "ip {arguments}");
}

fn index(name: &str) -> u32 {
    let any =
        socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).expect("a socket");
    name_to_index(&any, name).expect("the device is there")
}

fn umem() -> UmemArea {
    let len = (CHUNK * CHUNKS) as usize;
    // SAFETY: a new mapping; it is never unmapped, as `create` demands.
    let base = unsafe {
        mmap_anonymous(core::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
    };
    UmemArea { base: base.expect("memory").cast(), len, chunk_size: CHUNK, headroom: 0 }
}

fn create(
    umem: &UmemArea,
    ifindex: u32,
    queue: u32,
    shared: Option<&Xsk>,
) -> Result<(Xsk, Taken), BindError> {
    // SAFETY: `umem` is never unmapped.
    unsafe { Xsk::create(umem, ifindex, queue, Mode::Best, SIZES, shared) }
}

/// A broadcast frame whose type belongs to local experiments (RFC 5342), with a number in it.
fn write_frame(umem: &UmemArea, address: u64, number: u8) {
    let mut frame = [0u8; 60];
    frame[..6].fill(0xff);
    frame[6] = 2;
    frame[12..14].copy_from_slice(&0x88b5u16.to_be_bytes());
    frame[14] = number;
    // SAFETY: `address` is the start of a chunk of the mapping, and 60 < CHUNK.
    unsafe { umem.base.add(address as usize).copy_from_nonoverlapping(frame.as_ptr(), frame.len()) }
}

#[test]
fn frames_of_two_processes_leave_by_one_ring_and_come_back() {
    on_a_veth_pair(|ifindex| {
        let umem = umem();
        let (xsk, taken) = create(&umem, ifindex, 0, None).expect("a socket");
        // LINUX: veth has no zero-copy.
        assert!(matches!(taken, Taken::Copy { refused: Some(_) }), "{taken:?}");
        let passed = rustix::io::fcntl_dupfd_cloexec(xsk.fd(), 0).expect("a descriptor");
        let other = Xsk::attach(passed, SIZES).expect("the same rings again");
        let listener = {
            let protocol =
                rustix::net::Protocol::from_raw(0x88b5u32.to_be().rotate_left(16).try_into().expect("not 0"));
            socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::NONBLOCK, Some(protocol))
                .expect("a socket")
        };
        const FRAMES: u32 = 100;
        for i in 0..FRAMES {
            let address = u64::from(i * CHUNK);
            write_frame(&umem, address, i as u8);
            let sender = if i % 2 == 0 { &xsk } else { &other };
            assert!(sender.transmit(address, 60));
        }
        assert_eq!(
            (xsk.tx_unsent(), other.tx_unsent(), other.tx_free()),
            (FRAMES, FRAMES, SIZES.tx - FRAMES)
        );
        assert!(xsk.needs_kick(), "copy mode sends nothing by itself");
        Xsk::kick(other.fd()).expect("more than one system call's worth is sent");
        assert!(!xsk.needs_kick());

        let mut addresses = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        while addresses.len() < FRAMES as usize && Instant::now() < deadline {
            xsk.complete(7, |address| addresses.push(address));
            other.complete(7, |address| addresses.push(address));
        }
        addresses.sort_unstable();
        let sent: Vec<u64> = (0..FRAMES).map(|i| u64::from(i * CHUNK)).collect();
        assert_eq!(addresses, sent, "each frame comes back once");

        let mut numbers = Vec::new();
        let mut buffer = [0u8; 2048];
        while let Ok((received, length)) = recv(&listener, &mut buffer[..], RecvFlags::empty()) {
            // The packet socket sees the frame arrive at `there`; the way out of `here` passes no tap.
            assert_eq!((received, length), (60, 60));
            numbers.push(buffer[14]);
        }
        assert_eq!(numbers, (0..FRAMES as u8).collect::<Vec<_>>(), "in order");
        assert_eq!(KernelDrops::at(xsk.fd()).expect("statistics"), KernelDrops::default());
        assert_eq!((xsk.corrupted(), other.corrupted()), (0, 0));
    });
}

#[test]
fn queues_share_one_umem_and_have_their_own_rings() {
    on_a_veth_pair(|ifindex| {
        let umem = umem();
        let (first, _) = create(&umem, ifindex, 0, None).expect("queue 0");
        let (second, taken) = create(&umem, ifindex, 1, Some(&first)).expect("queue 1");
        assert_eq!(taken, Taken::Shared { zero_copy: false });
        assert!(first.refill(0));
        assert_eq!((first.fill_free(), second.fill_free()), (SIZES.fill - 1, SIZES.fill));
        write_frame(&umem, u64::from(CHUNK), 1);
        assert!(second.transmit(u64::from(CHUNK), 60));
        Xsk::kick(second.fd()).expect("sent");
        let mut returned = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        while returned.is_empty() && Instant::now() < deadline {
            first.complete(9, |_| panic!("the completion belongs to queue 1"));
            second.complete(9, |address| returned.push(address));
        }
        assert_eq!(returned, [u64::from(CHUNK)]);
    });
}

#[test]
fn what_cannot_be_bound_says_why() {
    on_a_veth_pair(|ifindex| {
        let area = umem();
        assert_eq!(create(&area, ifindex, 2, None).err(), Some(BindError::NoSuchQueue));
        assert_eq!(create(&area, 9999, 0, None).err(), Some(BindError::NoSuchQueue));
        let (_holder, _) = create(&area, ifindex, 0, None).expect("a socket");
        let began = Instant::now();
        assert_eq!(create(&umem(), ifindex, 0, None).err(), Some(BindError::QueueTaken));
        assert!(
            began.elapsed() > Duration::from_millis(500),
            "busy may mean not yet: it is tried for a while"
        );
    });
}

#[test]
fn rings_of_the_wrong_size_are_refused() {
    on_a_veth_pair(|ifindex| {
        let (xsk, _) = create(&umem(), ifindex, 0, None).expect("a socket");
        let passed = || rustix::io::fcntl_dupfd_cloexec(xsk.fd(), 0).expect("a descriptor");
        assert!(Xsk::attach(passed(), RingSizes { rx: 1 << 20, ..SIZES }).is_err());
        assert!(Xsk::attach(passed(), RingSizes { tx: 63, ..SIZES }).is_err());
        assert!(Xsk::attach(passed(), SIZES).is_ok());
        let plain = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .expect("a socket");
        assert!(Xsk::attach(plain, SIZES).is_err(), "not an AF_XDP socket");
    });
}

#[test]
fn a_scribbled_index_is_survived() {
    on_a_veth_pair(|ifindex| {
        let umem = umem();
        let (xsk, _) = create(&umem, ifindex, 0, None).expect("a socket");
        xsk.tx.producer_for_test().store(0x7777_7777, Ordering::Relaxed);
        assert_eq!(xsk.tx_free(), 0);
        assert!(!xsk.transmit(0, 60));
        assert_eq!(xsk.corrupted(), 1);
        write_frame(&umem, 0, 1);
        assert!(xsk.transmit(0, 60), "the ring works again");
        Xsk::kick(xsk.fd()).expect("sent");
        let mut returned = 0;
        let deadline = Instant::now() + Duration::from_secs(5);
        while returned == 0 && Instant::now() < deadline {
            returned += xsk.complete(9, |_| ());
        }
        assert_eq!(returned, 1);
    });
}
