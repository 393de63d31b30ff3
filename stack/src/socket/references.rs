//! Who holds a socket: a node for each pair of process and socket, with the number of descriptors.
//!
//! A process that ends is found in this ledger by its slot; what it held and nobody else holds is closed.

use super::{RawSocketRef, Socket, SocketRef};
use crate::Error;
use crate::region::list::{Link, Links, List};
use crate::region::{Handle, Slab, Steps, Walk, Walked};
use crate::shard::Shard;
use crate::{tcp, wait};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug)]
#[repr(C)]
pub struct Reference {
    of_process: Link,
    of_socket: Link,
    socket: RawSocketRef,
    process: u32,
    /// Descriptors of the process that name the socket.
    descriptors: u32,
}

struct ByProcess<'a>(&'a mut Slab<Reference>);
impl Links for ByProcess<'_> {
    fn link(&mut self, index: u32) -> Option<&mut Link> {
        self.0.item_mut(index).map(|r| &mut r.of_process)
    }
}

struct BySocket<'a>(&'a mut Slab<Reference>);
impl Links for BySocket<'_> {
    fn link(&mut self, index: u32) -> Option<&mut Link> {
        self.0.item_mut(index).map(|r| &mut r.of_socket)
    }
}

/// Process `process` has one more descriptor for `socket`.
pub fn hold(s: &mut Shard, socket: SocketRef, process: u16) -> Result<(), Error> {
    if let Some(found) = find(s, socket, process) {
        if let Some(reference) = s.references.get_mut(found) {
            reference.descriptors = reference.descriptors.saturating_add(1);
        }
        return Ok(());
    }
    let Some((x, references)) = s.socket_and_references(socket) else {
        return Err(Error::BadDescriptor);
    };
    let holder = process.into();
    let reference =
        Reference { socket: socket.into(), process: holder, descriptors: 1, ..Reference::default() };
    let Some(handle) = references.insert(reference) else {
        s.counters.table_full += 1;
        return Err(Error::NoBuffers);
    };
    x.references.push_back(&mut BySocket(references), handle.index());
    if let Some(list) = s.held_by.get_mut(usize::from(process)) {
        list.push_back(&mut ByProcess(&mut s.references), handle.index());
    }
    Ok(())
}

/// Whether process `holder` has the socket, and nobody else.
#[inline]
pub fn is_held_by_one(references: &Slab<Reference>, socket: &Socket, holder: u16) -> bool {
    socket.references.len == 1
        && references.item_at(socket.references.first).is_some_and(|r| r.process == u32::from(holder))
}

/// The socket that process `holder` holds and whose shadow is `inode`. Linear: for exec alone.
pub fn by_inode(s: &Shard, inode: u64, holder: u16) -> Option<SocketRef> {
    let connections = s.connections.live().map(SocketRef::Connection);
    let mut all = connections.chain(s.listeners.live().map(SocketRef::Listener));
    all.find(|&socket| {
        s.socket(socket).is_some_and(|x| x.inode == inode) && find(s, socket, holder).is_some()
    })
}

/// Process `process` has one descriptor less. The last one of all closes the socket; then the result is true.
pub fn let_go(s: &mut Shard, socket: SocketRef, process: u16, now: u64) -> bool {
    let Some(found) = find(s, socket, process) else { return false };
    let Some(reference) = s.references.get_mut(found) else { return false };
    reference.descriptors = reference.descriptors.saturating_sub(1);
    if reference.descriptors > 0 {
        return false;
    }
    forget(s, found, now)
}

/// `child` holds all that `parent` holds, as after fork. On a full table nothing is held and the call fails.
pub fn adopt(s: &mut Shard, parent: u16, child: u16, now: u64) -> Result<(), Error> {
    let first = s.held_by.get(usize::from(parent)).map_or(0, |l| l.first);
    let mut walk = Walk::over(&s.references, first);
    while let Some((_, &reference)) = walk.item(&s.references) {
        if let Some(socket) = reference.socket.decode() {
            if let Err(error) = hold(s, socket, child) {
                drop_process(s, child, now);
                return Err(error);
            }
            if let Some(copy) = find(s, socket, child).and_then(|h| s.references.get_mut(h)) {
                copy.descriptors = reference.descriptors;
            }
        }
        walk.to(reference.of_process.next);
    }
    Ok(())
}

/// The process of this slot has ended: its references go. Gives the number of sockets that were closed by it.
pub fn drop_process(s: &mut Shard, process: u16, now: u64) -> usize {
    let mut closed = 0;
    let mut steps = Steps::over(&s.references);
    while let Some(first) = s.held_by.get(usize::from(process)).map(|l| l.first) {
        let Some(handle) = s.references.at(first).filter(|_| steps.take(&s.damage)) else { break };
        closed += usize::from(forget(s, handle, now));
    }
    if let Some(list) = s.held_by.get_mut(usize::from(process)) {
        *list = List::EMPTY;
    }
    wait::drop_process(s, process);
    closed
}

/// Takes a reference out of both lists; closes the socket if it was the last.
fn forget(s: &mut Shard, handle: Handle<Reference>, now: u64) -> bool {
    let Some(reference) = s.references.get(handle).copied() else { return false };
    if let Some(list) = s.held_by.get_mut(reference.process as usize) {
        list.remove(&mut ByProcess(&mut s.references), handle.index());
    }
    let socket = reference.socket.decode();
    let (mut last, mut is_watched) = (false, false);
    if let Some((x, references)) = socket.and_then(|x| s.socket_and_references(x)) {
        x.references.remove(&mut BySocket(references), handle.index());
        (last, is_watched) = (x.references.is_empty(), !x.watches.is_empty());
    }
    s.references.free(handle);
    if last {
        if let Some(socket) = socket.filter(|_| is_watched) {
            wait::forget_socket(s, socket);
        }
        match socket {
            Some(SocketRef::Connection(h)) => tcp::close(s, h, now),
            Some(SocketRef::Listener(h)) => tcp::stop_listening(s, h, now),
            Some(SocketRef::Epoll(h)) => wait::close(s, h),
            None => {}
        }
    }
    last
}

fn find(s: &Shard, socket: SocketRef, process: u16) -> Option<Handle<Reference>> {
    let mut walk = Walk::over(&s.references, s.socket(socket)?.references.first);
    while let Some((at, reference)) = walk.item(&s.references) {
        if reference.process == u32::from(process) {
            return s.references.at(at);
        }
        walk.to(reference.of_socket.next);
    }
    None
}

pub(super) fn recover(s: &mut Shard) {
    s.held_by.fill(List::EMPTY);
    let connections: alloc::vec::Vec<_> = s.connections.live().map(SocketRef::Connection).collect();
    let listeners: alloc::vec::Vec<_> = s.listeners.live().map(SocketRef::Listener).collect();
    let epolls: alloc::vec::Vec<_> = s.epolls.live().map(SocketRef::Epoll).collect();
    for socket in connections.into_iter().chain(listeners).chain(epolls) {
        if let Some(x) = s.socket_mut(socket) {
            x.references = List::EMPTY;
        }
    }
    for index in 1..s.references.high_water() {
        let Some(handle) = s.references.at(index) else { continue };
        let Some(reference) = s.references.get(handle).copied() else { continue };
        let target = reference.socket.decode().filter(|&x| s.socket(x).is_some());
        let (Some(socket), true) = (target, reference.descriptors > 0) else {
            s.references.free(handle);
            continue;
        };
        let mut list = s.socket(socket).map_or(List::EMPTY, |x| x.references);
        list.push_back(&mut BySocket(&mut s.references), index);
        if let Some(x) = s.socket_mut(socket) {
            x.references = list;
        }
        if let Some(list) = s.held_by.get_mut(reference.process as usize) {
            list.push_back(&mut ByProcess(&mut s.references), index);
        }
    }
}

pub(super) fn check(s: &mut Shard) -> Result<(), &'static str> {
    let mut listed = 0;
    for list in s.held_by.iter() {
        if !list.check(&mut ByProcess(&mut s.references)) {
            return Err("a process's list of references is broken");
        }
        listed += list.len;
    }
    if listed != s.references.in_use() {
        return Err("a reference belongs to no process");
    }
    for index in 1..s.references.high_water() {
        let Some(reference) = s.references.at(index).and_then(|h| s.references.get(h)).copied() else {
            continue;
        };
        let list = reference.socket.decode().and_then(|x| s.socket(x)).map(|x| x.references);
        match list {
            Some(list) if list.check(&mut BySocket(&mut s.references)) => {}
            Some(_) => return Err("a socket's list of references is broken"),
            None => return Err("a reference names a socket that is gone"),
        }
    }
    Ok(())
}
