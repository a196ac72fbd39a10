//! Looking for a sandbox: what the runtime says, held against what the kernel says.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use super::{OciRuntime, cgroup_failed, failed, file_failed};
use crate::bundle::is_pause;
use crate::error::{OciError, Verb};
use crate::id::SandboxId;
use crate::process::{ProcessIdentity, ProcessWatch};
use crate::target::Target;

/// What was found of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// Nothing: no state, no process.
    Absent,
    /// Something that is no sandbox and will not become one: a state that is half written, or
    /// processes without a state.
    Partial {
        /// What there is, for a message.
        what: String,
    },
    /// It was made, and does not execute its program yet.
    Created {
        /// Its process.
        process: ProcessIdentity,
    },
    /// It runs. Whether it is the process that was recorded is for the caller to compare.
    Running {
        /// Its process.
        process: ProcessIdentity,
    },
    /// The runtime remembers it, and its process is gone.
    Stopped,
}

impl OciRuntime {
    /// Looks for the sandbox, and changes nothing.
    ///
    /// The processes of an interrupted start must be gone: one that goes on makes the answer stale.
    ///
    /// # Errors
    /// The answer is unknown: the runtime is missing, fails or hangs, and something is there
    /// that only it can explain.
    pub async fn probe(&self, target: &Target) -> Result<Probe, OciError> {
        if !self.has_state(&target.id)? {
            return self.probe_without_state(target);
        }
        let state = match self.state(&target.id).await {
            Ok(state) => state,
            Err(OciError::Failed { message, .. }) if !is_alive(target)? => {
                let what = format!("the runtime cannot read its state: {message}");
                return Ok(Probe::Partial { what });
            }
            Err(error) => return Err(error),
        };
        let process = match state.pid() {
            Some(pid) => ProcessWatch::of(pid)
                .map_err(failed("watch", &target.id, pid))?
                .map(|watch| watch.identity()),
            None => None,
        };
        // crun's `run` takes it for running from the moment that its state is written. A crun that
        // is killed then leaves a process that never gets to its program.
        let began = |process: ProcessIdentity| {
            self.handler.vm || target.process.is_some() || is_pause(process.pid)
        };
        let found = match (state.status.as_str(), process) {
            ("created", Some(process)) => Probe::Created { process },
            ("running" | "paused", Some(process)) if !began(process) => Probe::Created { process },
            ("running" | "paused", Some(process)) => Probe::Running { process },
            ("stopped" | "created" | "running" | "paused", _) if is_alive(target)? => {
                Probe::Partial {
                    what: "the recorded process lives, and the runtime takes it for dead"
                        .to_owned(),
                }
            }
            ("stopped" | "created" | "running" | "paused", _) => Probe::Stopped,
            (other, _) => Probe::Partial {
                what: format!("the runtime's state is {other:?}"),
            },
        };
        Ok(found)
    }

    fn probe_without_state(&self, target: &Target) -> Result<Probe, OciError> {
        if is_alive(target)? {
            let what = "its process lives, and the runtime has no state of it".to_owned();
            return Ok(Probe::Partial { what });
        }
        let members = self.cgroups(target)?.members(&target.cgroup);
        let members = members.map_err(cgroup_failed("read", target))?;
        if members.is_empty() {
            return Ok(Probe::Absent);
        }
        Ok(Probe::Partial {
            what: format!("processes {members:?} are in its cgroup, and the runtime has no state"),
        })
    }

    /// The runtime's own answer.
    pub(super) async fn state(&self, id: &SandboxId) -> Result<State, OciError> {
        let binary = self.handler.locate()?;
        let args = vec![OsStr::new("state"), OsStr::new(id.as_str())];
        let answer = self
            .succeed(self.call(&binary, Verb::State, id.as_str(), args))
            .await?;
        serde_json::from_slice(&answer.stdout).map_err(|error| OciError::Answer {
            binary,
            verb: Verb::State,
            id: id.to_string(),
            why: error.to_string(),
        })
    }

    /// Whether the runtime keeps anything under this id.
    pub(super) fn has_state(&self, id: &SandboxId) -> Result<bool, OciError> {
        Ok(!self.state_entries(id)?.is_empty())
    }

    /// What the runtime keeps under this id. Runtimes name their entry after the id, some with a
    /// suffix.
    pub(super) fn state_entries(&self, id: &SandboxId) -> Result<Vec<PathBuf>, OciError> {
        let root = &self.handler.root;
        let failed = || file_failed("read the state", root, id);
        let entries = match fs::read_dir(root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed()(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed())?;
            if belongs_to(&entry.file_name().to_string_lossy(), id.as_str()) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }
}

/// The part of a runtime's `state` that we use.
#[derive(Deserialize)]
pub(super) struct State {
    status: String,
    pid: Option<i64>,
}

impl State {
    pub(super) fn is_running(&self) -> bool {
        self.status == "running"
    }

    /// None of a sandbox that has ended: some runtimes say 0 then, runsc says -1.
    pub(super) fn pid(&self) -> Option<u32> {
        let pid = self.pid.and_then(|pid| u32::try_from(pid).ok());
        pid.filter(|pid| *pid != 0)
    }
}

/// Whether the process that was recorded lives.
pub(crate) fn is_alive(target: &Target) -> Result<bool, OciError> {
    match target.process {
        Some(process) => ProcessWatch::open(process)
            .map(|watch| watch.is_some())
            .map_err(failed("watch", &target.id, process.pid)),
        None => Ok(false),
    }
}

pub(super) fn belongs_to(entry: &str, id: &str) -> bool {
    let Some(rest) = entry.strip_prefix(id) else {
        return false;
    };
    rest.is_empty() || rest == ".state" || rest.starts_with("_sandbox:")
}
