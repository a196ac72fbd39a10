use podwalk_engine::clock::{Clock, Stamp};
use podwalk_engine::record::{Cause, Goal, Record};

use super::*;
use crate::sim::{Ended, Node, Setup, SimClock, pod_id};

fn entry(pod: u32, sequence: u64) -> Entry {
    let stamp: Stamp = SimClock::default().now();
    Entry {
        pod: pod_id(pod),
        sequence,
        stamp,
        record: Record::Goal {
            goal: Goal::Run,
            cause: Cause::Request,
        },
    }
}

fn append(node: &Node, entries: &[Entry], durability: Durability) -> Result<(), JournalError> {
    let (journal, batch) = (node.journal.clone(), entries.to_vec());
    node.run(async move { journal.append(batch, durability).await })
        .answer()
}

fn sequences(node: &Node, pod: u32) -> Vec<u64> {
    let pods = node.journal.contents().pods;
    let of_pod = pods.into_iter().find(|(id, _)| *id == pod_id(pod));
    let entries = of_pod.map(|(_, entries)| entries).unwrap_or_default();
    entries.iter().map(|entry| entry.sequence).collect()
}

/// Two on the platter, three in the kernel.
fn five() -> Node {
    let node = Node::new(Setup::default());
    append(&node, &[entry(1, 0)], Durability::Process).unwrap();
    append(&node, &[entry(1, 1)], Durability::Power).unwrap();
    for sequence in 2..5 {
        append(&node, &[entry(1, sequence)], Durability::Process).unwrap();
    }
    node
}

#[test]
fn a_barrier_puts_all_before_it_on_the_platter() {
    let node = five();
    assert_eq!((node.journal.len(), node.journal.unsynced()), (5, 3));
    assert_eq!(node.journal.barriers(), 1);
    assert!(!node.journal.is_empty());
}

#[test]
fn a_power_loss_keeps_what_is_on_the_platter_and_any_beginning_of_the_rest() {
    for (kept, left) in [(0, 2), (1, 3), (2, 4), (3, 5), (usize::MAX, 5)] {
        let node = five();
        node.journal.lose_power(kept);
        assert_eq!(sequences(&node, 1), (0..left).collect::<Vec<_>>());
        assert_eq!(node.journal.unsynced(), 0, "what survived is there");
    }
}

#[test]
fn a_crash_within_an_append_leaves_it_there_or_not() {
    for (point, there) in [
        ("journal.before", false),
        ("journal.handed-over", true),
        ("journal.on-the-platter", true),
    ] {
        let node = Node::new(Setup::default());
        node.points.arm_at(point);
        let journal = node.journal.clone();
        let append = async move { journal.append(vec![entry(1, 0)], Durability::Power).await };
        assert_eq!(node.run(append), Ended::Crashed);
        assert_eq!(!node.journal.is_empty(), there, "{point}");
        let unsynced = usize::from(point == "journal.handed-over");
        assert_eq!(node.journal.unsynced(), unsynced, "{point}");
    }
}

#[test]
fn a_refusal_comes_when_it_is_due_and_takes_nothing_in() {
    let node = Node::new(Setup::default());
    let error = JournalError::Full {
        detail: "no space".to_owned(),
    };
    node.journal.refuse(Some(Refusal {
        after: 1,
        times: Some(2),
        error: error.clone(),
    }));
    assert_eq!(node.journal.admits(), Ok(()));
    append(&node, &[entry(1, 0)], Durability::Process).unwrap();
    assert_eq!(node.journal.admits(), Err(error.clone()));
    for _ in 0..2 {
        let refused = append(&node, &[entry(1, 1)], Durability::Process);
        assert_eq!(refused, Err(error.clone()));
    }
    append(&node, &[entry(1, 1)], Durability::Process).unwrap();
    assert_eq!(sequences(&node, 1), [0, 1]);
}

#[test]
fn records_that_do_not_follow_are_noticed() {
    let node = Node::new(Setup::default());
    append(
        &node,
        &[entry(1, 0), entry(2, 0), entry(1, 1)],
        Durability::Process,
    )
    .unwrap();
    assert_eq!(node.journal.broken(), Vec::<String>::new());
    append(&node, &[entry(1, 3)], Durability::Process).unwrap();
    append(&node, &[entry(2, 0)], Durability::Process).unwrap();
    assert_eq!(node.journal.broken().len(), 2);
}

#[test]
fn the_buried_are_gone_and_remembered_once() {
    let node = Node::new(Setup::default());
    let (engine, _) = node.boot().answer();
    for id in [1, 2] {
        let engine = engine.clone();
        let walk = async move {
            let spec = crate::sim::pod_spec(&format!("web{id}"));
            engine.start(pod_id(id), spec).await.map(drop)?;
            engine.remove(pod_id(id)).await
        };
        assert_eq!(node.run(walk).answer(), Ok(()));
    }
    let contents = node.journal.contents();
    assert!(contents.pods.is_empty());
    let twice = contents.obituaries[0].clone();
    let journal = node.journal.clone();
    node.run(async move { journal.bury(twice).await })
        .answer()
        .unwrap();
    let buried = node.journal.contents().obituaries;
    let ids: Vec<_> = buried.iter().map(|grave| grave.pod.id).collect();
    assert_eq!(ids, [pod_id(2), pod_id(1)]);
}
