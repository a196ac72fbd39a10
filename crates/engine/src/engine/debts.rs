//! The ledger's verbs: a debt is paid, or an operator writes it off.

use std::sync::Arc;

use crate::engine::admit::number;
use crate::engine::answer::Wanted;
use crate::engine::error::EngineError;
use crate::engine::slot::Slot;
use crate::engine::{Engine, Inner};
use crate::id::PodId;
use crate::pod::Owed;
use crate::ports::Durability;
use crate::record::{Goal, Observation, Record};
use crate::step::Step;

impl Engine {
    /// Tries at once to undo what a pod owes, whatever the pause until the next
    /// try, and answers when that try has ended. A walk that is under way is
    /// joined; a try that it had begun before may be followed by another one. A
    /// pod that owes nothing has paid.
    ///
    /// # Errors
    /// [`EngineError::NoSuchPod`]; [`EngineError::Owes`] with all that is owed
    /// still.
    pub async fn pay(&self, id: PodId) -> Result<(), EngineError> {
        let slot = self.inner.known(id)?;
        if self.inner.is_closing() {
            return Err(EngineError::Closing);
        }
        let pod = slot.pod();
        // A start is not waited for: one that owes has turned down.
        if pod.goal == Goal::Run && pod.debts.is_empty() {
            return Ok(());
        }
        let end = slot.wait_urgently(Wanted::Paid);
        Inner::kick(&self.inner, &slot);
        end.await.unwrap_or(Err(EngineError::Closing))
    }

    /// Writes a debt off, which is recorded with the reason.
    ///
    /// # Errors
    /// [`EngineError::NoSuchDebt`]; [`EngineError::NotForgivable`] for a
    /// sandbox that may be alive.
    pub async fn forgive(
        &self,
        id: PodId,
        step: Step,
        attachment: Option<u32>,
        reason: String,
    ) -> Result<(), EngineError> {
        let slot = self.inner.known(id)?;
        let which = move |owed: &Owed| (owed.debt.step, owed.debt.attachment) == (step, attachment);
        match self.write_off(&slot, which, reason).await? {
            forgiven if forgiven.is_empty() => Err(EngineError::NoSuchDebt { id, step }),
            _ => Ok(()),
        }
    }

    /// Writes off all that a pod owes, in one record each and all or none of
    /// them, and answers with what that was when the walk has gone on: what lies
    /// under the debts is undone then, or owed itself.
    ///
    /// A power loss within two minutes may bring back what DEL had done for
    /// the pod's other attachments; the forgiven one is then owed with them
    /// (design, section 3, rule 6).
    ///
    /// # Errors
    /// [`EngineError::OwesNothing`]; [`EngineError::NotForgivable`] for a
    /// sandbox that may be alive.
    pub async fn forgive_all(&self, id: PodId, reason: String) -> Result<Vec<Owed>, EngineError> {
        let slot = self.inner.known(id)?;
        let forgiven = self.write_off(&slot, |_| true, reason).await?;
        if forgiven.is_empty() {
            return Err(EngineError::OwesNothing { id });
        }
        let end = slot.wait_urgently(Wanted::AtRest);
        Inner::kick(&self.inner, &slot);
        // Whatever the walk has met is in the pod; what was asked for is done.
        let _ = end.await;
        Ok(forgiven)
    }

    /// On a task of its own: a dropped call must not tear a record from its
    /// fold.
    async fn write_off(
        &self,
        slot: &Arc<Slot>,
        which: impl Fn(&Owed) -> bool + Send + 'static,
        reason: String,
    ) -> Result<Vec<Owed>, EngineError> {
        let (inner, slot) = (self.inner.clone(), slot.clone());
        let written = self.detached(async move {
            let written = inner.write_off(&slot, which, reason).await;
            Inner::kick(&inner, &slot);
            written
        });
        written.await.unwrap_or(Err(EngineError::Closing))
    }
}

impl Inner {
    async fn write_off(
        &self,
        slot: &Slot,
        which: impl Fn(&Owed) -> bool,
        reason: String,
    ) -> Result<Vec<Owed>, EngineError> {
        let _pen = slot.pen().await;
        if slot.is_gone() {
            return Err(EngineError::NoSuchPod { id: slot.id });
        }
        let pod = slot.pod();
        let forgiven: Vec<Owed> = pod.owed().into_iter().filter(which).collect();
        let refused = |owed: &&Owed| !pod.is_forgivable(owed.debt.step);
        if let Some(owed) = forgiven.iter().find(refused) {
            return Err(EngineError::NotForgivable {
                id: slot.id,
                step: owed.debt.step,
            });
        }
        if forgiven.is_empty() {
            return Ok(forgiven);
        }
        let records = forgiven.iter().map(|owed| {
            Record::Observed(Observation::Forgiven {
                step: owed.debt.step,
                attachment: owed.debt.attachment,
                reason: reason.clone(),
            })
        });
        let entries = number(pod.id, pod.next_sequence, self.clock.now(), records);
        self.append(slot, entries, Durability::Power).await?;
        for owed in &forgiven {
            tracing::warn!(pod = %slot.id, %owed, reason, "a debt is forgiven");
        }
        Ok(forgiven)
    }
}
