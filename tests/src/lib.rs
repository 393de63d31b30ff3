//! Real, unmodified programs in the rig: two network namespaces joined by a veth pair, the server in one and the client
//! in the other, each on the kernel's stack or on shunt's. The cases themselves are in `tests/real_programs`.

pub mod harness;
pub mod impair;
pub mod program;
pub mod proof;
pub mod rig;
pub mod seeded;
pub mod stage;
pub mod taken_queue;
pub mod tcp_info;
pub mod version;

/// What a case found: nothing to complain about, or one sentence about what was wrong.
pub type Outcome<T = ()> = Result<T, String>;

/// Fails the case with a sentence unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(format!($($why)+));
        }
    };
}
