//! The system calls of a sandbox's own process.
//!
//! The pause process needs four. The others belong to the runtime, whose last stretch before
//! exec runs under the profile: closing descriptors, dropping what is left of its privileges,
//! waiting for `start`, and in a Go runtime the scheduler around it. What would reach beyond
//! the process is absent: mounts, namespaces, sockets, tracing, modules, keys, new programs in
//! memory, signals to other users' processes.

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSyscall};

/// What the pause process itself calls, and the exec that makes it.
const PAUSE: [&str; 6] = [
    "execve",
    "exit",
    "exit_group",
    "rt_sigprocmask",
    "rt_sigtimedwait",
    "wait4",
];

/// What runtimes call between loading the profile and exec.
const RUNTIME: [&str; 58] = [
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "close_range",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "execveat",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "getuid",
    "lseek",
    "lstat",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "openat",
    "openat2",
    "prctl",
    "pread64",
    "read",
    "readlinkat",
    "rt_sigaction",
    "rt_sigreturn",
    "sched_yield",
    "setgid",
    "setgroups",
    "setresgid",
    "setresuid",
    "setuid",
    "sigaltstack",
    "stat",
    "tgkill",
    "write",
];

/// The default profile: these calls, and EPERM for all others.
pub(crate) fn default_profile() -> LinuxSeccomp {
    let names = PAUSE.iter().chain(&RUNTIME).map(ToString::to_string);
    let mut allowed = LinuxSyscall::default();
    allowed
        .set_names(names.collect())
        .set_action(LinuxSeccompAction::ScmpActAllow);
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_architectures(Some(vec![native()]))
        .set_syscalls(Some(vec![allowed]));
    profile
}

/// Only the machine's own architecture: a 32 bit entry would be a second, wider door.
fn native() -> Arch {
    if cfg!(target_arch = "aarch64") {
        Arch::ScmpArchAarch64
    } else {
        Arch::ScmpArchX86_64
    }
}

#[cfg(test)]
mod tests;
