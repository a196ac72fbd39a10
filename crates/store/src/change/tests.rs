//! What one batch writes and removes.

use std::sync::Arc;

use podwalk_engine::ports::Durability;
use podwalk_engine::record::Entry;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::meta::Census;
use crate::samples::{note, obituary, pod_id, sized, snapshot};

const BOUND: usize = 64 << 10;

/// A store that a test writes to without a committer.
struct Bench {
    db: sled::Db,
    graves: Graves,
    meta: Meta,
    _dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        Self {
            db: sled::open(dir.path()).unwrap(),
            graves: Graves::default(),
            meta: Meta::default(),
            _dir: dir,
        }
    }

    fn plan(&self, work: Vec<Work>) -> Change {
        let mut jobs: Vec<Job> = work.into_iter().map(job).collect();
        Change::plan(&mut jobs, &self.db, &self.graves, BOUND).unwrap()
    }

    fn write(&mut self, change: &Change) {
        let after = change.meta_after(&self.meta);
        self.db.apply_batch(change.batch(&after)).unwrap();
        self.meta = after;
        for number in &change.cleared {
            self.graves.clear(*number);
        }
        change.dug.iter().for_each(|grave| self.graves.dig(*grave));
        assert_eq!(self.census(), self.meta.census, "what was counted is there");
    }

    fn census(&self) -> Census {
        crate::scan::scan(self.db.iter()).unwrap().census
    }

    fn append(&mut self, batch: Vec<Entry>) {
        let change = self.plan(vec![Work::append(batch).unwrap()]);
        self.write(&change);
    }

    fn bury(&mut self, pod: u64, records: u64) -> Change {
        let change = self.plan(vec![Work::bury(obituary(pod, records)).unwrap()]);
        self.write(&change);
        change
    }
}

fn job(work: Work) -> Job {
    let (answer, _) = oneshot::channel();
    Job {
        payload: work.payload(),
        work,
        durability: Durability::Process,
        answer,
    }
}

#[test]
fn a_group_becomes_one_batch() {
    let mut bench = Bench::new();
    let change = bench.plan(vec![
        Work::append(vec![note(1, 0), sized(1, 1, 9_000)]).unwrap(),
        Work::append(vec![note(2, 0)]).unwrap(),
    ]);
    assert_eq!((change.puts.len(), change.removes.len()), (5, 0));
    let values: usize = change
        .puts
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    assert_eq!(change.payload, values);
    bench.write(&change);
    assert_eq!((bench.meta.batches, bench.meta.census.pairs), (1, 5));
    let meta = bench.db.get(key::META).unwrap().unwrap();
    assert_eq!(Meta::parse(&meta), Some(bench.meta));
}

#[test]
fn a_snapshot_replaces_what_is_before_it_and_nothing_else() {
    let mut bench = Bench::new();
    bench.append(vec![note(1, 0), sized(1, 1, 9_000), note(2, 0)]);
    let change = bench.plan(vec![Work::compact(snapshot(1, 2)).unwrap()]);
    assert_eq!((change.puts.len(), change.removes.len()), (1, 4));
    bench.write(&change);
    let found = crate::scan::scan(bench.db.iter()).unwrap();
    let pods = [
        (pod_id(1), vec![snapshot(1, 2)]),
        (pod_id(2), vec![note(2, 0)]),
    ];
    assert_eq!(found.replay.pods, pods);
    assert_eq!(found.litter, Vec::<Vec<u8>>::new());
}

#[test]
fn removals_over_the_bound_are_litter_until_they_are_swept() {
    let mut bench = Bench::new();
    for sequence in 0..6 {
        bench.append(vec![sized(1, sequence, 20_000)]);
    }
    let mut change = bench.bury(1, 6);
    assert!(change.payload <= BOUND, "{}", change.payload);
    let mut litter: BTreeSet<_> = change.later.drain(..).collect();
    assert!(!litter.is_empty());
    let found = crate::scan::scan(bench.db.iter()).unwrap();
    assert_eq!(found.replay.pods, [], "litter is of no pod");
    assert_eq!(found.replay.obituaries, [obituary(1, 6)]);
    let mut sweeps = 0;
    while !litter.is_empty() {
        let change = Change::sweep(&mut litter, &bench.db, BOUND).unwrap();
        assert!(change.payload <= BOUND, "{}", change.payload);
        bench.write(&change);
        sweeps += 1;
    }
    assert!(sweeps > 0);
    let found = crate::scan::scan(bench.db.iter()).unwrap();
    assert_eq!(found.litter, Vec::<Vec<u8>>::new());
    assert_eq!(found.replay.obituaries, [obituary(1, 6)]);
}

#[test]
fn a_sweep_fills_its_bound_and_takes_at_least_one() {
    let bench = Bench::new();
    let keys = [b"one".to_vec(), b"three".to_vec(), b"two".to_vec()];
    for key in &keys {
        bench.db.insert(key, &[0; 10]).unwrap();
    }
    let expected: [(usize, &[&str]); 4] = [
        (1, &["one"]),
        (25, &["one"]),
        (27, &["one", "two"]),
        (28, &["one", "three"]),
    ];
    for (bound, taken) in expected {
        let mut litter = BTreeSet::from(keys.clone());
        let change = Change::sweep(&mut litter, &bench.db, bound).unwrap();
        let removed = change.removes.iter().map(|(key, _)| key.as_ref());
        assert!(removed.eq(taken.iter().map(|key| key.as_bytes())));
        assert_eq!(litter.len(), 3 - taken.len());
    }
}

#[test]
fn what_two_compactions_left_over_is_counted_once() {
    let mut bench = Bench::new();
    for sequence in 0..6 {
        bench.append(vec![sized(1, sequence, 30_000)]);
    }
    let mut litter = BTreeSet::new();
    for sequence in [6, 7] {
        let mut change = bench.plan(vec![Work::compact(snapshot(1, sequence)).unwrap()]);
        bench.write(&change);
        litter.extend(change.later.drain(..));
    }
    while !litter.is_empty() {
        let change = Change::sweep(&mut litter, &bench.db, BOUND).unwrap();
        bench.write(&change);
    }
    let found = crate::scan::scan(bench.db.iter()).unwrap();
    assert_eq!(found.replay.pods, [(pod_id(1), vec![snapshot(1, 7)])]);
    assert_eq!(found.census.pairs, 1);
}

#[test]
fn litter_that_is_gone_already_is_no_change() {
    let bench = Bench::new();
    let mut litter = BTreeSet::from([b"p-nothing".to_vec()]);
    let change = Change::sweep(&mut litter, &bench.db, BOUND).unwrap();
    assert!(change.is_empty() && litter.is_empty());
}

#[test]
fn a_pod_that_is_buried_again_has_one_obituary() {
    let mut bench = Bench::new();
    bench.bury(1, 2);
    bench.append(vec![snapshot(1, 2)]);
    let change = bench.bury(1, 3);
    assert_eq!(change.cleared, [0]);
    assert_eq!((change.dug[0].number, bench.graves.len()), (1, 1));
    let found = crate::scan::scan(bench.db.iter()).unwrap();
    assert_eq!(found.replay.obituaries, [obituary(1, 3)]);
}

#[test]
fn two_burials_in_one_group_have_two_numbers() {
    let bench = Bench::new();
    let change = bench.plan(vec![
        Work::bury(obituary(1, 1)).unwrap(),
        Work::bury(obituary(2, 1)).unwrap(),
    ]);
    let numbers: Vec<u64> = change.dug.iter().map(|grave| grave.number).collect();
    assert_eq!(numbers, [0, 1]);
}

#[test]
fn an_obituary_is_removed_whole_or_stays() {
    let mut bench = Bench::new();
    let mut large = obituary(1, 2);
    Arc::make_mut(&mut large.pod.spec).hostname = "h".repeat(700_000);
    let change = bench.plan(vec![Work::bury(large).unwrap()]);
    bench.write(&change);
    // Over the bound, but one batch may hold it.
    let change = bench.plan(vec![Work::bury(obituary(1, 3)).unwrap()]);
    assert_eq!(change.cleared, [0]);
    assert!(change.removes.len() > 100 && change.later.is_empty());
    // Beside another large one it has to wait.
    let mut other = obituary(1, 3);
    Arc::make_mut(&mut other.pod.spec).hostname = "h".repeat(300_000);
    let change = bench.plan(vec![Work::bury(other).unwrap()]);
    assert_eq!((change.cleared.len(), change.removes.len()), (0, 0));
}

#[test]
fn dropping_takes_records_and_unreadable_obituaries() {
    let mut bench = Bench::new();
    bench.append(vec![note(1, 3), note(2, 0)]);
    let unreadable = Grave::unreadable(0, pod_id(1));
    let place = Key::Obituary {
        number: 0,
        pod: pod_id(1),
        chunk: 0,
    };
    let change = Change {
        puts: vec![(place.bytes(), b"?".to_vec())],
        dug: vec![unreadable],
        ..Change::default()
    };
    bench.write(&change);
    let dropping = |records| Work::Drop {
        pod: pod_id(1),
        records,
    };
    let change = bench.plan(vec![dropping(false)]);
    assert_eq!((change.removes.len(), change.cleared.len()), (1, 1));
    let change = bench.plan(vec![dropping(true)]);
    assert_eq!(
        (change.removes.len(), change.cleared.as_slice()),
        (2, [0].as_slice())
    );
    bench.write(&change);
    assert_eq!(bench.meta.census.pairs, 1);
}
