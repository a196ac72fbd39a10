//! The system calls that no library wraps safely: the only place of this crate with unsafe code.
//!
//! Each function here is safe to call with any argument its types allow; what makes it so stands
//! at each unsafe block.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `NS_GET_NSTYPE` of `ioctl_ns(2)`: `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// `PIDFD_GET_INFO` of `linux/pidfd.h`: `_IOWR(0xFF, 11, struct pidfd_info)`, first size (64 bytes).
const PIDFD_GET_INFO: libc::Ioctl = 0xc040_ff0b_u32 as libc::Ioctl;

/// The bit of [`PidfdInfo::mask`] that asks for the exit status (kernel 6.15).
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `struct pidfd_info` of `linux/pidfd.h` in its first size, which every later kernel accepts.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid and the eight user and group ids: not asked for.
    ids: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// The kind of namespace that an open nsfs file is: the `CLONE_NEW*` flag that makes one.
///
/// Fails with `ENOTTY` for a file that is no namespace.
pub(crate) fn namespace_kind(file: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and NS_GET_NSTYPE takes no
    // argument, so the kernel reads and writes no memory of ours.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    if kind < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(kind)
    }
}

/// The cookie of the network namespace that `socket` was made in (`SO_NETNS_COOKIE`, kernel 5.14).
pub(crate) fn namespace_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the descriptor is borrowed, hence open; the two pointers are to locals that outlive
    // the call, and `length` tells the kernel that exactly 8 bytes may be written.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if answer == 0 {
        Ok(cookie)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The wait status of a process that has been reaped, where the kernel keeps it for pidfds.
///
/// `None` for a process that is not reaped yet, and on kernels before 6.15.
pub(crate) fn pidfd_exit(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut info = PidfdInfo {
        mask: PIDFD_INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the descriptor is borrowed, hence open; the request carries the size of `PidfdInfo`
    // (64, asserted above), so the kernel writes within the local that the pointer is to.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    if answer == 0 {
        return Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code));
    }
    match io::Error::last_os_error() {
        // No such request (before 6.13), or no such process and no status kept (before 6.15).
        error
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOTTY | libc::EINVAL | libc::ESRCH)
            ) =>
        {
            Ok(None)
        }
        error => Err(error),
    }
}

/// Registers `pidfd` with the tokio runtime that polls this, to be told when it becomes readable.
pub(crate) fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is a valid, open descriptor and answers `as_raw_fd` with the same number
    // until it is dropped; the `AsyncFd` owns it, so it stays open for as long as it is registered.
    let watched = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
    Ok(watched?)
}

/// Makes `command`'s child join a cgroup between fork and exec, by writing to its `cgroup.procs`.
///
/// From fork until it has joined the child dies with its parent, so that there is no moment at
/// which it can outlive the parent without being findable. At exec nothing of that is left: the
/// signal is cleared, since the program must not die with the thread that started it.
pub(crate) fn join_before_exec(command: &mut Command, cgroup: Option<OwnedFd>) {
    let parent = getpid();
    let join = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that died before the line above sent no signal; then we have a new one.
        if getppid() != Some(parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        if let Some(procs) = &cgroup {
            rustix::io::write(procs, b"0")?;
        }
        set_parent_process_death_signal(None)?;
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe work is allowed. The closure makes four
    // plain system calls (prctl, getppid, write, prctl), takes no lock and allocates nothing: an
    // `io::Error` made of an errno is a plain value.
    unsafe {
        command.pre_exec(join);
    }
}
