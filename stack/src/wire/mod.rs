//! Packets as they are on the wire.
