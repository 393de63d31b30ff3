//! The kernel as the oracle: its sockets in a network namespace of their own, its packets through a TUN device.
//!
//! The namespace belongs to the thread that plays the script and goes with it.

use crate::host::{Call, Host, errno_name, event_names, judge_bytes, stream};
use crate::packet::number;
use stack::link::sim::address;
use stack::tcp::Tuple;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{Error, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const IFF_TUN_WITHOUT_INFO: i16 = 0x1001;
const ETHERNET_LEN: usize = 14;
/// A busy machine lets a timer wait; the kernel's own tick is 4 ms.
const DELAY: u64 = 20_000_000;

pub(crate) struct Kernel {
    tun: File,
    began: Instant,
    sent: VecDeque<(u64, Vec<u8>)>,
    sockets: BTreeMap<u32, Socket>,
    /// What sockets get: the engine's default, whatever this machine's is.
    congestion: &'static str,
}

struct Socket {
    fd: OwnedFd,
    written: u32,
    read: u32,
}

impl Kernel {
    pub(crate) fn new(mtu: u32) -> Result<Self, String> {
        // SAFETY: takes no memory of ours.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(format!("no network namespace: {}", Error::last_os_error()));
        }
        let tun = tun().map_err(|e| format!("no TUN device: {e}"))?;
        let _ = std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
        let us = address(1).0.to_be_bytes().map(|b| b.to_string()).join(".");
        for arguments in [
            format!("addr add {us}/24 dev tun0"),
            format!("link set tun0 mtu {mtu} up"),
            "link set lo up".into(),
        ] {
            let ended = Command::new("ip").args(arguments.split(' ')).status().map_err(|e| e.to_string())?;
            if !ended.success() {
                return Err(format!("ip {arguments}: {ended}"));
            }
        }
        Ok(Self {
            tun,
            began: Instant::now(),
            sent: VecDeque::new(),
            sockets: BTreeMap::new(),
            congestion: "cubic",
        })
    }

    /// Takes one packet from the device, waiting for so long.
    fn take(&mut self, wait: Duration) -> Result<(), String> {
        let mut poll = libc::pollfd { fd: self.tun.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let time = libc::timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        // SAFETY: both structures live through the call.
        if unsafe { libc::ppoll(&mut poll, 1, &time, std::ptr::null()) } <= 0 {
            return Ok(());
        }
        let mut packet = vec![0; 70_000];
        let len = self.tun.read(&mut packet).map_err(|e| e.to_string())?;
        packet.truncate(len);
        let is_tcp = packet.first().is_some_and(|b| b >> 4 == 4) && packet.get(9) == Some(&6);
        if is_tcp {
            let mut frame = vec![0; ETHERNET_LEN];
            frame[12] = 8;
            frame.extend(packet);
            self.sent.push_back((self.now(), frame));
        }
        Ok(())
    }

    fn fd(&self, number: u32) -> Result<i32, String> {
        self.sockets.get(&number).map(|s| s.fd.as_raw_fd()).ok_or(format!("there is no descriptor {number}"))
    }

    fn set(&mut self, call: &Call<'_>) -> Result<i64, String> {
        let fd = self.fd(call.number(0)?)?;
        let args: Vec<&str> = call.args[1..].iter().map(String::as_str).collect();
        let args: Vec<&str> = args.into_iter().filter(|a| !a.starts_with("SOL_")).collect();
        let name = args.first().copied().unwrap_or("");
        let (level, option) =
            OPTIONS.iter().find(|o| o.0 == name).map(|o| (o.1, o.2)).ok_or(format!("no option {name}"))?;
        if name == "TCP_CONGESTION" {
            let text = args.get(1).copied().unwrap_or("");
            // SAFETY: the pointer and the length are those of the text.
            return Ok(unsafe {
                libc::setsockopt(fd, level, option, text.as_ptr().cast(), text.len() as u32)
            }
            .into());
        }
        let mut values = Vec::new();
        for value in &args[1..] {
            values.push(number(value)?);
        }
        if values.is_empty() {
            values.push(1);
        }
        // SAFETY: the pointer and the length are those of the vector.
        Ok(unsafe { libc::setsockopt(fd, level, option, values.as_ptr().cast(), 4 * values.len() as u32) }
            .into())
    }

    fn open(&mut self, wanted: &str) -> Result<String, String> {
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: takes no memory of ours.
        let fd = unsafe { libc::socket(libc::AF_INET, kind, 0) };
        // LINUX: a script's TIME_WAIT must not be in the way of its next connection.
        let on = 1_i32;
        // SAFETY: the pointer is to an int, as the length says.
        unsafe {
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, (&raw const on).cast(), 4);
        }
        let (name, len) = (self.congestion.as_ptr().cast(), self.congestion.len() as u32);
        // SAFETY: the pointer is to so many bytes.
        unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_CONGESTION, name, len) };
        self.adopt(wanted, fd)
    }

    fn adopt(&mut self, name: &str, fd: i32) -> Result<String, String> {
        if fd < 0 {
            return Ok(answer(-1));
        }
        // SAFETY: the kernel has just given it to us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let key = number(name).map_err(|_| "a connection was accepted".to_string())?;
        self.sockets.insert(key, Socket { fd, written: 0, read: 0 });
        Ok(name.into())
    }

    fn name_and(
        &self,
        fd: u32,
        addr: u32,
        port: u16,
        call: unsafe extern "C" fn(i32, *const libc::sockaddr, u32) -> i32,
    ) -> Result<i64, String> {
        let name = name(addr, port);
        // SAFETY: the pointer and the length are those of the structure.
        Ok(unsafe { call(self.fd(fd)?, (&raw const name).cast(), size_of_val(&name) as u32) }.into())
    }

    fn send(&mut self, call: &Call<'_>) -> Result<String, String> {
        let (fd, name) = (self.fd(call.number(0)?)?, call.number(0)?);
        let Some(socket) = self.sockets.get_mut(&name) else { return Err("no such socket".into()) };
        let bytes = stream(1 + socket.written, call.number(1)?);
        let flags = flags(call.arg(2)) | libc::MSG_NOSIGNAL;
        if call.opens() {
            return self.open_with_data(call, &bytes, flags);
        }
        // SAFETY: the pointer and the length are those of the vector.
        let n = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
        socket.written = socket.written.wrapping_add(n.max(0) as u32);
        Ok(answer(n as i64))
    }

    /// MSG_FASTOPEN.
    fn open_with_data(&mut self, call: &Call<'_>, bytes: &[u8], flags: i32) -> Result<String, String> {
        let (fd, tuple) = (call.number(0)?, call.tuple);
        self.name_and(fd, tuple.local.0, tuple.local_port, libc::bind)?;
        let to = name(tuple.remote.0, tuple.remote_port);
        let len = size_of_val(&to) as u32;
        let raw = self.fd(fd)?;
        // SAFETY: the pointers and the lengths are those of the bytes and of the structure.
        let n = unsafe {
            libc::sendto(raw, bytes.as_ptr().cast(), bytes.len(), flags, (&raw const to).cast(), len)
        };
        if let Some(socket) = self.sockets.get_mut(&fd) {
            socket.written = n.max(0) as u32;
        }
        Ok(answer(n as i64))
    }

    fn receive(&mut self, call: &Call<'_>) -> Result<String, String> {
        let (fd, name) = (self.fd(call.number(0)?)?, call.number(0)?);
        let Some(socket) = self.sockets.get_mut(&name) else { return Err("no such socket".into()) };
        let mut buffer = vec![0_u8; call.number(1)? as usize];
        let flags = flags(call.arg(2));
        // SAFETY: the pointer and the length are those of the vector.
        let n = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), flags) };
        if n < 0 {
            return Ok(answer(-1));
        }
        let first = 1 + socket.read;
        if flags & (libc::MSG_PEEK | libc::MSG_OOB) == 0 {
            socket.read = socket.read.wrapping_add(n as u32);
        }
        judge_bytes(first, &buffer[..n as usize], call.wanted)
    }

    fn events(&self, fd: u32) -> Result<String, String> {
        let events = libc::POLLIN | libc::POLLPRI | libc::POLLOUT | libc::POLLRDHUP;
        let mut poll = libc::pollfd { fd: self.fd(fd)?, events, revents: 0 };
        // SAFETY: the structure lives through the call.
        unsafe { libc::poll(&mut poll, 1, 0) };
        Ok(event_names(poll.revents as u16 as u32))
    }

    fn socket_error(&self, fd: u32) -> Result<String, String> {
        let (mut error, mut len) = (0_i32, 4_u32);
        let fd = self.fd(fd)?;
        // SAFETY: the pointers are to an int and its length.
        unsafe {
            libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut error).cast(), &raw mut len);
        }
        Ok(if error == 0 { "0".into() } else { errno_name(error) })
    }

    fn queued(&self, fd: u32, request: libc::c_ulong) -> Result<String, String> {
        let mut n = 0_i32;
        // SAFETY: the pointer is to an int, which these requests write.
        unsafe { libc::ioctl(self.fd(fd)?, request, &raw mut n) };
        Ok(n.to_string())
    }

    /// The state of a connection, as /proc shows it.
    fn state(&self, tuple: &Tuple) -> String {
        let place = |addr: u32, port: u16| format!("{:08X}:{port:04X}", addr.swap_bytes());
        let local = place(tuple.local.0, tuple.local_port);
        let remote = place(tuple.remote.0, tuple.remote_port);
        let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default();
        let rows = table.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
        let mut of_tuple = rows.filter(|r| r.get(1) == Some(&&*local) && r.get(2) == Some(&&*remote));
        let number = of_tuple.next().and_then(|r| u8::from_str_radix(r.get(3)?, 16).ok());
        state_name(number.unwrap_or(0))
    }

    /// TCP_INFO, as far as the names are ours too.
    fn info(&self, fd: u32, field: &str) -> Result<Option<String>, String> {
        // SAFETY: all bit patterns are values of it.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut len = size_of_val(&info) as u32;
        let fd = self.fd(fd)?;
        // SAFETY: the pointers are to the structure and its length.
        unsafe {
            libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut len);
        }
        let value = match field {
            "state" => info.tcpi_state.into(),
            "recovery_state" => info.tcpi_ca_state.into(),
            "retransmits" => info.tcpi_retransmits.into(),
            "probes" => info.tcpi_probes.into(),
            "backoff" => info.tcpi_backoff.into(),
            "send_mss" => info.tcpi_snd_mss,
            "path_mtu" => info.tcpi_pmtu,
            "unacknowledged" => info.tcpi_unacked,
            "sacked" => info.tcpi_sacked,
            "lost" => info.tcpi_lost,
            "retransmitted" => info.tcpi_retrans,
            "congestion_window" => info.tcpi_snd_cwnd,
            "threshold" => info.tcpi_snd_ssthresh,
            "reordering" => info.tcpi_reordering,
            "total_retransmissions" => info.tcpi_total_retrans,
            _ => return Ok(None),
        };
        Ok(Some(value.to_string()))
    }
}

impl Host for Kernel {
    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn advance(&mut self, until: u64) -> Result<(), String> {
        loop {
            let left = until.saturating_sub(self.now());
            self.take(Duration::from_nanos(left))?;
            if !self.sent.is_empty() || left == 0 {
                return Ok(());
            }
        }
    }

    fn give(&mut self, frame: &[u8]) -> Result<(), String> {
        let packet = frame.get(ETHERNET_LEN..).unwrap_or(&[]);
        self.tun.write_all(packet).map_err(|e| e.to_string())
    }

    fn sent(&mut self) -> Option<(u64, Vec<u8>)> {
        if self.sent.is_empty() {
            self.take(Duration::ZERO).ok()?;
        }
        self.sent.pop_front()
    }

    fn set_option(&mut self, name: &str, value: &str) -> Result<(), String> {
        let row = stack::tcp::Sysctls::default().each().find(|r| r.name == name);
        let row = row.ok_or(format!("no option is called {name}"))?;
        if name == "tcp_congestion_control" {
            // A namespace may not choose all of them, a socket may.
            let choice = value.parse().map_err(|_| format!("{value} is no number"))?;
            self.congestion = stack::tcp::congestion::Choice(choice).name();
            return Ok(());
        }
        let path = format!("/proc/sys/net/{}", row.file);
        let now = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        let mut words: Vec<String> = now.split_whitespace().map(String::from).collect();
        if let Some(word) = words.get_mut(row.word) {
            *word = value.into();
        }
        std::fs::write(&path, words.join(" ")).map_err(|e| format!("{path}: {e}"))
    }

    fn call(&mut self, call: &Call<'_>) -> Result<String, String> {
        if call.name == "socket" {
            return self.open(call.wanted);
        }
        let (fd, tuple) = (call.number(0)?, call.tuple);
        Ok(match call.name {
            "bind" => "0".into(),
            "listen" => {
                let n = call.number(1)? as i32;
                self.name_and(fd, tuple.local.0, tuple.local_port, libc::bind)?;
                // SAFETY: takes no memory of ours.
                answer(unsafe { libc::listen(self.fd(fd)?, n) }.into())
            }
            "connect" => {
                self.name_and(fd, tuple.local.0, tuple.local_port, libc::bind)?;
                answer(self.name_and(fd, tuple.remote.0, tuple.remote_port, libc::connect)?)
            }
            "accept" => {
                let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
                let none = std::ptr::null_mut();
                // SAFETY: no address is asked for.
                let fd = unsafe { libc::accept4(self.fd(fd)?, none, std::ptr::null_mut(), flags) };
                return self.adopt(call.wanted, fd);
            }
            "setsockopt" => answer(self.set(call)?),
            "write" | "send" => return self.send(call),
            "read" | "recv" => return self.receive(call),
            "shutdown" => {
                let how = ["SHUT_RD", "SHUT_WR", "SHUT_RDWR"].iter().position(|h| *h == call.arg(1));
                // SAFETY: takes no memory of ours.
                answer(unsafe { libc::shutdown(self.fd(fd)?, how.unwrap_or(3) as i32) }.into())
            }
            "close" => {
                self.sockets.remove(&fd);
                "0".into()
            }
            "disconnect" => {
                // SAFETY: all bit patterns are values of it.
                let nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
                // SAFETY: the pointer and the length are those of the structure.
                answer(unsafe { libc::connect(self.fd(fd)?, &nowhere, 16) }.into())
            }
            "own" => {
                block_urgent_signal();
                // SAFETY: no memory is passed.
                let us = [F_OWNER_TID, unsafe { libc::gettid() }];
                // SAFETY: the two numbers live as long as the call.
                answer(unsafe { libc::fcntl(self.fd(fd)?, F_SETOWN_EX, us.as_ptr()) }.into())
            }
            "signalled" => take_urgent_signal().into(),
            "events" => self.events(fd)?,
            "error" => self.socket_error(fd)?,
            name => return Err(format!("no call is named {name}")),
        })
    }

    fn look(&mut self, what: &str, of: &str, field: &str, tuple: &Tuple) -> Result<Option<String>, String> {
        match what {
            "state" if of.starts_with('@') => Ok(Some(self.state(tuple))),
            "state" => {
                let state = self.info(number(of)?, "state")?;
                Ok(state.map(|n| state_name(n.parse().unwrap_or(0))))
            }
            "info" => self.info(number(of)?, field),
            "unread" => self.queued(number(of)?, libc::FIONREAD).map(Some),
            "unacknowledged" => self.queued(number(of)?, libc::TIOCOUTQ).map(Some),
            _ => Ok(None),
        }
    }

    fn check(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn recover(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        self.sockets.clear();
        Ok(())
    }

    fn delay(&self, after: u64) -> u64 {
        // LINUX: the timer wheel is as much too late at most.
        DELAY + after / 8
    }

    /// LINUX: segments are cut from larger ones, and PSH stands where those end.
    fn pushes_otherwise(&self) -> bool {
        true
    }
}

fn tun() -> Result<File, Error> {
    let tun =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: all bit patterns are values of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"tun0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = IFF_TUN_WITHOUT_INFO;
    // SAFETY: the request is a whole structure, as TUNSETIFF wants it.
    if unsafe { libc::ioctl(tun.as_raw_fd(), TUNSETIFF, &raw mut request) } != 0 {
        return Err(Error::last_os_error());
    }
    Ok(tun)
}

fn name(addr: u32, port: u16) -> libc::sockaddr_in {
    // SAFETY: all bit patterns are values of it.
    let mut name: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    name.sin_family = libc::AF_INET as u16;
    name.sin_port = port.to_be();
    name.sin_addr.s_addr = addr.to_be();
    name
}

fn answer(result: i64) -> String {
    if result >= 0 {
        return result.to_string();
    }
    format!("-1 {}", errno_name(Error::last_os_error().raw_os_error().unwrap_or(0)))
}

fn flags(names: &str) -> i32 {
    let known = [
        ("MSG_MORE", libc::MSG_MORE),
        ("MSG_PEEK", libc::MSG_PEEK),
        ("MSG_OOB", libc::MSG_OOB),
        ("MSG_FASTOPEN", libc::MSG_FASTOPEN),
    ];
    known.iter().filter(|k| names.contains(k.0)).map(|k| k.1).sum()
}

fn state_name(number: u8) -> String {
    // Half-open ones of the newer kind.
    if number == 12 { "SYN_RECEIVED".into() } else { stack::tcp::State(number).name().into() }
}

const OPTIONS: [(&str, i32, i32); 27] = [
    ("IP_RECVERR", libc::IPPROTO_IP, libc::IP_RECVERR),
    ("IP_MTU_DISCOVER", libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    ("TCP_NODELAY", libc::IPPROTO_TCP, libc::TCP_NODELAY),
    ("TCP_CORK", libc::IPPROTO_TCP, libc::TCP_CORK),
    ("TCP_QUICKACK", libc::IPPROTO_TCP, libc::TCP_QUICKACK),
    ("TCP_MAXSEG", libc::IPPROTO_TCP, libc::TCP_MAXSEG),
    ("TCP_KEEPIDLE", libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    ("TCP_KEEPINTVL", libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    ("TCP_KEEPCNT", libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    ("TCP_USER_TIMEOUT", libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    ("TCP_DEFER_ACCEPT", libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    ("TCP_SYNCNT", libc::IPPROTO_TCP, libc::TCP_SYNCNT),
    ("TCP_LINGER2", libc::IPPROTO_TCP, libc::TCP_LINGER2),
    ("TCP_WINDOW_CLAMP", libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP),
    ("TCP_NOTSENT_LOWAT", libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    ("TCP_CONGESTION", libc::IPPROTO_TCP, libc::TCP_CONGESTION),
    ("TCP_FASTOPEN_KEY", libc::IPPROTO_TCP, libc::TCP_FASTOPEN_KEY),
    ("TCP_FASTOPEN", libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
    ("TCP_FASTOPEN_CONNECT", libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT),
    ("SO_KEEPALIVE", libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    ("SO_LINGER", libc::SOL_SOCKET, libc::SO_LINGER),
    ("SO_SNDBUF", libc::SOL_SOCKET, libc::SO_SNDBUF),
    ("SO_RCVBUF", libc::SOL_SOCKET, libc::SO_RCVBUF),
    ("SO_RCVLOWAT", libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    ("SO_REUSEADDR", libc::SOL_SOCKET, libc::SO_REUSEADDR),
    ("SO_REUSEPORT", libc::SOL_SOCKET, libc::SO_REUSEPORT),
    ("SO_OOBINLINE", libc::SOL_SOCKET, libc::SO_OOBINLINE),
];

/// Not in the libc crate. Other threads do not block the signal.
const F_SETOWN_EX: i32 = 15;
const F_OWNER_TID: i32 = 0;

fn urgent_signal() -> libc::sigset_t {
    // SAFETY: all bit patterns are values of it, and the calls change it alone.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut set, libc::SIGURG);
        set
    }
}

/// So that it waits until it is asked for.
fn block_urgent_signal() {
    // SAFETY: the set lives as long as the call.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &urgent_signal(), std::ptr::null_mut()) };
}

/// 1 if SIGURG came since it was asked for last, else 0.
fn take_urgent_signal() -> &'static str {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    // SAFETY: the set and the time live as long as the call; nobody wants to know more of the signal.
    let signal = unsafe { libc::sigtimedwait(&urgent_signal(), std::ptr::null_mut(), &time) };
    if signal == libc::SIGURG { "1" } else { "0" }
}
