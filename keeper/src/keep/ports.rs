//! Which ports are the stack's: those that programs proved to hold, until nobody in the region uses them any more.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use stack::ip::net::Addr;
use stack::shard::{Entry, Shard};

use crate::fault::Fault;
use crate::lease::Lease;
use crate::proof::Held;
use crate::steer::{PortUse, Steering};

/// Where packets go to; the XDP program's tables, except in tests.
pub(crate) trait Table {
    fn mark(&mut self, port: u16, usage: PortUse) -> Result<(), Fault>;
    fn add(&mut self, address: Ipv4Addr, port: u16) -> Result<(), Fault>;
    fn remove(&mut self, address: Ipv4Addr, port: u16) -> Result<(), Fault>;
}

impl Table for Steering {
    fn mark(&mut self, port: u16, usage: PortUse) -> Result<(), Fault> {
        self.mark_port(port, usage)
    }

    fn add(&mut self, address: Ipv4Addr, port: u16) -> Result<(), Fault> {
        self.add_listener(address, port)
    }

    fn remove(&mut self, address: Ipv4Addr, port: u16) -> Result<(), Fault> {
        self.remove_listener(address, port)
    }
}

/// Who stands for a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Claimant {
    Process(u16),
    /// Its claimant released it or ended. It stays for as long as the region has a listener or a connection there: a forked
    /// child may have inherited the one, and the other goes on after its listener. TIME_WAIT does not count.
    Nobody,
}

#[derive(Default)]
pub(crate) struct Ports {
    claims: HashMap<Held, Claimant>,
    leased: Vec<RangeInclusive<u16>>,
}

impl Ports {
    pub(crate) fn lease(&mut self, lease: &Lease, table: &mut impl Table) -> Result<(), Fault> {
        let mut from = *lease.ports.start();
        for &taken in &lease.taken {
            if from < taken {
                self.leased.push(from..=taken - 1);
            }
            from = taken.saturating_add(1);
        }
        if from <= *lease.ports.end() {
            self.leased.push(from..=*lease.ports.end());
        }
        for port in self.leased.iter().cloned().flatten() {
            table.mark(port, PortUse { leased: true, ..PortUse::default() })?;
        }
        Ok(())
    }

    pub(crate) fn claim(&mut self, held: Held, process: u16, table: &mut impl Table) -> Result<(), Fault> {
        if self.claims.insert(held, Claimant::Process(process)).is_none() {
            if !held.address.is_unspecified() {
                table.add(held.address, held.port)?;
            }
            table.mark(held.port, self.usage(held.port))?;
        }
        Ok(())
    }

    pub(crate) fn release(&mut self, held: Held) {
        if let Some(claimant) = self.claims.get_mut(&held) {
            *claimant = Claimant::Nobody;
        }
    }

    pub(crate) fn release_all_of(&mut self, process: u16) {
        for claimant in self.claims.values_mut().filter(|claimant| **claimant == Claimant::Process(process)) {
            *claimant = Claimant::Nobody;
        }
    }

    /// Some port waits for its last user.
    pub(crate) fn has_unclaimed(&self) -> bool {
        self.claims.values().any(|claimant| *claimant == Claimant::Nobody)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Held> + '_ {
        self.claims.keys().copied()
    }

    /// Gives back to the kernel what nobody claims and nobody uses in any shard.
    pub(crate) fn sweep(&mut self, shards: &[Usage], table: &mut impl Table) -> Result<(), Fault> {
        let unused = |held: &Held, claimant: &Claimant| {
            *claimant == Claimant::Nobody && !shards.iter().any(|usage| usage.has(held))
        };
        let gone: Vec<_> = self
            .claims
            .iter()
            .filter(|(held, claimant)| unused(held, claimant))
            .map(|(held, _)| *held)
            .collect();
        for held in gone {
            self.claims.remove(&held);
            if !held.address.is_unspecified() {
                table.remove(held.address, held.port)?;
            }
            table.mark(held.port, self.usage(held.port))?;
        }
        Ok(())
    }

    /// The ports that nobody claims, for [`Usage::of`].
    pub(crate) fn unclaimed(&self) -> Vec<Held> {
        self.claims
            .iter()
            .filter(|(_, claimant)| **claimant == Claimant::Nobody)
            .map(|(held, _)| *held)
            .collect()
    }

    fn usage(&self, port: u16) -> PortUse {
        let mut usage =
            PortUse { leased: self.leased.iter().any(|range| range.contains(&port)), ..PortUse::default() };
        for held in self.claims.keys().filter(|held| held.port == port) {
            usage.wildcard |= held.address.is_unspecified();
            usage.exact |= !held.address.is_unspecified();
        }
        usage
    }
}

/// Which of some ports a shard uses.
pub(crate) struct Usage {
    used: Vec<Held>,
}

impl Usage {
    pub(crate) fn of(shard: &Shard, asked: &[Held]) -> Usage {
        let mut used: Vec<Held> = Vec::new();
        let mut note = |address: Addr, port: u16| {
            let covers = |held: &&Held| {
                held.port == port && (held.address.is_unspecified() || address == held.address.into())
            };
            used.extend(asked.iter().filter(covers));
        };
        for listener in shard.listeners.live().filter_map(|handle| shard.listeners.get(handle)) {
            note(listener.addr, listener.port);
        }
        // The connection table is long: it is walked only for ports that no listener holds.
        let listening = used.clone();
        let mut left: Vec<Held> = asked.iter().filter(|held| !listening.contains(held)).copied().collect();
        for entry in shard.entries() {
            if left.is_empty() {
                break;
            }
            let tuple = match entry {
                Entry::Request(handle) => shard.requests.get(handle).map(|request| request.head.tuple),
                Entry::Connection(handle) => {
                    shard.connections.get(handle).map(|connection| connection.head.tuple)
                }
                // In TIME_WAIT the kernel may have given the port to somebody else by now, who must get his packets at
                // once. What would still come here is a FIN sent again, and the kernel's reset ends that as well.
                Entry::TimeWait(handle) => shard
                    .time_waits
                    .get(handle)
                    .filter(|entry| entry.is_half_closed())
                    .map(|entry| entry.head.tuple),
            };
            let Some(tuple) = tuple else { continue };
            left.retain(|held| {
                let in_use = held.port == tuple.local_port
                    && (held.address.is_unspecified() || tuple.local == held.address.into());
                if in_use {
                    used.push(*held);
                }
                !in_use
            });
        }
        Usage { used }
    }

    fn has(&self, held: &Held) -> bool {
        self.used.contains(held)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[derive(Default)]
    struct Noted {
        uses: HashMap<u16, PortUse>,
        endpoints: HashSet<(Ipv4Addr, u16)>,
    }

    impl Table for Noted {
        fn mark(&mut self, port: u16, usage: PortUse) -> Result<(), Fault> {
            self.uses.insert(port, usage);
            Ok(())
        }

        fn add(&mut self, address: Ipv4Addr, port: u16) -> Result<(), Fault> {
            assert!(self.endpoints.insert((address, port)), "entered once");
            Ok(())
        }

        fn remove(&mut self, address: Ipv4Addr, port: u16) -> Result<(), Fault> {
            assert!(self.endpoints.remove(&(address, port)), "it was there");
            Ok(())
        }
    }

    const ANY: Held = Held { address: Ipv4Addr::UNSPECIFIED, port: 80 };
    const ONE: Held = Held { address: Ipv4Addr::new(10, 0, 0, 1), port: 80 };

    #[test]
    fn a_port_is_steered_until_it_is_neither_claimed_nor_used() {
        let (mut ports, mut table) = (Ports::default(), Noted::default());
        ports.claim(ANY, 1, &mut table).expect("claimed");
        ports.claim(ONE, 1, &mut table).expect("claimed");
        ports.claim(ONE, 2, &mut table).expect("claimed by a second process");
        assert_eq!(table.uses[&80], PortUse { wildcard: true, exact: true, leased: false });
        assert_eq!(table.endpoints.len(), 1);
        ports.release_all_of(1);
        assert!(ports.has_unclaimed());
        ports.sweep(&[Usage { used: vec![ANY] }], &mut table).expect("swept");
        assert_eq!(
            table.uses[&80],
            PortUse { wildcard: true, exact: true, leased: false },
            "a connection is left on it"
        );
        ports.sweep(&[Usage { used: vec![] }], &mut table).expect("swept");
        assert_eq!(
            table.uses[&80],
            PortUse { exact: true, ..PortUse::default() },
            "process 2 has its claim still"
        );
        ports.release(ONE);
        ports.sweep(&[], &mut table).expect("swept");
        assert_eq!(table.uses[&80], PortUse::default());
        assert!(table.endpoints.is_empty() && ports.is_empty());
    }

    #[test]
    fn a_port_that_several_processes_listen_on_is_entered_once_and_goes_with_the_last() {
        let (mut ports, mut table) = (Ports::default(), Noted::default());
        for process in 1..=3 {
            ports.claim(ONE, process, &mut table).expect("claimed");
        }
        assert_eq!(table.endpoints.len(), 1);
        // The region still has the listeners of the others, whoever of them claimed last.
        for process in [3, 1] {
            ports.release_all_of(process);
            ports.sweep(&[Usage { used: vec![ONE] }], &mut table).expect("swept");
            assert!(table.uses[&80].exact);
        }
        ports.release(ONE);
        ports.sweep(&[], &mut table).expect("swept");
        assert_eq!((table.uses[&80], table.endpoints.len()), (PortUse::default(), 0));
    }

    #[test]
    fn a_claim_renews_a_port_that_was_let_go() {
        let (mut ports, mut table) = (Ports::default(), Noted::default());
        ports.claim(ANY, 1, &mut table).expect("claimed");
        ports.release(ANY);
        ports.claim(ANY, 2, &mut table).expect("claimed");
        ports.sweep(&[], &mut table).expect("swept");
        assert!(table.uses[&80].wildcard);
    }

    #[test]
    fn the_lease_leaves_out_what_the_kernel_has_and_survives_claims() {
        let (mut ports, mut table) = (Ports::default(), Noted::default());
        let lease = Lease::for_test(100..=109, BTreeSet::from([100, 104, 109]));
        ports.lease(&lease, &mut table).expect("leased");
        let mut marked: Vec<_> =
            table.uses.iter().filter(|(_, usage)| usage.leased).map(|(port, _)| *port).collect();
        marked.sort_unstable();
        assert_eq!(marked, [101, 102, 103, 105, 106, 107, 108]);
        let inside = Held { address: Ipv4Addr::UNSPECIFIED, port: 105 };
        ports.claim(inside, 1, &mut table).expect("claimed");
        assert_eq!(table.uses[&105], PortUse { wildcard: true, exact: false, leased: true });
        ports.release(inside);
        ports.sweep(&[], &mut table).expect("swept");
        assert_eq!(table.uses[&105], PortUse { leased: true, ..PortUse::default() });
    }
}
