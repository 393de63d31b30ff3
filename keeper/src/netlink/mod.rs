//! Talking to the kernel about links, addresses, routes and neighbours (rtnetlink), as little of it as we need.

mod message;
mod records;
mod socket;

pub(crate) use records::{AddressRecord, LinkRecord, NeighbourRecord, Record, RouteRecord};
pub(crate) use socket::{Event, Events, Netlink, count_nftables_rules};
