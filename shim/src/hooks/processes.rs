//! `_Fork`, which runs no fork handlers: ours are run around it.

use crate::kernel::Outcome;
use crate::processes;

pub(super) unsafe fn fork_bare() -> Outcome {
    processes::fork_bare()
}
