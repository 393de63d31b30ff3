//! The states of RFC 9293 3.3.2.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A state, numbered as Linux does. A number that is none of them counts as closed.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct State(pub u8);

impl State {
    pub const ESTABLISHED: Self = Self(1);
    pub const SYN_SENT: Self = Self(2);
    pub const SYN_RECEIVED: Self = Self(3);
    pub const FIN_WAIT_1: Self = Self(4);
    pub const FIN_WAIT_2: Self = Self(5);
    pub const TIME_WAIT: Self = Self(6);
    pub const CLOSED: Self = Self(7);
    pub const CLOSE_WAIT: Self = Self(8);
    pub const LAST_ACK: Self = Self(9);
    pub const LISTEN: Self = Self(10);
    pub const CLOSING: Self = Self(11);

    const fn is_in(self, states: &[State]) -> bool {
        let mut set = 0u32;
        let mut i = 0;
        while i < states.len() {
            set |= 1 << states[i].0;
            i += 1;
        }
        self.0 < 32 && set >> self.0 & 1 != 0
    }

    /// Both SYNs are acknowledged.
    pub const fn is_synchronized(self) -> bool {
        self.is_in(&[
            Self::ESTABLISHED,
            Self::FIN_WAIT_1,
            Self::FIN_WAIT_2,
            Self::CLOSE_WAIT,
            Self::CLOSING,
            Self::LAST_ACK,
            Self::TIME_WAIT,
        ])
    }

    /// The peer may still send.
    pub const fn may_receive(self) -> bool {
        self.is_in(&[Self::ESTABLISHED, Self::FIN_WAIT_1, Self::FIN_WAIT_2])
    }

    /// Queued bytes and the FIN may go out.
    pub const fn may_transmit(self) -> bool {
        self.is_in(&[Self::ESTABLISHED, Self::CLOSE_WAIT, Self::FIN_WAIT_1, Self::CLOSING, Self::LAST_ACK])
    }

    /// The program may write.
    pub const fn may_write(self) -> bool {
        self.is_in(&[Self::ESTABLISHED, Self::CLOSE_WAIT])
    }

    /// The handshake is under way.
    pub const fn is_opening(self) -> bool {
        self.is_in(&[Self::SYN_SENT, Self::SYN_RECEIVED])
    }

    pub const fn is_closed(self) -> bool {
        !self.is_in(&[
            Self::ESTABLISHED,
            Self::SYN_SENT,
            Self::SYN_RECEIVED,
            Self::FIN_WAIT_1,
            Self::FIN_WAIT_2,
            Self::TIME_WAIT,
            Self::CLOSE_WAIT,
            Self::LAST_ACK,
            Self::LISTEN,
            Self::CLOSING,
        ])
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::ESTABLISHED => "ESTABLISHED",
            Self::SYN_SENT => "SYN_SENT",
            Self::SYN_RECEIVED => "SYN_RECEIVED",
            Self::FIN_WAIT_1 => "FIN_WAIT_1",
            Self::FIN_WAIT_2 => "FIN_WAIT_2",
            Self::TIME_WAIT => "TIME_WAIT",
            Self::CLOSE_WAIT => "CLOSE_WAIT",
            Self::LAST_ACK => "LAST_ACK",
            Self::LISTEN => "LISTEN",
            Self::CLOSING => "CLOSING",
            _ => "CLOSED",
        }
    }
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
