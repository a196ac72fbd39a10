//! What would happen: [`decide`], iterated as if all went well.

use std::fmt;

use crate::decide::{Facts, Next, decide};
use crate::pod::{Pod, Status};
use crate::ports::{Durability, Probe};
use crate::record::{Cause, Goal};
use crate::step::Step;

/// No walk takes more turns than this; a plan that did would be our mistake.
const LONGEST: usize = 64;

/// What would be done with a pod, one decision after the other, if every
/// effect succeeded. Where only a look can tell, the plan goes on with what
/// costs most: a step that may have been taken is not there, and attachments
/// that may have been added are.
pub fn plan(pod: &Pod, facts: &Facts) -> Vec<Next> {
    let (mut pod, mut facts) = (pod.clone(), facts.clone());
    let mut plan = Vec::new();
    while plan.len() < LONGEST {
        let next = decide(&pod, &facts);
        let last = matches!(next, Next::Rest | Next::Forget);
        suppose(&mut pod, &mut facts, &next);
        plan.push(next);
        if last {
            break;
        }
    }
    plan
}

fn suppose(pod: &mut Pod, facts: &mut Facts, next: &Next) {
    facts.found = None;
    match next {
        Next::Rest | Next::Forget => {}
        Next::NoteExit => pod.suppose_exit(),
        Next::Adopt(step) => pod.suppose(*step, Status::Done),
        Next::Look(step) => facts.found = Some((*step, supposed(pod, *step))),
        Next::Climb(step, _) => {
            pod.suppose(*step, Status::Done);
            facts.found = Some((*step, Probe::Complete(())));
        }
        Next::Descend(step) => pod.suppose(*step, Status::Never),
        Next::Restart => pod.suppose_restart(),
        Next::TurnDown(cause) => pod.suppose_goal(Goal::Remove, cause.clone()),
        Next::Owe { .. } => facts.urgent = true,
        Next::Outlive(goal) => pod.outlived = Some(*goal),
    }
}

fn supposed(pod: &Pod, step: Step) -> Probe<()> {
    match (pod.status(step), step) {
        (Status::Done, _) => Probe::Complete(()),
        (_, Step::ConfigureCni | Step::AttachLate) => Probe::Unknown,
        (Status::Never | Status::Maybe, _) => Probe::Absent,
    }
}

impl fmt::Display for Next {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Next::Rest => out.write_str("rest"),
            Next::Look(step) => write!(out, "look at {step}"),
            Next::Adopt(step) => write!(out, "adopt {step} as it is"),
            Next::NoteExit => out.write_str("record that the sandbox has exited"),
            Next::Climb(step, Durability::Process) => write!(out, "record and take {step}"),
            Next::Climb(step, Durability::Power) => {
                write!(out, "record on the platter and take {step}")
            }
            Next::Restart => out.write_str("record that all above Created is made anew"),
            Next::TurnDown(cause) => write!(out, "turn down ({cause})"),
            Next::Descend(step) => write!(out, "undo {step}"),
            Next::Owe { step, wait } => {
                write!(out, "owe {step}, next try in {} s", wait.as_secs())
            }
            Next::Outlive(goal) => write!(out, "answer {goal:?} although something is owed"),
            Next::Forget => out.write_str("forget the pod"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Request => out.write_str("as requested"),
            Cause::StartFailed { step, error } => write!(out, "{step} failed: {error}"),
            Cause::NotResumed => out.write_str("interrupted, and not to be resumed"),
            Cause::AttemptsExhausted { step } => {
                write!(out, "{step} was interrupted as often as is allowed")
            }
            Cause::Reboot => out.write_str("the machine was booted anew"),
        }
    }
}

#[cfg(test)]
mod tests;
