//! Which port a descriptor really holds: the kernel's word for it, not the program's.

use std::net::Ipv4Addr;

use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddr, SocketType, getsockname, sockopt};

/// A local address (unspecified for any) and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
}

/// Accepts a TCP socket of this network namespace that is bound to a port for IPv4.
pub(crate) fn port_held_by(socket: impl AsFd) -> Result<Held, &'static str> {
    let not_a_socket = |_: Errno| "the descriptor is not a socket";
    if sockopt::socket_type(&socket).map_err(not_a_socket)? != SocketType::STREAM {
        return Err("the descriptor is not a stream socket");
    }
    if sockopt::socket_protocol(&socket).map_err(not_a_socket)? != Some(rustix::net::ipproto::TCP) {
        return Err("the socket does not speak TCP");
    }
    if namespace_of(&socket)? != own_namespace()? {
        return Err("the socket belongs to another network namespace");
    }
    let name = getsockname(&socket).map_err(not_a_socket)?;
    let (address, port) =
        match SocketAddr::try_from(name).map_err(|_| "the socket has no Internet address")? {
            SocketAddr::V4(name) => (*name.ip(), name.port()),
            SocketAddr::V6(name) => match name.ip().to_ipv4_mapped() {
                Some(address) => (address, name.port()),
                None if !name.ip().is_unspecified() => return Err("the socket is bound to an IPv6 address"),
                None if sockopt::ipv6_v6only(&socket).unwrap_or(true) => {
                    return Err("the socket takes IPv6 alone");
                }
                None => (Ipv4Addr::UNSPECIFIED, name.port()),
            },
        };
    if port == 0 {
        return Err("the socket is not bound to a port");
    }
    Ok(Held { address, port })
}

fn own_namespace() -> Result<u64, &'static str> {
    let own = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None);
    namespace_of(own.map_err(|_| "the keeper cannot tell its network namespace")?)
}

fn namespace_of(socket: impl AsFd) -> Result<u64, &'static str> {
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, which is that long.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(cookie)
    } else {
        Err("the kernel does not tell the network namespace of a socket (Linux 5.14 does)")
    }
}

const SO_NETNS_COOKIE: libc::c_int = 71;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use rustix::fd::BorrowedFd;

    use super::*;
    use crate::test_rig::Rig;

    fn proof(socket: &impl std::os::fd::AsRawFd) -> Result<Held, &'static str> {
        // SAFETY: the descriptor is open for as long as `socket` is borrowed.
        port_held_by(unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) })
    }

    #[test]
    fn the_port_is_the_one_that_the_kernel_gave() {
        let one = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = one.local_addr().expect("its address").port();
        assert_eq!(proof(&one), Ok(Held { address: Ipv4Addr::LOCALHOST, port }));
        let any = TcpListener::bind("[::]:0").expect("bound");
        let port = any.local_addr().expect("its address").port();
        assert_eq!(proof(&any), Ok(Held { address: Ipv4Addr::UNSPECIFIED, port }), "takes IPv4, too");
    }

    #[test]
    fn whatever_is_no_bound_tcp_socket_proves_nothing() {
        assert!(proof(&std::fs::File::open("/dev/null").expect("open")).is_err());
        assert!(proof(&UdpSocket::bind("127.0.0.1:0").expect("bound")).is_err());
        assert!(proof(&TcpListener::bind("[::1]:0").expect("bound")).is_err());
        let unbound = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        assert_eq!(port_held_by(&unbound), Err("the socket is not bound to a port"));
        let unix = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
        assert!(port_held_by(&unix).is_err());
    }

    #[test]
    fn a_port_of_another_network_namespace_proves_nothing_here() {
        let Some(rig) = Rig::up() else { return };
        let elsewhere = rig.there(|| TcpListener::bind("0.0.0.0:22").expect("bound"));
        assert_eq!(proof(&elsewhere), Err("the socket belongs to another network namespace"));
    }
}
