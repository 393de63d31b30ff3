//! The window that we announce.

use super::connection::{Connection, Marks};
use super::turn::Turn;
use super::{Settings, Sysctls, relief, tuning};
use crate::wire::options::MAX_WINDOW_SCALE;

/// Received frames take a whole chunk each, whatever they carry.
/// LINUX: tcp_adv_win_scale 1: half of the buffer is for the overhead.
pub(super) const OVERHEAD_SHIFT: u32 = 1;
const LARGEST_UNSCALED: u32 = u16::MAX as u32;
/// LINUX: a sixteenth of the buffer that is left counts as none.
const TOO_LITTLE_SHIFT: u32 = 4;

/// The buffer that a window needs.
pub(super) fn buffer_for(window: u32) -> u32 {
    window.saturating_mul(1 << OVERHEAD_SHIFT)
}

/// The shift for the largest window that the buffer may ever grow to.
///
/// LINUX: tcp_select_initial_window(), which looks at tcp_rmem and at rmem_max, the most that SO_RCVBUF may ask for.
pub(super) fn scale_for(settings: &Settings, sysctls: &Sysctls) -> u8 {
    let mut space = tuning::initial_receive_buffer(settings, sysctls) >> OVERHEAD_SHIFT;
    if !tuning::receive_is_fixed(settings) {
        space = space.max(sysctls.tcp_rmem_most).max(sysctls.rmem_max);
    }
    let beyond = space.min(clamp(settings)) >> LARGEST_UNSCALED.count_ones();
    (u32::BITS - beyond.leading_zeros()).min(u32::from(MAX_WINDOW_SCALE)) as u8
}

/// The window of a fresh connection.
pub(super) fn initial(settings: &Settings, sysctls: &Sysctls) -> u32 {
    let space = tuning::initial_receive_buffer(settings, sysctls) >> OVERHEAD_SHIFT;
    space.min(LARGEST_UNSCALED).min(clamp(settings))
}

/// TCP_WINDOW_CLAMP.
fn clamp(settings: &Settings) -> u32 {
    if settings.window_clamp == 0 { u32::MAX } else { settings.window_clamp }
}

/// The window of an empty buffer.
fn whole(c: &Connection) -> u32 {
    (c.receive_buffer() >> OVERHEAD_SHIFT)
        .min(LARGEST_UNSCALED << c.receive.scale.min(MAX_WINDOW_SCALE))
        .min(clamp(&c.settings))
}

/// RFC 9293 3.8.6.2.2: what the window grows by at least, "the smaller of" a share of the buffer "and the effective
/// send MSS", or the sender fills it with small segments.
fn grain(c: &Connection) -> u32 {
    u32::from(c.receive.mss).min(whole(c) / 2).max(1)
}

/// Bytes that could be announced from what the buffer has left.
fn space(t: &Turn<'_>) -> u32 {
    let r = &t.c.receive;
    let held = (r.queue.len.saturating_add(r.beyond.len)).saturating_mul(t.frames.chunk_size());
    let free = t.c.receive_buffer().saturating_sub(held) >> OVERHEAD_SHIFT;
    let whole = whole(t.c);
    // The region itself may run out of frames before the connection's buffer does.
    let free = if t.frames.is_scarce() { free.min(relief::least_space(t, held)) } else { free };
    if free < grain(t.c) || free < whole >> TOO_LITTLE_SHIFT {
        return 0;
    }
    free.min(whole)
}

/// Moves the right edge as far as the buffer allows; the field for the header.
pub(super) fn announce(t: &mut Turn<'_>) -> u16 {
    let scale = u32::from(t.c.receive.scale.min(MAX_WINDOW_SCALE));
    let current = t.c.receive_window();
    // RFC 9293 3.8.6: a receiver should not shrink the window. Rounding up keeps what was granted.
    // Mostly the window is as large already as an empty buffer allows: then what is left of it need not be known.
    let least = current.saturating_add(grain(t.c));
    let possible = if whole(t.c) < least { 0 } else { space(t) };
    let wanted = if possible < least { current } else { possible };
    let field = wanted.div_ceil(1 << scale).min(LARGEST_UNSCALED);
    let edge = t.c.receive.next + (field << scale);
    t.c.receive.edge = edge.later_of(t.c.receive.edge);
    field as u16
}

/// RFC 7323 2.2: the window of a SYN is never scaled.
pub(super) fn announce_unscaled(t: &mut Turn<'_>) -> u16 {
    let window = t.c.receive_window().min(LARGEST_UNSCALED);
    window as u16
}

/// The program has read: whether the peer should hear of the room.
///
/// LINUX: tcp_cleanup_rbuf() tells when the window would at least double, so a bulk transfer sends no ACK for each
/// read; RFC 9293 3.8.6.2.2 asks for min(half the buffer, a segment) at least.
pub(super) fn wants_update(t: &Turn<'_>) -> bool {
    if t.c.marks.has(Marks::FIN_RECEIVED) || !t.c.state.may_receive() {
        return false;
    }
    let current = t.c.receive_window();
    let whole = whole(t.c);
    // Mostly what an empty buffer allows would be too little.
    if whole < current.saturating_mul(2) {
        return false;
    }
    let least = current.saturating_mul(2).max(current.saturating_add(grain(t.c)));
    whole >= least && space(t) >= least
}
