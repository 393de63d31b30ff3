//! Functions that stable Rust cannot define: those with variable arguments, and `vfork`, which returns twice.
//!
//! On x86-64 a variable argument of integer class travels in the same register as a fixed one, so a jump to
//! a function of fixed arity is all it takes.

use core::arch::naked_asm;

macro_rules! variadic {
    ($($name:ident)+ = $implementation:path) => {$(
        /// # Safety
        /// As the function of this name in the manual.
        #[allow(unreachable_pub, reason = "exported by name")]
        #[unsafe(naked)]
        #[cfg_attr(not(test), unsafe(no_mangle))]
        pub unsafe extern "C" fn $name() {
            naked_asm!("jmp {}", sym $implementation)
        }
    )+};
}

variadic!(fcntl fcntl64 __fcntl = super::descriptors::fcntl);
variadic!(ioctl = super::descriptors::ioctl);
variadic!(syscall = super::descriptors::by_number);

/// A list of strings that ends with null, made an array: the registers are stored below the list's rest on the stack.
macro_rules! variadic_strings {
    ($($name:ident = $implementation:path;)+) => {$(
        /// # Safety
        /// As the function of this name in the manual.
        #[allow(unreachable_pub, reason = "exported by name")]
        #[unsafe(naked)]
        #[cfg_attr(not(test), unsafe(no_mangle))]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                "pop rax",
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                "mov rsi, rsp",
                "push rax",
                "call {}",
                "pop rdx",
                "add rsp, 40",
                "push rdx",
                "ret",
                sym $implementation,
            )
        }
    )+};
}

variadic_strings! {
    execl = super::processes::execl;
    execlp = super::processes::execlp;
    execle = super::processes::execle;
}

/// With a list of the variable arguments, as the x86-64 ABI lays one out: `$fixed` bytes of the register area belong to the
/// named arguments, and the list is passed after them, in `$register`.
macro_rules! variadic_list {
    ($name:ident, $fixed:literal, $register:literal, $implementation:path) => {
        /// # Safety
        /// As the function of this name in the manual.
        #[allow(unreachable_pub, reason = "exported by name")]
        #[unsafe(naked)]
        #[cfg_attr(not(test), unsafe(no_mangle))]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                "sub rsp, 216",
                "mov qword ptr [rsp + 32], rdi",
                "mov qword ptr [rsp + 40], rsi",
                "mov qword ptr [rsp + 48], rdx",
                "mov qword ptr [rsp + 56], rcx",
                "mov qword ptr [rsp + 64], r8",
                "mov qword ptr [rsp + 72], r9",
                "movaps xmmword ptr [rsp + 80], xmm0",
                "movaps xmmword ptr [rsp + 96], xmm1",
                "movaps xmmword ptr [rsp + 112], xmm2",
                "movaps xmmword ptr [rsp + 128], xmm3",
                "movaps xmmword ptr [rsp + 144], xmm4",
                "movaps xmmword ptr [rsp + 160], xmm5",
                "movaps xmmword ptr [rsp + 176], xmm6",
                "movaps xmmword ptr [rsp + 192], xmm7",
                concat!("mov dword ptr [rsp], ", $fixed),
                "mov dword ptr [rsp + 4], 48",
                "lea rax, [rsp + 224]",
                "mov qword ptr [rsp + 8], rax",
                "lea rax, [rsp + 32]",
                "mov qword ptr [rsp + 16], rax",
                concat!("mov ", $register, ", rsp"),
                "call {}",
                "add rsp, 216",
                "ret",
                sym $implementation,
            )
        }
    };
}

variadic_list!(dprintf, "16", "rdx", super::streams::dprintf);
variadic_list!(__dprintf_chk, "24", "rcx", super::streams::dprintf_checked);

/// The child runs on this thread's memory until it execs or exits, and this thread sleeps so long: a mark in the thread's
/// block is enough to keep the child's calls away from our tables. The return address is held in a
/// register over the call, because the child's calls overwrite the stack where it was.
///
/// # Safety
/// As vfork(2).
#[allow(unreachable_pub, reason = "exported by name")]
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
pub unsafe extern "C" fn vfork() -> libc::pid_t {
    naked_asm!(
        "pop rdx",
        "mov rsi, qword ptr [rip + shunt_thread@GOTTPOFF]",
        "mov byte ptr fs:[rsi + {mark}], 1",
        "mov eax, {number}",
        "syscall",
        "push rdx",
        "test rax, rax",
        "jz 2f",
        "mov byte ptr fs:[rsi + {mark}], 0",
        "js 3f",
        "2:",
        "ret",
        "3:",
        "neg eax",
        "mov edi, eax",
        "jmp {failed}",
        mark = const crate::thread::BORROWED_MEMORY_OFFSET,
        number = const libc::SYS_vfork,
        failed = sym vfork_failed,
    )
}

extern "C" fn vfork_failed(error: core::ffi::c_int) -> libc::pid_t {
    crate::errno::give_back(Err(crate::kernel::Errno::from_raw_os_error(error)))
}
