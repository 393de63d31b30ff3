//! Memory that belongs to the program is touched here alone, by a copy that survives a bad pointer.
//!
//! Linux answers a bad pointer with EFAULT. Our copy is one instruction, `rep movsb`; a fault in it is recognised by its
//! address (`signals` asks `repaired`), and the routine returns with what is left in rcx instead of dying.

use core::arch::global_asm;
use core::mem::MaybeUninit;

use crate::kernel::Errno;

global_asm!(
    ".pushsection .text.shunt_copy,\"ax\",@progbits",
    ".globl shunt_copy",
    ".hidden shunt_copy",
    ".globl shunt_copy_faulting",
    ".hidden shunt_copy_faulting",
    ".globl shunt_copy_repaired",
    ".hidden shunt_copy_repaired",
    ".type shunt_copy,@function",
    "shunt_copy:",
    ".cfi_startproc",
    "mov rcx, rdx",
    "shunt_copy_faulting:",
    "rep movsb",
    "shunt_copy_repaired:",
    "mov rax, rcx",
    "ret",
    ".cfi_endproc",
    ".size shunt_copy, . - shunt_copy",
    ".popsection",
);

unsafe extern "C" {
    /// Returns how many bytes were not copied.
    fn shunt_copy(to: *mut u8, from: *const u8, length: usize) -> usize;
    static shunt_copy_faulting: u8;
    static shunt_copy_repaired: u8;
}

/// Where a faulting thread goes on, if `instruction` is our copy.
pub(crate) fn repaired(instruction: usize) -> Option<usize> {
    if instruction == &raw const shunt_copy_faulting as usize {
        Some(&raw const shunt_copy_repaired as usize)
    } else {
        None
    }
}

/// Copies out of the program's memory; returns how many bytes came before a fault.
#[inline]
pub(crate) fn copy_in(to: &mut [u8], from: *const u8) -> usize {
    // SAFETY: `to` is ours and as long as it says; a fault on `from` ends the copy.
    to.len() - unsafe { shunt_copy(to.as_mut_ptr(), from, to.len()) }
}

/// Copies into the program's memory; returns how many bytes went before a fault.
#[inline]
pub(crate) fn copy_out(to: *mut u8, from: &[u8]) -> usize {
    // SAFETY: `from` is ours; a fault on `to` ends the copy. That `to` is the program's own business is the same
    // promise that it makes to the kernel.
    from.len() - unsafe { shunt_copy(to, from.as_ptr(), from.len()) }
}

/// Reads one C structure.
pub(crate) fn read<T: Copy>(from: *const T) -> Result<T, Errno> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: room for a T; T is one of C's plain structures (`Copy`, any bytes), complete only if nothing is missing.
    unsafe {
        match shunt_copy(value.as_mut_ptr().cast(), from.cast(), size_of::<T>()) {
            0 => Ok(value.assume_init()),
            _ => Err(Errno::FAULT),
        }
    }
}

/// Writes one C structure.
pub(crate) fn write<T: Copy>(to: *mut T, value: &T) -> Result<(), Errno> {
    // SAFETY: `value` is ours to read, padding included, as the routine copies bytes and looks at none.
    match unsafe { shunt_copy(to.cast(), (value as *const T).cast(), size_of::<T>()) } {
        0 => Ok(()),
        _ => Err(Errno::FAULT),
    }
}
