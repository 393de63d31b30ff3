//! Socket calls: what a program does in a script.

use crate::packet::{number, pattern};
use crate::world::{self, LISTEN_PORT, World};
use stack::Error;
use stack::ip::net::NeighbourState;
use stack::link::sim::address;
use stack::region::Handle;
use stack::shard::Entry;
use stack::socket::{self, How, Placement, SocketRef};
use stack::tcp::{self, Connection, Listener, Settings, State};
use std::collections::BTreeMap;

const PROCESS: u16 = 1;

/// What the descriptors of the script are.
#[derive(Default)]
pub(crate) struct Sockets(BTreeMap<u32, Socket>);

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

const ERRNOS: [(&str, i32); 24] = [
    ("EPERM", 1),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EFAULT", 14),
    ("EINVAL", 22),
    ("EPIPE", 32),
    ("EPROTO", 71),
    ("EBADF", 9),
    ("EDESTADDRREQ", 89),
    ("EMSGSIZE", 90),
    ("ENOPROTOOPT", 92),
    ("EOPNOTSUPP", 95),
    ("EADDRINUSE", 98),
    ("EADDRNOTAVAIL", 99),
    ("ENETUNREACH", 101),
    ("ECONNABORTED", 103),
    ("ECONNRESET", 104),
    ("ENOBUFS", 105),
    ("EISCONN", 106),
    ("ENOTCONN", 107),
    ("ETIMEDOUT", 110),
    ("ECONNREFUSED", 111),
    ("EHOSTUNREACH", 113),
    ("EALREADY", 114),
];
const EINPROGRESS: i32 = 115;

fn errno_name(errno: i32) -> String {
    match ERRNOS.iter().find(|e| e.1 == errno) {
        _ if errno == EINPROGRESS => "EINPROGRESS".into(),
        Some((name, _)) => (*name).into(),
        None => format!("errno {errno}"),
    }
}

const EVENTS: [(&str, u32); 6] =
    [("IN", 1), ("PRI", 2), ("OUT", 4), ("ERR", 8), ("HUP", 0x10), ("RDHUP", 0x2000)];

impl Sockets {
    /// The result of a call, as scripts write it.
    pub(crate) fn call(
        &mut self,
        w: &mut World,
        name: &str,
        args: &[String],
        wanted: &str,
    ) -> Result<String, String> {
        match self.dispatch(w, name, args, wanted) {
            Ok(result) => Ok(result),
            Err(Stop::Errno(error)) => Ok(format!("-1 {}", errno_name(error.errno()))),
            Err(Stop::Wrong(what)) => Err(what),
        }
    }

    fn dispatch(&mut self, w: &mut World, name: &str, args: &[String], wanted: &str) -> Outcome {
        let arg = |i: usize| args.get(i).map_or("", String::as_str);
        match name {
            "socket" => {
                self.0.insert(number(wanted)?, Socket::Fresh(Settings::default()));
                return Ok(wanted.into());
            }
            "renew" => {
                w.renew(number(arg(0).trim_start_matches('@'))? as u16);
                return Ok("0".into());
            }
            "neighbour" => {
                let state = match arg(0) {
                    "known" => NeighbourState::KNOWN,
                    "vacant" => NeighbourState::VACANT,
                    "failed" => NeighbourState::FAILED,
                    other => return Err(format!("no neighbour is {other}").into()),
                };
                world::set_neighbour(&mut w.shard, state);
                return Ok("0".into());
            }
            _ => {}
        }
        let fd = number(arg(0))?;
        match name {
            "bind" => Ok("0".into()),
            "listen" => self.listen(w, fd, number(arg(1))?),
            "connect" => self.connect(w, fd, arg(1)),
            "accept" => self.accept(w, fd, wanted),
            "setsockopt" => self.set(w, fd, &args[1..]),
            "write" => self.write(w, fd, number(arg(1))?, ""),
            "send" => self.write(w, fd, number(arg(1))?, arg(2)),
            "read" => self.read(w, fd, number(arg(1))?, "", wanted),
            "recv" => self.read(w, fd, number(arg(1))?, arg(2), wanted),
            "shutdown" => self.shutdown(w, fd, arg(1)),
            "close" => self.close(w, fd),
            "disconnect" => {
                let h = self.open(fd)?.h;
                tcp::abort(&mut w.shard, h, w.now);
                Ok("0".into())
            }
            "events" => {
                let bits = socket::readiness(&w.shard, self.reference(fd)?);
                let names = EVENTS.iter().filter(|e| bits & e.1 != 0).map(|e| e.0).collect::<Vec<_>>();
                Ok(if names.is_empty() { "0".into() } else { names.join("|") })
            }
            "error" => match socket::take_error(&mut w.shard, self.reference(fd)?) {
                0 => Ok("0".into()),
                errno => Ok(errno_name(errno as i32)),
            },
            _ => Err(format!("no call is named {name}").into()),
        }
    }

    fn listen(&mut self, w: &mut World, fd: u32, backlog: u32) -> Outcome {
        match self.0.get_mut(&fd) {
            Some(Socket::Listener(l)) => tcp::set_backlog(&mut w.shard, *l, backlog),
            Some(fresh @ Socket::Fresh(_)) => {
                let Socket::Fresh(settings) = fresh else { return Err(Error::Invalid.into()) };
                let at = (address(1), LISTEN_PORT);
                let l = socket::listen(&mut w.shard, at, backlog, settings)?;
                socket::hold(&mut w.shard, SocketRef::Listener(l), PROCESS)?;
                *fresh = Socket::Listener(l);
            }
            _ => return Err(Error::Invalid.into()),
        }
        Ok("0".into())
    }

    fn connect(&mut self, w: &mut World, fd: u32, flow: &str) -> Outcome {
        match self.0.get_mut(&fd) {
            Some(Socket::Fresh(settings)) => {
                let settings = *settings;
                let flow = if flow.is_empty() { 1 } else { number(flow.trim_start_matches('@'))? as u16 };
                let tuple = w.opens(flow);
                let bound = Some((tuple.local, tuple.local_port));
                let to = (tuple.remote, tuple.remote_port);
                let h = match socket::connect(&mut w.shard, bound, to, &settings, w.now)? {
                    Placement::Ours(h) => h,
                    Placement::Kernel(reason) => return Err(Stop::Wrong(reason.text().into())),
                };
                socket::hold(&mut w.shard, SocketRef::Connection(h), PROCESS)?;
                let open = Open { h, written: 0, read: 0, connecting: true };
                self.0.insert(fd, Socket::Open(open));
                Err(Error::InProgress.into())
            }
            Some(Socket::Open(open)) if open.connecting => {
                let outcome = socket::connect_outcome(&mut w.shard, open.h);
                open.connecting = outcome == Err(Error::Already);
                outcome.map(|()| "0".into()).map_err(Stop::Errno)
            }
            Some(Socket::Open(_)) => Err(Error::IsConnected.into()),
            _ => Err(Error::Invalid.into()),
        }
    }

    fn accept(&mut self, w: &mut World, fd: u32, wanted: &str) -> Outcome {
        let Some(Socket::Listener(l)) = self.0.get(&fd) else { return Err(Error::Invalid.into()) };
        let h = socket::accept(&mut w.shard, *l, PROCESS, w.now)?;
        let open = Open { h, written: 0, read: 0, connecting: false };
        let name = number(wanted).map_err(|_| Stop::Wrong("a connection was accepted".into()))?;
        self.0.insert(name, Socket::Open(open));
        Ok(wanted.into())
    }

    fn open(&mut self, fd: u32) -> Result<&mut Open, Stop> {
        match self.0.get_mut(&fd) {
            Some(Socket::Open(open)) => Ok(open),
            Some(_) => Err(Error::NotConnected.into()),
            None => Err(Error::BadDescriptor.into()),
        }
    }

    fn reference(&self, fd: u32) -> Result<SocketRef, Stop> {
        match self.0.get(&fd) {
            Some(Socket::Open(open)) => Ok(SocketRef::Connection(open.h)),
            Some(Socket::Listener(l)) => Ok(SocketRef::Listener(*l)),
            _ => Err(Error::BadDescriptor.into()),
        }
    }

    fn write(&mut self, w: &mut World, fd: u32, len: u32, flags: &str) -> Outcome {
        let open = self.open(fd)?;
        let first = 1 + open.written;
        let bytes: Vec<u8> = (0..len).map(|i| pattern(first.wrapping_add(i))).collect();
        let more = flags.contains("MSG_MORE");
        let n = tcp::write(&mut w.shard, open.h, &mut &bytes[..], more, w.now)?;
        open.written = open.written.wrapping_add(n as u32);
        Ok(n.to_string())
    }

    /// What is read must be the stream's pattern, or what the result says: `= 15 {pattern 10, 0x42 5}`.
    fn read(&mut self, w: &mut World, fd: u32, len: u32, flags: &str, wanted: &str) -> Outcome {
        let open = self.open(fd)?;
        let mut buffer = vec![0; len as usize];
        let peek = flags.contains("MSG_PEEK");
        let n = tcp::read(&mut w.shard, open.h, &mut &mut buffer[..], peek, w.now)?;
        let first = 1 + open.read;
        if !peek {
            open.read = open.read.wrapping_add(n as u32);
        }
        let (_, described) = wanted.split_once('{').unwrap_or((wanted, ""));
        let right = described_bytes(first, n as u32, described)?;
        let differs = buffer[..n].iter().zip(&right).position(|(a, b)| a != b);
        match differs {
            Some(at) => Err(format!("byte {at} is {:#x}, not {:#x}", buffer[at], right[at]).into()),
            None if described.is_empty() => Ok(n.to_string()),
            None => Ok(format!("{n} {{{described}")),
        }
    }

    fn shutdown(&mut self, w: &mut World, fd: u32, how: &str) -> Outcome {
        let how = match how {
            "SHUT_RD" => How::Read,
            "SHUT_WR" => How::Write,
            "SHUT_RDWR" => How::Both,
            _ => return Err(Stop::Wrong("SHUT_RD, SHUT_WR or SHUT_RDWR".into())),
        };
        let h = self.open(fd)?.h;
        socket::shutdown(&mut w.shard, h, how, w.now)?;
        Ok("0".into())
    }

    fn close(&mut self, w: &mut World, fd: u32) -> Outcome {
        if let Ok(socket) = self.reference(fd) {
            socket::let_go(&mut w.shard, socket, PROCESS, w.now);
        }
        self.0.remove(&fd).map(|_| "0".into()).ok_or(Error::BadDescriptor.into())
    }

    pub(crate) fn close_all(&mut self, w: &mut World) {
        let all: Vec<u32> = self.0.keys().copied().collect();
        for fd in all {
            let _ = self.close(w, fd);
        }
    }

    fn set(&mut self, w: &mut World, fd: u32, args: &[String]) -> Outcome {
        let mut settings = match self.0.get(&fd) {
            Some(Socket::Fresh(settings)) => *settings,
            Some(Socket::Listener(l)) => w.shard.listeners.get(*l).ok_or(Error::BadDescriptor)?.settings,
            Some(Socket::Open(open)) => w.shard.connections.get(open.h).ok_or(Error::BadDescriptor)?.settings,
            None => return Err(Error::BadDescriptor.into()),
        };
        let args: Vec<&str> = args.iter().map(String::as_str).filter(|a| !a.starts_with("SOL_")).collect();
        change(&mut settings, args.first().copied().unwrap_or(""), args.get(1..).unwrap_or(&[]))?;
        match self.0.get_mut(&fd) {
            Some(Socket::Fresh(kept)) => *kept = settings,
            _ => {
                let socket = self.reference(fd)?;
                socket::configure(&mut w.shard, socket, &settings, w.now);
            }
        }
        Ok("0".into())
    }

    /// What an `assert` looks at.
    pub(crate) fn look(&mut self, w: &mut World, what: &str) -> Result<String, String> {
        let (name, rest) = what.split_once('(').ok_or("what is to be looked at?")?;
        let (arg, field) = rest.split_once(')').ok_or("a parenthesis is open")?;
        let stop = |stop| match stop {
            Stop::Wrong(what) => what,
            Stop::Errno(_) => format!("there is no descriptor {arg}"),
        };
        let s = &mut w.shard;
        match name {
            "counter" => {
                let found = s.counters.each().find(|c| c.0 == arg).map(|c| c.2.to_string());
                found.ok_or(format!("no counter is called {arg}"))
            }
            "state" => match arg.strip_prefix('@') {
                Some(flow) => flow_state(w, number(flow)? as u16),
                None => {
                    let h = self.open(number(arg)?).map_err(stop)?.h;
                    Ok(s.connections.get(h).map_or(State::CLOSED, |c| c.state).name().into())
                }
            },
            "info" => {
                let h = self.open(number(arg)?).map_err(stop)?.h;
                let info = format!("{:?}", tcp::info(s, h, w.now));
                info_field(&info, field.trim_start_matches('.'))
            }
            "unread" => Ok(tcp::unread(s, self.open(number(arg)?).map_err(stop)?.h).to_string()),
            "unacknowledged" => {
                Ok(tcp::unacknowledged(s, self.open(number(arg)?).map_err(stop)?.h).to_string())
            }
            "half_open" => Ok(s.requests.in_use().to_string()),
            "time_waits" => Ok(s.time_waits.in_use().to_string()),
            "connections" => Ok(s.connections.in_use().to_string()),
            "frames" => Ok((s.frames.total() - s.frames.available()).to_string()),
            "to_accept" => match self.0.get(&number(arg)?) {
                Some(Socket::Listener(l)) => {
                    Ok(s.listeners.get(*l).map_or(0, |l| l.accept_queue.len).to_string())
                }
                _ => Err(format!("{arg} does not listen")),
            },
            _ => Err(format!("nothing is called {name}")),
        }
    }
}

/// The state of whatever the table of connections has for this one.
fn flow_state(w: &mut World, flow: u16) -> Result<String, String> {
    let tuple = w.flow(flow).tuple;
    Ok(match w.shard.flow(&tuple) {
        Some(Entry::Connection(h)) => w.shard.connections.get(h).map_or(State::CLOSED, |c| c.state).name(),
        Some(Entry::Request(_)) => State::SYN_RECEIVED.name(),
        Some(Entry::TimeWait(_)) => State::TIME_WAIT.name(),
        None => State::CLOSED.name(),
    }
    .into())
}

/// A field of TCP_INFO by its name, whatever fields there are.
fn info_field(info: &str, name: &str) -> Result<String, String> {
    let fields = info.split_once('{').map_or("", |i| i.1).trim_end_matches('}').split(',');
    let found = fields.filter_map(|f| f.split_once(':')).find(|(n, _)| n.trim() == name);
    found.map(|(_, value)| value.trim().into()).ok_or(format!("TCP_INFO has no {name}"))
}

fn described_bytes(first: u32, len: u32, text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for part in text.trim_end_matches('}').split(',').filter(|p| !p.trim().is_empty()) {
        let (what, n) = part.trim().split_once(' ').ok_or("{pattern N, 0xBYTE N}")?;
        for _ in 0..number(n)? {
            let at = first.wrapping_add(bytes.len() as u32);
            bytes.push(if what == "pattern" { pattern(at) } else { number(what)? as u8 });
        }
    }
    if text.is_empty() {
        bytes = (0..len).map(|i| pattern(first.wrapping_add(i))).collect();
    }
    if bytes.len() != len as usize {
        return Err(format!("{len} bytes came, {} are described", bytes.len()));
    }
    Ok(bytes)
}

fn change(settings: &mut Settings, option: &str, values: &[&str]) -> Result<(), Stop> {
    let value = |i: usize| number(values.get(i).copied().unwrap_or("1"));
    match option {
        "TCP_NODELAY" => settings.no_delay = value(0)? as u8,
        "TCP_CORK" => settings.cork = value(0)? as u8,
        "TCP_QUICKACK" => settings.quick_ack = value(0)? as u8,
        "SO_KEEPALIVE" => settings.keep_alive = value(0)? as u8,
        "SO_LINGER" => (settings.linger, settings.linger_time) = (value(0)? as u8, value(1)?),
        // LINUX: what is asked for is doubled, for the overhead.
        "SO_SNDBUF" => settings.send_buffer = value(0)? * 2,
        "SO_RCVBUF" => settings.receive_buffer = value(0)? * 2,
        "SO_RCVLOWAT" => settings.receive_low_water = value(0)?,
        "TCP_MAXSEG" => settings.max_segment = value(0)?,
        "TCP_KEEPIDLE" => settings.keep_idle = value(0)?,
        "TCP_KEEPINTVL" => settings.keep_interval = value(0)?,
        "TCP_KEEPCNT" => settings.keep_count = value(0)?,
        "TCP_USER_TIMEOUT" => settings.user_timeout = value(0)?,
        "TCP_DEFER_ACCEPT" => settings.defer_accept = value(0)?,
        "TCP_SYNCNT" => settings.syn_count = value(0)?,
        "TCP_NOTSENT_LOWAT" => settings.not_sent_low_water = value(0)?,
        "SO_REUSEADDR" => settings.reuse_address = value(0)? as u8,
        _ => return Err(Stop::Wrong(format!("no option is called {option}"))),
    }
    Ok(())
}
