//! Records in, knowledge out.
//!
//! Stored records may be damaged or come from a confused writer, so every
//! contradiction is an error that names the sequence, never a panic.

use crate::clock::Stamp;
use crate::error::StepError;
use crate::id::PodId;
use crate::pod::{AttachmentStatus, Debt, Exit, Pod, Slot, Status};
use crate::record::{
    Direction, Entry, Goal, Intent, Observation, Output, PlannedAttachment, Record, StartOutput,
};
use crate::step::{Lifetime, Step};

/// Records that do not make a pod: it is set aside with its bytes, alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// There are none.
    #[error("no records")]
    Empty,
    /// A record is missing: corruption, never a shorter log.
    #[error("record {expected} is missing: the next one is {found}")]
    Gap {
        /// The sequence that should have come.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// A record of another pod.
    #[error("record {sequence} belongs to pod {found}")]
    Stranger {
        /// Where.
        sequence: u64,
        /// Whose.
        found: PodId,
    },
    /// A record that cannot follow those before it.
    #[error("record {sequence} cannot follow: {why}")]
    Contradiction {
        /// Where.
        sequence: u64,
        /// What is wrong.
        why: &'static str,
    },
}

/// Folds a pod's records, first to last.
///
/// # Errors
/// [`FoldError`] when they do not make a pod.
pub fn fold<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Result<Pod, FoldError> {
    let mut entries = entries.into_iter();
    let (mut pod, mut waiting) = match entries.next() {
        None => return Err(FoldError::Empty),
        Some(first) => begin(first)?,
    };
    for entry in entries {
        match waiting.take() {
            None => pod.apply(entry)?,
            Some(goal) => pod = create(&goal, entry)?,
        }
    }
    match waiting {
        None => Ok(pod),
        Some(goal) => Err(contradiction(
            &goal,
            "it is a goal and no intent to create follows",
        )),
    }
}

/// The first record: a snapshot is a pod; a goal waits for the intent to
/// create, which is in the same batch.
fn begin(first: &Entry) -> Result<(Pod, Option<Entry>), FoldError> {
    match &first.record {
        Record::Snapshot(pod) => {
            let pod = snapshot(pod, first)?;
            Ok((pod, None))
        }
        Record::Goal {
            goal: Goal::Run, ..
        } if first.sequence == 0 => Ok((blank(first), Some(first.clone()))),
        _ if first.sequence != 0 => Err(FoldError::Gap {
            expected: 0,
            found: first.sequence,
        }),
        _ => Err(contradiction(first, "a pod begins with the goal to run")),
    }
}

fn snapshot(pod: &Pod, entry: &Entry) -> Result<Pod, FoldError> {
    if pod.id != entry.pod {
        return Err(FoldError::Stranger {
            sequence: entry.sequence,
            found: pod.id,
        });
    }
    if Some(pod.next_sequence) != entry.sequence.checked_add(1) {
        return Err(contradiction(entry, "the snapshot counts other records"));
    }
    match pod.broken_invariant() {
        Some(broken) => Err(contradiction(entry, broken)),
        None => Ok(pod.clone()),
    }
}

fn blank(first: &Entry) -> Pod {
    Pod {
        id: first.pod,
        next_sequence: 1,
        created: first.stamp,
        last: first.stamp,
        spec: Default::default(),
        sandbox_key: None,
        goal: Goal::Run,
        cause: crate::record::Cause::Request,
        slots: Default::default(),
        namespace: None,
        plan: Vec::new(),
        attachments: Vec::new(),
        sandbox: None,
        exited: None,
        restarting: false,
        outlived: None,
        debts: Vec::new(),
        released: None,
    }
}

fn create(goal: &Entry, entry: &Entry) -> Result<Pod, FoldError> {
    if entry.sequence != 1 {
        return Err(FoldError::Gap {
            expected: 1,
            found: entry.sequence,
        });
    }
    let Record::Intent(Intent::Create(intent)) = &entry.record else {
        return Err(contradiction(entry, "the intent to create comes second"));
    };
    let mut pod = blank(goal);
    if let Record::Goal { cause, .. } = &goal.record {
        pod.cause = cause.clone();
    }
    pod.spec = intent.spec.clone();
    pod.sandbox_key = intent.sandbox_key.clone();
    pod.apply(entry)?;
    Ok(pod)
}

fn contradiction(entry: &Entry, why: &'static str) -> FoldError {
    FoldError::Contradiction {
        sequence: entry.sequence,
        why,
    }
}

/// Whether the default network is attached before the sandbox starts, and
/// what is late comes after what is not.
fn is_in_order(plan: &[PlannedAttachment]) -> bool {
    let first_is_early = plan.first().is_none_or(|planned| !planned.late);
    first_is_early && plan.is_sorted_by_key(|planned| planned.late)
}

impl Pod {
    /// Takes in one more record.
    ///
    /// # Errors
    /// [`FoldError`], and then the pod is as it was before.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), FoldError> {
        self.check_envelope(entry)?;
        let stamp = entry.stamp;
        match &entry.record {
            Record::Goal { goal, cause } => self.aim(*goal, cause.clone()),
            Record::Intent(intent) => self.intend(intent, stamp),
            Record::Done(output) => self.finish(output, entry)?,
            Record::Failed {
                step,
                direction: Direction::Up,
                error,
                ..
            } => self.fail(*step, error, entry)?,
            Record::Failed {
                step,
                direction: Direction::Down,
                attachment,
                error,
                ..
            } => self.owe(*step, *attachment, error, stamp),
            Record::Undone { step, attachment } => self.undo(*step, *attachment, stamp),
            Record::Observed(observation) => self.observe(observation, entry)?,
            Record::Snapshot(pod) => *self = snapshot(pod, entry)?,
        }
        self.next_sequence = entry.sequence + 1;
        self.last = stamp;
        debug_assert_eq!(self.broken_invariant(), None, "after {:?}", entry.record);
        Ok(())
    }

    fn check_envelope(&self, entry: &Entry) -> Result<(), FoldError> {
        if entry.pod != self.id {
            return Err(FoldError::Stranger {
                sequence: entry.sequence,
                found: entry.pod,
            });
        }
        if entry.sequence != self.next_sequence {
            return Err(FoldError::Gap {
                expected: self.next_sequence,
                found: entry.sequence,
            });
        }
        match entry.sequence {
            u64::MAX => Err(contradiction(entry, "no record can follow it")),
            _ => Ok(()),
        }
    }

    /// Goals only go up: a lower or equal one changes nothing.
    fn aim(&mut self, goal: Goal, cause: crate::record::Cause) {
        if goal > self.goal {
            self.goal = goal;
            self.cause = cause;
        }
    }

    fn intend(&mut self, intent: &Intent, stamp: Stamp) {
        let slot = &mut self.slots[intent.step().rank()];
        slot.status = Status::Maybe;
        slot.since = Some(stamp);
        slot.took_ns = None;
        slot.climbs = slot.climbs.saturating_add(1);
        slot.failure = None;
        // The intent to create is the spec, which the pod has already.
        slot.intent = match intent {
            Intent::Create(_) => None,
            other => Some(other.clone()),
        };
        match intent {
            Intent::ConfigureCni(_) => {
                self.attachments = vec![AttachmentStatus::default(); self.plan.len()];
            }
            Intent::AttachLate(_) => self.begin_anew(Step::AttachLate),
            _ => {}
        }
    }

    fn finish(&mut self, output: &Output, entry: &Entry) -> Result<(), FoldError> {
        let step = output.step();
        if self.status(step) != Status::Maybe {
            return Err(contradiction(
                entry,
                "it is done, and nobody meant to do it",
            ));
        }
        match output {
            Output::Create(_) => {}
            Output::MountNetns(output) => self.namespace = Some(output.namespace),
            Output::ReadyNetwork(_) if !self.attachments.is_empty() => {
                return Err(contradiction(entry, "the plan changes while it is in use"));
            }
            Output::ReadyNetwork(output) if !is_in_order(&output.plan) => {
                return Err(contradiction(
                    entry,
                    "the default network is attached before the sandbox starts, and what is late comes last in the plan",
                ));
            }
            Output::ReadyNetwork(output) => self.plan = output.plan.clone(),
            Output::ConfigureCni(output) => self
                .attach(step, &output.results)
                .map_err(|why| contradiction(entry, why))?,
            Output::AttachLate(_) if self.exited.is_some() => {
                return Err(contradiction(entry, "the sandbox had exited before"));
            }
            Output::AttachLate(output) => self
                .attach(step, &output.results)
                .map_err(|why| contradiction(entry, why))?,
            Output::Start(output) => self.started(output),
        }
        let slot = &mut self.slots[step.rank()];
        slot.status = Status::Done;
        slot.took_ns = slot
            .since
            .map(|since| u64::try_from(entry.stamp.since(&since).as_nanos()).unwrap_or(u64::MAX));
        slot.since = Some(entry.stamp);
        Ok(())
    }

    fn started(&mut self, output: &StartOutput) {
        self.sandbox = Some(output.clone());
        self.exited = None;
    }

    fn fail(&mut self, step: Step, error: &StepError, entry: &Entry) -> Result<(), FoldError> {
        let slot = &mut self.slots[step.rank()];
        if slot.status != Status::Maybe {
            return Err(contradiction(entry, "it failed, and nobody meant to do it"));
        }
        slot.failure = Some(error.clone());
        Ok(())
    }

    fn owe(&mut self, step: Step, attachment: Option<u32>, error: &StepError, stamp: Stamp) {
        // An operator may have forgiven the debt while its undo was tried.
        if self.status(step) == Status::Never || self.is_released(step, attachment) {
            return;
        }
        let known = self
            .debts
            .iter_mut()
            .find(|debt| debt.step == step && debt.attachment == attachment);
        match known {
            Some(debt) => {
                debt.attempts = debt.attempts.saturating_add(1);
                debt.last = stamp;
                debt.error = error.clone();
            }
            None => self.debts.push(Debt {
                step,
                attachment,
                attempts: 1,
                first: stamp,
                last: stamp,
                error: error.clone(),
            }),
        }
    }

    fn undo(&mut self, step: Step, attachment: Option<u32>, stamp: Stamp) {
        match attachment {
            Some(index) => self.release(index),
            None => self.clear(step, stamp),
        }
        self.settle(step, attachment);
        if step.lifetime() == Lifetime::OnDisk {
            self.released = Some(stamp);
        }
    }

    /// Pays debts: one attachment's, or all of the step's.
    fn settle(&mut self, step: Step, attachment: Option<u32>) {
        self.debts.retain(|debt| {
            debt.step != step || (attachment.is_some() && debt.attachment != attachment)
        });
        self.settle_answer();
    }

    /// A Stop that was answered early is settled once the pod is down. A
    /// Remove stays answered: nobody is to see the pod again (rule 7).
    fn settle_answer(&mut self) {
        if self.is_down() && self.outlived == Some(Goal::Stop) {
            self.outlived = None;
        }
    }

    /// The step's effect is gone.
    fn clear(&mut self, step: Step, stamp: Stamp) {
        let slot = &mut self.slots[step.rank()];
        *slot = Slot {
            status: Status::Never,
            since: Some(stamp),
            climbs: slot.climbs,
            failure: slot.failure.take(),
            ..Slot::default()
        };
        match step {
            Step::MountNetns => self.namespace = None,
            Step::ConfigureCni | Step::AttachLate => self.detach(step),
            Step::Start => self.sandbox = None,
            Step::Create | Step::ReadyNetwork => {}
        }
        let lowest_cleared = step <= Step::MountNetns;
        let above_created = &self.slots[Step::MountNetns.rank()..];
        if lowest_cleared
            || above_created
                .iter()
                .all(|slot| slot.status == Status::Never)
        {
            self.restarting = false;
        }
    }

    fn observe(&mut self, observation: &Observation, entry: &Entry) -> Result<(), FoldError> {
        let stamp = entry.stamp;
        match observation {
            Observation::Exited { .. } if self.slot(Step::Start).climbs == 0 => {
                return Err(contradiction(entry, "nothing was started that could exit"));
            }
            Observation::Exited { code } => {
                self.exited.get_or_insert(Exit {
                    noticed: stamp,
                    code: *code,
                });
            }
            Observation::Restart => self.restart(),
            Observation::Rebooted {
                cni_may_be_back, ..
            } => self.reboot(*cni_may_be_back, stamp),
            Observation::Outlived { goal } if *goal == Goal::Run || *goal > self.goal => {
                return Err(contradiction(entry, "nobody asked for what was answered"));
            }
            Observation::Outlived { goal } => self.outlived = Some(*goal),
            Observation::Forgiven {
                step, attachment, ..
            } => self.forgive(*step, *attachment, stamp),
        }
        Ok(())
    }

    /// No Done above Created is trusted upward any more.
    fn restart(&mut self) {
        for slot in &mut self.slots[Step::MountNetns.rank()..] {
            if slot.status == Status::Done {
                slot.status = Status::Maybe;
            }
            self.restarting |= slot.status == Status::Maybe;
        }
    }

    /// What lived until reboot is gone; what lives on disk is owed; and a pod
    /// that ran is stopped: its client starts it anew (design, section 4).
    fn reboot(&mut self, cni_may_be_back: bool, stamp: Stamp) {
        let was_started = self.status(Step::Start) == Status::Done;
        for step in Step::ALL {
            if step.lifetime() == Lifetime::UntilReboot && self.status(step) != Status::Never {
                let sandbox = self.sandbox.take();
                self.clear(step, stamp);
                self.sandbox = sandbox;
            }
        }
        if was_started {
            self.exited.get_or_insert(Exit {
                noticed: stamp,
                code: None,
            });
        }
        self.restarting = false;
        for step in [Step::ConfigureCni, Step::AttachLate] {
            self.bring_back(step, cni_may_be_back, stamp);
        }
        self.debts
            .retain(|debt| debt.step.lifetime() == Lifetime::OnDisk);
        self.settle_answer();
        self.aim(Goal::Stop, crate::record::Cause::Reboot);
    }

    fn forgive(&mut self, step: Step, attachment: Option<u32>, stamp: Stamp) {
        if !self.is_forgivable(step) {
            return;
        }
        match attachment {
            Some(index) => self.release(index),
            None => self.clear(step, stamp),
        }
        self.settle(step, attachment);
    }
}

/// What a plan supposes; nothing of it is recorded.
impl Pod {
    pub(crate) fn suppose(&mut self, step: Step, status: Status) {
        match status {
            Status::Never => {
                self.settle(step, None);
                self.clear(step, self.last);
            }
            Status::Maybe | Status::Done => {
                let slot = &mut self.slots[step.rank()];
                slot.status = status;
                slot.climbs = slot.climbs.saturating_add(1);
                if step == Step::Start {
                    self.exited = None;
                }
            }
        }
    }

    pub(crate) fn suppose_exit(&mut self) {
        self.exited.get_or_insert(Exit {
            noticed: self.last,
            code: None,
        });
    }

    pub(crate) fn suppose_restart(&mut self) {
        self.restart();
    }

    pub(crate) fn suppose_goal(&mut self, goal: Goal, cause: crate::record::Cause) {
        self.aim(goal, cause);
    }
}
