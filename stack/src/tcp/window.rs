//! The window that we announce.

use super::connection::Marks;
use super::turn::Turn;

/// Received frames take a whole chunk each, whatever they carry.
/// LINUX: tcp_adv_win_scale 1: half of the buffer is for the overhead.
const OVERHEAD_SHIFT: u32 = 1;
const LARGEST_UNSCALED: u32 = u16::MAX as u32;

/// The shift for a window that may grow to this receive buffer.
pub(super) fn scale_for(receive_buffer: u32) -> u8 {
    let mut space = receive_buffer >> OVERHEAD_SHIFT;
    let mut scale = 0;
    while space > LARGEST_UNSCALED && scale < crate::wire::options::MAX_WINDOW_SCALE {
        space >>= 1;
        scale += 1;
    }
    scale
}

/// The window of a fresh connection.
pub(super) fn initial(receive_buffer: u32) -> u32 {
    (receive_buffer >> OVERHEAD_SHIFT).min(LARGEST_UNSCALED)
}

/// Bytes that could be announced from what the buffer has left.
pub(super) fn space(t: &Turn<'_>) -> u32 {
    let r = &t.c.receive;
    let held = (r.queue.len.saturating_add(r.beyond.len)).saturating_mul(t.frames.chunk_size());
    let free = t.c.settings.receive_buffer.saturating_sub(held) >> OVERHEAD_SHIFT;
    let free = free.min(LARGEST_UNSCALED << r.scale.min(14));
    // RFC 9293 3.8.6.2.2: no window smaller than a segment, or the sender fills it with small ones. The region
    // itself may run out of frames before the connection's buffer does: then nothing grows.
    let grain = u32::from(r.mss).min(t.c.settings.receive_buffer >> 2).max(1);
    if free < grain || t.frames.is_scarce() { 0 } else { free }
}

/// Moves the right edge as far as the buffer allows; the field for the header.
pub(super) fn announce(t: &mut Turn<'_>) -> u16 {
    let scale = u32::from(t.c.receive.scale.min(14));
    let current = t.c.receive_window();
    // RFC 9293 3.8.6: a receiver should not shrink the window. Rounding up keeps what was granted.
    let wanted = space(t).max(current);
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
    let possible = space(t);
    let grain = u32::from(t.c.receive.mss).min(t.c.settings.receive_buffer >> 2);
    possible >= current.saturating_mul(2) && possible.saturating_sub(current) >= grain && possible > 0
}
