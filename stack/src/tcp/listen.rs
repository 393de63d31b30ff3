//! Listeners and their accept queues.

use super::connection::Marks;
use super::fast_open::{self, Stage};
use super::segment::Segment;
use super::turn;
use super::{Connection, Listener, Settings, State, close, cookies, readiness, reply, request, reuse_port};
use crate::Error;
use crate::ip::net::Addr;
use crate::region::{Handle, Link, Links, List, Slab, Steps, Walk};
use crate::shard::{Entry, LISTEN_BUCKETS, Shard};
use crate::socket::SocketRef;
use crate::wait;
use crate::wire::Flags;

/// The accept queue's links.
pub(super) struct AcceptLinks<'a>(pub &'a mut Slab<Connection>);

impl Links for AcceptLinks<'_> {
    fn link(&mut self, index: u32) -> Option<&mut Link> {
        if index == 0 { None } else { self.0.item_mut(index).map(|c| &mut c.accept_link) }
    }
}

/// See [`super::listen`].
pub(super) fn listen(
    s: &mut Shard,
    addr: Addr,
    port: u16,
    backlog: u32,
    settings: &Settings,
) -> Result<Handle<Listener>, Error> {
    let Some(h) = s.listeners.alloc() else {
        s.counters.table_full += 1;
        return Err(Error::NoBuffers);
    };
    let backlog = backlog.min(s.head.sysctls.somaxconn);
    if let Some(l) = s.listeners.get_mut(h) {
        (l.addr, l.port, l.settings, l.backlog) = (addr, port, *settings, backlog);
    }
    fast_open::fit_queue(s, h);
    chain(s, h);
    Ok(h)
}

/// Enters a listener into the table of listeners.
pub(super) fn chain(s: &mut Shard, h: Handle<Listener>) {
    let Some(l) = s.listeners.get_mut(h) else { return };
    if let Some(first) = s.ports.get_mut(usize::from(l.port) % LISTEN_BUCKETS) {
        l.chain = core::mem::replace(first, h.index());
    }
}

fn unchain(s: &mut Shard, h: Handle<Listener>) {
    let Some((port, next)) = s.listeners.get(h).map(|l| (l.port, l.chain)) else { return };
    let Some(first) = s.ports.get_mut(usize::from(port) % LISTEN_BUCKETS) else { return };
    if *first == h.index() {
        *first = next;
        return;
    }
    let mut walk = Walk::over(&s.listeners, *first);
    while let Some((at, l)) = walk.item(&s.listeners) {
        if l.chain == h.index() {
            if let Some(l) = s.listeners.item_mut(at) {
                l.chain = next;
            }
            return;
        }
        walk.to(l.chain);
    }
}

/// A segment that belongs to no entry of the connection table: RFC 9293 3.10.7.1 and 3.10.7.2.
pub(super) fn on_segment(s: &mut Shard, segment: &Segment, now: u64) {
    let flags = segment.flags;
    let listener = reuse_port::choose(s, &segment.tuple);
    // "An incoming RST should be ignored."
    if flags.has(Flags::RST) && listener.is_some() {
        return;
    }
    match listener {
        Some(l) if flags.has(Flags::ACK) && !flags.has(Flags::SYN) && cookies::redeem(s, l, segment, now) => {
        }
        Some(l) if flags.only(Flags::SYN | Flags::ACK) == Flags::SYN => {
            // LINUX: a SYN that is the end as well means no good.
            if !flags.has(Flags::FIN) {
                request::on_syn(s, l, segment, None, now);
            }
        }
        Some(_) if !flags.has(Flags::ACK) => {}
        // "Any acknowledgment is bad if it arrives on a connection still in the LISTEN state."
        _ => {
            s.counters.tcp_no_socket += 1;
            reply::reset(s, segment);
        }
    }
}

/// LINUX: sk_acceptq_is_full(): one more than the backlog fits.
pub(super) fn is_full(l: &Listener) -> bool {
    l.accept_queue.len > l.backlog
}

/// An established connection waits to be accepted.
pub(super) fn enqueue(s: &mut Shard, listener: Handle<Listener>, connection: Handle<Connection>) {
    let Some(l) = s.listeners.get_mut(listener) else { return };
    if let Some(c) = s.connections.get_mut(connection) {
        c.listener = listener;
    }
    l.accept_queue.push_back(&mut AcceptLinks(&mut s.connections), connection.index());
    wait::notify(s, SocketRef::Listener(listener), readiness::READABLE);
}

/// See [`super::accept`].
pub(super) fn accept(s: &mut Shard, listener: Handle<Listener>) -> Option<Handle<Connection>> {
    let l = s.listeners.get_mut(listener)?;
    let index = l.accept_queue.pop_front(&mut AcceptLinks(&mut s.connections))?;
    let h = s.connections.at(index)?;
    let c = s.connections.get_mut(h)?;
    if c.is_open_early() {
        c.fast_open = Stage::HELD;
    } else {
        c.listener = Handle::NONE;
    }
    Some(h)
}

/// See [`super::stop_listening`].
pub(super) fn stop(s: &mut Shard, listener: Handle<Listener>, now: u64) {
    unchain(s, listener);
    let mut steps = Steps::over(&s.connections);
    while let Some(connection) = accept(s, listener)
        && steps.take(&s.damage)
    {
        close::abort(s, connection, now);
        close::close(s, connection, now);
    }
    // LINUX: half-open connections vanish without a word; their peers' ACKs find no socket and are reset.
    for index in 1..s.requests.high_water() {
        let Some(h) = s.requests.at(index) else { continue };
        if s.requests.get(h).is_some_and(|r| r.listener == listener) {
            turn::leave_table(s, Entry::Request(h));
            s.requests.free(h);
        }
    }
    s.listeners.free(listener);
}

/// See [`super::listener_readiness`].
pub(super) fn ready(s: &Shard, listener: Handle<Listener>) -> u32 {
    let Some(l) = s.listeners.get(listener) else { return readiness::HUP };
    let waiting = if l.accept_queue.is_empty() { 0 } else { readiness::READABLE };
    let error = if l.socket.error != 0 { readiness::ERR } else { 0 };
    waiting | error
}

/// After a death: accept queues from what connections say, in the order of their slots.
pub(super) fn recover(s: &mut Shard) {
    s.ports.fill(0);
    for index in 1..s.listeners.high_water() {
        let Some(h) = s.listeners.at(index) else { continue };
        if let Some(l) = s.listeners.get_mut(h) {
            l.accept_queue = List::EMPTY;
            (l.half_open, l.young) = (0, 0);
            l.chain = 0;
        }
        chain(s, h);
    }
    for index in 1..s.connections.high_water() {
        let Some(h) = s.connections.at(index) else { continue };
        let Some(c) = s.connections.get_mut(h).filter(|c| c.is_to_be_accepted()) else { continue };
        let listener = c.listener;
        match s.listeners.get_mut(listener) {
            Some(l) => l.accept_queue.push_back(&mut AcceptLinks(&mut s.connections), index),
            None => {
                // Its listener is gone, and nobody can ever accept it.
                c.listener = Handle::NONE;
                c.marks.set(Marks::ORPHAN);
                let now = s.head.now;
                s.head.trace.note(c.head.tuple, c.state, State::CLOSED, now);
                c.state = State::CLOSED;
            }
        }
    }
    for index in 1..s.requests.high_water() {
        let Some(h) = s.requests.at(index) else { continue };
        let Some((listener, is_young)) = s.requests.get(h).map(|r| (r.listener, r.timeouts == 0)) else {
            continue;
        };
        match s.listeners.get_mut(listener) {
            Some(l) => (l.half_open, l.young) = (l.half_open + 1, l.young + u32::from(is_young)),
            None => s.requests.free(h),
        }
    }
}

/// See [`super::set_backlog`].
pub(super) fn set_backlog(s: &mut Shard, listener: Handle<Listener>, backlog: u32) {
    let backlog = backlog.min(s.head.sysctls.somaxconn);
    if let Some(l) = s.listeners.get_mut(listener) {
        l.backlog = backlog;
    }
}
