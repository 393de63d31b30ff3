//! What the kernel tells of, taken out of its messages.

use std::net::Ipv4Addr;

use super::message::{Message, attributes, u16_at, u32_at};

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkRecord {
    pub(crate) ifindex: u32,
    pub(crate) name: String,
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) mtu: u32,
    pub(crate) is_up: bool,
    pub(crate) is_loopback: bool,
    /// What kind of virtual device it is: "veth", "bridge"...; empty for a real one.
    pub(crate) kind: String,
}

/// An IPv4 address of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressRecord {
    pub(crate) ifindex: u32,
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix_length: u8,
    pub(crate) is_secondary: bool,
}

/// An IPv4 route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteRecord {
    pub(crate) table: u32,
    /// RTN_UNICAST, RTN_LOCAL...
    pub(crate) kind: u8,
    pub(crate) destination: Option<Ipv4Addr>,
    pub(crate) prefix_length: u8,
    pub(crate) tos: u8,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) source: Option<Ipv4Addr>,
    pub(crate) ifindex: u32,
    pub(crate) metric: u32,
    pub(crate) mtu: u32,
    pub(crate) is_down: bool,
    /// Several next hops, a next hop of another family, an encapsulation: nothing that we follow.
    pub(crate) is_special: bool,
}

/// Who has an IPv4 address on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NeighbourRecord {
    pub(crate) ifindex: u32,
    pub(crate) address: Ipv4Addr,
    pub(crate) mac: Option<[u8; 6]>,
    /// A set of NUD_ bits.
    pub(crate) state: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Link(LinkRecord),
    Address(AddressRecord),
    Route(RouteRecord),
    Neighbour(NeighbourRecord),
    /// A routing policy rule: the table that it sends lookups to, and whether it holds for all packets.
    Rule {
        table: u32,
        is_plain: bool,
    },
}

/// None for what is not IPv4 or not understood.
pub(super) fn parse(message: Message<'_>) -> Option<Record> {
    match message.kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => link(message.body).map(Record::Link),
        libc::RTM_NEWADDR | libc::RTM_DELADDR => address(message.body).map(Record::Address),
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => route(message.body).map(Record::Route),
        libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => neighbour(message.body).map(Record::Neighbour),
        libc::RTM_NEWRULE | libc::RTM_DELRULE => rule(message.body),
        _ => None,
    }
}

/// `struct ifinfomsg`, then IFLA_ attributes.
fn link(body: &[u8]) -> Option<LinkRecord> {
    let flags = u32_at(body, 8)?;
    let mut link = LinkRecord {
        ifindex: u32_at(body, 4)?,
        name: String::new(),
        mac: None,
        mtu: 0,
        is_up: flags & libc::IFF_UP as u32 != 0,
        is_loopback: flags & libc::IFF_LOOPBACK as u32 != 0,
        kind: String::new(),
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_ADDRESS => link.mac = value.try_into().ok(),
            libc::IFLA_MTU => link.mtu = u32_at(value, 0)?,
            libc::IFLA_LINKINFO => {
                let info = attributes(value).find(|&(kind, _)| kind == libc::IFLA_INFO_KIND);
                link.kind = info.map_or_else(String::new, |(_, value)| text(value));
            }
            _ => {}
        }
    }
    Some(link)
}

/// `struct ifaddrmsg`, then IFA_ attributes.
fn address(body: &[u8]) -> Option<AddressRecord> {
    if *body.first()? != AF_INET {
        return None;
    }
    let mut local = None;
    for (kind, value) in attributes(body.get(8..)?) {
        match kind {
            libc::IFA_LOCAL => local = ipv4(value),
            // Of a point-to-point link it is the peer's, so only if nothing better comes.
            libc::IFA_ADDRESS => local = local.or(ipv4(value)),
            _ => {}
        }
    }
    Some(AddressRecord {
        ifindex: u32_at(body, 4)?,
        address: local?,
        prefix_length: *body.get(1)?,
        is_secondary: u32::from(*body.get(2)?) & libc::IFA_F_SECONDARY != 0,
    })
}

/// `struct rtmsg`, then RTA_ attributes.
fn route(body: &[u8]) -> Option<RouteRecord> {
    if *body.first()? != AF_INET {
        return None;
    }
    let flags = u32_at(body, 8)?;
    let mut route = RouteRecord {
        prefix_length: *body.get(1)?,
        tos: *body.get(3)?,
        table: u32::from(*body.get(4)?),
        kind: *body.get(7)?,
        is_down: flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN) != 0,
        ..RouteRecord::default()
    };
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            libc::RTA_DST => route.destination = ipv4(value),
            libc::RTA_GATEWAY => route.gateway = ipv4(value),
            libc::RTA_PREFSRC => route.source = ipv4(value),
            libc::RTA_OIF => route.ifindex = u32_at(value, 0)?,
            libc::RTA_PRIORITY => route.metric = u32_at(value, 0)?,
            libc::RTA_TABLE => route.table = u32_at(value, 0)?,
            libc::RTA_METRICS => {
                let mtu = attributes(value).find(|&(kind, _)| kind == RTAX_MTU);
                route.mtu = mtu.and_then(|(_, value)| u32_at(value, 0)).unwrap_or(0);
            }
            libc::RTA_MULTIPATH | libc::RTA_VIA | libc::RTA_ENCAP | libc::RTA_SRC => route.is_special = true,
            _ => {}
        }
    }
    Some(route)
}

/// `struct ndmsg`, then NDA_ attributes.
fn neighbour(body: &[u8]) -> Option<NeighbourRecord> {
    if *body.first()? != AF_INET {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            libc::NDA_DST => address = ipv4(value),
            libc::NDA_LLADDR => mac = value.try_into().ok(),
            _ => {}
        }
    }
    Some(NeighbourRecord { ifindex: u32_at(body, 4)?, address: address?, mac, state: u16_at(body, 8)? })
}

/// `struct fib_rule_hdr`, then FRA_ attributes. Plain is a rule that looks at nothing of the packet.
fn rule(body: &[u8]) -> Option<Record> {
    if *body.first()? != AF_INET {
        return None;
    }
    let (lengths, tos, action) = (body.get(1..3)?, *body.get(3)?, *body.get(7)?);
    let mut table = u32::from(*body.get(4)?);
    let mut is_plain = lengths == [0, 0] && tos == 0 && action == FR_ACT_TO_TBL;
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            FRA_TABLE => table = u32_at(value, 0)?,
            FRA_PRIORITY | FRA_SUPPRESS_PREFIXLEN | FRA_PROTOCOL => {}
            _ => is_plain = false,
        }
    }
    Some(Record::Rule { table, is_plain })
}

fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

const AF_INET: u8 = libc::AF_INET as u8;
const RTAX_MTU: u16 = 2;
const RTNH_F_DEAD: u32 = 1;
const RTNH_F_LINKDOWN: u32 = 16;
const FR_ACT_TO_TBL: u8 = 1;
const FRA_PRIORITY: u16 = 6;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_PROTOCOL: u16 = 21;
