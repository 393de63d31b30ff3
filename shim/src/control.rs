//! Talking to the keeper: one request, one reply, over the control socket.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicI32, Ordering};

use stack::control::{ADDRESS, Ask, MOST_DESCRIPTORS, Reply, Request};
use zerocopy::{FromZeros, IntoBytes};

use crate::kernel::{self, Errno};
use crate::lock::Lock;
use crate::own::{self, Slot};
use crate::signals::LockedSection;

/// The control socket's slot, or -1.
static LINE: AtomicI32 = AtomicI32::new(-1);
/// One conversation at a time.
static BUSY: Lock = Lock::new();
/// A keeper that does not answer for so long is as good as none.
const PATIENCE_SECONDS: i64 = 3;

/// The descriptors that came with a reply, still at the numbers the kernel chose. Those not taken are closed.
pub(crate) struct Received {
    numbers: [i32; MOST_DESCRIPTORS],
    count: usize,
    taken: usize,
}

impl Received {
    /// The next one, as one of ours.
    pub(crate) fn next(&mut self) -> Result<Slot, Errno> {
        let number =
            *self.numbers.get(..self.count).and_then(|all| all.get(self.taken)).ok_or(Errno::PROTO)?;
        self.taken += 1;
        own::adopt(number)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        for number in self.numbers.get(self.taken..self.count).unwrap_or_default() {
            let _ = kernel::close(*number);
        }
    }
}

/// Held during a conversation, and over a fork.
pub(crate) struct Conversation {
    _section: LockedSection,
}

impl Conversation {
    pub(crate) fn begin() -> Conversation {
        let section = LockedSection::enter();
        BUSY.acquire();
        Conversation { _section: section }
    }

    /// The one that `begin` began and that was forgotten: held over a fork.
    pub(crate) fn held() -> Conversation {
        Conversation { _section: LockedSection::entered() }
    }

    /// Asks on the control socket.
    pub(crate) fn ask(
        &self,
        ask: Ask,
        arguments: &[u32],
        descriptor: Option<i32>,
    ) -> Result<(Reply, Received), Errno> {
        let line = line().ok_or(Errno::NOTCONN)?;
        let mut request = Request { ask: ask as u32, ..Request::default() };
        request.args.iter_mut().zip(arguments).for_each(|(to, from)| *to = *from);
        send(line, &request, descriptor)?;
        receive(line)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        BUSY.release();
    }
}

/// Asks, and takes a refusal as an error.
pub(crate) fn ask(ask: Ask, arguments: &[u32], descriptor: Option<i32>) -> Result<(Reply, Received), Errno> {
    let (reply, received) = Conversation::begin().ask(ask, arguments, descriptor)?;
    match reply.errno {
        0 => Ok((reply, received)),
        errno => Err(Errno::from_raw_os_error(errno as i32)),
    }
}

/// The control socket's number.
pub(crate) fn line() -> Option<i32> {
    let slot = LINE.load(Ordering::Relaxed);
    let number = u32::try_from(slot).ok().map(|slot| Slot::from_number(slot).number())?;
    (number >= 0).then_some(number)
}

/// Connects to the keeper of this network namespace.
pub(crate) fn connect() -> Result<(), Errno> {
    let kind = (libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC) as usize;
    // SAFETY: no memory is passed.
    let fd = unsafe { kernel::call(libc::SYS_socket, [libc::AF_UNIX as usize, kind, 0]) }? as i32;
    let slot = own::adopt(fd)?;
    let mut address = [0u8; 2 + 1 + 32];
    let [low, high, _, name @ ..] = &mut address;
    [*low, *high] = (libc::AF_UNIX as u16).to_ne_bytes();
    name.iter_mut().zip(ADDRESS).for_each(|(to, from)| *to = *from);
    let length = 3 + ADDRESS.len();
    let patience = [PATIENCE_SECONDS, 0];
    let options = [libc::SOL_SOCKET as usize, libc::SO_RCVTIMEO as usize];
    // SAFETY: the kernel reads our address and our timeval.
    let connected = unsafe {
        kernel::call(
            libc::SYS_setsockopt,
            [slot.number() as usize, options[0], options[1], patience.as_ptr() as usize, 16],
        )
        .and_then(|_| {
            kernel::call(libc::SYS_connect, [slot.number() as usize, address.as_ptr() as usize, length])
        })
    };
    match connected {
        Ok(_) => {
            adopt_line(slot);
            Ok(())
        }
        Err(error) => {
            own::release(slot);
            Err(error)
        }
    }
}

/// From now on this is the control socket; the one before is closed.
pub(crate) fn adopt_line(slot: Slot) {
    let before = LINE.swap(slot.index() as i32, Ordering::Relaxed);
    if let Ok(before) = u32::try_from(before) {
        own::release(Slot::from_number(before));
    }
}

pub(crate) fn hang_up() {
    if let Ok(before) = u32::try_from(LINE.swap(-1, Ordering::Relaxed)) {
        own::release(Slot::from_number(before));
    }
}

/// Room for one SCM_RIGHTS message, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Ancillary {
    header: libc::cmsghdr,
    numbers: [i32; MOST_DESCRIPTORS],
}

fn send(line: i32, request: &Request, descriptor: Option<i32>) -> Result<(), Errno> {
    let mut piece = libc::iovec {
        iov_base: request.as_bytes().as_ptr().cast_mut().cast(),
        iov_len: request.as_bytes().len(),
    };
    let header = libc::cmsghdr {
        cmsg_len: size_of::<libc::cmsghdr>() + size_of::<i32>(),
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    let mut ancillary = Ancillary { header, numbers: [0; MOST_DESCRIPTORS] };
    // SAFETY: all zero is an empty message.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    if let (Some(descriptor), Some(first)) = (descriptor, ancillary.numbers.first_mut()) {
        *first = descriptor;
        message.msg_control = (&raw mut ancillary).cast();
        message.msg_controllen = size_of::<libc::cmsghdr>() + 8;
    }
    let arguments = [line as usize, (&raw const message) as usize, libc::MSG_NOSIGNAL as usize];
    // SAFETY: the message points to live locals.
    unsafe { kernel::call(libc::SYS_sendmsg, arguments) }.map(|_| ())
}

fn receive(line: i32) -> Result<(Reply, Received), Errno> {
    let mut reply = Reply::new_zeroed();
    let expected = size_of::<Reply>();
    let mut piece = libc::iovec { iov_base: (&raw mut reply).cast(), iov_len: expected };
    let mut ancillary = MaybeUninit::<Ancillary>::zeroed();
    // SAFETY: all zero is an empty message.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = ancillary.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Ancillary>();
    let arguments = [line as usize, (&raw mut message) as usize, libc::MSG_CMSG_CLOEXEC as usize];
    let length = loop {
        // SAFETY: the message points to live locals.
        match unsafe { kernel::call(libc::SYS_recvmsg, arguments) } {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    // SAFETY: zeroed, then written by the kernel: plain numbers all.
    let ancillary = unsafe { ancillary.assume_init() };
    let mut received = Received { numbers: ancillary.numbers, count: 0, taken: 0 };
    if message.msg_controllen >= size_of::<libc::cmsghdr>()
        && (ancillary.header.cmsg_level, ancillary.header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS)
    {
        let bytes = ancillary.header.cmsg_len.saturating_sub(size_of::<libc::cmsghdr>());
        received.count = (bytes / size_of::<i32>()).min(MOST_DESCRIPTORS);
    }
    if length == expected { Ok((reply, received)) } else { Err(Errno::PROTO) }
}
