//! Processes and cgroups of a sandbox, ended and seen gone.

use std::io::ErrorKind;

use tokio::time::{Duration, Instant, sleep, timeout_at};

use crate::cgroup::{Cgroups, CgroupsPath};
use crate::error::OciError;
use crate::process::ProcessWatch;
use crate::runtime::{PARENT_IN_USE, cgroup_failed, failed};
use crate::target::Target;

/// How long to wait where there is nothing to poll: a process in a cgroup that has no pidfd is
/// just being made or just ending.
pub(crate) const AGAIN: Duration = Duration::from_millis(2);

/// The end of a target's processes.
#[derive(Clone, Copy)]
pub(crate) struct Ending<'a> {
    pub(crate) target: &'a Target,
    /// How long SIGKILL may take, for messages and for a cgroup that is still busy.
    pub(crate) patience: Duration,
}

impl Ending<'_> {
    /// Kills one process and sees it gone.
    pub(crate) async fn process(
        &self,
        watch: Option<ProcessWatch>,
        end: Instant,
    ) -> Result<(), OciError> {
        let Some(watch) = watch else {
            return Ok(());
        };
        let (pid, id) = (watch.identity().pid, &self.target.id);
        watch.kill().map_err(failed("kill", id, pid))?;
        match timeout_at(end, watch.exited()).await {
            Ok(exited) => exited.map_err(failed("watch", id, pid)),
            Err(_elapsed) => Err(self.still_alive(pid)),
        }
    }

    /// Kills all in a cgroup. Who is killed may have started another meanwhile: only an empty
    /// cgroup ends this.
    pub(crate) async fn members(&self, cgroup: &CgroupsPath, end: Instant) -> Result<(), OciError> {
        let cgroups = self.cgroups()?;
        let listed = || {
            let members = cgroups.members(cgroup);
            members.map_err(cgroup_failed("read", self.target))
        };
        loop {
            let members = listed()?;
            let Some(first) = members.first().copied() else {
                return Ok(());
            };
            if Instant::now() >= end {
                return Err(self.still_alive(first));
            }
            for pid in members {
                let watch = ProcessWatch::of(pid);
                let watch = watch.map_err(failed("watch", &self.target.id, pid))?;
                // It may have ended before it was held, and its pid be another's.
                if listed()?.contains(&pid) {
                    self.process(watch, end).await?;
                }
            }
            sleep(AGAIN).await;
        }
    }

    /// Removes a cgroup. A process that has just ended still counts in it for a moment, although
    /// it is not listed any more: then the removal is refused, and tried again.
    pub(crate) async fn remove(&self, cgroup: &CgroupsPath) -> Result<(), OciError> {
        let end = Instant::now() + self.patience;
        let cgroups = self.cgroups()?;
        loop {
            // A runtime that makes cgroups in the parent now would lose it; the last delete
            // removes the parent.
            let nobody_makes = PARENT_IN_USE.try_write();
            match cgroups.remove(cgroup, nobody_makes.is_ok()) {
                Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < end => {}
                done => return done.map_err(cgroup_failed("remove", self.target)),
            }
            drop(nobody_makes);
            self.members(cgroup, end).await?;
            sleep(AGAIN).await;
        }
    }

    fn cgroups(&self) -> Result<Cgroups, OciError> {
        Cgroups::detect().map_err(cgroup_failed("find", self.target))
    }

    pub(crate) fn still_alive(&self, pid: u32) -> OciError {
        OciError::StillAlive {
            id: self.target.id.to_string(),
            pid,
            after: self.patience,
        }
    }
}
