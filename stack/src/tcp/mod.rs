//! TCP.
//!
//! The way in: [`input`] takes segments, `write`, `read` and the rest are what the socket layer calls, [`on_timer`]
//! and [`end_of_burst`] come from the pump. Each acts on one connection in a [`turn`]; what follows in other tables
//! is settled there. The files, in the order of a connection's life: `handshake`; `listen`, `request`, `cookies`,
//! `passive`; `input`, `expected`, `ack`, `incoming`, `receive_queue`, `beyond`, `relief`, `sack`, `window`;
//! `send_queue`, `output`, `burst`, `transmit`, `pacing`; `rtt`, `recovery`, `rate`, `congestion`, `path_mtu`;
//! `timers`, `patience`, `keep_alive`; `close`, `orphans`, `timewait`, `reply`; `info`, `trace`.

#![forbid(unsafe_code)]

mod ack;
mod beyond;
mod burst;
mod calls;
mod challenge;
mod check;
mod close;
pub mod congestion;
mod connection;
mod cookies;
mod delayed_ack;
mod ecn;
mod entries;
mod expected;
mod fast_open;
mod handshake;
mod incoming;
pub(crate) mod info;
mod input;
mod keep_alive;
mod listen;
mod numbers;
mod orphans;
mod output;
mod pacing;
mod passive;
mod path_mtu;
mod patience;
mod paws;
mod rate;
mod readiness;
mod receive_queue;
mod recover;
mod recovery;
mod relief;
mod reply;
mod request;
mod reuse_port;
mod rollback;
mod rtt;
mod sack;
mod segment;
mod send_queue;
mod seq;
mod settings;
mod state;
mod sysctl;
mod timers;
mod timewait;
mod trace;
mod transmit;
mod tuning;
mod turn;
mod unreachable;
mod urgent;
mod window;

pub use calls::{read, unacknowledged, unread, write, write_urgent};
pub use challenge::Challenges;
pub use check::check;
pub use connection::Connection;
pub use delayed_ack::{is_quick_ack, set_quick_ack};
pub use entries::{Listener, Request, TimeWait, Tuple};
pub(crate) use expected::{Taken, take as take_expected};
pub use fast_open::{
    Keys as FastOpenKeys, Peers as FastOpenPeers, Resets as FastOpenResets, set_keys as set_fast_open_keys,
};
pub use info::{Info, congestion_info, congestion_name, info};
pub(crate) use input::{Datagram, receive};
pub use recover::{belongs_in_table, recover};
pub use rollback::Before;
pub use seq::Seq;
pub use settings::Settings;
pub use state::State;
pub use sysctl::{Row, Sysctls};
pub use trace::{Change, Trace};
pub(crate) use unreachable::{Unreachable, unreachable};
pub use urgent::{at_mark, read_urgent, set_owned, take_signal};

use crate::Error;
use crate::ip::net::Addr;
use crate::region::Handle;
use crate::shard::{Entry, Shard};
use crate::socket::Source;

/// Whether nothing is in the way of a connection with these addresses and ports.
pub fn is_free(s: &mut Shard, tuple: &Tuple, now: u64) -> bool {
    timewait::is_free(s, tuple, now)
}

/// Opens a connection: the entry is made and the SYN queued. The tuple must be free.
pub fn connect(
    s: &mut Shard,
    tuple: Tuple,
    settings: &Settings,
    now: u64,
) -> Result<Handle<Connection>, Error> {
    handshake::connect(s, tuple, settings, now)
}

/// MSG_FASTOPEN: the same with the first bytes of `from` in the SYN (RFC 7413), and how many these were: none when the
/// peer has yet to be asked for a cookie.
pub fn connect_with_data(
    s: &mut Shard,
    tuple: Tuple,
    settings: &Settings,
    from: &mut impl Source,
    now: u64,
) -> Result<(Handle<Connection>, usize), Error> {
    handshake::connect_with_data(s, tuple, settings, from, now)
}

/// TCP_FASTOPEN_CONNECT: whether the SYN waits for the first bytes of the program.
pub fn is_deferred(s: &Shard, c: Handle<Connection>) -> bool {
    s.connections.get(c).is_some_and(fast_open::is_deferred)
}

/// These are the first bytes: sends the SYN with as many of them as it can carry, and says how many.
pub fn open_deferred(
    s: &mut Shard,
    c: Handle<Connection>,
    from: &mut impl Source,
    now: u64,
) -> Result<usize, Error> {
    fast_open::open_deferred(s, c, from, now)
}

/// Listens on `addr` (or any) and `port`.
pub fn listen(
    s: &mut Shard,
    addr: Addr,
    port: u16,
    backlog: u32,
    settings: &Settings,
) -> Result<Handle<Listener>, Error> {
    listen::listen(s, addr, port, backlog, settings)
}

/// listen() again: another backlog.
pub fn set_backlog(s: &mut Shard, listener: Handle<Listener>, backlog: u32) {
    listen::set_backlog(s, listener, backlog);
}

/// The oldest connection of the accept queue.
pub fn accept(s: &mut Shard, listener: Handle<Listener>) -> Option<Handle<Connection>> {
    listen::accept(s, listener)
}

/// The listener's last reference is gone: what is in its queues is reset, and it is freed.
pub fn stop_listening(s: &mut Shard, listener: Handle<Listener>, now: u64) {
    listen::stop(s, listener, now);
}

/// No more bytes will be written: FIN follows what is queued.
pub fn shutdown_write(s: &mut Shard, c: Handle<Connection>, now: u64) {
    close::shutdown_write(s, c, now);
}

/// The program will read no more. LINUX: what comes is taken all the same, and read gives it, then the end.
pub fn shutdown_read(s: &mut Shard, c: Handle<Connection>) {
    close::shutdown_read(s, c);
}

/// The last reference is gone: FIN, or RST when bytes were not read or SO_LINGER says so; the entry goes on without
/// a program until it is done.
pub fn close(s: &mut Shard, c: Handle<Connection>, now: u64) {
    close::close(s, c, now);
}

/// Ends the connection at once, with a RST where the state has one.
pub fn abort(s: &mut Shard, c: Handle<Connection>, now: u64) {
    close::abort(s, c, now);
}

/// Settings changed: sends what may go now (TCP_NODELAY set, TCP_CORK cleared).
pub fn push(s: &mut Shard, c: Handle<Connection>, now: u64) {
    let _ = turn::act(s, c, now, |t| {
        keep_alive::set(t);
        t.fit_segments();
        congestion::choose(t);
        if t.c.settings.no_delay != 0 && t.c.settings.cork == 0 {
            t.c.marks.clear(connection::Marks::MORE);
        }
    });
}

/// The errno of an ICMP error that did not end the connection, which is forgotten by asking; 0 for none.
pub fn take_soft_error(s: &mut Shard, c: Handle<Connection>) -> u32 {
    s.connections.get_mut(c).map_or(0, |c| core::mem::take(&mut c.probing.soft_error).into())
}

/// The EPOLL bits that hold for the connection now.
pub fn readiness(s: &Shard, c: Handle<Connection>) -> u32 {
    s.connections.get(c).map_or(readiness::HUP, |c| readiness::of(c, s.frames.chunk_size(), &s.head.sysctls))
}

/// The EPOLL bits that hold for the listener now.
pub fn listener_readiness(s: &Shard, l: Handle<Listener>) -> u32 {
    listen::ready(s, l)
}

/// `entry`'s timer has fired.
pub fn on_timer(s: &mut Shard, entry: Entry, now: u64) {
    match entry {
        Entry::Connection(h) => timers::fire(s, h, now),
        Entry::Request(h) => request::on_timer(s, h, now),
        Entry::TimeWait(h) => timewait::on_timer(s, h, now),
    }
}

/// The end of a burst of received frames: what it called for is sent, and programs are told.
pub fn end_of_burst(s: &mut Shard, now: u64) {
    if s.frames.is_scarce() {
        relief::relieve(s, now);
    }
    while let Some(h) = s.after.touched.pop() {
        input::finish_burst(s, h, now);
    }
}
