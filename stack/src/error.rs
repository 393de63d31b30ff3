//! What a socket call can answer, and the errno of each.

/// Why a call failed, as Linux names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    Again,
    InProgress,
    Already,
    IsConnected,
    NotConnected,
    Refused,
    Reset,
    Aborted,
    Pipe,
    TimedOut,
    HostUnreachable,
    NetUnreachable,
    AddressInUse,
    AddressNotAvailable,
    Invalid,
    Fault,
    NoBuffers,
    NoMemory,
    NotSupported,
    NoProtocolOption,
    BadDescriptor,
    MessageSize,
    DestinationRequired,
    Interrupted,
    Exists,
    NoEntry,
    Permission,
    Protocol,
    HostDown,
    NoNetwork,
}

const ERRNOS: [(Error, i32); 30] = [
    (Error::Again, 11),
    (Error::InProgress, 115),
    (Error::Already, 114),
    (Error::IsConnected, 106),
    (Error::NotConnected, 107),
    (Error::Refused, 111),
    (Error::Reset, 104),
    (Error::Aborted, 103),
    (Error::Pipe, 32),
    (Error::TimedOut, 110),
    (Error::HostUnreachable, 113),
    (Error::NetUnreachable, 101),
    (Error::AddressInUse, 98),
    (Error::AddressNotAvailable, 99),
    (Error::Invalid, 22),
    (Error::Fault, 14),
    (Error::NoBuffers, 105),
    (Error::NoMemory, 12),
    (Error::NotSupported, 95),
    (Error::NoProtocolOption, 92),
    (Error::BadDescriptor, 9),
    (Error::MessageSize, 90),
    (Error::DestinationRequired, 89),
    (Error::Interrupted, 4),
    (Error::Exists, 17),
    (Error::NoEntry, 2),
    (Error::Permission, 1),
    (Error::Protocol, 71),
    (Error::HostDown, 112),
    (Error::NoNetwork, 64),
];

impl Error {
    pub const fn errno(self) -> i32 {
        ERRNOS[self as usize].1
    }

    /// The error that a region's field holds as a number; 0 and numbers that we do not use are none.
    pub fn from_errno(errno: u32) -> Option<Self> {
        ERRNOS.iter().find(|(_, n)| *n as u32 == errno).map(|(e, _)| *e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_stands_at_its_own_place_in_the_table() {
        for (i, (error, errno)) in ERRNOS.iter().enumerate() {
            assert_eq!(*error as usize, i);
            assert_eq!(Error::from_errno(*errno as u32), Some(*error));
        }
    }
}
