//! The system calls that no library wraps safely: the only place of this crate with unsafe code.
//!
//! Each function here is safe to call with any argument its types allow; what makes it so stands
//! at each unsafe block.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use nix::libc;
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{
    DumpableBehavior, Signal, getpid, getppid, set_dumpable_behavior,
    set_parent_process_death_signal,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `NS_GET_NSTYPE` of `ioctl_ns(2)`: `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// The stack of a child that makes a few system calls: 64 KiB in words of 16 bytes, since both
/// ABIs want a stack pointer that is aligned to 16.
const CHILD_STACK: usize = 64 * 1024 / size_of::<u128>();

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

/// The user namespace that owns the open namespace `namespace` (`NS_GET_USERNS` of `ioctl_ns(2)`).
///
/// Fails with `EPERM` if the owner is neither the caller's user namespace nor beneath it.
pub(crate) fn owner(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and NS_GET_USERNS takes no
    // argument, so the kernel reads and writes no memory of ours.
    let owner = unsafe { libc::ioctl(namespace.as_raw_fd(), libc::NS_GET_USERNS) };
    if owner < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us (close-on-exec), and nobody else
    // knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(owner) })
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

/// Makes `command`'s child join a cgroup between fork and exec, by writing to the file that it is
/// joined by.
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

/// Makes a user namespace with a process in it, the holder, and blocks until the holder has ended.
///
/// Only for a thread that was made for this, with all signals blocked; somebody else steers the
/// holder through the other end of the sequenced-packet socket `steered`. Each message is an `i32`:
/// 1. from the holder: its pid. It is alone in the new user namespace, which maps nobody yet.
/// 2. to the holder: any number. It makes a network namespace, which the user namespace owns.
/// 3. from the holder: 0, or the errno of that.
///
/// At the next message or the socket's end it ends; it ends with its parent too. Returned is its
/// pid: it is not reaped, so that the pid stays its own, and tells nobody of its end; wait for it
/// with `__WALL`.
///
/// As with vfork(2) the holder borrows this process's memory rather than copying the tables of a
/// large daemon, while this thread, whose place it takes, stands still. That memory is not exposed:
/// whoever may trace the holder may trace its parent too, for nobody else is in its namespace.
pub(crate) fn hold_user_namespace(steered: BorrowedFd<'_>) -> io::Result<Pid> {
    let parent = getpid();
    let hold = || {
        end_with(parent)?;
        tell(steered, getpid().as_raw_nonzero().get())?;
        if !told(steered)? {
            return Ok(());
        }
        // SAFETY: `FILES` is not among the flags, which is all that the call asks for.
        let answer = unsafe { unshare_unsafe(UnshareFlags::NEWNET) };
        tell(steered, answer.map_or_else(Errno::raw_os_error, |()| 0))?;
        told(steered).map(|_| ())
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::CLONE_NEWUSER;
    // SAFETY: `hold` makes plain system calls through rustix, which neither allocates nor locks and
    // keeps no errno in the thread's storage; with CLONE_VM comes CLONE_VFORK.
    unsafe { child(flags, &hold) }
}

/// Writes `value` into the open `file` from within the user namespace `owner`.
///
/// Only for a thread with all signals blocked. Returned is the pid of the child that does it; its
/// exit status is 0 or the errno. Wait for it with `__WALL`.
///
/// The child has a copy of the memory which no process of that namespace may read: it is made
/// undumpable before it joins them.
pub(crate) fn write_within(
    owner: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    value: &[u8],
) -> io::Result<Pid> {
    let parent = getpid();
    let write = || {
        end_with(parent)?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        move_into_link_name_space(owner, Some(LinkNameSpaceType::User))?;
        match rustix::io::write(file, value)? {
            written if written == value.len() => Ok(()),
            _ => Err(Errno::IO),
        }
    };
    // SAFETY: `write` makes plain system calls through rustix, which neither allocates nor locks;
    // without CLONE_VM the child works on a copy of the memory.
    unsafe { child(0, &write) }
}

/// Starts a child process that runs `work` and exits with 0 or the errno, and sends no signal then.
///
/// # Safety
/// `work` must be async-signal-safe (no allocation, no lock, no panic): other threads of this
/// process may be anywhere. `flags` must have CLONE_VFORK if it has CLONE_VM, and nothing that
/// takes a further argument.
unsafe fn child<F>(flags: libc::c_int, work: &F) -> io::Result<Pid>
where
    F: Fn() -> Result<(), Errno>,
{
    extern "C" fn run<F: Fn() -> Result<(), Errno>>(work: *mut c_void) -> libc::c_int {
        // SAFETY: the pointer was made of a `&F` in `child`, which either has not returned yet
        // (CLONE_VFORK) or left a copy of the memory behind for this process.
        let work = unsafe { &*work.cast::<F>() };
        work().map_or_else(Errno::raw_os_error, |()| 0)
    }
    let mut stack = vec![0_u128; CHILD_STACK];
    // SAFETY: the stack grows down from the end of `stack`, aligned to 16 as its words are, and
    // outlives the child's use of it: either the child has a copy of its own, or this call returns
    // only when the child has let go of the memory (CLONE_VFORK; no signal but a deadly one ends
    // that wait). `run` and `work` are safe there by this function's contract.
    let pid = unsafe {
        libc::clone(
            run::<F>,
            stack.as_mut_ptr_range().end.cast(),
            flags,
            ptr::from_ref(work).cast_mut().cast(),
        )
    };
    if pid < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(Pid::from_raw(pid))
    }
}

/// Makes the calling child die with the thread that made it, also if that died already.
fn end_with(parent: rustix::process::Pid) -> Result<(), Errno> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that died before the line above sent no signal; then we have a new one.
    if getppid() == Some(parent) {
        Ok(())
    } else {
        Err(Errno::SRCH)
    }
}

/// Sends a number to whoever steers.
fn tell(socket: BorrowedFd<'_>, number: i32) -> Result<(), Errno> {
    send(socket, &number.to_ne_bytes(), SendFlags::NOSIGNAL).map(|_| ())
}

/// Waits for a message; whether there was one before the socket's end.
fn told(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut message = [0; size_of::<i32>()];
    recv(socket, &mut message, RecvFlags::empty()).map(|(length, _)| length > 0)
}
