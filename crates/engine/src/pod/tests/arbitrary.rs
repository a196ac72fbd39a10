//! Any records at all, as a damaged or confused journal may hold them.

use super::*;
use crate::pod::fold;
use crate::record::{Intent, Outcome};

fn step() -> impl Strategy<Value = Step> {
    prop::sample::select(Step::ALL.to_vec())
}

fn a_goal() -> impl Strategy<Value = Goal> {
    prop::sample::select(vec![Goal::Run, Goal::Stop, Goal::Remove])
}

fn attachment() -> impl Strategy<Value = Option<u32>> {
    prop::sample::select(vec![None, Some(0), Some(1), Some(2), Some(u32::MAX)])
}

fn observation() -> impl Strategy<Value = Observation> {
    prop_oneof![
        prop::option::of(any::<i32>()).prop_map(|code| Observation::Exited { code }),
        Just(Observation::Restart),
        (1..4u8, any::<u64>(), any::<bool>()).prop_map(|(from, last_record_ns, back)| {
            Observation::Rebooted {
                from: boot(from),
                last_record_ns,
                cni_may_be_back: back,
            }
        }),
        a_goal().prop_map(|goal| Observation::Outlived { goal }),
        (step(), attachment()).prop_map(|(step, attachment)| Observation::Forgiven {
            step,
            attachment,
            reason: String::new(),
        }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let direction = prop::sample::select(vec![Direction::Up, Direction::Down]);
    prop_oneof![
        1 => a_goal().prop_map(goal),
        4 => step().prop_map(|step| Record::Intent(intent(step, &NetworkMode::Cni))),
        4 => (step(), 0..3u32, 0..3u32).prop_map(|(step, count, late)| {
            Record::Done(output_late(step, count, late.min(count)))
        }),
        2 => (step(), direction, attachment()).prop_map(|(step, direction, attachment)| {
            Record::Failed {
                step,
                direction,
                attachment,
                outcome: Outcome::Unknown,
                error: error("no"),
            }
        }),
        3 => (step(), attachment()).prop_map(|(step, attachment)| undone(step, attachment)),
        2 => observation().prop_map(Record::Observed),
    ]
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (1..4u8, any::<u64>(), any::<u64>()).prop_map(|(number, wall_ns, boottime_ns)| Stamp {
        boot: boot(number),
        wall_ns,
        boottime_ns,
    })
}

fn tail() -> impl Strategy<Value = Vec<(Record, Stamp)>> {
    prop::collection::vec((record(), stamp()), 0..40)
}

/// The pod, and those of the records that could follow, with all in between.
fn folded(tail: Vec<(Record, Stamp)>) -> (Pod, Vec<Entry>) {
    let mut entries = Story::new(NetworkMode::Cni, 2).entries;
    let mut pod = fold(&entries).unwrap();
    for (record, stamp) in tail {
        let entry = Entry {
            pod: pod.id,
            sequence: pod.next_sequence,
            stamp,
            record,
        };
        let before = pod.clone();
        match pod.apply(&entry) {
            Ok(()) => entries.push(entry),
            Err(_) => assert_eq!(pod, before, "a refused record has changed something"),
        }
        assert_eq!(pod.broken_invariant(), None, "after {:?}", entries.last());
        assert!(pod.goal >= before.goal, "the goal went down");
    }
    (pod, entries)
}

/// A pod as no fold makes it: every field on its own.
fn garbage() -> impl Strategy<Value = Pod> {
    let slot = (0..3u8, 0..3u32, any::<bool>()).prop_map(|(status, climbs, meant)| Slot {
        status: [Status::Never, Status::Maybe, Status::Done][usize::from(status)],
        climbs,
        intent: meant.then(|| intent(Step::Start, &NetworkMode::Cni)),
        ..Slot::default()
    });
    (
        prop::array::uniform6(slot),
        a_goal(),
        prop::option::of(a_goal()),
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        (0..3u32, 0..3usize, 0..3u32),
        any::<u64>(),
        prop::collection::vec((step(), attachment()), 0..3),
    )
        .prop_map(
            |(slots, goal, outlived, flags, counts, next_sequence, debts)| {
                let mut pod = Story::new(NetworkMode::Cni, 1).pod();
                (pod.slots, pod.goal, pod.outlived) = (slots, goal, outlived);
                pod.restarting = flags.0;
                pod.namespace = flags.1.then(namespace);
                pod.exited = flags.2.then(|| Exit {
                    noticed: at(1, 1),
                    code: None,
                });
                pod.released = flags.3.then(|| at(1, 5));
                pod.plan = planned_late(counts.0, counts.2);
                pod.attachments = vec![AttachmentStatus::default(); counts.1];
                pod.next_sequence = next_sequence;
                pod.debts = debts
                    .into_iter()
                    .map(|(step, attachment)| Debt {
                        step,
                        attachment,
                        attempts: 1,
                        first: at(1, 1),
                        last: at(1, 1),
                        error: error("no"),
                    })
                    .collect();
                pod
            },
        )
}

fn facts(now: Stamp) -> Facts {
    Facts {
        now,
        policy: Policy::default(),
        found: None,
        in_vain: std::time::Duration::ZERO,
        inherited: true,
        urgent: false,
        hold: Step::AttachLate,
        closing: false,
    }
}

proptest! {
    #[test]
    fn any_records_keep_the_invariants_and_raise_the_goal_at_most(tail in tail()) {
        let (pod, entries) = folded(tail);
        prop_assert_eq!(fold(&entries), Ok(pod));
    }

    #[test]
    fn a_snapshot_and_the_tail_fold_to_the_same(tail in tail(), cut in any::<prop::sample::Index>()) {
        let (pod, entries) = folded(tail);
        let cut = 2 + cut.index(entries.len() - 1);
        let snapshot = fold(&entries[..cut]).unwrap();
        let taken = Entry {
            pod: pod.id,
            sequence: snapshot.next_sequence - 1,
            stamp: snapshot.last,
            record: Record::Snapshot(Box::new(snapshot)),
        };
        let shorter = std::iter::once(&taken).chain(&entries[cut..]);
        prop_assert_eq!(fold(shorter), Ok(pod));
    }

    #[test]
    fn a_snapshot_within_the_records_changes_nothing(tail in tail()) {
        let (pod, mut entries) = folded(tail);
        let mut after = pod.clone();
        after.next_sequence += 1;
        entries.push(Entry {
            pod: pod.id,
            sequence: pod.next_sequence,
            stamp: pod.last,
            record: Record::Snapshot(Box::new(after.clone())),
        });
        prop_assert_eq!(fold(&entries), Ok(after));
    }

    #[test]
    fn garbage_is_refused_or_goes_on_within_the_invariants(pod in garbage(), tail in tail()) {
        let entry = Entry {
            pod: pod.id,
            sequence: pod.next_sequence.wrapping_sub(1),
            stamp: at(1, 1),
            record: Record::Snapshot(Box::new(pod)),
        };
        let Ok(mut pod) = fold([&entry]) else {
            return Ok(());
        };
        for (record, stamp) in tail {
            let entry = Entry { pod: pod.id, sequence: pod.next_sequence, stamp, record };
            let _ = pod.apply(&entry);
            prop_assert_eq!(pod.broken_invariant(), None);
        }
    }

    #[test]
    fn entries_in_any_disorder_never_panic(
        tail in tail(),
        sequences in prop::collection::vec(prop_oneof![0..8u64, Just(u64::MAX)], 0..12),
    ) {
        let numbered = sequences.into_iter().zip(tail);
        let entries: Vec<_> = numbered
            .map(|(sequence, (record, stamp))| Entry { pod: pod_id(1), sequence, stamp, record })
            .collect();
        if let Ok(pod) = fold(&entries) {
            prop_assert_eq!(pod.broken_invariant(), None);
        }
    }

    /// Whatever a pod has been through, there is a decision, and a plan that
    /// comes to an end.
    #[test]
    fn everything_that_folds_can_be_decided_and_planned(tail in tail(), now in stamp()) {
        let (pod, _) = folded(tail);
        let plan = crate::plan::plan(&pod, &facts(now));
        let ends = matches!(plan.last(), Some(Next::Rest | Next::Forget));
        prop_assert!(ends, "{:?} of {:?}", plan, pod);
    }

    /// Intents aside, no record may make something of nothing.
    #[test]
    fn nothing_is_done_that_was_not_meant(tail in tail()) {
        let meant = |step| tail.iter().any(|(record, _)| {
            matches!(record, Record::Intent(intent) if Intent::step(intent) == step)
        });
        let open: Vec<Step> = Step::ALL.into_iter().skip(1).filter(|step| !meant(*step)).collect();
        let (pod, _) = folded(tail);
        for step in open {
            prop_assert_eq!(pod.status(step), Status::Never);
        }
    }
}
