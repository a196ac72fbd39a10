//! SIGTERM: nothing new is begun, what is under way ends, pods run on.

use podwalk_engine::step::Step;
use podwalk_testkit::sim::rungs::DEADLINE;
use podwalk_testkit::sim::{Crash, Ended, Fault, Mishap, Site};

use super::*;

fn shut_down(node: &Node, engine: &Engine) -> Asked<()> {
    let engine = engine.clone();
    node.ask(async move { engine.shutdown().await })
}

#[test]
fn a_shutdown_at_every_moment_of_a_start_ends_and_the_next_daemon_goes_on() {
    let (node, engine) = running(Setup::default());
    node.arm(None);
    start_web(&node, &engine);
    for moment in 1..=node.points.passed() {
        let (node, engine) = running(Setup::default());
        node.arm(None);
        let now = node.points.at(moment);
        let asked = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
        let closing = engine.clone();
        let closed = node.ask(async move {
            now.await.expect("the moment comes");
            closing.shutdown().await;
        });
        assert_eq!(node.wait_for(&closed), Ended::Answered(()), "at {moment}");
        let answer = node.wait_for(&asked).answer();
        let told = matches!(answer, Ok(_) | Err(EngineError::Closing));
        assert!(told, "at {moment}: {answer:?}");
        // Nothing goes on after it.
        let passed = node.points.passed();
        let _ = node.until(|| false);
        assert_eq!(node.points.passed(), passed, "at {moment}");

        node.crash(Crash::Kill { strays: true });
        let (engine, report) = node.boot().answer();
        node.host.let_strays_finish();
        assert_eq!(report.started, [pod_id(1)], "at {moment}");
        nothing_wrong(&node, &engine);
    }
}

#[test]
fn a_shutdown_at_every_moment_of_a_removal_answers_no_remove_too_early() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    node.arm(None);
    remove(&node, &engine, pod_id(1)).unwrap();
    for moment in 1..=node.points.passed() {
        let (node, engine) = running(Setup::default());
        start_web(&node, &engine);
        node.arm(None);
        let now = node.points.at(moment);
        let asked = engine.clone();
        let removed = node.ask(async move { asked.remove(pod_id(1)).await });
        let closing = engine.clone();
        let closed = node.ask(async move {
            now.await.expect("the moment comes");
            closing.shutdown().await;
        });
        assert_eq!(node.wait_for(&closed), Ended::Answered(()), "at {moment}");
        match node.wait_for(&removed).answer() {
            Ok(()) => nothing_left(&node, &engine),
            Err(error) => assert_eq!(error, EngineError::Closing, "at {moment}"),
        }
        node.crash(Crash::Kill { strays: true });
        let (engine, _) = node.boot().answer();
        nothing_left(&node, &engine);
    }
}

#[test]
fn a_daemon_that_ends_takes_no_requests_and_leaves_its_pods_running() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let closed = shut_down(&node, &engine);
    assert_eq!(node.wait_for(&closed), Ended::Answered(()));
    let closing = Err(EngineError::Closing);
    let error = start(&node, &engine, pod_id(2), pod_spec("other")).unwrap_err();
    assert_eq!(error, EngineError::Closing);
    assert_eq!(stop(&node, &engine, pod_id(1)), closing);
    assert_eq!(remove(&node, &engine, pod_id(1)), closing);
    assert!(view(&engine, pod_id(1)).ready);
    nothing_wrong(&node, &engine);
}

/// Bounded by the deadline of one effect, however many pods hang or wait.
#[test]
fn a_shutdown_waits_for_the_effects_under_way_and_for_no_other() {
    let node = Node::new(Setup {
        recovery_at_once: 2,
        ..Setup::default()
    });
    let (engine, _) = node.boot().answer();
    for number in 1..=10 {
        let name = format!("web{number}");
        start(&node, &engine, pod_id(number), pod_spec(&name)).unwrap();
    }
    let hang = Fault::for_ever(Step::Start, Site::Undo, Mishap::Hang { after: 0 });
    node.faults.add(hang);
    for number in 1..=10 {
        let engine = engine.clone();
        let _ = node.ask(async move { engine.stop(pod_id(number)).await });
    }
    node.settle();
    node.crash(Crash::Kill { strays: false });

    // Ten interrupted walks, two at a time, and all of them hang.
    let (engine, plan) = node.open().answer().unwrap();
    let recovering = engine.clone();
    let _ = node.ask(async move { recovering.recover(&plan).await });
    node.settle();
    let begun = engine.now();
    let closed = shut_down(&node, &engine);
    assert_eq!(node.wait_for(&closed), Ended::Answered(()));
    assert_eq!(engine.now().since(&begun), DEADLINE);
}

#[test]
fn who_waits_with_a_debt_is_let_go() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let fail = Mishap::Fail { after: 0 };
    node.faults
        .add(Fault::for_ever(Step::ConfigureCni, Site::Undo, fail));
    stop(&node, &engine, pod_id(1)).unwrap_err();
    let begun = engine.now();
    let closed = shut_down(&node, &engine);
    assert_eq!(node.wait_for(&closed), Ended::Answered(()));
    assert_eq!(engine.now().since(&begun).as_secs(), 0);
}
