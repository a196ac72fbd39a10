//! What is owed, and until when it waits.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::error::StepError;
use crate::pod::{Pod, Status};
use crate::step::Step;

/// The first wait after a try that failed; it doubles with every further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// An undo that has not succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debt {
    /// The step that owes.
    pub step: Step,
    /// The attachment, where one owes.
    pub attachment: Option<u32>,
    /// How often the undo was tried.
    pub attempts: u32,
    /// The first failure.
    pub first: Stamp,
    /// The last failure.
    pub last: Stamp,
    /// What it said.
    pub error: StepError,
}

/// Which debt of a pod.
pub type DebtName = (Step, Option<u32>);

impl Debt {
    /// How long after the last failure the next attempt is due.
    pub fn backoff(&self) -> Duration {
        backoff(self.attempts)
    }
}

/// How long to wait after so many tries that failed.
pub(crate) fn backoff(tries: u32) -> Duration {
    let doublings = tries.saturating_sub(1).min(16);
    FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT)
}

/// A debt as it is told: with the name of the network, which only the pod
/// knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The debt.
    pub debt: Debt,
    /// The network in words, where one attachment owes: `network blue`.
    pub network: Option<String>,
}

impl fmt::Display for Owed {
    /// What is owed, without its error: `ConfigureCni of network blue`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.debt.step)?;
        match &self.network {
            Some(network) => write!(out, " of {network}"),
            None => Ok(()),
        }
    }
}

impl Pod {
    /// All that is owed, as it is told.
    pub fn owed(&self) -> Vec<Owed> {
        let told = |debt: &Debt| Owed {
            debt: debt.clone(),
            network: debt.attachment.map(|number| self.network_of(number)),
        };
        self.debts.iter().map(told).collect()
    }

    /// How long to wait from `now` to the next try of a step's undo; zero if it
    /// is due, none if nothing of it is owed.
    ///
    /// All that a step owes is tried together, so the pause begins with the
    /// last try's end: attachments whose undo takes longer than the pause would
    /// otherwise be tried without any, and nobody would be answered.
    pub fn pause(&self, step: Step, now: &Stamp) -> Option<Duration> {
        let backoff = self.debts_of(step).map(Debt::backoff).min()?;
        let since_last = self.debts_of(step).map(|debt| now.since(&debt.last));
        let since_last = since_last.min()?;
        Some(backoff.saturating_sub(since_last))
    }

    /// What a step owes.
    pub(crate) fn debts_of(&self, step: Step) -> impl Iterator<Item = &Debt> {
        self.debts.iter().filter(move |debt| debt.step == step)
    }

    /// How many undos are owed: those that have failed, and the DELs that a
    /// reboot has left, tried or not.
    pub fn count_owed(&self) -> usize {
        if self.status(Step::MountNetns) != Status::Never {
            return self.debts.len();
        }
        let owes = |number: &u32| {
            let mut debts = self.debts.iter();
            debts.any(|debt| debt.attachment == Some(*number))
        };
        let attaching = [Step::ConfigureCni, Step::AttachLate].into_iter();
        let may_be_there = attaching.filter(|step| self.status(*step) != Status::Never);
        let left = may_be_there.flat_map(|step| self.unreleased(step));
        self.debts.len() + left.filter(|number| !owes(number)).count()
    }

    /// The network of an attachment, in words. Its number, if the plan does
    /// not have it: then the journal was written by somebody else.
    pub fn network_of(&self, attachment: u32) -> String {
        match self.plan.get(attachment as usize) {
            Some(planned) => format!("network {}", planned.network),
            None => format!("attachment {attachment}"),
        }
    }
}
