//! The range of local ports that outgoing connections take without asking the kernel.
//!
//! The kernel is kept out of it by ip_local_reserved_ports, which names ports that it must not choose by itself; the entry is taken
//! back when the keeper ends. Ports of the range that kernel sockets have already are left to them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::RangeInclusive;

use crate::fault::Fault;

pub(crate) struct Lease {
    pub(crate) ports: RangeInclusive<u16>,
    /// Ports of the range that kernel sockets use.
    pub(crate) taken: BTreeSet<u16>,
    /// What ip_local_reserved_ports said without us; None when we did not have to write to it.
    before: Option<String>,
}

impl Lease {
    /// `wanted` ports, or the very ones that the user names.
    pub(crate) fn take(wanted: u16, named: Option<RangeInclusive<u16>>) -> Result<Lease, Fault> {
        let kernel_range =
            kernel_range().map_err(Fault::of("cannot read which ports the kernel chooses from"))?;
        let reserved =
            fs::read_to_string(RESERVED).map_err(Fault::of("cannot read ip_local_reserved_ports"))?;
        let ports = named.unwrap_or_else(|| inside(&kernel_range, wanted));
        // What a keeper that was killed left behind is not somebody else's wish.
        let before = without(reserved.trim(), &ports);
        match fs::write(RESERVED, with(&before, &ports)) {
            Ok(()) => Ok(Lease { taken: in_use(&ports)?, ports, before: Some(before) }),
            // No way to reserve (a container's read-only /proc): take ports that the kernel does not choose from anyway.
            Err(_) => {
                let ports = below(&kernel_range, wanted).ok_or_else(|| {
                    Fault::new(format!(
                        "cannot write {RESERVED}, and the kernel chooses from all ports: name a free range by --ports"
                    ))
                })?;
                Ok(Lease { taken: in_use(&ports)?, ports, before: None })
            }
        }
    }
}

#[cfg(test)]
impl Lease {
    pub(crate) fn for_test(ports: RangeInclusive<u16>, taken: BTreeSet<u16>) -> Lease {
        Lease { ports, taken, before: None }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(before) = &self.before else { return };
        // Others may have changed the list meanwhile: only our entry goes.
        let now = fs::read_to_string(RESERVED).map(|list| without(list.trim(), &self.ports));
        // An empty write would be no write at all. When it fails there is nobody left to tell.
        let list = now.unwrap_or_else(|_| before.clone());
        let _ = fs::write(RESERVED, if list.is_empty() { "\n".into() } else { list });
    }
}

/// The upper end of the range that the kernel chooses from, where no server listens by custom; half of it at most.
fn inside(kernel_range: &RangeInclusive<u16>, wanted: u16) -> RangeInclusive<u16> {
    let size = kernel_range.end().saturating_sub(*kernel_range.start()) / 2;
    let wanted = if u32::from(wanted) < u32::from(size) * 2 { wanted } else { size };
    kernel_range.end().saturating_sub(wanted.saturating_sub(1))..=*kernel_range.end()
}

/// The ports just under that range.
fn below(kernel_range: &RangeInclusive<u16>, wanted: u16) -> Option<RangeInclusive<u16>> {
    let end = kernel_range.start().checked_sub(1)?;
    let start = end.saturating_sub(wanted.saturating_sub(1)).max(FIRST_UNPRIVILEGED);
    (start < end).then_some(start..=end)
}

fn kernel_range() -> io::Result<RangeInclusive<u16>> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(from), Some(to)) if from < to => Ok(from..=to),
        _ => Err(io::Error::other(format!("it says {text:?}"))),
    }
}

/// The list of ports, which looks like "1024,8000-8010", without those of `ports`.
fn without(list: &str, ports: &RangeInclusive<u16>) -> String {
    let mut kept = Vec::new();
    for entry in list.split(',').filter(|entry| !entry.is_empty()) {
        let (from, to) = entry.split_once('-').unwrap_or((entry, entry));
        let (Ok(from), Ok(to)) = (from.trim().parse::<u16>(), to.trim().parse::<u16>()) else { continue };
        if from < *ports.start() {
            kept.push((from, to.min(ports.start() - 1)));
        }
        if to > *ports.end() {
            kept.push((from.max(ports.end() + 1), to));
        }
    }
    let text = |&(from, to): &(u16, u16)| if from == to { format!("{from}") } else { format!("{from}-{to}") };
    kept.iter().map(text).collect::<Vec<_>>().join(",")
}

fn with(list: &str, ports: &RangeInclusive<u16>) -> String {
    let separator = if list.is_empty() { "" } else { "," };
    format!("{list}{separator}{}-{}", ports.start(), ports.end())
}

/// Ports of the range that are local to some kernel TCP socket.
fn in_use(ports: &RangeInclusive<u16>) -> Result<BTreeSet<u16>, Fault> {
    let mut taken = BTreeSet::new();
    for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        match fs::read_to_string(table) {
            Ok(text) => taken.extend(text.lines().filter_map(local_port).filter(|port| ports.contains(port))),
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Fault::new(format!("cannot read {table}: {error}"))),
        }
    }
    Ok(taken)
}

/// "  0: 0100007F:1F90 00000000:0000 0A ..."
fn local_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
const FIRST_UNPRIVILEGED: u16 = 1024;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::test_rig::Rig;

    fn reserved() -> String {
        fs::read_to_string(RESERVED).expect("readable").trim().to_owned()
    }

    #[test]
    fn the_kernel_is_kept_out_while_the_lease_lasts() {
        let Some(_rig) = Rig::up() else { return };
        fs::write(RESERVED, "1234,41000-41010\n").expect("written");
        let holder = TcpListener::bind("127.0.0.1:50000").expect("bound");
        let lease = Lease::take(20000, None).expect("taken");
        assert_eq!((lease.ports.clone(), lease.ports.len()), (41000..=60999, 20000));
        assert_eq!(lease.taken, BTreeSet::from([50000]));
        assert_eq!(reserved(), "1234,41000-60999");
        for _ in 0..200 {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("bound").port();
            assert!(!lease.ports.contains(&port), "the kernel chose {port}");
        }
        drop(lease);
        assert_eq!(reserved(), "1234");
        drop(holder);
        drop(Lease::take(100, Some(7000..=7099)).expect("taken"));
        assert_eq!(reserved(), "1234");
        fs::write(RESERVED, "\n").expect("written");
        drop(Lease::take(100, None).expect("taken"));
        assert_eq!(reserved(), "");
    }

    #[test]
    fn entries_are_cut_out_of_the_list_exactly() {
        let ports = 100..=199;
        for (list, left) in [
            ("", ""),
            ("100-199", ""),
            ("99,100,199,200", "99,200"),
            ("50-250", "50-99,200-250"),
            ("150-300", "200-300"),
            ("1-150,7", "1-99,7"),
            ("rubbish,5", "5"),
        ] {
            assert_eq!(without(list, &ports), left, "{list}");
        }
        assert_eq!(without("60000-65535", &(61000..=65535)), "60000-60999");
        assert_eq!(without("0-5", &(0..=3)), "4-5");
    }

    #[test]
    fn a_small_kernel_range_is_shared_in_halves() {
        assert_eq!(inside(&(32768..=60999), 20000), 41000..=60999);
        assert_eq!(inside(&(1000..=1999), 20000), 1501..=1999);
        assert_eq!(below(&(32768..=60999), 20000), Some(12768..=32767));
        assert_eq!(below(&(2000..=60999), 20000), Some(1024..=1999));
        assert_eq!(below(&(1000..=60999), 20000), None);
    }
}
