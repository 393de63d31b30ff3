//! The options of TCP: one row for each sysctl of Linux that matters, of the same name, default and meaning.
//!
//! The keeper reads the values of its network namespace and writes them into each shard; the engine looks them up
//! where Linux would.

use super::congestion::Choice;
use alloc::string::{String, ToString as _};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! sysctls {
    ($($(#[doc = $doc:literal])+ $name:ident = $default:expr, $file:literal [$word:literal];)+) => {
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Sysctls {
            $($(#[doc = $doc])+ pub $name: u32,)+
        }

        impl Default for Sysctls {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Sysctls {
            pub const COUNT: usize = [$($word),+].len();

            /// All rows: name, meaning, file below /proc/sys/net and the word of it, value.
            pub fn each(&self) -> impl Iterator<Item = Row> + use<> {
                [$(Row {
                    name: stringify!($name),
                    meaning: concat!($($doc),+),
                    file: $file,
                    word: $word,
                    value: self.$name,
                },)+].into_iter()
            }

            /// Sets the row of this name, to the nearest value that it may have. False: there is none.
            pub fn set(&mut self, name: &str, value: u32) -> bool {
                let (least, most) = bounds(name);
                match name {
                    $(stringify!($name) => self.$name = value.clamp(least, most),)+
                    _ => return false,
                }
                true
            }
        }
    };
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub name: &'static str,
    pub meaning: &'static str,
    /// Below /proc/sys/net.
    pub file: &'static str,
    /// Which of the words in the file.
    pub word: usize,
    pub value: u32,
}

impl Row {
    /// The value as Linux writes it.
    pub fn text(&self) -> String {
        match self.name {
            CONGESTION_CONTROL => Choice(self.value.min(255) as u8).name().into(),
            _ => self.value.to_string(),
        }
    }

    /// What `word` stands for in this row: a number, or the name of an algorithm.
    pub fn parse(&self, word: &str) -> Option<u32> {
        if self.name == CONGESTION_CONTROL {
            return Choice::from_name(word).map(|choice| choice.0.into());
        }
        // LINUX: a few of them may be negative, which means no more than zero does.
        word.parse::<i64>().ok().map(|value| value.clamp(0, i64::from(u32::MAX)) as u32)
    }
}

const CONGESTION_CONTROL: &str = "tcp_congestion_control";

/// LINUX: what sysctl refuses lies outside of these.
fn bounds(name: &str) -> (u32, u32) {
    match name {
        "tcp_syn_retries" => (1, 127),
        "tcp_syn_linear_timeouts" => (0, 127),
        "tcp_synack_retries" | "tcp_retries1" | "tcp_retries2" | "tcp_orphan_retries" => (0, 255),
        "tcp_tw_reuse" | "tcp_ecn" | "tcp_mtu_probing" => (0, 2),
        "tcp_early_retrans" => (0, 4),
        "tcp_min_snd_mss" | "tcp_mtu_probe_floor" => (48, 65_535),
        "tcp_base_mss" => (48, 65_535),
        "tcp_rmem_least" | "tcp_rmem_default" | "tcp_rmem_most" => (1, i32::MAX as u32),
        "tcp_wmem_least" | "tcp_wmem_default" | "tcp_wmem_most" => (1, i32::MAX as u32),
        "tcp_pacing_ss_ratio" | "tcp_pacing_ca_ratio" => (0, 1000),
        "tcp_min_rtt_wlen" => (0, 86_400),
        "tcp_rto_min_us" => (1, i32::MAX as u32),
        "tcp_rto_max_ms" => (1000, 120_000),
        "tcp_comp_sack_nr" | "tcp_pingpong_thresh" => (0, 255),
        "tcp_notsent_lowat" => (0, u32::MAX),
        _ => (0, i32::MAX as u32),
    }
}

sysctls! {
    /// 0: no SYN cookies; 1: when the SYN queue is full; 2: always.
    tcp_syncookies = 1, "ipv4/tcp_syncookies"[0];
    /// Half-open connections that a listener keeps.
    tcp_max_syn_backlog = 2048, "ipv4/tcp_max_syn_backlog"[0];
    /// The largest backlog that listen() gives.
    somaxconn = 4096, "core/somaxconn"[0];
    /// 1: a full accept queue resets the peer instead of letting it try again.
    tcp_abort_on_overflow = 0, "ipv4/tcp_abort_on_overflow"[0];
    /// SYNs sent again before connect() gives up.
    tcp_syn_retries = 6, "ipv4/tcp_syn_retries"[0];
    /// SYN+ACKs sent again before a half-open connection is forgotten.
    tcp_synack_retries = 5, "ipv4/tcp_synack_retries"[0];
    /// SYNs sent again in equal intervals before the back-off begins.
    tcp_syn_linear_timeouts = 4, "ipv4/tcp_syn_linear_timeouts"[0];
    /// Retransmissions after which the path is doubted.
    tcp_retries1 = 3, "ipv4/tcp_retries1"[0];
    /// Retransmissions after which an established connection is given up.
    tcp_retries2 = 15, "ipv4/tcp_retries2"[0];
    /// The same for a connection that no program holds; 0 means 8.
    tcp_orphan_retries = 0, "ipv4/tcp_orphan_retries"[0];
    /// Seconds that a connection nobody holds stays in FIN_WAIT_2.
    tcp_fin_timeout = 60, "ipv4/tcp_fin_timeout"[0];
    /// Seconds of silence before keep-alive probes.
    tcp_keepalive_time = 7200, "ipv4/tcp_keepalive_time"[0];
    /// Seconds between these probes.
    tcp_keepalive_intvl = 75, "ipv4/tcp_keepalive_intvl"[0];
    /// Unanswered probes before the connection is given up.
    tcp_keepalive_probes = 9, "ipv4/tcp_keepalive_probes"[0];
    /// Connections that no program holds; what is more is reset.
    tcp_max_orphans = 131_072, "ipv4/tcp_max_orphans"[0];
    /// Entries in TIME_WAIT; what is more is closed at once.
    tcp_max_tw_buckets = 131_072, "ipv4/tcp_max_tw_buckets"[0];
    /// 1: connect() may take over a TIME_WAIT entry with timestamps; 2: over loopback only.
    tcp_tw_reuse = 2, "ipv4/tcp_tw_reuse"[0];
    /// Milliseconds that a TIME_WAIT entry must have lasted for that.
    tcp_tw_reuse_delay = 1000, "ipv4/tcp_tw_reuse_delay"[0];
    /// 1: a reset does not end TIME_WAIT.
    tcp_rfc1337 = 0, "ipv4/tcp_rfc1337"[0];
    /// Bits: 1 client, 2 server, 4 data in the SYN without a cookie, 0x200 accept that, 0x400 all listeners.
    tcp_fastopen = 1, "ipv4/tcp_fastopen"[0];
    /// 1: selective acknowledgements are offered and taken.
    tcp_sack = 1, "ipv4/tcp_sack"[0];
    /// 1: duplicates are reported by D-SACK.
    tcp_dsack = 1, "ipv4/tcp_dsack"[0];
    /// 0: no timestamps; otherwise they are offered and taken.
    tcp_timestamps = 1, "ipv4/tcp_timestamps"[0];
    /// 1: window scaling is offered and taken.
    tcp_window_scaling = 1, "ipv4/tcp_window_scaling"[0];
    /// 0: no ECN; 1: asked for and granted; 2: granted when a peer asks.
    tcp_ecn = 2, "ipv4/tcp_ecn"[0];
    /// 1: a SYN with ECN that goes unanswered is sent again without.
    tcp_ecn_fallback = 1, "ipv4/tcp_ecn_fallback"[0];
    /// Not 0: a timeout that was needless is found out by F-RTO.
    tcp_frto = 2, "ipv4/tcp_frto"[0];
    /// Bits: 1 RACK, 2 a fixed reordering window, 4 no duplicate threshold.
    tcp_recovery = 1, "ipv4/tcp_recovery"[0];
    /// 0: no tail loss probes; 3 and 4: probes.
    tcp_early_retrans = 3, "ipv4/tcp_early_retrans"[0];
    /// Segments by which packets are thought to overtake each other at first.
    tcp_reordering = 3, "ipv4/tcp_reordering"[0];
    /// The most that this may grow to.
    tcp_max_reordering = 300, "ipv4/tcp_max_reordering"[0];
    /// 1: after an idle time the congestion window starts anew.
    tcp_slow_start_after_idle = 1, "ipv4/tcp_slow_start_after_idle"[0];
    /// 1: the receive buffer grows with the flow.
    tcp_moderate_rcvbuf = 1, "ipv4/tcp_moderate_rcvbuf"[0];
    /// Bytes of a receive buffer: what it may have even when frames are scarce.
    tcp_rmem_least = 4096, "ipv4/tcp_rmem"[0];
    /// At first.
    tcp_rmem_default = 131_072, "ipv4/tcp_rmem"[1];
    /// At most.
    tcp_rmem_most = 6 << 20, "ipv4/tcp_rmem"[2];
    /// Bytes of a send buffer: what it may have even when frames are scarce.
    tcp_wmem_least = 4096, "ipv4/tcp_wmem"[0];
    /// At first.
    tcp_wmem_default = 16_384, "ipv4/tcp_wmem"[1];
    /// At most.
    tcp_wmem_most = 4 << 20, "ipv4/tcp_wmem"[2];
    /// The most that SO_RCVBUF may ask for, before it is doubled.
    rmem_max = 212_992, "core/rmem_max"[0];
    /// The most that SO_SNDBUF may ask for, before it is doubled.
    wmem_max = 212_992, "core/wmem_max"[0];
    /// Bytes not yet sent above which a socket is not writable.
    tcp_notsent_lowat = u32::MAX, "ipv4/tcp_notsent_lowat"[0];
    /// 0: no probing of the path MTU; 1: when a black hole is seen; 2: always.
    tcp_mtu_probing = 0, "ipv4/tcp_mtu_probing"[0];
    /// The MSS that probing starts from.
    tcp_base_mss = 1024, "ipv4/tcp_base_mss"[0];
    /// The least MSS that a peer can make us send.
    tcp_min_snd_mss = 48, "ipv4/tcp_min_snd_mss"[0];
    /// The least MSS that probing goes down to.
    tcp_mtu_probe_floor = 48, "ipv4/tcp_mtu_probe_floor"[0];
    /// Probing ends when the interval is smaller than this.
    tcp_probe_threshold = 8, "ipv4/tcp_probe_threshold"[0];
    /// Seconds between two searches for a larger MTU.
    tcp_probe_interval = 600, "ipv4/tcp_probe_interval"[0];
    /// 1: ICMP's word on the MTU is not believed.
    ip_no_pmtu_disc = 0, "ipv4/ip_no_pmtu_disc"[0];
    /// Seconds for which the word of a router on the MTU is believed.
    mtu_expires = 600, "ipv4/route/mtu_expires"[0];
    /// The smallest MTU that a router is believed.
    min_pmtu = 552, "ipv4/route/min_pmtu"[0];
    /// Milliseconds between answers to segments that cannot be right.
    tcp_invalid_ratelimit = 500, "ipv4/tcp_invalid_ratelimit"[0];
    /// Challenge ACKs in a second, over all connections.
    tcp_challenge_ack_limit = i32::MAX as u32, "ipv4/tcp_challenge_ack_limit"[0];
    /// ACKs that compression may hold back; 0 for none.
    tcp_comp_sack_nr = 44, "ipv4/tcp_comp_sack_nr"[0];
    /// Nanoseconds that compression may hold an ACK back, where it does so for longer than a burst.
    tcp_comp_sack_delay_ns = 1_000_000, "ipv4/tcp_comp_sack_delay_ns"[0];
    /// Replies after which a connection counts as interactive.
    tcp_pingpong_thresh = 1, "ipv4/tcp_pingpong_thresh"[0];
    /// 1: the urgent pointer names the last urgent byte (RFC 1122) instead of the one behind it.
    tcp_stdurg = 0, "ipv4/tcp_stdurg"[0];
    /// 1: thin streams do not back off at first.
    tcp_thin_linear_timeouts = 0, "ipv4/tcp_thin_linear_timeouts"[0];
    /// Seconds over which the smallest round trip is kept.
    tcp_min_rtt_wlen = 300, "ipv4/tcp_min_rtt_wlen"[0];
    /// Percent of the current rate that pacing allows in slow start.
    tcp_pacing_ss_ratio = 200, "ipv4/tcp_pacing_ss_ratio"[0];
    /// The same in congestion avoidance.
    tcp_pacing_ca_ratio = 120, "ipv4/tcp_pacing_ca_ratio"[0];
    /// Microseconds: the least retransmission timeout.
    tcp_rto_min_us = 200_000, "ipv4/tcp_rto_min_us"[0];
    /// Milliseconds: the largest retransmission timeout.
    tcp_rto_max_ms = 120_000, "ipv4/tcp_rto_max_ms"[0];
    /// Which algorithm sockets have that do not choose: reno, cubic or bbr.
    tcp_congestion_control = 2, "ipv4/tcp_congestion_control"[0];
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use std::path::PathBuf;

    #[test]
    fn every_row_is_found_by_its_name_and_set() {
        for row in Sysctls::default().each() {
            let mut sysctls = Sysctls::default();
            let other = if row.value == bounds(row.name).1 { row.value - 1 } else { row.value + 1 };
            assert!(sysctls.set(row.name, other), "{}", row.name);
            let changed = sysctls.each().zip(Sysctls::default().each()).filter(|(a, b)| a != b);
            assert_eq!(changed.map(|(a, _)| (a.name, a.value)).collect::<Vec<_>>(), [(row.name, other)]);
        }
        assert!(!Sysctls::default().set("no_such_thing", 1));
    }

    #[test]
    fn every_row_is_read_somewhere() {
        let code = engine();
        let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for row in Sysctls::default().each() {
            let reads =
                |line: &&str| line.match_indices(row.name).any(|(at, name)| is_field(line, at, name.len()));
            assert!(lines.iter().any(reads), "{} has no effect: nothing in the engine reads it", row.name);
        }
    }

    /// The sources of the engine, each up to its tests, without this table.
    fn engine() -> String {
        let mut folders = Vec::from([PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))]);
        let mut code = String::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("tcp/sysctl.rs") && !path.ends_with("tests.rs") {
                    let text = std::fs::read_to_string(path).expect("text");
                    code.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default());
                }
            }
        }
        code
    }

    /// Whether what is at this place of the line is the whole name of a field, behind a dot.
    fn is_field(line: &str, at: usize, len: usize) -> bool {
        let goes_on = |c: char| c.is_alphanumeric() || c == '_';
        line[..at].ends_with('.') && !line[at + len..].starts_with(goes_on)
    }

    #[test]
    fn defaults_lie_within_the_bounds_and_what_lies_outside_is_brought_there() {
        for row in Sysctls::default().each() {
            let (least, most) = bounds(row.name);
            assert!((least..=most).contains(&row.value), "{}", row.name);
        }
        let mut sysctls = Sysctls::default();
        sysctls.set("tcp_syn_retries", 0);
        sysctls.set("tcp_rto_max_ms", u32::MAX);
        assert_eq!((sysctls.tcp_syn_retries, sysctls.tcp_rto_max_ms), (1, 120_000));
    }

    #[test]
    fn values_are_read_and_written_as_linux_has_them() {
        let row = |name: &str| Sysctls::default().each().find(|row| row.name == name).expect("a row");
        let algorithm = row("tcp_congestion_control");
        assert_eq!(algorithm.text(), "cubic");
        assert_eq!(algorithm.parse("bbr"), Some(Choice::BBR.0.into()));
        assert_eq!((algorithm.parse("vegas"), algorithm.parse("2")), (None, None));
        let number = row("tcp_notsent_lowat");
        assert_eq!((number.text().as_str(), number.parse("4294967295")), ("4294967295", Some(u32::MAX)));
        assert_eq!((number.parse("-1"), number.parse("many"), number.parse("")), (Some(0), None, None));
    }
}
