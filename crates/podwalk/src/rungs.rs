//! The rungs on the real machine: each wires one adapter to one step.
//!
//! Decisions are the engine's; a rung does, looks, or undoes, and says how it
//! went.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use podwalk_engine::error::{ErrorKind, StepError};
use podwalk_engine::id::PodId;
use podwalk_engine::pod::Pod;
use podwalk_engine::record::{NetnsIdentity, ProcessIdentity};
use podwalk_engine::rungs::Rungs;
use podwalk_engine::spec::PodSpec;
use podwalk_netns::Identity;
use podwalk_netns::effects::Effects;
use podwalk_netns::process::PidFd;
use tokio::sync::mpsc;

use crate::handlers::Handlers;
use crate::networks::Networks;

mod attach;
mod attach_late;
mod configure_cni;
mod create;
mod mount_netns;
mod ready_network;
mod sandbox;
mod start;
mod turns;

pub use turns::Turns;

/// How long what is left of an effect is waited for after its kill.
const QUIET: Duration = Duration::from_secs(10);

/// What the rungs share.
#[derive(Clone)]
pub struct Host {
    /// Conflists, and the CNI runtime.
    pub networks: Arc<Networks>,
    /// Those of handlers with conflists of their own, by the handler's name.
    pub handler_networks: Arc<BTreeMap<String, Arc<Networks>>>,
    /// Runtime handlers.
    pub handlers: Arc<Handlers>,
    /// Where the processes of effects are found again.
    pub effects: Arc<Effects>,
    /// Sysctls besides the safe ones.
    pub allowed_sysctls: Arc<Vec<String>>,
    /// Sandboxes to watch.
    pub watch: mpsc::UnboundedSender<Watched>,
    /// How long all plugins of a pod may take together.
    pub cni_deadline: Duration,
    /// Whose effect is on a thread.
    pub turns: Arc<Turns>,
}

/// A running sandbox, and the process whose end is its own: its process, or its shim's.
#[derive(Debug)]
pub struct Watched {
    /// The pod.
    pub pod: PodId,
    /// Its sandbox.
    pub process: ProcessIdentity,
    /// Whose end is waited for.
    pub pidfd: PidFd,
}

impl Host {
    /// A rung per step.
    pub fn rungs(&self) -> Rungs {
        Rungs {
            create: Arc::new(create::CreateRung(self.clone())),
            mount_netns: Arc::new(mount_netns::MountNetnsRung(self.clone())),
            ready_network: Arc::new(ready_network::ReadyNetworkRung(self.clone())),
            configure_cni: Arc::new(configure_cni::ConfigureCniRung(self.clone())),
            start: Arc::new(start::StartRung(self.clone())),
            attach_late: Arc::new(attach_late::AttachLateRung(self.clone())),
        }
    }

    /// What a pod is attached to is decided by the conflists of its handler.
    fn networks_of(&self, spec: &PodSpec) -> &Networks {
        self.networks_of_handler(&spec.runtime_handler)
    }

    /// The networks of a handler's pods, of the default's for an empty name.
    pub fn networks_of_handler(&self, name: &str) -> &Arc<Networks> {
        let name = self.handlers.or_default(name);
        self.handler_networks.get(name).unwrap_or(&self.networks)
    }

    /// The networks of every directory, each once, the usual ones first.
    pub fn all_networks(&self) -> Vec<Arc<Networks>> {
        let own = self.handler_networks.values();
        let by_directory: BTreeMap<&Path, _> = own.map(|one| (one.directory(), one)).collect();
        let own = by_directory.into_values().cloned();
        std::iter::once(self.networks.clone()).chain(own).collect()
    }

    /// Runs an effect, or its undo, on a thread. A thread cannot be ended: one
    /// that is not waited for any more, at a deadline or because the pod was asked
    /// to end, goes on, so that the next one of this pod waits for it.
    async fn effect<T: Send + 'static>(
        &self,
        pod: &Pod,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StepError> {
        let turn = self.turns.of(pod.id).await;
        blocking(move || {
            let end = work();
            drop(turn);
            end
        })
        .await
    }

    /// Sees the thread of an earlier effect of this pod ended: it cannot be
    /// killed, and a look beside it would see half of what it does.
    async fn thread_ended(&self, pod: &Pod) {
        drop(self.turns.of(pod.id).await);
    }

    /// Kills what an earlier effect of this pod has left, and sees it gone.
    async fn quiet(&self, pod: &Pod) -> Result<(), StepError> {
        self.quiet_after(pod, Duration::ZERO).await
    }

    /// As [`quiet`](Self::quiet), but what ends by itself within `grace` is not killed.
    async fn quiet_after(&self, pod: &Pod, grace: Duration) -> Result<(), StepError> {
        self.thread_ended(pod).await;
        let (effects, id) = (self.effects.clone(), pod.id.to_string());
        let killed = blocking(move || effects.quiet_after(&id, grace, QUIET))
            .await?
            .map_err(|error| StepError::new(ErrorKind::Timeout, error.to_string()))?;
        if killed > 0 {
            tracing::info!(pod = %pod.id, killed, "processes of an effect had outlived it");
        }
        Ok(())
    }
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StepError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StepError::new(ErrorKind::Retry, format!("the daemon is ending: {error}")))
}

/// A netns error as a step's.
fn of_netns(error: podwalk_netns::Error) -> StepError {
    let kind = match error.is_foreign() {
        true => ErrorKind::Conflict,
        false => ErrorKind::Failed,
    };
    StepError::new(kind, error.to_string())
}

/// A sysctl that is refused, with the key that would allow it.
fn of_sysctl(refused: &podwalk_netns::Refused) -> StepError {
    let error = StepError::new(ErrorKind::Invalid, refused.to_string());
    match refused {
        podwalk_netns::Refused::Unsafe { .. } => {
            error.remedy("the key is sysctls.allowed_unsafe, then restart the daemon")
        }
        _ => error,
    }
}

fn recorded(identity: Identity) -> NetnsIdentity {
    NetnsIdentity {
        boot: podwalk_engine::id::BootId(identity.boot_id),
        device: identity.device,
        inode: identity.inode,
        cookie: identity.cookie,
    }
}

/// The namespace that was made for a pod, and where it was pinned.
#[derive(Debug, Clone)]
struct Home {
    path: PathBuf,
    namespace: NetnsIdentity,
}

impl Home {
    fn of(pod: &Pod) -> Option<Self> {
        let (key, namespace) = (pod.sandbox_key.as_ref()?, pod.namespace?);
        Some(Self {
            path: PathBuf::from(key),
            namespace,
        })
    }

    /// Whether the recorded namespace is on its file (design, section 3, rule 13). Blocks for as
    /// long as a thread takes to enter it.
    fn is_there(&self) -> Result<bool, StepError> {
        let identity = Identity {
            boot_id: self.namespace.boot.0,
            device: self.namespace.device,
            inode: self.namespace.inode,
            cookie: self.namespace.cookie,
        };
        podwalk_netns::is_on(&self.path, &identity).map_err(of_netns)
    }

    /// As [`is_there`](Self::is_there), where it must be.
    fn expect(&self) -> Result<(), StepError> {
        match self.is_there()? {
            true => Ok(()),
            false => Err(lost(&self.path.display())),
        }
    }
}

/// A pod's namespace is not where it was made.
fn lost(place: &dyn std::fmt::Display) -> StepError {
    StepError::new(
        ErrorKind::Failed,
        format!("the network namespace that was made is no longer on {place}"),
    )
    .remedy("something unmounted or replaced it: look who, then start the pod anew")
}

/// Where the pod's namespace must be.
fn home(pod: &Pod) -> Result<Home, StepError> {
    Home::of(pod).ok_or_else(|| lost(&"its namespace file"))
}

fn path_of(key: Option<&String>) -> Option<&Path> {
    key.map(Path::new)
}
