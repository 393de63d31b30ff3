//! Packets as they are on the wire.

#![forbid(unsafe_code)]
