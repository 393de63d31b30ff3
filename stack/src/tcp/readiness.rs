//! What a program can do without waiting, in EPOLL bits.

use super::connection::{Connection, Marks};
use super::{State, Sysctls, fast_open, send_queue, urgent};

const IN: u32 = 0x001;
pub(super) const PRI: u32 = 0x002;
const OUT: u32 = 0x004;
pub(super) const ERR: u32 = 0x008;
pub(super) const HUP: u32 = 0x010;
const RDNORM: u32 = 0x040;
const WRNORM: u32 = 0x100;
pub(super) const RDHUP: u32 = 0x2000;
pub(super) const READABLE: u32 = IN | RDNORM;
pub(super) const WRITABLE: u32 = OUT | WRNORM;

/// LINUX: tcp_poll().
pub(super) fn of(c: &Connection, chunk_size: u32, sysctls: &Sysctls) -> u32 {
    let closed = c.state.is_closed();
    let read_shut = closed || c.marks.has(Marks::FIN_RECEIVED) || c.marks.has(Marks::READ_SHUT);
    let write_shut = closed || c.marks.has(Marks::FIN_QUEUED);
    let mut bits = 0;
    if closed || (read_shut && write_shut) {
        bits |= HUP;
    }
    if read_shut {
        bits |= READABLE | RDHUP;
    }
    if !c.state.is_opening() || c.is_open_early() {
        // LINUX: a byte that is not in line does not count.
        let hidden = u32::from(urgent::hides_next(c));
        if c.receive.unread >= c.settings.receive_low_water.max(1).saturating_add(hidden) {
            bits |= READABLE;
        }
        if urgent::is_here(c) {
            bits |= PRI;
        }
        if write_shut || is_writable(c, chunk_size, sysctls) {
            bits |= WRITABLE;
        }
    }
    if fast_open::is_deferred(c) {
        bits |= WRITABLE;
    }
    if c.socket.error != 0 {
        bits |= ERR;
    }
    bits
}

/// LINUX: __sk_stream_is_writeable(): what is free is at least half of what is used, a third of the whole; and what was
/// not sent yet is less than half of TCP_NOTSENT_LOWAT.
pub(super) fn is_writable(c: &Connection, chunk_size: u32, sysctls: &Sysctls) -> bool {
    let used = u64::from(send_queue::used(c, chunk_size));
    let unsent = u64::from(send_queue::unsent(c)) * 2;
    c.state != State::SYN_SENT
        && used + used / 2 <= u64::from(c.send_buffer())
        && unsent < u64::from(send_queue::not_sent_limit(c, sysctls))
}
