//! The one table of symbols: name, signature, what implements it, and the other names libc gives the same function.
//!
//! A row marked `libc` is compared with the libc crate's declaration when this compiles. A row marked `glibc` has none
//! there (fortified twins, old names). Functions with variable arguments are in `trampolines`. What is not
//! here is not taken over: GLIBC_PRIVATE names are used between glibc's own libraries, whose sockets stay the kernel's.

use core::ffi::{c_char, c_int, c_uint, c_void};

use super::{descriptors, files, messages, options, processes, signals, sockets, streams, transfer};
use crate::errno::give_back;
use crate::{epoll, poll, select};

macro_rules! hooks {
    ($($origin:ident $name:ident $arguments:tt -> $result:ty = $implementation:path
        $(, also $($alias:ident)+)?;)*) => {
        $(
            check!($origin $name $arguments -> $result);
            export!($name $arguments -> $result = $implementation);
            $($(export!($alias $arguments -> $result = $implementation);)+)?
        )*
    };
}

macro_rules! check {
    (libc $name:ident ($($argument:ident: $type:ty),*) -> $result:ty) => {
        const _: unsafe extern "C" fn($($type),*) -> $result = libc::$name;
    };
    (glibc $name:ident $arguments:tt -> $result:ty) => {};
}

macro_rules! export {
    ($name:ident ($($argument:ident: $type:ty),*) -> $result:ty = $implementation:path) => {
        /// # Safety
        /// As the function of this name in the manual.
        #[allow(unreachable_pub, non_snake_case, reason = "exported by name")]
        #[cfg_attr(not(test), unsafe(no_mangle))]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            // SAFETY: the program's arguments, for which it answers as it does to libc.
            give_back(unsafe { $implementation($($argument),*) })
        }
    };
}

type Handler = libc::sighandler_t;
type Address = *const libc::sockaddr;
type AddressRoom = *mut libc::sockaddr;
type LengthRoom = *mut libc::socklen_t;
type Pieces = *const libc::iovec;
type Length = libc::socklen_t;
type Set = *mut libc::fd_set;
type Strings = *const *const c_char;

hooks! {
    libc socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int = sockets::socket;
    libc bind(fd: c_int, address: Address, length: Length) -> c_int = sockets::bind;
    libc listen(fd: c_int, backlog: c_int) -> c_int = sockets::listen;
    libc connect(fd: c_int, address: Address, length: Length) -> c_int = sockets::connect, also __connect;
    libc accept(fd: c_int, address: AddressRoom, length: LengthRoom) -> c_int = sockets::accept;
    libc accept4(fd: c_int, address: AddressRoom, length: LengthRoom, flags: c_int) -> c_int = sockets::accept4;
    libc shutdown(fd: c_int, how: c_int) -> c_int = sockets::shutdown;
    libc getsockname(fd: c_int, address: AddressRoom, length: LengthRoom) -> c_int = sockets::getsockname;
    libc getpeername(fd: c_int, address: AddressRoom, length: LengthRoom) -> c_int = sockets::getpeername;
    libc getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: LengthRoom) -> c_int
        = options::getsockopt;
    libc setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, length: Length) -> c_int
        = options::setsockopt;

    libc read(fd: c_int, buffer: *mut c_void, length: usize) -> isize = transfer::read, also __read;
    libc write(fd: c_int, buffer: *const c_void, length: usize) -> isize = transfer::write, also __write;
    libc readv(fd: c_int, pieces: Pieces, count: c_int) -> isize = transfer::readv;
    libc writev(fd: c_int, pieces: Pieces, count: c_int) -> isize = transfer::writev;
    libc preadv2(fd: c_int, pieces: Pieces, count: c_int, offset: libc::off_t, flags: c_int) -> isize
        = transfer::preadv2, also preadv64v2;
    libc pwritev2(fd: c_int, pieces: Pieces, count: c_int, offset: libc::off_t, flags: c_int) -> isize
        = transfer::pwritev2, also pwritev64v2;
    libc recv(fd: c_int, buffer: *mut c_void, length: usize, flags: c_int) -> isize = transfer::recv;
    libc recvfrom(fd: c_int, buffer: *mut c_void, length: usize, flags: c_int, address: AddressRoom,
        address_length: LengthRoom) -> isize = transfer::recvfrom;
    libc send(fd: c_int, buffer: *const c_void, length: usize, flags: c_int) -> isize
        = transfer::send, also __send;
    libc sendto(fd: c_int, buffer: *const c_void, length: usize, flags: c_int, address: Address,
        address_length: Length) -> isize = transfer::sendto;
    libc recvmsg(fd: c_int, message: *mut libc::msghdr, flags: c_int) -> isize = messages::recvmsg;
    libc sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int) -> isize = messages::sendmsg;
    libc recvmmsg(fd: c_int, messages: *mut libc::mmsghdr, count: c_uint, flags: c_int,
        timeout: *mut libc::timespec) -> c_int = messages::recvmmsg;
    libc sendmmsg(fd: c_int, messages: *mut libc::mmsghdr, count: c_uint, flags: c_int) -> c_int
        = messages::sendmmsg;
    libc sendfile(out: c_int, input: c_int, offset: *mut libc::off_t, count: usize) -> isize
        = files::sendfile, also sendfile64;
    libc splice(input: c_int, input_offset: *mut libc::loff_t, out: c_int, out_offset: *mut libc::loff_t,
        count: usize, flags: c_uint) -> isize = files::splice;

    glibc __read_chk(fd: c_int, buffer: *mut c_void, length: usize, room: usize) -> isize
        = transfer::read_checked;
    glibc __recv_chk(fd: c_int, buffer: *mut c_void, length: usize, room: usize, flags: c_int) -> isize
        = transfer::recv_checked;
    glibc __recvfrom_chk(fd: c_int, buffer: *mut c_void, length: usize, room: usize, flags: c_int,
        address: AddressRoom, address_length: LengthRoom) -> isize = transfer::recvfrom_checked;

    glibc sockatmark(fd: c_int) -> c_int = descriptors::sockatmark;
    libc close(fd: c_int) -> c_int = descriptors::close, also __close;
    libc close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int = descriptors::close_range;
    glibc closefrom(first: c_int) -> () = descriptors::closefrom;
    libc dup(fd: c_int) -> c_int = descriptors::dup;
    libc dup2(old: c_int, new: c_int) -> c_int = descriptors::dup2, also __dup2;
    libc dup3(old: c_int, new: c_int, flags: c_int) -> c_int = descriptors::dup3;

    glibc fdopen(fd: c_int, mode: *const c_char) -> *mut c_void = streams::fdopen, also _IO_fdopen;
    glibc vdprintf(fd: c_int, format: *const c_char, list: *mut c_void) -> c_int = streams::vdprintf;
    glibc __vdprintf_chk(fd: c_int, checks: c_int, format: *const c_char, list: *mut c_void) -> c_int
        = streams::vdprintf_checked;
    libc execve(path: *const c_char, arguments: Strings, variables: Strings) -> c_int = processes::execve;
    libc execv(path: *const c_char, arguments: Strings) -> c_int = processes::execv;
    libc execvp(file: *const c_char, arguments: Strings) -> c_int = processes::execvp;
    libc execvpe(file: *const c_char, arguments: Strings, variables: Strings) -> c_int = processes::execvpe;
    libc fexecve(fd: c_int, arguments: Strings, variables: Strings) -> c_int = processes::fexecve;
    glibc execveat(folder: c_int, path: *const c_char, arguments: Strings, variables: Strings, flags: c_int)
        -> c_int = processes::execveat;

    libc poll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int = poll::poll, also __poll;
    libc ppoll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: *const libc::timespec,
        mask: *const libc::sigset_t) -> c_int = poll::ppoll;
    glibc __poll_chk(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int, room: usize) -> c_int
        = poll::poll_checked;
    glibc __ppoll_chk(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: *const libc::timespec,
        mask: *const libc::sigset_t, room: usize) -> c_int = poll::ppoll_checked;
    libc select(count: c_int, readable: Set, writable: Set, exceptional: Set, timeout: *mut libc::timeval)
        -> c_int = select::select, also __select;
    libc pselect(count: c_int, readable: Set, writable: Set, exceptional: Set,
        timeout: *const libc::timespec, mask: *const libc::sigset_t) -> c_int = select::pselect;
    libc epoll_create(size: c_int) -> c_int = epoll::epoll_create;
    libc epoll_create1(flags: c_int) -> c_int = epoll::epoll_create1;
    libc epoll_ctl(set: c_int, operation: c_int, fd: c_int, event: *mut libc::epoll_event) -> c_int
        = epoll::epoll_ctl;
    libc epoll_wait(set: c_int, events: *mut libc::epoll_event, most: c_int, timeout: c_int) -> c_int
        = epoll::epoll_wait;
    libc epoll_pwait(set: c_int, events: *mut libc::epoll_event, most: c_int, timeout: c_int,
        mask: *const libc::sigset_t) -> c_int = epoll::epoll_pwait;
    glibc epoll_pwait2(set: c_int, events: *mut libc::epoll_event, most: c_int,
        timeout: *const libc::timespec, mask: *const libc::sigset_t) -> c_int = epoll::epoll_pwait2;

    glibc _Fork() -> libc::pid_t = processes::fork_bare;

    libc sigaction(signal: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> c_int
        = signals::sigaction, also __sigaction;
    libc signal(signal: c_int, handler: Handler) -> Handler = signals::signal, also bsd_signal ssignal;
    glibc sysv_signal(signal: c_int, handler: Handler) -> Handler = signals::sysv_signal, also __sysv_signal;
    glibc sigset(signal: c_int, handler: Handler) -> Handler = signals::sigset;
    glibc sigignore(signal: c_int) -> c_int = signals::sigignore;
    glibc siginterrupt(signal: c_int, interrupt: c_int) -> c_int = signals::siginterrupt;
}
