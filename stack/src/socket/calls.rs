//! The calls that are more than one TCP operation: where a connection goes, what a second connect() answers, names.

use super::{Socket, SocketRef, Source};
use crate::Error;
use crate::ip::net::{Addr, VIA_LOOPBACK};
use crate::region::Handle;
use crate::shard::Shard;
use crate::tcp::{self, Connection, Listener, Settings, State, Tuple};

/// An address and a port, in host order.
pub type Endpoint = (Addr, u16);

/// Where a connection is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    Ours(Handle<Connection>),
    Kernel(Reason),
}

/// Why a socket stays with the kernel; `shunt ss` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No route leads there, or one that is not by an accelerated device.
    Route,
    /// The peer is on this host, and no program of this region listens there.
    LocalPeer,
    /// The address that the socket is bound to is none of an accelerated device.
    Source,
    /// No port of the leased range is free towards this peer.
    Ports,
    /// Another socket of the region has the same addresses and ports, or listens on them already.
    Taken,
    /// A table of the region is full.
    Full,
}

impl Reason {
    pub const fn text(self) -> &'static str {
        match self {
            Reason::Route => "the route does not lead over an accelerated device",
            Reason::LocalPeer => "the peer is on this host and does not listen under shunt",
            Reason::Source => "it is bound to an address that no accelerated device has",
            Reason::Ports => "no leased port is free towards this peer",
            Reason::Taken => "its addresses and ports are taken in the region",
            Reason::Full => "a table of the region is full",
        }
    }
}

/// Opens a connection if it is ours to carry. `bound` is what the shadow is bound to, with an address of 0 for any.
pub fn connect(
    s: &mut Shard,
    bound: Option<Endpoint>,
    remote: Endpoint,
    settings: &Settings,
    now: u64,
) -> Result<Placement, Error> {
    place(s, bound, remote, now, |s, tuple| tcp::connect(s, tuple, settings, now))
}

/// MSG_FASTOPEN: the same with the first bytes of `from`, and how many of them went with the SYN.
pub fn connect_with_data(
    s: &mut Shard,
    bound: Option<Endpoint>,
    remote: Endpoint,
    settings: &Settings,
    from: &mut impl Source,
    now: u64,
) -> Result<(Placement, usize), Error> {
    let mut taken = 0;
    let placement = place(s, bound, remote, now, |s, tuple| {
        let (connection, count) = tcp::connect_with_data(s, tuple, settings, from, now)?;
        taken = count;
        Ok(connection)
    })?;
    Ok((placement, taken))
}

fn place(
    s: &mut Shard,
    bound: Option<Endpoint>,
    remote: Endpoint,
    now: u64,
    open: impl FnOnce(&mut Shard, Tuple) -> Result<Handle<Connection>, Error>,
) -> Result<Placement, Error> {
    let source = match source(s, bound.map(|b| b.0), remote) {
        Ok(source) => source,
        Err(reason) => return Ok(Placement::Kernel(reason)),
    };
    let tuple = |port| Tuple { local: source, remote: remote.0, local_port: port, remote_port: remote.1 };
    let port = match bound.filter(|b| b.1 != 0) {
        Some((_, port)) if !tcp::is_free(s, &tuple(port), now) => {
            return Ok(Placement::Kernel(Reason::Taken));
        }
        Some((_, port)) => port,
        None => match free_port(s, tuple, now) {
            Some(port) => port,
            None => return Ok(Placement::Kernel(Reason::Ports)),
        },
    };
    match open(s, tuple(port)) {
        Ok(connection) => Ok(Placement::Ours(connection)),
        Err(Error::NoBuffers) => Ok(Placement::Kernel(Reason::Full)),
        Err(error) => Err(error),
    }
}

/// The local address towards `remote`, if the way there is ours.
fn source(s: &mut Shard, bound: Option<Addr>, remote: Endpoint) -> Result<Addr, Reason> {
    let (to, port) = remote;
    let path = s.net.path(to).ok_or(Reason::Route)?;
    let bound = bound.filter(|a| !a.is_any());
    if path.via == VIA_LOOPBACK {
        return if listens(s, to, port) { Ok(bound.unwrap_or(to)) } else { Err(Reason::LocalPeer) };
    }
    s.net.ask_again(&path);
    let route = *s.net.route(to).ok_or(Reason::Route)?;
    let ifindex = s.net.devices().get(usize::from(path.device)).map(|d| d.ifindex);
    let of_device = |a: Addr| s.net.addresses().iter().any(|l| l.addr == a && Some(l.ifindex) == ifindex);
    match bound {
        Some(addr) if of_device(addr) => Ok(addr),
        Some(_) => Err(Reason::Source),
        None if !route.source.is_any() => Ok(route.source),
        None => s
            .net
            .addresses()
            .iter()
            .find(|l| Some(l.ifindex) == ifindex)
            .map(|l| l.addr)
            .ok_or(Reason::Source),
    }
}

fn listens(s: &Shard, addr: Addr, port: u16) -> bool {
    let listeners = s.listeners.live().filter_map(|h| s.listeners.get(h));
    let mut matching = listeners.filter(|l| l.port == port && (l.addr == addr || l.addr.is_any()));
    matching.next().is_some()
}

/// A leased port from which nothing is connected to this peer. A random start makes it hard to foresee (RFC 6056).
fn free_port(s: &mut Shard, tuple: impl Fn(u16) -> Tuple, now: u64) -> Option<u16> {
    let (from, to) = (s.net.head.ports_from, s.net.head.ports_to);
    let range = to.checked_sub(from).filter(|&n| n > 0)?;
    let start = (s.random() >> 16) as u32 % range;
    for step in 0..range {
        let port = (from + (start + step) % range) as u16;
        if s.net.may_connect_from(port) && tcp::is_free(s, &tuple(port), now) {
            return Some(port);
        }
    }
    None
}

/// What connect() answers for a connection that was begun: Ok when it has just been established, or has failed.
pub fn connect_outcome(s: &mut Shard, connection: Handle<Connection>) -> Result<(), Error> {
    let Some(c) = s.connections.get_mut(connection) else { return Err(Error::BadDescriptor) };
    if let Some(error) = Error::from_errno(core::mem::take(&mut c.socket.error)) {
        return Err(error);
    }
    let state = c.state;
    match state {
        // LINUX: TCP_FASTOPEN_CONNECT: connected, as far as the program is concerned.
        State::SYN_SENT if tcp::is_deferred(s, connection) => Ok(()),
        State::SYN_SENT | State::SYN_RECEIVED => Err(Error::Already),
        State::CLOSED => Err(Error::Aborted),
        _ => Ok(()),
    }
}

/// Listens. A second listener on the same address and port is refused with [`Error::AddressInUse`] unless all of them
/// have SO_REUSEPORT. Whether they belong to one user the kernel has judged when their shadows were bound.
pub fn listen(
    s: &mut Shard,
    at: Endpoint,
    backlog: u32,
    settings: &Settings,
) -> Result<Handle<Listener>, Error> {
    let excludes = |l: &Listener| l.settings.reuse_port == 0 || settings.reuse_port == 0;
    let is_taken =
        s.listeners.live().filter_map(|h| s.listeners.get(h)).any(|l| (l.addr, l.port) == at && excludes(l));
    if is_taken {
        return Err(Error::AddressInUse);
    }
    tcp::listen(s, at.0, at.1, backlog, settings)
}

/// The oldest connection of the accept queue, now held by `process`.
pub fn accept(
    s: &mut Shard,
    listener: Handle<Listener>,
    process: u16,
    now: u64,
) -> Result<Handle<Connection>, Error> {
    if s.listeners.get(listener).is_none() {
        return Err(Error::Invalid);
    }
    let connection = tcp::accept(s, listener).ok_or(Error::Again)?;
    if let Err(error) = super::hold(s, SocketRef::Connection(connection), process) {
        tcp::abort(s, connection, now);
        tcp::close(s, connection, now);
        return Err(error);
    }
    Ok(connection)
}

/// Which directions shutdown() ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Read,
    Write,
    Both,
}

pub fn shutdown(s: &mut Shard, connection: Handle<Connection>, how: How, now: u64) -> Result<(), Error> {
    let state = s.connections.get(connection).map(|c| c.state).ok_or(Error::BadDescriptor)?;
    if state == State::CLOSED {
        return Err(Error::NotConnected);
    }
    if state == State::SYN_SENT {
        // LINUX: inet_shutdown() gives a connection that is not established up, and it is unconnected again.
        tcp::abort(s, connection, now);
        return Ok(());
    }
    if how != How::Write {
        tcp::shutdown_read(s, connection);
    }
    if how != How::Read {
        tcp::shutdown_write(s, connection, now);
    }
    Ok(())
}

pub fn local_endpoint(s: &Shard, socket: SocketRef) -> Option<Endpoint> {
    match socket {
        SocketRef::Connection(h) => {
            s.connections.get(h).map(|c| (c.head.tuple.local, c.head.tuple.local_port))
        }
        SocketRef::Listener(h) => s.listeners.get(h).map(|l| (l.addr, l.port)),
        SocketRef::Epoll(_) => None,
    }
}

/// The peer's address, while there is one.
pub fn remote_endpoint(s: &Shard, connection: Handle<Connection>) -> Result<Endpoint, Error> {
    let c = s.connections.get(connection).ok_or(Error::BadDescriptor)?;
    match c.state {
        State::CLOSED | State::TIME_WAIT | State::SYN_SENT => Err(Error::NotConnected),
        _ => Ok((c.head.tuple.remote, c.head.tuple.remote_port)),
    }
}

/// What a socket that is to be bound has set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reuse {
    /// SO_REUSEADDR.
    pub address: bool,
    /// SO_REUSEPORT.
    pub port: bool,
}

/// Whether a socket that is to be bound to `at` would be in the way of a connection there. Listeners are not looked at: their
/// shadows hold their ports in the kernel. LINUX: both must have SO_REUSEADDR, or both SO_REUSEPORT; what is in
/// TIME_WAIT is taken to have them.
pub fn is_port_in_use(s: &Shard, at: Endpoint, reuse: Reuse) -> bool {
    let covers = |tuple: &Tuple| tuple.local_port == at.1 && (at.0.is_any() || at.0 == tuple.local);
    let mut connections = s.connections.live().filter_map(|h| s.connections.get(h));
    let in_way = |c: &Connection| {
        let both = reuse.address && c.settings.reuse_address != 0 || reuse.port && c.settings.reuse_port != 0;
        c.state != State::CLOSED && covers(&c.head.tuple) && !both
    };
    let mut time_waits = s.time_waits.live().filter_map(|h| s.time_waits.get(h));
    connections.any(in_way) || (!reuse.address && !reuse.port && time_waits.any(|t| covers(&t.head.tuple)))
}

/// SO_ERROR: the pending error, which is cleared by asking. LINUX: or else what ICMP said last.
pub fn take_error(s: &mut Shard, socket: SocketRef) -> u32 {
    let error = s.socket_mut(socket).map_or(0, |x: &mut Socket| core::mem::take(&mut x.error));
    match socket {
        SocketRef::Connection(h) if error == 0 => tcp::take_soft_error(s, h),
        _ => error,
    }
}

/// What setsockopt changed: the shim reads all of it back from the shadow, which has judged it.
pub fn configure(s: &mut Shard, socket: SocketRef, settings: &Settings, now: u64) {
    match socket {
        SocketRef::Connection(h) => {
            if let Some(c) = s.connections.get_mut(h) {
                c.settings = *settings;
                tcp::push(s, h, now);
            }
        }
        SocketRef::Listener(h) => {
            if let Some(l) = s.listeners.get_mut(h) {
                l.settings = *settings;
            }
        }
        SocketRef::Epoll(_) => {}
    }
}

#[cfg(test)]
mod tests;
