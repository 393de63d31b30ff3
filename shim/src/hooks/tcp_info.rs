//! TCP_INFO: the kernel's structure, filled from what the connection knows.

use core::ffi::c_int;

use stack::tcp::Info;

use crate::kernel;

/// Longer than any kernel's `struct tcp_info` so far.
pub(super) type Bytes = [u8; 320];

/// The structure and its length, which depends on the kernel.
pub(super) fn of(fd: c_int, info: &Info) -> (Bytes, usize) {
    let mut bytes = [0u8; size_of::<Bytes>()];
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
    // What the shadow knows is of a socket that is not connected.
    bytes.fill(0);
    put_in(info, &mut bytes);
    (bytes, length as usize)
}

/// Each field at its place in the structure: of one byte, of two, of four and of eight.
fn put_in(info: &Info, bytes: &mut Bytes) {
    put(bytes, &of_one(info).map(|(at, value)| (at, value.to_ne_bytes())));
    put(
        bytes,
        &[(240, info.timeouts), (242, info.timeout_rows)].map(|(at, value)| (at, value.to_ne_bytes())),
    );
    put(bytes, &of_four(info).map(|(at, value)| (at, value.to_ne_bytes())));
    put(bytes, &of_eight(info).map(|(at, value)| (at, value.to_ne_bytes())));
}

fn put<const N: usize>(bytes: &mut Bytes, fields: &[(usize, [u8; N])]) {
    for (at, value) in fields {
        if let Some(place) = bytes.get_mut(*at..*at + N) {
            place.copy_from_slice(value);
        }
    }
}

fn of_one(info: &Info) -> [(usize, u8); 8] {
    // LINUX: bit 4 tells that a mark of congestion was ever seen, which nobody keeps.
    let options = [info.timestamps, info.selective, info.window_scaling, info.ecn, false, info.syn_data];
    let options = options.iter().enumerate().fold(0, |bits, (bit, &on)| bits | u8::from(on) << bit);
    [
        (0, info.state),
        (1, info.recovery_state),
        (2, info.retransmits),
        (3, info.probes),
        (4, info.backoff),
        (5, options),
        (6, info.send_scale & 15 | info.receive_scale << 4),
        (7, info.app_limited.into()),
    ]
}

fn of_four(info: &Info) -> [(usize, u32); 37] {
    [
        (8, info.timeout),
        (12, info.ack_timeout),
        (16, info.send_mss),
        (20, info.receive_mss),
        (24, info.unacknowledged),
        (28, info.sacked),
        (32, info.lost),
        (36, info.resent),
        (44, info.since_sent),
        (52, info.since_data_received),
        (56, info.since_received),
        (60, info.path_mtu),
        (64, info.receive_window),
        (68, info.round_trip),
        (72, info.round_trip_variation),
        (76, info.threshold),
        (80, info.congestion_window),
        (84, info.advertised_mss),
        (88, info.reordering),
        (92, info.receiver_round_trip),
        (96, info.receive_space),
        (100, info.total_retransmissions),
        (136, info.segments_out),
        (140, info.segments_in),
        (144, info.not_sent),
        (148, info.smallest_round_trip),
        (152, info.data_segments_in),
        (156, info.data_segments_out),
        (192, info.delivered),
        (196, info.delivered_marked),
        (216, info.duplicates_reported),
        (220, info.reorderings_seen),
        (224, info.segments_beyond),
        (228, info.send_window),
        (232, info.receive_window),
        // No route is tried in place of another.
        (236, 0),
        (244, info.timeout_time),
    ]
}

fn of_eight(info: &Info) -> [(usize, u64); 10] {
    [
        (104, info.pacing_rate),
        (112, info.largest_pacing_rate),
        (120, info.bytes_acked),
        (128, info.bytes_received),
        (160, info.delivery_rate),
        (168, info.busy_time),
        (176, info.window_limited),
        (184, info.buffer_limited),
        (200, info.bytes_sent),
        (208, info.bytes_resent),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_fields_lie_in_the_same_bytes() {
        let info = Info::default();
        let mut taken = [0u8; size_of::<Bytes>()];
        let one = of_one(&info).map(|(at, _)| (at, 1)).into_iter();
        let four = of_four(&info).map(|(at, _)| (at, 4)).into_iter();
        let eight = of_eight(&info).map(|(at, _)| (at, 8)).into_iter();
        for (at, len) in one.chain([(240, 2), (242, 2)]).chain(four).chain(eight) {
            assert_eq!(at % len, 0, "{at}");
            taken[at..at + len].iter_mut().for_each(|byte| *byte += 1);
        }
        assert!(taken.iter().all(|&count| count <= 1), "{taken:?}");
    }
}
