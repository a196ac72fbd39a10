//! The journal on disk, within one process. What needs processes, a full disk
//! or SIGKILL is in `tests/`.

use std::sync::Arc;

use std::fs::File;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use podwalk_engine::record::Record;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::committer::BARRIER_BYTES;
use crate::key::Key;
use crate::memory::MemoryJournal;
use crate::samples::{folded, note, obituary, pod_id, sized, snapshot};

fn options(dir: &TempDir) -> OpenOptions {
    OpenOptions {
        reserve_bytes: 0,
        cache_bytes: 4 << 20,
        ..OpenOptions::new(dir.path())
    }
}

fn open(dir: &TempDir) -> SledJournal {
    SledJournal::open(options(dir)).expect("the journal opens")
}

fn append(journal: &SledJournal, batch: Vec<Entry>, durability: Durability) {
    block_on(journal.append(batch, durability)).expect("the journal takes it");
}

/// Polls until it holds. The deadline is a guard against a hanging test.
fn wait_until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never holds");
        thread::yield_now();
    }
}

#[test]
fn what_was_appended_is_there_after_a_reopening() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    assert_eq!(journal.epoch(), 1);
    assert!(block_on(journal.replay()).unwrap().pods.is_empty());
    let batch = vec![note(1, 0), sized(1, 1, 10_000)];
    append(&journal, batch.clone(), Durability::Power);
    append(&journal, vec![note(2, 0)], Durability::Process);
    drop(journal);

    let journal = open(&dir);
    assert_eq!(journal.epoch(), 2);
    assert_eq!(journal.report().warnings, []);
    assert_eq!((journal.report().pods, journal.report().records), (2, 3));
    let expected = vec![(pod_id(1), batch.clone()), (pod_id(2), vec![note(2, 0)])];
    assert_eq!(block_on(journal.replay()).unwrap().pods, expected);
    assert_eq!(
        block_on(journal.replay()).unwrap().pods,
        expected,
        "a second time"
    );
    assert_eq!(block_on(journal.read(pod_id(1))).unwrap(), batch);
    assert_eq!(block_on(journal.read(pod_id(3))).unwrap(), []);
}

#[test]
fn a_replay_after_an_append_sees_it() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    append(&journal, vec![note(1, 0)], Durability::Process);
    let pods = block_on(journal.replay()).unwrap().pods;
    assert_eq!(pods, [(pod_id(1), vec![note(1, 0)])]);
}

#[test]
fn calls_that_wait_together_share_a_batch_and_a_barrier() {
    const CALLS: u64 = 200;
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    // While a reader reads, the committer waits, and calls gather.
    let reader = journal.shared.reader();
    let answers: Vec<_> = (0..CALLS)
        .map(|pod| journal.append(vec![note(pod, 0)], Durability::Power))
        .collect();
    drop(reader);
    for answer in answers {
        block_on(answer).unwrap();
    }
    let stats = journal.stats();
    assert_eq!(stats.calls, CALLS);
    // What the committer had taken before it waited, and the rest.
    assert!(stats.batches <= 2, "{stats:?}");
    assert!(stats.barriers <= 2, "{stats:?}");
    assert_eq!(
        block_on(journal.replay()).unwrap().pods.len(),
        CALLS as usize
    );
}

#[test]
fn only_power_asks_for_a_barrier() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    for sequence in 0..50 {
        append(&journal, vec![note(1, sequence)], Durability::Process);
    }
    let stats = journal.stats();
    assert_eq!(stats.barriers, stats.unasked_barriers, "{stats:?}");
    append(&journal, vec![note(1, 50)], Durability::Power);
    let stats = journal.stats();
    assert_eq!(stats.barriers, stats.unasked_barriers + 1, "{stats:?}");
    assert_eq!((stats.batches, stats.calls), (51, 51));
}

#[test]
fn idleness_syncs_what_nobody_asked_to_sync() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    append(&journal, vec![note(1, 0)], Durability::Process);
    wait_until(|| journal.stats().unasked_barriers == 1);
    append(&journal, vec![note(1, 1)], Durability::Power);
    let stats = journal.stats();
    assert_eq!((stats.barriers, stats.unasked_barriers), (2, 1));
}

#[test]
fn the_bound_on_payload_is_kept_whatever_was_asked_for() {
    const BYTES: u64 = 100 << 10;
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    let mut last = journal.stats();
    let mut since_barrier = 0;
    for sequence in 0..20 {
        let entry = sized(1, sequence, BYTES as usize);
        append(&journal, vec![entry], Durability::Process);
        let stats = journal.stats();
        let payload = stats.payload_bytes - last.payload_bytes;
        since_barrier = match stats.barriers == last.barriers {
            true => since_barrier + payload,
            false => payload,
        };
        assert!(since_barrier <= BARRIER_BYTES as u64, "{stats:?}");
        last = stats;
    }
    assert!(last.unasked_barriers >= 20 * BYTES / BARRIER_BYTES as u64);
    assert_eq!(last.barriers, last.unasked_barriers);
}

#[test]
fn a_failed_sync_poisons_for_ever() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir);
    let mut opened = open::open(&options).unwrap();
    // The kernel has nothing to sync there, and says so.
    opened.data = File::open("/dev/null").unwrap();
    let journal = SledJournal::start(options, opened).unwrap();
    append(&journal, vec![note(1, 0)], Durability::Process);
    let poisoned = block_on(journal.append(vec![note(1, 1)], Durability::Power));
    let Err(JournalError::Poisoned { detail }) = &poisoned else {
        panic!("{poisoned:?}");
    };
    let path = dir.path().join("sled/db").display().to_string();
    assert!(
        detail.starts_with(&format!("cannot sync {path}: ")),
        "{detail}"
    );
    let later = block_on(journal.append(vec![note(2, 0)], Durability::Process));
    assert_eq!(later, poisoned);
    assert_eq!(journal.admits(), poisoned);
    assert_eq!(block_on(journal.bury(obituary(1, 2))), poisoned);
    assert_eq!(journal.stats().barriers, 0);
    // Reads go on; the next process starts from what is there.
    assert!(!block_on(journal.read(pod_id(1))).unwrap().is_empty());
    drop(journal);
    let journal = open_again(&dir);
    append(&journal, vec![note(3, 0)], Durability::Power);
}

fn open_again(dir: &TempDir) -> SledJournal {
    let journal = open(dir);
    assert_eq!(journal.report().warnings, []);
    journal
}

#[test]
fn a_failed_unasked_sync_is_told_to_the_next_caller() {
    let dir = TempDir::new().unwrap();
    let options = options(&dir);
    let mut opened = open::open(&options).unwrap();
    opened.data = File::open("/dev/null").unwrap();
    let journal = SledJournal::start(options, opened).unwrap();
    append(&journal, vec![note(1, 0)], Durability::Process);
    wait_until(|| journal.admits().is_err());
    let refused = block_on(journal.append(vec![note(1, 1)], Durability::Process));
    assert!(matches!(refused, Err(JournalError::Poisoned { .. })));
}

#[test]
fn a_dropped_call_is_carried_out() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    drop(journal.append(vec![note(1, 0)], Durability::Power));
    append(&journal, vec![note(1, 1)], Durability::Process);
    let read = block_on(journal.read(pod_id(1))).unwrap();
    assert_eq!(read, [note(1, 0), note(1, 1)]);
}

#[test]
fn dropping_the_journal_writes_what_is_queued_and_frees_it() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    let reader = journal.shared.reader();
    let answers: Vec<_> = (0..10)
        .map(|sequence| {
            let work = Work::append(vec![note(1, sequence)]);
            journal.submit(work, Durability::Process)
        })
        .collect();
    drop(reader);
    drop(journal);
    for answer in answers {
        block_on(answer).unwrap();
    }
    let entries = block_on(open_again(&dir).read(pod_id(1))).unwrap();
    assert_eq!(entries.len(), 10);
}

#[test]
fn what_is_too_large_leaves_nothing_and_harms_nothing() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    let large = sized(1, 1, crate::format::RECORD_LIMIT);
    let refused = block_on(journal.append(vec![note(1, 0), large], Durability::Power));
    assert!(
        matches!(refused, Err(JournalError::TooLarge { .. })),
        "{refused:?}"
    );
    append(&journal, vec![note(1, 0)], Durability::Power);
    assert_eq!(block_on(journal.read(pod_id(1))).unwrap(), [note(1, 0)]);
}

#[test]
fn the_largest_record_is_taken() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    let entry = sized(1, 0, crate::format::RECORD_LIMIT - 200);
    append(&journal, vec![entry.clone()], Durability::Process);
    let mut largest = obituary(2, 4);
    Arc::make_mut(&mut largest.pod.spec).hostname =
        "h".repeat(crate::format::SNAPSHOT_LIMIT - 4_000);
    block_on(journal.bury(largest.clone())).unwrap();
    drop(journal);
    let journal = open_again(&dir);
    let replay = block_on(journal.replay()).unwrap();
    assert_eq!(replay.pods, [(pod_id(1), vec![entry])]);
    assert_eq!(replay.obituaries, [largest]);
}

#[test]
fn new_pods_are_refused_below_the_reserve() {
    let dir = TempDir::new().unwrap();
    let mut options = options(&dir);
    options.reserve_bytes = u64::MAX;
    let journal = SledJournal::open(options).unwrap();
    let refused = journal.admits().unwrap_err().to_string();
    assert!(refused.contains("below the reserve of"), "{refused}");
    append(&journal, vec![note(1, 0)], Durability::Power);
    drop(journal);
    assert_eq!(open(&dir).admits(), Ok(()));
}

/// Puts bytes under a key, as damage would.
fn damage(dir: &TempDir, puts: &[(Key, Vec<u8>)]) {
    let db = open::open_sled(&dir.path().join("sled"), 4 << 20, Duration::from_secs(60)).unwrap();
    for (key, value) in puts {
        db.insert(key.bytes(), value.as_slice()).unwrap();
    }
    db.flush().unwrap();
}

/// A snapshot of a pod that the engine goes on with, in the place of all
/// records below `sequence`.
fn sound(pod: u64, sequence: u64) -> Entry {
    let mut folded = folded(pod, sequence + 1);
    (folded.exited, folded.outlived) = (None, None);
    folded.debts.clear();
    Entry {
        record: Record::Snapshot(Box::new(folded)),
        ..note(pod, sequence)
    }
}

fn record_key(pod: u64, sequence: u64) -> Key {
    Key::Record {
        pod: pod_id(pod),
        sequence,
        chunk: 0,
    }
}

#[test]
fn a_pod_in_quarantine_keeps_its_bytes_until_it_is_dropped() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    append(
        &journal,
        vec![note(1, 0), note(1, 1), sound(2, 3)],
        Durability::Power,
    );
    drop(journal);
    damage(&dir, &[(record_key(1, 1), b"damaged".to_vec())]);

    for _ in 0..2 {
        let journal = open(&dir);
        let replay = block_on(journal.replay()).unwrap();
        assert_eq!(replay.pods, [(pod_id(2), vec![sound(2, 3)])]);
        let [(pod, reason)] = replay.quarantined.as_slice() else {
            panic!("{replay:?}");
        };
        assert_eq!(*pod, pod_id(1));
        assert!(
            reason.starts_with("record 1: no record begins here"),
            "{reason}"
        );
        let raw = block_on(journal.quarantined(pod_id(1))).unwrap();
        let first = crate::format::encode(note(1, 0)).unwrap();
        assert_eq!(
            raw[0],
            RawRecord {
                sequence: Some(0),
                bytes: first
            }
        );
        assert_eq!(raw[1].bytes, b"damaged");
        let read = block_on(journal.read(pod_id(1))).unwrap_err().to_string();
        assert!(read.contains("is in quarantine: record 1"), "{read}");
    }

    let journal = open(&dir);
    assert_eq!(block_on(journal.drop_quarantined(pod_id(1))), Ok(true));
    assert_eq!(block_on(journal.drop_quarantined(pod_id(1))), Ok(false));
    assert_eq!(block_on(journal.drop_quarantined(pod_id(2))), Ok(false));
    drop(journal);
    let replay = block_on(open_again(&dir).replay()).unwrap();
    assert_eq!(replay.pods, [(pod_id(2), vec![sound(2, 3)])]);
    assert_eq!(replay.quarantined, []);
}

/// Whole records that make no pod: the engine sets it aside, and only by its
/// name it is dropped.
#[test]
fn a_pod_that_does_not_fold_is_shown_and_dropped_too() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    let contradictory = vec![note(1, 0), note(1, 1)];
    append(&journal, contradictory.clone(), Durability::Power);
    append(&journal, vec![sound(2, 3)], Durability::Power);
    let raw = block_on(journal.quarantined(pod_id(1))).unwrap();
    let expected = contradictory
        .into_iter()
        .map(|entry| crate::format::encode(entry).unwrap());
    let bytes: Vec<_> = raw.into_iter().map(|record| record.bytes).collect();
    assert_eq!(bytes, expected.collect::<Vec<_>>());
    assert_eq!(block_on(journal.drop_quarantined(pod_id(1))), Ok(true));
    assert_eq!(block_on(journal.drop_quarantined(pod_id(2))), Ok(false));
    drop(journal);
    let replay = block_on(open_again(&dir).replay()).unwrap();
    assert_eq!(replay.pods, [(pod_id(2), vec![sound(2, 3)])]);
}

/// A pod whose older obituary is damaged, and that has good records since.
#[test]
fn dropping_an_obituary_leaves_the_records_of_a_pod_that_came_back() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    append(&journal, vec![sound(1, 3)], Durability::Power);
    drop(journal);
    let key = Key::Obituary {
        number: 4,
        pod: pod_id(1),
        chunk: 0,
    };
    damage(&dir, &[(key, b"damaged".to_vec())]);
    let journal = open(&dir);
    assert_eq!(journal.report().quarantined, 1);
    assert_eq!(block_on(journal.quarantined(pod_id(1))).unwrap().len(), 1);
    assert_eq!(block_on(journal.drop_quarantined(pod_id(1))), Ok(true));
    drop(journal);
    let journal = open_again(&dir);
    assert_eq!(journal.report().quarantined, 0);
    let replay = block_on(journal.replay()).unwrap();
    assert_eq!(replay.pods, [(pod_id(1), vec![sound(1, 3)])]);
}

#[test]
fn a_large_pod_in_quarantine_is_dropped_whole() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    for sequence in 0..4 {
        append(
            &journal,
            vec![sized(1, sequence, 200 << 10)],
            Durability::Power,
        );
    }
    drop(journal);
    damage(&dir, &[(record_key(1, 2), b"damaged".to_vec())]);
    let journal = open(&dir);
    assert_eq!(block_on(journal.drop_quarantined(pod_id(1))), Ok(true));
    assert_eq!(block_on(journal.quarantined(pod_id(1))), Ok(Vec::new()));
    drop(journal);
    let journal = open_again(&dir);
    assert_eq!(
        (journal.report().pods, journal.report().quarantined),
        (0, 0)
    );
}

#[test]
fn an_unreadable_obituary_is_shown_and_dropped() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir));
    let key = Key::Obituary {
        number: 4,
        pod: pod_id(1),
        chunk: 0,
    };
    damage(&dir, &[(key, b"damaged".to_vec())]);
    let journal = open(&dir);
    let raw = block_on(journal.quarantined(pod_id(1))).unwrap();
    let expected = RawRecord {
        sequence: None,
        bytes: b"damaged".to_vec(),
    };
    assert_eq!(raw, [expected]);
    assert_eq!(block_on(journal.drop_quarantined(pod_id(1))), Ok(true));
    drop(journal);
    assert_eq!(open_again(&dir).report().quarantined, 0);
}

#[test]
fn litter_is_removed_when_the_journal_has_time() {
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    for sequence in 0..5 {
        append(
            &journal,
            vec![sized(1, sequence, 200 << 10)],
            Durability::Process,
        );
    }
    block_on(journal.bury(obituary(1, 5))).unwrap();
    assert_eq!(block_on(journal.read(pod_id(1))), Ok(Vec::new()));
    let keys = || journal.shared.reader().db.as_ref().map_or(0, |db| db.len());
    wait_until(|| keys() == 3);
    drop(journal);
    let replay = block_on(open_again(&dir).replay()).unwrap();
    assert_eq!(
        (replay.pods.len(), replay.obituaries),
        (0, vec![obituary(1, 5)])
    );
}

#[test]
fn only_the_last_thousand_obituaries_stay() {
    const BURIED: u64 = crate::OBITUARIES as u64 + 20;
    let dir = TempDir::new().unwrap();
    let journal = open(&dir);
    let burials: Vec<_> = (0..BURIED)
        .map(|pod| {
            let mut gone = obituary(pod, 2);
            gone.pod.released = None;
            journal.bury(gone)
        })
        .collect();
    burials
        .into_iter()
        .for_each(|burial| block_on(burial).unwrap());
    drop(journal);
    let journal = open_again(&dir);
    let obituaries = block_on(journal.replay()).unwrap().obituaries;
    assert_eq!(obituaries.len(), crate::OBITUARIES);
    assert_eq!(obituaries[0].pod.id, pod_id(20));
}

/// One call of the port, chosen by a test.
#[derive(Debug, Clone)]
enum Call {
    Append {
        pods: Vec<(u64, usize)>,
        power: bool,
    },
    Compact(u64),
    Bury(u64),
    Reopen,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let sizes = prop_oneof![8 => 0_usize..300, 1 => 4_000..40_000_usize];
    let records = proptest::collection::vec((0_u64..5, sizes), 1..4);
    let call = prop_oneof![
        8 => (records, any::<bool>()).prop_map(|(pods, power)| Call::Append { pods, power }),
        2 => (0_u64..5).prop_map(Call::Compact),
        1 => (0_u64..5).prop_map(Call::Bury),
        1 => Just(Call::Reopen),
    ];
    proptest::collection::vec(call, 1..30)
}

/// The same calls on disk and in memory.
struct Both {
    dir: TempDir,
    disk: Option<SledJournal>,
    memory: MemoryJournal,
    /// The next sequence of each pod.
    next: [u64; 5],
}

impl Both {
    fn call(&mut self, call: Call) {
        match call {
            Call::Append { pods, power } => {
                let batch: Vec<Entry> = pods
                    .into_iter()
                    .map(|(pod, bytes)| sized(pod, self.count(pod), bytes))
                    .collect();
                let durability = match power {
                    true => Durability::Power,
                    false => Durability::Process,
                };
                self.on_both(|journal| block_on(journal.append(batch.clone(), durability)));
            }
            Call::Compact(pod) => {
                let sequence = self.count(pod);
                self.on_both(|journal| block_on(journal.compact(snapshot(pod, sequence))));
            }
            Call::Bury(pod) => {
                let records = self.next[pod as usize];
                self.on_both(|journal| block_on(journal.bury(obituary(pod, records))));
                // It begins anew where its count stood, with a snapshot.
                self.call(Call::Compact(pod));
            }
            Call::Reopen => self.reopen(),
        }
    }

    fn count(&mut self, pod: u64) -> u64 {
        let next = &mut self.next[pod as usize];
        *next += 1;
        *next - 1
    }

    fn on_both(&self, call: impl Fn(&dyn Journal) -> Result<(), JournalError>) {
        let disk = self.disk.as_ref().expect("it is open");
        assert_eq!(call(disk), Ok(()));
        assert_eq!(call(&self.memory), Ok(()));
    }

    fn reopen(&mut self) {
        self.disk = None;
        self.disk = Some(open_again(&self.dir));
        self.compare();
    }

    fn compare(&self) {
        let disk = block_on(self.disk.as_ref().expect("it is open").replay()).unwrap();
        let memory = block_on(self.memory.replay()).unwrap();
        assert_eq!(disk.pods, memory.pods);
        assert_eq!(disk.obituaries, memory.obituaries);
        assert_eq!(disk.quarantined, []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn disk_and_memory_answer_alike_through_any_calls(calls in calls()) {
        let dir = TempDir::new().unwrap();
        let disk = Some(open(&dir));
        let mut both = Both { dir, disk, memory: MemoryJournal::new(), next: [0; 5] };
        for call in calls {
            both.call(call);
        }
        both.compare();
        both.reopen();
    }
}
