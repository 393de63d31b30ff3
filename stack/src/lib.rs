//! shunt's engine: a TCP/IP stack that is one value in one shared mapping, and whoever needs progress drives it.
//!
//! The rooms, from the bottom: `region` (the mapping and what data is made of), `shard` (the data itself), `link`
//! (where frames come from), `wire` (packets), `ip`, `tcp`, `wait` (who is to be told), `socket` (the calls), `drive`
//! (the pump). A lower room never calls a higher one. Nothing here reads a clock or a random source.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod control;
pub mod drive;
pub mod error;
pub mod ip;
pub mod link;
pub mod region;
pub mod shard;
pub mod socket;
pub mod tcp;
pub mod wait;
pub mod wire;

#[cfg(test)]
mod damaged;

pub use error::Error;
