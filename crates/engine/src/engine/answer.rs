//! When a caller gets its answer, and which.

use futures_channel::oneshot;

use crate::decide::Next;
use crate::engine::error::EngineError;
use crate::pod::{Pod, Status};
use crate::record::{Cause, Goal};
use crate::step::Step;

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The sandbox runs.
    Running,
    /// This step, and all below it, are done.
    Reached(Step),
    /// The pod is stopped, or gone.
    Goal(Goal),
    /// Nothing is owed any more.
    Paid,
    /// Whether this step was taken is recorded, or the walk is at rest.
    Known(Step),
    /// The walk has come to an end or waits, however.
    AtRest,
}

pub(crate) struct Waiter {
    pub(crate) wanted: Wanted,
    pub(crate) answer: oneshot::Sender<Result<(), EngineError>>,
}

/// The answer for one who waits, when `next` is what the walk does next; none
/// while it is too early. Pure, so that it can be tested without a walk.
pub(crate) fn verdict(
    pod: &Pod,
    next: &Next,
    closing: bool,
    wanted: Wanted,
) -> Option<Result<(), EngineError>> {
    let rests = matches!(next, Next::Rest);
    let owes = matches!(next, Next::Owe { .. });
    if !rests && !owes {
        return None;
    }
    match wanted {
        Wanted::AtRest | Wanted::Known(_) => Some(Ok(())),
        Wanted::Running | Wanted::Reached(_) if pod.goal > Goal::Run => Some(Err(ended(pod))),
        Wanted::Running if pod.is_started() => Some(Ok(())),
        Wanted::Running if pod.exited.is_some() && pod.is_attached() => {
            Some(Err(EngineError::Exited { id: pod.id }))
        }
        Wanted::Reached(step) if reached(pod, step) => Some(Ok(())),
        Wanted::Goal(goal) if pod.outlived >= Some(goal) => Some(Ok(())),
        Wanted::Goal(goal) if owes && pod.goal >= goal => Some(Err(still_owes(pod))),
        Wanted::Paid if owes => Some(Err(still_owes(pod))),
        Wanted::Paid if pod.debts.is_empty() => Some(Ok(())),
        // Removed is only who is buried: nobody rests on the way there.
        Wanted::Goal(Goal::Stop) if pod.goal >= Goal::Stop && pod.is_down() => Some(Ok(())),
        _ if closing => Some(Err(EngineError::Closing)),
        _ => None,
    }
}

/// The answer when the pod is gone for good.
pub(crate) fn buried(pod: &Pod, wanted: Wanted) -> Result<(), EngineError> {
    match wanted {
        Wanted::Running | Wanted::Reached(_) => Err(ended(pod)),
        Wanted::Goal(_) | Wanted::Paid | Wanted::Known(_) | Wanted::AtRest => Ok(()),
    }
}

fn still_owes(pod: &Pod) -> EngineError {
    EngineError::Owes {
        id: pod.id,
        debts: pod.owed(),
    }
}

fn reached(pod: &Pod, step: Step) -> bool {
    let mut below = pod.ladder().iter().filter(|s| **s <= step);
    below.all(|step| pod.status(*step) == Status::Done)
}

/// Why a pod that was to run does not: the first cause first.
fn ended(pod: &Pod) -> EngineError {
    let (step, error) = match &pod.cause {
        Cause::StartFailed { step, error } => (*step, error.clone()),
        Cause::AttemptsExhausted { step } => (*step, exhausted()),
        Cause::Request | Cause::NotResumed | Cause::Reboot => {
            return EngineError::Stopped { id: pod.id };
        }
    };
    EngineError::StartFailed {
        id: pod.id,
        step,
        error,
        afterwards: pod.owed(),
    }
}

/// Nothing is wrong with the pod as far as anybody knows: another start may well come through.
fn exhausted() -> crate::error::StepError {
    crate::error::StepError::new(
        crate::error::ErrorKind::Retry,
        "it was interrupted and begun anew as often as is allowed",
    )
    .remedy("see why the daemon was restarted so often, then start the pod anew")
}
