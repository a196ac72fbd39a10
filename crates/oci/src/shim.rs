//! Sandboxes by shims (containerd's runtime v2): Kata, containerd-shim-runc-v2.
//!
//! A shim is a process that stays beside the sandbox, and is asked by ttrpc. A start goes so:
//!
//! 1. The bundle is there, in a directory that has the sandbox's id for a name. The fifo `log` in it
//!    gets a reader, and the socket of events a listener.
//! 2. The shim's program is called with the verb `start`, in the bundle. It leaves the shim behind,
//!    and answers with its address. Until then all that runs belongs to the effect, and ends with
//!    it.
//! 3. Connect tells the shim's pid. The record in the bundle is written, and the shim moved into a
//!    cgroup of its own: from now on it outlives the effect.
//! 4. Create and Start, by the task service or the sandbox service. Which one is asked is in the
//!    record before.
//!
//! The end is the reverse, and each part of it may fail: the shim is asked to kill, to wait, to
//! delete and to shut down; then it is killed with all that it started, and seen gone, so that
//! nothing goes on behind what follows; then the program is called with `delete`, which cleans up
//! what a dead shim left; then every process of the sandbox is killed and seen gone, and the
//! cgroups, the socket and what is left of the runtime's state are removed.
//!
//! Invariants:
//! - As with a runtime: an end never succeeds while a process of the sandbox **or its shim** may be
//!   alive, whatever any of them says.
//! - No call of a shim is without a deadline.
//! - All that an end needs is derived from the id, or stands in the bundle before it exists.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use podwalk_process::Spawn;
use tokio::time::{Duration, Instant};

use crate::bundle::Bundle;
use crate::error::{OciError, Verb};
use crate::handler::Handler;
use crate::id::SandboxId;
use crate::point;
use crate::process::ProcessIdentity;
use crate::runtime::{Sandbox, Version, file_failed, refuse_plain_file};
use crate::target::Target;

mod answer;
mod begin;
mod client;
mod end;
mod events;
mod logs;
mod place;
mod probe;
mod program;
mod record;
mod session;
mod settings;

use client::Client;
use events::Events;
use logs::Logs;
use record::Record;
use session::Session;
pub use settings::{ShimApi, ShimOptions, ShimSettings};

/// A handler whose program is a shim, at work. Clones share its listener of events and the readers
/// of logs, which need a tokio runtime that lives as long.
#[derive(Clone)]
pub struct ShimRuntime {
    handler: Handler,
    settings: ShimSettings,
    spawn: Arc<dyn Spawn>,
    events: Arc<Events>,
    logs: Arc<Logs>,
}

impl std::fmt::Debug for ShimRuntime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("ShimRuntime");
        shown
            .field("handler", &self.handler)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl ShimRuntime {
    /// Takes a handler, what it has as a shim, and the port by which its processes can be found
    /// after a crash. Nothing is looked at yet.
    pub fn new(handler: Handler, settings: ShimSettings, spawn: Arc<dyn Spawn>) -> Self {
        let events = Arc::new(Events::new(settings.events.clone()));
        Self {
            handler,
            settings,
            spawn,
            events,
            logs: Arc::default(),
        }
    }

    /// The handler.
    pub fn handler(&self) -> &Handler {
        &self.handler
    }

    /// What it has as a shim.
    pub fn settings(&self) -> &ShimSettings {
        &self.settings
    }

    /// Starts a shim, and has it make and start the sandbox of `bundle`, which stands in the
    /// directory of bundles. Its process is alive on success.
    ///
    /// As with [`OciRuntime::create_and_start`](crate::OciRuntime::create_and_start): probe first;
    /// after an error the outcome is unknown unless [`OciError::nothing_begun`], and
    /// [`delete`](Self::delete) undoes what was done.
    ///
    /// # Errors
    /// Each of [`OciError`] but `StillAlive`; nothing is cleaned up.
    pub async fn create_and_start(&self, bundle: &Bundle) -> Result<Sandbox, OciError> {
        bundle.netns().map_or(Ok(()), refuse_plain_file)?;
        bundle.user_namespace().map_or(Ok(()), refuse_plain_file)?;
        let binary = self.handler.locate()?;
        let id = bundle.id();
        self.prepare(id, bundle.dir()).await?;
        let begun = Instant::now();
        let bootstrap = self.start_shim(&binary, id, id, bundle.dir()).await?;
        record::note_address(bundle.dir(), &bootstrap.address).map_err(file_failed(
            "write the address into",
            bundle.dir(),
            id,
        ))?;
        let (mut session, mut record) = self.take_hold(&binary, bundle, &bootstrap).await?;
        point::reached("shim.moved");
        record.asked = true;
        // Whom to ask for it after a crash is written down before it may be there.
        session.sandbox_api = self.settings.api != ShimApi::Task;
        record.sandbox_api = session.sandbox_api;
        self.note(bundle, &record)?;
        // The program's `start` and Create have one deadline together.
        let left = &mut session.deadlines.create;
        *left = left.saturating_sub(begun.elapsed());
        let process = self.ask_for_it(&mut session, &mut record, bundle).await?;
        self.see_it_running(&session, process).await?;
        point::reached("shim.started");
        Ok(Sandbox {
            process,
            shim_address: Some(bootstrap.address),
        })
    }

    /// Asks for a further container of a sandbox: calls `start` for it in its own bundle, whose
    /// annotations say that it belongs to the sandbox (`io.kubernetes.cri.container-type` and
    /// `-sandbox-id`), and answers with the address of the shim, which is the sandbox's. Nothing is
    /// started.
    ///
    /// # Errors
    /// As [`create_and_start`](Self::create_and_start); [`OciError::Answer`] if the shim does not
    /// group, and has started another.
    pub async fn join(
        &self,
        sandbox: &Target,
        container: &SandboxId,
        bundle: &Path,
    ) -> Result<String, OciError> {
        let binary = self.handler.locate()?;
        self.prepare(container, bundle).await?;
        let answered = self
            .start_shim(&binary, &sandbox.id, container, bundle)
            .await;
        // The call has ended, and the shim writes to its sandbox's log.
        self.logs.close(container);
        let bootstrap = answered?;
        match self.address(sandbox)? {
            Some(address) if address == bootstrap.address => Ok(address),
            known => Err(OciError::Answer {
                binary,
                verb: Verb::Start,
                id: container.to_string(),
                why: format!(
                    "the shim listens on {} and that of its sandbox on {known:?}",
                    bootstrap.address
                ),
            }),
        }
    }

    /// Waits for the end of the sandbox as its shim tells it, at most `within`: the exit code, 128
    /// and the signal's number if one ended it. On a connection of its own.
    ///
    /// # Errors
    /// [`OciError::Rpc`] and [`OciError::RpcDeadline`]; [`OciError::EndedAtOnce`] if no shim
    /// listens.
    pub async fn wait(&self, target: &Target, within: Duration) -> Result<u32, OciError> {
        let Some(session) = self.session(target).await? else {
            let id = target.id.to_string();
            return Err(OciError::EndedAtOnce { id });
        };
        let waited = session.wait(within).await;
        waited.map_err(session.client.explain("Wait"))
    }

    /// Takes up a sandbox that an earlier life of ours started: its log gets a reader again, and
    /// its events a listener. Succeeds when there is none.
    ///
    /// # Errors
    /// [`OciError::File`] if one of them cannot be opened; the sandbox is none the worse.
    pub async fn adopt(&self, id: &SandboxId) -> Result<(), OciError> {
        let bundle = self.bundle(id);
        self.listen(id).await?;
        let opened = self.logs.reopen(id, &bundle);
        opened.map_err(file_failed("read the log in", &bundle, id))
    }

    /// Where the shim of a sandbox listens: as it was recorded, or as its bundle says.
    ///
    /// # Errors
    /// [`OciError::File`] if the bundle cannot be read.
    pub fn address(&self, target: &Target) -> Result<Option<String>, OciError> {
        let bundle = self.bundle(&target.id);
        let unread = || file_failed("read the shim's address in", &bundle, &target.id);
        if let Some(address) = &target.shim_address {
            return Ok(Some(address.clone()));
        }
        match Record::read(&bundle).map_err(unread())? {
            Some(record) => Ok(Some(record.address)),
            None => record::read_address(&bundle).map_err(unread()),
        }
    }

    /// The shim's own process; `None` if none was recorded. Without it nobody can ask for the
    /// sandbox, nor end it as its runtime would.
    ///
    /// # Errors
    /// [`OciError::File`] if the bundle cannot be read.
    pub fn process(&self, id: &SandboxId) -> Result<Option<ProcessIdentity>, OciError> {
        let bundle = self.bundle(id);
        let record = Record::read(&bundle);
        let record = record.map_err(file_failed("read the record in", &bundle, id))?;
        Ok(record.map(|record| record.process()))
    }

    /// What the program says of itself, its path if nothing.
    ///
    /// # Errors
    /// If it is missing or cannot be executed.
    pub async fn version(&self) -> Result<Version, OciError> {
        let binary = self.handler.locate()?;
        let line = self.version_line(&binary).await?;
        Ok(Version { binary, line })
    }

    fn bundle(&self, id: &SandboxId) -> PathBuf {
        self.settings.bundles.join(id.as_str())
    }

    /// What must listen before a shim starts.
    async fn prepare(&self, id: &SandboxId, bundle: &Path) -> Result<(), OciError> {
        self.listen(id).await?;
        let opened = self.logs.open(id, bundle);
        opened.map_err(file_failed("make the log in", bundle, id))
    }

    async fn listen(&self, id: &SandboxId) -> Result<(), OciError> {
        let listening = self.events.listen().await;
        listening.map_err(file_failed(
            "listen for events on",
            self.events.socket(),
            id,
        ))
    }

    /// A session with the shim of a sandbox; `None` where nobody listens.
    async fn session(&self, target: &Target) -> Result<Option<Session>, OciError> {
        let bundle = self.bundle(&target.id);
        let record = Record::read(&bundle);
        let record = record.map_err(file_failed(
            "read the shim's record in",
            &bundle,
            &target.id,
        ))?;
        let Some(address) = self.address(target)? else {
            return Ok(None);
        };
        let task_v3 = record.as_ref().is_some_and(|record| record.task_v3);
        let sandbox_api = match &record {
            Some(record) => record.sandbox_api,
            None => self.settings.api == ShimApi::Sandbox,
        };
        let session = self
            .open(&target.id, &address, task_v3, sandbox_api)
            .await?;
        // A shim that was started just before its daemon died waits for a reader of its log.
        if session.is_some()
            && let Err(error) = self.adopt(&target.id).await
        {
            tracing::warn!(sandbox = %target.id, %error, "its shim is heard no more");
        }
        Ok(session)
    }

    async fn open(
        &self,
        id: &SandboxId,
        address: &str,
        task_v3: bool,
        sandbox_api: bool,
    ) -> Result<Option<Session>, OciError> {
        let deadlines = self.handler.deadlines;
        let namespace = &self.settings.namespace;
        let client = Client::open(id, address, namespace, task_v3, deadlines.query).await?;
        Ok(client.map(|client| Session {
            client,
            id: id.clone(),
            deadlines,
            sandbox_api,
        }))
    }
}
