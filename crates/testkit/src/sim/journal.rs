//! A journal that remembers what the platter has.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use podwalk_engine::id::PodId;
use podwalk_engine::pod::{Obituary, Pod, fold};
use podwalk_engine::ports::{BoxFuture, Durability, Journal, JournalError, Replay};
use podwalk_engine::record::Entry;

use crate::sim::{Point, Points};

/// How many pods that are gone are remembered.
const GRAVES: usize = 1000;

/// A journal of an embedder's own that can be made to die. The harness opens it
/// anew after each crash, and compares what it replays with what it must hold.
///
/// Its futures run on the harness's executor, one thread, and must end when they
/// are polled first: a crash comes before an operation or after it.
pub trait Mortal: Journal {
    /// Another process opens it; the last one may have died by SIGKILL. What it
    /// finds is on the platter then.
    fn reopen(&self);

    /// Power is lost: of the operations (appends, compactions, burials) since
    /// the last one that asked for [`Durability::Power`], the first `kept` are
    /// there all the same, and the others are gone.
    fn lose_power(&self, kept: usize);
}

/// A journal in memory that can lose power: what was only handed to the kernel
/// may then be gone, from some moment on.
#[derive(Debug, Clone)]
pub struct CrashJournal {
    points: Points,
    state: Arc<Mutex<State>>,
    proved: Option<Proved>,
}

/// The journal that is proved; this one is its shadow.
#[derive(Clone)]
struct Proved(Arc<dyn Mortal>);

impl fmt::Debug for Proved {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a journal that is proved")
    }
}

#[derive(Debug, Default)]
struct State {
    operations: Vec<Operation>,
    /// How many of them are on the platter.
    platter: usize,
    epoch: u64,
    barriers: u64,
    refusal: Option<Refusal>,
    broken: Vec<String>,
}

#[derive(Debug, Clone)]
enum Operation {
    Append(Vec<Entry>),
    Compact(Entry),
    Bury(Box<Obituary>),
}

/// When the journal takes nothing.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// How many operations it still takes first.
    pub after: u64,
    /// How many it refuses then; none for all.
    pub times: Option<u64>,
    /// What it says.
    pub error: JournalError,
}

impl CrashJournal {
    pub(crate) fn new(points: Points, proved: Option<Arc<dyn Mortal>>) -> Self {
        Self {
            points,
            state: Arc::default(),
            proved: proved.map(Proved),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it takes nothing, as the refusal says. None mends it.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.state().refusal = refusal;
    }

    /// How many operations it holds.
    pub fn len(&self) -> usize {
        self.state().operations.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many operations a power loss may take.
    pub fn unsynced(&self) -> usize {
        let state = self.state();
        state.operations.len() - state.platter
    }

    /// How often something was put on the platter.
    pub fn barriers(&self) -> u64 {
        self.state().barriers
    }

    /// What the engine did that no journal must be asked to do.
    pub fn broken(&self) -> Vec<String> {
        self.state().broken.clone()
    }

    /// A new process opens it, and puts what it finds on the platter.
    pub(crate) fn reopen(&self) {
        let mut state = self.state();
        state.epoch += 1;
        state.platter = state.operations.len();
        drop(state);
        if let Some(Proved(proved)) = &self.proved {
            proved.reopen();
        }
    }

    /// Power is lost: of what is not on the platter, so many operations are
    /// there all the same.
    pub(crate) fn lose_power(&self, kept: usize) {
        let mut state = self.state();
        let unsynced = state.operations.len() - state.platter;
        let kept = kept.min(unsynced);
        let left = state.platter + kept;
        state.operations.truncate(left);
        state.platter = left;
        if let Some(Proved(proved)) = &self.proved {
            proved.lose_power(kept);
        }
    }

    /// A pod as the records say that are this durable.
    pub fn pod(&self, pod: PodId, durability: Durability) -> Option<Pod> {
        let state = self.state();
        let operations = match durability {
            Durability::Process => &state.operations[..],
            Durability::Power => &state.operations[..state.platter],
        };
        let mut entries: Vec<&Entry> = Vec::new();
        for operation in operations {
            match operation {
                Operation::Append(batch) => {
                    entries.extend(batch.iter().filter(|entry| entry.pod == pod));
                }
                Operation::Compact(snapshot) if snapshot.pod == pod => entries = vec![snapshot],
                Operation::Bury(obituary) if obituary.pod.id == pod => entries.clear(),
                Operation::Compact(_) | Operation::Bury(_) => {}
            }
        }
        fold(entries).ok()
    }

    /// All that it holds, as [`Journal::replay`] answers it.
    pub fn contents(&self) -> Replay {
        replayed(&self.state().operations)
    }

    /// Puts entries in without asking whether they make sense.
    pub fn plant(&self, entries: Vec<Entry>) {
        let mut state = self.state();
        state.operations.push(Operation::Append(entries));
        state.platter = state.operations.len();
    }

    async fn operate(
        &self,
        operation: Operation,
        durability: Durability,
    ) -> Result<(), JournalError> {
        self.points.pass(Point::JournalBefore).await;
        if let Some(Proved(proved)) = &self.proved {
            hand_over(&**proved, operation.clone(), durability).await?;
        }
        self.take(operation)?;
        let durable = durability == Durability::Power;
        // A journal that is proved does both in one: no crash comes between.
        if durable && self.proved.is_some() {
            self.sync();
        }
        self.points.pass(Point::JournalHandedOver).await;
        if durable && self.proved.is_none() {
            self.sync();
        }
        if durable {
            self.points.pass(Point::JournalOnThePlatter).await;
        }
        Ok(())
    }

    fn sync(&self) {
        let mut state = self.state();
        state.platter = state.operations.len();
        state.barriers += 1;
    }

    fn take(&self, operation: Operation) -> Result<(), JournalError> {
        let mut state = self.state();
        if let Some(refusal) = &mut state.refusal {
            if refusal.after == 0 && refusal.times != Some(0) {
                refusal.times = refusal.times.map(|times| times - 1);
                return Err(refusal.error.clone());
            }
            refusal.after = refusal.after.saturating_sub(1);
        }
        if let Operation::Append(batch) = &operation {
            let broken = gaps(&state.operations, batch);
            state.broken.extend(broken);
        }
        state.operations.push(operation);
        Ok(())
    }
}

impl Journal for CrashJournal {
    fn append(
        &self,
        batch: Vec<Entry>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(self.operate(Operation::Append(batch), durability))
    }

    fn replay(&self) -> BoxFuture<'_, Result<Replay, JournalError>> {
        Box::pin(async {
            let Some(Proved(proved)) = &self.proved else {
                return Ok(self.contents());
            };
            let replay = proved.replay().await?;
            let (found, due) = (format!("{replay:?}"), format!("{:?}", self.contents()));
            if found != due {
                let broken = format!("the journal replays {found} and must hold {due}");
                self.state().broken.push(broken);
            }
            Ok(replay)
        })
    }

    fn read(&self, pod: PodId) -> BoxFuture<'_, Result<Vec<Entry>, JournalError>> {
        if let Some(Proved(proved)) = &self.proved {
            return proved.read(pod);
        }
        Box::pin(async move {
            let mut pods = self.contents().pods.into_iter();
            let found = pods.find(|(id, _)| *id == pod);
            Ok(found.map(|(_, entries)| entries).unwrap_or_default())
        })
    }

    fn compact(&self, snapshot: Entry) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(self.operate(Operation::Compact(snapshot), Durability::Process))
    }

    fn bury(&self, obituary: Obituary) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(self.operate(Operation::Bury(Box::new(obituary)), Durability::Power))
    }

    fn admits(&self) -> Result<(), JournalError> {
        match &self.state().refusal {
            Some(refusal) if refusal.after == 0 && refusal.times != Some(0) => {
                Err(refusal.error.clone())
            }
            _ => Ok(()),
        }
    }

    fn epoch(&self) -> u64 {
        self.state().epoch
    }
}

/// Asks a journal for an operation.
async fn hand_over(
    journal: &dyn Mortal,
    operation: Operation,
    durability: Durability,
) -> Result<(), JournalError> {
    match operation {
        Operation::Append(batch) => journal.append(batch, durability).await,
        Operation::Compact(snapshot) => journal.compact(snapshot).await,
        Operation::Bury(obituary) => journal.bury(*obituary).await,
    }
}

fn replayed(operations: &[Operation]) -> Replay {
    let mut pods: BTreeMap<PodId, Vec<Entry>> = BTreeMap::new();
    let mut obituaries: Vec<Obituary> = Vec::new();
    for operation in operations {
        match operation {
            Operation::Append(batch) => {
                batch
                    .iter()
                    .for_each(|entry| pods.entry(entry.pod).or_default().push(entry.clone()));
            }
            Operation::Compact(snapshot) => {
                pods.insert(snapshot.pod, vec![snapshot.clone()]);
            }
            Operation::Bury(obituary) => {
                pods.remove(&obituary.pod.id);
                obituaries.retain(|other| other.pod.id != obituary.pod.id);
                obituaries.push((**obituary).clone());
            }
        }
    }
    let forgotten = obituaries.len().saturating_sub(GRAVES);
    obituaries.drain(..forgotten);
    Replay {
        pods: pods.into_iter().collect(),
        obituaries,
        quarantined: Vec::new(),
    }
}

/// Entries of a batch that do not follow what is there.
fn gaps(operations: &[Operation], batch: &[Entry]) -> Vec<String> {
    let mut next: BTreeMap<PodId, u64> = BTreeMap::new();
    let mut broken = Vec::new();
    for entry in batch {
        let expected = *next
            .entry(entry.pod)
            .or_insert_with(|| next_sequence(operations, entry));
        if entry.sequence != expected {
            broken.push(format!(
                "record {} of {} was written where {expected} was due",
                entry.sequence, entry.pod
            ));
        }
        next.insert(entry.pod, entry.sequence.saturating_add(1));
    }
    broken
}

fn next_sequence(operations: &[Operation], entry: &Entry) -> u64 {
    for operation in operations.iter().rev() {
        let last = match operation {
            Operation::Append(batch) => batch.iter().rev().find(|other| other.pod == entry.pod),
            Operation::Compact(snapshot) => Some(snapshot).filter(|other| other.pod == entry.pod),
            Operation::Bury(obituary) if obituary.pod.id == entry.pod => {
                return obituary.pod.next_sequence;
            }
            Operation::Bury(_) => None,
        };
        if let Some(last) = last {
            return last.sequence.saturating_add(1);
        }
    }
    0
}

#[cfg(test)]
mod tests;
