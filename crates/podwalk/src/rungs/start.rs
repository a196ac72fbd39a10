//! Start: the bundle is written, the runtime makes the sandbox and starts it.
//! Undo: killed, seen gone, forgotten by the runtime, its bundle removed.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use podwalk_engine::error::{ErrorKind, StepError};
use podwalk_engine::pod::Pod;
use podwalk_engine::ports::{BoxFuture, Failure, Probe, Rung, Start};
use podwalk_engine::record::{ProcessIdentity, StartIntent, StartNetwork, StartOutput};
use podwalk_engine::step::NetworkMode;
use podwalk_netns::Link;
use podwalk_netns::process::ProcessId;
use podwalk_oci::{Bundle, ConfigError, OciError, Runtime, SandboxId, Target};

use super::sandbox::{self, invalid};
use super::{Home, Host, QUIET, Watched, blocking, of_netns};

/// Nothing is asked of a handler that there is not.
const NO_RUNTIME: Duration = Duration::from_secs(10);

pub(super) struct StartRung(pub(super) Host);

impl StartRung {
    fn runtime(&self, pod: &Pod) -> Result<&Runtime, StepError> {
        self.0.handlers.of(pod)
    }

    /// Who would start the sandbox now.
    fn asked(&self, pod: &Pod) -> Result<&Runtime, StepError> {
        self.0.handlers.find(&pod.spec.runtime_handler)
    }

    async fn start(&self, pod: &Pod, intent: &StartIntent) -> Result<StartOutput, Failure> {
        let runtime = self.runtime(pod).map_err(Failure::not_done)?;
        // Before anything is written: a runtime that is missing says so first.
        runtime
            .handler()
            .locate()
            .map_err(|error| not_begun(&error))?;
        let takes_over = runtime.handler().vm && pod.spec.network == NetworkMode::Cni;
        let (host, asked, intent) = (self.0.clone(), pod.clone(), intent.clone());
        let made = move || make_bundle(&host, &asked, &intent, takes_over);
        let made = self.0.effect(pod, made).await.map_err(Failure::unknown)?;
        // The runtime opens the user namespace by our descriptor.
        let (bundle, _open) = made.map_err(Failure::not_done)?;
        let sandbox = runtime.create_and_start(&bundle).await;
        let sandbox = sandbox.map_err(|error| of_runtime(&error))?;
        let process = recorded_process(sandbox.process);
        let started = StartOutput {
            process,
            shim_address: sandbox.shim_address,
        };
        self.watch(pod, &started).map_err(Failure::unknown)?;
        Ok(started)
    }

    /// Hands the sandbox over to those who wait for its end, and its shim: a sandbox that nobody
    /// can ask for is not ready.
    fn watch(&self, pod: &Pod, sandbox: &StartOutput) -> Result<(), StepError> {
        self.watch_process(pod, sandbox.process, sandbox.process)?;
        if sandbox.shim_address.is_none() {
            return Ok(());
        }
        let id = sandbox_id(pod).map_err(|error| invalid(&error))?;
        let shim = self.runtime(pod)?.shim_process(&id);
        match shim.map_err(|error| failed(&error))? {
            Some(shim) => self.watch_process(pod, sandbox.process, recorded_process(shim)),
            None => Ok(()),
        }
    }

    /// Has the sandbox's end noted when `watched` ends.
    fn watch_process(
        &self,
        pod: &Pod,
        sandbox: ProcessIdentity,
        watched: ProcessIdentity,
    ) -> Result<(), StepError> {
        let pidfd = process_id(watched).open().map_err(|error| failed(&error))?;
        let pidfd = pidfd.ok_or_else(|| {
            let who = match watched == sandbox {
                true => "the sandbox",
                false => "the sandbox's shim",
            };
            let message = format!("{who} ended as soon as it was started");
            StepError::new(ErrorKind::Failed, message)
        })?;
        let watched = Watched {
            pod: pod.id,
            process: sandbox,
            pidfd,
        };
        // Nobody listens any more only when the daemon is ending.
        let _ = self.0.watch.send(watched);
        Ok(())
    }

    async fn look(&self, pod: &Pod, intent: &StartIntent) -> Result<Probe<StartOutput>, StepError> {
        if let Some(network) = &intent.network
            && !is_present(network).await?
        {
            return self.without_network(pod).await;
        }
        // What was recorded needs no runtime to be recognised, but a shim's sandbox its shim.
        if let Some(sandbox) = &pod.sandbox
            && sandbox.shim_address.is_none()
        {
            return self.look_at_process(pod, sandbox, intent);
        }
        let runtime = self.runtime(pod)?;
        let target = self.target(pod).map_err(|error| invalid(&error))?;
        let found = runtime.probe(&target).await;
        let process = match found.map_err(|error| failed(&error))? {
            podwalk_oci::Probe::Absent => return Ok(Probe::Absent),
            podwalk_oci::Probe::Running { process } => recorded_process(process),
            _ => return Ok(Probe::Partial),
        };
        let shim_address = runtime.shim_address(&target);
        let sandbox = StartOutput {
            process,
            shim_address: shim_address.map_err(|error| failed(&error))?,
        };
        if pod
            .sandbox
            .as_ref()
            .is_some_and(|before| before.process != process)
        {
            return Ok(Probe::Partial);
        }
        let found = self.look_at_process(pod, &sandbox, intent)?;
        if matches!(found, Probe::Complete(_))
            && let Err(error) = runtime.adopt(&target).await
        {
            tracing::warn!(pod = %pod.id, %error, "what the shim says is not heard");
        }
        Ok(found)
    }

    /// Its namespace is not there: a sandbox that may be is not as recorded.
    async fn without_network(&self, pod: &Pod) -> Result<Probe<StartOutput>, StepError> {
        let runtime = self.runtime(pod)?;
        let target = self.target(pod).map_err(|error| invalid(&error))?;
        let found = runtime
            .probe(&target)
            .await
            .map_err(|error| failed(&error))?;
        Ok(match found {
            podwalk_oci::Probe::Absent => Probe::Absent,
            _ => Probe::Partial,
        })
    }

    fn look_at_process(
        &self,
        pod: &Pod,
        sandbox: &StartOutput,
        intent: &StartIntent,
    ) -> Result<Probe<StartOutput>, StepError> {
        let process = sandbox.process;
        let alive = process_id(process).open().map_err(|error| failed(&error))?;
        let is_elsewhere = || !is_in(process.pid, intent.network.as_ref());
        if alive.is_none() || (!self.has_monitor(pod) && is_elsewhere()) {
            return Ok(Probe::Partial);
        }
        self.watch(pod, sandbox)?;
        Ok(Probe::Complete(sandbox.clone()))
    }

    /// Whether the pid is that of a virtual machine's monitor, whose namespaces say nothing.
    fn has_monitor(&self, pod: &Pod) -> bool {
        let runtime = self.runtime(pod);
        runtime.is_ok_and(|runtime| matches!(runtime, Runtime::Shim(shim) if shim.handler().vm))
    }

    async fn end(&self, pod: &Pod) -> Result<(), StepError> {
        let id = sandbox_id(pod).map_err(|error| invalid(&error))?;
        let target = self.target(pod).map_err(|error| invalid(&error))?;
        let runtime = self.runtime(pod)?;
        runtime
            .delete(&target)
            .await
            .map_err(|error| failed(&error))?;
        let bundles = self.0.handlers.bundles().to_owned();
        let removed = self.0.effect(pod, move || Bundle::remove(&bundles, &id));
        removed.await?.map_err(|error| failed(&error))?;
        self.0.quiet(pod).await
    }

    fn target(&self, pod: &Pod) -> Result<Target, ConfigError> {
        let id = sandbox_id(pod)?;
        let process = pod.sandbox.as_ref().map(|sandbox| sandbox.process);
        Ok(Target {
            cgroup: self.0.handlers.cgroup(pod)?,
            id,
            process: process.map(|process| podwalk_oci::ProcessIdentity {
                pid: process.pid,
                start_time: process.start_time,
            }),
            shim_address: pod.sandbox.as_ref().and_then(|s| s.shim_address.clone()),
        })
    }
}

fn failed(error: &dyn std::error::Error) -> StepError {
    StepError::new(ErrorKind::Failed, error.to_string())
}

fn not_begun(error: &OciError) -> Failure {
    Failure::not_done(StepError::new(ErrorKind::Environment, error.to_string()))
}

fn of_runtime(error: &OciError) -> Failure {
    match error {
        _ if error.nothing_begun() => not_begun(error),
        OciError::Deadline { .. } | OciError::RpcDeadline { .. } => {
            Failure::unknown(StepError::new(ErrorKind::Timeout, error.to_string()))
        }
        OciError::CgroupLayoutRefused { .. } => not_begun(error),
        _ => Failure::not_done(failed(error)),
    }
}

fn sandbox_id(pod: &Pod) -> Result<SandboxId, ConfigError> {
    SandboxId::new(pod.id.to_string())
}

fn recorded_process(process: podwalk_oci::ProcessIdentity) -> ProcessIdentity {
    ProcessIdentity {
        pid: process.pid,
        start_time: process.start_time,
    }
}

fn process_id(process: ProcessIdentity) -> ProcessId {
    ProcessId {
        pid: process.pid,
        start_time: process.start_time,
    }
}

/// The bundle, after a look at what the sandbox is to be started in: what is named to a runtime is
/// a namespace, and the one that was recorded; never a plain file on its path. Blocks.
fn make_bundle(
    host: &Host,
    pod: &Pod,
    intent: &StartIntent,
    takes_over: bool,
) -> Result<(Bundle, Option<OwnedFd>), StepError> {
    if let Some(network) = &intent.network {
        let home = home_of(network);
        home.expect()?;
        if takes_over {
            check_interfaces(&home.path)?;
        }
    }
    let prepared = sandbox::prepare(host, pod, intent)?;
    let bundle = Bundle::write(&prepared.config, host.handlers.bundles());
    Ok((bundle.map_err(|e| failed(&e))?, prepared.user_namespace))
}

fn home_of(network: &StartNetwork) -> Home {
    Home {
        path: PathBuf::from(&network.sandbox_key),
        namespace: network.namespace,
    }
}

/// Whether the recorded namespace is on its file.
async fn is_present(network: &StartNetwork) -> Result<bool, StepError> {
    let home = home_of(network);
    blocking(move || home.is_there()).await?
}

/// A virtual machine takes over what it finds in its namespace. Where there is nothing, it starts
/// without a network and without an error, so that nobody would hear of it. An interface without an
/// address is nothing to it: Kata passes it over, because the kernel puts `tunl0`, `sit0` and their
/// like into each namespace once their modules are loaded.
fn check_interfaces(path: &Path) -> Result<(), StepError> {
    let links = podwalk_netns::links(path).map_err(of_netns)?;
    let is_usable = |link: &Link| !link.loopback && !link.addresses.is_empty();
    if links.iter().any(is_usable) {
        return Ok(());
    }
    let message = format!(
        "the network namespace {} has no interface besides lo that has an address, so that the \
         sandbox would start without a network",
        path.display()
    );
    Err(StepError::new(ErrorKind::Failed, message).remedy(
        "its plugins have succeeded and added none: see what the pod's network is made of, or ask \
         for the network mode none",
    ))
}

/// Whether a process is in the recorded namespace; nothing is recorded for the
/// host's.
fn is_in(pid: u32, network: Option<&StartNetwork>) -> bool {
    let Some(network) = network else {
        return true;
    };
    let namespace = std::fs::metadata(format!("/proc/{pid}/ns/net"));
    namespace.is_ok_and(|namespace| {
        namespace.dev() == network.namespace.device && namespace.ino() == network.namespace.inode
    })
}

impl Rung for StartRung {
    type Step = Start;

    fn deadline(&self, pod: &Pod) -> Duration {
        let runtime = self.runtime(pod);
        runtime.map_or(NO_RUNTIME, Runtime::start_deadline)
    }

    /// Each part has a deadline of its own, whose error says more than this one.
    fn undo_deadline(&self, pod: &Pod) -> Duration {
        let runtime = self.runtime(pod);
        runtime.map_or(NO_RUNTIME, Runtime::end_deadline) + QUIET
    }

    fn handler(&self, pod: &Pod) -> String {
        let asked = self
            .asked(pod)
            .map(|runtime| runtime.handler().name.clone());
        asked.unwrap_or_else(|_| pod.spec.runtime_handler.clone())
    }

    fn consumes_network(&self, pod: &Pod) -> bool {
        self.asked(pod)
            .is_ok_and(|runtime| runtime.handler().consumes_network)
    }

    fn quiet<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(self.0.quiet(pod))
    }

    fn probe<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a StartIntent,
    ) -> BoxFuture<'a, Probe<StartOutput>> {
        Box::pin(async move {
            match self.look(pod, intent).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(pod = %pod.id, %error, "the sandbox cannot be looked at");
                    Probe::Unknown
                }
            }
        })
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a StartIntent,
    ) -> BoxFuture<'a, Result<StartOutput, Failure>> {
        Box::pin(self.start(pod, intent))
    }

    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        _attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(self.end(pod))
    }
}
