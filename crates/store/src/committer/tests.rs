//! The committer without its thread: a full disk, step by step.

use futures_executor::block_on;
use podwalk_engine::pod::Obituary;
use podwalk_engine::ports::Replay;
use podwalk_engine::record::Entry;
use std::sync::mpsc;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::job::Job;
use crate::open::OpenOptions;
use crate::samples::{note, obituary, pod_id, sized};

/// A committer that a test calls by itself.
struct Bench {
    committer: Committer,
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let options = OpenOptions {
            cache_bytes: 4 << 20,
            ..OpenOptions::new(dir.path())
        };
        let opened = open::open(&options).unwrap();
        let scan = opened.scan;
        let nudger = Nudger::new(&opened.db).unwrap();
        let shared = Shared::new(options, opened.db, scan.graves, scan.replay);
        let (_, jobs) = mpsc::channel();
        let committer = Committer {
            shared: Arc::new(shared),
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
        Self { committer, dir }
    }

    fn serve(&mut self, work: Work) -> Answer {
        let (job, answered) = job(work);
        self.committer.serve(Group::new(job));
        block_on(answered).expect("an answer")
    }

    fn append(&mut self, batch: Vec<Entry>) -> Answer {
        self.serve(Work::append(batch).unwrap())
    }

    /// The disk is full when this work is flushed: all of the batch may have
    /// reached the file, or nothing.
    fn meet_full_disk(&mut self, work: Work, written: bool) -> JournalError {
        let (job, _) = job(work);
        let change = self.committer.plan(&mut Group::new(job)).unwrap();
        let after = change.meta_after(&self.committer.meta);
        if written {
            let handle = self.committer.shared.reader();
            let db = handle.db.as_ref().unwrap();
            db.apply_batch(change.batch(&after)).unwrap();
            db.flush().unwrap();
        }
        let full = sled::Error::Io(std::io::ErrorKind::StorageFull.into());
        self.committer
            .fail(&SledFailure::Error(full), Some((change, after)))
    }

    fn replay(&self) -> Replay {
        self.committer.shared.reader().replay().unwrap()
    }

    /// What a new process finds, which must be consistent.
    fn reopened(self) -> Replay {
        let options = self.committer.shared.options.clone();
        drop(self.committer);
        let opened = open::open(&options).unwrap();
        assert_eq!(opened.report.warnings, []);
        drop(self.dir);
        opened.scan.replay
    }
}

fn job(work: Work) -> (Job, oneshot::Receiver<Answer>) {
    let (answer, answered) = oneshot::channel();
    let job = Job {
        payload: work.payload(),
        work,
        durability: Durability::Process,
        answer,
    };
    (job, answered)
}

fn bury(obituary: Obituary) -> Work {
    Work::bury(obituary).unwrap()
}

#[test]
fn a_batch_refused_for_space_is_hidden_and_then_taken_back() {
    for written in [true, false] {
        let mut bench = Bench::new();
        bench.append(vec![note(1, 0)]).unwrap();
        let refused = Work::append(vec![note(1, 1), note(2, 0)]).unwrap();
        let error = bench.meet_full_disk(refused, written);
        assert!(matches!(error, JournalError::Full { .. }), "{error}");
        assert!(matches!(bench.committer.shared.health(), Health::Full(_)));
        assert_eq!(bench.replay().pods, [(pod_id(1), vec![note(1, 0)])]);
        // The next call finds space again: the same sequence is free.
        let other = sized(1, 1, 300);
        bench.append(vec![other.clone()]).unwrap();
        assert_eq!(bench.committer.shared.health(), Health::Sound);
        assert_eq!(bench.committer.shared.counters.stats().reopenings, 1);
        let pods = [(pod_id(1), vec![note(1, 0), other])];
        assert_eq!(bench.replay().pods, pods);
        assert_eq!(bench.reopened().pods, pods);
    }
}

#[test]
fn a_burial_refused_for_space_gives_everything_back() {
    let mut bench = Bench::new();
    bench.append(vec![note(1, 0), sized(1, 1, 9_000)]).unwrap();
    bench.meet_full_disk(bury(obituary(1, 2)), true);
    let pods = [(pod_id(1), vec![note(1, 0), sized(1, 1, 9_000)])];
    assert_eq!(bench.replay().pods, pods);
    assert_eq!(bench.replay().obituaries, []);
    bench.append(vec![note(2, 0)]).unwrap();
    let found = bench.reopened();
    assert_eq!(found.pods[..1], pods);
    assert_eq!(found.obituaries, []);
}

#[test]
fn a_batch_lost_beside_the_refused_one_poisons() {
    let mut bench = Bench::new();
    bench.append(vec![note(1, 0)]).unwrap();
    let refused = Work::append(vec![note(1, 1)]).unwrap();
    bench.meet_full_disk(refused, false);
    // As if an acknowledged batch were missing in the file.
    bench.committer.meta.batches += 5;
    let error = bench.append(vec![note(1, 1)]).unwrap_err();
    assert!(matches!(error, JournalError::Poisoned { .. }), "{error}");
    assert!(error.to_string().contains("holds another batch"), "{error}");
    let again = bench.append(vec![note(1, 1)]).unwrap_err();
    assert!(matches!(again, JournalError::Poisoned { .. }));
}

#[test]
fn any_other_failure_of_sleds_is_final() {
    let mut bench = Bench::new();
    let damage = SledFailure::Error(sled::Error::Corruption { at: None, bt: () });
    let error = bench.committer.fail(&damage, None);
    assert!(matches!(error, JournalError::Poisoned { .. }), "{error}");
    assert_eq!(bench.append(vec![note(1, 0)]), Err(error));

    let mut bench = Bench::new();
    let panic = guarded::<()>(|| panic!("a bug")).unwrap_err();
    let error = bench.committer.fail(&panic, None);
    assert!(
        error
            .to_string()
            .contains("the storage engine panicked: a bug"),
        "{error}"
    );
}

#[test]
fn a_group_that_removes_what_waits_to_be_written_is_cut() {
    let mut bench = Bench::new();
    let (queue, jobs) = mpsc::channel();
    bench.committer.jobs = jobs;
    let work = [
        Work::append(vec![note(1, 0)]).unwrap(),
        Work::append(vec![note(2, 0)]).unwrap(),
        bury(obituary(1, 1)),
        Work::append(vec![note(3, 0)]).unwrap(),
    ];
    let answers: Vec<_> = work
        .into_iter()
        .map(|work| {
            let (job, answered) = job(work);
            queue.send(job).unwrap();
            answered
        })
        .collect();
    drop(queue);
    let shared = Arc::clone(&bench.committer.shared);
    bench.committer.run();
    assert!(
        answers
            .into_iter()
            .all(|answer| block_on(answer) == Ok(Ok(())))
    );
    assert_eq!(shared.counters.stats().batches, 2);
    let replay = shared.reader().replay().unwrap();
    let pods = [(pod_id(2), vec![note(2, 0)]), (pod_id(3), vec![note(3, 0)])];
    assert_eq!(replay.pods, pods);
    assert_eq!(replay.obituaries, [obituary(1, 1)]);
}

#[test]
fn the_end_syncs_what_is_left() {
    let mut bench = Bench::new();
    bench.append(vec![note(1, 0)]).unwrap();
    assert!(bench.committer.unsynced > 0);
    let shared = Arc::clone(&bench.committer.shared);
    bench.committer.run();
    assert_eq!(shared.counters.stats().barriers, 1);
}

/// Work that writes exactly so many bytes.
fn of_payload(pod: u64, bytes: usize) -> Work {
    let text = |length: usize| Work::append(vec![sized(pod, 0, length)]).unwrap();
    let mut length = bytes;
    // A longer text takes more pieces, and each has a key of its own.
    while text(length).payload() != bytes {
        length -= text(length).payload() - bytes;
    }
    text(length)
}

#[test]
fn what_is_not_synced_never_exceeds_the_bound() {
    const FIRST: usize = 100_000;
    for (second, unasked, unsynced) in [
        // Room is left for the last byte.
        (BARRIER_BYTES - FIRST - 1, 0, BARRIER_BYTES - 1),
        // Exactly full: written, and synced after it.
        (BARRIER_BYTES - FIRST, 1, 0),
        // Too much for both: what is there is synced before.
        (BARRIER_BYTES - FIRST + 1, 1, BARRIER_BYTES - FIRST + 1),
    ] {
        let mut bench = Bench::new();
        bench.serve(of_payload(1, FIRST)).unwrap();
        assert_eq!(bench.committer.unsynced, FIRST);
        bench.serve(of_payload(2, second)).unwrap();
        let stats = bench.committer.shared.counters.stats();
        assert_eq!(
            (stats.unasked_barriers, bench.committer.unsynced),
            (unasked, unsynced),
            "{second}"
        );
    }
}

#[test]
fn much_litter_does_not_wait_for_idleness() {
    for (more, left) in [(0, MUCH_LITTER), (1, 0)] {
        let mut bench = Bench::new();
        let keys = (0..MUCH_LITTER + more).map(|number| number.to_be_bytes().to_vec());
        bench.committer.litter = keys.collect();
        bench.append(vec![note(1, 0)]).unwrap();
        assert_eq!(bench.committer.litter.len(), left);
    }
}
