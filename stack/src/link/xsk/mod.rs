//! An AF_XDP socket: four rings over one UMEM, on one queue of one card.
//!
//! The keeper makes it (`create`); every process that was passed its descriptor maps the same rings (`attach`). All
//! methods take `&self`: whoever produces or consumes holds the shard's lock, and whoever only looks (`rx_available`)
//! holds nothing. See `ring.rs` for why no index is remembered here.
//!
//! Addresses are byte offsets into the UMEM. A received address points at the first byte of the Ethernet header, not at
//! the start of its chunk; the caller checks it against its own bounds, because what stands in a ring is not to be trusted.

mod bind;
mod error;
mod kick;
mod map;
mod ring;
mod stats;
mod umem;

#[cfg(test)]
mod tests;

use core::sync::atomic::{AtomicI32, Ordering};
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::io;
use rustix::net::sockopt::xdp_options;
use rustix::net::xdp::XdpOptionsFlags;

pub use bind::{Mode, Taken};
pub use error::{BindError, BindStep};
pub use stats::KernelDrops;
pub use umem::UmemArea;

use ring::Ring;

/// Entries of each ring, powers of two. Every process that maps the rings must be told the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizes {
    pub rx: u32,
    pub tx: u32,
    pub fill: u32,
    pub completion: u32,
}

impl Default for RingSizes {
    /// RX and TX hold a burst of 2048 frames (a millisecond of 2 Mpps); fill and completion cover both twice over, so that a
    /// queue of unreaped completions never stops the kernel's transmit.
    fn default() -> Self {
        RingSizes { rx: 2048, tx: 2048, fill: 4096, completion: 4096 }
    }
}

pub struct Xsk {
    /// The socket's descriptor, which is ours to close.
    number: AtomicI32,
    zero_copy: bool,
    sizes: RingSizes,
    rx: Ring<2>,
    tx: Ring<2>,
    fill: Ring<1>,
    completion: Ring<1>,
}

impl Xsk {
    /// Makes a socket on `queue` of the card and registers the UMEM, or uses that of `shared_with` (further queues of the
    /// same shard; each has fill and completion rings of its own).
    ///
    /// # Safety
    /// `umem` stays mapped and writable for as long as any descriptor of the socket is open: the kernel and the card write to it.
    pub unsafe fn create(
        umem: &UmemArea,
        ifindex: u32,
        queue: u32,
        mode: Mode,
        sizes: RingSizes,
        shared_with: Option<&Xsk>,
    ) -> Result<(Xsk, Taken), BindError> {
        let socket = bind::open(umem, sizes, shared_with.is_none())?;
        let taken = match shared_with {
            None => bind::bind_alone(&socket, ifindex, queue, mode)?,
            Some(first) => bind::bind_shared(&socket, ifindex, queue, first)?,
        };
        let xsk = Xsk::attach(socket, sizes).map_err(|errno| BindError::at(BindStep::Rings, errno))?;
        Ok((xsk, taken))
    }

    /// Maps the rings of a bound socket that came from the keeper.
    pub fn attach(fd: OwnedFd, sizes: RingSizes) -> io::Result<Xsk> {
        let zero_copy = xdp_options(&fd)?.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
        let rings = map::map_rings(fd.as_fd(), sizes)?;
        Ok(Xsk {
            number: AtomicI32::new(fd.into_raw_fd()),
            zero_copy,
            sizes,
            rx: rings.rx,
            tx: rings.tx,
            fill: rings.fill,
            completion: rings.completion,
        })
    }

    /// Frames that wait in the RX ring. Needs no lock, reads two words: made for spinning on.
    #[inline]
    pub fn rx_available(&self) -> u32 {
        self.rx.available()
    }

    /// Shows up to `max` received frames: the address of the first byte and the length. They stay on the ring until
    /// [`Xsk::skip_received`], so that a death in between loses none.
    #[inline]
    pub fn peek_received(&self, max: u32, mut each: impl FnMut(u64, u32)) -> u32 {
        self.rx.peek(max, |[address, length_and_options]| each(address, length_and_options as u32))
    }

    /// The first `count` received frames are dealt with.
    #[inline]
    pub fn skip_received(&self, count: u32) {
        self.rx.skip(count);
    }

    /// The address that was last given to `transmit`, and the one last given to `refill`: what a process that died in
    /// between can be judged by.
    pub fn last_given(&self) -> (u64, u64) {
        (self.tx.last_produced()[0], self.fill.last_produced()[0])
    }

    /// Room in the TX ring.
    #[inline]
    pub fn tx_free(&self) -> u32 {
        self.tx.free()
    }

    /// Frames in the TX ring that the kernel has not begun to send.
    #[inline]
    pub fn tx_unsent(&self) -> u32 {
        self.tx.unsent().min(self.sizes.tx)
    }

    /// Hands `length` bytes at `address` to the kernel; they are not touched until they come back from `complete`.
    /// In copy mode (and when `needs_kick` says so) nothing leaves before `kick`.
    #[inline]
    pub fn transmit(&self, address: u64, length: u32) -> bool {
        self.tx.produce([address, u64::from(length)])
    }

    /// Takes back up to `max` sent frames, by the address that `transmit` was given.
    #[inline]
    pub fn complete(&self, max: u32, mut each: impl FnMut(u64)) -> u32 {
        self.completion.consume(max, |[address]| each(address))
    }

    /// Completions that wait. Needs no lock.
    #[inline]
    pub fn completions_available(&self) -> u32 {
        self.completion.available()
    }

    /// Room in the fill ring.
    #[inline]
    pub fn fill_free(&self) -> u32 {
        self.fill.free()
    }

    /// Gives the kernel a chunk to receive into; any address inside the chunk names it.
    #[inline]
    pub fn refill(&self, address: u64) -> bool {
        self.fill.produce([address])
    }

    /// Frames wait in the TX ring that only a `kick` will send. In copy mode the kernel never sends by itself.
    #[inline]
    pub fn needs_kick(&self) -> bool {
        self.tx.unsent() != 0 && (!self.zero_copy || self.tx.needs_wakeup())
    }

    /// The card ran out of chunks and sleeps until it is told that the fill ring has some (zero-copy only).
    #[inline]
    pub fn needs_fill_wakeup(&self) -> bool {
        self.zero_copy && self.fill.needs_wakeup()
    }

    pub fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    pub fn sizes(&self) -> RingSizes {
        self.sizes
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open for as long as this lives, as `moved_to` promises.
        unsafe { BorrowedFd::borrow_raw(self.number.load(Ordering::Relaxed)) }
    }

    /// The socket's descriptor has another number now: the process it is in needed the old one.
    ///
    /// # Safety
    /// `number` is a duplicate of the descriptor, and this is its owner from now on.
    pub unsafe fn moved_to(&self, number: RawFd) {
        self.number.store(number, Ordering::Relaxed);
    }

    /// How often this process found ring indices that cannot be, in all four rings.
    pub fn corrupted(&self) -> u64 {
        self.rx.corrupted() + self.tx.corrupted() + self.fill.corrupted() + self.completion.corrupted()
    }
}

impl Drop for Xsk {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody can borrow it any more.
        drop(unsafe { OwnedFd::from_raw_fd(*self.number.get_mut()) });
    }
}
