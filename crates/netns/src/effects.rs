//! The processes of an effect: put where a later life finds them, and ended there.
//!
//! A plugin, what it started itself, a runtime's `run`: all of them go on when the daemon is
//! killed, and an ADD that finishes after its DEL leaves an address that nobody owns. So every
//! command of an effect is enlisted when it starts, and before any probe or undo the pod is quieted:
//!
//! - **with cgroups**, all that the command starts is in the cgroup `GROUP/POD`, whatever session or
//!   parent it gave itself. Only what an effect moves to another cgroup on purpose leaves: that is
//!   how a sandbox, moved by its runtime into its own cgroup, is spared;
//! - **without cgroups**, all that the command starts inherits `PODWALK_EFFECT=POD` in its
//!   environment. A sandbox is spared because its runtime gives it an environment of its own, but
//!   only when it execs its program: a container that was created and not started is not spared.
//!
//! On version 2 the process is born in the cgroup. On version 1 it joins before exec, and until then
//! dies with its parent. Without cgroups a few instructions are left between its birth and exec; a
//! daemon that holds a lock on an open file cannot have a successor in them, because the child holds
//! it too until exec.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use podwalk_process::{Command, Spawned, Stdio};
use rustix::process::{Signal, pidfd_send_signal};

pub use crate::cgroup::CgroupLayout;
pub use error::Error;

use crate::point;
use crate::process::{open_pidfd, wait_all};
use crate::sys::Refused;
use group::Group;
use roll::Roll;

mod environment;
mod error;
mod group;
mod launch;
mod roll;

/// The variable that carries the pod's name in each process of an effect.
pub const ENVIRONMENT: &str = "PODWALK_EFFECT";

/// How long a look waits for the next where there is nothing to poll.
const PAUSE: Duration = Duration::from_millis(1);

/// The processes of one daemon's effects.
#[derive(Debug, Clone)]
pub struct Effects {
    layout: CgroupLayout,
    group: String,
}

impl Effects {
    /// Keeps effects' processes in the cgroup `group` of the layout (a name, such as
    /// `podwalk-effects`, which two daemons on one machine must not share). Makes nothing yet.
    ///
    /// # Errors
    /// [`Error::Name`] if `group` cannot be a cgroup's name.
    pub fn new(layout: CgroupLayout, group: &str) -> Result<Self, Error> {
        check_name(group)?;
        Ok(Self {
            layout,
            group: group.to_owned(),
        })
    }

    /// Starts `command` so that it can be found as one of `pod`'s: in the pod's cgroup, which is made,
    /// and with [`ENVIRONMENT`] set.
    ///
    /// # Errors
    /// [`Error::Name`] if `pod` cannot be a cgroup's name, [`Error::Cgroup`] if the cgroup cannot be
    /// made or joined, [`Error::Start`] if the program cannot be executed, [`Error::Directory`] if its
    /// working directory cannot be entered.
    pub fn spawn(
        &self,
        pod: &str,
        command: &Command<'_>,
        stdio: Stdio<'_>,
    ) -> Result<Spawned, Error> {
        check_name(pod)?;
        let group = self.group(pod);
        let entrance = group.as_ref().map(Group::make).transpose()?;
        launch::launch(pod, command, stdio, entrance.as_ref()).map_err(|refused| match refused {
            Refused::Start(source) => Error::start(pod, command.program, source),
            Refused::Place(source) => {
                let path = group.as_ref().map_or(Path::new(""), Group::path);
                Error::cgroup("start a process in", path, source)
            }
            Refused::Directory(source) => Error::Directory {
                pod: pod.to_owned(),
                path: command.directory.to_path_buf(),
                source,
            },
        })
    }

    /// Kills every process of `pod`'s effects and sees each of them gone; then removes the cgroup.
    ///
    /// Returns how many were killed, as far as they were seen. Succeeds when there is nothing. Blocks,
    /// at most for about `deadline`.
    ///
    /// # Errors
    /// [`Error::Alive`] with the pids that are left at the deadline: the effect may still go on, and
    /// must neither be probed nor undone. [`Error::Name`], [`Error::Cgroup`], [`Error::Process`] and
    /// [`Error::ProcessTable`].
    pub fn quiet(&self, pod: &str, deadline: Duration) -> Result<u32, Error> {
        self.quiet_after(pod, Duration::ZERO, deadline)
    }

    /// As [`quiet`](Self::quiet), but kills nobody before about `grace` is over, and so never who ends
    /// by itself until then: of a process that is killed between two changes that belong together one
    /// half is left. The deadline begins after the grace.
    ///
    /// # Errors
    /// As [`quiet`](Self::quiet).
    pub fn quiet_after(
        &self,
        pod: &str,
        grace: Duration,
        deadline: Duration,
    ) -> Result<u32, Error> {
        check_name(pod)?;
        // A time beyond all time never comes.
        let spared = Instant::now().checked_add(grace);
        let end = spared.and_then(|spared| spared.checked_add(deadline));
        let roll = self.roll(pod);
        let mut killed = BTreeSet::new();
        // Who is killed may have started another meanwhile: only an empty roll ends this.
        loop {
            let members = roll.members()?;
            if members.is_empty() {
                break;
            }
            let held = hold(&roll, &members)?;
            if !is_over(spared) {
                see_gone(pod, &held, spared)?;
                continue;
            }
            kill(&roll, &held)?;
            killed.extend(held.iter().map(|(pid, _)| *pid));
            if !see_gone(pod, &held, end)? {
                refuse_alive(pod, &roll)?;
            }
        }
        if !killed.is_empty() {
            point::reached("netns.effect_killed");
        }
        if let Some(group) = self.group(pod) {
            group.remove(pod, end)?;
        }
        Ok(u32::try_from(killed.len()).unwrap_or(u32::MAX))
    }

    /// The pods whose effects left something: a cgroup, or without cgroups a process.
    ///
    /// # Errors
    /// [`Error::Cgroup`] or [`Error::ProcessTable`] if that cannot be read.
    pub fn leftovers(&self) -> Result<Vec<String>, Error> {
        match self.parent() {
            Some(parent) => parent.children(),
            None => environment::pods(),
        }
    }

    /// Removes the cgroup that holds the pods' ones, if none is left in it. It is made anew when it
    /// is needed.
    ///
    /// # Errors
    /// [`Error::Cgroup`] if it is not empty or cannot be removed.
    pub fn disband(&self) -> Result<(), Error> {
        self.parent().map_or(Ok(()), |parent| parent.remove_empty())
    }

    fn roll<'a>(&self, pod: &'a str) -> Roll<'a> {
        self.group(pod).map_or(Roll::Environment(pod), Roll::Cgroup)
    }

    fn parent(&self) -> Option<Group> {
        let root = match &self.layout {
            CgroupLayout::V1 { hierarchy } => hierarchy,
            CgroupLayout::V2 { root } => root,
            CgroupLayout::None => return None,
        };
        Some(Group::at(root.join(&self.group)))
    }

    fn group(&self, pod: &str) -> Option<Group> {
        self.parent().map(|parent| parent.child(pod))
    }
}

/// Opens those of `members` that are still on the roll once they are held. A pid that was given
/// away between the two looks is not on it, or is rightly.
fn hold(roll: &Roll<'_>, members: &BTreeSet<u32>) -> Result<Vec<(u32, OwnedFd)>, Error> {
    let mut held = Vec::with_capacity(members.len());
    // Pid 0 stands for a process that our pid namespace does not show; it cannot be opened.
    for pid in members.iter().copied().filter(|pid| *pid != 0) {
        if let Some(pidfd) = open_pidfd(pid)? {
            held.push((pid, pidfd));
        }
    }
    let confirmed = roll.confirm(&held)?;
    held.retain(|(pid, _)| confirmed.contains(pid));
    Ok(held)
}

/// Waits for the end of all that are held, until `end`; says whether there is time left.
fn see_gone(pod: &str, held: &[(u32, OwnedFd)], end: Option<Instant>) -> Result<bool, Error> {
    let pidfds: Vec<_> = held.iter().map(|(_, pidfd)| pidfd.as_fd()).collect();
    let gone = wait_all(&pidfds, end).map_err(|errno| Error::wait(pod, errno))?;
    if held.is_empty() {
        // On their way out, or in exec: there is nothing to poll for.
        std::thread::sleep(PAUSE);
    }
    Ok(gone && !is_over(end))
}

/// Kills all at once where the kernel can, and each that is held in any case.
fn kill(roll: &Roll<'_>, held: &[(u32, OwnedFd)]) -> Result<(), Error> {
    roll.kill_at_once()?;
    for (pid, pidfd) in held {
        match pidfd_send_signal(pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(errno) => return Err(Error::signal(*pid, errno)),
        }
    }
    Ok(())
}

/// Whether the deadline is over.
fn is_over(end: Option<Instant>) -> bool {
    end.is_some_and(|end| Instant::now() >= end)
}

/// The deadline is over: whoever is on the roll now is alive.
fn refuse_alive(pod: &str, roll: &Roll<'_>) -> Result<(), Error> {
    let pids: Vec<u32> = roll.members()?.into_iter().collect();
    if pids.is_empty() {
        return Ok(());
    }
    Err(Error::Alive {
        pod: pod.to_owned(),
        pids: error::Pids(pids),
    })
}

/// A name is one directory's name and one value in an environment.
fn check_name(name: &str) -> Result<(), Error> {
    let bad = name.is_empty()
        || name.len() > 255
        || name.starts_with('.')
        || name.starts_with("cgroup.")
        || name
            .chars()
            .any(|letter| letter == '/' || letter.is_control());
    if bad {
        Err(Error::Name {
            name: name.to_owned(),
        })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
