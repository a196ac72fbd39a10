//! The journal in memory: the same answers, and nothing survives the process.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use podwalk_engine::id::PodId;
use podwalk_engine::pod::Obituary;
use podwalk_engine::ports::{BoxFuture, Durability, Journal, JournalError, Replay};
use podwalk_engine::record::Entry;

use crate::graves::{Grave, Graves};
use crate::job::Work;

/// A journal in memory. A clone is another handle on the same data, and
/// [`MemoryJournal::reopen`] is what a restart of the daemon would see.
#[derive(Debug, Clone)]
pub struct MemoryJournal {
    held: Arc<Mutex<Held>>,
    epoch: u64,
}

/// One call of [`Journal::append`], as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Its entries.
    pub batch: Vec<Entry>,
    /// What it asked for.
    pub durability: Durability,
}

#[derive(Debug, Default)]
struct Held {
    epoch: u64,
    pods: BTreeMap<PodId, Vec<Entry>>,
    graves: Graves,
    obituaries: BTreeMap<u64, Obituary>,
    appends: Vec<Append>,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryJournal {
    /// An empty one.
    pub fn new() -> Self {
        let held = Held {
            epoch: 1,
            ..Held::default()
        };
        Self {
            held: Arc::new(Mutex::new(held)),
            epoch: 1,
        }
    }

    /// One that holds what a replay has read. What is in quarantine there is
    /// left out.
    pub fn holding(replay: Replay) -> Self {
        let journal = Self::new();
        {
            let mut held = journal.lock();
            held.pods = replay.pods.into_iter().collect();
            for obituary in replay.obituaries {
                held.bury(obituary);
            }
        }
        journal
    }

    /// The same data, opened once more: the epoch grows.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let mut held = self.lock();
        held.epoch += 1;
        Self {
            held: Arc::clone(&self.held),
            epoch: held.epoch,
        }
    }

    /// Every append that was ever made, in order, by whichever handle.
    pub fn appends(&self) -> Vec<Append> {
        self.lock().appends.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn bury(&mut self, obituary: Obituary) {
        let pod = obituary.pod.id;
        self.pods.remove(&pod);
        let grave = Grave::of(self.graves.next_number(), &obituary);
        for old in self.graves.to_clear(pod, &obituary.pod.last) {
            self.graves.clear(old.number);
            self.obituaries.remove(&old.number);
        }
        self.graves.dig(grave);
        self.obituaries.insert(grave.number, obituary);
    }

    fn replay(&self) -> Replay {
        let is_gone = |obituary: &&Obituary| !self.pods.contains_key(&obituary.pod.id);
        Replay {
            pods: self
                .pods
                .iter()
                .map(|(pod, entries)| (*pod, entries.clone()))
                .collect(),
            obituaries: self.obituaries.values().filter(is_gone).cloned().collect(),
            quarantined: Vec::new(),
        }
    }
}

impl Journal for MemoryJournal {
    fn append(
        &self,
        batch: Vec<Entry>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), JournalError>> {
        // Encoded for its errors: what does not fit on disk does not fit here.
        if let Err(error) = Work::append(batch.clone()) {
            return Box::pin(ready(Err(error)));
        }
        let mut held = self.lock();
        for entry in &batch {
            held.pods.entry(entry.pod).or_default().push(entry.clone());
        }
        held.appends.push(Append { batch, durability });
        Box::pin(ready(Ok(())))
    }

    fn replay(&self) -> BoxFuture<'_, Result<Replay, JournalError>> {
        Box::pin(ready(Ok(self.lock().replay())))
    }

    fn read(&self, pod: PodId) -> BoxFuture<'_, Result<Vec<Entry>, JournalError>> {
        let entries = self.lock().pods.get(&pod).cloned();
        Box::pin(ready(Ok(entries.unwrap_or_default())))
    }

    fn compact(&self, snapshot: Entry) -> BoxFuture<'_, Result<(), JournalError>> {
        if let Err(error) = Work::compact(snapshot.clone()) {
            return Box::pin(ready(Err(error)));
        }
        self.lock().pods.insert(snapshot.pod, vec![snapshot]);
        Box::pin(ready(Ok(())))
    }

    fn bury(&self, obituary: Obituary) -> BoxFuture<'_, Result<(), JournalError>> {
        if let Err(error) = Work::bury(obituary.clone()) {
            return Box::pin(ready(Err(error)));
        }
        self.lock().bury(obituary);
        Box::pin(ready(Ok(())))
    }

    fn admits(&self) -> Result<(), JournalError> {
        Ok(())
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}

#[cfg(test)]
mod tests;
