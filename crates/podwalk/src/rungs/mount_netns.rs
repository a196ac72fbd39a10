//! MountNetns: a namespace is made and pinned. Undo: nothing is mounted.

use std::path::PathBuf;
use std::time::Duration;

use podwalk_engine::error::StepError;
use podwalk_engine::pod::Pod;
use podwalk_engine::ports::{BoxFuture, Failure, MountNetns, Probe, Rung};
use podwalk_engine::record::{MountNetnsIntent, MountNetnsOutput};
use podwalk_netns::Found;

use super::{Host, blocking, of_netns, recorded};

pub(super) struct MountNetnsRung(pub(super) Host);

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
        _pod: &'a Pod,
        intent: &'a MountNetnsIntent,
    ) -> BoxFuture<'a, Probe<MountNetnsOutput>> {
        let path = PathBuf::from(&intent.sandbox_key);
        Box::pin(async move {
            match blocking(move || podwalk_netns::probe(&path)).await {
                Ok(Ok(Found::Namespace {
                    identity,
                    mounts: 1,
                })) => Probe::Complete(MountNetnsOutput {
                    namespace: recorded(identity),
                }),
                Ok(Ok(Found::Missing | Found::Empty)) => Probe::Absent,
                Ok(Ok(Found::Namespace { .. } | Found::Foreign(_))) => Probe::Partial,
                Ok(Err(_)) | Err(_) => Probe::Unknown,
            }
        })
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a MountNetnsIntent,
    ) -> BoxFuture<'a, Result<MountNetnsOutput, Failure>> {
        let path = PathBuf::from(&intent.sandbox_key);
        Box::pin(async move {
            let pin = move || {
                podwalk_netns::place(&path)?;
                podwalk_netns::pin(&path)
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
