//! What is owed, and until when it waits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::error::StepError;
use crate::step::Step;

/// The first wait after a failed undo; it doubles with every further one.
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
        let doublings = self.attempts.saturating_sub(1).min(16);
        FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT)
    }

    /// How long to wait from `now` to the next attempt; zero if it is due.
    pub fn wait(&self, now: &Stamp) -> Duration {
        self.backoff().saturating_sub(now.since(&self.last))
    }
}
