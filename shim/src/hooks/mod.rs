//! The libc symbols we stand in for, and what each does.
//!
//! `table` names every one of them once. The families below implement them: they take the program's arguments as they
//! came, and return a value or an errno.

mod by_number;
mod descriptors;
mod files;
mod messages;
mod options;
mod processes;
mod signals;
mod sockets;
pub(crate) mod streams;
mod table;
mod tcp_info;
mod trampolines;
mod transfer;

pub(crate) use descriptors::entry;
pub(crate) use transfer::check;
