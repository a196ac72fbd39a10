//! A child and its process group, from its start until it is reaped.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use crate::spawn::Spawned;

/// A child. Its group is killed when it is dropped before it was reaped; it is reaped in any case.
pub(crate) struct Child {
    leader: Pid,
    /// None when it was reaped: from then on the number may be another's.
    pidfd: Option<AsyncFd<OwnedFd>>,
}

impl Child {
    pub(crate) fn new(spawned: Spawned) -> io::Result<Self> {
        let leader = i32::try_from(spawned.pid).ok().and_then(Pid::from_raw);
        let leader = leader.ok_or_else(|| io::Error::other("the process has no id"))?;
        match watched(spawned.pidfd) {
            Ok(pidfd) => Ok(Self {
                leader,
                pidfd: Some(pidfd),
            }),
            Err(error) => {
                // What was killed goes at once, or is waited for in vain only in a sleep that
                // nothing interrupts.
                let _ = kill_process_group(leader, Signal::KILL);
                let _ = waitid(WaitId::Pid(leader), WaitIdOptions::EXITED);
                Err(error)
            }
        }
    }

    /// Kills it and all of its group.
    pub(crate) fn kill(&self) {
        if self.pidfd.is_some() {
            // It fails only when nobody is left in the group.
            let _ = kill_process_group(self.leader, Signal::KILL);
        }
    }

    /// Waits until it has ended. It is not reaped.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        match &self.pidfd {
            // The readiness is kept: who has ended stays so.
            Some(pidfd) => {
                pidfd.readable().await?.retain_ready();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Waits until it has ended, and reaps it.
    pub(crate) async fn reap(&mut self) -> io::Result<ExitStatus> {
        self.ended().await?;
        let Some(pidfd) = self.pidfd.take() else {
            return Err(Errno::CHILD.into());
        };
        let status = reaped(&pidfd)?;
        status.ok_or_else(|| io::Error::other("it ended without a status"))
    }

    /// Whether somebody is left in the group of a child that was reaped. Its number is not given away
    /// while it has members; once it has none this may ask about a stranger, and harms nobody.
    pub(crate) fn group_lives(&self) -> bool {
        rustix::process::test_kill_process_group(self.leader).is_ok()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        let Some(pidfd) = self.pidfd.take() else {
            return;
        };
        // One that does not go at once, in an uninterruptible sleep, is waited for elsewhere. With
        // no runtime left this process is ending, and its children are somebody else's then.
        if matches!(reaped(&pidfd), Ok(None))
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                if pidfd.readable().await.is_ok() {
                    let _ = reaped(&pidfd);
                }
            });
        }
    }
}

/// Reaps a child that has ended; `None` for one that has not.
fn reaped(pidfd: &impl AsFd) -> io::Result<Option<ExitStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let ended = loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            Err(Errno::INTR) => {}
            answer => break answer?,
        }
    };
    // As wait(2) has it: the code is in the second byte, a signal in the first.
    Ok(ended.map(|ended| {
        let code = ended.exit_status().map(|code| (code & 0xff) << 8);
        ExitStatus::from_raw(code.or(ended.terminating_signal()).unwrap_or(0xff00))
    }))
}

/// Registers a pidfd for its end.
#[allow(
    deprecated,
    reason = "the safe constructor is sound for an OwnedFd, which never changes its descriptor; \
              its successor is unsafe, and this crate has no unsafe code"
)]
fn watched(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}
