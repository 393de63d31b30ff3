//! The netlink socket: one for questions and answers, one that listens to changes.

use std::net::Ipv4Addr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
    sockopt,
};

use super::message::{Message, Request, messages, u32_at};
use super::records::{Record, parse};

/// Asks, and waits for the answer.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    pub(crate) fn open() -> Result<Netlink, Errno> {
        Ok(Netlink { socket: open_socket(0, SocketFlags::empty())?, sequence: 0 })
    }

    pub(crate) fn links(&mut self) -> Result<Vec<Record>, Errno> {
        self.records(Request::dump(libc::RTM_GETLINK, 0, 16))
    }

    pub(crate) fn addresses(&mut self) -> Result<Vec<Record>, Errno> {
        self.records(Request::dump(libc::RTM_GETADDR, AF_INET, 8))
    }

    pub(crate) fn routes(&mut self) -> Result<Vec<Record>, Errno> {
        self.records(Request::dump(libc::RTM_GETROUTE, AF_INET, 12))
    }

    pub(crate) fn rules(&mut self) -> Result<Vec<Record>, Errno> {
        self.records(Request::dump(libc::RTM_GETRULE, AF_INET, 12))
    }

    pub(crate) fn neighbours(&mut self) -> Result<Vec<Record>, Errno> {
        self.records(Request::dump(libc::RTM_GETNEIGH, AF_INET, 12))
    }

    /// Has the kernel find out who has `address`, or make sure that he still has it: what the kernel does by itself for a
    /// neighbour that it sends to. The answer comes as an event.
    pub(crate) fn resolve(&mut self, ifindex: u32, address: Ipv4Addr) -> Result<(), Errno> {
        let mut fixed = [0; 12];
        fixed[0] = AF_INET;
        fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        fixed[10] = NTF_USE;
        let flags = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE | libc::NLM_F_ACK) as u16;
        let request =
            Request::new(libc::RTM_NEWNEIGH, flags, &fixed).attribute(libc::NDA_DST, &address.octets());
        self.ask(request, |_| ())
    }

    fn records(&mut self, request: Request) -> Result<Vec<Record>, Errno> {
        let mut records = Vec::new();
        self.ask(request, |message| records.extend(parse(message)))?;
        Ok(records)
    }

    fn ask(&mut self, request: Request, mut each: impl FnMut(Message<'_>)) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        send(&self.socket, &request.finish(self.sequence), SendFlags::empty())?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = receive(&self.socket, &mut buffer)?;
            for message in messages(buffer.get(..length).unwrap_or(&[])) {
                if message.sequence != self.sequence {
                    continue;
                }
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => {
                        let code = u32_at(message.body, 0).ok_or(Errno::BADMSG)? as i32;
                        return if code == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(-code)) };
                    }
                    _ => each(message),
                }
            }
        }
    }
}

/// All rules of nftables in this network namespace.
pub(crate) fn count_nftables_rules() -> Result<usize, Errno> {
    let socket = open_netlink(Some(NETFILTER), 0, SocketFlags::empty())?;
    let mut netlink = Netlink { socket, sequence: 0 };
    let mut rules = 0;
    // Family 0 means all of them.
    netlink.ask(Request::dump(NFT_GETRULE, 0, 4), |_| rules += 1)?;
    Ok(rules)
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Links, addresses, routes or rules are not what they were: ask again.
    Configuration,
    /// A neighbour is known, or not any more.
    Neighbour { record: super::NeighbourRecord, is_gone: bool },
    /// The kernel had more to tell than we took in time: ask for everything again.
    Lost,
}

/// Listens to changes.
pub(crate) struct Events {
    socket: OwnedFd,
}

impl Events {
    pub(crate) fn open() -> Result<Events, Errno> {
        let groups =
            [RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV4_RULE];
        let mask = groups.into_iter().fold(0, |mask, group| mask | 1 << (group - 1));
        let socket = open_socket(mask, SocketFlags::NONBLOCK)?;
        // A burst of neighbours must not make us lose events; root may go past the limit, others get what they get.
        if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
        }
        Ok(Events { socket })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// All that has come so far.
    pub(crate) fn take(&self) -> Result<Vec<Event>, Errno> {
        let mut events = Vec::new();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = match receive(&self.socket, &mut buffer) {
                Ok(length) => length,
                Err(Errno::AGAIN) => return Ok(events),
                Err(Errno::NOBUFS) => {
                    events.push(Event::Lost);
                    continue;
                }
                Err(errno) => return Err(errno),
            };
            for message in messages(buffer.get(..length).unwrap_or(&[])) {
                let event = match parse(message) {
                    Some(Record::Neighbour(record)) => {
                        Event::Neighbour { record, is_gone: message.kind == libc::RTM_DELNEIGH }
                    }
                    Some(_) if events.last() != Some(&Event::Configuration) => Event::Configuration,
                    _ => continue,
                };
                events.push(event);
            }
        }
    }
}

fn open_socket(groups: u32, flags: SocketFlags) -> Result<OwnedFd, Errno> {
    open_netlink(None, groups, flags)
}

/// No protocol means NETLINK_ROUTE, whose number is 0.
fn open_netlink(protocol: Option<Protocol>, groups: u32, flags: SocketFlags) -> Result<OwnedFd, Errno> {
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, flags | SocketFlags::CLOEXEC, protocol)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((length, _)) => return Ok(length),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

const AF_INET: u8 = libc::AF_INET as u8;
const NETFILTER: Protocol = rustix::net::netlink::NETFILTER;
/// NFNL_SUBSYS_NFTABLES, NFT_MSG_GETRULE.
const NFT_GETRULE: u16 = 10 << 8 | 7;
const NTF_USE: u8 = 1;
/// The kernel fills dumps by 32 KiB at most.
const DATAGRAM: usize = 32 << 10;
const RECEIVE_BUFFER: usize = 4 << 20;
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_NEIGH: u32 = 3;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV4_RULE: u32 = 8;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::AddressRecord;
    use super::*;
    use crate::test_rig::{HERE, Rig, THERE};

    #[test]
    fn the_kernel_tells_links_addresses_routes_and_rules() {
        let Some(rig) = Rig::up() else { return };
        rig.ip("route add 10.50.0.0/16 via 10.98.0.2 dev here mtu 1400 metric 7");
        let mut netlink = Netlink::open().expect("open");
        let links = netlink.links().expect("links");
        let here = links.iter().find_map(|record| match record {
            Record::Link(link) if link.name == "here" => Some(link),
            _ => None,
        });
        let here = here.expect("the device is listed");
        assert_eq!((here.ifindex, here.mtu, here.kind.as_str()), (rig.ifindex(), 1500, "veth"));
        assert!(here.is_up && !here.is_loopback && here.mac.is_some());
        let addresses = netlink.addresses().expect("addresses");
        let address =
            AddressRecord { ifindex: rig.ifindex(), address: HERE, prefix_length: 24, is_secondary: false };
        assert!(addresses.contains(&Record::Address(address)), "{addresses:?}");
        let routes = netlink.routes().expect("routes");
        let route = routes.iter().find_map(|record| match record {
            Record::Route(route) if route.gateway == Some(THERE) => Some(route.clone()),
            _ => None,
        });
        let expected = super::super::RouteRecord {
            table: 254,
            kind: 1,
            destination: Some(Ipv4Addr::new(10, 50, 0, 0)),
            prefix_length: 16,
            gateway: Some(THERE),
            ifindex: rig.ifindex(),
            metric: 7,
            mtu: 1400,
            ..Default::default()
        };
        assert_eq!(route, Some(expected));
        let rules = netlink.rules().expect("rules");
        assert!(rules.contains(&Record::Rule { table: 255, is_plain: true }), "{rules:?}");
        rig.ip("rule add from 10.1.0.0/16 table 9");
        let rules = netlink.rules().expect("rules");
        assert!(rules.contains(&Record::Rule { table: 9, is_plain: false }), "{rules:?}");
    }

    #[test]
    fn the_kernel_resolves_a_neighbour_and_says_so() {
        let Some(rig) = Rig::up() else { return };
        let events = Events::open().expect("open");
        let mut netlink = Netlink::open().expect("open");
        netlink.resolve(rig.ifindex(), THERE).expect("asked");
        let deadline = Instant::now() + Duration::from_secs(3);
        let mut mac = None;
        while mac.is_none() && Instant::now() < deadline {
            for event in events.take().expect("events") {
                if let Event::Neighbour { record, is_gone: false } = event
                    && record.address == THERE
                {
                    mac = mac.or(record.mac);
                }
            }
        }
        assert!(mac.is_some(), "no address of the other end");
        rig.ip("addr add 10.97.0.1/24 dev here");
        assert!(events.take().expect("events").contains(&Event::Configuration));
    }
}
