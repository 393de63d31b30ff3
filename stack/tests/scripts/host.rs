//! What a script is played on: the engine, or the kernel, which is the oracle.

use crate::packet::{number, pattern};
use stack::tcp::Tuple;

/// One stack with a program on it. Times in nanoseconds.
pub(crate) trait Host {
    fn now(&self) -> u64;

    /// Lets the clock run; stops early when something is sent.
    fn advance(&mut self, until: u64) -> Result<(), String>;

    /// The stack gets a frame.
    fn give(&mut self, frame: &[u8]) -> Result<(), String>;

    /// The next frame that the stack has sent, and when.
    fn sent(&mut self) -> Option<(u64, Vec<u8>)>;

    /// Sets a sysctl.
    fn set_option(&mut self, name: &str, value: &str) -> Result<(), String>;

    /// Does a call and answers its result as scripts write it.
    fn call(&mut self, call: &Call<'_>) -> Result<String, String>;

    /// What an assertion looks at; none if it cannot be seen here.
    fn look(&mut self, what: &str, of: &str, field: &str, tuple: &Tuple) -> Result<Option<String>, String>;

    /// Whether the invariants hold.
    fn check(&mut self) -> Result<(), String>;

    /// Rebuilds everything, as after a death of the owner of the lock between two changes.
    fn recover(&mut self) -> Result<(), String>;

    /// Closes everything; in the end nothing may be left.
    fn finish(&mut self) -> Result<(), String>;

    /// By how much more than the script says a packet may be late that is due in so long.
    fn delay(&self, after: u64) -> u64;

    /// PSH is not to be looked at.
    fn pushes_otherwise(&self) -> bool;
}

/// A call of a script.
pub(crate) struct Call<'a> {
    pub name: &'a str,
    pub args: &'a [String],
    /// The result that the script expects: it names new descriptors.
    pub wanted: &'a str,
    /// The connection that the call names, or the first.
    pub tuple: Tuple,
}

impl Call<'_> {
    pub(crate) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// Whether it opens a connection.
    pub(crate) fn opens(&self) -> bool {
        opens(self.name, self.args)
    }

    pub(crate) fn number(&self, index: usize) -> Result<u32, String> {
        number(self.arg(index))
    }
}

pub(crate) fn opens(call: &str, args: &[String]) -> bool {
    call == "connect" || args.iter().any(|a| a.contains("MSG_FASTOPEN"))
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

pub(crate) fn errno_name(errno: i32) -> String {
    match ERRNOS.iter().find(|e| e.1 == errno) {
        _ if errno == EINPROGRESS => "EINPROGRESS".into(),
        Some((name, _)) => (*name).into(),
        None => format!("errno {errno}"),
    }
}

const EVENTS: [(&str, u32); 6] =
    [("IN", 1), ("PRI", 2), ("OUT", 4), ("ERR", 8), ("HUP", 0x10), ("RDHUP", 0x2000)];

/// The events of poll, as scripts write them.
pub(crate) fn event_names(bits: u32) -> String {
    let names = EVENTS.iter().filter(|e| bits & e.1 != 0).map(|e| e.0).collect::<Vec<_>>();
    if names.is_empty() { "0".into() } else { names.join("|") }
}

/// `len` bytes of a stream that a program writes.
pub(crate) fn stream(first: u32, len: u32) -> Vec<u8> {
    (0..len).map(|i| pattern(first.wrapping_add(i))).collect()
}

/// What was read must be the stream's pattern, or what the result says: `= 15 {pattern 10, 0x42 5}`.
pub(crate) fn judge_bytes(first: u32, bytes: &[u8], wanted: &str) -> Result<String, String> {
    let (_, described) = wanted.split_once('{').unwrap_or((wanted, ""));
    let described = described.trim_end_matches('}');
    let right = described_bytes(first, bytes.len() as u32, described)?;
    if let Some(at) = bytes.iter().zip(&right).position(|(a, b)| a != b) {
        return Err(format!("byte {at} is {:#x}, not {:#x}", bytes[at], right[at]));
    }
    Ok(if described.is_empty() {
        bytes.len().to_string()
    } else {
        format!("{} {{{described}}}", bytes.len())
    })
}

fn described_bytes(first: u32, len: u32, text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for part in text.split(',').filter(|p| !p.trim().is_empty()) {
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
