use super::*;
use crate::drive::Stack;
use crate::ip::net::{Device, LocalAddress, Route, RouteKind};
use crate::region::{Region, Sizes};
use core::net::Ipv4Addr;

fn addr(a: u8, b: u8, c: u8, d: u8) -> Addr {
    Ipv4Addr::new(a, b, c, d).into()
}

/// A host with one accelerated device, 10.0.0.1/24, and a default route that stays with the kernel.
fn host() -> Stack {
    let stack = Stack::new(Region::private(Sizes::tiny(), [1, 2], 0).unwrap(), 0, Vec::new());
    let mut s = stack.enter(0, 0).unwrap();
    let device = Device { ifindex: 5, mtu: 1500, queues: 1, ..Device::default() };
    let routes = [
        Route {
            destination: addr(10, 0, 0, 0),
            prefix_len: 24,
            source: addr(10, 0, 0, 1),
            ..Route::default()
        },
        Route { destination: addr(10, 0, 0, 1), prefix_len: 32, kind: RouteKind::LOCAL, ..Route::default() },
        Route { kind: RouteKind::KERNEL, ..Route::default() },
    ];
    s.net.replace(&[device], &[LocalAddress { addr: addr(10, 0, 0, 1), ifindex: 5 }], &routes);
    s.net.lease_ports(40_000, 40_004, [40_001].into_iter());
    drop(s);
    stack
}

#[test]
fn a_route_that_is_not_ours_stays_with_the_kernel() {
    let stack = host();
    let mut s = stack.enter(0, 0).unwrap();
    let to = |s: &mut Shard, a| connect(s, None, (a, 80), &Settings::default(), 0);
    assert_eq!(to(&mut s, addr(8, 8, 8, 8)), Ok(Placement::Kernel(Reason::Route)));
    assert_eq!(to(&mut s, addr(10, 0, 0, 1)), Ok(Placement::Kernel(Reason::LocalPeer)));
    let bound = Some((addr(192, 168, 0, 1), 0));
    let placed = connect(&mut s, bound, (addr(10, 0, 0, 2), 80), &Settings::default(), 0);
    assert_eq!(placed, Ok(Placement::Kernel(Reason::Source)));
}

#[test]
fn leased_ports_are_used_once_for_each_peer_and_none_that_the_kernel_has() {
    let stack = host();
    let mut s = stack.enter(0, 0).unwrap();
    for peer in [addr(10, 0, 0, 2), addr(10, 0, 0, 3)] {
        let mut ports: Vec<u16> = Vec::new();
        while let Ok(Placement::Ours(c)) = connect(&mut s, None, (peer, 80), &Settings::default(), 0) {
            ports.push(s.connections.get(c).unwrap().head.tuple.local_port);
        }
        ports.sort_unstable();
        assert_eq!(ports, [40_000, 40_002, 40_003]);
    }
}
