//! Two stacks over a simulated wire.

mod bottleneck;
mod bottleneck_traces;
mod buffers;
mod ending;
mod expected;
mod fast_open;
mod handshake;
mod harness;
mod hostile;
mod lifecycle;
mod listening;
mod network;
mod path_mtu;
mod peer;
mod recovery;
mod reuse_port;
mod sack;
mod segments;
mod tcp_info;
mod tracing;
mod transfer;
mod transitions;
