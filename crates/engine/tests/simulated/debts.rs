//! What could not be undone: owed, shown, tried again, outlived, forgiven.

use std::time::Duration;

use podwalk_engine::engine::EngineErrorKind;
use podwalk_engine::pod::Status;
use podwalk_engine::record::Goal;
use podwalk_engine::step::Step;
use podwalk_testkit::sim::{Crash, Ended, Fault, Mishap, Site, Thing};

use super::*;

mod by_hand;

const MINUTE: Duration = Duration::from_secs(60);

fn broken(step: Step, site: Site) -> Fault {
    Fault::for_ever(step, site, Mishap::Fail { after: 0 })
}

fn owed(engine: &Engine, id: PodId) -> Vec<(Step, Option<u32>)> {
    let debts = view(engine, id).pod.debts.clone();
    debts
        .iter()
        .map(|debt| (debt.step, debt.attachment))
        .collect()
}

#[track_caller]
fn owes<T: std::fmt::Debug>(answer: Result<T, EngineError>) {
    assert!(
        matches!(&answer, Err(EngineError::Owes { .. })),
        "{answer:?}"
    );
}

fn forgive(
    node: &Node,
    engine: &Engine,
    step: Step,
    attachment: Option<u32>,
) -> Result<(), EngineError> {
    let engine = engine.clone();
    node.run(async move {
        let reason = "the plugin was uninstalled".to_owned();
        engine.forgive(pod_id(1), step, attachment, reason).await
    })
    .answer()
}

fn attempts(engine: &Engine) -> u32 {
    view(engine, pod_id(1)).pod.debts[0].attempts
}

/// Scenario 5, from the first failure to the operator's word.
#[test]
fn scenario_05_a_del_that_fails_for_ever_is_owed_outlived_and_forgiven() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    node.faults.add(
        broken(Step::ConfigureCni, Site::Undo)
            .of(pod_id(1))
            .of_attachment(0),
    );
    owes(stop(&node, &engine, pod_id(1)));
    assert_eq!(owed(&engine, pod_id(1)), [(Step::ConfigureCni, Some(0))]);
    // The sandbox is gone; the namespace, which lies under the debt, is kept.
    assert!(!node.host.has(pod_id(1), Thing::Sandbox));
    assert!(node.host.has(pod_id(1), Thing::Mount));

    // Other pods are not touched by it.
    start(&node, &engine, pod_id(2), pod_spec("other")).unwrap();
    remove(&node, &engine, pod_id(2)).unwrap();

    // Every request tries anew, and within the grace reports it.
    let before = attempts(&engine);
    owes(stop(&node, &engine, pod_id(1)));
    assert_eq!(attempts(&engine), before + 1);

    node.pass(2 * MINUTE);
    assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()), "the grace is over");
    assert_eq!(owed(&engine, pod_id(1)).len(), 1, "the debt is not");
    assert!(is_listed(&engine, pod_id(1)), "it was stopped, not removed");
    assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
    assert!(!is_listed(&engine, pod_id(1)), "only in the ledger");
    assert_eq!(owed(&engine, pod_id(1)).len(), 1);

    // It survives a restart, and stays unseen.
    node.crash(Crash::Kill { strays: false });
    let (engine, report) = node.boot().answer();
    assert_eq!(report.owing, [pod_id(1)]);
    assert!(!is_listed(&engine, pod_id(1)));
    assert_eq!(
        remove(&node, &engine, pod_id(1)),
        Ok(()),
        "as often as asked"
    );

    assert_eq!(forgive(&node, &engine, Step::ConfigureCni, Some(0)), Ok(()));
    let _ = node.until(|| engine.get(pod_id(1)).is_none());
    // What was written off is nobody's any more, as the operator said.
    assert_eq!(node.host.of(pod_id(1)), [Thing::Address(0)]);
    assert!(engine.list().is_empty());
}

#[test]
fn what_is_owed_is_paid_by_itself_once_it_can_be() {
    for step in [
        Step::Create,
        Step::MountNetns,
        Step::ConfigureCni,
        Step::Start,
    ] {
        for site in [Site::Undo, Site::Quiet] {
            let (node, engine) = running(Setup::default());
            start_web(&node, &engine);
            node.faults.add(broken(step, site));
            owes(remove(&node, &engine, pod_id(1)));
            node.faults.mend();
            let _ = node.until(|| engine.get(pod_id(1)).is_none());
            nothing_left(&node, &engine);
        }
    }
}

#[test]
fn retries_come_later_and_later_and_a_minute_apart_at_last() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    node.faults.add(broken(Step::MountNetns, Site::Undo));
    owes(remove(&node, &engine, pod_id(1)));
    let mut waits = Vec::new();
    for _ in 0..9 {
        let debt = view(&engine, pod_id(1)).pod.debts[0].clone();
        let more = |engine: &Engine| view(engine, pod_id(1)).pod.debts[0].attempts > debt.attempts;
        let _ = node.until(|| more(&engine));
        let last = view(&engine, pod_id(1)).pod.debts[0].last;
        waits.push(last.since(&debt.last).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

/// Scenario 19: the others are released, the debt names the one.
#[test]
fn scenario_19_one_of_three_attachments_that_fails_holds_no_other() {
    let (node, engine) = running(Setup {
        attachments: 3,
        ..Setup::default()
    });
    start_web(&node, &engine);
    node.faults
        .add(broken(Step::ConfigureCni, Site::Undo).of_attachment(1));
    let error = stop(&node, &engine, pod_id(1)).unwrap_err();
    assert!(error.to_string().contains("of network net1"), "{error}");
    assert_eq!(owed(&engine, pod_id(1)), [(Step::ConfigureCni, Some(1))]);
    for (number, left) in [(0, false), (1, true), (2, false)] {
        assert_eq!(node.host.has(pod_id(1), Thing::Address(number)), left);
        assert_eq!(node.host.has(pod_id(1), Thing::Interface(number)), left);
    }
    node.faults.mend();
    assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()));
    assert_eq!(owed(&engine, pod_id(1)), []);
    nothing_wrong(&node, &engine);
}

/// Scenario 52: however long, and whatever the operator says.
#[test]
fn scenario_52_a_sandbox_that_may_be_alive_is_never_outlived_or_forgiven() {
    for site in [Site::Undo, Site::Quiet] {
        let (node, engine) = running(Setup::default());
        start_web(&node, &engine);
        node.faults.add(broken(Step::Start, site));
        for _ in 0..30 {
            owes(stop(&node, &engine, pod_id(1)));
            owes(remove(&node, &engine, pod_id(1)));
            node.pass(2 * MINUTE);
        }
        let error = forgive(&node, &engine, Step::Start, None).unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Invalid);
        assert!(node.host.has(pod_id(1), Thing::Sandbox));
        assert!(
            node.host.has(pod_id(1), Thing::Address(0)),
            "nothing below it is undone"
        );
        assert!(is_listed(&engine, pod_id(1)));
    }
}

#[test]
fn only_what_is_owed_can_be_forgiven() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let error = forgive(&node, &engine, Step::ConfigureCni, Some(0)).unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::NotFound);
    node.faults.add(broken(Step::ConfigureCni, Site::Undo));
    owes(stop(&node, &engine, pod_id(1)));
    let other = forgive(&node, &engine, Step::ConfigureCni, Some(7)).unwrap_err();
    assert_eq!(other.kind(), EngineErrorKind::NotFound);
}

/// Scenario 3: a start that fails and then owes says both, and is seen.
#[test]
fn scenario_03_a_failed_start_that_owes_is_shown_and_pays_later() {
    let (node, engine) = running(Setup::default());
    let fail = Mishap::Fail { after: 1 };
    node.faults
        .add(Fault::for_ever(Step::ConfigureCni, Site::Apply, fail));
    node.faults.add(broken(Step::ConfigureCni, Site::Undo));
    let error = start(&node, &engine, pod_id(1), pod_spec("web")).unwrap_err();
    let EngineError::StartFailed { afterwards, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(afterwards.len(), 1);
    assert!(
        error
            .to_string()
            .contains("it failed; undoing ConfigureCni"),
        "{error}"
    );
    assert!(is_listed(&engine, pod_id(1)), "it owes");
    assert_eq!(view(&engine, pod_id(1)).pod.goal, Goal::Remove);
    node.faults.mend();
    let _ = node.until(|| engine.get(pod_id(1)).is_none());
    nothing_left(&node, &engine);
}

/// A look that fails on the way up ends the start, with the debt named.
#[test]
fn an_interrupted_start_whose_rest_cannot_be_killed_is_undone_and_owes() {
    let (node, engine) = running(Setup::default());
    node.points.arm_at("ConfigureCni.Apply.0.1");
    let asked = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
    assert_eq!(node.wait_for(&asked), Ended::Crashed);
    node.crash(Crash::Kill { strays: true });
    node.faults.add(broken(Step::ConfigureCni, Site::Quiet));
    let (engine, report) = node.boot().answer();
    assert_eq!(report.owing, [pod_id(1)]);
    assert_eq!(owed(&engine, pod_id(1)), [(Step::ConfigureCni, None)]);
    assert_eq!(view(&engine, pod_id(1)).pod.goal, Goal::Remove);
    assert!(node.host.strays() > 0, "it could not be killed");
    node.faults.mend();
    let _ = node.until(|| engine.get(pod_id(1)).is_none());
    node.host.let_strays_finish();
    nothing_left(&node, &engine);
}

/// A process that cannot be killed is no reason to end a sandbox that runs.
#[test]
fn a_started_pod_that_cannot_be_looked_at_is_left_alone() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    node.crash(Crash::Kill { strays: false });
    node.faults.add(broken(Step::Start, Site::Quiet));
    let (engine, report) = node.boot().answer();
    assert_eq!(report.started, [pod_id(1)]);
    assert!(view(&engine, pod_id(1)).ready);
    owes(stop(&node, &engine, pod_id(1)));
    node.faults.mend();
    assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()));
    nothing_wrong(&node, &engine);
}

/// A debt that was paid after an early answer: what lies under it fails then.
#[test]
fn a_remove_that_was_answered_is_never_seen_again_whatever_fails_next() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    node.faults.add(broken(Step::ConfigureCni, Site::Undo));
    owes(remove(&node, &engine, pod_id(1)));
    node.pass(2 * MINUTE);
    assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
    node.faults.mend();
    node.faults.add(broken(Step::MountNetns, Site::Undo));
    let _ = node.until(|| owed(&engine, pod_id(1)) == [(Step::MountNetns, None)]);
    assert_eq!(
        view(&engine, pod_id(1)).pod.status(Step::ConfigureCni),
        Status::Never
    );
    assert!(!is_listed(&engine, pod_id(1)));
    assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
}
