//! What a program may set on a TCP socket, with Linux's defaults.

use super::Sysctls;
use super::tuning::{RECEIVE_FIXED, SEND_FIXED};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Set by setsockopt; a listener's are inherited by what it accepts.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// 1 for TCP_NODELAY.
    pub no_delay: u8,
    /// 1 for TCP_CORK.
    pub cork: u8,
    /// 1 for SO_KEEPALIVE.
    pub keep_alive: u8,
    /// 0: TCP_QUICKACK was switched off before the connection began.
    pub quick_ack: u8,
    /// 1 for SO_LINGER with l_onoff set.
    pub linger: u8,
    /// 1 for SO_REUSEADDR: another socket may be bound to the port that this one is still using.
    pub reuse_address: u8,
    /// 1 for SO_REUSEPORT.
    pub reuse_port: u8,
    /// 1 for SO_OOBINLINE.
    pub urgent_inline: u8,
    /// Bit 0: SO_SNDBUF was set, bit 1: SO_RCVBUF; such a buffer does not grow by itself.
    pub buffers_fixed: u8,
    /// TCP_CONGESTION: a [`super::congestion::Choice`]; 0 for the namespace's default.
    pub congestion: u8,
    /// 1 for TCP_FASTOPEN_CONNECT.
    pub fast_open_connect: u8,
    /// IP_MTU_DISCOVER.
    pub mtu_discovery: u8,
    /// IP_TOS; the ECN bits of it are ours.
    pub service: u8,
    /// 1 for TCP_FASTOPEN_NO_COOKIE.
    pub fast_open_without_cookie: u8,
    /// 1 for IP_RECVERR: errors that ICMP reports of a living connection are told.
    pub reports_errors: u8,
    pub pad: [u8; 1],
    /// TCP_LINGER2 in seconds; 0 for tcp_fin_timeout, negative for none.
    pub linger2: i32,
    /// TCP_FASTOPEN: connections that may wait with data in their SYN; 0 for off.
    pub fast_open: u32,
    /// TCP_WINDOW_CLAMP; 0 for none.
    pub window_clamp: u32,
    /// SO_MAX_PACING_RATE in KiB a second; 0 for none.
    pub max_pacing_rate: u32,
    /// Seconds of SO_LINGER.
    pub linger_time: u32,
    /// Bytes of SO_SNDBUF and SO_RCVBUF, as getsockopt shows them; only with the bits of `buffers_fixed`.
    pub send_buffer: u32,
    pub receive_buffer: u32,
    pub receive_low_water: u32,
    /// TCP_MAXSEG; 0 for what the path allows.
    pub max_segment: u32,
    /// TCP_KEEPIDLE and TCP_KEEPINTVL in seconds, TCP_KEEPCNT; 0 for what the namespace says.
    pub keep_idle: u32,
    pub keep_interval: u32,
    pub keep_count: u32,
    /// TCP_USER_TIMEOUT in milliseconds; 0 for none.
    pub user_timeout: u32,
    /// TCP_DEFER_ACCEPT in seconds; 0 for off.
    pub defer_accept: u32,
    /// TCP_SYNCNT; 0 for the default.
    pub syn_count: u32,
    /// TCP_NOTSENT_LOWAT; `u32::MAX` for none.
    pub not_sent_low_water: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            no_delay: 0,
            cork: 0,
            keep_alive: 0,
            quick_ack: 1,
            linger: 0,
            reuse_address: 0,
            reuse_port: 0,
            urgent_inline: 0,
            buffers_fixed: 0,
            congestion: 0,
            fast_open_connect: 0,
            mtu_discovery: 1,
            service: 0,
            fast_open_without_cookie: 0,
            reports_errors: 0,
            pad: [0; 1],
            linger2: 0,
            fast_open: 0,
            window_clamp: 0,
            max_pacing_rate: 0,
            linger_time: 0,
            send_buffer: 16_384,
            receive_buffer: 131_072,
            receive_low_water: 1,
            max_segment: 0,
            keep_idle: 0,
            keep_interval: 0,
            keep_count: 0,
            user_timeout: 0,
            defer_accept: 0,
            syn_count: 0,
            not_sent_low_water: u32::MAX,
        }
    }
}

/// LINUX: SOCK_MIN_SNDBUF and SOCK_MIN_RCVBUF.
const LEAST_SEND_BUFFER: u32 = 4608;
const LEAST_RECEIVE_BUFFER: u32 = 2304;

impl Settings {
    /// SO_SNDBUF.
    pub fn ask_send_buffer(&mut self, asked: u32, sysctls: &Sysctls) {
        self.send_buffer = doubled(asked.min(sysctls.wmem_max)).max(LEAST_SEND_BUFFER);
        self.buffers_fixed |= SEND_FIXED;
    }

    /// SO_RCVBUF.
    pub fn ask_receive_buffer(&mut self, asked: u32, sysctls: &Sysctls) {
        self.receive_buffer = doubled(asked.min(sysctls.rmem_max)).max(LEAST_RECEIVE_BUFFER);
        self.buffers_fixed |= RECEIVE_FIXED;
    }
}

/// LINUX: for the overhead. A negative size counts as a large one.
fn doubled(asked: u32) -> u32 {
    asked.min(i32::MAX as u32 / 2) * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_a_buffer_is_bounded_and_doubled() {
        let sysctls = Sysctls { wmem_max: 10_000, rmem_max: u32::MAX, ..Sysctls::default() };
        let mut settings = Settings::default();
        for (asked, send, receive) in [
            (5000, 10_000, 10_000),
            (20_000, 20_000, 40_000),
            (0, 4608, 2304),
            (u32::MAX, 20_000, i32::MAX as u32 - 1),
        ] {
            settings.ask_send_buffer(asked, &sysctls);
            settings.ask_receive_buffer(asked, &sysctls);
            assert_eq!((settings.send_buffer, settings.receive_buffer), (send, receive), "{asked}");
        }
        assert_eq!(settings.buffers_fixed, SEND_FIXED | RECEIVE_FIXED);
    }
}
