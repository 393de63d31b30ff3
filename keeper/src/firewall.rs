//! Whether the kernel filters packets: XDP takes ours before it does.

use crate::netlink::count_nftables_rules;

/// Rules of nftables, which iptables' are too nowadays, or of the old iptables.
pub(crate) fn has_rules() -> bool {
    // Kernels without one of them have none of its rules.
    count_nftables_rules().is_ok_and(|rules| rules > 0)
        || std::fs::read_to_string("/proc/thread-self/net/ip_tables_names")
            .is_ok_and(|tables| !tables.trim().is_empty())
}

pub(crate) const WARNING: &str =
    "firewall rules exist (nft list ruleset): they do not see the packets of accelerated ports";
