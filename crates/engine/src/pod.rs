//! What is known of one pod: the fold of its records.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::error::StepError;
use crate::id::PodId;
use crate::record::{
    AttachmentResult, Cause, Goal, Intent, NetnsIdentity, PlannedAttachment, StartOutput,
};
use crate::spec::PodSpec;
use crate::step::{NetworkMode, State, Step};

mod attachments;
mod fold;
mod invariants;
mod ledger;

pub use fold::{FoldError, fold};
pub(crate) use ledger::backoff;
pub use ledger::{Debt, DebtName, Owed};

/// What is known of one pod.
///
/// The same fold serves a live walk and a replay, so there is nothing here
/// that a record did not put here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its id.
    pub id: PodId,
    /// The sequence of its next record.
    pub next_sequence: u64,
    /// When its first record was made.
    pub created: Stamp,
    /// When its last record was made.
    pub last: Stamp,
    /// What was asked for.
    pub spec: Arc<PodSpec>,
    /// The path of the namespace file, in modes that have one.
    pub sandbox_key: Option<String>,
    /// What is wanted of it.
    pub goal: Goal,
    /// Why.
    pub cause: Cause,
    /// How far each step is, by [`Step::rank`].
    pub slots: [Slot; 6],
    /// The namespace that was pinned last; kept until it is unmounted.
    pub namespace: Option<NetnsIdentity>,
    /// The network plan; kept while ConfigureCni or AttachLate is not Never.
    pub plan: Vec<PlannedAttachment>,
    /// What each attachment of the plan has come to.
    pub attachments: Vec<AttachmentStatus>,
    /// The sandbox that was started last.
    pub sandbox: Option<StartOutput>,
    /// Set when that sandbox's process was found gone.
    pub exited: Option<Exit>,
    /// The walk is on its way down to Created, to climb again (rule 8).
    pub restarting: bool,
    /// Set when Stop or Remove were answered while something was owed: of a
    /// Stop until the pod is down, of a Remove for ever.
    pub outlived: Option<Goal>,
    /// What is owed.
    pub debts: Vec<Debt>,
    /// When DEL was last recorded as done, for what a power loss may bring
    /// back (rule 6).
    pub released: Option<Stamp>,
}

/// How far one step is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Never, Maybe or Done.
    pub status: Status,
    /// Since when; none before the first record about it.
    pub since: Option<Stamp>,
    /// How long it took from intent to done, nanoseconds, where it was done.
    pub took_ns: Option<u64>,
    /// How many intents were recorded for it.
    pub climbs: u32,
    /// What was about to be done, while it is not Never.
    pub intent: Option<Intent>,
    /// The failure that ended the last attempt to take it.
    pub failure: Option<StepError>,
}

/// Never → Maybe → Done → Never.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Status {
    /// Nothing of it is there.
    #[default]
    Never,
    /// Something of it may be there.
    Maybe,
    /// It is there.
    Done,
}

/// What one attachment has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentStatus {
    /// What ADD answered, if it was recorded.
    pub result: Option<AttachmentResult>,
    /// DEL has succeeded, or the debt was forgiven.
    pub released: bool,
}

/// The end of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// When it was noticed.
    pub noticed: Stamp,
    /// Its exit code (128 + signal), where the kernel gave it.
    pub code: Option<i32>,
}

/// How a pod stands in the lists of clients that count pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listing {
    /// They do not see it.
    Unlisted,
    /// They see it, and its sandbox does not run.
    Down,
    /// They see it, and its sandbox runs.
    Up,
}

/// What is kept of a pod that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obituary {
    /// The pod as its last record left it: a DEL that power loss takes back is
    /// done again with its plan.
    pub pod: Pod,
}

impl Pod {
    /// One step's slot.
    pub fn slot(&self, step: Step) -> &Slot {
        &self.slots[step.rank()]
    }

    /// How far one step is.
    pub fn status(&self, step: Step) -> Status {
        self.slot(step).status
    }

    /// The steps that it walks. That AttachLate is one of them is known once
    /// its network plan is, which ReadyNetwork makes.
    pub fn ladder(&self) -> &'static [Step] {
        match self.has_late() {
            true => &Step::ALL,
            false => self.spec.network.ladder(),
        }
    }

    /// Whether some of its networks are attached when the sandbox runs.
    pub fn has_late(&self) -> bool {
        self.plan.iter().any(|planned| planned.late)
    }

    /// The highest state that holds. A pod whose first step is not recorded
    /// as done yet, or was undone by a reboot, counts as Created; one whose
    /// late networks are not attached is not Started.
    pub fn state(&self) -> State {
        let ladder = self.ladder().iter();
        let done = ladder.take_while(|step| self.status(**step) == Status::Done);
        match done.last() {
            Some(Step::Start) if self.has_late() => State::CniConfigured,
            Some(step) => step.state(),
            None => State::Created,
        }
    }

    /// Whether its sandbox was started and nothing is known of its end.
    pub fn has_sandbox(&self) -> bool {
        self.status(Step::Start) == Status::Done && self.exited.is_none()
    }

    /// Whether it was started to the end, its late networks included, and
    /// nothing is known of its sandbox's end.
    pub fn is_started(&self) -> bool {
        self.has_sandbox() && self.is_attached()
    }

    /// Whether its late networks, if it has any, are attached.
    pub(crate) fn is_attached(&self) -> bool {
        !self.has_late() || self.status(Step::AttachLate) == Status::Done
    }

    /// Whether it is as a client wants a pod to be: started, alive, and not on
    /// its way down. In mode `pod:` the owner counts too, which the engine
    /// adds.
    pub fn is_ready(&self) -> bool {
        self.goal == Goal::Run && self.is_started() && !self.restarting
    }

    /// Whether clients that count pods may see it: not while it goes up, not
    /// while a failed start goes down owing nothing, and not after a Remove
    /// that was answered although something is owed (design, section 3, rules
    /// 5 and 7, and section 4).
    pub fn is_listed(&self) -> bool {
        match self.goal {
            Goal::Run => self.is_started() || (self.exited.is_some() && self.is_attached()),
            Goal::Stop => true,
            Goal::Remove if self.outlived == Some(Goal::Remove) => false,
            Goal::Remove => {
                let failed_start = !matches!(self.cause, Cause::Request);
                !failed_start || !self.debts.is_empty()
            }
        }
    }

    /// How it stands in their lists.
    pub fn listing(&self) -> Listing {
        match (self.is_listed(), self.has_sandbox()) {
            (false, _) => Listing::Unlisted,
            (true, false) => Listing::Down,
            (true, true) => Listing::Up,
        }
    }

    /// The owner of its network, in mode `pod:`.
    pub fn owner(&self) -> Option<PodId> {
        match self.spec.network {
            NetworkMode::Pod(owner) => Some(owner),
            _ => None,
        }
    }

    /// The attachments that an undo of `step` is about, the last one first:
    /// one that fails does not hold the others.
    pub fn unreleased(&self, step: Step) -> Vec<u32> {
        let all = (0..).zip(&self.attachments).zip(&self.plan);
        let open = all.filter(|((_, status), planned)| planned.step() == step && !status.released);
        let mut open: Vec<u32> = open.map(|((index, _), _)| index).collect();
        open.reverse();
        open
    }

    /// Whether what this step owes may be outlived or forgiven. A network's
    /// debt may, but never while a sandbox may live beside it (design, section
    /// 3, rule 7).
    pub fn is_forgivable(&self, step: Step) -> bool {
        let sandbox_first = step == Step::AttachLate && self.status(Step::Start) != Status::Never;
        step.is_network() && !sandbox_first
    }

    /// Whether everything above Created is undone: what Stop is to come to.
    pub fn is_down(&self) -> bool {
        let above = &self.slots[Step::MountNetns.rank()..];
        above.iter().all(|slot| slot.status == Status::Never)
    }

    /// Whether everything that was made for it is gone.
    pub fn is_undone(&self) -> bool {
        self.slots.iter().all(|slot| slot.status == Status::Never)
    }
}

#[cfg(test)]
mod tests;
