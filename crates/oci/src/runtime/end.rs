//! The end of a sandbox: killed, seen gone, forgotten.
//!
//! What counts is what the kernel says. A runtime may have lost its state, be gone itself, or
//! report a success; the sandbox is gone when its recorded process, the process that the
//! runtime names, and every process in its cgroup have been seen to end.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::mount::{UnmountFlags, unmount};
use tokio::time::Instant;

use super::{OciRuntime, failed, file_failed};
use crate::cgroup::CgroupLayout;
use crate::ending::Ending;
use crate::error::{OciError, Verb};
use crate::point;
use crate::process::ProcessWatch;
use crate::target::Target;

impl OciRuntime {
    /// Kills every process of the sandbox and sees each of them gone. Succeeds when there is
    /// none, also when the runtime is missing or has forgotten the sandbox.
    ///
    /// # Errors
    /// [`OciError::StillAlive`] after the deadline of `kill`; [`OciError::Process`] and
    /// [`OciError::File`] if the kernel refuses; without cgroups also why the runtime does not
    /// name the process. A process may be alive after each of them.
    pub async fn kill(&self, target: &Target) -> Result<(), OciError> {
        if self.handler.vm {
            self.ask_to_kill(target).await?;
        }
        // A runtime that hangs over it takes nothing of the time that SIGKILL has.
        let end = Instant::now() + self.handler.deadlines.kill;
        if let Some(recorded) = target.process {
            let watch = ProcessWatch::open(recorded);
            let watch = watch.map_err(failed("watch", &target.id, recorded.pid))?;
            self.ending(target).process(watch, end).await?;
        }
        // With a record and a cgroup the runtime has nothing to add, and is not asked.
        let has_cgroups = self.cgroups(target)?.layout != CgroupLayout::None;
        if (target.process.is_none() || !has_cgroups)
            && let Some(pid) = self.named_by_runtime(target, has_cgroups).await?
        {
            let watch = ProcessWatch::of(pid).map_err(failed("watch", &target.id, pid))?;
            self.ending(target).process(watch, end).await?;
        }
        self.ending(target).members(&target.cgroup, end).await?;
        point::reached("oci.killed");
        Ok(())
    }

    /// Ends the sandbox and removes what the runtime keeps of it, and its cgroup. Succeeds when
    /// there is nothing. The bundle is not needed and not touched.
    ///
    /// # Errors
    /// As [`kill`](Self::kill); then, with every process gone, whatever keeps the runtime from
    /// forgetting it ([`OciError::RuntimeMissing`], [`OciError::Failed`], …).
    pub async fn delete(&self, target: &Target) -> Result<(), OciError> {
        self.kill(target).await?;
        if self.has_state(&target.id)? {
            self.forget(target).await?;
        }
        self.ending(target).remove(&target.cgroup).await?;
        point::reached("oci.deleted");
        Ok(())
    }

    fn ending<'a>(&self, target: &'a Target) -> Ending<'a> {
        Ending {
            target,
            patience: self.handler.deadlines.kill,
        }
    }

    async fn forget(&self, target: &Target) -> Result<(), OciError> {
        let binary = self.handler.locate()?;
        let id = target.id.as_str();
        let args = vec![OsStr::new("delete"), OsStr::new("--force"), OsStr::new(id)];
        self.succeed(self.call(&binary, Verb::Delete, id, args))
            .await?;
        for entry in self.state_entries(&target.id)? {
            remove_leftover(&entry).map_err(file_failed("remove", &entry, &target.id))?;
            point::reached("oci.leftover.removed");
        }
        Ok(())
    }

    /// A virtual machine's monitor cleans up after itself when its runtime ends it. That this
    /// fails is no error here, because all that lives afterwards is killed anyway.
    async fn ask_to_kill(&self, target: &Target) -> Result<(), OciError> {
        if !self.has_state(&target.id)? {
            return Ok(());
        }
        let Ok(binary) = self.handler.locate() else {
            return Ok(());
        };
        let id = target.id.as_str();
        let args = vec![OsStr::new("kill"), OsStr::new(id), OsStr::new("KILL")];
        if let Err(error) = self.succeed(self.call(&binary, Verb::Kill, id, args)).await {
            tracing::debug!(sandbox = %target.id, %error, "its processes are killed directly");
        }
        Ok(())
    }

    /// The process in the runtime's state. Where there are cgroups, they know it too, so that a
    /// runtime that cannot tell keeps nothing alive.
    async fn named_by_runtime(
        &self,
        target: &Target,
        has_cgroups: bool,
    ) -> Result<Option<u32>, OciError> {
        if !self.has_state(&target.id)? {
            return Ok(None);
        }
        match self.state(&target.id).await {
            Ok(state) => Ok(state.pid()),
            Err(_) if has_cgroups => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Removes what a runtime leaves although it has forgotten the sandbox: a runc that is killed
/// while it mounts its own program in its state leaves that mount, and then cannot remove the
/// directory. What is no mount point says so, and is only removed.
pub(crate) fn remove_leftover(entry: &Path) -> io::Result<()> {
    let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    for file in fs::read_dir(entry).into_iter().flatten().flatten() {
        let _ = unmount(file.path(), flags);
    }
    let removed = if fs::symlink_metadata(entry)?.is_dir() {
        fs::remove_dir_all(entry)
    } else {
        fs::remove_file(entry)
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
