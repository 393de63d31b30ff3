//! Netlink's format: a header, a fixed part, attributes, all in the host's byte order and padded to four bytes.
//!
//! What comes from the kernel is cut up by length checks all the same: a short or odd message yields fewer fields, never a panic.

/// A message to the kernel.
pub(crate) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Request {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        bytes.resize(padded(bytes.len()), 0);
        Request { bytes }
    }

    /// All objects of a kind. `length` is the size of the fixed part, whose first byte is the address family.
    pub(crate) fn dump(kind: u16, family: u8, length: usize) -> Request {
        let mut fixed = vec![0; length];
        if let Some(first) = fixed.first_mut() {
            *first = family;
        }
        Request::new(kind, NLM_F_DUMP, &fixed)
    }

    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Request {
        let length = (ATTRIBUTE_HEADER + value.len()) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(padded(self.bytes.len()), 0);
        self
    }

    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// A message from the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

/// The messages of one datagram.
pub(super) fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    core::iter::from_fn(move || {
        let length = u32_at(rest, 0)? as usize;
        if length < HEADER || length > rest.len() {
            return None;
        }
        let (message, _) = rest.split_at(length);
        rest = rest.get(padded(length)..).unwrap_or(&[]);
        Some(Message {
            kind: u16_at(message, 4)?,
            sequence: u32_at(message, 8)?,
            body: message.get(HEADER..)?,
        })
    })
}

/// The attributes in `rest`: kind and value.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    core::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & ATTRIBUTE_KIND_MASK;
        if length < ATTRIBUTE_HEADER || length > rest.len() {
            return None;
        }
        let value = rest.get(ATTRIBUTE_HEADER..length)?;
        rest = rest.get(padded(length)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// The upper bits say "nested" and "big endian".
const ATTRIBUTE_KIND_MASK: u16 = 0x3fff;
const NLM_F_REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const NLM_F_DUMP: u16 = libc::NLM_F_DUMP as u16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_read_back() {
        let bytes = Request::new(24, 5, &[9, 8, 7]).attribute(3, b"five!").attribute(4, &[]).finish(77);
        let [message] = messages(&bytes).collect::<Vec<_>>()[..] else { panic!("one message") };
        assert_eq!((message.kind, message.sequence), (24, 77));
        assert_eq!(message.body.get(..3), Some(&[9, 8, 7][..]));
        let read: Vec<_> = attributes(&message.body[4..]).collect();
        assert_eq!(read, [(3, &b"five!"[..]), (4, &[][..])]);
    }

    #[test]
    fn cut_and_lying_lengths_end_the_reading() {
        let whole = Request::new(24, 0, &[0; 8]).attribute(3, &[1; 8]).finish(1);
        for cut in 0..whole.len() {
            assert_eq!(messages(&whole[..cut]).count(), 0, "cut at {cut}");
        }
        for length in [0u32, 15, 1000, u32::MAX] {
            let mut lying = whole.clone();
            lying[0..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(messages(&lying).count(), 0, "length {length}");
        }
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0, "shorter than its own header");
        assert_eq!(attributes(&[9, 0, 1, 0, 0]).count(), 0, "longer than what is there");
        assert_eq!(
            attributes(&[5, 0, 1, 0, 7]).collect::<Vec<_>>(),
            [(1, &[7][..])],
            "the last one may lack its padding"
        );
    }
}
