//! The control socket's mechanics: requests and replies with descriptors, both ends.

use std::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, recvmsg,
    sendmsg, socket_with,
};
use stack::control::{ADDRESS, MOST_DESCRIPTORS, Reply, Request};
use zerocopy::{FromBytes, IntoBytes};

/// Takes the address, which makes this process the keeper of its network namespace. Nobody can connect before `open`.
pub(crate) fn claim_address() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(&socket, &SocketAddrUnix::new_abstract_name(ADDRESS)?)?;
    Ok(socket)
}

pub(crate) fn open(socket: &OwnedFd) -> Result<(), Errno> {
    listen(socket, 128)
}

/// Connects to the keeper of this network namespace; CONNREFUSED if there is none.
pub(crate) fn reach_keeper() -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new_abstract_name(ADDRESS)?)?;
    Ok(socket)
}

/// Asks the keeper and waits for the answer.
pub(crate) fn ask(socket: &OwnedFd, request: Request) -> Result<(Reply, Vec<OwnedFd>), Errno> {
    ask_with(socket, request, &[])
}

pub(crate) fn ask_with(
    socket: &OwnedFd,
    request: Request,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(Reply, Vec<OwnedFd>), Errno> {
    send(socket.as_fd(), request.as_bytes(), descriptors)?;
    let mut reply = Reply::granted([0; 7]);
    let (length, descriptors) = receive(socket.as_fd(), reply.as_mut_bytes())?;
    if length != size_of::<Reply>() {
        return Err(Errno::CONNRESET);
    }
    Ok((reply, descriptors))
}

/// What came: a request, or the end.
pub(crate) enum Incoming {
    Request(Request, Vec<OwnedFd>),
    /// A message of another size than a request's.
    Malformed,
    Hangup,
    Nothing,
}

pub(crate) fn next_request(socket: BorrowedFd<'_>) -> Incoming {
    // One byte more, so that a longer message is seen to be longer.
    let mut bytes = [0u8; size_of::<Request>() + 1];
    match receive(socket, &mut bytes) {
        Ok((0, _)) => Incoming::Hangup,
        Ok((length, descriptors)) => match bytes.get(..length).map(Request::read_from_bytes) {
            Some(Ok(request)) => Incoming::Request(request, descriptors),
            _ => Incoming::Malformed,
        },
        Err(Errno::AGAIN | Errno::INTR) => Incoming::Nothing,
        Err(_) => Incoming::Hangup,
    }
}

pub(crate) fn answer(
    socket: BorrowedFd<'_>,
    reply: &Reply,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    send(socket, reply.as_bytes(), descriptors)
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG);
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(socket, &mut [IoSliceMut::new(into)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for control in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = control {
            descriptors.extend(rights);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Errno::TOOBIG);
    }
    Ok((message.bytes, descriptors))
}

#[cfg(test)]
mod tests {
    use rustix::net::socketpair;

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a pair")
    }

    #[test]
    fn descriptors_travel_with_a_reply() {
        let (keeper, program) = pair();
        let sent: Vec<_> = (0..MOST_DESCRIPTORS).map(|_| keeper.as_fd()).collect();
        answer(keeper.as_fd(), &Reply::granted([7; 7]), &sent).expect("sent");
        let mut reply = Reply::granted([0; 7]);
        let (length, descriptors) = receive(program.as_fd(), reply.as_mut_bytes()).expect("received");
        assert_eq!((length, reply.args, descriptors.len()), (size_of::<Reply>(), [7; 7], MOST_DESCRIPTORS));
    }

    #[test]
    fn what_is_not_a_request_is_told_apart() {
        let (keeper, program) = pair();
        assert!(matches!(next_request(keeper.as_fd()), Incoming::Nothing));
        for length in [1, size_of::<Request>() - 1, size_of::<Request>() + 1, 500] {
            send(program.as_fd(), &vec![1; length], &[]).expect("sent");
            assert!(matches!(next_request(keeper.as_fd()), Incoming::Malformed), "{length} bytes");
        }
        send(program.as_fd(), Request { ask: 4, args: [1, 2, 3, 4, 5, 6, 7] }.as_bytes(), &[program.as_fd()])
            .expect("sent");
        match next_request(keeper.as_fd()) {
            Incoming::Request(request, descriptors) => {
                assert_eq!((request.ask, request.args[6], descriptors.len()), (4, 7, 1));
            }
            _ => panic!("a request"),
        }
        drop(program);
        assert!(matches!(next_request(keeper.as_fd()), Incoming::Hangup));
    }
}
