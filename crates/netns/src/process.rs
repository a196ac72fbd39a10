//! Processes that are not our children, watched without mistaking one for another.
//!
//! A pid is a number that is given away again. A process is therefore recorded as its pid with its
//! start time, and opened in this order: the pidfd first (from then on it means one process for
//! ever), the start time compared then (is it the recorded one?), the pidfd polled last (did it live
//! while the start time was read?).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

pub use rustix::process::Signal;

use crate::sys;

/// One process of this boot, for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// Its pid in our pid namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub start_time: u64,
}

/// One process, held open: never another that got its number.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
    id: ProcessId,
}

/// A process could not be looked at or reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error(
        "cannot {step} process {pid}: {source}; {}",
        crate::error::remedy(source)
    )]
    System {
        /// What was tried.
        step: &'static str,
        /// The process.
        pid: u32,
        /// What the kernel answered.
        source: io::Error,
    },
    /// `/proc/PID/stat` does not have its documented form (`proc_pid_stat(5)`).
    #[error("/proc/{pid}/stat cannot be read: '{text}'; is /proc mounted as procfs?")]
    Stat {
        /// The process.
        pid: u32,
        /// What it says.
        text: String,
    },
    /// The number is no pid: 0 or above the largest there can be.
    #[error("{pid} is no process id; the record that holds it is damaged")]
    NoPid {
        /// The number.
        pid: u32,
    },
}

/// What `/proc/PID/stat` tells that is used here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// It has exited and waits to be reaped.
    pub(crate) zombie: bool,
    /// It runs no program of its own: a kernel thread, or one that is exiting.
    pub(crate) without_program: bool,
    /// It runs a program and that was given an empty environment.
    pub(crate) bare: bool,
    start_time: u64,
    /// The wait status; absent where the kernel cut the line short.
    exit_code: Option<i32>,
}

impl ProcessId {
    /// The process that has `pid` now; `None` if there is none.
    ///
    /// Only for a process that cannot have been reaped yet: a child of ours, or one that was just
    /// reported as running. A zombie is a process.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::Stat`] if `/proc` cannot be read.
    pub fn of(pid: u32) -> Result<Option<Self>, Error> {
        Ok(stat(pid)?.map(|stat| Self {
            pid,
            start_time: stat.start_time,
        }))
    }

    /// Opens the process; `None` if it is gone, dead, or its pid belongs to another one now.
    ///
    /// # Errors
    /// [`Error::NoPid`] for a number that is no pid, [`Error::System`] (no descriptors left, no
    /// right to look), [`Error::Stat`].
    pub fn open(self) -> Result<Option<PidFd>, Error> {
        let Some(fd) = open_pidfd(self.pid)? else {
            return Ok(None);
        };
        if Self::of(self.pid)? != Some(self) {
            return Ok(None);
        }
        let process = PidFd { fd, id: self };
        Ok(process.is_alive()?.then_some(process))
    }
}

impl PidFd {
    /// Which process it is.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Whether it runs. A zombie does not.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel cannot be asked.
    pub fn is_alive(&self) -> Result<bool, Error> {
        Ok(!self.wait_exit(Duration::ZERO)?)
    }

    /// Sends it a signal; `false` if it is gone already.
    ///
    /// # Errors
    /// [`Error::System`] if we may not.
    pub fn kill(&self, signal: Signal) -> Result<bool, Error> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(self.failed("signal")(errno)),
        }
    }

    /// Blocks until it has exited, at most for `deadline`; says whether it has.
    ///
    /// # Errors
    /// [`Error::System`] if it cannot be waited for.
    pub fn wait_exit(&self, deadline: Duration) -> Result<bool, Error> {
        wait_all(&[self.fd.as_fd()], Instant::now().checked_add(deadline))
            .map_err(self.failed("wait for"))
    }

    /// Waits until it has exited, on a tokio runtime with I/O enabled. Dropping it changes nothing.
    ///
    /// # Errors
    /// [`Error::System`] if it cannot be waited for.
    ///
    /// # Panics
    /// Outside a tokio runtime, as everything of tokio's does.
    pub async fn exited(&self) -> Result<(), Error> {
        let fd = self.fd.try_clone().map_err(self.failed("watch"))?;
        let watched = sys::watch(fd).map_err(self.failed("watch"))?;
        // An exited process stays readable, so there is no readiness to clear.
        watched
            .readable()
            .await
            .map(|mut ready| ready.retain_ready())
            .map_err(self.failed("watch"))
    }

    /// How it ended, where that can be known; `None` while it runs.
    ///
    /// A zombie tells it through `/proc`; once it was reaped, by whomever, the kernel keeps it for
    /// those who hold a pidfd (6.15 and newer), and on older kernels it is not known any more.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::Stat`] if the kernel cannot be asked.
    pub fn exit_status(&self) -> Result<Option<ExitStatus>, Error> {
        if self.is_alive()? {
            return Ok(None);
        }
        if let Some(status) = self.reaped_status()? {
            return Ok(Some(ExitStatus::from_raw(status)));
        }
        let zombie = stat(self.id.pid)?
            .filter(|stat| stat.zombie && stat.start_time == self.id.start_time)
            .filter(|_| may_look(self.id.pid))
            .and_then(|stat| stat.exit_code);
        // It may have been reaped between the two looks.
        let status = if zombie.is_some() {
            zombie
        } else {
            self.reaped_status()?
        };
        Ok(status.map(ExitStatus::from_raw))
    }

    /// As [`exit_status`](Self::exit_status), as the number that container engines show: the exit
    /// code, or 128 and the signal's number.
    ///
    /// # Errors
    /// As [`exit_status`](Self::exit_status).
    pub fn exit_code(&self) -> Result<Option<i32>, Error> {
        let code =
            |status: ExitStatus| status.code().or(status.signal().map(|signal| 128 + signal));
        Ok(self.exit_status()?.and_then(code))
    }

    fn reaped_status(&self) -> Result<Option<i32>, Error> {
        sys::pidfd_exit(self.fd.as_fd()).map_err(self.failed("ask the exit status of"))
    }

    fn failed<E: Into<io::Error>>(&self, step: &'static str) -> impl FnOnce(E) -> Error {
        let pid = self.id.pid;
        move |source| Error::System {
            step,
            pid,
            source: source.into(),
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A pidfd of whatever process has `pid` now; `None` if there is none.
pub(crate) fn open_pidfd(pid: u32) -> Result<Option<OwnedFd>, Error> {
    let number = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Error::NoPid { pid })?;
    match pidfd_open(number, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        // EINVAL: the number belongs to a thread that is no process; ENOENT: likewise, since 6.15.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::System {
            step: "open",
            pid,
            source: errno.into(),
        }),
    }
}

/// Blocks until all of `pidfds` have exited or the time is `end` (`None`: for ever); says whether
/// all have.
pub(crate) fn wait_all(pidfds: &[BorrowedFd<'_>], end: Option<Instant>) -> Result<bool, Errno> {
    for pidfd in pidfds {
        if !wait_one(*pidfd, end)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn wait_one(pidfd: BorrowedFd<'_>, end: Option<Instant>) -> Result<bool, Errno> {
    loop {
        let mut polled = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    }
}

/// Reads `/proc/PID/stat`; `None` if there is no such process.
pub(crate) fn stat(pid: u32) -> Result<Option<Stat>, Error> {
    let text = match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(text) => text,
        // ESRCH: it went while the file was open.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => return Ok(None),
        Err(source) => {
            return Err(Error::System {
                step: "look at",
                pid,
                source,
            });
        }
    };
    let text = String::from_utf8_lossy(&text);
    let bad = || Error::Stat {
        pid,
        text: text.trim_end().to_owned(),
    };
    parse_stat(&text).map(Some).ok_or_else(bad)
}

/// Whether `/proc/PID/stat` tells us the truth: to those who may not look it shows an exit code of 0.
fn may_look(pid: u32) -> bool {
    // The same right guards this link; a zombie has no program, which is another error.
    let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    !std::fs::read_link(format!("/proc/{pid}/exe")).is_err_and(denied)
}

/// Parses the line. The command's name (field 2) may hold spaces and brackets, so what follows its
/// last closing bracket is counted: field 3 is the state, 9 the flags, 22 the start time, 26
/// where the program begins, 50 and 51 where the environment begins and ends, 52 the exit code.
fn parse_stat(text: &str) -> Option<Stat> {
    /// `PF_EXITING` and `PF_KTHREAD` of `linux/sched.h`.
    const WITHOUT_PROGRAM: u64 = 0x4 | 0x20_0000;
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        zombie: matches!(*fields.first()?, "Z" | "X"),
        without_program: number(9)? & WITHOUT_PROGRAM != 0,
        // Exec lays out the environment first and tells where the program begins last: until then an
        // environment that ends where it begins may be one that is being written.
        bare: number(26)? != 0 && number(50).is_some() && number(50) == number(51),
        start_time: number(22)?,
        exit_code: fields.get(52 - 3).and_then(|field| field.parse().ok()),
    })
}

#[cfg(test)]
mod tests;
