//! The process of a sandbox. It owns the pod's namespaces and does two things: it reaps what
//! is orphaned in the pod's process namespace, and it exits with 0 on SIGTERM or SIGINT.
//!
//! There is no allocator, no libc and no signal handler. All three signals are blocked and
//! taken one at a time, so none is lost between the reaping and the waiting: a SIGCHLD that
//! arrives in between stays pending. Blocking also matters for process 1 of a namespace: the
//! kernel discards a SIGTERM with the default action there, but keeps it while it is blocked.

#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;

#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const RT_SIGPROCMASK: usize = 14;
    pub(super) const WAIT4: usize = 61;
    pub(super) const RT_SIGTIMEDWAIT: usize = 128;
    pub(super) const EXIT_GROUP: usize = 231;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub(super) const EXIT_GROUP: usize = 94;
    pub(super) const RT_SIGPROCMASK: usize = 135;
    pub(super) const RT_SIGTIMEDWAIT: usize = 137;
    pub(super) const WAIT4: usize = 260;
}

const SIG_BLOCK: usize = 0;
const WNOHANG: usize = 1;
const SIGINT: isize = 2;
const SIGTERM: isize = 15;
const SIGCHLD: isize = 17;

/// The kernel's signal set has one bit per signal, signal 1 in bit 0, and is 8 bytes long.
const SIGNALS: u64 = 1 << (SIGINT - 1) | 1 << (SIGTERM - 1) | 1 << (SIGCHLD - 1);
const SET_SIZE: usize = size_of::<u64>();

// The kernel enters at `_start` with an aligned stack and without a return address; a call
// from here gives `run` the stack that the calling convention promises.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "call {run}", "ud2", run = sym run);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, xzr", "bl {run}", "brk #1", run = sym run);

extern "C" fn run() -> ! {
    let signals: *const u64 = &SIGNALS;
    // SAFETY: rt_sigprocmask(how, set, null, size) reads `size` bytes from `set`, a static.
    unsafe {
        syscall(
            number::RT_SIGPROCMASK,
            SIG_BLOCK,
            signals as usize,
            0,
            SET_SIZE,
        )
    };
    loop {
        // SAFETY: wait4(-1, null, WNOHANG, null) writes nothing to our memory.
        while unsafe { syscall(number::WAIT4, usize::MAX, 0, WNOHANG, 0) } > 0 {}
        // SAFETY: rt_sigtimedwait(set, null, null, size) reads `size` bytes from a static and
        // writes nothing, since neither information nor a timeout is given.
        let signal = unsafe { syscall(number::RT_SIGTIMEDWAIT, signals as usize, 0, 0, SET_SIZE) };
        if signal == SIGTERM || signal == SIGINT {
            exit(0);
        }
    }
}

fn exit(code: usize) -> ! {
    loop {
        // SAFETY: exit_group takes a number and does not return.
        unsafe { syscall(number::EXIT_GROUP, code, 0, 0, 0) };
    }
}

/// A system call of at most four arguments; the result is negative when it failed.
///
/// # Safety
/// Pointers among the arguments must be valid for what the call reads and writes through them.
#[cfg(target_arch = "x86_64")]
unsafe fn syscall(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the registers are those of the x86-64 system call convention; the kernel
    // clobbers rcx and r11 only, and the caller vouches for the arguments.
    unsafe {
        asm!("syscall", inlateout("rax") number => result,
             in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// A system call of at most four arguments; the result is negative when it failed.
///
/// # Safety
/// Pointers among the arguments must be valid for what the call reads and writes through them.
#[cfg(target_arch = "aarch64")]
unsafe fn syscall(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the registers are those of the aarch64 system call convention; the kernel keeps
    // all others, and the caller vouches for the arguments.
    unsafe {
        asm!("svc #0", in("x8") number, inlateout("x0") a => result,
             in("x1") b, in("x2") c, in("x3") d, options(nostack));
    }
    result
}

/// Nothing here panics; the compiler asks for the handler nevertheless.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(1)
}
