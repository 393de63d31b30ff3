//! Where frames come from.

pub mod xsk;
