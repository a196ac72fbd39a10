//! The one function that decides.
//!
//! [`decide`] is pure and total. A live start, a client's retry, a stop in the
//! middle of ADD and a restart after a crash all come here with a folded pod;
//! nothing else in Podwalk chooses a transition. Its whole table is pinned in
//! `decide/snapshots`.
//!
//! ```text
//!            Climb ───────────────► Climb ─────────────► …  ► Rest (Started)
//!  Created          NetnsMounted           NetworkReady
//!     ▲  ◄─────────────── Descend ◄─────────────── Descend ◄─── TurnDown
//!     └─ Forget
//! ```
//!
//! Networks that are attached when the sandbox runs (AttachLate) are the last
//! to come and the first to go; but a sandbox is never kept alive by one that
//! cannot be let go: it is ended then, and only what lies under both waits.

use std::time::Duration;

use crate::clock::Stamp;
use crate::error::{ErrorKind, StepError};
use crate::pod::{Pod, Status};
use crate::ports::{Durability, Probe};
use crate::record::{Cause, Goal, Intent};
use crate::step::Step;

/// What to do next with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is as asked, as far as it can be.
    Rest,
    /// Quiet the step's processes, then probe: what the journal says is not
    /// enough.
    Look(Step),
    /// The probe found the step complete: record it as done.
    Adopt(Step),
    /// Record that the sandbox is gone.
    NoteExit,
    /// Record the intent, this durably, then take the step.
    Climb(Step, Durability),
    /// Record that everything above Created is made anew.
    Restart,
    /// Record that the start has failed: the goal becomes Remove.
    TurnDown(Cause),
    /// Quiet the step's processes, undo it, record that.
    Descend(Step),
    /// The step's undo has failed: wait, while other pods go on.
    Owe {
        /// The step that owes.
        step: Step,
        /// How long to wait.
        wait: Duration,
    },
    /// Record that Stop or Remove are answered although something is owed.
    Outlive(Goal),
    /// Bury the pod.
    Forget,
}

/// What is known besides the journal.
#[derive(Debug, Clone)]
pub struct Facts {
    /// This moment.
    pub now: Stamp,
    /// What the configuration says.
    pub policy: Policy,
    /// What this process found when it looked, if it has looked.
    pub found: Option<(Step, Probe<()>)>,
    /// For how long it could not be told whether its sandbox runs.
    pub in_vain: Duration,
    /// The walk was begun by an earlier process.
    pub inherited: bool,
    /// A client has just asked: what is owed is tried at once.
    pub urgent: bool,
    /// The highest step to climb.
    pub hold: Step,
    /// The daemon is about to end: no new effect.
    pub closing: bool,
}

/// What the configuration says about walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Resume an interrupted start; otherwise undo it.
    pub resume: bool,
    /// How often one step may be begun before the start counts as failed.
    pub attempts: u32,
    /// How long Stop and Remove report a network debt before they succeed, and
    /// a start waits for a sandbox that cannot be told.
    pub debt_grace: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            resume: true,
            attempts: 3,
            debt_grace: Duration::from_secs(120),
        }
    }
}

/// Decides what comes next for a pod.
pub fn decide(pod: &Pod, facts: &Facts) -> Next {
    if facts.closing {
        return Next::Rest;
    }
    match pod.goal {
        Goal::Run => toward_started(pod, facts),
        Goal::Stop => down(pod, facts, end_of_stop(pod)).unwrap_or(Next::Rest),
        Goal::Remove => down(pod, facts, Step::Create).unwrap_or(Next::Forget),
    }
}

fn toward_started(pod: &Pod, facts: &Facts) -> Next {
    // An undo on the way up that failed ends the start: it owes.
    if let Some(debt) = pod.debts.first() {
        return Next::TurnDown(Cause::StartFailed {
            step: debt.step,
            error: debt.error.clone(),
        });
    }
    if pod.restarting {
        return highest(pod, Step::MountNetns).map_or(Next::Rest, Next::Descend);
    }
    let ladder = pod.ladder().iter();
    let open = ladder
        .copied()
        .filter(|step| *step <= facts.hold)
        .find(|step| pod.status(*step) != Status::Done);
    match open {
        None => started(pod, facts),
        // It was never Started, so that this is no end but a failed start.
        Some(Step::AttachLate) if pod.exited.is_some() => Next::TurnDown(Cause::StartFailed {
            step: Step::Start,
            error: exited_too_early(),
        }),
        Some(step) => up(pod, facts, step),
    }
}

/// Why late networks are not attached to a sandbox that is gone.
pub(crate) fn exited_too_early() -> StepError {
    StepError::new(
        ErrorKind::Failed,
        "the sandbox exited before its late networks were attached",
    )
    .remedy("see what its runtime logged, then start the pod anew")
}

/// Why a start is not waited for any longer. Its undo meets what could not be
/// told, and owes.
fn cannot_be_told() -> StepError {
    StepError::new(
        ErrorKind::Timeout,
        "whether its sandbox runs could not be told, so that its late networks were not attached",
    )
    .remedy("see why its runtime handler does not answer, or is missing")
}

/// Everything is recorded as done. What another process started is looked at
/// once; until then it is reported as recorded.
fn started(pod: &Pod, facts: &Facts) -> Next {
    if !pod.is_started() {
        return Next::Rest;
    }
    // Late networks are attached only to a sandbox that was looked at.
    if let Some(Probe::Complete(())) = found(facts, Step::AttachLate) {
        return Next::Rest;
    }
    look_at_sandbox(facts).unwrap_or(Next::Rest)
}

/// What there is to do before the sandbox can be said to run. One that cannot be told is waited
/// for: it is looked at again.
fn look_at_sandbox(facts: &Facts) -> Option<Next> {
    match found(facts, Step::Start) {
        None => Some(Next::Look(Step::Start)),
        Some(Probe::Absent | Probe::Partial) => Some(Next::NoteExit),
        Some(Probe::Unknown) => Some(Next::Rest),
        Some(Probe::Complete(())) => None,
    }
}

fn up(pod: &Pod, facts: &Facts, step: Step) -> Next {
    let slot = pod.slot(step);
    if let Some(error) = slot.failure.clone() {
        return Next::TurnDown(Cause::StartFailed { step, error });
    }
    if facts.inherited && !facts.policy.resume {
        return Next::TurnDown(Cause::NotResumed);
    }
    if step == Step::AttachLate
        && found(facts, step).is_none()
        && let Some(first) = look_at_sandbox(facts)
    {
        return match first {
            Next::Rest if facts.in_vain >= facts.policy.debt_grace => {
                Next::TurnDown(Cause::StartFailed {
                    step: Step::Start,
                    error: cannot_be_told(),
                })
            }
            first => first,
        };
    }
    if slot.status == Status::Never {
        return climb(pod, facts, step);
    }
    // It was begun, and its end is not recorded (rule 8).
    match found(facts, step) {
        None => Next::Look(step),
        Some(Probe::Complete(())) => Next::Adopt(step),
        Some(_) if consumed(pod, step) => Next::Restart,
        Some(Probe::Absent) => climb(pod, facts, step),
        Some(Probe::Partial | Probe::Unknown) => Next::Descend(step),
    }
}

fn climb(pod: &Pod, facts: &Facts, step: Step) -> Next {
    if pod.slot(step).climbs >= facts.policy.attempts {
        return Next::TurnDown(Cause::AttemptsExhausted { step });
    }
    // What survives power loss needs an intent that does too (rule 1).
    let lasting = pod.plan.iter().any(|planned| planned.step() == step);
    let durability = match lasting {
        true => Durability::Power,
        false => Durability::Process,
    };
    Next::Climb(step, durability)
}

/// Whether a first try at this step has used the network up.
fn consumed(pod: &Pod, step: Step) -> bool {
    let intent = pod.slot(step).intent.as_ref();
    matches!(intent, Some(Intent::Start(start)) if start.consumes_network)
}

fn found(facts: &Facts, step: Step) -> Option<&Probe<()>> {
    match &facts.found {
        Some((looked_at, probe)) if *looked_at == step => Some(probe),
        _ => None,
    }
}

fn highest(pod: &Pod, lowest: Step) -> Option<Step> {
    let mut from_the_top = Step::ALL.iter().rev().copied();
    from_the_top
        .by_ref()
        .take_while(|step| *step >= lowest)
        .find(|step| pod.status(*step) != Status::Never)
}

/// What is to be undone first: the highest step that may be there. But a
/// sandbox does not live on because a late network cannot be let go (rule 7).
fn first_undone(pod: &Pod, lowest: Step) -> Option<Step> {
    let highest = highest(pod, lowest)?;
    let owes = pod.debts_of(highest).next().is_some();
    match owes && !pod.is_forgivable(highest) {
        true => Some(Step::Start),
        false => Some(highest),
    }
}

/// How far down a Stop goes. It keeps the file; but when the start has tried to
/// undo its first step too, and owes that, the debt is paid all the same.
fn end_of_stop(pod: &Pod) -> Step {
    match pod.debts.iter().any(|debt| debt.step == Step::Create) {
        true => Step::Create,
        false => Step::MountNetns,
    }
}

/// One step down, in reverse order; none when all of it is undone.
fn down(pod: &Pod, facts: &Facts, lowest: Step) -> Option<Next> {
    let step = first_undone(pod, lowest)?;
    let Some(wait) = pod.pause(step, &facts.now) else {
        return Some(Next::Descend(step));
    };
    if facts.urgent {
        return Some(Next::Descend(step));
    }
    // Only network debts may be outlived (rule 7).
    let answered = !step.is_network() || pod.outlived >= Some(pod.goal);
    let patience = pod
        .debts_of(step)
        .map(|debt| {
            facts
                .policy
                .debt_grace
                .saturating_sub(facts.now.since(&debt.first))
        })
        .min()
        .unwrap_or_default();
    if !answered && patience.is_zero() {
        return Some(Next::Outlive(pod.goal));
    }
    if wait.is_zero() {
        return Some(Next::Descend(step));
    }
    let wait = if answered { wait } else { wait.min(patience) };
    Some(Next::Owe { step, wait })
}

#[cfg(test)]
mod tests;
