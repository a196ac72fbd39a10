//! Parts of an embedder's own, right and wrong: the harness tells them apart.

#![allow(clippy::expect_used)] // a test says so by panicking

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use podwalk_engine::engine::Parts;
use podwalk_engine::error::StepError;
use podwalk_engine::id::PodId;
use podwalk_engine::pod::{Obituary, Pod};
use podwalk_engine::ports::{
    BoxFuture, Durability, Failure, Journal, JournalError, MountNetns, Probe, Replay, Rung,
};
use podwalk_engine::record::{Entry, MountNetnsIntent, MountNetnsOutput};
use podwalk_engine::rungs::Rungs;
use podwalk_engine::step::{Lifetime, NetworkMode, Step};
use podwalk_testkit::sim::{
    Change, Ground, Mortal, Refuted, Schedule, Share, Survey, Thing, World,
};

const QUOTA: Thing = Thing::Own {
    step: Step::MountNetns,
    name: "quota",
    lifetime: Lifetime::UntilReboot,
};

/// What the embedder gets wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    Nothing,
    /// The undo does not take the quota away.
    UndoForgets,
    /// The look does not see half of it.
    ProbeOverlooks,
    /// The quota is on disk, and its intent is not.
    OutlivesItsIntent,
}

/// A namespace with a quota.
struct WithQuota(Ground, Mistake);

impl WithQuota {
    fn quota(&self) -> Thing {
        match (self.1, QUOTA) {
            (Mistake::OutlivesItsIntent, Thing::Own { step, name, .. }) => Thing::Own {
                step,
                name,
                lifetime: Lifetime::OnDisk,
            },
            (_, quota) => quota,
        }
    }
}

impl Rung for WithQuota {
    type Step = MountNetns;

    fn deadline(&self, _: &Pod) -> Duration {
        Duration::from_secs(5)
    }

    fn quiet<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(self.0.quiet(pod, Step::MountNetns))
    }

    fn probe<'a>(
        &'a self,
        pod: &'a Pod,
        _: &'a MountNetnsIntent,
    ) -> BoxFuture<'a, Probe<MountNetnsOutput>> {
        let host = &self.0.host;
        let look = move || {
            let quota = host.has(pod.id, self.quota()) || self.1 == Mistake::ProbeOverlooks;
            match (host.namespace(pod.id), quota) {
                (Some(namespace), true) => Probe::Complete(MountNetnsOutput { namespace }),
                (None, false) if !host.has(pod.id, Thing::Mount) => Probe::Absent,
                _ => Probe::Partial,
            }
        };
        Box::pin(self.0.probe(pod, Step::MountNetns, look))
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        _: &'a MountNetnsIntent,
    ) -> BoxFuture<'a, Result<MountNetnsOutput, Failure>> {
        Box::pin(async move {
            let changes = [Change::Make(Thing::Mount), Change::Make(self.quota())];
            self.0.apply(pod, Step::MountNetns, &changes).await?;
            let namespace = self.0.host.namespace(pod.id).expect("it was just made");
            Ok(MountNetnsOutput { namespace })
        })
    }

    fn undo<'a>(&'a self, pod: &'a Pod, _: Option<u32>) -> BoxFuture<'a, Result<(), StepError>> {
        let changes: &[Change] = match self.1 {
            Mistake::UndoForgets => &[Change::Take(Thing::Mount)],
            _ => &[Change::Take(Thing::Mount), Change::Take(QUOTA)],
        };
        Box::pin(self.0.undo(pod, Step::MountNetns, changes))
    }
}

fn survey(mistake: Mistake) -> Survey {
    let world = World::default().with(move |node, parts| {
        let mount_netns = Arc::new(WithQuota(node.ground(), mistake));
        let rungs = Rungs {
            mount_netns,
            ..parts.rungs
        };
        Parts { rungs, ..parts }
    });
    let world = match mistake {
        Mistake::OutlivesItsIntent => world,
        _ => world.expecting(QUOTA),
    };
    world.crashes(&Schedule::up_and_down(), 1, Share::ALL)
}

#[test]
fn a_rung_of_an_embedder_is_proved() {
    let survey = survey(Mistake::Nothing);
    let verdict = survey.verdict(NetworkMode::Cni.ladder());
    assert!(verdict.is_ok(), "{}", verdict.unwrap_err());
    assert!(survey.runs > 300, "only {} runs", survey.runs);
}

#[test]
fn each_mistake_of_an_embedder_s_rung_is_found() {
    for (mistake, due) in [
        (Mistake::UndoForgets, "quota"),
        (Mistake::ProbeOverlooks, "is not there"),
        (Mistake::OutlivesItsIntent, "quota"),
    ] {
        let verdict = survey(mistake).verdict(&[]);
        let Err(Refuted::Wrong(found)) = verdict else {
            panic!("{mistake:?} is not found");
        };
        let complaints = found.complaints.join("\n");
        assert!(complaints.contains(due), "{mistake:?}: {complaints}");
        assert!(found.to_string().contains("fn counterexample()"), "{found}");
    }
}

/// A journal of an embedder's own: a list of operations, like a log file.
#[derive(Default)]
struct Log {
    state: Mutex<State>,
    /// It forgets that a burial must be on the platter.
    buries_lightly: bool,
    /// A batch is not written as a whole.
    tears: bool,
}

#[derive(Default)]
struct State {
    lines: Vec<Line>,
    platter: usize,
    epoch: u64,
}

enum Line {
    Entries(Vec<Entry>),
    Snapshot(Entry),
    Obituary(Box<Obituary>),
}

impl Log {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    fn write(&self, line: Line, durable: bool) -> BoxFuture<'_, Result<(), JournalError>> {
        let mut state = self.state();
        state.lines.push(line);
        if durable {
            state.platter = state.lines.len();
        }
        Box::pin(async { Ok(()) })
    }
}

impl State {
    fn replay(&self) -> Replay {
        let mut pods: std::collections::BTreeMap<PodId, Vec<Entry>> = Default::default();
        let mut obituaries: Vec<Obituary> = Vec::new();
        for line in &self.lines {
            match line {
                Line::Entries(entries) => {
                    for entry in entries {
                        pods.entry(entry.pod).or_default().push(entry.clone());
                    }
                }
                Line::Snapshot(entry) => drop(pods.insert(entry.pod, vec![entry.clone()])),
                Line::Obituary(obituary) => {
                    pods.remove(&obituary.pod.id);
                    obituaries.retain(|other| other.pod.id != obituary.pod.id);
                    obituaries.push((**obituary).clone());
                }
            }
        }
        Replay {
            pods: pods.into_iter().collect(),
            obituaries,
            quarantined: Vec::new(),
        }
    }
}

impl Journal for Log {
    fn append(
        &self,
        mut batch: Vec<Entry>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), JournalError>> {
        if self.tears && batch.len() > 1 {
            batch.truncate(1);
        }
        self.write(Line::Entries(batch), durability == Durability::Power)
    }

    fn replay(&self) -> BoxFuture<'_, Result<Replay, JournalError>> {
        Box::pin(async { Ok(self.state().replay()) })
    }

    fn read(&self, pod: PodId) -> BoxFuture<'_, Result<Vec<Entry>, JournalError>> {
        let mut pods = self.state().replay().pods.into_iter();
        let found = pods.find(|(id, _)| *id == pod);
        Box::pin(async { Ok(found.map(|(_, entries)| entries).unwrap_or_default()) })
    }

    fn compact(&self, snapshot: Entry) -> BoxFuture<'_, Result<(), JournalError>> {
        self.write(Line::Snapshot(snapshot), false)
    }

    fn bury(&self, obituary: Obituary) -> BoxFuture<'_, Result<(), JournalError>> {
        self.write(Line::Obituary(Box::new(obituary)), !self.buries_lightly)
    }

    fn admits(&self) -> Result<(), JournalError> {
        Ok(())
    }

    fn epoch(&self) -> u64 {
        self.state().epoch
    }
}

impl Mortal for Log {
    fn reopen(&self) {
        let mut state = self.state();
        state.epoch += 1;
        state.platter = state.lines.len();
    }

    fn lose_power(&self, kept: usize) {
        let mut state = self.state();
        let left = (state.platter + kept).min(state.lines.len());
        state.lines.truncate(left);
        state.platter = left;
    }
}

fn over(journal: fn() -> Log) -> Survey {
    let world = World::default().with_journal(journal);
    world.crashes(&Schedule::up_and_down(), 1, Share::ALL)
}

#[test]
fn a_journal_of_an_embedder_is_proved() {
    let survey = over(Log::default);
    let verdict = survey.verdict(NetworkMode::Cni.ladder());
    assert!(verdict.is_ok(), "{}", verdict.unwrap_err());
}

#[test]
fn a_journal_that_loses_or_tears_is_found() {
    let lightly = || Log {
        buries_lightly: true,
        ..Log::default()
    };
    let torn = || Log {
        tears: true,
        ..Log::default()
    };
    for (what, journal) in [("buries lightly", lightly as fn() -> Log), ("tears", torn)] {
        let verdict = over(journal).verdict(&[]);
        let Err(Refuted::Wrong(found)) = verdict else {
            panic!("a journal that {what} is not found");
        };
        let complaints = found.complaints.join("\n");
        assert!(complaints.contains("must hold"), "{what}: {complaints}");
    }
}
