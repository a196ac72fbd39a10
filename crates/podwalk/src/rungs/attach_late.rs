//! AttachLate: ADD for every attachment that wants a sandbox that runs, in
//! order. Undo: DEL, one by one, whether or not the sandbox lives.

use std::time::Duration;

use podwalk_engine::error::StepError;
use podwalk_engine::pod::Pod;
use podwalk_engine::ports::{AttachLate, BoxFuture, Failure, Probe, Rung};
use podwalk_engine::record::{AttachLateIntent, AttachLateOutput};
use podwalk_engine::step::Step;

use super::Host;
use super::attach::GRACE;

/// The least that is left of the time for all of a pod's plugins.
const LEAST: Duration = Duration::from_secs(1);

pub(super) struct AttachLateRung(pub(super) Host);

impl Rung for AttachLateRung {
    type Step = AttachLate;

    /// All of a pod's plugins have one time together: here, what ConfigureCni
    /// has left of it.
    fn deadline(&self, pod: &Pod) -> Duration {
        let took = pod.slot(Step::ConfigureCni).took_ns.unwrap_or_default();
        let left = self.0.cni_deadline;
        left.saturating_sub(Duration::from_nanos(took)).max(LEAST)
    }

    fn undo_deadline(&self, _pod: &Pod) -> Duration {
        self.0.cni_deadline
    }

    fn quiet<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(self.0.quiet_after(pod, GRACE))
    }

    fn probe<'a>(
        &'a self,
        pod: &'a Pod,
        _intent: &'a AttachLateIntent,
    ) -> BoxFuture<'a, Probe<AttachLateOutput>> {
        // As for ConfigureCni: only a plugin could tell.
        Box::pin(std::future::ready(match pod.has_late() {
            true => Probe::Unknown,
            false => Probe::Complete(AttachLateOutput::default()),
        }))
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        _intent: &'a AttachLateIntent,
    ) -> BoxFuture<'a, Result<AttachLateOutput, Failure>> {
        Box::pin(async move {
            let results = self.0.attach(pod, Step::AttachLate).await?;
            Ok(AttachLateOutput { results })
        })
    }

    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            match attachment {
                Some(attachment) => self.0.detach(pod, attachment).await,
                // The place of its processes is ConfigureCni's, whose undo comes
                // later.
                None => Ok(()),
            }
        })
    }
}
