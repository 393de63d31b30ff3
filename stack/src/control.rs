//! What programs and the keeper say to each other over the control socket: one request, one reply, in order.
//!
//! The socket is an abstract `AF_UNIX` `SOCK_SEQPACKET` one, so it is private to a network namespace. Descriptors go
//! along as `SCM_RIGHTS`. The connection stands for the process: when it hangs up, the process has ended.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The abstract address, without its leading zero byte.
pub const ADDRESS: &[u8] = b"shunt";
/// Raised with every change of the messages.
pub const VERSION: u32 = 3;
/// Wakers whose bells are handed out together: those of a group, which starts at a multiple of this.
pub const BELLS_AT_ONCE: u32 = 16;
/// Descriptors in one message at most.
pub const MOST_DESCRIPTORS: usize = 72;

/// What is asked for. Each variant tells the request's arguments and descriptors, then the reply's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ask {
    /// `[VERSION, LAYOUT_VERSION]`, none. Reply: `[slot, shards, links, waker, keep_alive]` and the region, the
    /// keeper's eventfd, the XDP link (or /dev/null where there is none), the eventfd of `waker`, then the XSKs, link
    /// by link. The rings have their default sizes; link i belongs to shard i % shards.
    Hello = 1,
    /// A bell for one more thread. Reply: `[waker]` and its eventfd.
    NewWaker = 2,
    /// `[waker]`: another process's bell. Reply: `[first]` and the eventfds of the wakers from there on, `waker` among them.
    WakerBell = 3,
    /// `[waker]`: a thread has ended. Reply: nothing in it.
    FreeWaker = 4,
    /// The bound shadow goes along: steer its port to the region. Reply: `[addr, port]`, host order.
    Claim = 5,
    /// `[addr, port]`: nobody listens there any more. Reply: nothing in it.
    Release = 6,
    /// Before fork. Reply: `[slot, waker]` of the child, its control socket and the eventfd of its first waker.
    Fork = 7,
    /// `[Report]`: one of the keeper's reports as text, in a memfd. Reply: the memfd.
    Status = 8,
    /// `[force]`: end. Reply: `[programs]` still attached; the keeper ends if there are none or force is 1.
    Stop = 9,
    /// `[shard, connection]`: somebody is to have SIGURG for it. Reply: a descriptor whose owner (F_SETOWN) gets it.
    Own = 10,
}

impl Ask {
    pub fn from_number(n: u32) -> Option<Self> {
        use Ask::*;
        [Hello, NewWaker, WakerBell, FreeWaker, Claim, Release, Fork, Status, Stop, Own]
            .into_iter()
            .find(|a| *a as u32 == n)
    }
}

/// What the keeper can report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Report {
    /// Counters, and what the keeper had to say.
    Status = 0,
    /// The options of TCP and their meaning.
    Options = 1,
    /// The latest changes of connections' states, and how many there were of each kind.
    Trace = 2,
}

impl Report {
    pub fn from_number(n: u32) -> Option<Self> {
        use Report::*;
        [Status, Options, Trace].into_iter().find(|r| *r as u32 == n)
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, Debug)]
#[repr(C)]
pub struct Request {
    pub ask: u32,
    pub args: [u32; 7],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug)]
#[repr(C)]
pub struct Reply {
    /// 0, or the errno that says why not.
    pub errno: u32,
    pub args: [u32; 7],
    /// Why not, for the log: UTF-8, padded with zeros.
    pub text: [u8; 160],
}

impl Reply {
    pub const fn granted(args: [u32; 7]) -> Self {
        Self { errno: 0, args, text: [0; 160] }
    }

    pub fn refused(errno: u32, why: &str) -> Self {
        let mut reply = Self { errno: errno.max(1), ..Self::granted([0; 7]) };
        let mut end = why.len().min(reply.text.len());
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        reply.text[..end].copy_from_slice(&why.as_bytes()[..end]);
        reply
    }

    pub fn text(&self) -> &str {
        let end = self.text.iter().position(|&b| b == 0).unwrap_or(self.text.len());
        core::str::from_utf8(&self.text[..end]).unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let why = "é".repeat(200);
        assert_eq!(Reply::refused(1, &why).text(), "é".repeat(80));
    }
}
