//! An oracle that sees nothing proves nothing: each kind of wrong is planted.

use super::*;
use crate::sim::host::Change;
use crate::sim::{Setup, pod_id, pod_spec};

fn started() -> (Node, Engine) {
    let node = Node::new(Setup::default());
    let (engine, _) = node.boot().answer();
    let starting = engine.clone();
    let start = async move { starting.start(pod_id(1), pod_spec("web")).await };
    node.run(start).answer().unwrap();
    (node, engine)
}

fn change(node: &Node, pod: u32, change: Change) {
    let effect = node.host.begin(pod_id(pod), &[change]);
    node.host.go_on(effect);
    node.host.end(effect);
}

fn everything() -> Vec<Thing> {
    of_a_running_pod(&NetworkMode::Cni, 1)
}

#[test]
fn a_pod_that_runs_as_recorded_is_no_complaint() {
    let (node, engine) = started();
    assert_eq!(complaints(&node, &engine), Vec::<String>::new());
    assert_eq!(node.host.of(pod_id(1)), everything());
}

#[test]
fn every_thing_without_a_pod_is_seen() {
    for thing in everything() {
        let (node, engine) = started();
        change(&node, 2, Change::Make(Thing::Mount));
        change(&node, 2, Change::Make(thing));
        let seen = leaks(&node, &engine);
        let named = format!("{thing:?} of {}", pod_id(2));
        assert!(
            seen.iter().any(|leak| leak.starts_with(&named)),
            "{thing:?}: {seen:?}"
        );
    }
}

#[test]
fn every_thing_that_a_stopped_pod_has_kept_is_seen() {
    for thing in everything()
        .into_iter()
        .filter(|thing| *thing != Thing::File)
    {
        let (node, engine) = started();
        let stopping = engine.clone();
        node.run(async move { stopping.stop(pod_id(1)).await })
            .answer()
            .unwrap();
        assert_eq!(complaints(&node, &engine), Vec::<String>::new());
        if matches!(thing, Thing::Loopback | Thing::Interface(_)) {
            change(&node, 1, Change::Make(Thing::Mount));
        }
        change(&node, 1, Change::Make(thing));
        assert_ne!(leaks(&node, &engine), Vec::<String>::new(), "{thing:?}");
    }
}

#[test]
fn every_thing_that_a_pod_believes_in_and_has_not_is_seen() {
    for thing in everything() {
        let (node, engine) = started();
        change(&node, 1, Change::Take(thing));
        assert_ne!(
            complaints(&node, &engine),
            Vec::<String>::new(),
            "{thing:?}"
        );
    }
}

#[test]
fn another_namespace_or_process_than_the_recorded_one_is_seen() {
    for (thing, named) in [(Thing::Mount, "namespace"), (Thing::Sandbox, "process")] {
        let (node, engine) = started();
        change(&node, 1, Change::Take(thing));
        for made in [thing, Thing::Loopback, Thing::Interface(0)] {
            if !node.host.has(pod_id(1), made) {
                change(&node, 1, Change::Make(made));
            }
        }
        let seen = complaints(&node, &engine);
        assert!(seen.iter().any(|told| told.contains(named)), "{seen:?}");
    }
}

#[test]
fn a_pod_that_is_neither_as_asked_nor_owes_is_seen() {
    let (node, engine) = started();
    let pod = engine.get(pod_id(1)).unwrap().pod;
    let mut lost = (*pod).clone();
    lost.goal = Goal::Stop;
    assert!(stalls(&lost).is_some());
    lost.goal = Goal::Remove;
    assert!(stalls(&lost).is_some());
    assert!(stalls(&pod).is_none());
    assert_eq!(complaints(&node, &engine), Vec::<String>::new());
}
