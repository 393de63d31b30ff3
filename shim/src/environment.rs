//! What the user set: `SHUNT_LOG` and `SHUNT_PROFILE`. Read from `environ` itself: getenv is libc's, and takes a lock in some.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::log::{self, Level};

unsafe extern "C" {
    static environ: *const *const c_char;
}

static LATENCY: AtomicBool = AtomicBool::new(false);

/// Whether waiting threads should spin before they sleep (`SHUNT_PROFILE=latency`).
pub(crate) fn wants_latency() -> bool {
    LATENCY.load(Ordering::Relaxed)
}

pub(crate) fn read() {
    match value(b"SHUNT_LOG") {
        Some(b"off") => log::set_level(Level::Off),
        Some(b"debug") => log::set_level(Level::Debug),
        _ => {}
    }
    LATENCY.store(value(b"SHUNT_PROFILE") == Some(b"latency"), Ordering::Relaxed);
}

fn value(name: &[u8]) -> Option<&'static [u8]> {
    // SAFETY: libc's list of strings, ended by null. Nobody changes it while the program makes its first socket, as
    // for any other reader of the environment.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            let entry = CStr::from_ptr(*at).to_bytes();
            if let Some(value) = entry.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"=")) {
                return Some(value);
            }
            at = at.add(1);
        }
    }
    None
}
