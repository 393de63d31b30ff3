//! The engine, driven by its public functions.

use crate::host::{Call, Host, errno_name, event_names, judge_bytes, stream};
use crate::packet::number;
use stack::Error;
use stack::ip::net::{Addr, Device, LocalAddress, Neighbour, NeighbourState, Route, RouteKind};
use stack::link::sim::{self, address};
use stack::region::{Handle, Region, Sizes};
use stack::shard::{Entry, Shard};
use stack::socket::{self, How, Placement, SocketRef};
use stack::tcp::{self, Connection, Listener, Settings, State, Sysctls, Tuple};
use std::collections::{BTreeMap, VecDeque};

const PROCESS: u16 = 1;
const KEY: [u64; 2] = [0x736372, 0x697074];
/// The clock does not start at 0, where a time that was never set could pass for one that was.
const START: u64 = 1_000_000_000;
const IFINDEX: u32 = 2;
/// Initial sequence numbers move once in so many nanoseconds.
const ISN_TICK: u64 = 64;
/// Timers that may fire at one moment.
const MOST_TIMERS: usize = 100_000;
const TWO_HOURS: u64 = 7_200_000_000_000;

pub(crate) struct Engine {
    shard: Shard,
    now: u64,
    sent: VecDeque<(u64, Vec<u8>)>,
    sockets: BTreeMap<u32, Socket>,
}

impl Engine {
    /// With `isn`, the connection `tuple` gets that initial sequence number if it begins at once.
    pub(crate) fn new(sizes: Sizes, mtu: u32, isn: Option<(u32, Tuple)>) -> Result<Self, String> {
        let start = match isn {
            Some((wanted, tuple)) => start_for(sizes, mtu, wanted, tuple)?,
            None => START,
        };
        let shard = shard(sizes, mtu, start)?;
        Ok(Self { shard, now: start, sent: VecDeque::new(), sockets: BTreeMap::new() })
    }

    fn collect(&mut self) {
        while let Some(frame) = self.shard.next_out() {
            self.shard.advance_outbox();
            let bytes = self.shard.frames.packet(frame).to_vec();
            self.shard.frames.completed(frame);
            self.sent.push_back((self.now, bytes));
        }
    }
}

impl Host for Engine {
    fn now(&self) -> u64 {
        self.now
    }

    fn advance(&mut self, until: u64) -> Result<(), String> {
        for _ in 0..MOST_TIMERS {
            self.collect();
            if !self.sent.is_empty() {
                return Ok(());
            }
            let next = self.shard.wheel.next_deadline().max(self.now);
            self.now = if next > until { self.now.max(until) } else { next };
            self.shard.head.now = self.now;
            if next > until {
                return Ok(());
            }
            while let Some(entry) = self.shard.pop_due(self.now) {
                tcp::on_timer(&mut self.shard, entry, self.now);
            }
            self.check()?;
        }
        Err("timers fire without end".into())
    }

    fn give(&mut self, frame: &[u8]) -> Result<(), String> {
        self.shard.head.now = self.now;
        sim::receive(&mut self.shard, frame, self.now);
        tcp::end_of_burst(&mut self.shard, self.now);
        self.check()
    }

    fn sent(&mut self) -> Option<(u64, Vec<u8>)> {
        self.collect();
        self.sent.pop_front()
    }

    fn set_option(&mut self, name: &str, value: &str) -> Result<(), String> {
        let is_known = self.shard.head.sysctls.set(name, number(value)?);
        if is_known { Ok(()) } else { Err(format!("no option is called {name}")) }
    }

    fn call(&mut self, call: &Call<'_>) -> Result<String, String> {
        match self.dispatch(call) {
            Ok(result) => Ok(result),
            Err(Stop::Errno(error)) => Ok(format!("-1 {}", errno_name(error.errno()))),
            Err(Stop::Wrong(what)) => Err(what),
        }
    }

    fn look(&mut self, what: &str, of: &str, field: &str, tuple: &Tuple) -> Result<Option<String>, String> {
        self.see(what, of, field, tuple).map(Some)
    }

    fn check(&mut self) -> Result<(), String> {
        self.shard.check().map_err(|broken| format!("check(): {broken}"))
    }

    fn recover(&mut self) -> Result<(), String> {
        self.shard.head.changing = Default::default();
        self.shard.recover(self.now);
        self.check()
    }

    fn finish(&mut self) -> Result<(), String> {
        let all: Vec<u32> = self.sockets.keys().copied().collect();
        for fd in all {
            let _ = self.close(fd);
        }
        let end = self.now + TWO_HOURS;
        while self.shard.wheel.armed() > 0 && self.now < end {
            self.sent.clear();
            self.advance(end)?;
        }
        self.collect();
        let s = &self.shard;
        let left = [
            ("connections", s.connections.in_use()),
            ("half-open connections", s.requests.in_use()),
            ("TIME_WAIT entries", s.time_waits.in_use()),
            ("listeners", s.listeners.in_use()),
            ("frames", s.frames.total() - s.frames.available()),
        ];
        match left.iter().find(|l| l.1 != 0) {
            Some((what, n)) => Err(format!("{n} {what} are left two hours after the end")),
            None => Ok(()),
        }
    }

    fn delay(&self, _: u64) -> u64 {
        0
    }

    fn pushes_otherwise(&self) -> bool {
        false
    }
}

enum Socket {
    Fresh(Settings),
    Listener(Handle<Listener>),
    Open(Open),
}

#[derive(Clone, Copy)]
struct Open {
    h: Handle<Connection>,
    /// Bytes that the program has written and read.
    written: u32,
    read: u32,
    /// A connect() has not told yet how it ended.
    connecting: bool,
}

type Outcome = Result<String, Stop>;

/// Why a call has no ordinary result.
enum Stop {
    Errno(Error),
    /// The script asks for what there is not.
    Wrong(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Errno(error)
    }
}

impl From<String> for Stop {
    fn from(what: String) -> Self {
        Stop::Wrong(what)
    }
}

impl Engine {
    fn dispatch(&mut self, call: &Call<'_>) -> Outcome {
        match call.name {
            "socket" => {
                self.sockets.insert(number(call.wanted)?, Socket::Fresh(Settings::default()));
                return Ok(call.wanted.into());
            }
            "neighbour" => {
                let state = match call.arg(0) {
                    "known" => NeighbourState::KNOWN,
                    "vacant" => NeighbourState::VACANT,
                    "failed" => NeighbourState::FAILED,
                    other => return Err(format!("no neighbour is {other}").into()),
                };
                set_neighbour(&mut self.shard, state);
                return Ok("0".into());
            }
            _ => {}
        }
        let fd = call.number(0)?;
        match call.name {
            "bind" => Ok("0".into()),
            "listen" => self.listen(fd, call.number(1)?, call.tuple.local_port),
            "connect" => self.connect(fd, call.tuple),
            "send" if call.opens() => self.open_with_data(fd, call.number(1)?, call.tuple),
            "accept" => self.accept(fd, call.wanted),
            "setsockopt" => self.set(fd, &call.args[1..]),
            "write" | "send" => self.write(fd, call.number(1)?, call.arg(2)),
            "read" | "recv" => self.read(fd, call.number(1)?, call.arg(2), call.wanted),
            "shutdown" => self.shutdown(fd, call.arg(1)),
            "close" => self.close(fd),
            "disconnect" => {
                let h = self.open(fd)?.h;
                tcp::abort(&mut self.shard, h, self.now);
                Ok("0".into())
            }
            "own" => {
                let h = self.open(fd)?.h;
                tcp::set_owned(&mut self.shard, h, true);
                Ok("0".into())
            }
            "signalled" => {
                let h = self.open(fd)?.h;
                let is_owed = tcp::take_signal(&mut self.shard, h) == Some(true);
                let keeper_knows = std::mem::take(&mut self.shard.after.keeper);
                Ok(u32::from(is_owed && keeper_knows).to_string())
            }
            "events" => Ok(event_names(socket::readiness(&self.shard, self.reference(fd)?))),
            "error" => {
                let socket = self.reference(fd)?;
                match socket::take_error(&mut self.shard, socket) {
                    0 => Ok("0".into()),
                    errno => Ok(errno_name(errno as i32)),
                }
            }
            name => Err(format!("no call is named {name}").into()),
        }
    }

    fn listen(&mut self, fd: u32, backlog: u32, port: u16) -> Outcome {
        match self.sockets.get_mut(&fd) {
            Some(Socket::Listener(l)) => tcp::set_backlog(&mut self.shard, *l, backlog),
            Some(fresh @ Socket::Fresh(_)) => {
                let Socket::Fresh(settings) = fresh else { return Err(Error::Invalid.into()) };
                let at = (address(1), port);
                let l = socket::listen(&mut self.shard, at, backlog, settings)?;
                socket::hold(&mut self.shard, SocketRef::Listener(l), PROCESS)?;
                *fresh = Socket::Listener(l);
            }
            _ => return Err(Error::Invalid.into()),
        }
        Ok("0".into())
    }

    fn connect(&mut self, fd: u32, tuple: Tuple) -> Outcome {
        match self.sockets.get_mut(&fd) {
            Some(Socket::Fresh(settings)) => {
                let settings = *settings;
                let bound = Some((tuple.local, tuple.local_port));
                let to = (tuple.remote, tuple.remote_port);
                let h = match socket::connect(&mut self.shard, bound, to, &settings, self.now)? {
                    Placement::Ours(h) => h,
                    Placement::Kernel(reason) => return Err(Stop::Wrong(reason.text().into())),
                };
                socket::hold(&mut self.shard, SocketRef::Connection(h), PROCESS)?;
                let open = Open { h, written: 0, read: 0, connecting: true };
                self.sockets.insert(fd, Socket::Open(open));
                // TCP_FASTOPEN_CONNECT: nothing is sent yet.
                if tcp::is_deferred(&self.shard, h) { Ok("0".into()) } else { Err(Error::InProgress.into()) }
            }
            Some(Socket::Open(open)) if open.connecting => {
                let outcome = socket::connect_outcome(&mut self.shard, open.h);
                open.connecting = outcome == Err(Error::Already);
                outcome.map(|()| "0".into()).map_err(Stop::Errno)
            }
            Some(Socket::Open(_)) => Err(Error::IsConnected.into()),
            _ => Err(Error::Invalid.into()),
        }
    }

    /// MSG_FASTOPEN.
    fn open_with_data(&mut self, fd: u32, len: u32, tuple: Tuple) -> Outcome {
        let Some(Socket::Fresh(settings)) = self.sockets.get(&fd) else {
            return Err(Error::IsConnected.into());
        };
        let (settings, bytes) = (*settings, stream(1, len));
        let (h, n) = tcp::connect_with_data(&mut self.shard, tuple, &settings, &mut &bytes[..], self.now)?;
        socket::hold(&mut self.shard, SocketRef::Connection(h), PROCESS)?;
        let open = Open { h, written: n as u32, read: 0, connecting: n == 0 };
        self.sockets.insert(fd, Socket::Open(open));
        if n == 0 { Err(Error::InProgress.into()) } else { Ok(n.to_string()) }
    }

    fn accept(&mut self, fd: u32, wanted: &str) -> Outcome {
        let Some(Socket::Listener(l)) = self.sockets.get(&fd) else { return Err(Error::Invalid.into()) };
        let h = socket::accept(&mut self.shard, *l, PROCESS, self.now)?;
        let open = Open { h, written: 0, read: 0, connecting: false };
        let name = number(wanted).map_err(|_| Stop::Wrong("a connection was accepted".into()))?;
        self.sockets.insert(name, Socket::Open(open));
        Ok(wanted.into())
    }

    fn open(&mut self, fd: u32) -> Result<&mut Open, Stop> {
        match self.sockets.get_mut(&fd) {
            Some(Socket::Open(open)) => Ok(open),
            Some(_) => Err(Error::NotConnected.into()),
            None => Err(Error::BadDescriptor.into()),
        }
    }

    fn reference(&self, fd: u32) -> Result<SocketRef, Stop> {
        match self.sockets.get(&fd) {
            Some(Socket::Open(open)) => Ok(SocketRef::Connection(open.h)),
            Some(Socket::Listener(l)) => Ok(SocketRef::Listener(*l)),
            _ => Err(Error::BadDescriptor.into()),
        }
    }

    fn write(&mut self, fd: u32, len: u32, flags: &str) -> Outcome {
        let now = self.now;
        let Open { h, written, .. } = *self.open(fd)?;
        let bytes = stream(1 + written, len);
        if tcp::is_deferred(&self.shard, h) {
            let n = tcp::open_deferred(&mut self.shard, h, &mut &bytes[..], now)?;
            self.open(fd)?.written = written.wrapping_add(n as u32);
            return if n == 0 { Err(Error::InProgress.into()) } else { Ok(n.to_string()) };
        }
        let more = flags.contains("MSG_MORE");
        let put = if flags.contains("MSG_OOB") { tcp::write_urgent } else { tcp::write };
        let n = put(&mut self.shard, h, &mut &bytes[..], more, now)?;
        self.open(fd)?.written = written.wrapping_add(n as u32);
        Ok(n.to_string())
    }

    fn read(&mut self, fd: u32, len: u32, flags: &str, wanted: &str) -> Outcome {
        let now = self.now;
        let Open { h, read, .. } = *self.open(fd)?;
        let mut buffer = vec![0; len as usize];
        let peek = flags.contains("MSG_PEEK");
        let urgent = flags.contains("MSG_OOB");
        let n = if urgent {
            tcp::read_urgent(&mut self.shard, h, &mut &mut buffer[..], peek)?
        } else {
            tcp::read(&mut self.shard, h, &mut &mut buffer[..], peek, now)?
        };
        if !peek && !urgent {
            self.open(fd)?.read = read.wrapping_add(n as u32);
        }
        Ok(judge_bytes(1 + read, &buffer[..n], wanted)?)
    }

    fn shutdown(&mut self, fd: u32, how: &str) -> Outcome {
        let how = match how {
            "SHUT_RD" => How::Read,
            "SHUT_WR" => How::Write,
            "SHUT_RDWR" => How::Both,
            _ => return Err(Stop::Wrong("SHUT_RD, SHUT_WR or SHUT_RDWR".into())),
        };
        let h = self.open(fd)?.h;
        socket::shutdown(&mut self.shard, h, how, self.now)?;
        Ok("0".into())
    }

    fn close(&mut self, fd: u32) -> Outcome {
        if let Ok(socket) = self.reference(fd) {
            socket::let_go(&mut self.shard, socket, PROCESS, self.now);
        }
        self.sockets.remove(&fd).map(|_| "0".into()).ok_or(Error::BadDescriptor.into())
    }

    fn set(&mut self, fd: u32, args: &[String]) -> Outcome {
        let mut settings = match self.sockets.get(&fd) {
            Some(Socket::Fresh(settings)) => *settings,
            Some(Socket::Listener(l)) => self.shard.listeners.get(*l).ok_or(Error::BadDescriptor)?.settings,
            Some(Socket::Open(open)) => {
                self.shard.connections.get(open.h).ok_or(Error::BadDescriptor)?.settings
            }
            None => return Err(Error::BadDescriptor.into()),
        };
        let args: Vec<&str> = args.iter().map(String::as_str).filter(|a| !a.starts_with("SOL_")).collect();
        if let (Some("TCP_FASTOPEN_KEY"), Some(&Socket::Listener(l))) =
            (args.first().copied(), self.sockets.get(&fd))
        {
            let words: Result<Vec<u32>, String> = args[1..].iter().map(|word| number(word)).collect();
            let bytes: Vec<u8> = words?.into_iter().flat_map(u32::to_ne_bytes).collect();
            tcp::set_fast_open_keys(&mut self.shard, l, &bytes);
            return Ok("0".into());
        }
        let (option, values) = (args.first().copied().unwrap_or(""), args.get(1..).unwrap_or(&[]));
        change(&mut settings, &self.shard.head.sysctls, option, values)?;
        match self.sockets.get_mut(&fd) {
            Some(Socket::Fresh(kept)) => *kept = settings,
            _ => {
                let socket = self.reference(fd)?;
                socket::configure(&mut self.shard, socket, &settings, self.now);
                if let (Some("TCP_QUICKACK"), SocketRef::Connection(c)) = (args.first().copied(), socket) {
                    tcp::set_quick_ack(&mut self.shard, c, settings.quick_ack.into(), self.now);
                }
            }
        }
        Ok("0".into())
    }

    fn see(&mut self, what: &str, arg: &str, field: &str, tuple: &Tuple) -> Result<String, String> {
        let stop = |stop| match stop {
            Stop::Wrong(what) => what,
            Stop::Errno(_) => format!("there is no descriptor {arg}"),
        };
        let fd = || number(arg);
        let s = &mut self.shard;
        match what {
            "counter" => {
                let found = s.counters.each().find(|c| c.0 == arg).map(|c| c.2.to_string());
                found.ok_or(format!("no counter is called {arg}"))
            }
            "state" if arg.starts_with('@') => Ok(flow_state(s, tuple).name().into()),
            "state" => {
                let h = self.open(fd()?).map_err(stop)?.h;
                Ok(self.shard.connections.get(h).map_or(State::CLOSED, |c| c.state).name().into())
            }
            "info" => {
                let h = self.open(fd()?).map_err(stop)?.h;
                info_field(&format!("{:?}", tcp::info(&self.shard, h, self.now)), field)
            }
            "unread" => {
                let h = self.open(fd()?).map_err(stop)?.h;
                Ok(tcp::unread(&self.shard, h).to_string())
            }
            "unacknowledged" => {
                let h = self.open(fd()?).map_err(stop)?.h;
                Ok(tcp::unacknowledged(&self.shard, h).to_string())
            }
            "half_open" => Ok(s.requests.in_use().to_string()),
            "time_waits" => Ok(s.time_waits.in_use().to_string()),
            "connections" => Ok(s.connections.in_use().to_string()),
            "frames" => Ok((s.frames.total() - s.frames.available()).to_string()),
            "to_accept" => match self.sockets.get(&fd()?) {
                Some(Socket::Listener(l)) => {
                    Ok(s.listeners.get(*l).map_or(0, |l| l.accept_queue.len).to_string())
                }
                _ => Err(format!("{arg} does not listen")),
            },
            _ => Err(format!("nothing is called {what}")),
        }
    }
}

/// The state of whatever the table of connections has for this one.
fn flow_state(s: &mut Shard, tuple: &Tuple) -> State {
    match s.flow(tuple) {
        Some(Entry::Connection(h)) => s.connections.get(h).map_or(State::CLOSED, |c| c.state),
        Some(Entry::Request(_)) => State::SYN_RECEIVED,
        Some(Entry::TimeWait(h)) if s.time_waits.get(h).is_some_and(|t| t.is_half_closed()) => {
            State::FIN_WAIT_2
        }
        Some(Entry::TimeWait(_)) => State::TIME_WAIT,
        None => State::CLOSED,
    }
}

/// A field of TCP_INFO by its name, whatever fields there are.
fn info_field(info: &str, name: &str) -> Result<String, String> {
    let fields = info.split_once('{').map_or("", |i| i.1).trim_end_matches('}').split(',');
    let found = fields.filter_map(|f| f.split_once(':')).find(|(n, _)| n.trim() == name);
    found.map(|(_, value)| value.trim().into()).ok_or(format!("TCP_INFO has no {name}"))
}

fn change(settings: &mut Settings, sysctls: &Sysctls, option: &str, values: &[&str]) -> Result<(), Stop> {
    let value = |i: usize| number(values.get(i).copied().unwrap_or("1"));
    match option {
        "TCP_NODELAY" => settings.no_delay = value(0)? as u8,
        "TCP_CORK" => settings.cork = value(0)? as u8,
        "TCP_QUICKACK" => settings.quick_ack = value(0)? as u8,
        "SO_KEEPALIVE" => settings.keep_alive = value(0)? as u8,
        "SO_LINGER" => (settings.linger, settings.linger_time) = (value(0)? as u8, value(1)?),
        "SO_SNDBUF" => settings.ask_send_buffer(value(0)?, sysctls),
        "SO_RCVBUF" => settings.ask_receive_buffer(value(0)?, sysctls),
        "SO_RCVLOWAT" => settings.receive_low_water = value(0)?,
        "TCP_MAXSEG" => settings.max_segment = value(0)?,
        "TCP_KEEPIDLE" => settings.keep_idle = value(0)?,
        "TCP_KEEPINTVL" => settings.keep_interval = value(0)?,
        "TCP_KEEPCNT" => settings.keep_count = value(0)?,
        "TCP_LINGER2" => settings.linger2 = value(0)? as i32,
        "IP_MTU_DISCOVER" => settings.mtu_discovery = value(0)? as u8,
        "IP_RECVERR" => settings.reports_errors = value(0)? as u8,
        "TCP_USER_TIMEOUT" => settings.user_timeout = value(0)?,
        "TCP_DEFER_ACCEPT" => settings.defer_accept = value(0)?,
        "TCP_SYNCNT" => settings.syn_count = value(0)?,
        "TCP_NOTSENT_LOWAT" => settings.not_sent_low_water = value(0)?,
        "TCP_FASTOPEN" => settings.fast_open = value(0)?,
        "TCP_FASTOPEN_CONNECT" => settings.fast_open_connect = value(0)? as u8,
        "TCP_WINDOW_CLAMP" => settings.window_clamp = value(0)?,
        "SO_OOBINLINE" => settings.urgent_inline = value(0)? as u8,
        "SO_REUSEPORT" => settings.reuse_port = value(0)? as u8,
        "SO_REUSEADDR" => settings.reuse_address = value(0)? as u8,
        "TCP_CONGESTION" => {
            let name = values.first().copied().unwrap_or("");
            let unknown = || Stop::Wrong(format!("no algorithm is called {name}"));
            settings.congestion = tcp::congestion::Choice::from_name(name).ok_or_else(unknown)?.0;
        }
        _ => return Err(Stop::Wrong(format!("no option is called {option}"))),
    }
    Ok(())
}

fn shard(sizes: Sizes, mtu: u32, start: u64) -> Result<Shard, String> {
    let mut shard = Region::private_shard(sizes, KEY, start).map_err(|e| format!("{e:?}"))?;
    let mac = |end: u8| [2, 0, 0, 0, 0, 1 + end];
    let device = Device { ifindex: IFINDEX, mtu, mac: mac(1), first_link: 0, queues: 1, ..Device::default() };
    let local = LocalAddress { addr: address(1), ifindex: IFINDEX };
    let on_link = Route {
        destination: Addr(address(1).0 & 0xffff_ff00),
        source: address(1),
        prefix_len: 24,
        kind: RouteKind::DEVICE,
        ..Route::default()
    };
    shard.net.replace(&[device], &[local], &[on_link]);
    shard.net.lease_ports(40_000, 60_000, core::iter::empty());
    set_neighbour(&mut shard, NeighbourState::KNOWN);
    Ok(shard)
}

/// What is known of the way to the peer.
fn set_neighbour(shard: &mut Shard, state: NeighbourState) {
    shard.net.set_neighbour(Neighbour {
        addr: address(0),
        mac: [2, 0, 0, 0, 0, 1],
        state,
        ..Neighbour::default()
    });
}

/// When the clock must start for this connection to get the initial sequence number `wanted`.
fn start_for(sizes: Sizes, mtu: u32, wanted: u32, tuple: Tuple) -> Result<u64, String> {
    let mut shard = shard(sizes, mtu, START)?;
    tcp::connect(&mut shard, tuple, &Settings::default(), START).map_err(|e| format!("{e:?}"))?;
    let frame = shard.next_out().ok_or("no SYN was sent")?;
    let (_, _, syn, _) = crate::wire::read(shard.frames.packet(frame))?;
    Ok(START + u64::from(wanted.wrapping_sub(syn.seq)) * ISN_TICK)
}
