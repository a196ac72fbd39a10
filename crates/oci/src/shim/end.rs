//! The end of a sandbox and its shim: asked for, then made sure of.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::answer::socket_path;
use super::record::Record;
use super::{ShimRuntime, place};
use crate::ending::Ending;
use crate::error::OciError;
use crate::id::SandboxId;
use crate::point;
use crate::process::{ProcessIdentity, ProcessWatch};
use crate::runtime::{failed, file_failed, remove_leftover};
use crate::target::Target;

impl ShimRuntime {
    /// Kills every process of the sandbox and sees each of them gone. Its shim stays. Succeeds when
    /// there is none.
    ///
    /// # Errors
    /// As [`OciRuntime::kill`](crate::OciRuntime::kill): a process may be alive after each of them.
    pub async fn kill(&self, target: &Target) -> Result<(), OciError> {
        let patience = self.handler.deadlines.kill;
        let mut named = None;
        match self.session(target).await {
            Ok(Some(session)) => {
                // Whom the shim names is asked before it forgets, and not relied on. It is held
                // before the shim reaps it, and its pid may be another's.
                let pid = session.state().await.ok().flatten().map(|(_, pid)| pid);
                named =
                    pid.map(|pid| ProcessWatch::of(pid).map_err(failed("watch", &target.id, pid)));
                if let Err(error) = session.kill(patience).await {
                    tracing::debug!(sandbox = %target.id, %error, "it is killed without its shim");
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(sandbox = %target.id, %error, "its shim cannot be asked");
            }
        }
        let end = Instant::now() + patience;
        let watch = named.transpose()?.flatten();
        self.ending(target).process(watch, end).await?;
        self.end_sandbox(target, end).await?;
        point::reached("shim.killed");
        Ok(())
    }

    /// Ends the sandbox and its shim, and removes what they leave: the runtime's state, the socket,
    /// the cgroups. Succeeds when there is nothing. The bundle is not removed.
    ///
    /// # Errors
    /// As [`kill`](Self::kill); then, with every process gone, whatever keeps the shim's `delete`
    /// from cleaning up ([`OciError::RuntimeMissing`], [`OciError::Failed`], …).
    pub async fn delete(&self, target: &Target) -> Result<(), OciError> {
        let address = self.address(target)?;
        self.bow_out(target).await;
        point::reached("shim.shut_down");
        self.end_shim(target).await?;
        point::reached("shim.ended");
        // Nothing is left that could make anything behind this.
        let cleaned = self.clean_up(target).await;
        let end = Instant::now() + self.handler.deadlines.kill;
        self.end_sandbox(target, end).await?;
        cleaned?;
        self.remove_state(&target.id)?;
        let told = address.as_deref().and_then(socket_path);
        let sockets = told.map(PathBuf::from).into_iter();
        for path in sockets.chain([self.usual_socket(&target.id)]) {
            remove_socket(&path).map_err(file_failed("remove", &path, &target.id))?;
        }
        self.ending(target).remove(&target.cgroup).await?;
        self.ending(target).remove(&target.cgroup.of_shim()).await?;
        self.logs.close(&target.id);
        point::reached("shim.deleted");
        Ok(())
    }

    /// Has the shim end its sandbox and itself, as far as it does.
    async fn bow_out(&self, target: &Target) {
        let end = Instant::now() + self.handler.deadlines.kill;
        let done = match self.session(target).await {
            Ok(Some(session)) => session
                .bow_out(end)
                .await
                .map_err(|error| error.to_string()),
            Ok(None) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = done {
            tracing::warn!(sandbox = %target.id, error, "its shim does not end it, and is killed");
        }
    }

    /// Kills the shim and all that it started outside the sandbox, and sees them gone.
    async fn end_shim(&self, target: &Target) -> Result<(), OciError> {
        let end = Instant::now() + self.handler.deadlines.kill;
        if let Some(shim) = self.recorded_shim(&target.id)? {
            let watch = ProcessWatch::open(shim);
            let watch = watch.map_err(failed("watch", &target.id, shim.pid))?;
            self.ending(target).process(watch, end).await?;
        }
        place::end(&self.ending(target), end).await
    }

    /// Calls the shim's `delete` where there is a bundle: without one nothing was started, or all
    /// was cleaned up.
    ///
    /// Its failure says nothing where there was nothing to clean up: before Create, and where the
    /// runtime's state, which we can see, is gone.
    async fn clean_up(&self, target: &Target) -> Result<(), OciError> {
        let bundle = self.bundle(&target.id);
        if self.address(target)?.is_none() || !bundle.is_dir() {
            return Ok(());
        }
        let record = Record::read(&bundle);
        let record = record.map_err(file_failed(
            "read the shim's record in",
            &bundle,
            &target.id,
        ))?;
        let asked = record.is_some_and(|record| record.asked);
        let cleaned = match self.handler.locate() {
            Ok(binary) => self.delete_leftovers(&binary, &target.id, &bundle).await,
            Err(error) => Err(error),
        };
        let seen = self.settings.options.state_is_ours() && !self.has_state(&target.id);
        match cleaned {
            Err(error) if !asked || seen => {
                tracing::debug!(sandbox = %target.id, %error, "there was nothing to clean up");
                Ok(())
            }
            cleaned => cleaned,
        }
    }

    /// Kills the recorded process and all in the sandbox's cgroup.
    async fn end_sandbox(&self, target: &Target, end: Instant) -> Result<(), OciError> {
        if let Some(recorded) = target.process {
            let watch = ProcessWatch::open(recorded);
            let watch = watch.map_err(failed("watch", &target.id, recorded.pid))?;
            self.ending(target).process(watch, end).await?;
        }
        self.ending(target).members(&target.cgroup, end).await
    }

    fn recorded_shim(&self, id: &SandboxId) -> Result<Option<ProcessIdentity>, OciError> {
        let bundle = self.bundle(id);
        let record = Record::read(&bundle);
        let record = record.map_err(file_failed("read the shim's record in", &bundle, id))?;
        Ok(record.map(|record| record.process()))
    }

    /// Where runc keeps what it knows of a sandbox, below its root.
    fn state(&self, id: &SandboxId) -> PathBuf {
        let namespace = self.handler.root.join(&self.settings.namespace);
        namespace.join(id.as_str())
    }

    pub(super) fn has_state(&self, id: &SandboxId) -> bool {
        self.state(id).symlink_metadata().is_ok()
    }

    fn remove_state(&self, id: &SandboxId) -> Result<(), OciError> {
        let state = self.state(id);
        match remove_leftover(&state) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(file_failed("remove", &state, id)(error))
            }
            _ => Ok(()),
        }
    }

    /// Where containerd's shims and Kata's listen: they derive it from what they are called with.
    /// One that is killed before it has told leaves a socket that nobody else knows of.
    fn usual_socket(&self, id: &SandboxId) -> PathBuf {
        let events = self.settings.events.join(&self.settings.namespace);
        let hash = Sha256::digest(events.join(id.as_str()).as_os_str().as_bytes());
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Path::new("/run/containerd/s").join(hex)
    }

    fn ending<'a>(&self, target: &'a Target) -> Ending<'a> {
        Ending {
            target,
            patience: self.handler.deadlines.kill,
        }
    }
}

/// Removes the socket of a shim that is gone. What is none is left alone.
fn remove_socket(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
