//! A start by a shim that listens: taking hold of it, and having the sandbox made and started.

use std::path::Path;

use tokio::time::Instant;

use super::answer::Bootstrap;
use super::client::CallError;
use super::record::Record;
use super::session::{Session, State};
use super::settings::ShimApi;
use super::{ShimRuntime, place};
use crate::bundle::Bundle;
use crate::cgroup::Cgroups;
use crate::error::{OciError, Verb};
use crate::id::SandboxId;
use crate::point;
use crate::process::{ProcessIdentity, ProcessWatch};
use crate::runtime::{PARENT_IN_USE, cgroup_failed, failed, file_failed, see_pause};
use crate::target::Target;

/// What came of asking by the sandbox service.
enum Asked {
    /// It runs.
    Started(ProcessIdentity),
    /// The shim makes none by this service, and has made none: why.
    NotMade(String),
}

impl ShimRuntime {
    /// Learns the shim's pid, writes it down, and moves it out of the effect.
    pub(super) async fn take_hold(
        &self,
        binary: &Path,
        bundle: &Bundle,
        bootstrap: &Bootstrap,
    ) -> Result<(Session, Record), OciError> {
        let id = bundle.id();
        let refused = |why: String| OciError::Answer {
            binary: binary.to_owned(),
            verb: Verb::Start,
            id: id.to_string(),
            why,
        };
        let session = self.open(id, &bootstrap.address, bootstrap.task_v3, false);
        let session = session
            .await?
            .ok_or_else(|| refused(format!("nobody listens on {}", bootstrap.address)))?;
        let pid = session.connect().await?;
        point::reached("shim.connected");
        // It will be moved and killed: it must not be anybody's.
        if !place::is_marked(pid, id) {
            return Err(refused(format!(
                "its pid {pid} is not that of a shim of ours"
            )));
        }
        let watch = ProcessWatch::of(pid).map_err(failed("watch", id, pid))?;
        let process = watch.map(|watch| watch.identity());
        let process = process.ok_or_else(|| refused("the shim ended at once".to_owned()))?;
        let record = Record {
            address: bootstrap.address.clone(),
            task_v3: session.client.task_v3(),
            sandbox_api: false,
            pid: process.pid,
            start_time: process.start_time,
            asked: false,
        };
        self.note(bundle, &record)?;
        point::reached("shim.recorded");
        let making = PARENT_IN_USE.read().await;
        place::move_out(&bundle.target(), pid)?;
        drop(making);
        Ok((session, record))
    }

    /// Has the sandbox made and started, by the service that the handler names.
    pub(super) async fn ask_for_it(
        &self,
        session: &mut Session,
        record: &mut Record,
        bundle: &Bundle,
    ) -> Result<ProcessIdentity, OciError> {
        if !session.sandbox_api {
            return self.ask_task_service(session, bundle).await;
        }
        let (begun, before) = (Instant::now(), place::living(&bundle.target())?);
        let why = match self.ask_sandbox_service(session, bundle).await? {
            Asked::Started(process) => return Ok(process),
            Asked::NotMade(why) => why,
        };
        if self.settings.api != ShimApi::Auto {
            return Err(session.client.no_sandbox_service(why));
        }
        // Two sandboxes of one id would be in each other's way: the other service is asked only
        // where the kernel too knows of none.
        let fresh = started_since(&bundle.target(), &before)?;
        if !fresh.is_empty() {
            let why = format!("{why}, and processes {fresh:?} run since");
            return Err(session.client.no_sandbox_service(why));
        }
        tracing::debug!(sandbox = %session.id, why, "its shim is asked by the task service");
        session.sandbox_api = false;
        record.sandbox_api = false;
        self.note(bundle, record)?;
        point::reached("shim.declined");
        let left = &mut session.deadlines.create;
        *left = left.saturating_sub(begun.elapsed());
        self.ask_task_service(session, bundle).await
    }

    async fn ask_task_service(
        &self,
        session: &Session,
        bundle: &Bundle,
    ) -> Result<ProcessIdentity, OciError> {
        let options = self.settings.options.message(&self.handler.root);
        // The runtime makes the sandbox's cgroup.
        let making = PARENT_IN_USE.read().await;
        let pid = session.create(bundle, options).await?;
        drop(making);
        point::reached("shim.created");
        // Held before Start lets it go: afterwards its number may be another's.
        let held = watched(&session.id, pid)?;
        session.start().await?;
        Ok(held.identity())
    }

    /// The pid is known after the start only; that of Kata is its shim's, which is the monitor's
    /// parent or the monitor itself.
    async fn ask_sandbox_service(
        &self,
        session: &Session,
        bundle: &Bundle,
    ) -> Result<Asked, OciError> {
        // The runtime makes the sandbox's cgroup, at either call.
        let making = PARENT_IN_USE.read().await;
        match session.create_sandbox(bundle).await {
            Err(CallError::Unimplemented(why)) => {
                return Ok(Asked::NotMade(format!("it does not serve it ({why})")));
            }
            Err(CallError::Refused(why)) => {
                return Ok(Asked::NotMade(format!("it refuses the request ({why})")));
            }
            made => made.map_err(session.client.explain("CreateSandbox"))?,
        }
        point::reached("shim.created");
        let pid = session.start().await?;
        drop(making);
        if pid == 0 {
            // containerd-shim-runc-v2 from 1.7 on: its service is there for containerd, which makes
            // the pause process as a task beside it.
            return Ok(Asked::NotMade("StartSandbox starts nothing".to_owned()));
        }
        let held = watched(&session.id, pid)?;
        Ok(Asked::Started(held.identity()))
    }

    /// What a virtual machine's monitor executes says nothing: there the shim is asked.
    pub(super) async fn see_it_running(
        &self,
        session: &Session,
        process: ProcessIdentity,
    ) -> Result<(), OciError> {
        let (id, pid) = (&session.id, process.pid);
        let watch = ProcessWatch::open(process).map_err(failed("watch", id, pid))?;
        let gone = || OciError::EndedAtOnce { id: id.to_string() };
        let watch = watch.ok_or_else(gone)?;
        if !self.handler.vm {
            return see_pause(id, &watch, Instant::now() + self.handler.deadlines.start).await;
        }
        match session.state().await? {
            Some((State::Running, _)) if watch.is_alive().map_err(failed("watch", id, pid))? => {
                Ok(())
            }
            Some((State::Created, _)) => Err(OciError::NeverRan {
                id: id.to_string(),
                pid,
            }),
            _ => Err(gone()),
        }
    }

    pub(super) fn note(&self, bundle: &Bundle, record: &Record) -> Result<(), OciError> {
        let written = record.write(bundle.dir());
        written.map_err(file_failed(
            "write the shim's record into",
            bundle.dir(),
            bundle.id(),
        ))
    }
}

/// Takes hold of a process that must be there.
fn watched(id: &SandboxId, pid: u32) -> Result<ProcessWatch, OciError> {
    let watch = ProcessWatch::of(pid).map_err(failed("watch", id, pid))?;
    watch.ok_or_else(|| OciError::EndedAtOnce { id: id.to_string() })
}

/// Who is in the sandbox's cgroup, or belongs to its shim and is not among `before`.
fn started_since(target: &Target, before: &[u32]) -> Result<Vec<u32>, OciError> {
    let cgroups = Cgroups::detect().map_err(cgroup_failed("find", target))?;
    let members = cgroups.members(&target.cgroup);
    let mut fresh = members.map_err(cgroup_failed("read", target))?;
    let shims = place::living(target)?;
    fresh.extend(shims.into_iter().filter(|pid| !before.contains(pid)));
    Ok(fresh)
}
