//! select over accelerated and kernel descriptors together.

use core::ffi::c_int;
use core::sync::atomic::Ordering;

use crate::kernel::{self, Errno, Outcome};
use crate::poll::{Mixed, with_room};
use crate::timeout::{self, Deadline};
use crate::turn::now;
use crate::{own, startup, thread, user_memory};

type Set = *mut libc::fd_set;

/// LINUX: what makes a descriptor readable, writable, exceptional (POLLIN_SET, POLLOUT_SET, POLLEX_SET).
const READABLE: i16 = libc::POLLRDNORM | libc::POLLRDBAND | libc::POLLIN | libc::POLLHUP | libc::POLLERR;
const WRITABLE: i16 = libc::POLLWRBAND | libc::POLLWRNORM | libc::POLLOUT | libc::POLLERR;
const EXCEPTIONAL: i16 = libc::POLLPRI;
const KINDS: [i16; 3] = [READABLE, WRITABLE, EXCEPTIONAL];
const BITS: usize = u64::BITS as usize;

pub(crate) unsafe fn select(
    count: c_int,
    readable: Set,
    writable: Set,
    exceptional: Set,
    timeout: *mut libc::timeval,
) -> Outcome {
    let sets = [readable, writable, exceptional];
    let plainly = || {
        let [readable, writable, exceptional] = sets.map(|set| set as usize);
        let arguments = [count as usize, readable, writable, exceptional, timeout as usize];
        // SAFETY: the program's own sets.
        unsafe { kernel::cancellable(libc::SYS_select, arguments) }
    };
    let until = |begun| {
        if timeout.is_null() {
            return Ok(Deadline::Never);
        }
        let libc::timeval { tv_sec, tv_usec } = user_memory::read(timeout)?;
        if tv_usec < 0 {
            return Err(Errno::INVAL);
        }
        timeout::after(begun, tv_sec.saturating_add(tv_usec / 1_000_000), tv_usec % 1_000_000 * 1_000)
    };
    let (outcome, deadline) = wait(count, sets, until, core::ptr::null(), plainly);
    if let Some(Deadline::At(time)) = deadline {
        // LINUX: the time that is left.
        let left = time.saturating_sub(now()) / 1_000;
        let left = libc::timeval { tv_sec: (left / 1_000_000) as i64, tv_usec: (left % 1_000_000) as i64 };
        let _ = user_memory::write(timeout, &left);
    }
    outcome
}

pub(crate) unsafe fn pselect(
    count: c_int,
    readable: Set,
    writable: Set,
    exceptional: Set,
    timeout: *const libc::timespec,
    mask: *const libc::sigset_t,
) -> Outcome {
    let sets = [readable, writable, exceptional];
    let plainly = || {
        // LINUX: the kernel writes the time that is left; libc keeps that from the program.
        let time = if timeout.is_null() { None } else { Some(user_memory::read(timeout)?) };
        let time = time.as_ref().map_or(0, |time| core::ptr::from_ref(time) as usize);
        let mask = [mask as usize, 8];
        let [readable, writable, exceptional] = sets.map(|set| set as usize);
        let arguments = [count as usize, readable, writable, exceptional, time, mask.as_ptr() as usize];
        // SAFETY: the program's own sets and mask, and our timespec.
        unsafe { kernel::cancellable(libc::SYS_pselect6, arguments) }
    };
    let until = |begun| timeout::Timeout::At(timeout).deadline(begun);
    wait(count, sets, until, mask, plainly).0
}

/// The outcome, and the deadline if this was not the kernel's alone.
fn wait(
    count: c_int,
    sets: [Set; 3],
    until: impl Fn(u64) -> Result<Deadline, Errno>,
    mask: *const libc::sigset_t,
    plainly: impl Fn() -> Outcome,
) -> (Outcome, Option<Deadline>) {
    let Some(stack) = startup::stack() else { return (plainly(), None) };
    if count < 0 || thread::current().borrowed_memory.load(Ordering::Relaxed) {
        return (plainly(), None);
    }
    // LINUX: numbers that cannot be descriptors are not looked at.
    let count = (count as usize).min(own::descriptor_limit().1.min(1 << 20) as usize);
    let begun = now();
    let (deadline, mask) = match (until(begun), timeout::mask(mask)) {
        (Ok(deadline), Ok(mask)) => (deadline, mask),
        (Err(error), _) | (_, Err(error)) => return (Err(error), None),
    };
    let named = match read_sets(count, sets, |_, _| {}) {
        Ok(named) => named,
        Err(error) => return (Err(error), None),
    };
    let mut is_mixed = false;
    let outcome = with_room(named, |polled, ours| {
        let mut places = polled.iter_mut();
        read_sets(count, sets, |fd, asked| {
            if let Some(place) = places.next() {
                *place = libc::pollfd { fd, events: asked, revents: 0 };
            }
        })?;
        // Numbers are lost in sorting, and are told again by the program's sets.
        let Some(mut mixed) = Mixed::sort(stack, polled, ours) else { return plainly() };
        is_mixed = true;
        let ready = mixed.wait(deadline, mask, |results| tell(count, sets, results, false))?;
        if ready == 0 {
            clear(count, sets)?;
        }
        Ok(ready)
    });
    (outcome, is_mixed.then_some(deadline))
}

/// Goes through the descriptors that are in any of the sets, in order, and gives their number. `each` is told
/// the events that poll has for what is asked.
fn read_sets(count: usize, sets: [Set; 3], mut each: impl FnMut(i32, i16)) -> Result<usize, Errno> {
    let mut named = 0;
    for word in 0..count.div_ceil(BITS) {
        let bits = read_word(count, sets, word)?;
        let mut any = bits[0] | bits[1] | bits[2];
        while any != 0 {
            let bit = any.trailing_zeros() as usize;
            any &= any - 1;
            let asked = bits.iter().zip(KINDS).filter(|(set, _)| **set >> bit & 1 != 0);
            let asked = asked.fold(0, |asked, (_, kind)| asked | kind);
            each((word * BITS + bit) as i32, asked & !(libc::POLLHUP | libc::POLLERR));
            named += 1;
        }
    }
    Ok(named)
}

/// One word of each set, without the bits beyond `count`.
fn read_word(count: usize, sets: [Set; 3], word: usize) -> Result<[u64; 3], Errno> {
    let mut bits = [0; 3];
    for (bits, set) in bits.iter_mut().zip(sets).filter(|(_, set)| !set.is_null()) {
        *bits = user_memory::read(set.cast::<u64>().wrapping_add(word))?;
        if (word + 1) * BITS > count {
            *bits &= (1 << (count % BITS)) - 1;
        }
    }
    Ok(bits)
}

/// Writes what has come true into the program's sets, and gives the number of bits; if there is none the sets stay
/// as they are, because they say what is asked.
fn tell(count: usize, sets: [Set; 3], results: &[libc::pollfd], write: bool) -> Outcome {
    let (mut ready, mut next) = (0, 0);
    for word in 0..count.div_ceil(BITS) {
        let asked = read_word(count, sets, word)?;
        let mut told = [0u64; 3];
        let mut any = asked[0] | asked[1] | asked[2];
        while any != 0 {
            let bit = any.trailing_zeros();
            any &= any - 1;
            let revents = results.get(next).map_or(0, |p| p.revents);
            next += 1;
            if revents & libc::POLLNVAL != 0 {
                return Err(Errno::BADF);
            }
            for ((told, asked), kind) in told.iter_mut().zip(asked).zip(KINDS) {
                let is_true = asked >> bit & 1 != 0 && revents & kind != 0;
                *told |= u64::from(is_true) << bit;
            }
        }
        ready += told.iter().map(|bits| bits.count_ones() as usize).sum::<usize>();
        if write {
            for (set, told) in sets.into_iter().zip(told).filter(|(set, _)| !set.is_null()) {
                user_memory::write(set.cast::<u64>().wrapping_add(word), &told)?;
            }
        }
    }
    if ready > 0 && !write { tell(count, sets, results, true) } else { Ok(ready) }
}

fn clear(count: usize, sets: [Set; 3]) -> Result<(), Errno> {
    for set in sets.into_iter().filter(|set| !set.is_null()) {
        for word in 0..count.div_ceil(BITS) {
            user_memory::write(set.cast::<u64>().wrapping_add(word), &0u64)?;
        }
    }
    Ok(())
}
