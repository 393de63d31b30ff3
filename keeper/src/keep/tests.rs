//! A keeper on a veth pair, and programs that are no more than a control socket and a view of the region.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use stack::control::{Ask, BELLS_AT_ONCE, Reply, Report, Request, VERSION};
use stack::drive::{Bell, Stack};
use stack::ip::net::Addr;
use stack::link::xsk::{RingSizes, Xsk};
use stack::region::{LAYOUT_VERSION, Region};
use stack::socket::{self, SocketRef};
use stack::tcp::Settings;

use super::*;
use crate::channel;
use crate::cli::Setup;
use crate::netlink::Record;
use crate::test_rig::{HERE, Rig, THERE};

/// A keeper on a thread of its own, in the network namespace of the test.
struct Running {
    thread: Option<std::thread::JoinHandle<Result<(), Fault>>>,
}

impl Running {
    fn start() -> Running {
        let (ready, is_ready) = std::sync::mpsc::channel();
        // A thread begins in the network namespace of the one that makes it.
        let thread = std::thread::spawn(move || {
            let setup = Setup {
                dev: None,
                memory: Some(16 << 20),
                ports: None,
                allow_uid: Vec::new(),
                tcp: Vec::new(),
                generic: false,
            };
            let Begun::Keeper(mut keeper) = begin(&setup, true)? else {
                panic!("the namespace is the test's own")
            };
            ready.send(()).expect("the test waits");
            keeper.run()
        });
        if is_ready.recv().is_err() {
            panic!("no keeper: {:?}", thread.join());
        }
        Running { thread: Some(thread) }
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(std::thread::JoinHandle::is_finished)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = crate::client::stop(true);
        }
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.expect("the keeper does not panic").expect("the keeper ends well");
            }
        }
    }
}

/// What the shim is to the keeper.
struct Program {
    line: OwnedFd,
    slot: u16,
    waker: u16,
    keepers_bell: OwnedFd,
    bell: OwnedFd,
    stack: Stack,
}

impl Program {
    fn attach() -> Program {
        let line = channel::reach_keeper().expect("a keeper");
        let (reply, descriptors) = ask(&line, Ask::Hello, &[VERSION, LAYOUT_VERSION], None);
        assert_eq!(reply.errno, 0, "{}", reply.text());
        let [slot, shards, links, waker, ..] = reply.args;
        assert_eq!((shards, links, descriptors.len()), (1, 1, 5));
        let mut descriptors = descriptors.into_iter();
        let mut next = || descriptors.next().expect("counted above");
        let (region, keepers_bell, _link, bell) = (next(), next(), next(), next());
        let region = Region::attach(&region).expect("the region");
        let xsk = Xsk::attach(next(), RingSizes::default()).expect("the rings");
        let stack = Stack::new(region, slot as u16, vec![vec![xsk]]);
        Program { line, slot: slot as u16, waker: waker as u16, keepers_bell, bell, stack }
    }

    fn ask(&self, what: Ask, arguments: &[u32], descriptor: Option<BorrowedFd<'_>>) -> (Reply, Vec<OwnedFd>) {
        ask(&self.line, what, arguments, descriptor)
    }

    fn claim(&self, socket: &TcpListener) -> Reply {
        // SAFETY: the listener is open for as long as it is borrowed.
        let shadow = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        self.ask(Ask::Claim, &[], Some(shadow)).0
    }

    /// A turn in the shard, with the rings that come of it.
    fn turn<R>(&self, action: impl FnOnce(&mut Entered<'_>) -> R) -> R {
        let mut turn = self.stack.enter(0, now()).expect("shard 0");
        let result = action(&mut turn);
        turn.leave(|bell| {
            if bell == Bell::Keeper {
                rustix::io::write(&self.keepers_bell, &1u64.to_ne_bytes()).expect("rung");
            }
        });
        result
    }
}

fn ask(
    line: &OwnedFd,
    what: Ask,
    arguments: &[u32],
    descriptor: Option<BorrowedFd<'_>>,
) -> (Reply, Vec<OwnedFd>) {
    let mut request = Request { ask: what as u32, ..Request::default() };
    request.args.iter_mut().zip(arguments).for_each(|(place, argument)| *place = *argument);
    channel::ask_with(line, request, descriptor.as_slice()).expect("an answer")
}

fn counter(name: &str) -> u64 {
    let Ok(report) = crate::client::report(Report::Status) else { panic!("no report") };
    let line = report.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no counter {name} in {report}"))
}

/// A kernel whose SYN is not answered sends it again after a second.
const BEFORE_THE_SECOND_SYN: Duration = Duration::from_millis(950);

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline, "not in 5 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_program_is_given_a_place_and_loses_it_when_it_ends() {
    let Some(_rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let first = Program::attach();
    let second = Program::attach();
    assert_ne!((first.slot, first.waker), (second.slot, second.waker));
    assert_eq!(counter("processes"), 2);
    assert!(first.stack.region.processes()[usize::from(first.slot)].is_alive());
    let (reply, _) = first.ask(Ask::Hello, &[VERSION, LAYOUT_VERSION], None);
    assert_ne!(reply.errno, 0, "one place for each");
    let region = first.stack.region.clone();
    let slot = usize::from(first.slot);
    drop(first);
    eventually("its place is vacant", || region.processes()[slot].is_vacant());
    assert_eq!(counter("processes"), 1);
}

#[test]
fn bells_are_given_lent_and_taken_back() {
    let Some(_rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let (one, other) = (Program::attach(), Program::attach());
    let (reply, _) = one.ask(Ask::NewWaker, &[], None);
    let waker = reply.args[0];
    assert_ne!(waker, u32::from(one.waker));
    let (reply, bells) = other.ask(Ask::WakerBell, &[one.waker.into()], None);
    let place = usize::from(one.waker) - reply.args[0] as usize;
    assert_eq!((reply.errno, bells.len()), (0, BELLS_AT_ONCE as usize));
    rustix::io::write(&bells[place], &1u64.to_ne_bytes()).expect("rung");
    let mut count = [0; 8];
    rustix::io::read(&one.bell, &mut count).expect("heard");
    assert_eq!(u64::from_ne_bytes(count), 1, "the same bell");
    assert_ne!(other.ask(Ask::FreeWaker, &[waker], None).0.errno, 0, "it belongs to somebody else");
    assert_eq!(one.ask(Ask::FreeWaker, &[waker], None).0.errno, 0);
    assert_eq!(other.ask(Ask::NewWaker, &[], None).0.args[0], waker);
    assert_ne!(other.ask(Ask::WakerBell, &[9999], None).0.errno, 0);
}

#[test]
fn a_port_is_steered_with_proof_alone_and_until_nobody_uses_it() {
    let Some(rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let program = Program::attach();
    let kernel = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bound");
    let address = SocketAddr::from((HERE, kernel.local_addr().expect("its address").port()));
    let connects = || rig.there(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok());
    let (reply, _) = program.ask(Ask::Claim, &[], None);
    assert_ne!(reply.errno, 0, "no descriptor proves nothing");
    let (reply, _) = program.ask(Ask::Claim, &[], Some(program.bell.as_fd()));
    assert_ne!(reply.errno, 0, "an eventfd proves nothing");
    assert!(connects(), "so the port is the kernel's still");
    let reply = program.claim(&kernel);
    assert_eq!((reply.errno, reply.args[..2].to_vec()), (0, vec![0, address.port().into()]));
    assert!(!connects(), "the stack has it now, and no listener");
    assert!(counter("xdp_redirected_segments") > 0);
    drop(program);
    eventually("the port goes back to the kernel", connects);
}

/// A listener of the stack on the port of `shadow`, held by the program.
fn listen(program: &Program, shadow: &TcpListener) -> SocketAddr {
    let port = shadow.local_addr().expect("its address").port();
    program.turn(|shard| {
        let listener =
            socket::listen(shard, (Addr::ANY, port), 16, &Settings::default()).expect("a listener");
        socket::hold(shard, SocketRef::Listener(listener), program.slot).expect("held");
    });
    assert_eq!(program.claim(shadow).errno, 0);
    SocketAddr::from((HERE, port))
}

#[test]
fn the_keeper_drives_for_a_program_that_is_busy_elsewhere_and_closes_for_one_that_ends() {
    let Some(rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let program = Program::attach();
    let shadow = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bound");
    let address = listen(&program, &shadow);
    // From here on the program takes no turn.
    let mut client = rig.there(move || {
        let began = Instant::now();
        let client = TcpStream::connect_timeout(&address, Duration::from_secs(2)).expect("somebody answers");
        assert!(began.elapsed() < BEFORE_THE_SECOND_SYN, "{:?}", began.elapsed());
        client
    });
    std::io::Write::write_all(&mut client, &[7; 40_000]).expect("written");
    eventually("all of it is acknowledged", || unacknowledged(&client) == 0);
    eventually("the connection waits to be accepted", || {
        program.turn(|shard| shard.connections.in_use()) == 1
    });
    assert_eq!(counter("connections_live"), 1);
    drop(program);
    let began = Instant::now();
    client.set_read_timeout(Some(Duration::from_secs(3))).expect("set");
    let ended = std::io::Read::read(&mut client, &mut [0; 1]);
    assert!(matches!(&ended, Ok(0)) || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
    assert!(began.elapsed() < Duration::from_secs(1));
    eventually("nothing of it is left", || {
        counter("connections") + counter("listeners") + counter("references") == 0
    });
    assert_eq!(counter("frames_free"), counter("frames_total"));
}

/// The peer knows our address, so it asks nothing; we have forgotten his, and his SYN does not wait for its second try.
#[test]
fn a_peer_whose_address_was_forgotten_is_answered_at_once() {
    let Some(rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let program = Program::attach();
    let shadow = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bound");
    let address = listen(&program, &shadow);
    let connect = || {
        let began = Instant::now();
        rig.there(|| TcpStream::connect_timeout(&address, Duration::from_secs(3))).expect("answered");
        began.elapsed()
    };
    connect();
    rig.ip("neigh flush dev here");
    let neighbours =
        || program.turn(|shard| shard.net.neighbours().iter().filter(|n| n.mac != [0; 6]).count());
    eventually("the stack has forgotten it, too", || neighbours() == 0);
    let took = connect();
    assert!(took < BEFORE_THE_SECOND_SYN, "{took:?}");
}

/// The kernel does not see our packets: without being asked it would let the neighbour grow stale, and not notice a new address.
#[test]
fn a_neighbour_in_use_is_kept_fresh() {
    let Some(rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let program = Program::attach();
    let gate = program.stack.gate(0).expect("shard 0");
    gate.live.store(1, std::sync::atomic::Ordering::Relaxed);
    let path = || program.turn(|shard| shard.net.path(THERE.into())).expect("a route");
    eventually("its address is known", || path().resolved == 1);
    let mac = path().to.map(|byte| format!("{byte:02x}")).join(":");
    rig.ip(&format!("neigh replace {THERE} lladdr {mac} dev here nud stale"));
    let is_stale = || {
        let records =
            crate::netlink::Netlink::open().and_then(|mut netlink| netlink.neighbours()).expect("neighbours");
        records.iter().any(
            |record| matches!(record, Record::Neighbour(n) if n.address == THERE && n.state == NUD_STALE),
        )
    };
    assert!(is_stale());
    let deadline = Instant::now() + Duration::from_secs(15);
    while is_stale() {
        assert!(Instant::now() < deadline, "nobody asked for it");
        path();
        std::thread::sleep(Duration::from_millis(20));
    }
    gate.live.store(0, std::sync::atomic::Ordering::Relaxed);
}

const NUD_STALE: u16 = 0x04;

/// Bytes that the kernel's end has sent and the other has not acknowledged.
fn unacknowledged(client: &TcpStream) -> i32 {
    let mut count = 0;
    // SAFETY: SIOCOUTQ writes an int, and the descriptor is open.
    assert_eq!(unsafe { libc::ioctl(client.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) }, 0);
    count
}

#[test]
fn a_child_has_a_place_of_its_own_that_outlives_its_parent() {
    let Some(_rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let parent = Program::attach();
    let (reply, descriptors) = parent.ask(Ask::Fork, &[], None);
    let [slot, waker, ..] = reply.args;
    assert_eq!((reply.errno, descriptors.len()), (0, 2));
    assert!(slot != u32::from(parent.slot) && waker != u32::from(parent.waker));
    assert_eq!(counter("processes"), 2);
    let region = parent.stack.region.clone();
    drop(parent);
    eventually("the parent is gone", || counter("processes") == 1);
    let child = descriptors.into_iter().next().expect("its line");
    assert_eq!(ask(&child, Ask::NewWaker, &[], None).0.errno, 0, "the child speaks for itself");
    drop(child);
    eventually("the child is gone", || region.processes()[slot as usize].is_vacant());
}

#[test]
fn a_program_that_dies_inside_the_lock_holds_nobody_up() {
    let Some(_rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let (survivor, victim) = (Program::attach(), Program::attach());
    let turn = victim.stack.enter(0, now()).expect("shard 0");
    // Dead: neither the lock is given back nor anything said.
    core::mem::forget(turn);
    drop(victim);
    let began = Instant::now();
    survivor.turn(|_| ());
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(counter("recoveries"), 1);
    eventually("its place is vacant", || counter("processes") == 1);
}

#[test]
fn the_keeper_hears_of_a_death_while_it_waits_for_the_lock_that_the_dead_took_along() {
    let Some(_rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let (first, second) = (Program::attach(), Program::attach());
    let region = second.stack.region.clone();
    let holder = second.slot;
    core::mem::forget(second.stack.enter(0, now()).expect("shard 0"));
    let slot = usize::from(first.slot);
    drop(first);
    // The keeper buries the first by now, and waits for the lock.
    eventually("it is being buried", || region.processes()[slot].is_dead());
    drop(second);
    eventually("both are gone", || {
        [slot, usize::from(holder)].iter().all(|&s| region.processes()[s].is_vacant())
    });
    assert_eq!(counter("recoveries"), 1);
}

#[test]
fn the_keeper_resolves_the_neighbour_that_the_stack_waits_for() {
    let Some(rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let program = Program::attach();
    rig.ip("neigh flush dev here");
    let path = || program.turn(|shard| shard.net.path(THERE.into())).expect("a route");
    path();
    eventually("its address is known", || path().resolved == 1);
    // One that nobody has fails, and is not asked for without end.
    let nobody = Ipv4Addr::new(10, 98, 0, 77);
    let state = || {
        program.turn(|shard| {
            shard.net.path(nobody.into());
            shard.net.neighbours().iter().find(|n| n.addr == nobody.into()).map(|n| n.state)
        })
    };
    eventually("it fails", || state() == Some(stack::ip::net::NeighbourState::FAILED));
}

#[test]
fn a_change_of_address_and_route_reaches_the_stack() {
    let Some(rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let program = Program::attach();
    let far = Ipv4Addr::new(10, 60, 0, 1);
    assert!(program.turn(|shard| shard.net.path(far.into())).is_none());
    rig.ip("addr add 10.98.0.9/24 dev here");
    rig.ip("route add 10.60.0.0/16 via 10.98.0.2 dev here");
    eventually("the route is known", || program.turn(|shard| shard.net.path(far.into())).is_some());
    assert!(program.turn(|shard| shard.net.is_local(Ipv4Addr::new(10, 98, 0, 9).into())));
    rig.ip("route del 10.60.0.0/16");
    eventually("the route is gone", || program.turn(|shard| shard.net.path(far.into())).is_none());
}

#[test]
fn a_device_that_goes_away_is_told_and_survived() {
    let Some(rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let program = Program::attach();
    rig.ip("link del here");
    let told =
        || crate::client::report(Report::Status).is_ok_and(|report| report.contains("# device here is gone"));
    eventually("the report says so", told);
    assert!(program.turn(|shard| shard.net.path(THERE.into())).is_none(), "no route leads there any more");
}

#[test]
fn it_ends_when_told_but_not_under_programs_unless_forced() {
    let Some(rig) = Rig::up() else { return };
    let keeper = Running::start();
    let program = Program::attach();
    assert!(crate::client::stop(false).is_err());
    assert!(!keeper.has_ended());
    assert!(crate::client::stop(true).is_ok());
    eventually("it ends", || keeper.has_ended());
    assert!(matches!(crate::client::report(Report::Status), Err(crate::client::Unheard::Absent)));
    // The program has the link still, and yet the device is free.
    let listener = TcpListener::bind((HERE, 0)).expect("bound");
    let address = listener.local_addr().expect("its address");
    assert!(rig.there(|| TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok()));
    crate::steer::Steering::attach("here", rig.ifindex(), false).expect("the program was taken off");
    drop(program);
}

#[test]
fn a_second_keeper_sees_that_there_is_one() {
    let Some(_rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let setup = Setup {
        dev: None,
        memory: None,
        ports: None,
        allow_uid: Vec::new(),
        tcp: Vec::new(),
        generic: false,
    };
    assert!(matches!(begin(&setup, false), Ok(Begun::AnotherIsThere)));
}

/// The option bits of TCP_INFO that a kernel's client sees of a connection to the program.
fn options_agreed(rig: &Rig, program: &Program) -> u8 {
    let shadow = TcpListener::bind((HERE, 0)).expect("bound");
    let address = listen(program, &shadow);
    assert_eq!(program.claim(&shadow).errno, 0);
    rig.there(|| {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(3)).expect("connected");
        let mut info = [0u8; 8];
        let mut length = info.len() as libc::socklen_t;
        let (name, value) = (libc::TCP_INFO, info.as_mut_ptr().cast());
        // SAFETY: the kernel writes `length` bytes at most.
        let done =
            unsafe { libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, name, value, &raw mut length) };
        assert_eq!(done, 0);
        info[5]
    })
}

#[test]
fn the_sysctls_of_the_namespace_hold_for_the_stack_from_when_they_are_set_on() {
    let Some(rig) = Rig::up() else { return };
    let set = |name: &str, value: &str| {
        std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value).expect("written");
    };
    set("tcp_retries2", "7");
    set("tcp_rmem", "4096 100000 200000");
    let _keeper = Running::start();
    let program = Program::attach();
    let first = program.turn(|shard| shard.head.sysctls);
    assert_eq!((first.tcp_retries2, first.tcp_rmem_default, first.tcp_rmem_most), (7, 100_000, 200_000));
    const TIMESTAMPS_SACK_AND_SCALING: u8 = 7;
    assert_eq!(options_agreed(&rig, &program) & 7, TIMESTAMPS_SACK_AND_SCALING);
    set("tcp_sack", "0");
    set("tcp_timestamps", "0");
    assert_eq!(options_agreed(&rig, &program) & 7, 4, "only window scaling is left");
    set("tcp_fin_timeout", "9");
    eventually("nobody asks, yet it is seen", || {
        program.turn(|shard| shard.head.sysctls.tcp_fin_timeout) == 9
    });
    let Ok(report) = crate::client::report(Report::Options) else { panic!("no report") };
    let line = report.lines().find(|line| line.starts_with("tcp_fin_timeout ")).expect("a line");
    assert!(line.contains(" 9 ") && line.contains("namespace"), "{line}");
}

#[test]
fn nonsense_ends_the_session_and_nothing_else() {
    let Some(_rig) = Rig::up() else { return };
    let _keeper = Running::start();
    let program = Program::attach();
    let stranger = channel::reach_keeper().expect("a keeper");
    let (reply, _) = ask(&stranger, Ask::NewWaker, &[], None);
    assert_ne!(reply.errno, 0, "Hello comes first");
    let (reply, _) =
        channel::ask_with(&stranger, Request { ask: 99, args: [u32::MAX; 7] }, &[]).expect("answered");
    assert_eq!(reply.errno, Errno::PROTONOSUPPORT.raw_os_error() as u32);
    let (reply, _) = ask(&stranger, Ask::Hello, &[VERSION + 1, LAYOUT_VERSION], None);
    assert!(reply.text().contains("different versions"), "{}", reply.text());
    rustix::net::send(&stranger, b"rubbish", rustix::net::SendFlags::NOSIGNAL).expect("sent");
    let mut byte = [0; 1];
    let hungup = rustix::net::recv(&stranger, &mut byte[..], rustix::net::RecvFlags::empty());
    assert_eq!(hungup.map(|(length, _)| length), Ok(0));
    let (reply, _) = program.ask(Ask::Release, &[u32::MAX, u32::MAX], None);
    assert_ne!(reply.errno, 0);
    assert_eq!(counter("processes"), 1);
}

#[test]
fn users_are_admitted_by_name_only() {
    let admission = Admission::new(&[4711]);
    assert!(admission.admits(0) && admission.admits(4711) && !admission.admits(4712));
    assert!(Admission::refusal(4712).contains("--allow-uid 4712"));
}
