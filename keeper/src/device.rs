//! The device to accelerate: choosing it, and what the stack needs to know of it.

use crate::ethtool;
use crate::fault::{Fault, explain};
use crate::netlink::{AddressRecord, LinkRecord, Netlink, Record};

#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) ifindex: u32,
    pub(crate) mtu: u32,
    /// Queues that it receives by.
    pub(crate) queues: u32,
    /// A sender on the same machine may leave checksums unfinished on it.
    pub(crate) is_virtual: bool,
}

/// The device called `wanted`; or, if no name is given, the only one that can be meant.
pub(crate) fn choose(netlink: &mut Netlink, wanted: Option<&str>) -> Result<Device, Fault> {
    let links = links(netlink)?;
    let addresses = addresses(netlink)?;
    let has_address = |link: &LinkRecord| addresses.iter().any(|address| address.ifindex == link.ifindex);
    let link = match wanted {
        Some(name) => {
            let link = named(&links, name)?;
            if link.is_loopback {
                return Err(Fault::new(format!(
                    "device {name} is the loopback, which needs no card: name another by --dev"
                )));
            }
            if !link.is_up {
                return Err(Fault::new(format!(
                    "device {name} is down: bring it up (ip link set {name} up)"
                )));
            }
            if !has_address(link) {
                return Err(Fault::new(format!(
                    "device {name} has no IPv4 address: give it one (ip addr add ADDRESS dev {name})"
                )));
            }
            link
        }
        None => {
            let usable = |link: &&LinkRecord| link.is_up && !link.is_loopback && has_address(link);
            let candidates: Vec<_> = links.iter().filter(usable).cloned().collect();
            match &candidates[..] {
                [] => {
                    return Err(Fault::new(
                        "no device is up and has an IPv4 address: set one up, or name it by --dev",
                    ));
                }
                [_] => {
                    links.iter().find(usable).ok_or_else(|| Fault::new("the device went away: try again"))?
                }
                several => {
                    return Err(Fault::new(format!(
                        "which device? {} could be meant: say which by --dev",
                        names(several)
                    )));
                }
            }
        }
    };
    describe(link)
}

/// An error that names what there is, unless a device has this name.
pub(crate) fn must_exist(netlink: &mut Netlink, name: &str) -> Result<(), Fault> {
    named(&links(netlink)?, name).map(drop)
}

fn named<'a>(links: &'a [LinkRecord], name: &str) -> Result<&'a LinkRecord, Fault> {
    let found = links.iter().find(|link| link.name == name);
    found.ok_or_else(|| {
        Fault::new(format!("there is no device {name}: the devices here are {}", names(links)))
    })
}

fn describe(link: &LinkRecord) -> Result<Device, Fault> {
    if link.mac.is_none() {
        return Err(Fault::new(format!("device {} is not Ethernet: name another by --dev", link.name)));
    }
    let queues = ethtool::receive_queues(&link.name).map_err(|errno| {
        Fault::new(format!("cannot read the queues of {}: {}", link.name, explain(errno)))
    })?;
    let is_virtual = !link.kind.is_empty() || VIRTUAL_DRIVERS.contains(&ethtool::driver(&link.name).as_str());
    Ok(Device { name: link.name.clone(), ifindex: link.ifindex, mtu: link.mtu, queues, is_virtual })
}

fn names(links: &[LinkRecord]) -> String {
    links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>().join(", ")
}

pub(crate) fn links(netlink: &mut Netlink) -> Result<Vec<LinkRecord>, Fault> {
    let records = netlink
        .links()
        .map_err(|errno| Fault::new(format!("cannot list the devices: {}", explain(errno))))?;
    Ok(records
        .into_iter()
        .filter_map(|record| match record {
            Record::Link(link) => Some(link),
            _ => None,
        })
        .collect())
}

pub(crate) fn addresses(netlink: &mut Netlink) -> Result<Vec<AddressRecord>, Fault> {
    let records = netlink
        .addresses()
        .map_err(|errno| Fault::new(format!("cannot list the addresses: {}", explain(errno))))?;
    Ok(records
        .into_iter()
        .filter_map(|record| match record {
            Record::Address(address) => Some(address),
            _ => None,
        })
        .collect())
}

/// Real to the kernel, but the other end is software on the same machine.
const VIRTUAL_DRIVERS: [&str; 4] = ["virtio_net", "vif", "hv_netvsc", "vmxnet3"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rig::Rig;

    #[test]
    fn the_only_usable_device_is_chosen_and_others_say_what_they_lack() {
        let Some(rig) = Rig::with_queues(2) else { return };
        let mut netlink = Netlink::open().expect("open");
        let device = choose(&mut netlink, None).expect("the only one");
        assert_eq!(
            (device.name.as_str(), device.mtu, device.queues, device.is_virtual),
            ("here", 1500, 2, true)
        );
        rig.ip("link add spare type veth peer name other");
        let mut refused = |name| choose(&mut netlink, name).expect_err("refused").to_string();
        assert!(refused(Some("spare")).contains("ip link set spare up"));
        rig.ip("link set spare up");
        assert!(refused(Some("spare")).contains("no IPv4 address"));
        assert!(refused(Some("nowhere")).contains("the devices here are lo, "));
        assert!(refused(Some("lo")).contains("loopback"));
        rig.ip("addr add 10.96.0.1/24 dev spare");
        assert!(refused(None).contains("here, spare could be meant"));
        rig.ip("link set here down");
        rig.ip("link set spare down");
        assert!(refused(None).contains("no device is up"));
    }
}
