//! What callers hand to the committer, and how waiting ones are grouped.

use std::collections::HashSet;

use podwalk_engine::clock::Stamp;
use podwalk_engine::id::PodId;
use podwalk_engine::pod::Obituary;
use podwalk_engine::ports::{Durability, JournalError};
use podwalk_engine::record::Entry;
use tokio::sync::oneshot;

use crate::format::{self, SNAPSHOT_LIMIT, TooLarge};
use crate::graves::Grave;
use crate::key::{Key, chunks};

/// What a caller waits for.
pub(crate) type Answer = Result<(), JournalError>;

/// One call: encoded on the caller's side, so that the committer only writes.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) durability: Durability,
    /// Bytes that it will write; what it will remove is known later.
    pub(crate) payload: usize,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// Pairs to be written.
pub(crate) type Puts = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Debug)]
pub(crate) enum Work {
    /// Add records.
    Append { pods: Vec<PodId>, puts: Puts },
    /// Put a snapshot, remove what is before it.
    Compact {
        pod: PodId,
        sequence: u64,
        puts: Puts,
    },
    /// Put an obituary, remove all records.
    Bury {
        /// The grave, but for its number, which the committer gives.
        grave: Grave,
        value: Vec<u8>,
        now: Stamp,
    },
    /// Remove obituaries that do not decode; and records, if it is these.
    Drop { pod: PodId, records: bool },
}

impl Work {
    /// The records of a batch, encoded.
    pub(crate) fn append(batch: Vec<Entry>) -> Result<Self, JournalError> {
        let mut pods = Vec::with_capacity(1);
        let mut puts = Puts::with_capacity(batch.len());
        for entry in batch {
            pods.push(entry.pod);
            put_record(entry, &mut puts)?;
        }
        let bytes = puts.iter().map(|(_, value)| value.len()).sum();
        if bytes > SNAPSHOT_LIMIT {
            return Err(too_large(TooLarge {
                bytes,
                limit: SNAPSHOT_LIMIT,
            }));
        }
        Ok(Work::Append { pods, puts })
    }

    /// A snapshot that takes the place of all before it.
    pub(crate) fn compact(snapshot: Entry) -> Result<Self, JournalError> {
        let (pod, sequence) = (snapshot.pod, snapshot.sequence);
        let mut puts = Puts::new();
        put_record(snapshot, &mut puts)?;
        Ok(Work::Compact {
            pod,
            sequence,
            puts,
        })
    }

    /// An obituary that takes the place of all records.
    pub(crate) fn bury(obituary: Obituary) -> Result<Self, JournalError> {
        let now = obituary.pod.last;
        let grave = Grave::of(0, &obituary);
        let value = format::encode_obituary(obituary).map_err(too_large)?;
        Ok(Work::Bury { grave, value, now })
    }

    /// Bytes that it will write.
    pub(crate) fn payload(&self) -> usize {
        match self {
            Work::Append { puts, .. } | Work::Compact { puts, .. } => size(puts),
            Work::Bury { value, .. } => value.len(),
            Work::Drop { .. } => 0,
        }
    }

    fn pods(&self) -> &[PodId] {
        match self {
            Work::Append { pods, .. } => pods,
            Work::Compact { pod, .. } | Work::Drop { pod, .. } => std::slice::from_ref(pod),
            Work::Bury { grave, .. } => std::slice::from_ref(&grave.pod),
        }
    }

    /// Whether it removes what is in the store when it is planned.
    fn sweeps(&self) -> bool {
        !matches!(self, Work::Append { .. })
    }
}

fn put_record(entry: Entry, puts: &mut Puts) -> Result<(), JournalError> {
    let (pod, sequence) = (entry.pod, entry.sequence);
    let bytes = format::encode(entry).map_err(too_large)?;
    puts.extend(chunks(&bytes).map(|(chunk, value)| {
        let key = Key::Record {
            pod,
            sequence,
            chunk,
        };
        (key.bytes(), value.to_vec())
    }));
    Ok(())
}

fn too_large(error: TooLarge) -> JournalError {
    JournalError::TooLarge {
        bytes: error.bytes,
        limit: error.limit,
    }
}

/// Keys and values together, bytes.
pub(crate) fn size(puts: &Puts) -> usize {
    puts.iter()
        .map(|(key, value)| key.len() + value.len())
        .sum()
}

/// Callers that are served by one batch.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) jobs: Vec<Job>,
    pub(crate) durability: Durability,
    payload: usize,
    pods: HashSet<PodId>,
}

impl Group {
    /// A group of one.
    pub(crate) fn new(first: Job) -> Self {
        let mut group = Self {
            jobs: Vec::new(),
            durability: Durability::Process,
            payload: 0,
            pods: HashSet::new(),
        };
        group.push(first);
        group
    }

    /// Whether the job may join: it fits under the bound, and does not remove
    /// what another of the group is about to write.
    pub(crate) fn takes(&self, job: &Job, bound: usize) -> bool {
        let fits = self.payload + job.payload <= bound;
        let apart = || job.work.pods().iter().all(|pod| !self.pods.contains(pod));
        fits && (!job.work.sweeps() || apart())
    }

    /// Joins.
    pub(crate) fn push(&mut self, job: Job) {
        self.payload += job.payload;
        self.durability = self.durability.max(job.durability);
        self.pods.extend(job.work.pods());
        self.jobs.push(job);
    }

    /// Answers everybody alike.
    pub(crate) fn answer(self, answer: &Answer) {
        for job in self.jobs {
            // Who does not wait any more, does not want to know.
            let _ = job.answer.send(answer.clone());
        }
    }
}

#[cfg(test)]
mod tests;
