//! `syscall()`: what a program asks for by number goes the way of its function.

use core::ffi::{c_int, c_uint};

use crate::kernel::{self, Outcome};
use crate::{epoll, poll, select};

use super::{descriptors, files, messages, options, sockets, transfer};

fn int(register: usize) -> c_int {
    register as c_int
}

/// # Safety
/// As the system call of that number.
pub(super) unsafe fn dispatch(number: i64, a: [usize; 6]) -> Outcome {
    let [fd, second, third, fourth, fifth, sixth] = a;
    let first = int(fd);
    // SAFETY: the program's own call, with its arguments as they lay in registers.
    unsafe {
        match number {
            libc::SYS_read => transfer::read(first, second as *mut _, third),
            libc::SYS_write => transfer::write(first, second as *const _, third),
            libc::SYS_readv => transfer::readv(first, second as *const _, int(third)),
            libc::SYS_writev => transfer::writev(first, second as *const _, int(third)),
            libc::SYS_recvfrom => transfer::recvfrom(
                first,
                second as *mut _,
                third,
                int(fourth),
                fifth as *mut _,
                sixth as *mut _,
            ),
            libc::SYS_sendto => transfer::sendto(
                first,
                second as *const _,
                third,
                int(fourth),
                fifth as *const _,
                sixth as libc::socklen_t,
            ),
            libc::SYS_recvmsg => messages::recvmsg(first, second as *mut _, int(third)),
            libc::SYS_sendmsg => messages::sendmsg(first, second as *const _, int(third)),
            libc::SYS_recvmmsg => {
                messages::recvmmsg(first, second as *mut _, third as c_uint, int(fourth), fifth as *mut _)
            }
            libc::SYS_sendmmsg => messages::sendmmsg(first, second as *mut _, third as c_uint, int(fourth)),
            libc::SYS_sendfile => files::sendfile(first, int(second), third as *mut _, fourth),
            libc::SYS_splice => {
                files::splice(first, second as *mut _, int(third), fourth as *mut _, fifth, sixth as c_uint)
            }
            libc::SYS_socket => sockets::socket(first, int(second), int(third)),
            libc::SYS_bind => sockets::bind(first, second as *const _, third as libc::socklen_t),
            libc::SYS_connect => sockets::connect(first, second as *const _, third as libc::socklen_t),
            libc::SYS_listen => sockets::listen(first, int(second)),
            libc::SYS_accept => sockets::accept(first, second as *mut _, third as *mut _),
            libc::SYS_accept4 => sockets::accept4(first, second as *mut _, third as *mut _, int(fourth)),
            libc::SYS_shutdown => sockets::shutdown(first, int(second)),
            libc::SYS_getsockname => sockets::getsockname(first, second as *mut _, third as *mut _),
            libc::SYS_getpeername => sockets::getpeername(first, second as *mut _, third as *mut _),
            libc::SYS_getsockopt => {
                options::getsockopt(first, int(second), int(third), fourth as *mut _, fifth as *mut _)
            }
            libc::SYS_setsockopt => options::setsockopt(
                first,
                int(second),
                int(third),
                fourth as *const _,
                fifth as libc::socklen_t,
            ),
            libc::SYS_poll => poll::poll(fd as *mut _, second as libc::nfds_t, int(third)),
            libc::SYS_ppoll if fourth == 0 || fifth == 8 => {
                poll::ppoll(fd as *mut _, second as libc::nfds_t, third as *const _, fourth as *const _)
            }
            libc::SYS_select => {
                select::select(first, second as *mut _, third as *mut _, fourth as *mut _, fifth as *mut _)
            }
            libc::SYS_epoll_create => epoll::epoll_create(first),
            libc::SYS_epoll_create1 => epoll::epoll_create1(first),
            libc::SYS_epoll_ctl => epoll::epoll_ctl(first, int(second), int(third), fourth as *mut _),
            libc::SYS_epoll_wait => epoll::epoll_wait(first, second as *mut _, int(third), int(fourth)),
            // A mask of another length than the kernel's is for the kernel to refuse.
            libc::SYS_epoll_pwait if fifth == 0 || sixth == 8 => {
                epoll::epoll_pwait(first, second as *mut _, int(third), int(fourth), fifth as *const _)
            }
            libc::SYS_epoll_pwait2 if fifth == 0 || sixth == 8 => epoll::epoll_pwait2(
                first,
                second as *mut _,
                int(third),
                fourth as *const _,
                fifth as *const _,
            ),
            libc::SYS_close => descriptors::close(first),
            libc::SYS_close_range => descriptors::close_range(fd as c_uint, second as c_uint, int(third)),
            libc::SYS_dup => descriptors::dup(first),
            libc::SYS_dup2 => descriptors::dup2(first, int(second)),
            libc::SYS_dup3 => descriptors::dup3(first, int(second), int(third)),
            libc::SYS_fcntl => descriptors::change(first, int(second), third),
            libc::SYS_ioctl => descriptors::control(first, second, third),
            _ => kernel::call(number, a),
        }
    }
}
