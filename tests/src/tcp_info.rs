//! What TCP_INFO says of a connection, as `name value` words: the kernel's of a kernel socket, shunt's of one of its own.

use std::os::fd::AsRawFd;

/// The u32 fields of Linux's `struct tcp_info` that are looked at, by their place in bytes.
const WORDS: &[(&str, usize)] = &[
    ("rto_us", 8),
    ("unacked", 24),
    ("sacked", 28),
    ("lost", 32),
    ("retrans", 36),
    ("rtt_us", 68),
    ("rttvar_us", 72),
    ("ssthresh", 76),
    ("cwnd", 80),
    ("reordering", 88),
    ("rcv_rtt_us", 92),
    ("rcv_space", 96),
    ("total_retrans", 100),
    ("segs_out", 136),
    ("segs_in", 140),
    ("notsent", 144),
    ("min_rtt_us", 148),
    ("dsack_dups", 216),
    ("reord_seen", 220),
    ("snd_wnd", 228),
];

/// The u64 fields.
const LONG_WORDS: &[(&str, usize)] = &[
    ("pacing_rate", 104),
    ("delivery_rate", 160),
    ("busy_us", 168),
    ("rwnd_limited_us", 176),
    ("sndbuf_limited_us", 184),
];

/// Fields that this kernel (or shunt) does not know are left out.
pub fn of(socket: &impl AsRawFd) -> Vec<(&'static str, u64)> {
    let mut info = [0u8; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to a live array.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let known = if result == 0 { info.get(..length as usize).unwrap_or(&[]) } else { &[] };
    let state = known.get(1).map(|&state| ("ca_state", u64::from(state)));
    let words = WORDS.iter().filter_map(|&(name, at)| {
        Some((name, u64::from(u32::from_ne_bytes(*known.get(at..)?.first_chunk()?))))
    });
    let long_words = LONG_WORDS
        .iter()
        .filter_map(|&(name, at)| Some((name, u64::from_ne_bytes(*known.get(at..)?.first_chunk()?))));
    state.into_iter().chain(words).chain(long_words).collect()
}
