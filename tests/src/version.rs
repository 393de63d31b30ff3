//! Two versions of shunt in one namespace: a program that speaks another one to a keeper, and a keeper that refuses.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use stack::control::{ADDRESS, Ask, Reply, Request, VERSION};
use stack::region::LAYOUT_VERSION;
use zerocopy::{FromZeros, IntoBytes};

use crate::Outcome;
use crate::rig::{Rig, Side};

/// What the keeper answers to a program whose region would be laid out differently.
pub fn answer_to_other_layout(rig: &Rig, side: Side) -> Outcome<Reply> {
    in_namespace(rig, side, || {
        let socket = seqpacket()?;
        with_address(|address, length| {
            // SAFETY: the pointer and the length are those of an address.
            unsafe { libc::connect(socket.as_raw_fd(), address, length) }
        })?;
        let request = Request { ask: Ask::Hello as u32, args: [VERSION, LAYOUT_VERSION + 1, 0, 0, 0, 0, 0] };
        send(&socket, request.as_bytes())?;
        let mut reply = Reply::new_zeroed();
        receive(&socket, reply.as_mut_bytes())?;
        Ok(reply)
    })
}

/// Stands where the keeper would, and refuses everybody with this line. It does so until the case ends.
pub fn refuse_everybody(rig: &Rig, side: Side, line: &'static str) -> Outcome {
    let listener = in_namespace(rig, side, || {
        let socket = seqpacket()?;
        with_address(|address, length| {
            // SAFETY: the pointer and the length are those of an address.
            unsafe { libc::bind(socket.as_raw_fd(), address, length) }
        })?;
        // SAFETY: takes numbers alone.
        checked(unsafe { libc::listen(socket.as_raw_fd(), 16) })?;
        Ok(socket)
    })?;
    std::thread::spawn(move || {
        while let Ok(peer) = accept(&listener) {
            std::thread::spawn(move || {
                let mut request = Request::new_zeroed();
                while receive(&peer, request.as_mut_bytes()).is_ok_and(|length| length > 0) {
                    let reply = Reply::refused(libc::EPROTO.cast_unsigned(), line);
                    if send(&peer, reply.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok(())
}

/// A socket belongs to the namespace that its maker was in: only the thread that makes it enters, and it ends here.
fn in_namespace<T: Send + 'static>(
    rig: &Rig,
    side: Side,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Outcome<T> {
    let namespace = format!("/run/netns/{}", rig.namespace(side));
    let worker = std::thread::spawn(move || {
        let namespace = File::open(namespace)?;
        // SAFETY: the descriptor is open; setns touches no memory.
        checked(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })?;
        work()
    });
    match worker.join() {
        Ok(result) => result.map_err(|error| format!("the control socket: {error}")),
        Err(_) => Err("the control socket's thread broke".to_owned()),
    }
}

fn seqpacket() -> io::Result<OwnedFd> {
    // SAFETY: takes numbers alone.
    let number =
        checked(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: just opened, with no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: null pointers ask for no address.
    let number =
        checked(unsafe { libc::accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut()) })?;
    // SAFETY: just opened, with no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn with_address(call: impl FnOnce(*const libc::sockaddr, u32) -> libc::c_int) -> io::Result<()> {
    // SAFETY: zeros are a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    // An abstract address begins with a zero byte and ends with its length.
    for (to, from) in address.sun_path[1..].iter_mut().zip(ADDRESS) {
        *to = from.cast_signed();
    }
    let length = std::mem::offset_of!(libc::sockaddr_un, sun_path) + 1 + ADDRESS.len();
    checked(call((&raw const address).cast(), length as u32)).map(|_| ())
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of `bytes`.
    counted(unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) })
}

fn receive(socket: &OwnedFd, bytes: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of `bytes`.
    counted(unsafe { libc::recv(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), 0) })
}

fn counted(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
