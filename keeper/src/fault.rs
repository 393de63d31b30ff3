//! What went wrong, as the one line that a user reads: what, and what to do about it.

use std::fmt;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault(String);

impl Fault {
    pub(crate) fn new(line: impl Into<String>) -> Fault {
        Fault(line.into())
    }

    /// For what should not happen and has no better advice than what was being done and the kernel's answer.
    pub(crate) fn of<E: fmt::Display>(doing: &str) -> impl FnOnce(E) -> Fault {
        move |error| Fault(format!("{doing}: {error}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kernel's answer in words.
pub(crate) fn explain(errno: rustix::io::Errno) -> std::io::Error {
    std::io::Error::from_raw_os_error(errno.raw_os_error())
}
