//! The EPOLL bits, as Linux numbers them.

pub const IN: u32 = 0x1;
pub const PRI: u32 = 0x2;
pub const OUT: u32 = 0x4;
pub const ERR: u32 = 0x8;
pub const HUP: u32 = 0x10;
pub const RDNORM: u32 = 0x40;
pub const RDBAND: u32 = 0x80;
pub const WRNORM: u32 = 0x100;
pub const WRBAND: u32 = 0x200;
pub const MSG: u32 = 0x400;
pub const RDHUP: u32 = 0x2000;
pub const EXCLUSIVE: u32 = 1 << 28;
pub const WAKEUP: u32 = 1 << 29;
pub const ONE_SHOT: u32 = 1 << 30;
pub const EDGE: u32 = 1 << 31;

/// What says how to tell, not what to tell of.
pub const FLAGS: u32 = EXCLUSIVE | WAKEUP | ONE_SHOT | EDGE;
/// What may be asked for together with EXCLUSIVE.
pub const WITH_EXCLUSIVE: u32 = IN | OUT | ERR | HUP | WAKEUP | EDGE | EXCLUSIVE;
