//! A process that drives the connections of others is killed at any instruction: none of them notices.
//!
//! The victim is led through its turn an instruction at a time. At every so many the region is copied, as a death there
//! would leave it, and in the copy others go on. SHUNT_DEATH_STRIDE sets how many (1: at each instruction).

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use stack::drive::{Entered, Stack};
use stack::ip::net::{Addr, Device, LocalAddress, Route, RouteKind};
use stack::region::{Handle, Region, Sizes, Tenure};
use stack::socket::{self, How, Placement, SocketRef};
use stack::tcp::{self, Connection, Listener, Settings};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

const HOLDER: u16 = 0;
const VICTIM: u16 = 1;
const HERE: Addr = Addr(0x0a00_0001);
const PORT: u16 = 80;
const START: u64 = 1_000_000_000_000;
const MILLISECOND: u64 = 1_000_000;
/// The victim comes when timers are due, too.
const LATER: u64 = START + 300 * MILLISECOND;
/// A prime, so that loops are met at other places each time.
const STRIDE: u32 = 61;
const PATIENCE: u32 = 400;

/// One direction of a connection.
struct Stream {
    to: Handle<Connection>,
    amount: usize,
    /// The sender says that nothing follows.
    ends: bool,
}

struct World {
    listener: Handle<Listener>,
    streams: Vec<Stream>,
    /// Its SYN is on its way.
    opening: Handle<Connection>,
}

fn enter(stack: &Stack, at: u64) -> Entered<'_> {
    stack.enter(0, at).expect("shard 0")
}

fn sizes() -> Sizes {
    Sizes { frames: 256, ..Sizes::tiny() }
}

fn pattern(amount: usize) -> Vec<u8> {
    (0..amount).map(|at| (at % 251) as u8).collect()
}

fn connect(s: &mut Entered<'_>) -> Handle<Connection> {
    let at = s.now();
    let placed = socket::connect(s, None, (HERE, PORT), &Settings::default(), at).unwrap();
    let Placement::Ours(client) = placed else { panic!("not ours") };
    socket::hold(s, SocketRef::Connection(client), HOLDER).unwrap();
    client
}

fn accept(s: &mut Entered<'_>, listener: Handle<Listener>) -> Option<Handle<Connection>> {
    let at = s.now();
    socket::accept(s, listener, HOLDER, at).ok()
}

fn write(s: &mut Entered<'_>, from: Handle<Connection>, amount: usize) {
    let at = s.now();
    assert_eq!(tcp::write(s, from, &mut pattern(amount).as_slice(), false, at), Ok(amount));
}

fn let_go(s: &mut Entered<'_>, connection: Handle<Connection>) {
    let at = s.now();
    socket::let_go(s, SocketRef::Connection(connection), HOLDER, at);
}

/// Connections on which there is everything to do: nothing of what was written has left yet.
fn prepare(stack: &Stack) -> World {
    let mut s = enter(stack, START);
    let route = Route { destination: HERE, prefix_len: 32, kind: RouteKind::LOCAL, ..Route::default() };
    let device = Device { ifindex: 1, mtu: 1500, queues: 1, ..Device::default() };
    s.net.replace(&[device], &[LocalAddress { addr: HERE, ifindex: 1 }], &[route]);
    s.net.lease_ports(40_000, 60_000, std::iter::empty());
    let listener = socket::listen(&mut s, (HERE, PORT), 64, &Settings::default()).unwrap();
    socket::hold(&mut s, SocketRef::Listener(listener), HOLDER).unwrap();
    let mut pair = || {
        let client = connect(&mut s);
        s.flush();
        [client, accept(&mut s, listener).unwrap()]
    };
    let [a, b] = pair();
    let [c, d] = pair();
    let [e, f] = pair();
    write(&mut s, a, 30_000);
    write(&mut s, b, 3_000);
    write(&mut s, c, 5_000);
    write(&mut s, d, 700);
    write(&mut s, e, 2_000);
    let at = s.now();
    socket::shutdown(&mut s, c, How::Write, at).unwrap();
    socket::shutdown(&mut s, d, How::Write, at).unwrap();
    // What it has sent arrives although nobody holds it.
    let_go(&mut s, e);
    let opening = connect(&mut s);
    let stream = |to, amount, ends| Stream { to, amount, ends };
    let streams = vec![
        stream(b, 30_000, false),
        stream(a, 3_000, false),
        stream(d, 5_000, true),
        stream(c, 700, true),
        stream(f, 2_000, true),
    ];
    World { listener, streams, opening }
}

/// Takes one turn, and gives itself up to its parent around it.
#[test]
fn victim() {
    let Ok(fd) = std::env::var("SHUNT_DEATH_REGION") else { return };
    // SAFETY: the parent left this descriptor open for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd.parse().unwrap()) };
    let stack = Stack::new(Region::attach(fd).unwrap(), VICTIM, Vec::new());
    stop();
    let mut turn = enter(&stack, LATER);
    turn.pump();
    turn.leave(|_| {});
    stop();
}

fn stop() {
    // SAFETY: makes our parent the tracer of this thread, again without effect, and stops the thread for it.
    unsafe {
        libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
        libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), libc::SIGSTOP);
    }
}

/// The thread of the victim that takes the turn.
struct Tracee(libc::pid_t);

impl Tracee {
    /// Waits until one of our children's threads has stopped.
    fn find() -> Self {
        let mut status = 0;
        // SAFETY: `status` is there for as long as the call.
        let thread = unsafe { libc::waitpid(-1, &mut status, libc::__WALL) };
        assert!(libc::WIFSTOPPED(status), "the victim did not stop: {:?}", ExitStatus::from_raw(status));
        Self(thread)
    }

    /// One instruction. False when it has stopped itself: its turn is over.
    fn step(&self) -> bool {
        let mut status = 0;
        // SAFETY: the thread is stopped and we are its tracer; `status` is there for as long as the call.
        unsafe {
            assert_eq!(libc::ptrace(libc::PTRACE_SINGLESTEP, self.0, 0, 0), 0, "no step");
            assert_eq!(libc::waitpid(self.0, &mut status, libc::__WALL), self.0);
        }
        assert!(libc::WIFSTOPPED(status), "the victim ended: {:?}", ExitStatus::from_raw(status));
        libc::WSTOPSIG(status) == libc::SIGTRAP
    }
}

impl Drop for Tracee {
    /// Its process, which is being killed, ends when we have taken note of its thread's end.
    fn drop(&mut self) {
        // SAFETY: only waits.
        unsafe { libc::waitpid(self.0, core::ptr::null_mut(), libc::__WALL) };
    }
}

/// Copies the whole of one region over another.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, room: &mut [u8]) {
    assert_eq!(rustix::io::pread(from, &mut *room, 0), Ok(room.len()));
    assert_eq!(rustix::io::pwrite(to, room, 0), Ok(room.len()));
}

#[test]
fn whoever_drives_for_others_may_die_at_any_instruction() {
    let stride: u32 = std::env::var("SHUNT_DEATH_STRIDE").map_or(STRIDE, |text| text.parse().unwrap());
    let (region, fd) = Region::create(sizes(), [5, 6], START).unwrap();
    let (_other, copied) = Region::create(sizes(), [5, 6], START).unwrap();
    let mut room = vec![0; region.bytes()];
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty()).unwrap();
    let stack = Stack::new(region, HOLDER, Vec::new());
    stack.region.processes()[usize::from(HOLDER)].occupy(1);
    stack.region.processes()[usize::from(VICTIM)].occupy(2);
    let world = prepare(&stack);

    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim"])
        .env("SHUNT_DEATH_REGION", fd.as_raw_fd().to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let tracee = Tracee::find();
    let (mut steps, mut deaths, mut taken_back) = (0, 0, 0);
    while tracee.step() {
        steps += 1;
        if steps % stride != 0 || stack.gate(0).unwrap().holder() != Some(VICTIM) {
            continue;
        }
        deaths += 1;
        copy(fd.as_fd(), copied.as_fd(), &mut room);
        taken_back += go_on(&copied, &world, steps);
    }
    child.kill().unwrap();
    drop(tracee);
    child.wait().unwrap();
    println!("{steps} instructions, {deaths} deaths inside the lock, {taken_back} turns taken back");
    assert!(
        deaths > 100 && taken_back > deaths / 4,
        "{steps} steps, {deaths} deaths, {taken_back} taken back"
    );
}

/// The victim has died here: all that was written arrives, once, in order, and nothing is left behind. The number of
/// turns that were taken back.
fn go_on(region: &OwnedFd, world: &World, step: u32) -> u64 {
    let stack = Stack::new(Region::attach(region).unwrap(), HOLDER, Vec::new());
    stack.region.processes()[usize::from(VICTIM)].bury();
    let mut s = enter(&stack, LATER);
    let at = s.now();
    socket::drop_process(&mut s, VICTIM, at);
    assert_eq!(s.check(), Ok(()), "after instruction {step}");
    assert_eq!(s.counters.connections_lost_by_death, 0, "after instruction {step}");
    s.leave(|_| {});

    let mut got: Vec<(Vec<u8>, bool)> = world.streams.iter().map(|_| Default::default()).collect();
    let mut opened = None;
    let mut at = LATER;
    for _ in 0..PATIENCE {
        at += 20 * MILLISECOND;
        let mut s = enter(&stack, at);
        s.pump();
        for (stream, got) in world.streams.iter().zip(&mut got) {
            got.1 |= receive(&mut s, stream.to, &mut got.0);
        }
        opened = opened.or_else(|| accept(&mut s, world.listener));
        assert_eq!(s.check(), Ok(()), "after instruction {step}, {} ms later", (at - LATER) / MILLISECOND);
        s.leave(|_| {});
        let all_there = world.streams.iter().zip(&got).all(|(w, g)| g.0.len() >= w.amount && g.1 == w.ends);
        if all_there && opened.is_some() {
            break;
        }
    }
    for (number, (stream, got)) in world.streams.iter().zip(&got).enumerate() {
        assert_eq!(got.0.len(), stream.amount, "after instruction {step}: stream {number}");
        assert!(got.0 == pattern(stream.amount), "after instruction {step}: other bytes in stream {number}");
        assert_eq!(got.1, stream.ends, "after instruction {step}: the end of stream {number}");
    }
    let opened =
        opened.unwrap_or_else(|| panic!("after instruction {step}: the new connection is not there"));
    end(&stack, world, opened, at, step)
}

/// Reads all that is there. True at the end of the stream.
fn receive(s: &mut Entered<'_>, at: Handle<Connection>, got: &mut Vec<u8>) -> bool {
    let now = s.now();
    let mut room = [0; 4096];
    loop {
        let mut left = room.as_mut_slice();
        match tcp::read(s, at, &mut left, false, now) {
            Ok(0) => return true,
            Ok(n) => got.extend_from_slice(&room[..n]),
            Err(stack::Error::Again) => return false,
            Err(error) => panic!("a stream broke: {error:?}"),
        }
    }
}

/// Everything is closed, and then nothing is left.
fn end(stack: &Stack, world: &World, opened: Handle<Connection>, at: u64, step: u32) -> u64 {
    let mut s = enter(stack, at);
    let mut receivers: Vec<_> = world.streams.iter().map(|stream| stream.to).collect();
    receivers.extend([world.opening, opened]);
    for connection in receivers {
        let_go(&mut s, connection);
    }
    s.leave(|_| {});
    for round in 1..100 {
        let mut s = enter(stack, at + round * 2_000 * MILLISECOND);
        s.pump();
        s.leave(|_| {});
    }
    let s = enter(stack, at + 200_000 * MILLISECOND);
    let left = (s.connections.in_use(), s.requests.in_use(), s.time_waits.in_use(), s.references.in_use());
    assert_eq!(left, (0, 0, 0, 1), "after instruction {step}: only the listener is left");
    let lost: Vec<_> = s.frames.used().filter(|(_, meta)| meta.tenure != Tenure::FREE).collect();
    assert!(lost.is_empty(), "after instruction {step} frames were lost: {lost:?}");
    s.counters.turns_taken_back
}
