//! Scenario 25: every event after its record, with the status.

use futures_util::{FutureExt, StreamExt};

use podwalk_engine::event::{Event, Subscription};
use podwalk_engine::ports::Durability;
use podwalk_engine::step::{NetworkMode, State};
use podwalk_testkit::sim::{Crash, Ended};

use super::*;

/// What has come so far.
fn heard(subscription: &mut Subscription) -> Vec<Event> {
    let next = || subscription.live.next().now_or_never().flatten();
    std::iter::from_fn(next).collect()
}

#[test]
fn scenario_25_events_tell_the_walk_in_order_each_with_the_pod() {
    let (node, engine) = running(Setup::default());
    let mut subscription = engine.subscribe(None);
    start_web(&node, &engine);
    stop(&node, &engine, pod_id(1)).unwrap();
    remove(&node, &engine, pod_id(1)).unwrap();
    let events = heard(&mut subscription);
    let words: Vec<_> = events.iter().map(|event| event.what).collect();
    let expected = [
        "asked",
        "created",
        "netns-mounted",
        "network-ready",
        "cni-configured",
        "started",
        "stopping",
        "undone",
        "undone",
        "undone",
        "undone",
        "undone",
        "removing",
        "undone",
        "removed",
    ];
    assert_eq!(words, expected);
    let numbers: Vec<_> = events.iter().map(|event| event.cursor.number).collect();
    assert_eq!(numbers, (1..=expected.len() as u64).collect::<Vec<_>>());
    let started = &events[5];
    assert_eq!(started.pod.state(), State::Started);
    assert!(started.pod.is_ready());
    assert!(!events[6].pod.is_ready());
}

/// Whoever is told of an event late still sees the pod as it was, with its owner as it is.
#[test]
fn a_pod_after_an_event_is_as_it_was_then() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let mut subscription = engine.subscribe(None);
    let guest = PodSpec {
        network: NetworkMode::Pod(pod_id(1)),
        ..pod_spec("guest")
    };
    let asked = ask_start(&node, &engine, pod_id(2), guest);
    node.wait_for(&asked).answer().unwrap();
    let events = heard(&mut subscription);
    let ready_after = |event| engine.view_after(event).ready;
    let started = events.iter().position(|event| event.what == "started");
    let (before, after) = events.split_at(started.expect("it is started"));
    assert!(!before.iter().any(ready_after) && after.iter().all(ready_after));
    assert_eq!(engine.view_after(&after[0]).pod.id, pod_id(2));
    stop(&node, &engine, pod_id(1)).unwrap();
    assert!(!after.iter().any(ready_after), "its owner is down");
}

/// Nobody hears of what a crash could still take back.
#[test]
fn scenario_25_what_was_heard_is_there_after_a_crash_at_every_moment() {
    let (node, engine) = running(Setup::default());
    node.arm(None);
    start_web(&node, &engine);
    let mut told = 0;
    for moment in 1..=node.points.passed() {
        let (node, engine) = running(Setup::default());
        let mut subscription = engine.subscribe(None);
        node.arm(Some(moment));
        let asked = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
        assert_eq!(node.wait_for(&asked), Ended::Crashed);
        for event in heard(&mut subscription) {
            let kept = node.journal.pod(pod_id(1), Durability::Process).unwrap();
            assert!(
                kept.next_sequence >= event.pod.next_sequence,
                "{} is told before it is written, at {moment}",
                event.what
            );
            told += 1;
        }
    }
    assert!(told > 100, "only {told} events were heard");
}

#[test]
fn a_listener_goes_on_from_its_cursor_and_learns_of_a_restart() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let all = engine.subscribe(Some("1-0".parse().unwrap()));
    assert_eq!((all.backlog.len(), all.gap), (6, false));
    let last = all.backlog[5].cursor;
    assert!(engine.subscribe(Some(last)).backlog.is_empty());
    node.crash(Crash::Kill { strays: false });
    let (engine, _) = node.boot().answer();
    assert!(
        engine.subscribe(Some(last)).gap,
        "it must look at all pods anew"
    );
}
