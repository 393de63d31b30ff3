//! One line on stderr, for the few things a user must know. `SHUNT_LOG=off` silences all but internal errors.

use core::sync::atomic::{AtomicU8, Ordering};

use crate::kernel;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Off = 0,
    Info = 1,
    Debug = 2,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

pub(crate) fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Writes `shunt: ` and the parts, joined, as one line and one system call. What does not fit is cut.
pub(crate) fn line(level: Level, parts: &[&str]) {
    if level as u8 > LEVEL.load(Ordering::Relaxed) {
        return;
    }
    let mut buffer = [0u8; 512];
    let mut length = 0;
    for part in core::iter::once(&"shunt: ").chain(parts) {
        let room = buffer.len() - 1 - length;
        let take = part.len().min(room);
        if let (Some(to), Some(from)) = (buffer.get_mut(length..length + take), part.as_bytes().get(..take)) {
            to.copy_from_slice(from);
            length += take;
        }
    }
    if let Some(end) = buffer.get_mut(length) {
        *end = b'\n';
    }
    write(buffer.get(..=length).unwrap_or(b"\n"));
}

pub(crate) fn internal_error() {
    write(b"shunt: internal error, the program cannot go on; please report it\n");
}

fn write(bytes: &[u8]) {
    // SAFETY: the bytes are ours and live during the call.
    let _ = unsafe { kernel::call(libc::SYS_write, [2, bytes.as_ptr() as usize, bytes.len()]) };
}
