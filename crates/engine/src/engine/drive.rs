//! The only loop: decide, act through the ports, record, fold.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::decide::{Next, exited_too_early};
use crate::engine::Inner;
use crate::engine::admit::{Birth, number};
use crate::engine::answer::{Wanted, buried, verdict};
use crate::engine::error::EngineError;
use crate::engine::point;
use crate::engine::slot::Slot;
use crate::error::{ErrorKind, StepError};
use crate::pod::{Listing, Obituary, Pod, Status};
use crate::ports::{Durability, Failure, JournalError, Probe};
use crate::record::{Cause, Goal, Observation, Output, ProcessIdentity, Record};
use crate::step::Step;

/// How long a walk waits before it tries a full journal again.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(1);

/// What one turn of the loop has come to.
pub(super) enum Turn {
    /// Decide again.
    Again,
    /// Nothing more to do.
    Rest,
    /// The pod is gone.
    Gone,
}

impl Inner {
    /// Sees to it that somebody walks the pod, and looks at it anew.
    pub(super) fn kick(inner: &Arc<Inner>, slot: &Arc<Slot>) {
        if slot.call() {
            let (inner, slot) = (inner.clone(), slot.clone());
            let spawn = inner.spawn.clone();
            spawn.spawn(Box::pin(async move { inner.drive(&slot).await }));
        }
    }

    /// Writes a new pod's first records and walks it. The slot was made with
    /// its walk begun.
    pub(super) fn begin(inner: &Arc<Inner>, slot: Arc<Slot>, birth: Birth) {
        let inner = inner.clone();
        let spawn = inner.spawn.clone();
        spawn.spawn(Box::pin(async move {
            if inner.bear(&slot, birth).await {
                inner.drive(&slot).await;
            }
        }));
    }

    /// True when the pod's first records are written and its first step, whose
    /// intent is among them, was tried.
    async fn bear(self: &Arc<Self>, slot: &Arc<Slot>, birth: Birth) -> bool {
        let Birth { records, pen } = birth;
        let written = self
            .journal
            .append(records.clone(), Durability::Process)
            .await;
        point::reached("engine.born");
        if let Err(error) = written {
            self.pods().remove(slot.id);
            slot.end(|_, _| Err(EngineError::Journal(error.clone())));
            return false;
        }
        let new = Listing::Unlisted;
        self.events.tell(&records, new, &slot.pod());
        drop(pen);
        let taken = self.take_from(slot, Step::Create).await;
        self.after_turn(slot, taken.map(|()| Turn::Again)).await
    }

    async fn drive(self: &Arc<Self>, slot: &Arc<Slot>) {
        loop {
            let (pod, facts) = slot.facts(self.clock.now(), self.config.policy, self.is_closing());
            let next = (self.decide)(&pod, &facts);
            if !slot.tell(&facts, |pod, wanted| {
                verdict(pod, &next, facts.closing, wanted)
            }) {
                continue;
            }
            let turn = match self.refuses_work(&next) {
                Some(poisoned) => Err(poisoned),
                None => self.act(slot, &pod, next).await,
            };
            if !self.after_turn(slot, turn).await {
                return;
            }
        }
    }

    /// After a failed sync no effect is begun, for it could not be recorded.
    fn refuses_work(&self, next: &Next) -> Option<JournalError> {
        let poisoned = |error: &JournalError| matches!(error, JournalError::Poisoned { .. });
        match next {
            Next::Rest => None,
            _ => self.journal.admits().err().filter(poisoned),
        }
    }

    /// Whether the walk goes on.
    async fn after_turn(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        turn: Result<Turn, JournalError>,
    ) -> bool {
        match turn {
            Ok(Turn::Again) => true,
            Ok(Turn::Rest) => {
                slot.disinherit();
                self.shorten(slot).await;
                self.look_again_later(slot);
                !slot.rest()
            }
            Ok(Turn::Gone) => false,
            Err(error) => self.endure(slot, error).await,
        }
    }

    /// The journal did not take a record: who waits hears it. With space the
    /// walk goes on; after a failed sync it ends, and pods run on.
    async fn endure(&self, slot: &Arc<Slot>, error: JournalError) -> bool {
        slot.answer(|pod, wanted| match wanted {
            // That goal is being recorded still: it is told when it is, or is not.
            Wanted::Goal(goal) if goal > pod.goal => None,
            _ => Some(Err(EngineError::Journal(error.clone()))),
        });
        slot.set_found(None);
        if matches!(error, JournalError::Poisoned { .. }) || self.is_closing() {
            return !slot.rest();
        }
        self.pause(slot, JOURNAL_PATIENCE).await;
        true
    }

    /// Records the end of a sandbox's process, as soon as there is space: it is
    /// told once, and a walk that rests would not look again.
    pub(super) async fn record_exit(
        &self,
        slot: &Slot,
        process: ProcessIdentity,
        code: Option<i32>,
    ) -> Result<(), JournalError> {
        let exited = |pod: &Pod| {
            let current = pod.sandbox.as_ref().map(|sandbox| sandbox.process);
            let news = pod.goal == Goal::Run && pod.has_sandbox() && current == Some(process);
            let exited = Record::Observed(Observation::Exited { code });
            news.then_some((exited, Durability::Power))
        };
        loop {
            match self.record(slot, exited).await {
                Err(JournalError::Full { .. }) if !self.is_closing() => {
                    self.clock.sleep(JOURNAL_PATIENCE).await;
                }
                recorded => return recorded.map(drop),
            }
        }
    }

    async fn act(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        pod: &Arc<Pod>,
        next: Next,
    ) -> Result<Turn, JournalError> {
        match next {
            Next::Rest => return Ok(Turn::Rest),
            Next::Look(step) => self.look(slot, pod, step).await?,
            Next::Adopt(step) => self.adopt(slot, step).await?,
            Next::NoteExit => {
                let exited = Observation::Exited { code: None };
                self.write(slot, Durability::Power, Record::Observed(exited))
                    .await?;
            }
            Next::Climb(step, durability) => self.climb(slot, pod, step, durability).await?,
            Next::Restart => {
                let restart = Record::Observed(Observation::Restart);
                self.write(slot, Durability::Process, restart).await?;
                slot.set_found(None);
            }
            Next::TurnDown(cause) => self.turn_down(slot, cause).await?,
            Next::Descend(step) => self.descend(slot, pod, step).await?,
            Next::Owe { wait, .. } => {
                slot.disinherit();
                // A debt may live for years, and every try is a record.
                self.shorten(slot).await;
                self.pause(slot, wait).await;
            }
            Next::Outlive(goal) => {
                // Forgiven meanwhile, there is nothing to outlive.
                let outlived = |pod: &Pod| {
                    let outlived = Record::Observed(Observation::Outlived { goal });
                    (!pod.debts.is_empty()).then_some((outlived, Durability::Power))
                };
                self.record(slot, outlived).await?;
            }
            Next::Forget => return self.forget(slot).await,
        }
        Ok(Turn::Again)
    }

    async fn look(&self, slot: &Slot, pod: &Arc<Pod>, step: Step) -> Result<(), JournalError> {
        let _pass = self.pass(slot).await;
        if self.is_closing() {
            return Ok(());
        }
        match self.quiet(pod, step).await {
            Ok(()) => {
                let probe = self.probe(pod, step).await;
                tracing::debug!(pod = %slot.id, %step, ?probe, "looked");
                slot.set_found(Some((step, probe)));
                Ok(())
            }
            // A sandbox that runs is not ended for what cannot be looked at: its
            // Stop will meet the same processes, and owe.
            Err(error) if pod.status(step) == Status::Done => {
                tracing::warn!(pod = %slot.id, %step, %error, "it cannot be looked at");
                slot.set_found(Some((step, Probe::Unknown)));
                Ok(())
            }
            Err(error) => {
                let failed = Self::failed_undo(step, None, error);
                self.write(slot, Durability::Process, failed).await
            }
        }
    }

    async fn adopt(&self, slot: &Slot, step: Step) -> Result<(), JournalError> {
        let Some(output) = slot.found_output(step) else {
            slot.set_found(None);
            return Ok(());
        };
        let done = Record::Done(output);
        let mut fits = true;
        let adopted = |pod: &Pod| {
            fits = self.after(pod, &done).is_ok();
            let durability = self.durability_of(slot, pod, &done);
            fits.then_some((done, durability))
        };
        self.record(slot, adopted).await?;
        if !fits {
            // What does not fit the pod is not the step, complete.
            slot.set_found(Some((step, Probe::Unknown)));
        }
        Ok(())
    }

    async fn turn_down(&self, slot: &Slot, cause: Cause) -> Result<(), JournalError> {
        tracing::info!(pod = %slot.id, ?cause, "the start has failed, it is undone");
        let goal = Record::Goal {
            goal: Goal::Remove,
            cause,
        };
        // Stopped meanwhile, it is no failed start any more.
        let turned = |pod: &Pod| (pod.goal == Goal::Run).then_some((goal, Durability::Process));
        self.record(slot, turned).await.map(drop)
    }

    /// Records the intent and takes the step; and the next ones, as long as
    /// the way leads up: their intents go into the batch that records this
    /// one's end (rule 2).
    async fn climb(
        &self,
        slot: &Slot,
        pod: &Arc<Pod>,
        step: Step,
        durability: Durability,
    ) -> Result<(), JournalError> {
        let intent = match self.intent(pod, step) {
            Ok(intent) => intent,
            Err(error) => {
                return self
                    .turn_down(slot, Cause::StartFailed { step, error })
                    .await;
            }
        };
        // A goal that was raised since the decision wins: no intent, no effect.
        let still = |current: &Pod| {
            let same = current.next_sequence == pod.next_sequence;
            same.then_some((Record::Intent(intent), durability))
        };
        slot.set_found(None);
        match self.record(slot, still).await? {
            true => self.take_from(slot, step).await,
            false => Ok(()),
        }
    }

    /// Takes a step whose intent is recorded, and goes on up from there.
    async fn take_from(&self, slot: &Slot, first: Step) -> Result<(), JournalError> {
        let mut step = first;
        loop {
            let pass = self.pass(slot).await;
            // Asked to end while it waited: nothing new is begun. A pod that is
            // stopped keeps its file, so the first step is taken all the same.
            let unwanted = step != Step::Create && slot.pod().goal > Goal::Run;
            if self.is_closing() || unwanted {
                return Ok(());
            }
            let ended = self.apply(slot, step).await;
            drop(pass);
            let output = match ended {
                Ok(output) => output,
                Err(failure) => {
                    let failed = Self::failed_step(step, failure);
                    return self.write(slot, Durability::Process, failed).await;
                }
            };
            match self.record_done(slot, step, output).await? {
                Some(next) => step = next,
                None => return Ok(()),
            }
        }
    }

    /// Records a step's end, and the intent of the next one if the way leads
    /// straight up; answers that one.
    async fn record_done(
        &self,
        slot: &Slot,
        step: Step,
        output: Output,
    ) -> Result<Option<Step>, JournalError> {
        let _pen = slot.pen().await;
        let now = self.clock.now();
        let pod = slot.pod();
        if step == Step::AttachLate && pod.exited.is_some() {
            let failure = Failure::not_done(exited_too_early());
            return self.record_failure(slot, &pod, step, failure).await;
        }
        let done = Record::Done(output.clone());
        let after = match self.after(&pod, &done) {
            Ok(after) => after,
            Err(error) => return self.record_nonsense(slot, &pod, step, error).await,
        };
        // What this process has done itself needs no second look.
        slot.set_found(Some((step, Probe::Complete(output))));
        let (_, facts) = slot.facts(now, self.config.policy, self.is_closing());
        let (mut records, mut up) = (vec![done], None);
        let mut durability = Durability::Process;
        match (self.decide)(&after, &facts) {
            Next::Rest => durability = Durability::Power,
            Next::Climb(next, needed) => {
                if let Ok(intent) = self.intent(&after, next) {
                    records.push(Record::Intent(intent));
                    (durability, up) = (needed, Some(next));
                }
            }
            _ => {}
        }
        let entries = number(pod.id, pod.next_sequence, now, records);
        match self.append(slot, entries, durability).await {
            Ok(()) => Ok(up),
            // Done once more it would be as large.
            Err(error @ JournalError::TooLarge { .. }) => {
                slot.set_found(None);
                self.record_nonsense(slot, &pod, step, error).await
            }
            Err(error) => Err(error),
        }
    }

    /// A rung's answer does not fit the pod, or the journal: the step counts as
    /// failed.
    async fn record_nonsense(
        &self,
        slot: &Slot,
        pod: &Pod,
        step: Step,
        error: JournalError,
    ) -> Result<Option<Step>, JournalError> {
        let error = StepError::new(ErrorKind::Failed, error.to_string());
        self.record_failure(slot, pod, step, Failure::unknown(error))
            .await
    }

    /// Under the pen: a step has come to its end, and counts as failed.
    async fn record_failure(
        &self,
        slot: &Slot,
        pod: &Pod,
        step: Step,
        failure: Failure,
    ) -> Result<Option<Step>, JournalError> {
        let failed = Self::failed_step(step, failure);
        let entries = number(pod.id, pod.next_sequence, self.clock.now(), [failed]);
        self.append(slot, entries, Durability::Process).await?;
        Ok(None)
    }

    async fn descend(&self, slot: &Slot, pod: &Arc<Pod>, step: Step) -> Result<(), JournalError> {
        let _pass = self.pass(slot).await;
        if self.is_closing() {
            return Ok(());
        }
        slot.set_found(None);
        slot.set_urgent(false);
        if let Err(error) = self.quiet(pod, step).await {
            let failed = Self::failed_undo(step, None, error);
            return self.write(slot, Durability::Process, failed).await;
        }
        let mut owed = false;
        for attachment in pod.unreleased(step) {
            if self.is_closing() {
                return Ok(());
            }
            let undone = self.undo(pod, step, Some(attachment)).await;
            owed |= undone.is_err();
            let record = Self::ended_undo(step, Some(attachment), undone);
            self.write(slot, Durability::Process, record).await?;
        }
        if owed {
            return Ok(());
        }
        let undone = self.undo(pod, step, None).await;
        let is_undone = undone.is_ok();
        let record = Self::ended_undo(step, None, undone);
        let ended = |pod: &Pod| {
            let durability = self.durability_of(slot, pod, &record);
            Some((record, durability))
        };
        self.record(slot, ended).await?;
        // What could not be let go beside the sandbox is tried again without it.
        let owes_above = pod.debts.iter().any(|debt| debt.step > step);
        if is_undone && owes_above {
            slot.set_urgent(true);
        }
        Ok(())
    }

    async fn forget(&self, slot: &Slot) -> Result<Turn, JournalError> {
        let pen = slot.pen().await;
        let pod = slot.pod();
        let obituary = Obituary {
            pod: (*pod).clone(),
        };
        point::reached("engine.bury.before");
        self.journal.bury(obituary.clone()).await?;
        point::reached("engine.bury.after");
        self.pods().remove(slot.id);
        self.lay_to_rest(obituary);
        self.events.tell_removed(self.clock.now(), &pod);
        slot.end(buried);
        drop(pen);
        Ok(Turn::Gone)
    }

    /// Raises a pod's goal, and sees to it that somebody walks.
    pub(super) async fn aim(self: &Arc<Self>, slot: &Arc<Slot>, goal: Goal, cause: Cause) {
        slot.set_urgent(true);
        let raise = |pod: &Pod| {
            let record = Record::Goal { goal, cause };
            let durability = self.durability_of(slot, pod, &record);
            (pod.goal < goal).then_some((record, durability))
        };
        match self.record(slot, raise).await {
            Ok(_) => Inner::kick(self, slot),
            Err(error) => slot.answer(|pod, wanted| match wanted {
                Wanted::Goal(wanted) if wanted > pod.goal => {
                    Some(Err(EngineError::Journal(error.clone())))
                }
                _ => None,
            }),
        }
    }

    /// Sees to it that a sandbox of which nothing could be told is looked at
    /// once more. The wait keeps neither the engine nor its journal.
    fn look_again_later(self: &Arc<Self>, slot: &Arc<Slot>) {
        if self.is_closing() {
            return;
        }
        let Some(wait) = slot.wait_to_look_again(self.clock.now()) else {
            return;
        };
        let over = self.clock.sleep(wait);
        let (inner, slot) = (Arc::downgrade(self), Arc::downgrade(slot));
        self.spawn.spawn(Box::pin(async move {
            over.await;
            if let (Some(inner), Some(slot)) = (inner.upgrade(), slot.upgrade())
                && slot.look_again()
            {
                Inner::kick(&inner, &slot);
            }
        }));
    }

    /// Waits, but not longer than until somebody calls.
    async fn pause(&self, slot: &Slot, wait: Duration) {
        let called = slot.called();
        match select(self.clock.sleep(wait), called).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }

    fn failed_undo(step: Step, attachment: Option<u32>, error: StepError) -> Record {
        Self::ended_undo(step, attachment, Err(error))
    }
}
