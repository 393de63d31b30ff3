//! What the stack is told of the network: its devices, the host's addresses, the routes that lead out by its devices.
//!
//! Whatever the kernel would decide by more than destination and metric is left to the kernel: better not accelerated
//! than sent elsewhere.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use stack::ip::net::{Addr, Device, LocalAddress, Route, RouteKind};

use crate::device;
use crate::fault::{Fault, explain};
use crate::netlink::{AddressRecord, Netlink, Record, RouteRecord};

/// One of our devices, with the number of its first link.
#[derive(Clone, Debug)]
pub(crate) struct Accelerated {
    pub(crate) device: device::Device,
    pub(crate) first_link: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) devices: Vec<Device>,
    pub(crate) addresses: Vec<LocalAddress>,
    pub(crate) routes: Vec<Route>,
    /// Devices of ours that are not there any more.
    pub(crate) gone: Vec<String>,
    /// Policy routing is in use, so that every route stays with the kernel.
    pub(crate) has_policy: bool,
}

impl Picture {
    pub(crate) fn take(netlink: &mut Netlink, ours: &[Accelerated]) -> Result<Picture, Fault> {
        let links = device::links(netlink)?;
        let addresses = device::addresses(netlink)?;
        let routes = netlink
            .routes()
            .map_err(|errno| Fault::new(format!("cannot list the routes: {}", explain(errno))))?;
        let rules = netlink
            .rules()
            .map_err(|errno| Fault::new(format!("cannot list the routing rules: {}", explain(errno))))?;
        let has_policy = rules.iter().any(
            |rule| !matches!(rule, Record::Rule { table, is_plain: true } if PLAIN_TABLES.contains(table)),
        );

        let mut devices = Vec::new();
        // A device that went down or away keeps its place: routes name it by number.
        for Accelerated { device, first_link } in ours {
            let now = links.iter().find(|link| link.ifindex == device.ifindex);
            devices.push(Device {
                ifindex: device.ifindex,
                mtu: now.map_or(device.mtu, |link| link.mtu).min(device.mtu),
                mac: now.and_then(|link| link.mac).unwrap_or_default(),
                first_link: *first_link,
                queues: device.queues.min(u32::from(u8::MAX)) as u8,
                is_virtual: u8::from(device.is_virtual),
                pad: [0; 3],
            });
        }
        let usable =
            |ifindex| links.iter().any(|link| link.ifindex == ifindex && link.is_up && link.mac.is_some());
        let device_of =
            |ifindex| devices.iter().position(|device| device.ifindex == ifindex && usable(ifindex));
        let routes = routes
            .into_iter()
            .filter_map(|record| match record {
                Record::Route(route) if PLAIN_TABLES.contains(&route.table) && !route.is_down => Some(route),
                _ => None,
            })
            .map(|route| convert(&route, device_of(route.ifindex), &addresses, has_policy))
            .collect();
        let addresses = addresses
            .iter()
            .map(|address| LocalAddress { addr: address.address.into(), ifindex: address.ifindex })
            .collect();
        let is_gone = |name: &Accelerated| !links.iter().any(|link| link.ifindex == name.device.ifindex);
        let gone = ours.iter().filter(|ours| is_gone(ours)).map(|ours| ours.device.name.clone()).collect();
        Ok(Picture { devices, addresses, routes, gone, has_policy })
    }

    pub(crate) fn local_addresses(&self) -> HashSet<Ipv4Addr> {
        self.addresses.iter().map(|address| address.addr.into()).collect()
    }
}

fn convert(
    route: &RouteRecord,
    device: Option<usize>,
    addresses: &[AddressRecord],
    has_policy: bool,
) -> Route {
    let kind = match (route.kind, device) {
        (libc::RTN_LOCAL, _) => RouteKind::LOCAL,
        (libc::RTN_UNICAST, Some(_)) if !route.is_special && route.tos == 0 && !has_policy => {
            RouteKind::DEVICE
        }
        _ => RouteKind::KERNEL,
    };
    Route {
        destination: route.destination.unwrap_or(Ipv4Addr::UNSPECIFIED).into(),
        gateway: route.gateway.map_or(Addr::ANY, Addr::from),
        source: route.source.or_else(|| source_for(route, addresses)).map_or(Addr::ANY, Addr::from),
        mtu: route.mtu,
        metric: route.metric,
        prefix_len: route.prefix_length,
        kind,
        device: device.and_then(|number| u8::try_from(number).ok()).unwrap_or(0),
        pad: 0,
    }
}

/// The address that the kernel sends from when the route names none: the first of the device in the net of the next hop, else
/// the device's first (inet_select_addr).
fn source_for(route: &RouteRecord, addresses: &[AddressRecord]) -> Option<Ipv4Addr> {
    let primary =
        || addresses.iter().filter(|address| address.ifindex == route.ifindex && !address.is_secondary);
    let near = route.gateway.or(route.destination);
    let in_net = |address: &&AddressRecord| {
        let shift = 32u32.saturating_sub(u32::from(address.prefix_length));
        near.is_some_and(|near| u64::from(u32::from(near) ^ u32::from(address.address)) >> shift == 0)
    };
    primary().find(in_net).or_else(|| primary().next()).map(|address| address.address)
}

/// The tables that are looked up without any rule of the administrator's: local, main, default.
const PLAIN_TABLES: [u32; 3] = [255, 254, 253];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rig::{HERE, Rig, THERE};

    fn take(rig: &Rig) -> Picture {
        let mut netlink = Netlink::open().expect("open");
        let device = device::choose(&mut netlink, Some("here")).expect("the device");
        assert_eq!(device.ifindex, rig.ifindex());
        Picture::take(&mut netlink, &[Accelerated { device, first_link: 3 }]).expect("taken")
    }

    fn route_to(picture: &Picture, destination: [u8; 4], prefix_len: u8) -> Route {
        let found = picture
            .routes
            .iter()
            .find(|r| r.destination == Ipv4Addr::from(destination).into() && r.prefix_len == prefix_len);
        *found.unwrap_or_else(|| panic!("no route to {destination:?} in {:?}", picture.routes))
    }

    #[test]
    fn routes_out_by_our_device_are_ours_and_all_others_the_kernels() {
        let Some(rig) = Rig::up() else { return };
        rig.ip("link add spare type veth peer name other");
        rig.ip("addr add 10.96.0.1/24 dev spare");
        rig.ip("link set spare up");
        rig.ip("link set other up");
        rig.ip("route add default via 10.98.0.2 dev here");
        rig.ip("route add 10.51.0.0/16 dev here src 10.98.0.1 mtu 1400");
        rig.ip("route add unreachable 10.52.0.0/16");
        rig.ip("route add 10.53.0.0/16 nexthop via 10.98.0.2 dev here nexthop via 10.96.0.2 dev spare");
        let picture = take(&rig);
        let [device] = picture.devices[..] else { panic!("one device") };
        assert_eq!(
            (device.ifindex, device.first_link, device.is_virtual, device.mtu),
            (rig.ifindex(), 3, 1, 1500)
        );
        assert_ne!(device.mac, [0; 6]);
        assert!(picture.local_addresses().is_superset(&HashSet::from([HERE, Ipv4Addr::LOCALHOST])));
        let default = route_to(&picture, [0; 4], 0);
        assert_eq!(
            (default.kind, default.gateway, default.source),
            (RouteKind::DEVICE, THERE.into(), HERE.into())
        );
        let own = route_to(&picture, [10, 51, 0, 0], 16);
        assert_eq!((own.kind, own.gateway, own.mtu), (RouteKind::DEVICE, Addr::ANY, 1400));
        assert_eq!(route_to(&picture, [10, 98, 0, 0], 24).kind, RouteKind::DEVICE);
        assert_eq!(route_to(&picture, HERE.octets(), 32).kind, RouteKind::LOCAL);
        assert_eq!(route_to(&picture, [10, 98, 0, 255], 32).kind, RouteKind::KERNEL, "broadcast");
        for other in [[10, 52, 0, 0], [10, 53, 0, 0]] {
            assert_eq!(route_to(&picture, other, 16).kind, RouteKind::KERNEL);
        }
        assert_eq!(route_to(&picture, [10, 96, 0, 0], 24).kind, RouteKind::KERNEL);
        assert!(!picture.has_policy);

        rig.ip("rule add from 10.1.0.0/16 table 9");
        let picture = take(&rig);
        assert!(picture.has_policy && picture.gone.is_empty());
        assert_eq!(route_to(&picture, [0; 4], 0).kind, RouteKind::KERNEL);
        assert_eq!(route_to(&picture, HERE.octets(), 32).kind, RouteKind::LOCAL);
    }

    #[test]
    fn the_source_is_the_address_in_the_net_of_the_next_hop() {
        let Some(rig) = Rig::up() else { return };
        rig.ip("addr add 10.97.0.1/24 dev here");
        rig.ip("route add 10.54.0.0/16 via 10.97.0.2 dev here");
        rig.ip("route add 10.55.0.0/16 dev here");
        let picture = take(&rig);
        assert_eq!(route_to(&picture, [10, 54, 0, 0], 16).source, Ipv4Addr::new(10, 97, 0, 1).into());
        assert_eq!(route_to(&picture, [10, 55, 0, 0], 16).source, HERE.into());
    }
}
