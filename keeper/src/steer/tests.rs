//! What the program lets through and what it takes, shown with kernel sockets at both ends of a veth pair.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use stack::link::xsk::{KernelDrops, Mode, RingSizes, UmemArea, Xsk};

use super::*;
use crate::test_rig::{HERE, Rig, THERE};

const CHUNK: u32 = 2048;
const CHUNKS: u32 = 512;

fn umem() -> UmemArea {
    let len = (CHUNK * CHUNKS) as usize;
    // SAFETY: a new mapping, which is never unmapped.
    let base = unsafe {
        mmap_anonymous(core::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
    };
    UmemArea { base: base.expect("memory").cast(), len, chunk_size: CHUNK, headroom: 0 }
}

/// A socket on queue 0 that has chunks to receive into.
fn socket(area: &UmemArea, ifindex: u32, mode: Mode) -> Xsk {
    // SAFETY: the area is never unmapped.
    let (xsk, _) =
        unsafe { Xsk::create(area, ifindex, 0, mode, RingSizes::default(), None) }.expect("a socket");
    for i in 0..u64::from(CHUNKS) {
        assert!(xsk.refill(i * u64::from(CHUNK)));
    }
    xsk
}

/// Frames that arrive within the time, until `count` of them.
fn frames(xsk: &Xsk, area: &UmemArea, count: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(2);
    while frames.len() < count && Instant::now() < deadline {
        let seen = xsk.peek_received(64, |address, length| {
            assert!(address as usize + length as usize <= area.len);
            // SAFETY: just checked to lie in the mapping; the kernel does not write to a chunk that it handed out.
            frames.push(
                unsafe { core::slice::from_raw_parts(area.base.add(address as usize), length as usize) }
                    .to_vec(),
            );
        });
        xsk.skip_received(seen);
    }
    frames
}

fn port_of(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[36], frame[37]])
}

fn connects(rig: &Rig, address: SocketAddr) -> bool {
    rig.there(move || TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok())
}

#[test]
fn only_tcp_to_our_ports_on_local_addresses_is_taken() {
    let Some(rig) = Rig::up() else { return };
    let mut steering = Steering::attach("here", rig.ifindex(), false).expect("attached");
    assert_eq!(steering.attachment(), Attachment::Native);
    let area = umem();
    let xsk = socket(&area, rig.ifindex(), Mode::Best);
    let kernel = TcpListener::bind((HERE, 0)).expect("a kernel listener");
    let address = kernel.local_addr().expect("its address");
    assert!(connects(&rig, address), "nothing is ours yet");

    let wildcard = PortUse { wildcard: true, ..PortUse::default() };
    steering.mark_port(address.port(), wildcard).expect("marked");
    assert!(connects(&rig, address), "the address is not known as local, so the packet is not ours");
    steering.update_local_addresses(&HashSet::from([HERE])).expect("updated");
    assert!(connects(&rig, address), "no socket serves the queue, so the packet passes");
    assert_eq!(steering.redirected(), (0, 0));

    steering.serve_queue(0, xsk.fd()).expect("served");
    assert!(!connects(&rig, address), "the SYN went to the stack");
    let taken = frames(&xsk, &area, 1);
    assert_eq!(taken.first().map(|frame| port_of(frame)), Some(address.port()));
    assert_eq!(steering.redirected(), (1, 0));

    let other = TcpListener::bind((HERE, 0)).expect("another port");
    assert!(connects(&rig, other.local_addr().expect("its address")), "other ports stay with the kernel");
    assert!(rig.there(|| UdpSocket::bind((THERE, 0)).and_then(|udp| udp.send_to(b"x", (HERE, 9))).is_ok()));

    steering.update_local_addresses(&HashSet::new()).expect("updated");
    assert!(connects(&rig, address), "the address is gone");
}

#[test]
fn a_listener_on_one_address_leaves_the_port_of_another_alone() {
    let Some(rig) = Rig::up() else { return };
    rig.ip("addr add 10.98.0.3/24 dev here");
    let second = Ipv4Addr::new(10, 98, 0, 3);
    let mut steering = Steering::attach("here", rig.ifindex(), false).expect("attached");
    let area = umem();
    let xsk = socket(&area, rig.ifindex(), Mode::Best);
    steering.serve_queue(0, xsk.fd()).expect("served");
    steering.update_local_addresses(&HashSet::from([HERE, second])).expect("updated");
    let kernel = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a kernel listener");
    let port = kernel.local_addr().expect("its address").port();
    steering.mark_port(port, PortUse { exact: true, ..PortUse::default() }).expect("marked");
    steering.add_listener(second, port).expect("added");
    assert!(connects(&rig, (HERE, port).into()));
    assert!(!connects(&rig, (second, port).into()));
    steering.remove_listener(second, port).expect("removed");
    steering.remove_listener(second, port).expect("twice is no error");
    assert!(connects(&rig, (second, port).into()));
}

#[test]
fn an_icmp_error_follows_the_flow_that_it_quotes() {
    let Some(rig) = Rig::up() else { return };
    let mut steering = Steering::attach("here", rig.ifindex(), false).expect("attached");
    let area = umem();
    let xsk = socket(&area, rig.ifindex(), Mode::Best);
    steering.serve_queue(0, xsk.fd()).expect("served");
    steering.update_local_addresses(&HashSet::from([HERE])).expect("updated");
    steering.mark_port(7777, PortUse { leased: true, ..PortUse::default() }).expect("marked");
    for (port, quoted) in [(7777, true), (7778, false)] {
        rig.there_sends(icmp_unreachable(port));
        let taken = frames(&xsk, &area, if quoted { 1 } else { 0 });
        assert_eq!(taken.len(), usize::from(quoted), "quoting port {port}");
    }
    assert_eq!(steering.redirected(), (0, 1));
}

/// An Ethernet frame with "port unreachable" about a segment that HERE sent from `port`.
fn icmp_unreachable(port: u16) -> Vec<u8> {
    let header = |protocol: u8, source: Ipv4Addr, destination: Ipv4Addr| {
        let mut ip = vec![0x45, 0, 0, 56, 0, 0, 0, 0, 64, protocol, 0, 0];
        ip.extend(source.octets());
        ip.extend(destination.octets());
        ip
    };
    let mut frame = vec![0xff; 12];
    frame.extend([8, 0]);
    frame.extend(header(1, THERE, HERE));
    frame.extend([3, 3, 0, 0, 0, 0, 0, 0]);
    frame.extend(header(6, HERE, THERE));
    frame.extend(port.to_be_bytes());
    frame.extend([0, 80, 0, 0, 0, 0]);
    frame
}

#[test]
fn fragments_and_other_traffic_pass() {
    let Some(rig) = Rig::up() else { return };
    let mut steering = Steering::attach("here", rig.ifindex(), false).expect("attached");
    let area = umem();
    let xsk = socket(&area, rig.ifindex(), Mode::Best);
    steering.serve_queue(0, xsk.fd()).expect("served");
    steering.update_local_addresses(&HashSet::from([HERE])).expect("updated");
    steering.mark_port(7777, PortUse { wildcard: true, ..PortUse::default() }).expect("marked");
    let segment = |fragment: u16, options: usize, protocol: u8| {
        let mut frame = vec![0xff; 12];
        frame.extend([8, 0, 0x45 + options as u8, 0, 0, (40 + options * 4) as u8, 0, 0]);
        frame.extend(fragment.to_be_bytes());
        frame.extend([64, protocol, 0, 0]);
        frame.extend(THERE.octets());
        frame.extend(HERE.octets());
        frame.extend(vec![1; options * 4]);
        frame.extend([1, 2]);
        frame.extend(7777u16.to_be_bytes());
        frame.extend([0; 16]);
        frame
    };
    // Don't-fragment and options do not matter; more-fragments, an offset and another protocol do.
    for (frame, ours) in [
        (segment(0x4000, 0, 6), true),
        (segment(0, 3, 6), true),
        (segment(0x2000, 0, 6), false),
        (segment(0x0005, 0, 6), false),
        (segment(0, 0, 17), false),
    ] {
        rig.there_sends(frame.clone());
        assert_eq!(frames(&xsk, &area, usize::from(ours)).len(), usize::from(ours), "{frame:?}");
    }
}

/// What a kernel TCP sender on the other end of a veth pair puts into our ring: nothing longer than the MTU (the kernel takes
/// segmentation offload away from the peer of a device with XDP), but the checksum is the pseudo-header's alone.
#[test]
fn a_kernel_peer_on_veth_sends_whole_frames_with_half_a_checksum() {
    for mode in ["native", "generic"] {
        let Some(rig) = Rig::up() else { return };
        let generic = mode == "generic";
        let mut steering = Steering::attach("here", rig.ifindex(), generic).expect("attached");
        let area = umem();
        let xsk = socket(&area, rig.ifindex(), Mode::Copy);
        let listener = TcpListener::bind((HERE, 0)).expect("a listener");
        let address = listener.local_addr().expect("its address");
        let sender = rig.there(move || {
            let mut stream = TcpStream::connect(address).expect("connected");
            stream.set_write_timeout(Some(Duration::from_millis(300))).expect("set");
            stream.write_all(b"to the kernel").expect("written");
            stream
        });
        let (mut accepted, _) = listener.accept().expect("accepted");
        let mut greeting = [0; 13];
        accepted.read_exact(&mut greeting).expect("read");
        // Now the connection's packets go to us, and the kernel's end hears no more of it.
        steering.update_local_addresses(&HashSet::from([HERE])).expect("updated");
        steering.mark_port(address.port(), PortUse { wildcard: true, ..PortUse::default() }).expect("marked");
        steering.serve_queue(0, xsk.fd()).expect("served");
        let write = (&sender).write(&[7; 64000]);
        assert!(write.is_ok() || write.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
        let taken = frames(&xsk, &area, 10);
        let longest = taken.iter().map(Vec::len).max();
        let partial = taken.iter().filter(|frame| has_pseudo_header_sum(frame)).count();
        let drops = KernelDrops::at(xsk.fd()).expect("statistics");
        eprintln!("{mode}: {} frames, longest {longest:?}, {partial} partial, {drops:?}", taken.len());
        assert_eq!((mode, longest), (mode, Some(1514)));
        assert_eq!(partial, taken.len());
    }
}

fn has_pseudo_header_sum(frame: &[u8]) -> bool {
    let tcp_length = u16::from_be_bytes([frame[16], frame[17]]) - 20;
    let words = frame[26..34].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum = words.sum::<u32>() + 6 + u32::from(tcp_length);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16 == u16::from_be_bytes([frame[50], frame[51]])
}

#[test]
fn a_device_with_another_program_is_refused_with_advice() {
    let Some(rig) = Rig::up() else { return };
    let first = Steering::attach("here", rig.ifindex(), false).expect("attached");
    let fault = Steering::attach("here", rig.ifindex(), false).err().expect("taken").to_string();
    assert!(fault.contains("xdp off"), "{fault}");
    drop(first);
    Steering::attach("here", rig.ifindex(), false)
        .expect("free again when the link's last descriptor is closed");
}
