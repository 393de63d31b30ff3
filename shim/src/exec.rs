//! exec: sockets that are not close-on-exec stay open in the new program, as they do in the kernel.
//!
//! The process stays the same one, and so does its slot, as long as its control socket is open. So the old image leaves
//! that open, and its number in the slot; it marks the sockets with the inodes of their shadows. The new image, if it
//! finds that it was given TCP sockets, attaches anew, looks for the slot of its process that an old image left, takes over
//! by inode what it was given, and closes the old control socket. A program that is not under shunt keeps the control
//! socket open unknowingly: then its sockets end with it.

use core::ffi::{c_char, c_int};
use core::sync::atomic::Ordering;

use stack::drive::Stack;
use stack::socket::{self, SocketRef};

use crate::fds::{self, Entry, Place};
use crate::kernel::{self, Errno, Outcome};
use crate::sockets::{socket_of, with_socket};
use crate::turn::turn;
use crate::{control, startup, thread};

/// Runs when the library is loaded, before the program.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = take_over_inherited;

/// Makes `exec`, which returns only if it fails, with everything ready for the new image.
pub(crate) fn with_heirloom(exec: impl FnOnce() -> Outcome) -> Outcome {
    let is_borrowed = thread::current().borrowed_memory.load(Ordering::Relaxed);
    let line = match startup::stack() {
        Some(stack) if !is_borrowed && mark_heirs() => leave_line_open(stack),
        _ => None,
    };
    let failed = exec();
    if let Some(line) = line {
        let _ = kernel::fcntl(line, libc::F_SETFD, libc::FD_CLOEXEC as usize);
    }
    failed
}

/// Notes the inode of each accelerated socket that will survive. False if there is none.
fn mark_heirs() -> bool {
    let mut any = false;
    for (fd, entry) in fds::entries() {
        let survives =
            kernel::fcntl(fd, libc::F_GETFD, 0).is_ok_and(|flags| flags as c_int & libc::FD_CLOEXEC == 0);
        if let (true, Some((place, socket)), Ok(inode)) = (survives, socket_of(entry), inode_of(fd)) {
            any |= with_socket(place, socket, |socket| socket.inode = inode).is_ok();
        }
    }
    any
}

fn leave_line_open(stack: &Stack) -> Option<i32> {
    let line = control::line()?;
    let slot = stack.region.processes().get(usize::from(stack.me))?;
    slot.line.store(line as u32, Ordering::Relaxed);
    kernel::fcntl(line, libc::F_SETFD, 0).ok()?;
    Some(line)
}

pub(crate) fn inode_of(fd: i32) -> Result<u64, Errno> {
    // SAFETY: all zero is a valid structure of numbers.
    let mut status: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: the kernel writes a structure of ours.
    unsafe { kernel::call(libc::SYS_fstat, [fd as usize, (&raw mut status) as usize]) }?;
    Ok(status.st_ino)
}

/// In the new image.
extern "C" fn take_over_inherited() {
    // A program that was given no TCP socket has nothing to look for, and does not attach for it.
    if !any_open(is_tcp) {
        return;
    }
    let Some(stack) = startup::attach() else { return };
    let me = kernel::process_id() as u32;
    let slots = stack.region.processes().iter().zip(0u16..);
    let left = slots.filter(|(slot, number)| {
        *number != stack.me && slot.is_alive() && slot.pid.load(Ordering::Relaxed) == me
    });
    for (slot, number) in left {
        any_open(|fd| {
            if is_tcp(fd) && fds::lookup(fd) == Entry::Kernel {
                take_over(stack, fd, number);
            }
            false
        });
        let line = slot.line.load(Ordering::Relaxed) as i32;
        if is_line(line) {
            // The keeper takes it for the end of a process: what was not taken over is dropped.
            let _ = kernel::close(line);
        }
    }
}

/// Enters `fd` as what the old image, of slot `from`, had under it.
pub(crate) fn take_over(stack: &Stack, fd: i32, from: u16) {
    let Ok(inode) = inode_of(fd) else { return };
    for shard in 0..stack.shard_count() as u8 {
        let found = turn(shard, |s, _| {
            let socket = socket::by_inode(s, inode, from)?;
            socket::hold(s, socket, stack.me).ok()?;
            Some(socket)
        });
        let place = |handle| Place { shard, ipv6: is_ipv6(fd), handle };
        match found {
            Ok(Some(SocketRef::Connection(h))) => drop(fds::replace(fd, Entry::Connection(place(h.raw())))),
            Ok(Some(SocketRef::Listener(h))) => drop(fds::replace(fd, Entry::Listener(place(h.raw())))),
            _ => {}
        }
    }
}

fn number(fd: i32, name: c_int) -> Option<i32> {
    let (mut value, mut length) = (0i32, 4u32);
    let arguments = [
        fd as usize,
        libc::SOL_SOCKET as usize,
        name as usize,
        (&raw mut value) as usize,
        (&raw mut length) as usize,
    ];
    // SAFETY: the kernel writes one number of ours.
    unsafe { kernel::call(libc::SYS_getsockopt, arguments) }.ok().map(|_| value)
}

pub(crate) fn is_tcp(fd: i32) -> bool {
    number(fd, libc::SO_PROTOCOL) == Some(libc::IPPROTO_TCP)
}

fn is_ipv6(fd: i32) -> bool {
    number(fd, libc::SO_DOMAIN) == Some(libc::AF_INET6)
}

fn is_line(fd: i32) -> bool {
    number(fd, libc::SO_DOMAIN) == Some(libc::AF_UNIX)
        && number(fd, libc::SO_TYPE) == Some(libc::SOCK_SEQPACKET)
}

/// Whether `matches` holds for an open descriptor: asks for each until it does.
fn any_open(mut matches: impl FnMut(i32) -> bool) -> bool {
    const ROOM: usize = 1024;
    const NAME: usize = 19;
    let flags = (libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) as usize;
    let path = c"/proc/self/fd".as_ptr() as usize;
    // SAFETY: a string that ends with zero.
    let Ok(folder) = (unsafe { kernel::call(libc::SYS_openat, [libc::AT_FDCWD as usize, path, flags]) })
    else {
        return false;
    };
    let mut found = false;
    let mut records = [0u64; ROOM / 8];
    loop {
        let arguments = [folder, records.as_mut_ptr() as usize, ROOM];
        // SAFETY: the kernel writes as many bytes as there is room.
        let Ok(length @ 1..) = (unsafe { kernel::call(libc::SYS_getdents64, arguments) }) else { break };
        // SAFETY: the words as the bytes they are.
        let bytes = unsafe { core::slice::from_raw_parts(records.as_ptr().cast::<u8>(), length.min(ROOM)) };
        let mut rest = bytes;
        while let (Some(&[low, high]), Some(name)) = (rest.get(16..18), rest.get(NAME..)) {
            if let Some(fd) = decimal(name).filter(|&fd| fd as usize != folder) {
                found = found || matches(fd);
            }
            let record = usize::from(u16::from_ne_bytes([low, high]));
            rest = rest.get(record.max(NAME)..).unwrap_or_default();
        }
    }
    let _ = kernel::close(folder as i32);
    found
}

fn decimal(text: &[u8]) -> Option<i32> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    text.first().filter(|byte| byte.is_ascii_digit())?;
    digits.take(9).try_fold(0i32, |number, byte| number.checked_mul(10)?.checked_add(i32::from(byte - b'0')))
}

/// For exec functions that take the environment from `environ`.
pub(crate) fn environment() -> *const *const c_char {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: libc's variable, read as its own exec functions do.
    unsafe { environ }
}
