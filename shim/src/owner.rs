//! Who has SIGURG when urgent data comes: the owner of the open file, by F_SETOWN and its like.
//!
//! The shadow remembers the owner: the kernel judges the call and answers F_GETOWN. The shadow gets no urgent data
//! though; so a descriptor that the keeper can make the kernel signal for is given the same owner, by the same process.

use core::ffi::c_int;

use stack::control::Ask;
use stack::tcp;

use crate::fds::{Entry, Place, Undecided};
use crate::kernel::{self, Errno, Outcome};
use crate::log::{self, Level};
use crate::sockets::{connection, decide};
use crate::turn::turn_at;
use crate::{control, own};

/// Not in the libc crate.
pub(crate) const F_SETOWN_EX: c_int = 15;
const F_GETOWN_EX: c_int = 16;
const F_OWNER_GROUP: c_int = 2;

/// Kind (thread, process or group) and number.
type Owner = [i32; 2];

/// The program has set the owner of `fd`.
pub(crate) fn changed(fd: i32, entry: Entry) {
    match entry {
        Entry::Connection(place) if owner_of(fd).is_none() => {
            // One that has gone has no owner anyway.
            let _ = turn_at(place, |s, _| tcp::set_owned(s, connection(place), false));
        }
        Entry::Connection(place) => carry_over(fd, place),
        Entry::Undecided(undecided) if !undecided.has_options => {
            decide(fd, entry, Entry::Undecided(Undecided { has_options: true, ..undecided }));
        }
        _ => {}
    }
}

/// The connection has the owner that the shadow has, if there is one.
pub(crate) fn carry_over(fd: i32, place: Place) {
    if let Some(owner) = owner_of(fd)
        && appoint(place, owner).is_err()
    {
        log::line(Level::Info, &["no SIGURG for a connection: the keeper does not grant it"]);
    }
}

/// What F_GETOWN answers.
pub(crate) fn shown(fd: i32) -> Outcome {
    let [kind, number] = ask(fd)?;
    Ok(if kind == F_OWNER_GROUP { number.wrapping_neg() } else { number } as usize)
}

fn owner_of(fd: i32) -> Option<Owner> {
    ask(fd).ok().filter(|owner| owner[1] != 0)
}

fn ask(fd: i32) -> Result<Owner, Errno> {
    let mut owner = Owner::default();
    kernel::fcntl(fd, F_GETOWN_EX, owner.as_mut_ptr() as usize)?;
    Ok(owner)
}

fn appoint(place: Place, owner: Owner) -> Result<(), Errno> {
    let (_, mut received) = control::ask(Ask::Own, &[place.shard.into(), place.handle], None)?;
    let bell = received.next()?;
    let done = kernel::fcntl(bell.number(), F_SETOWN_EX, owner.as_ptr() as usize);
    own::release(bell);
    done.map(|_| ())
}
