//! One rung per step, behind one face.
//!
//! [`Rung`] is typed by its step; the drive loop knows a step only at run
//! time. [`Rungs`] is where the two meet, and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{ErrorKind, StepError};
use crate::pod::Pod;
use crate::ports::{
    AttachLate, BoxFuture, ConfigureCni, Create, Failure, MountNetns, Probe, ReadyNetwork, Rung,
    Start, StepType,
};
use crate::record::{AttachLateIntent, AttachLateOutput, Intent, Output};
use crate::step::Step;

/// The rungs of a walk. All six must be named, so that a ladder with one
/// missing does not compile.
#[derive(Clone)]
pub struct Rungs {
    /// Create and Remove.
    pub create: Arc<dyn Rung<Step = Create>>,
    /// Pin and unmount.
    pub mount_netns: Arc<dyn Rung<Step = MountNetns>>,
    /// Make the namespace ready to be configured.
    pub ready_network: Arc<dyn Rung<Step = ReadyNetwork>>,
    /// ADD and DEL.
    pub configure_cni: Arc<dyn Rung<Step = ConfigureCni>>,
    /// Start and kill.
    pub start: Arc<dyn Rung<Step = Start>>,
    /// ADD and DEL of what is attached when the sandbox runs;
    /// [`NoLateAttachments`] where nothing ever is.
    pub attach_late: Arc<dyn Rung<Step = AttachLate>>,
}

/// A rung whose types are only known at run time.
pub(crate) trait AnyRung: Send + Sync {
    fn deadline(&self, pod: &Pod) -> Duration;
    fn undo_deadline(&self, pod: &Pod) -> Duration;
    fn handler(&self, pod: &Pod) -> String;
    fn consumes_network(&self, pod: &Pod) -> bool;
    fn quiet<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>>;
    fn probe<'a>(&'a self, pod: &'a Pod, intent: &'a Intent) -> BoxFuture<'a, Probe<Output>>;
    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a Intent,
    ) -> BoxFuture<'a, Result<Output, Failure>>;
    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>>;
}

impl<S: StepType> AnyRung for Arc<dyn Rung<Step = S>> {
    fn deadline(&self, pod: &Pod) -> Duration {
        self.as_ref().deadline(pod)
    }

    fn undo_deadline(&self, pod: &Pod) -> Duration {
        self.as_ref().undo_deadline(pod)
    }

    fn handler(&self, pod: &Pod) -> String {
        self.as_ref().handler(pod)
    }

    fn consumes_network(&self, pod: &Pod) -> bool {
        self.as_ref().consumes_network(pod)
    }

    fn quiet<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
        self.as_ref().quiet(pod)
    }

    fn probe<'a>(&'a self, pod: &'a Pod, intent: &'a Intent) -> BoxFuture<'a, Probe<Output>> {
        let Some(intent) = S::intent(intent) else {
            return Box::pin(std::future::ready(Probe::Unknown));
        };
        Box::pin(async move { self.as_ref().probe(pod, intent).await.map(Into::into) })
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a Intent,
    ) -> BoxFuture<'a, Result<Output, Failure>> {
        let Some(intent) = S::intent(intent) else {
            return Box::pin(std::future::ready(Err(Failure::not_done(foreign(S::STEP)))));
        };
        Box::pin(async move { self.as_ref().apply(pod, intent).await.map(Into::into) })
    }

    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        self.as_ref().undo(pod, attachment)
    }
}

fn foreign(step: Step) -> StepError {
    StepError::new(
        ErrorKind::Invalid,
        format!("the recorded intent is not one of {step}"),
    )
}

/// The rung of embedders whose network plans have no late attachment: nothing
/// is ever done, and nothing is undone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLateAttachments;

impl Rung for NoLateAttachments {
    type Step = AttachLate;

    fn deadline(&self, _pod: &Pod) -> Duration {
        Duration::ZERO
    }

    fn probe<'a>(
        &'a self,
        _pod: &'a Pod,
        _intent: &'a AttachLateIntent,
    ) -> BoxFuture<'a, Probe<AttachLateOutput>> {
        Box::pin(std::future::ready(Probe::Absent))
    }

    fn apply<'a>(
        &'a self,
        _pod: &'a Pod,
        _intent: &'a AttachLateIntent,
    ) -> BoxFuture<'a, Result<AttachLateOutput, Failure>> {
        let error = StepError::new(
            ErrorKind::Invalid,
            "the network plan has late attachments, and there is no rung for them",
        );
        let error = error.remedy("plan no late attachment, or name a rung that attaches it");
        Box::pin(std::future::ready(Err(Failure::not_done(error))))
    }

    fn undo<'a>(
        &'a self,
        _pod: &'a Pod,
        _attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Rungs {
    pub(crate) fn of(&self, step: Step) -> &dyn AnyRung {
        match step {
            Step::Create => &self.create,
            Step::MountNetns => &self.mount_netns,
            Step::ReadyNetwork => &self.ready_network,
            Step::ConfigureCni => &self.configure_cni,
            Step::Start => &self.start,
            Step::AttachLate => &self.attach_late,
        }
    }
}
