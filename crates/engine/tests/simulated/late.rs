//! Networks that are attached when the sandbox runs.

use std::time::Duration;

use podwalk_engine::engine::EngineErrorKind;
use podwalk_engine::pod::Status;
use podwalk_engine::record::Goal;
use podwalk_engine::step::{NetworkMode, State, Step};
use podwalk_testkit::sim::{Crash, Fault, Mishap, Site, Thing};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
/// The moment before the second ADD, of the network that is late.
const BEFORE_ADD: &str = "AttachLate.Apply.1.before";

fn late() -> Setup {
    Setup {
        attachments: 2,
        late: 1,
        ..Setup::default()
    }
}

fn broken(step: Step, site: Site) -> Fault {
    Fault::for_ever(step, site, Mishap::Fail { after: 0 })
}

fn status(engine: &Engine, step: Step) -> Status {
    view(engine, pod_id(1)).pod.status(step)
}

#[track_caller]
fn owes(answer: Result<(), EngineError>) {
    assert!(
        matches!(answer, Err(EngineError::Owes { .. })),
        "{answer:?}"
    );
}

fn forgive_late(node: &Node, engine: &Engine) -> Result<(), EngineError> {
    let engine = engine.clone();
    let reason = "the device is gone".to_owned();
    node.run(async move {
        engine
            .forgive(pod_id(1), Step::AttachLate, Some(1), reason)
            .await
    })
    .answer()
}

#[test]
fn a_pod_is_started_when_its_late_networks_are_attached() {
    let (node, engine) = running(late());
    start_web(&node, &engine);
    assert_eq!(node.journal.unsynced(), 0, "the answer is on the platter");
    let pod = view(&engine, pod_id(1)).pod;
    assert_eq!(pod.state(), State::Started);
    let results = pod.attachments.iter().filter(|one| one.result.is_some());
    assert_eq!(results.count(), 2);
    let mut things = node.host.of(pod_id(1));
    let mut expected = oracle::of_a_running_pod(&NetworkMode::Cni, 2);
    things.sort();
    expected.sort();
    assert_eq!(things, expected);
    assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()));
    assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
    nothing_left(&node, &engine);
}

/// A machine on which pod 1 has a sandbox, and is about to get its network.
fn half_way() -> (Node, Engine, Asked<Result<Started, EngineError>>) {
    let (node, engine) = running(late());
    let reached = node.points.at_next(BEFORE_ADD);
    node.faults.add(Fault::once(
        Step::AttachLate,
        Site::Apply,
        Mishap::Hang { after: 1 },
    ));
    let asked = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
    let reached = node.ask(reached);
    assert!(node.wait_for(&reached).answer().is_ok());
    (node, engine, asked)
}

/// Until then nobody hears that it is ready, and nobody shares its network; a
/// repeated start joins.
#[test]
fn a_pod_on_its_way_to_its_late_networks_is_not_ready() {
    let (node, engine, asked) = half_way();
    let found = view(&engine, pod_id(1));
    assert!(found.pod.has_sandbox() && !found.pod.is_started() && !found.ready);
    assert_eq!(found.pod.state(), State::CniConfigured);
    assert!(!found.pod.is_listed());
    let mut guest = pod_spec("guest");
    guest.network = NetworkMode::Pod(pod_id(1));
    let refused = start(&node, &engine, pod_id(2), guest).unwrap_err();
    assert!(
        matches!(refused, EngineError::OwnerNotStarted { .. }),
        "{refused}"
    );
    let again = ask_start(&node, &engine, pod_id(3), pod_spec("web"));
    node.settle();
    assert!(!asked.is_answered() && !again.is_answered());
    // Its ADD never answers, and both hear of that.
    for one in [asked, again] {
        let error = node.wait_for(&one).answer().unwrap_err();
        let EngineError::StartFailed { id, step, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((*id, *step), (pod_id(1), Step::AttachLate));
    }
    nothing_left(&node, &engine);
}

/// Not a pod that was ready and is no more: a start that has failed.
#[test]
fn a_sandbox_that_dies_before_its_late_networks_is_a_failed_start() {
    let (node, engine, asked) = half_way();
    let process = node.host.process(pod_id(1)).unwrap();
    node.host.let_sandbox_die(pod_id(1));
    let telling = engine.clone();
    let told = node.run(async move { telling.note_exit(pod_id(1), process, Some(1)).await });
    told.answer();
    assert!(!is_listed(&engine, pod_id(1)), "it was never started");
    let error = node.wait_for(&asked).answer().unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Failed);
    assert!(
        error.to_string().contains("exited before its late"),
        "{error}"
    );
    nothing_left(&node, &engine);
}

/// Nobody has told of the exit: it is found when the start is resumed.
#[test]
fn a_sandbox_that_died_with_the_daemon_is_a_failed_start_too() {
    let (node, engine, _) = half_way();
    drop(engine);
    node.crash(Crash::Kill { strays: false });
    node.host.let_sandbox_die(pod_id(1));
    let (engine, report) = node.boot().answer();
    assert_eq!(report.gone, [pod_id(1)]);
    nothing_left(&node, &engine);
}

/// A machine that was started anew while pod 1 was half way, and whose sandboxes cannot be looked
/// at.
fn half_way_and_unknown() -> (Node, Engine) {
    let (node, engine, _) = half_way();
    drop(engine);
    node.crash(Crash::Kill { strays: false });
    node.faults.add(broken(Step::Start, Site::Quiet));
    let (engine, report) = node.boot().answer();
    assert_eq!(report.at_rest, [pod_id(1)], "others are not held up");
    (node, engine)
}

/// It is not known whether there is a sandbox, so it gets no network: the start waits, and goes on
/// when it can be told that it lives.
#[test]
fn a_sandbox_that_cannot_be_told_gets_its_late_networks_when_it_can() {
    let (node, engine) = half_way_and_unknown();
    let again = ask_start(&node, &engine, pod_id(3), pod_spec("web"));
    node.pass(MINUTE);
    assert!(!again.is_answered());
    assert!(!view(&engine, pod_id(1)).ready);
    assert_eq!(view(&engine, pod_id(1)).pod.debts, []);
    let before = node.host.of(pod_id(1));
    node.faults.mend();
    let started = node.wait_for(&again).answer().unwrap();
    assert_eq!((started.id, started.joined), (pod_id(1), true));
    assert!(view(&engine, pod_id(1)).ready);
    let gained = node.host.of(pod_id(1)).len() - before.len();
    assert_eq!(gained, 1, "the second network, only now");
    assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()));
    assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
    nothing_left(&node, &engine);
}

#[test]
fn a_sandbox_that_could_not_be_told_and_was_dead_is_a_failed_start() {
    let (node, engine) = half_way_and_unknown();
    node.host.let_sandbox_die(pod_id(1));
    node.pass(MINUTE);
    node.faults.mend();
    node.pass(MINUTE);
    assert!(!is_listed(&engine, pod_id(1)), "it was never started");
    nothing_left(&node, &engine);
}

/// Nobody waits for ever: it becomes a debt, which is shown, and is paid when it can be.
#[test]
fn a_start_whose_sandbox_cannot_be_told_for_long_has_failed_and_owes() {
    let (node, engine) = half_way_and_unknown();
    let again = ask_start(&node, &engine, pod_id(3), pod_spec("web"));
    node.pass(5 * MINUTE);
    let error = node.wait_for(&again).answer().unwrap_err();
    let EngineError::StartFailed { id, step, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((*id, *step), (pod_id(1), Step::Start));
    assert!(error.to_string().contains("could not be told"), "{error}");
    let debts = view(&engine, pod_id(1)).pod.debts.clone();
    assert_eq!(debts.first().map(|debt| debt.step), Some(Step::Start));
    node.faults.mend();
    node.pass(2 * MINUTE);
    nothing_left(&node, &engine);
}

#[test]
fn a_pod_whose_sandbox_cannot_be_told_half_way_can_be_stopped() {
    let (node, engine) = half_way_and_unknown();
    let asked = ask_start(&node, &engine, pod_id(3), pod_spec("web"));
    node.settle();
    node.faults.mend();
    assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
    let _ = node.wait_for(&asked).answer();
    nothing_left(&node, &engine);
}

/// What stood in the way of DEL may have been the sandbox: it is tried again
/// without it, at once.
#[test]
fn a_network_that_cannot_be_let_go_beside_the_sandbox_is_let_go_without_it() {
    let (node, engine) = running(late());
    start_web(&node, &engine);
    node.faults.add(Fault::once(
        Step::AttachLate,
        Site::Undo,
        Mishap::Fail { after: 0 },
    ));
    assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()));
    assert!(view(&engine, pod_id(1)).pod.is_down());
    assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
    nothing_left(&node, &engine);
}

#[test]
fn a_network_that_cannot_be_let_go_keeps_its_namespace_and_not_its_sandbox() {
    let (node, engine) = running(late());
    start_web(&node, &engine);
    node.faults.add(broken(Step::AttachLate, Site::Undo));
    owes(stop(&node, &engine, pod_id(1)));
    assert!(!node.host.has(pod_id(1), Thing::Sandbox));
    assert!(node.host.has(pod_id(1), Thing::Mount));
    assert_eq!(status(&engine, Step::ConfigureCni), Status::Done);
    // Outlived like every debt of the network; forgiven, what lies under it goes.
    node.pass(3 * MINUTE);
    assert_eq!(stop(&node, &engine, pod_id(1)), Ok(()));
    assert!(!view(&engine, pod_id(1)).pod.debts.is_empty());
    assert_eq!(forgive_late(&node, &engine), Ok(()));
    node.faults.mend();
    node.pass(3 * MINUTE);
    assert!(view(&engine, pod_id(1)).pod.is_down());
    assert!(!node.host.has(pod_id(1), Thing::Mount));
}

/// Rule 7: neither answered for nor forgiven while the sandbox may be alive.
#[test]
fn a_network_that_is_owed_beside_a_sandbox_is_not_forgiven() {
    let (node, engine) = running(late());
    start_web(&node, &engine);
    node.faults.add(broken(Step::AttachLate, Site::Undo));
    node.faults.add(broken(Step::Start, Site::Undo));
    owes(remove(&node, &engine, pod_id(1)));
    node.pass(10 * MINUTE);
    owes(remove(&node, &engine, pod_id(1)));
    let refused = forgive_late(&node, &engine);
    assert!(
        matches!(
            refused,
            Err(EngineError::NotForgivable {
                step: Step::AttachLate,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(view(&engine, pod_id(1)).pod.outlived, None);
    node.faults.mend();
    assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
    nothing_left(&node, &engine);
}

/// The address of a late network is on disk, like every other.
#[test]
fn a_reboot_leaves_every_del_owed_the_late_ones_first() {
    let (node, engine) = running(late());
    start_web(&node, &engine);
    drop(engine);
    node.reboot();
    assert!(node.host.has(pod_id(1), Thing::Address(1)));
    let (engine, plan) = node.open().answer().unwrap();
    let pod = view(&engine, pod_id(1)).pod;
    assert_eq!((pod.goal, pod.count_owed()), (Goal::Stop, 2));
    let undone: Vec<_> = plan.pods[0].steps.iter().map(ToString::to_string).collect();
    assert_eq!(undone[..2], ["undo AttachLate", "undo ConfigureCni"]);
    let recovering = engine.clone();
    let report = node.run(async move { recovering.recover(&plan).await });
    assert_eq!(report.answer().at_rest, [pod_id(1)]);
    assert!(!node.host.has(pod_id(1), Thing::Address(1)));
    assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
    nothing_left(&node, &engine);
}

#[test]
fn a_typed_pod_is_started_with_its_late_networks() {
    let (node, engine) = running(late());
    let walking = engine.clone();
    let configured = node.run(async move {
        let created = walking.create(pod_id(1), pod_spec("web")).await?;
        let ready = created.mount_netns().await?.ready_network().await?;
        ready.configure_cni().await
    });
    let configured = configured.answer().unwrap();
    assert!(!node.host.has(pod_id(1), Thing::Interface(1)));
    let started = node.run(configured.start()).answer().unwrap();
    assert!(view(&engine, pod_id(1)).ready);
    assert!(node.host.has(pod_id(1), Thing::Interface(1)));
    node.run(started.remove()).answer().unwrap();
    nothing_left(&node, &engine);
}
