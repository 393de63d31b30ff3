//! Two stacks over a simulated wire.

mod harness;
mod lifecycle;
mod transfer;
