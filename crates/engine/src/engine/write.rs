//! How a record is written: fold it first, append it, then tell of it.

use std::sync::Arc;

use crate::decide::Next;
use crate::engine::Inner;
use crate::engine::admit::number;
use crate::engine::answer::Wanted;
use crate::engine::error::EngineError;
use crate::engine::point;
use crate::engine::slot::Slot;
use crate::pod::{FoldError, Pod, Status};
use crate::ports::{Durability, JournalError};
use crate::record::{Entry, Record};

/// After how many records a pod that lives on is folded into a snapshot.
const SNAPSHOT_EVERY: u64 = 64;

impl Inner {
    pub(super) async fn write(
        &self,
        slot: &Slot,
        durability: Durability,
        record: Record,
    ) -> Result<(), JournalError> {
        self.record(slot, |_| Some((record, durability)))
            .await
            .map(drop)
    }

    /// Writes what `compose` makes of the pod as it is, as durably as it says;
    /// false when that is nothing, or the pod is gone.
    pub(super) async fn record(
        &self,
        slot: &Slot,
        compose: impl FnOnce(&Pod) -> Option<(Record, Durability)>,
    ) -> Result<bool, JournalError> {
        let _pen = slot.pen().await;
        if slot.is_gone() {
            return Ok(false);
        }
        let pod = slot.pod();
        let Some((record, durability)) = compose(&pod) else {
            return Ok(false);
        };
        let entries = number(pod.id, pod.next_sequence, self.clock.now(), [record]);
        self.append(slot, entries, durability).await?;
        Ok(true)
    }

    /// Under the pen: folds first, so that only what can be read again is
    /// written; then writes; then lets the world see it.
    pub(super) async fn append(
        &self,
        slot: &Slot,
        entries: Vec<Entry>,
        durability: Durability,
    ) -> Result<(), JournalError> {
        let before = slot.pod();
        let pod = Arc::new(folded(&before, &entries)?);
        point::reached("engine.append.before");
        self.journal.append(entries.clone(), durability).await?;
        point::reached("engine.append.after");
        slot.set_pod(pod.clone());
        slot.count_records(entries.len());
        slot.answer(known);
        self.events.tell(&entries, before.listing(), &pod);
        Ok(())
    }

    /// The last record of a walk is on the platter before anybody hears of
    /// success (rule 1). Asked under the pen, so that no goal comes between.
    pub(super) fn durability_of(&self, slot: &Slot, pod: &Pod, record: &Record) -> Durability {
        let (_, facts) = slot.facts(self.clock.now(), self.config.policy, false);
        match self
            .after(pod, record)
            .map(|after| (self.decide)(&after, &facts))
        {
            Ok(Next::Rest) => Durability::Power,
            _ => Durability::Process,
        }
    }

    /// The pod after one more record.
    pub(super) fn after(&self, pod: &Pod, record: &Record) -> Result<Pod, JournalError> {
        let now = self.clock.now();
        let entries = number(pod.id, pod.next_sequence, now, [record.clone()]);
        folded(pod, &entries)
    }

    /// Folds what has become long into a snapshot.
    pub(super) async fn shorten(&self, slot: &Slot) {
        let _pen = slot.pen().await;
        let pod = slot.pod();
        if slot.is_gone() || slot.records_since_snapshot() < SNAPSHOT_EVERY {
            return;
        }
        let mut folded = (*pod).clone();
        folded.next_sequence += 1;
        let snapshot = Entry {
            pod: pod.id,
            sequence: pod.next_sequence,
            stamp: pod.last,
            record: Record::Snapshot(Box::new(folded.clone())),
        };
        match self.journal.compact(snapshot).await {
            Ok(()) => {
                slot.set_pod(Arc::new(folded));
                slot.snapshot_taken();
            }
            // Nothing is lost by a longer journal.
            Err(error) => tracing::warn!(pod = %pod.id, %error, "no snapshot was taken"),
        }
    }
}

/// The answer for who only waits to know how a step has ended.
fn known(pod: &Pod, wanted: Wanted) -> Option<Result<(), EngineError>> {
    match wanted {
        Wanted::Known(step) if pod.status(step) != Status::Maybe => Some(Ok(())),
        _ => None,
    }
}

fn folded(pod: &Pod, entries: &[Entry]) -> Result<Pod, JournalError> {
    let mut pod = pod.clone();
    entries
        .iter()
        .try_for_each(|entry| pod.apply(entry))
        .map(|()| pod)
        .map_err(|error: FoldError| JournalError::Unreadable {
            detail: format!("a record that cannot be read again was not written: {error}"),
        })
}
