//! A program's memory, as the engine sees it: a place to take bytes from or to put them.
//!
//! The shim implements these with copies that survive a bad pointer; a short count means that one was met.

/// Bytes that a program sends.
pub trait Source {
    fn remaining(&self) -> usize;
    /// Fills `into`, which is no longer than what remains. Less than all: the program's memory cannot be read there.
    fn take(&mut self, into: &mut [u8]) -> usize;
}

/// Room for bytes that a program receives.
pub trait Sink {
    fn room(&self) -> usize;
    /// Takes `bytes`, which is no longer than the room. Less than all: the program's memory cannot be written there.
    fn put(&mut self, bytes: &[u8]) -> usize;
}

impl Source for &[u8] {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn take(&mut self, into: &mut [u8]) -> usize {
        let n = into.len().min(self.len());
        let (now, later) = self.split_at(n);
        into[..n].copy_from_slice(now);
        *self = later;
        n
    }
}

impl Sink for &mut [u8] {
    fn room(&self) -> usize {
        self.len()
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.len());
        let (now, later) = core::mem::take(self).split_at_mut(n);
        now.copy_from_slice(&bytes[..n]);
        *self = later;
        n
    }
}
