//! The system calls that no library wraps safely: the only place of this crate with unsafe code.
//!
//! Each function here is safe to call with any argument its types allow; what makes it so stands
//! at each unsafe block.
#![allow(unsafe_code)]

use std::arch::asm;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{
    DumpableBehavior, Signal, chdir, getpid, getppid, set_dumpable_behavior,
    set_parent_process_death_signal, setpgid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `NS_GET_NSTYPE` of `ioctl_ns(2)`: `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// The stack of a child that makes a few system calls: 64 KiB in words of 16 bytes, since both
/// ABIs want a stack pointer that is aligned to 16.
const CHILD_STACK: usize = 64 * 1024 / size_of::<u128>();

/// A child that tells nobody of its end.
const NO_SIGNAL: libc::c_int = 0;

/// `CLONE_CLEAR_SIGHAND` of `linux/sched.h` (kernel 5.5).
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// `CLONE_INTO_CGROUP` of `linux/sched.h` (kernel 5.7). On version 2 it is the only way into a cgroup
/// that does not stop all of the machine's forks and exits, for a grace period of RCU (7 to 10 ms).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

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

/// A program as the kernel takes it.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) program: CString,
    /// With its own name before them.
    pub(crate) arguments: Vec<CString>,
    pub(crate) environment: Vec<CString>,
    pub(crate) directory: CString,
}

/// The cgroup that a new process is to be in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// Its parent's.
    Parents,
    /// The one whose directory this is: it is born there (version 2).
    Born(BorrowedFd<'a>),
    /// The one that is joined by writing to this file, before exec.
    Joined(BorrowedFd<'a>),
}

/// Why a program was not executed.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There is no process, or the program is none that runs here.
    Start(io::Error),
    /// It cannot be in its cgroup.
    Place(io::Error),
    /// Its working directory cannot be entered.
    Directory(io::Error),
}

/// Executes `image` in a child, the leader of a process group of its own, with these descriptors
/// (none of them one of the three) as its standard input, output and error. Returns when it has
/// been executed, or was killed before: its pid, and the same held. It tells its end by SIGCHLD and
/// is to be reaped.
///
/// A child that is to join a cgroup dies with its parent until it has, so that there is no moment at
/// which it can outlive the parent without being findable. At exec nothing of that is left: the
/// signal is cleared, since the program must not die with the thread that started it.
///
/// As with vfork(2) the child borrows this process's memory rather than copying the tables of a
/// large daemon, while this thread, whose place it takes, stands still.
pub(crate) fn execute(
    image: &Image,
    stdio: [BorrowedFd<'_>; 3],
    place: Place<'_>,
) -> Result<(Pid, OwnedFd), Refused> {
    let parent = getpid();
    let (arguments, environment) = (pointers(&image.arguments), pointers(&image.environment));
    let refused = Cell::new(None);
    let join = || {
        if let Place::Joined(file) = place {
            end_with(parent)?;
            rustix::io::write(file, b"0")?;
            set_parent_process_death_signal(None)?;
        }
        Ok(())
    };
    let start = || {
        let [input, output, errors] = stdio;
        dup2_stdin(input)?;
        dup2_stdout(output)?;
        dup2_stderr(errors)?;
        setpgid(None, None)?;
        become_program(&image.program, &arguments, &environment)
    };
    // Where it ended, and why, is told through the memory that is shared until exec.
    let told = |at: fn(io::Error) -> Refused| {
        let refused = &refused;
        move |errno: &Errno| refused.set(Some((at, *errno)))
    };
    let attempt = || {
        join().inspect_err(told(Refused::Place))?;
        chdir(image.directory.as_c_str()).inspect_err(told(Refused::Directory))?;
        start().inspect_err(told(Refused::Start))
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    // Handlers of ours must not run in the child, which would run them in our memory: they are
    // cleared there, and until then all signals are blocked.
    let flags = widened(flags) | CLONE_CLEAR_SIGHAND;
    let masked = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let before = masked.map_err(|errno| Refused::Start(errno.into()))?;
    let cgroup = match place {
        Place::Born(directory) => Some(directory),
        Place::Parents | Place::Joined(_) => None,
    };
    // SAFETY: `attempt` makes plain system calls, which neither allocate nor lock; what it writes,
    // `refused`, is this thread's, which waits meanwhile; with CLONE_VM comes CLONE_VFORK.
    let child = unsafe { child(flags, libc::SIGCHLD, cgroup, &attempt) };
    // It fails only for a mask that is none.
    let _ = before.thread_set_mask();
    let (pid, pidfd) = child.map_err(|error| match error.kind() {
        // Too many processes, or too little memory: neither is the cgroup's fault.
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => Refused::Start(error),
        _ if cgroup.is_some() => Refused::Place(error),
        _ => Refused::Start(error),
    })?;
    match refused.get() {
        None => Ok((pid, pidfd)),
        Some((at, errno)) => {
            // It has ended, or is about to.
            while nix::sys::wait::waitpid(pid, None) == Err(nix::errno::Errno::EINTR) {}
            Err(at(errno.into()))
        }
    }
}

/// Pointers to strings, and the null that ends them, as execve(2) wants them.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    let each = strings.iter().map(|string| string.as_ptr());
    each.chain([ptr::null()]).collect()
}

/// Becomes another program, with no signal blocked, and SIGPIPE, which Rust's runtime ignores, as it
/// is by default. Both lists are [`pointers`] of what is still there.
fn become_program(
    program: &CStr,
    arguments: &[*const c_char],
    environment: &[*const c_char],
) -> Result<(), Errno> {
    // SAFETY: all zeros are a `sigaction` with the default action, and a `sigset_t` with no signal;
    // the kernel reads these locals, and is given nothing to write to. Both lists end with a null
    // pointer, and point to strings that this function's caller has borrowed until exec.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, &raw const default, ptr::null_mut());
        let nothing: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const nothing, ptr::null_mut());
        libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr());
    }
    let error = io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::NOEXEC))
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
    unsafe { child(widened(flags), NO_SIGNAL, None, &hold) }.map(|(pid, _)| pid)
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
    unsafe { child(0, NO_SIGNAL, None, &write) }.map(|(pid, _)| pid)
}

/// Starts a child process that runs `work` and exits with 0 or the errno, and sends `signal` then.
/// It is born in `cgroup`, if one is named. Returned is its pid, and the same held.
///
/// # Safety
/// `work` must be async-signal-safe (no allocation, no lock, no panic): other threads of this
/// process may be anywhere. `flags` must have CLONE_VFORK if it has CLONE_VM, and nothing that
/// takes a further argument.
unsafe fn child<F>(
    flags: u64,
    signal: libc::c_int,
    cgroup: Option<BorrowedFd<'_>>,
    work: &F,
) -> io::Result<(Pid, OwnedFd)>
where
    F: Fn() -> Result<(), Errno>,
{
    extern "C" fn run<F: Fn() -> Result<(), Errno>>(work: *const c_void) -> ! {
        // SAFETY: the pointer was made of a `&F` in `child`, which either has not returned yet
        // (CLONE_VFORK) or left a copy of the memory behind for this process; _exit(2) ends it
        // without a trace in that memory.
        unsafe {
            let work = &*work.cast::<F>();
            libc::_exit(work().map_or_else(Errno::raw_os_error, |()| 0))
        }
    }
    let mut stack = vec![0_u128; CHILD_STACK];
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all zeros are a `clone_args` that asks for nothing.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags | widened(libc::CLONE_PIDFD);
    arguments.pidfd = (&raw mut pidfd).addr() as u64;
    arguments.exit_signal = u64::from(signal.unsigned_abs());
    arguments.stack = stack.as_mut_ptr().addr() as u64;
    arguments.stack_size = (CHILD_STACK * size_of::<u128>()) as u64;
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: the stack grows down from its end, aligned to 16 as its words are, and outlives the
    // child's use of it: either the child has a copy of its own, or this call returns only when the
    // child has let go of the memory (CLONE_VFORK; no signal but a deadly one ends that wait). The
    // kernel writes the descriptor to the local. `run` and `work` are safe there by this function's
    // contract.
    let answer = unsafe { clone3(&arguments, run::<F>, ptr::from_ref(work).cast()) };
    match libc::pid_t::try_from(answer) {
        Ok(pid) if pid > 0 => {
            // SAFETY: the kernel has just made this descriptor for us (close-on-exec), and nobody
            // else knows of it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok((Pid::from_raw(pid), pidfd))
        }
        _ => Err(io::Error::from_raw_os_error(
            i32::try_from(-answer).unwrap_or(libc::EINVAL),
        )),
    }
}

/// clone3(2), which the C library has no function for: the child calls `run` with `work`. Returned is
/// its pid, or the negated errno.
///
/// # Safety
/// `arguments` must name a stack of the child's own, whose end is aligned to 16, and otherwise be what
/// the kernel may act on; `run` must be safe to call with `work` there.
unsafe fn clone3(
    arguments: &libc::clone_args,
    run: extern "C" fn(*const c_void) -> !,
    work: *const c_void,
) -> isize {
    let answer: isize;
    // SAFETY: for the parent this is a system call that clobbers what is listed. The child goes on
    // after it with the same registers on its own stack, uses nothing of its parent's frame, and
    // never leaves `run`.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, {work}",
            "call {run}",
            "ud2",
            "2:",
            run = in(reg) run,
            work = in(reg) work,
            inlateout("rax") libc::SYS_clone3 as isize => answer,
            in("rdi") ptr::from_ref(arguments),
            in("rsi") size_of::<libc::clone_args>(),
            out("rcx") _,
            out("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, {work}",
            "blr {run}",
            "brk #1",
            "2:",
            run = in(reg) run,
            work = in(reg) work,
            in("x8") libc::SYS_clone3,
            inlateout("x0") ptr::from_ref(arguments) => answer,
            in("x1") size_of::<libc::clone_args>(),
        );
    }
    answer
}

/// Flags of clone(2) as clone3(2) takes them.
const fn widened(flags: libc::c_int) -> u64 {
    flags.cast_unsigned() as u64
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
