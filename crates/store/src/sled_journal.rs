//! The journal on sled.

use std::future::ready;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use podwalk_engine::id::PodId;
use podwalk_engine::pod::Obituary;
use podwalk_engine::ports::{BoxFuture, Durability, Journal, JournalError, Replay};
use podwalk_engine::record::Entry;
use tokio::sync::oneshot;

use crate::committer::Committer;
use crate::error::{OpenError, OpenReport};
use crate::handle::RawRecord;
use crate::job::{Job, Work};
use crate::nudge::Nudger;
use crate::open::{self, OpenOptions, Opened};
use crate::shared::{Health, Shared, Stats};
use crate::space;

/// The journal on disk.
///
/// Calls are in the queue when they return their future, in the order of the
/// calls; dropping the future changes nothing. No executor is needed. Dropping
/// the journal writes and syncs what is queued, then releases the lock.
#[derive(Debug)]
pub struct SledJournal {
    shared: Arc<Shared>,
    /// None only while it is being dropped.
    queue: Option<Sender<Job>>,
    committer: Option<JoinHandle<()>>,
    epoch: u64,
    report: OpenReport,
}

impl SledJournal {
    /// Opens, or makes, the journal in `options.dir`.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do about it. Lost
    /// records are no error but a warning in [`SledJournal::report`].
    pub fn open(options: OpenOptions) -> Result<Self, OpenError> {
        let opened = open::open(&options)?;
        for warning in &opened.report.warnings {
            tracing::error!(journal = %options.dir.display(), "{warning}");
        }
        Self::start(options, opened)
    }

    fn start(options: OpenOptions, opened: Opened) -> Result<Self, OpenError> {
        let dir = options.dir.clone();
        let scan = opened.scan;
        let nudger =
            Nudger::new(&opened.db).map_err(OpenError::io("start a thread to watch over", &dir))?;
        let shared = Arc::new(Shared::new(options, opened.db, scan.graves, scan.replay));
        let (queue, jobs) = mpsc::channel();
        let committer = Committer {
            shared: Arc::clone(&shared),
            jobs,
            data: opened.data,
            mark: opened.mark,
            epoch: opened.epoch,
            meta: opened.meta,
            litter: scan.litter.into_iter().collect(),
            unsynced: 0,
            carried: None,
            doubtful: None,
            nudger,
            _lock: opened.lock,
        };
        let thread = thread::Builder::new()
            .name("podwalk-journal".to_owned())
            .spawn(move || committer.run())
            .map_err(OpenError::io("start the committer of", dir))?;
        Ok(Self {
            shared,
            queue: Some(queue),
            committer: Some(thread),
            epoch: opened.epoch,
            report: opened.report,
        })
    }

    /// What the opening found.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Counts since the opening.
    pub fn stats(&self) -> Stats {
        self.shared.counters.stats()
    }

    /// The records of a pod in quarantine, byte for byte, whether they do not
    /// decode or make no pod; empty for a pod that is not.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`].
    pub fn quarantined(&self, pod: PodId) -> BoxFuture<'_, Result<Vec<RawRecord>, JournalError>> {
        self.read_apart(move |shared| {
            let handle = shared.reader();
            let graves = shared.graves();
            handle.quarantined(pod, &graves)
        })
    }

    /// Deletes a pod in quarantine with all its bytes, and answers when that
    /// is on the platter: whether there was such a pod. A pod that decodes is
    /// not touched, though an obituary of its own may not.
    ///
    /// # Errors
    /// As for [`Journal::append`].
    pub fn drop_quarantined(&self, pod: PodId) -> BoxFuture<'_, Result<bool, JournalError>> {
        Box::pin(async move {
            let raw = self.quarantined(pod).await?;
            if raw.is_empty() {
                return Ok(false);
            }
            let records = raw.iter().any(|raw| raw.sequence.is_some());
            let work = Work::Drop { pod, records };
            self.submit(Ok(work), Durability::Power).await?;
            Ok(true)
        })
    }

    fn submit(
        &self,
        work: Result<Work, JournalError>,
        durability: Durability,
    ) -> BoxFuture<'static, Result<(), JournalError>> {
        let work = match work {
            Ok(work) => work,
            Err(error) => return Box::pin(ready(Err(error))),
        };
        let (answer, answered) = oneshot::channel();
        let job = Job {
            payload: work.payload(),
            work,
            durability,
            answer,
        };
        let sent = self.queue.as_ref().map(|queue| queue.send(job).is_ok());
        Box::pin(async move {
            match answered.await {
                Ok(answer) if sent == Some(true) => answer,
                _ => Err(committer_is_gone()),
            }
        })
    }

    /// Reads on a thread of its own: sled blocks, and callers may be on an
    /// executor.
    fn read_apart<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, JournalError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, JournalError>> {
        let shared = Arc::clone(&self.shared);
        let (answer, answered) = oneshot::channel();
        let spawned = thread::Builder::new()
            .name("podwalk-read".to_owned())
            .spawn(move || answer.send(read(&shared)).is_ok());
        let detail = spawned.err().map_or_else(
            || "the reading thread ended without an answer".to_owned(),
            |error| format!("no thread to read it on: {error}"),
        );
        Box::pin(async move {
            answered
                .await
                .unwrap_or(Err(JournalError::Unreadable { detail }))
        })
    }
}

fn committer_is_gone() -> JournalError {
    JournalError::Poisoned {
        detail: "the thread that writes has ended".to_owned(),
    }
}

impl Journal for SledJournal {
    fn append(
        &self,
        batch: Vec<Entry>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), JournalError>> {
        self.submit(Work::append(batch), durability)
    }

    fn replay(&self) -> BoxFuture<'_, Result<Replay, JournalError>> {
        if let Some(replay) = self.shared.take_first() {
            return Box::pin(ready(Ok(replay)));
        }
        self.read_apart(|shared| shared.reader().replay())
    }

    fn read(&self, pod: PodId) -> BoxFuture<'_, Result<Vec<Entry>, JournalError>> {
        self.read_apart(move |shared| {
            let handle = shared.reader();
            let graves = shared.graves();
            handle.read(pod, &graves)
        })
    }

    /// Answers when SIGKILL is survived: a compaction that power loss takes
    /// back has lost nothing.
    fn compact(&self, snapshot: Entry) -> BoxFuture<'_, Result<(), JournalError>> {
        self.submit(Work::compact(snapshot), Durability::Process)
    }

    /// Answers when power loss is survived.
    fn bury(&self, obituary: Obituary) -> BoxFuture<'_, Result<(), JournalError>> {
        self.submit(Work::bury(obituary), Durability::Power)
    }

    fn admits(&self) -> Result<(), JournalError> {
        if let poisoned @ Health::Poisoned(_) = self.shared.health() {
            return poisoned.refusal();
        }
        let options = &self.shared.options;
        match space::free_bytes(&options.dir) {
            Ok(free) if free >= options.reserve_bytes => Ok(()),
            Ok(free) => Err(JournalError::Full {
                detail: format!(
                    "{} has {free} bytes free, below the reserve of {}",
                    options.dir.display(),
                    options.reserve_bytes
                ),
            }),
            Err(error) => Err(JournalError::Full {
                detail: format!("cannot examine {}: {error}", options.dir.display()),
            }),
        }
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl Drop for SledJournal {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(committer) = self.committer.take() {
            // A committer that panicked has nothing left to say.
            let _ = committer.join();
        }
    }
}

#[cfg(test)]
mod tests;
