//! MountNetns: a namespace is made and pinned. Undo: nothing is mounted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use podwalk_engine::error::StepError;
use podwalk_engine::pod::Pod;
use podwalk_engine::ports::{BoxFuture, Failure, MountNetns, Probe, Rung};
use podwalk_engine::record::{MountNetnsIntent, MountNetnsOutput};
use podwalk_engine::spec::{IdMapping, UserMappings};
use podwalk_netns::{Found, Mappings};

use super::{Host, blocking, of_netns, recorded};

pub(super) struct MountNetnsRung(pub(super) Host);

/// Whether the pod's namespace is on the file: one mount, and owned by whom it was asked for.
fn look(path: &Path, owned: bool) -> Result<Probe<MountNetnsOutput>, podwalk_netns::Error> {
    Ok(match podwalk_netns::probe(path)? {
        Found::Namespace {
            identity,
            mounts: 1,
        } if podwalk_netns::owned(path)? == owned => Probe::Complete(MountNetnsOutput {
            namespace: recorded(identity),
        }),
        Found::Missing | Found::Empty => Probe::Absent,
        Found::Namespace { .. } | Found::Foreign(_) => Probe::Partial,
    })
}

/// The owner's users and groups.
fn mappings(asked: &UserMappings) -> Mappings {
    let runs = |runs: &[IdMapping]| {
        let run = |run: &IdMapping| podwalk_netns::IdMapping {
            inside: run.container_id,
            outside: run.host_id,
            length: run.length,
        };
        runs.iter().map(run).collect()
    };
    Mappings {
        uids: runs(&asked.uids),
        gids: runs(&asked.gids),
    }
}

impl Rung for MountNetnsRung {
    type Step = MountNetns;

    fn deadline(&self, _pod: &Pod) -> Duration {
        Duration::from_secs(5)
    }

    fn quiet<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            self.0.thread_ended(pod).await;
            Ok(())
        })
    }

    fn probe<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a MountNetnsIntent,
    ) -> BoxFuture<'a, Probe<MountNetnsOutput>> {
        let path = PathBuf::from(&intent.sandbox_key);
        let owned = pod.spec.security.user_namespace.is_some();
        Box::pin(async move {
            let seen = blocking(move || look(&path, owned)).await;
            seen.unwrap_or(Ok(Probe::Unknown)).unwrap_or(Probe::Unknown)
        })
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a MountNetnsIntent,
    ) -> BoxFuture<'a, Result<MountNetnsOutput, Failure>> {
        let path = PathBuf::from(&intent.sandbox_key);
        let mappings = pod.spec.security.user_namespace.as_ref().map(mappings);
        Box::pin(async move {
            let pin = move || {
                podwalk_netns::place(&path)?;
                match mappings {
                    Some(mappings) => podwalk_netns::pin_owned(&path, &mappings),
                    None => podwalk_netns::pin(&path),
                }
            };
            let pinned = self.0.effect(pod, pin).await.map_err(Failure::unknown)?;
            let identity = pinned.map_err(|error| Failure::not_done(of_netns(error)))?;
            Ok(MountNetnsOutput {
                namespace: recorded(identity),
            })
        })
    }

    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        _attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            let Some(path) = pod.sandbox_key.clone().map(PathBuf::from) else {
                return Ok(());
            };
            let unpinned = self.0.effect(pod, move || podwalk_netns::unpin(&path));
            unpinned.await?.map_err(of_netns)
        })
    }
}
