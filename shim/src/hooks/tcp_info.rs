//! TCP_INFO: the shadow's structure, with everything put in that the connection knows.

use core::ffi::c_int;

use stack::tcp::Info;

use crate::kernel;

/// As long as any kernel's `struct tcp_info` so far.
pub(super) type Bytes = [u8; 256];

/// The structure and its length, which depends on the kernel.
pub(super) fn of(fd: c_int, info: &Info) -> (Bytes, usize) {
    let mut bytes = [0u8; 256];
    let mut length = bytes.len() as libc::socklen_t;
    let arguments = [
        fd as usize,
        libc::IPPROTO_TCP as usize,
        libc::TCP_INFO as usize,
        bytes.as_mut_ptr() as usize,
        (&raw mut length) as usize,
    ];
    // SAFETY: the kernel writes at most `length` bytes.
    let _ = unsafe { kernel::call(libc::SYS_getsockopt, arguments) };
    put_in(info, &mut bytes);
    (bytes, length as usize)
}

fn put_in(info: &Info, bytes: &mut Bytes) {
    const TIMESTAMPS: u8 = 1;
    const WINDOW_SCALING: u8 = 4;
    let options =
        if info.timestamps { TIMESTAMPS } else { 0 } | if info.window_scaling { WINDOW_SCALING } else { 0 };
    let scales = info.send_scale & 15 | info.receive_scale << 4;
    let small =
        [info.state, info.recovery_state, info.retransmits, info.probes, info.backoff, options, scales];
    bytes.iter_mut().zip(small).for_each(|(to, byte)| *to = byte);
    let words = [
        (8, info.timeout),
        (16, info.send_mss),
        (20, info.receive_mss),
        (24, info.unacknowledged),
        (44, info.since_sent),
        (52, info.since_received),
        (56, info.since_received),
        (60, info.path_mtu),
        (64, info.receive_window),
        (68, info.round_trip),
        (72, info.round_trip_variation),
        (76, info.threshold),
        (80, info.congestion_window),
        (84, info.receive_mss),
        (96, info.receive_window),
        (100, info.total_retransmissions),
        (144, info.not_sent),
        (228, info.send_window),
        (232, info.receive_window),
    ];
    for (at, word) in words {
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
    }
}
