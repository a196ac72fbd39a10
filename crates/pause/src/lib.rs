//! The process that is a sandbox, as bytes.
//!
//! A pod's namespaces live as long as some process or mount holds them. The network namespace
//! is pinned on a file; the others (process, IPC, UTS, mount) are held by one process that a
//! runtime starts when it makes the sandbox. That process should be as small as can be: it
//! stays for the whole life of the pod, and on a node there are hundreds of it.
//!
//! 1. The build script compiles `process/pause.rs`, a program without a standard library, for
//!    the target of this build (x86-64 or aarch64) into a static executable of about 1 KiB.
//! 2. [`PAUSE`] holds that executable. Whoever prepares a sandbox writes it into the root file
//!    system and names it as the process to start; nothing else has to exist in there.
//! 3. Running, it blocks SIGTERM, SIGINT and SIGCHLD, then takes them one after the other. On
//!    SIGCHLD it reaps every child that has ended: as process 1 of the pod's process namespace
//!    it inherits all orphans. On SIGTERM or SIGINT it exits with 0.
//!
//! Invariants: it never forks, opens no file, allocates nothing, and needs no capability and
//! no system call besides `execve` (of itself), `rt_sigprocmask`, `rt_sigtimedwait`, `wait4`
//! and `exit_group`. A seccomp profile may forbid everything else.
#![forbid(unsafe_code)]

/// The static executable of the sandbox's process, an ELF file for the target of this build.
///
/// It takes no arguments and reads no environment.
pub const PAUSE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

#[cfg(test)]
mod tests;
