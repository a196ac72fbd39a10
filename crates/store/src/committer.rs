//! The one thread that writes.
//!
//! It takes all waiting calls, merges them into one batch, hands that to the
//! kernel, syncs where one of them asked for it, and only then answers. It
//! also keeps the bound on payload between two barriers: sled reuses segments
//! of its file without one, and with more log than about a segment between two
//! barriers a power cut destroys acknowledged records. The log is five to
//! seven times the payload, so the bound is far below a segment of 8 MiB.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use podwalk_engine::ports::{Durability, JournalError};

use crate::change::Change;
use crate::failure::{SledFailure, guarded};
use crate::handle::Refused;
use crate::job::{Answer, Group, Job, Work};
use crate::key;
use crate::lock::LockFile;
use crate::mark::{Mark, MarkFile};
use crate::meta::Meta;
use crate::nudge::Nudger;
use crate::open;
use crate::point::point;
use crate::shared::{Health, Shared, count};
use crate::{directory, snapshot, space};

/// The most payload between two barriers, bytes.
pub const BARRIER_BYTES: usize = 384 << 10;
/// After so much idleness what is not synced yet is synced unasked.
pub const IDLE: Duration = Duration::from_secs(1);
/// Litter beyond this many keys does not wait for idleness.
const MUCH_LITTER: usize = 4096;
/// How long a reopening after a full disk may take.
const REOPEN_DEADLINE: Duration = Duration::from_secs(30);

/// The committer's own state.
pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) jobs: Receiver<Job>,
    pub(crate) data: File,
    pub(crate) mark: MarkFile,
    pub(crate) epoch: u64,
    pub(crate) meta: Meta,
    pub(crate) litter: BTreeSet<Vec<u8>>,
    /// Payload since the last barrier, bytes.
    pub(crate) unsynced: usize,
    /// A call that did not fit into the last group.
    pub(crate) carried: Option<Job>,
    /// The bookkeeping of a batch that was refused for want of space.
    pub(crate) doubtful: Option<Meta>,
    /// Wakes sled where it would wait for ever.
    pub(crate) nudger: Nudger,
    /// Held until the last byte is written.
    pub(crate) _lock: LockFile,
}

enum Next {
    Job(Job),
    Idle,
    Closed,
}

impl Committer {
    /// Serves until all callers are gone, then syncs what is left.
    pub(crate) fn run(mut self) {
        loop {
            match self.next() {
                Next::Job(job) => {
                    let group = self.gather(job);
                    self.serve(group);
                }
                Next::Idle => self.rest(),
                Next::Closed => return self.end(),
            }
        }
    }

    fn next(&mut self) -> Next {
        if let Some(job) = self.carried.take() {
            return Next::Job(job);
        }
        let is_sound = self.shared.health() == Health::Sound;
        if !is_sound || (self.unsynced == 0 && self.litter.is_empty()) {
            return self.jobs.recv().map_or(Next::Closed, Next::Job);
        }
        match self.jobs.recv_timeout(IDLE) {
            Ok(job) => Next::Job(job),
            Err(RecvTimeoutError::Timeout) => Next::Idle,
            Err(RecvTimeoutError::Disconnected) => Next::Closed,
        }
    }

    /// Everybody who waits by now, up to the bound.
    fn gather(&mut self, first: Job) -> Group {
        let mut group = Group::new(first);
        while let Ok(job) = self.jobs.try_recv() {
            if !group.takes(&job, BARRIER_BYTES) {
                self.carried = Some(job);
                break;
            }
            group.push(job);
        }
        group
    }

    fn serve(&mut self, mut group: Group) {
        let _work = self.nudger.at_work();
        let answer = self.commit(&mut group);
        if answer.is_ok() {
            count(&self.shared.counters.calls, group.jobs.len() as u64);
        }
        point!("store.answering");
        group.answer(&answer);
        if self.litter.len() > MUCH_LITTER {
            // Its failure shows in the journal's health, to the next caller.
            let _ = self.sweep();
        }
    }

    fn commit(&mut self, group: &mut Group) -> Answer {
        self.ready()?;
        let drops = group
            .jobs
            .iter()
            .any(|job| matches!(job.work, Work::Drop { .. }));
        let change = self.plan(group)?;
        self.write(change, group.durability)?;
        while drops && !self.litter.is_empty() {
            self.sweep()?;
        }
        Ok(())
    }

    fn plan(&mut self, group: &mut Group) -> Result<Change, JournalError> {
        let planned = {
            let handle = self.shared.reader();
            let graves = self.shared.graves();
            on(&handle.db, |db| {
                Change::plan(&mut group.jobs, db, &graves, BARRIER_BYTES)
            })
        };
        planned.map_err(|failure| self.fail(&failure, None))
    }

    /// Removes some litter.
    fn sweep(&mut self) -> Answer {
        let planned = {
            let handle = self.shared.reader();
            on(&handle.db, |db| {
                Change::sweep(&mut self.litter, db, BARRIER_BYTES)
            })
        };
        let change = planned.map_err(|failure| self.fail(&failure, None))?;
        self.write(change, Durability::Process)
    }

    /// Idleness, or the end: nothing stays unsynced, and litter goes.
    fn rest(&mut self) {
        if self.shared.health() != Health::Sound {
            return;
        }
        let _work = self.nudger.at_work();
        while !self.litter.is_empty() {
            if self.sweep().is_err() {
                return;
            }
        }
        // A failure poisons the journal, which the next caller is told.
        let _ = self.unasked_barrier();
    }

    /// The orderly end: the mark, too, goes to the platter.
    fn end(mut self) {
        self.rest();
        // As without an orderly end: the mark on the platter is an older one.
        let _ = self.mark.sync();
    }

    fn write(&mut self, mut change: Change, durability: Durability) -> Answer {
        if self.unsynced + change.payload > BARRIER_BYTES {
            self.unasked_barrier()?;
        }
        self.litter.extend(change.later.drain(..));
        let payload = change.payload;
        if !change.is_empty() {
            self.apply(change)?;
        }
        self.unsynced += payload;
        if durability == Durability::Power {
            return self.barrier();
        }
        if self.unsynced >= BARRIER_BYTES {
            return self.unasked_barrier();
        }
        Ok(())
    }

    /// One batch, atomic, into the kernel's hands.
    fn apply(&mut self, change: Change) -> Answer {
        let after = change.meta_after(&self.meta);
        let batch = change.batch(&after);
        // Readers wait: they see whole batches only.
        let handle = self.shared.writer();
        self.shared.take_first();
        point!("store.batch");
        let applied = on(&handle.db, |db| {
            db.apply_batch(batch)?;
            point!("store.applied");
            db.flush().map(drop)
        });
        drop(handle);
        if let Err(failure) = applied {
            return Err(self.fail(&failure, Some((change, after))));
        }
        point!("store.flushed");
        self.settle(&change, after);
        Ok(())
    }

    /// The batch is in the kernel's hands.
    fn settle(&mut self, change: &Change, after: Meta) {
        self.meta = after;
        let mut graves = self.shared.graves();
        change
            .cleared
            .iter()
            .for_each(|number| graves.clear(*number));
        change.dug.iter().for_each(|grave| graves.dig(*grave));
        count(&self.shared.counters.batches, 1);
        count(&self.shared.counters.payload_bytes, change.payload as u64);
    }

    fn unasked_barrier(&mut self) -> Answer {
        if self.unsynced == 0 {
            return Ok(());
        }
        count(&self.shared.counters.unasked_barriers, 1);
        self.barrier()
    }

    /// Everything that was handed to the kernel goes to the platter. A failure
    /// is final: the kernel forgets which pages it could not write.
    fn barrier(&mut self) -> Answer {
        if let Err(error) = self.data.sync_data() {
            let detail = format!("cannot sync {}: {error}", self.data_path());
            return Err(self.poison(detail));
        }
        point!("store.synced");
        self.unsynced = 0;
        count(&self.shared.counters.barriers, 1);
        // One that could not be set leaves an older one, which is true as well.
        let _ = self.mark.set(Mark::of(self.epoch, &self.meta));
        Ok(())
    }

    /// What a failure inside sled means: a full disk passes, all else is final.
    fn fail(&mut self, failure: &SledFailure, batch: Option<(Change, Meta)>) -> JournalError {
        let detail = format!("cannot write {}: {failure}", self.data_path());
        match failure {
            SledFailure::Error(error) if space::is_full(error) => {
                let mut handle = self.shared.writer();
                if let Some((change, after)) = batch {
                    self.doubtful = Some(after);
                    handle.refused = Some(Refused {
                        wrote: change.puts.into_iter().map(|(key, _)| key).collect(),
                        removed: change.removes,
                    });
                }
                drop(handle);
                self.full(detail)
            }
            _ => self.poison(detail),
        }
    }

    fn data_path(&self) -> String {
        let path = open::data_path(&self.shared.options.sled_dir());
        path.display().to_string()
    }

    fn full(&mut self, detail: String) -> JournalError {
        self.shared.set_health(Health::Full(detail.clone()));
        JournalError::Full { detail }
    }

    fn poison(&mut self, detail: String) -> JournalError {
        self.shared.set_health(Health::Poisoned(detail.clone()));
        JournalError::Poisoned { detail }
    }

    /// Whether work can be done; after a full disk, tries to make it so.
    fn ready(&mut self) -> Answer {
        match self.shared.health() {
            Health::Full(_) => self.reopen(),
            health => health.refusal(),
        }
    }

    /// sled's handle keeps an error for ever, so that it is opened anew, in
    /// this process, as soon as there is space.
    fn reopen(&mut self) -> Answer {
        let dir = self.shared.options.dir.clone();
        let sled_dir = self.shared.options.sled_dir();
        // Also deletes what a snapshot that met the full disk has left.
        let prepared = open::prepare(&sled_dir);
        if let Err(error) = prepared.and_then(|_| snapshot::keep(&dir, &sled_dir)) {
            return Err(match error.is_failed_sync() {
                true => self.poison(error.to_string()),
                false => self.full(error.to_string()),
            });
        }
        point!("store.reopening");
        let begun = Instant::now();
        let mut handle = self.shared.writer();
        self.nudger.watch_over(None);
        handle.db = None;
        let cache = self.shared.options.cache_bytes;
        let opened = guarded(|| open::open_sled(&sled_dir, cache, REOPEN_DEADLINE));
        let result = opened.and_then(|db| {
            self.nudger.watch_over(Some(&db));
            let doubtful = self.doubtful.zip(handle.refused.as_ref());
            let consistent = take_back(&db, &self.meta, doubtful);
            handle.db = Some(db);
            consistent
        });
        if result.is_ok() {
            handle.refused = None;
            self.doubtful = None;
        }
        drop(handle);
        match result {
            Ok(()) => self.reopened(begun.elapsed()),
            Err(failure) => Err(self.fail(&failure, None)),
        }
    }

    fn reopened(&mut self, took: Duration) -> Answer {
        // What the taking back wrote is small; a barrier ends all doubt.
        self.barrier()?;
        if let Err(error) = directory::sync(&self.shared.options.sled_dir()) {
            return Err(self.poison(error.to_string()));
        }
        // One that stays does no harm: the next opening replaces it.
        let _ = snapshot::release(&self.shared.options.dir);
        self.shared.set_health(Health::Sound);
        count(&self.shared.counters.reopenings, 1);
        tracing::info!(?took, "the journal's disk has space again: it goes on");
        Ok(())
    }
}

/// Runs something of sled's on a handle that may be closed.
fn on<T>(
    db: &Option<sled::Db>,
    act: impl FnOnce(&sled::Db) -> Result<T, sled::Error>,
) -> Result<T, SledFailure> {
    let closed = || sled::Error::Io(std::io::ErrorKind::StorageFull.into());
    guarded(|| act(db.as_ref().ok_or_else(closed)?))
}

/// Makes sure that nothing is there of a batch that was refused: its callers
/// were told so. The bookkeeping tells whether it had been written.
fn take_back(
    db: &sled::Db,
    expected: &Meta,
    doubtful: Option<(Meta, &Refused)>,
) -> Result<(), SledFailure> {
    let found = guarded(|| db.get(key::META))?.and_then(|bytes| Meta::parse(&bytes));
    if found.as_ref() == Some(expected) {
        return Ok(());
    }
    let Some((_, refused)) = doubtful.filter(|(written, _)| found.as_ref() == Some(written)) else {
        let lost = "after a full disk the journal holds another batch than the last one";
        return Err(SledFailure::Error(sled::Error::ReportableBug(
            lost.to_owned(),
        )));
    };
    let mut batch = sled::Batch::default();
    for key in &refused.wrote {
        batch.remove(key.as_slice());
    }
    for (key, value) in &refused.removed {
        batch.insert(key, value);
    }
    batch.insert(&key::META, &expected.bytes());
    guarded(|| {
        db.apply_batch(batch)?;
        db.flush().map(drop)
    })
}

#[cfg(test)]
mod tests;
