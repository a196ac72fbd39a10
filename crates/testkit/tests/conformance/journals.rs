//! Each rule of a journal, and a journal that breaks it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_executor::block_on;
use futures_util::FutureExt;
use podwalk_engine::id::PodId;
use podwalk_engine::pod::Obituary;
use podwalk_engine::ports::{BoxFuture, Durability, Journal, JournalError, Replay};
use podwalk_engine::record::Entry;
use podwalk_store::{MemoryJournal, OpenOptions, SledJournal};
use podwalk_testkit::conformance::{self, Broken, Opening, Rule, script};
use proptest::prelude::*;

/// Which promise is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    RefusesWhatIsSmall,
    ForgetsARecord,
    TurnsABatchAround,
    TearsABatch,
    MixesPodsUp,
    ReplaysNoGoneOnes,
    ReplaysAnOldPod,
    SetsAside,
    LosesTheLastOnClosing,
    LosesPowerOutOfOrder,
    KeepsWhatASnapshotReplaces,
    KeepsWhatIsBuried,
    BuriesAnother,
    CountsNoOpenings,
}

/// A journal in memory over which one thing goes wrong.
struct Doubtful {
    wrong: Wrong,
    inner: MemoryJournal,
    epoch: u64,
}

/// What outlives a process: the journal's data, and what of it would be lost.
struct Disk {
    wrong: Wrong,
    inner: Arc<Mutex<MemoryJournal>>,
}

/// The journal in memory waits for nothing.
fn at_once<T>(answer: BoxFuture<'_, T>) -> T {
    answer.now_or_never().unwrap()
}

impl Disk {
    fn new(wrong: Wrong) -> Self {
        Self {
            wrong,
            inner: Arc::new(Mutex::new(MemoryJournal::new())),
        }
    }

    fn open(&self, opening: Opening) -> Doubtful {
        let mut inner = self.inner.lock().unwrap();
        if opening != Opening::First {
            *inner = inner.reopen();
        }
        let loses = match self.wrong {
            Wrong::LosesTheLastOnClosing => opening == Opening::AfterEnd,
            Wrong::LosesPowerOutOfOrder => opening == Opening::AfterPowerLoss,
            _ => false,
        };
        if loses {
            let epoch = inner.epoch();
            let mut kept = at_once(inner.replay()).unwrap();
            if let Some((_, entries)) = kept.pods.first_mut() {
                match self.wrong {
                    Wrong::LosesTheLastOnClosing => drop(entries.pop()),
                    _ => drop(entries.remove(0)),
                }
            }
            *inner = MemoryJournal::holding(kept);
            while inner.epoch() < epoch {
                *inner = inner.reopen();
            }
        }
        let epoch = match self.wrong {
            Wrong::CountsNoOpenings => 1,
            _ => inner.epoch(),
        };
        Doubtful {
            wrong: self.wrong,
            inner: inner.clone(),
            epoch,
        }
    }
}

impl Doubtful {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == wrong
    }
}

impl Journal for Doubtful {
    fn append(
        &self,
        mut batch: Vec<Entry>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), JournalError>> {
        match self.wrong {
            Wrong::RefusesWhatIsSmall if batch.len() > 2 => {
                return Box::pin(std::future::ready(Err(JournalError::Full {
                    detail: "it is not".to_owned(),
                })));
            }
            Wrong::ForgetsARecord if batch.len() > 1 => drop(batch.pop()),
            Wrong::TurnsABatchAround => batch.reverse(),
            Wrong::TearsABatch => {
                let first = batch.remove(0);
                let taken = at_once(self.inner.append(vec![first], durability));
                if taken.is_err() || batch.is_empty() {
                    return Box::pin(std::future::ready(taken));
                }
            }
            _ => {}
        }
        self.inner.append(batch, durability)
    }

    fn replay(&self) -> BoxFuture<'_, Result<Replay, JournalError>> {
        Box::pin(async {
            let mut replay = self.inner.replay().await?;
            match self.wrong {
                Wrong::ReplaysNoGoneOnes => replay.obituaries.clear(),
                Wrong::ReplaysAnOldPod => {
                    if let Some((_, entries)) = replay.pods.last_mut() {
                        entries.truncate(2);
                    }
                }
                Wrong::SetsAside => {
                    let first = replay.pods.pop();
                    let set_aside = first.map(|(pod, _)| (pod, "no reason".to_owned()));
                    replay.quarantined.extend(set_aside);
                }
                Wrong::BuriesAnother => {
                    for obituary in &mut replay.obituaries {
                        obituary.pod.debts.clear();
                        Arc::make_mut(&mut obituary.pod.spec).hostname = "another".to_owned();
                    }
                }
                _ => {}
            }
            Ok(replay)
        })
    }

    fn read(&self, pod: PodId) -> BoxFuture<'_, Result<Vec<Entry>, JournalError>> {
        Box::pin(async move {
            if !self.is(Wrong::MixesPodsUp) {
                return self.inner.read(pod).await;
            }
            let all = self.inner.replay().await?;
            let entries = all.pods.into_iter().flat_map(|(_, entries)| entries);
            Ok(entries.filter(|entry| entry.pod >= pod).collect())
        })
    }

    fn compact(&self, snapshot: Entry) -> BoxFuture<'_, Result<(), JournalError>> {
        match self.is(Wrong::KeepsWhatASnapshotReplaces) {
            true => self.inner.append(vec![snapshot], Durability::Process),
            false => self.inner.compact(snapshot),
        }
    }

    fn bury(&self, obituary: Obituary) -> BoxFuture<'_, Result<(), JournalError>> {
        match self.is(Wrong::KeepsWhatIsBuried) {
            true => Box::pin(std::future::ready(Ok(()))),
            false => self.inner.bury(obituary),
        }
    }

    fn admits(&self) -> Result<(), JournalError> {
        self.inner.admits()
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}

fn play(wrong: Wrong, bytes: &[u8]) -> Result<(), Broken> {
    let disk = Disk::new(wrong);
    let open = async |opening| disk.open(opening);
    block_on(conformance::journal(open, &script(bytes)))
}

/// Scripts that are the same in every run.
fn scripts() -> impl Iterator<Item = Vec<u8>> {
    (1..=64_u64).map(|seed| {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bytes = (0..96).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        });
        bytes.collect()
    })
}

const BROKEN: [(Wrong, Rule); 14] = [
    (Wrong::RefusesWhatIsSmall, Rule::Takes),
    (Wrong::ForgetsARecord, Rule::Reads),
    (Wrong::TurnsABatchAround, Rule::Reads),
    (Wrong::TearsABatch, Rule::Atomic),
    (Wrong::MixesPodsUp, Rule::Reads),
    (Wrong::ReplaysNoGoneOnes, Rule::Buries),
    (Wrong::ReplaysAnOldPod, Rule::Replays),
    (Wrong::SetsAside, Rule::Replays),
    (Wrong::LosesTheLastOnClosing, Rule::Survives),
    (Wrong::LosesPowerOutOfOrder, Rule::Survives),
    (Wrong::KeepsWhatASnapshotReplaces, Rule::Compacts),
    (Wrong::KeepsWhatIsBuried, Rule::Buries),
    (Wrong::BuriesAnother, Rule::Buries),
    (Wrong::CountsNoOpenings, Rule::EpochGrows),
];

#[test]
fn a_journal_that_keeps_every_rule_passes_whatever_is_done() {
    for bytes in scripts() {
        play(Wrong::Nothing, &bytes).unwrap();
    }
}

/// What is wrong may break a second rule before the one it is meant for, but some script finds that.
#[test]
fn each_broken_promise_is_named() {
    for (wrong, rule) in BROKEN {
        let broken: BTreeSet<Rule> = scripts()
            .filter_map(|bytes| play(wrong, &bytes).err())
            .map(|broken| broken.rule)
            .collect();
        assert!(broken.contains(&rule), "{wrong:?}: {broken:?}");
    }
}

#[test]
fn every_rule_of_a_journal_has_one_that_breaks_it() {
    let caught: BTreeSet<Rule> = BROKEN.iter().map(|(_, rule)| *rule).collect();
    let of_journals = Rule::ALL.iter().filter(|rule| **rule >= Rule::Takes);
    assert_eq!(caught, of_journals.copied().collect());
}

proptest! {
    // Each case opens it several times, and waits for the disk.
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_on_disk_keeps_every_rule(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
        let directory = tempfile::tempdir().unwrap();
        let open = async |_| SledJournal::open(OpenOptions::new(directory.path())).unwrap();
        let played = block_on(conformance::journal(open, &script(&bytes)));
        prop_assert_eq!(played, Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_in_memory_keeps_every_rule(bytes in prop::collection::vec(any::<u8>(), 0..180)) {
        prop_assert_eq!(play(Wrong::Nothing, &bytes), Ok(()));
    }
}
