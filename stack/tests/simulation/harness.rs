//! A pair of stacks, a connection between them, and shorthands for what programs do.

use stack::Error;
use stack::link::sim::{Conditions, Sim, address};
use stack::region::{Handle, Sizes};
use stack::socket;
use stack::tcp::{self, Connection, Listener, Settings, State, Tuple};

pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;
pub(crate) const PORT: u16 = 80;
pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MILLISECOND;

pub(crate) fn sim(conditions: Conditions, seed: u64) -> Sim {
    Sim::new(Sizes::tiny(), conditions, seed).unwrap()
}

pub(crate) fn tuple(port: u16) -> Tuple {
    Tuple { local: address(CLIENT), remote: address(SERVER), local_port: port, remote_port: PORT }
}

pub(crate) fn listen(sim: &mut Sim, backlog: u32) -> Handle<Listener> {
    let l = tcp::listen(&mut sim.ends[SERVER], address(SERVER), PORT, backlog, &Settings::default()).unwrap();
    hold(sim, SERVER, socket::SocketRef::Listener(l));
    l
}

pub(crate) fn connect_from(sim: &mut Sim, port: u16) -> Handle<Connection> {
    connect_with(sim, port, &Settings::default())
}

pub(crate) fn connect_with(sim: &mut Sim, port: u16, settings: &Settings) -> Handle<Connection> {
    let now = sim.now;
    let c = tcp::connect(&mut sim.ends[CLIENT], tuple(port), settings, now).unwrap();
    hold(sim, CLIENT, socket::SocketRef::Connection(c));
    c
}

pub(crate) fn hold(sim: &mut Sim, end: usize, socket: socket::SocketRef) {
    socket::hold(&mut sim.ends[end], socket, 1).unwrap();
}

pub(crate) fn accept(sim: &mut Sim, l: Handle<Listener>) -> Option<Handle<Connection>> {
    let c = tcp::accept(&mut sim.ends[SERVER], l)?;
    hold(sim, SERVER, socket::SocketRef::Connection(c));
    Some(c)
}

/// A program closes its descriptor.
pub(crate) fn close(sim: &mut Sim, end: usize, c: Handle<Connection>) {
    let now = sim.now;
    socket::let_go(&mut sim.ends[end], socket::SocketRef::Connection(c), 1, now);
}

/// An established connection: both ends.
pub(crate) fn connected(sim: &mut Sim) -> (Handle<Connection>, Handle<Connection>) {
    let l = listen(sim, 16);
    let client = connect_from(sim, 40_000);
    settle(sim);
    let server = accept(sim, l).expect("nobody came");
    assert_eq!(state(sim, CLIENT, client), State::ESTABLISHED);
    assert_eq!(state(sim, SERVER, server), State::ESTABLISHED);
    (client, server)
}

/// Lets a few round trips pass, with every invariant checked after each step.
pub(crate) fn settle(sim: &mut Sim) {
    run_for(sim, 10 * MILLISECOND);
}

pub(crate) fn run_for(sim: &mut Sim, nanoseconds: u64) {
    sim.run_for(nanoseconds);
    sim.check().unwrap();
}

pub(crate) fn state(sim: &Sim, end: usize, c: Handle<Connection>) -> State {
    sim.ends[end].connections.get(c).map_or(State::CLOSED, |c| c.state)
}

/// The state that the last change on this side led to, whatever kind of entry holds it.
pub(crate) fn latest_state(sim: &Sim, end: usize) -> State {
    sim.ends[end].head.trace.latest().last().map_or(State::CLOSED, |change| change.to)
}

pub(crate) fn exists(sim: &Sim, end: usize, c: Handle<Connection>) -> bool {
    sim.ends[end].connections.get(c).is_some()
}

pub(crate) fn write(sim: &mut Sim, end: usize, c: Handle<Connection>, bytes: &[u8]) -> Result<usize, Error> {
    let now = sim.now;
    let mut source = bytes;
    tcp::write(&mut sim.ends[end], c, &mut source, false, now)
}

pub(crate) fn read(sim: &mut Sim, end: usize, c: Handle<Connection>, most: usize) -> Result<Vec<u8>, Error> {
    let now = sim.now;
    let mut buffer = vec![0; most];
    let mut sink = &mut buffer[..];
    let n = tcp::read(&mut sim.ends[end], c, &mut sink, false, now)?;
    buffer.truncate(n);
    Ok(buffer)
}

pub(crate) fn shutdown_write(sim: &mut Sim, end: usize, c: Handle<Connection>) {
    let now = sim.now;
    tcp::shutdown_write(&mut sim.ends[end], c, now);
}

/// All frames are free again, all entries too but for `listeners`.
pub(crate) fn assert_nothing_is_left(sim: &mut Sim) {
    for shard in &sim.ends {
        assert_eq!(shard.connections.in_use(), 0, "connections");
        assert_eq!(shard.requests.in_use(), 0, "requests");
        assert_eq!(shard.time_waits.in_use(), 0, "TIME_WAIT entries");
        assert_eq!(shard.frames.available(), shard.frames.total(), "frames");
        assert_eq!(shard.wheel.armed(), 0, "timers");
        assert_eq!(shard.region.gate(0).unwrap().live.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}
