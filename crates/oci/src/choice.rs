//! A handler of either kind: an OCI runtime's command line, or a shim.

use std::time::Duration;

use crate::bundle::Bundle;
use crate::error::OciError;
use crate::handler::Handler;
use crate::id::SandboxId;
use crate::process::ProcessIdentity;
use crate::runtime::{OciRuntime, Probe, Sandbox, Version};
use crate::shim::ShimRuntime;
use crate::target::Target;

/// A handler at work, whichever way its program is talked to. The verbs promise the same.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Runtime {
    /// By the command line of an OCI runtime.
    Oci(OciRuntime),
    /// By a shim.
    Shim(ShimRuntime),
}

impl Runtime {
    /// The handler.
    pub fn handler(&self) -> &Handler {
        match self {
            Self::Oci(runtime) => runtime.handler(),
            Self::Shim(runtime) => runtime.handler(),
        }
    }

    /// How long [`create_and_start`](Self::create_and_start) may take, all of its parts together.
    pub fn start_deadline(&self) -> Duration {
        let deadlines = self.handler().deadlines;
        let asked = match self {
            Self::Oci(_) => Duration::ZERO,
            // To connect, for its pid, how the sandbox is; and its process is seen besides.
            Self::Shim(_) => deadlines.query * 3 + deadlines.start,
        };
        deadlines.create + deadlines.start + asked
    }

    /// The same for [`delete`](Self::delete): asking, having it kill, killing, its delete, the
    /// cgroups. A shim is asked twice more: to wait for the end, and to end itself.
    pub fn end_deadline(&self) -> Duration {
        let deadlines = self.handler().deadlines;
        let kills = match self {
            Self::Oci(_) => 3,
            Self::Shim(_) => 5,
        };
        deadlines.query + deadlines.kill * kills + deadlines.delete
    }

    /// See [`OciRuntime::create_and_start`], [`ShimRuntime::create_and_start`].
    ///
    /// # Errors
    /// As theirs.
    pub async fn create_and_start(&self, bundle: &Bundle) -> Result<Sandbox, OciError> {
        match self {
            Self::Oci(runtime) => runtime.create_and_start(bundle).await,
            Self::Shim(runtime) => runtime.create_and_start(bundle).await,
        }
    }

    /// See [`OciRuntime::probe`], [`ShimRuntime::probe`].
    ///
    /// # Errors
    /// As theirs.
    pub async fn probe(&self, target: &Target) -> Result<Probe, OciError> {
        match self {
            Self::Oci(runtime) => runtime.probe(target).await,
            Self::Shim(runtime) => runtime.probe(target).await,
        }
    }

    /// See [`ShimRuntime::adopt`]; a sandbox without a shim needs nothing.
    ///
    /// # Errors
    /// As its.
    pub async fn adopt(&self, target: &Target) -> Result<(), OciError> {
        match self {
            Self::Oci(_) => Ok(()),
            Self::Shim(runtime) => runtime.adopt(&target.id).await,
        }
    }

    /// Where the sandbox's shim listens, for the record; `None` without a shim.
    ///
    /// # Errors
    /// As [`ShimRuntime::address`].
    pub fn shim_address(&self, target: &Target) -> Result<Option<String>, OciError> {
        match self {
            Self::Oci(_) => Ok(None),
            Self::Shim(runtime) => runtime.address(target),
        }
    }

    /// See [`ShimRuntime::process`]; `None` without a shim.
    ///
    /// # Errors
    /// As its.
    pub fn shim_process(&self, id: &SandboxId) -> Result<Option<ProcessIdentity>, OciError> {
        match self {
            Self::Oci(_) => Ok(None),
            Self::Shim(runtime) => runtime.process(id),
        }
    }

    /// See [`OciRuntime::kill`], [`ShimRuntime::kill`].
    ///
    /// # Errors
    /// As theirs.
    pub async fn kill(&self, target: &Target) -> Result<(), OciError> {
        match self {
            Self::Oci(runtime) => runtime.kill(target).await,
            Self::Shim(runtime) => runtime.kill(target).await,
        }
    }

    /// See [`OciRuntime::delete`], [`ShimRuntime::delete`].
    ///
    /// # Errors
    /// As theirs.
    pub async fn delete(&self, target: &Target) -> Result<(), OciError> {
        match self {
            Self::Oci(runtime) => runtime.delete(target).await,
            Self::Shim(runtime) => runtime.delete(target).await,
        }
    }

    /// See [`OciRuntime::version`], [`ShimRuntime::version`].
    ///
    /// # Errors
    /// As theirs.
    pub async fn version(&self) -> Result<Version, OciError> {
        match self {
            Self::Oci(runtime) => runtime.version().await,
            Self::Shim(runtime) => runtime.version().await,
        }
    }
}
