//! Socket addresses between C and the stack. A socket made as AF_INET6 speaks IPv4 through mapped addresses.

use core::ffi::c_void;

use stack::ip::net::Addr;
use stack::socket::Endpoint;

use crate::kernel::Errno;
use crate::user_memory;

/// The largest address that a program may pass or is given.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Raw {
    pub(crate) bytes: [u8; 128],
    pub(crate) length: usize,
}

const IPV4_LENGTH: usize = size_of::<libc::sockaddr_in>();
const IPV6_LENGTH: usize = size_of::<libc::sockaddr_in6>();
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

impl Raw {
    /// What the program passes to connect().
    pub(crate) fn from_program(at: *const c_void, length: usize) -> Result<Raw, Errno> {
        let mut raw = Raw { bytes: [0; 128], length };
        let into = raw.bytes.get_mut(..length).ok_or(Errno::INVAL)?;
        if user_memory::copy_in(into, at.cast()) < length {
            return Err(Errno::FAULT);
        }
        Ok(raw)
    }

    /// It is too short for its family.
    pub(crate) fn is_short(&self) -> bool {
        let family = i32::from(u16::from_ne_bytes([self.bytes[0], self.bytes[1]]));
        match family {
            libc::AF_INET => self.length < IPV4_LENGTH,
            libc::AF_INET6 => self.length < IPV6_LENGTH - 4,
            _ => false,
        }
    }

    /// The IPv4 endpoint it names, if it does.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        let b = &self.bytes;
        let family = i32::from(u16::from_ne_bytes([b[0], b[1]]));
        let port = u16::from_be_bytes([b[2], b[3]]);
        match family {
            libc::AF_INET if self.length >= IPV4_LENGTH => {
                Some((Addr(u32::from_be_bytes([b[4], b[5], b[6], b[7]])), port))
            }
            // LINUX: the scope may be missing (SIN6_LEN_RFC2133).
            libc::AF_INET6 if self.length >= IPV6_LENGTH - 4 => {
                let (prefix, last) = b.get(8..24)?.split_at(12);
                let any = prefix.iter().chain(last).all(|&byte| byte == 0);
                let addr = Addr(u32::from_be_bytes(last.try_into().ok()?));
                (any || prefix == MAPPED).then_some((addr, port))
            }
            _ => None,
        }
    }

    pub(crate) fn of(endpoint: Endpoint, ipv6: bool) -> Raw {
        let mut raw = Raw { bytes: [0; 128], length: if ipv6 { IPV6_LENGTH } else { IPV4_LENGTH } };
        let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET } as u16;
        let b = &mut raw.bytes;
        [b[0], b[1]] = family.to_ne_bytes();
        [b[2], b[3]] = endpoint.1.to_be_bytes();
        let address = endpoint.0.0.to_be_bytes();
        if ipv6 {
            b[8..20].copy_from_slice(&MAPPED);
            b[20..24].copy_from_slice(&address);
        } else {
            b[4..8].copy_from_slice(&address);
        }
        raw
    }

    /// Gives it to the program as accept() and getsockname() do: cut to the room there is, with its true length.
    pub(crate) fn to_program(self, at: *mut c_void, length_at: *mut libc::socklen_t) -> Result<(), Errno> {
        let room = user_memory::read(length_at)? as i32;
        let room = usize::try_from(room).map_err(|_| Errno::INVAL)?;
        let bytes = self.bytes.get(..room.min(self.length)).unwrap_or_default();
        if user_memory::copy_out(at.cast(), bytes) < bytes.len() {
            return Err(Errno::FAULT);
        }
        user_memory::write(length_at, &(self.length as libc::socklen_t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_survives_both_families() {
        for endpoint in [(Addr(0x0a63_0001), 8080), (Addr(u32::MAX), u16::MAX), (Addr(1), 1)] {
            for ipv6 in [false, true] {
                assert_eq!(Raw::of(endpoint, ipv6).endpoint(), Some(endpoint));
            }
        }
    }

    #[test]
    fn true_ipv6_and_short_addresses_name_no_endpoint() {
        let mut raw = Raw::of((Addr(1), 80), true);
        raw.bytes[8] = 0x20;
        assert_eq!(raw.endpoint(), None);
        for ipv6 in [false, true] {
            let mut raw = Raw::of((Addr(1), 80), ipv6);
            assert!(!raw.is_short());
            raw.length = if ipv6 { 23 } else { 15 };
            assert!(raw.is_short());
            assert_eq!(raw.endpoint(), None);
        }
    }

    #[test]
    fn an_address_is_cut_to_the_room_and_tells_its_true_length() {
        let raw = Raw::of((Addr(0x7f00_0001), 80), false);
        let (mut room, mut length) = ([0x5au8; 20], 6 as libc::socklen_t);
        raw.to_program(room.as_mut_ptr().cast(), &raw mut length).expect("written");
        assert_eq!(length, 16);
        assert_eq!(room[..6], raw.bytes[..6]);
        assert_eq!(room[6..], [0x5a; 14]);
        let mut negative = -1i32 as libc::socklen_t;
        assert_eq!(raw.to_program(room.as_mut_ptr().cast(), &raw mut negative), Err(Errno::INVAL));
    }
}
