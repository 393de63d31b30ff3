//! Where frames come from and go to: a card's queue, this host itself, or a simulated wire.

pub mod loopback;
pub mod sim;
pub mod xsk;
