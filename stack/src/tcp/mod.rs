//! TCP.

#![forbid(unsafe_code)]

mod entries;
mod settings;

pub use entries::{Connection, Listener, Request, State, TimeWait, Tuple};
pub use settings::Settings;

use crate::Error;
use crate::ip::net::Addr;
use crate::region::Handle;
use crate::shard::{Entry, EntryRef, Shard};
use crate::socket::{Sink, Source};

/// Opens a connection: the entry is made and the SYN queued. The tuple must be free.
pub fn connect(
    _s: &mut Shard,
    _tuple: Tuple,
    _settings: &Settings,
    _now: u64,
) -> Result<Handle<Connection>, Error> {
    Err(Error::NotSupported)
}

/// Listens on `addr` (or any) and `port`.
pub fn listen(
    _s: &mut Shard,
    _addr: Addr,
    _port: u16,
    _backlog: u32,
    _settings: &Settings,
) -> Result<Handle<Listener>, Error> {
    Err(Error::NotSupported)
}

/// listen() again: another backlog.
pub fn set_backlog(_s: &mut Shard, _listener: Handle<Listener>, _backlog: u32) {}

/// The oldest connection of the accept queue.
pub fn accept(_s: &mut Shard, _listener: Handle<Listener>) -> Option<Handle<Connection>> {
    None
}

/// The listener's last reference is gone: what is in its queues is reset, and it is freed.
pub fn stop_listening(_s: &mut Shard, _listener: Handle<Listener>, _now: u64) {}

/// Takes bytes of a program into frames and sends what may go. Ok(n) with n > 0, or why nothing was taken: `Again`
/// when there is no room, `Fault` when the source could not be read, `Pipe`, `NotConnected`...
/// `more` is MSG_MORE: the last, partial segment waits.
pub fn write(
    _s: &mut Shard,
    _c: Handle<Connection>,
    _from: &mut impl Source,
    _more: bool,
    _now: u64,
) -> Result<usize, Error> {
    Err(Error::NotSupported)
}

/// Moves received bytes to a program. Ok(0) at the end of the stream; `Again` when nothing is there yet. With `peek`
/// they stay. The window is opened, and an update sent, as RFC 9293 3.8.6.2.2 says.
pub fn read(
    _s: &mut Shard,
    _c: Handle<Connection>,
    _to: &mut impl Sink,
    _peek: bool,
    _now: u64,
) -> Result<usize, Error> {
    Err(Error::NotSupported)
}

/// No more bytes will be written: FIN follows what is queued.
pub fn shutdown_write(_s: &mut Shard, _c: Handle<Connection>, _now: u64) {}

/// The program will read no more: what comes is acknowledged and dropped (as Linux does), read gives the end.
pub fn shutdown_read(_s: &mut Shard, _c: Handle<Connection>) {}

/// The last reference is gone: FIN, or RST when bytes were not read or SO_LINGER says so; the entry goes on without
/// a program until it is done.
pub fn close(_s: &mut Shard, _c: Handle<Connection>, _now: u64) {}

/// Ends the connection at once, with a RST where the state has one.
pub fn abort(_s: &mut Shard, _c: Handle<Connection>, _now: u64) {}

/// Settings changed: sends what may go now (TCP_NODELAY set, TCP_CORK cleared).
pub fn push(_s: &mut Shard, _c: Handle<Connection>, _now: u64) {}

/// The EPOLL bits that hold for the connection now.
pub fn readiness(_s: &Shard, _c: Handle<Connection>) -> u32 {
    0
}

/// The EPOLL bits that hold for the listener now.
pub fn listener_readiness(_s: &Shard, _l: Handle<Listener>) -> u32 {
    0
}

/// Bytes received and not read (FIONREAD).
pub fn unread(_s: &Shard, _c: Handle<Connection>) -> usize {
    0
}

/// Bytes written and not acknowledged (SIOCOUTQ).
pub fn unacknowledged(_s: &Shard, _c: Handle<Connection>) -> usize {
    0
}

/// `entry`'s timer has fired.
pub fn on_timer(_s: &mut Shard, _entry: Entry, _now: u64) {}

/// The end of a burst of received frames: ACKs that wait for it are sent.
pub fn end_of_burst(_s: &mut Shard, _now: u64) {}

/// Invariants of connections, queues and listeners.
pub fn check(_s: &mut Shard) -> Result<(), &'static str> {
    Ok(())
}

/// After a death: queues of frames, accept queues and listeners' chains from what is in the slabs; the connection
/// `changing` is reset.
pub fn recover(_s: &mut Shard, _changing: EntryRef) {}

/// Whether a live entry is to be found by its tuple (a closed connection that a program still holds is not).
pub fn belongs_in_table(_s: &Shard, _entry: Entry) -> bool {
    true
}
