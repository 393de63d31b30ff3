//! A process is killed at any instruction inside a shard: what it was changing is reset, everything else goes on.

use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use stack::drive::{Entered, Stack};
use stack::ip::net::{Addr, Device, LocalAddress, Route, RouteKind};
use stack::region::{Handle, Region, Sizes, Tenure};
use stack::socket::{self, Placement, SocketRef};
use stack::tcp::{self, Connection, Listener, Settings};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SURVIVOR: u16 = 0;
const VICTIM: u16 = 1;
const HERE: Addr = Addr(0x0a00_0001);
const PORT: u16 = 80;
const VICTIMS_PORT: u16 = 81;
const ROUNDS: u32 = 150;
/// Between rounds the clock leaps past every TIME_WAIT.
const LEAP: u64 = 200_000_000_000;

fn now(leaps: u64) -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 + leaps * LEAP
}

fn enter(stack: &Stack, at: u64) -> Entered<'_> {
    stack.enter(0, at).expect("shard 0")
}

fn open(
    s: &mut Entered<'_>,
    listener: Handle<Listener>,
    me: u16,
    port: u16,
) -> Option<[Handle<Connection>; 2]> {
    let at = s.now();
    let placed = socket::connect(s, None, (HERE, port), &Settings::default(), at).ok()?;
    let Placement::Ours(client) = placed else { return None };
    socket::hold(s, SocketRef::Connection(client), me).ok()?;
    s.flush();
    let server = socket::accept(s, listener, me, at).ok()?;
    Some([client, server])
}

fn send(s: &mut Entered<'_>, from: Handle<Connection>, bytes: &[u8]) -> usize {
    let at = s.now();
    let sent = tcp::write(s, from, &mut &bytes[..], false, at).unwrap_or(0);
    s.flush();
    sent
}

fn receive(s: &mut Entered<'_>, at: Handle<Connection>, room: &mut [u8]) -> usize {
    let (now, all) = (s.now(), room.len());
    let mut left = room;
    let _ = tcp::read(s, at, &mut left, false, now);
    all - left.len()
}

/// Runs in the process that is to be killed: opens, moves bytes and closes as fast as it can.
#[test]
fn victim() {
    let Ok(fd) = std::env::var("SHUNT_DEATH_REGION") else { return };
    let leaps = std::env::var("SHUNT_DEATH_LEAPS").unwrap().parse().unwrap();
    // SAFETY: the survivor left this descriptor open for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd.parse().unwrap()) };
    let stack = Stack::new(Region::attach(fd).unwrap(), VICTIM, Vec::new());
    let mut turn = enter(&stack, now(leaps));
    let listener = socket::listen(&mut turn, (HERE, VICTIMS_PORT), 64, &Settings::default()).unwrap();
    socket::hold(&mut turn, SocketRef::Listener(listener), VICTIM).unwrap();
    turn.leave(|_| {});
    let (bytes, mut room) = ([7; 5000], [0; 3000]);
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        let mut turn = enter(&stack, now(leaps));
        if let Some(pair) = open(&mut turn, listener, VICTIM, VICTIMS_PORT) {
            for [a, b] in [pair, [pair[1], pair[0]]] {
                send(&mut turn, a, &bytes);
                receive(&mut turn, b, &mut room);
            }
            for end in pair {
                let at = turn.now();
                socket::let_go(&mut turn, SocketRef::Connection(end), VICTIM, at);
            }
        }
        turn.pump();
        turn.leave(|_| {});
    }
}

fn prepare(stack: &Stack) -> (Handle<Listener>, [Handle<Connection>; 2]) {
    let mut s = enter(stack, now(0));
    let route = Route { destination: HERE, prefix_len: 32, kind: RouteKind::LOCAL, ..Route::default() };
    let device = Device { ifindex: 1, mtu: 1500, queues: 1, ..Device::default() };
    s.net.replace(&[device], &[LocalAddress { addr: HERE, ifindex: 1 }], &[route]);
    s.net.lease_ports(40_000, 60_000, std::iter::empty());
    let listener = socket::listen(&mut s, (HERE, PORT), 64, &Settings::default()).unwrap();
    socket::hold(&mut s, SocketRef::Listener(listener), SURVIVOR).unwrap();
    let pair = open(&mut s, listener, SURVIVOR, PORT).unwrap();
    s.leave(|_| {});
    (listener, pair)
}

/// Starts the victim, waits until it is busy, and kills it `delay` later.
fn kill_one(stack: &Stack, region: &OwnedFd, leaps: u64, delay: Duration) {
    let opened = |s: &Stack| enter(s, now(leaps)).counters.connections_opened_active;
    let before = opened(stack);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim"])
        .env("SHUNT_DEATH_REGION", region.as_raw_fd().to_string())
        .env("SHUNT_DEATH_LEAPS", leaps.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(10);
    while opened(stack) == before {
        assert!(Instant::now() < patience, "the victim does not get to work");
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn whoever_dies_inside_takes_nothing_with_him() {
    let (region, fd) = Region::create(Sizes::for_memory(24 << 20), [5, 6], now(0)).unwrap();
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty()).unwrap();
    let stack = Stack::new(region, SURVIVOR, Vec::new());
    stack.region.processes()[usize::from(SURVIVOR)].occupy(1);
    let (_listener, pair) = prepare(&stack);
    let (mut deaths, mut written, mut read) = (0, 0u32, 0u32);
    for round in 0..ROUNDS {
        let leaps = u64::from(round);
        stack.region.processes()[usize::from(VICTIM)].occupy(2);
        kill_one(&stack, &fd, leaps, Duration::from_micros(u64::from(round * 7919 % 3000)));
        let gate = stack.gate(0).unwrap();
        deaths += u32::from(gate.holder() == Some(VICTIM));
        stack.region.processes()[usize::from(VICTIM)].bury();

        let mut s = enter(&stack, now(leaps));
        let at = s.now();
        socket::drop_process(&mut s, VICTIM, at);
        s.flush();
        assert_eq!(s.check(), Ok(()), "round {round}");
        let stuck: Vec<_> = s.frames.used().filter(|(_, meta)| meta.in_flight != 0).collect();
        assert!(stuck.is_empty(), "round {round}: in flight to nowhere: {stuck:?}");
        // The survivor's connection carries on where it was.
        let out: Vec<u8> = (written..written + 777).map(|n| (n % 251) as u8).collect();
        written += send(&mut s, pair[0], &out) as u32;
        let mut room = [0; 2000];
        let n = receive(&mut s, pair[1], &mut room);
        for &byte in &room[..n] {
            assert_eq!(byte, (read % 251) as u8, "round {round}");
            read += 1;
        }
        s.leave(|_| {});
        let mut s = enter(&stack, now(leaps + 1));
        s.pump();
        assert_eq!(s.check(), Ok(()), "round {round}, later");
        s.leave(|_| {});
    }
    assert_eq!((written, read), (ROUNDS * 777, ROUNDS * 777));
    assert!(deaths >= ROUNDS / 10, "only {deaths} of {ROUNDS} died inside");

    for (step, &end) in pair.iter().enumerate() {
        let mut s = enter(&stack, now(u64::from(ROUNDS) + step as u64));
        let at = s.now();
        socket::let_go(&mut s, SocketRef::Connection(end), SURVIVOR, at);
        s.leave(|_| {});
    }
    for later in 2..20 {
        let mut s = enter(&stack, now(u64::from(ROUNDS) + later));
        s.pump();
        s.leave(|_| {});
    }
    let s = enter(&stack, now(u64::from(ROUNDS) + 20));
    let left = (s.connections.in_use(), s.requests.in_use(), s.time_waits.in_use(), s.references.in_use());
    assert_eq!(left, (0, 0, 0, 1), "only the survivor's listener is left");
    let lost: Vec<_> = s.frames.used().filter(|(_, meta)| meta.tenure != Tenure::FREE).collect();
    assert!(lost.is_empty(), "frames were lost: {lost:?}");
    assert_eq!(s.frames.available(), s.frames.total());
}
