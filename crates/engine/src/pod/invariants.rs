//! What must hold of every fold, checked after every record in debug builds.

use crate::pod::{Pod, Status};
use crate::record::Goal;
use crate::step::Step;

impl Pod {
    /// Names an invariant that does not hold; none if all do.
    ///
    /// The fold keeps these whatever the records say, so a broken one is our
    /// own mistake and not a damaged journal.
    pub fn broken_invariant(&self) -> Option<&'static str> {
        let invariants: [(&'static str, bool); 7] = [
            (
                "a namespace is recorded only while its mount may be there",
                self.namespace.is_none() || self.status(Step::MountNetns) != Status::Never,
            ),
            (
                "attachments are counted as in the plan",
                self.attachments.is_empty() || self.attachments.len() == self.plan.len(),
            ),
            (
                "what may be there was begun at least once",
                self.slots
                    .iter()
                    .all(|slot| slot.status == Status::Never || slot.climbs > 0),
            ),
            (
                "a walk that climbs again has something to go down from",
                !self.restarting
                    || self.slots[Step::MountNetns.rank()..]
                        .iter()
                        .any(|slot| slot.status != Status::Never),
            ),
            (
                "only what was asked to end outlives its debts",
                self.outlived
                    .is_none_or(|goal| goal > Goal::Run && goal <= self.goal),
            ),
            (
                "what is owed may be there",
                self.debts
                    .iter()
                    .all(|debt| self.status(debt.step) != Status::Never),
            ),
            (
                "a sandbox's end is known only of one that was started",
                self.exited.is_none() || self.slot(Step::Start).climbs > 0,
            ),
        ];
        invariants
            .iter()
            .find(|(_, holds)| !holds)
            .map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests;
