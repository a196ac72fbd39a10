//! Processes that are not our children, without mistaking one for another.
//!
//! A pid is a number that is given away again. A process is therefore its pid with its start
//! time; it is opened in this order: the pidfd first (from then on it means one process), the
//! start time compared then (is it the one that was recorded?), the pidfd polled last (did it
//! live while that was read?).

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One process of this boot, for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// Its pid in our process namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub start_time: u64,
}

/// How an exit code is learned from a pidfd. It takes an ioctl that has no safe form
/// (PIDFD_GET_INFO, kernel 6.15), so whoever has one brings it.
pub trait ExitCodes: Send + Sync {
    /// The exit code of an ended process, 128 + the signal's number if one ended it; `None`
    /// where the kernel does not tell.
    fn exit_code(&self, pidfd: BorrowedFd<'_>) -> Option<i32>;
}

/// Knows no exit codes.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExitCodes;

impl ExitCodes for NoExitCodes {
    fn exit_code(&self, _pidfd: BorrowedFd<'_>) -> Option<i32> {
        None
    }
}

/// A process held open. Its end is noticed at once, and it is never another that got its pid.
#[derive(Debug)]
pub struct ProcessWatch {
    pidfd: AsyncFd<OwnedFd>,
    identity: ProcessIdentity,
}

impl ProcessWatch {
    /// Holds the process that was recorded; `None` if it is gone. Needs a tokio runtime with
    /// I/O enabled.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn open(recorded: ProcessIdentity) -> io::Result<Option<Self>> {
        let watch = Self::of(recorded.pid)?;
        Ok(watch.filter(|watch| watch.identity == recorded))
    }

    /// Holds whichever process has this pid now; `None` if none has, or if it has ended.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let opened = number.map(|number| pidfd_open(number, PidfdFlags::empty()));
        let pidfd = match opened {
            Some(Ok(pidfd)) => pidfd,
            // A number that is only a thread's is no process to us.
            Some(Err(Errno::SRCH | Errno::INVAL)) | None => return Ok(None),
            Some(Err(errno)) => return Err(errno.into()),
        };
        let Some(start_time) = start_time(pid)? else {
            return Ok(None);
        };
        let pidfd = watched(pidfd)?;
        let identity = ProcessIdentity { pid, start_time };
        let watch = Self { pidfd, identity };
        Ok(watch.is_alive()?.then_some(watch))
    }

    /// The process.
    pub fn identity(&self) -> ProcessIdentity {
        self.identity
    }

    /// Whether it runs. A process that has ended and was not waited for does not.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn is_alive(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        loop {
            match poll(&mut fds, Some(&now)) {
                Ok(ready) => return Ok(ready == 0),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sends SIGKILL. Success does not mean that it is gone: see [`exited`](Self::exited).
    ///
    /// # Errors
    /// If it may not be killed. That it is gone already is no error.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until it has ended. May be dropped and called again.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub async fn exited(&self) -> io::Result<()> {
        // The readiness is kept: who has ended stays so.
        self.pidfd.readable().await?.retain_ready();
        Ok(())
    }

    /// Its exit code once it has ended, where `codes` knows it.
    pub fn exit_code(&self, codes: &dyn ExitCodes) -> Option<i32> {
        codes.exit_code(self.pidfd.as_fd())
    }
}

impl AsFd for ProcessWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

#[allow(
    deprecated,
    reason = "the replacement is unsafe, for descriptors that may be closed; an OwnedFd is not"
)]
fn watched(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// The start time of a pid, `None` if there is no such process.
fn start_time(pid: u32) -> io::Result<Option<u64>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => parse_start_time(&stat)
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no start time in its stat")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Field 22. The second field is the command in parentheses and may contain anything, also
/// parentheses and spaces, so the fields are counted from the last parenthesis.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, after_command) = stat.rsplit_once(") ")?;
    after_command.split(' ').nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests;
