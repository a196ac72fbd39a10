//! The rules of a journal, against a model in memory.

use std::fmt;

use futures_util::future::join;
use podwalk_engine::id::PodId;
use podwalk_engine::pod::fold;
use podwalk_engine::ports::{Durability, Journal, JournalError, Replay};
use podwalk_engine::record::Entry;

use super::model::{Model, Operation, note};
use super::script::{PODS, pod_id};
use super::walk::entry;
use super::{Act, Broken, Rule};

/// Larger than what the engine ever asks a journal to take, bytes.
const TOO_LARGE: usize = 512 << 10;

/// Why a journal is opened. The one before has been dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opening {
    /// It is new: nothing is in it.
    First,
    /// Its process has ended, in whatever way.
    AfterEnd,
    /// The machine has lost power. A journal that cannot be made to lose any
    /// opens as after an end: more than the promise survives.
    AfterPowerLoss,
}

/// Plays a script on a journal, and compares with the model after each act.
///
/// # Errors
/// The first promise that was not kept; its state is the act.
pub async fn journal<J: Journal>(
    mut open: impl AsyncFnMut(Opening) -> J,
    acts: &[Act],
) -> Result<(), Broken> {
    let mut play = Play {
        journal: open(Opening::First).await,
        model: Model::default(),
        written: Vec::new(),
        safe: 0,
        state: "new".to_owned(),
    };
    play.holds(Rule::Replays).await?;
    for (number, act) in acts.iter().enumerate() {
        play.state = format!("act {number}: {act:?}");
        let opening = match act {
            Act::Close => Opening::AfterEnd,
            Act::LosePower => Opening::AfterPowerLoss,
            other => {
                play.act(*other).await?;
                continue;
            }
        };
        let epoch = play.journal.epoch();
        // The lock of the one must be gone before the other opens.
        let Play {
            journal,
            model,
            written,
            safe,
            state,
        } = play;
        drop(journal);
        let journal = open(opening).await;
        play = Play {
            journal,
            model,
            written,
            safe,
            state,
        };
        play.opened(opening, epoch).await?;
    }
    play.state = "at the end".to_owned();
    play.holds(Rule::Replays).await
}

struct Play<J> {
    journal: J,
    model: Model,
    written: Vec<Operation>,
    /// So many operations survive a power loss.
    safe: usize,
    state: String,
}

impl<J: Journal> Play<J> {
    async fn act(&mut self, act: Act) -> Result<(), Broken> {
        match act {
            Act::Append {
                pod,
                records,
                choice,
                durability,
            } => {
                let batch = self.model.next(pod_id(pod), records, choice);
                self.append(batch, durability).await
            }
            Act::Batch { pods, durability } => {
                let batch = pods.map(|pod| self.model.next(pod_id(pod), 1, pod));
                let [mut batch, other] = batch;
                if pods[0] != pods[1] {
                    batch.extend(other);
                }
                self.append(batch, durability).await
            }
            Act::AtOnce { pods } => self.at_once(pods).await,
            Act::TooLarge { pod } => self.too_large(pod_id(pod)).await,
            Act::Compact { pod } => self.compact(pod_id(pod)).await,
            Act::Bury { pod } => self.bury(pod_id(pod)).await,
            Act::Close | Act::LosePower => Ok(()),
        }
    }

    async fn append(&mut self, batch: Vec<Entry>, durability: Durability) -> Result<(), Broken> {
        if batch.is_empty() {
            return Ok(());
        }
        let answer = self.journal.append(batch.clone(), durability).await;
        self.taken(answer)?;
        self.wrote(Operation::Append(batch), durability);
        self.reads(Rule::Reads).await
    }

    /// Both are on the platter in the end, so that their order does not matter.
    async fn at_once(&mut self, pods: [u8; 2]) -> Result<(), Broken> {
        let [one, other] = pods.map(|pod| self.model.next(pod_id(pod), 2, 0));
        if pods[0] == pods[1] {
            return self.append(one, Durability::Power).await;
        }
        let append = |batch: &Vec<Entry>| self.journal.append(batch.clone(), Durability::Power);
        let (first, second) = join(append(&one), append(&other)).await;
        for (answer, batch) in [(first, one), (second, other)] {
            self.taken(answer)?;
            self.wrote(Operation::Append(batch), Durability::Power);
        }
        self.reads(Rule::Reads).await
    }

    async fn too_large(&mut self, pod: PodId) -> Result<(), Broken> {
        let mut batch = self.model.next(pod, 1, 0);
        let Some(last) = batch.last() else {
            return Ok(());
        };
        batch.push(entry(pod, last.sequence + 1, note(TOO_LARGE)));
        let answer = self.journal.append(batch.clone(), Durability::Process);
        if answer.await.is_ok() {
            self.wrote(Operation::Append(batch), Durability::Process);
        }
        self.reads(Rule::Atomic).await
    }

    async fn compact(&mut self, pod: PodId) -> Result<(), Broken> {
        let Some(snapshot) = self.model.snapshot(pod) else {
            return Ok(());
        };
        let answer = self.journal.compact(snapshot.clone()).await;
        self.taken(answer)?;
        self.wrote(Operation::Compact(snapshot), Durability::Process);
        self.holds(Rule::Compacts).await
    }

    async fn bury(&mut self, pod: PodId) -> Result<(), Broken> {
        let Some(obituary) = self.model.obituary(pod) else {
            return Ok(());
        };
        let answer = self.journal.bury(obituary.clone()).await;
        self.taken(answer)?;
        self.wrote(Operation::Bury(Box::new(obituary)), Durability::Power);
        self.holds(Rule::Buries).await
    }

    fn taken(&self, answer: Result<(), JournalError>) -> Result<(), Broken> {
        answer
            .and_then(|()| self.journal.admits())
            .map_err(|error| self.broken(Rule::Takes, error))
    }

    fn wrote(&mut self, operation: Operation, durability: Durability) {
        self.model.take(&operation);
        self.written.push(operation);
        if durability == Durability::Power {
            self.safe = self.written.len();
        }
    }

    /// What must be there after another opening, and is.
    async fn opened(&mut self, opening: Opening, epoch: u64) -> Result<(), Broken> {
        if self.journal.epoch() <= epoch {
            let detail = format!("{} after {epoch}", self.journal.epoch());
            return Err(self.broken(Rule::EpochGrows, detail));
        }
        let at_least = match opening {
            Opening::AfterPowerLoss => self.safe,
            Opening::First | Opening::AfterEnd => self.written.len(),
        };
        let replay = self.replay().await?;
        let survived = (at_least..=self.written.len())
            .rev()
            .find(|kept| differs(&Model::of(&self.written[..*kept]), &replay).is_none());
        let Some(kept) = survived else {
            let most = differs(&self.model, &replay).unwrap_or_default();
            let detail = format!(
                "it holds what none of the first {at_least} to {} operations come to; after all of them, {most}",
                self.written.len()
            );
            return Err(self.broken(Rule::Survives, detail));
        };
        self.written.truncate(kept);
        self.safe = kept;
        self.model = Model::of(&self.written);
        self.holds(Rule::Replays).await
    }

    /// Everything is as the model has it.
    async fn holds(&self, rule: Rule) -> Result<(), Broken> {
        self.reads(rule).await?;
        let replay = self.replay().await?;
        match differs(&self.model, &replay) {
            None => Ok(()),
            Some(detail) => Err(self.broken(rule, detail)),
        }
    }

    async fn replay(&self) -> Result<Replay, Broken> {
        let replay = self.journal.replay().await;
        let replay = replay.map_err(|error| self.broken(Rule::Replays, error))?;
        match replay.quarantined.first() {
            None => Ok(replay),
            Some((pod, why)) => {
                let detail = format!("{pod} is in quarantine: {why}");
                Err(self.broken(Rule::Replays, detail))
            }
        }
    }

    /// Each pod is read as the model has it, also one that nobody knows.
    async fn reads(&self, rule: Rule) -> Result<(), Broken> {
        for pod in (0..=PODS).map(pod_id) {
            let read = self.journal.read(pod).await;
            let read = read.map_err(|error| self.broken(rule, error))?;
            let living = self.model.pods.get(&pod);
            let expected = living.map_or(&[][..], |living| &living.entries);
            if read != expected {
                let detail = format!("of {pod}, {}", numbers(expected, &read));
                return Err(self.broken(rule, detail));
            }
            let folded = living.map(|living| Ok(living.pod.clone()));
            if folded.is_some_and(|folded| fold(&read) != folded) {
                let detail = format!("{pod} folds to another pod than its records did one by one");
                return Err(self.broken(Rule::Compacts, detail));
            }
        }
        Ok(())
    }

    fn broken(&self, rule: Rule, detail: impl fmt::Display) -> Broken {
        Broken::new(rule, &*self.state, detail.to_string())
    }
}

/// What a replay has otherwise than the model.
fn differs(model: &Model, replay: &Replay) -> Option<String> {
    let mut pods = replay.pods.clone();
    pods.retain(|(_, entries)| !entries.is_empty());
    pods.sort_by_key(|(pod, _)| *pod);
    let living: Vec<PodId> = pods.iter().map(|(pod, _)| *pod).collect();
    let expected: Vec<PodId> = model.pods.keys().copied().collect();
    if living != expected {
        return Some(format!("the pods are {living:?}, not {expected:?}"));
    }
    for ((pod, entries), known) in pods.iter().zip(model.pods.values()) {
        if *entries != known.entries {
            return Some(format!("of {pod}, {}", numbers(&known.entries, entries)));
        }
    }
    let is_gone = |pod: PodId| !model.pods.contains_key(&pod);
    let gone = replay.obituaries.iter().filter(|o| is_gone(o.pod.id));
    let gone: Vec<_> = gone.collect();
    if gone == model.gone() {
        return None;
    }
    let ids = |all: &[&podwalk_engine::pod::Obituary]| -> Vec<PodId> {
        all.iter().map(|obituary| obituary.pod.id).collect()
    };
    let (found, due) = (ids(&gone), ids(&model.gone()));
    Some(match found == due {
        true => "an obituary has another pod in it".to_owned(),
        false => format!("the obituaries are of {found:?}, not {due:?}"),
    })
}

/// Two lists of records, by their numbers.
fn numbers(expected: &[Entry], found: &[Entry]) -> String {
    let of = |entries: &[Entry]| -> Vec<u64> { entries.iter().map(|e| e.sequence).collect() };
    match of(expected) == of(found) {
        true => "a record has another content".to_owned(),
        false => format!("records {:?} are there, not {:?}", of(found), of(expected)),
    }
}

#[cfg(test)]
mod tests;
