//! What the next daemon does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use podwalk_engine::decide::Policy;
use podwalk_engine::pod::Status;
use podwalk_engine::record::Goal;
use podwalk_engine::recovery::Verdict;
use podwalk_engine::step::{NetworkMode, Step};
use podwalk_testkit::sim::{Crash, Ended, Fault, Mishap, Site, Thing};

use super::*;

const KILL: Crash = Crash::Kill { strays: true };

/// Kills the daemon when a start passes this point.
fn killed_at(setup: Setup, point: &str) -> Node {
    dead_at(setup, point, KILL)
}

fn dead_at(setup: Setup, point: &str, crash: Crash) -> Node {
    let (node, engine) = running(setup);
    node.points.arm_at(point);
    let asked = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
    assert_eq!(node.wait_for(&asked), Ended::Crashed, "{point}");
    node.crash(crash);
    node
}

fn all_ready(engine: &Engine) -> bool {
    let views = engine.list();
    views.len() == 50 && views.iter().all(|view| view.ready && view.pod.is_listed())
}

/// Scenario 54: until its probe has ended a pod is as it was recorded.
#[test]
fn scenario_54_no_healthy_pod_is_ever_seen_otherwise_after_a_restart() {
    let (node, engine) = running(Setup::default());
    for number in 1..=50 {
        start(
            &node,
            &engine,
            pod_id(number),
            pod_spec(&format!("web{number}")),
        )
        .unwrap();
    }
    node.crash(KILL);
    let (engine, plan) = node.open().answer().unwrap();
    assert!(all_ready(&engine), "before anything was looked at");
    assert!(
        plan.pods
            .iter()
            .all(|planned| planned.verdict == Verdict::Adopt)
    );
    node.arm(None);
    let looked = Arc::new(AtomicU32::new(0));
    for moment in 1..=100 {
        let now = node.points.at(moment);
        let (engine, looked) = (engine.clone(), looked.clone());
        let _ = node.ask(async move {
            now.await.expect("the moment comes");
            assert!(all_ready(&engine), "at {moment}");
            looked.fetch_add(1, Ordering::SeqCst);
        });
    }
    let recovering = engine.clone();
    let recovered = node.ask(async move { recovering.recover(&plan).await });
    let report = node.wait_for(&recovered).answer();
    assert_eq!(report.started.len(), 50);
    assert_eq!(looked.load(Ordering::SeqCst), 100);
    nothing_wrong(&node, &engine);
}

/// A pod on its way up is in no list, so that nobody kills or doubles it.
#[test]
fn an_interrupted_start_is_unseen_until_it_is_there() {
    let node = killed_at(Setup::default(), "ConfigureCni.Apply.0.1");
    let (engine, plan) = node.open().answer().unwrap();
    assert!(!is_listed(&engine, pod_id(1)));
    assert_eq!(plan.pods[0].verdict, Verdict::Resume);
    let recovering = engine.clone();
    let report = node
        .run(async move { recovering.recover(&plan).await })
        .answer();
    assert_eq!(report.started, [pod_id(1)]);
    assert!(is_listed(&engine, pod_id(1)));
}

/// Scenario 26: the exit is known, the network is kept until Stop.
#[test]
fn scenario_26_a_sandbox_that_died_while_nobody_looked_is_not_ready() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    node.crash(KILL);
    node.host.let_sandbox_die(pod_id(1));
    let (engine, report) = node.boot().answer();
    assert_eq!(report.at_rest, [pod_id(1)]);
    let view = view(&engine, pod_id(1));
    assert!(!view.ready && view.pod.is_listed() && view.pod.exited.is_some());
    assert!(node.host.has(pod_id(1), Thing::Address(0)));
    nothing_wrong(&node, &engine);
    stop(&node, &engine, pod_id(1)).unwrap();
    nothing_wrong(&node, &engine);
}

/// Scenario 16: after a crash right after the mount there is exactly one.
#[test]
fn scenario_16_a_mount_is_never_stacked() {
    for point in [
        "MountNetns.Apply.begun",
        "MountNetns.Apply.1",
        "MountNetns.Apply.end",
    ] {
        let node = killed_at(Setup::default(), point);
        let (engine, report) = node.boot().answer();
        assert_eq!(report.started, [pod_id(1)]);
        nothing_wrong(&node, &engine);
    }
}

/// Scenario 49: what outlives the daemon is killed before anything is undone.
#[test]
fn scenario_49_an_add_that_outlives_the_daemon_leaves_nothing_later() {
    for point in ["ConfigureCni.Apply.0.begun", "ConfigureCni.Apply.0.1"] {
        for resume in [true, false] {
            let policy = Policy {
                resume,
                ..Policy::default()
            };
            let node = killed_at(
                Setup {
                    policy,
                    ..Setup::default()
                },
                point,
            );
            assert_eq!(node.host.strays(), 1);
            let (engine, _) = node.boot().answer();
            assert_eq!(node.host.strays(), 0, "it was seen gone");
            node.host.let_strays_finish();
            nothing_wrong(&node, &engine);
            assert_eq!(engine.get(pod_id(1)).is_some(), resume);
        }
    }
}

#[test]
fn a_start_is_resumed_only_so_often() {
    let node = killed_at(Setup::default(), "ConfigureCni.Apply.0.1");
    let mut killed = 1;
    loop {
        node.points.arm_at("ConfigureCni.Apply.0.1");
        if !matches!(node.boot(), Ended::Crashed) {
            break;
        }
        node.crash(KILL);
        killed += 1;
        assert!(killed < 10, "it is resumed for ever");
    }
    assert_eq!(killed, Policy::default().attempts);
    assert_eq!(node.host.things(), []);
    assert!(node.journal.contents().pods.is_empty());
}

/// Scenario 45: the other forty-nine do not wait, and the daemon answers.
#[test]
fn scenario_45_one_of_fifty_that_hangs_in_recovery_holds_nobody_up() {
    let (node, engine) = running(Setup {
        recovery_at_once: 4,
        ..Setup::default()
    });
    for number in 1..=50 {
        start(
            &node,
            &engine,
            pod_id(number),
            pod_spec(&format!("web{number}")),
        )
        .unwrap();
    }
    // All of them are on their way down when the daemon dies.
    let hang = Fault::for_ever(Step::Start, Site::Undo, Mishap::Hang { after: 0 });
    node.faults.add(hang.clone());
    for number in 1..=50 {
        let engine = engine.clone();
        let _ = node.ask(async move { engine.stop(pod_id(number)).await });
    }
    node.settle();
    node.crash(KILL);
    node.faults.mend();
    node.faults.add(hang.of(pod_id(7)));

    let (engine, plan) = node.open().answer().unwrap();
    let recovering = engine.clone();
    let recovered = node.ask(async move { recovering.recover(&plan).await });
    node.settle(); // no time passes
    let down = engine.list().into_iter().filter(|view| view.pod.is_down());
    assert_eq!(down.count(), 49);
    assert!(!recovered.is_answered());
    start(&node, &engine, pod_id(60), pod_spec("new")).unwrap();
    let report = node.wait_for(&recovered).answer();
    assert_eq!(report.owing, [pod_id(7)]);
    assert_eq!(report.at_rest.len(), 49);
}

/// Scenario 7: the addresses are on disk, everything else is gone.
#[test]
fn scenario_07_after_a_reboot_the_addresses_are_released_and_pods_not_ready() {
    let (node, engine) = running(Setup {
        attachments: 2,
        ..Setup::default()
    });
    start_web(&node, &engine);
    node.reboot();
    assert_eq!(
        node.host.of(pod_id(1)),
        [Thing::Address(0), Thing::Address(1)]
    );
    let (engine, plan) = node.open().answer().unwrap();
    let seen = view(&engine, pod_id(1));
    assert!(
        !seen.ready && seen.pod.is_listed(),
        "folded before the API opens"
    );
    assert_eq!(seen.pod.namespace, None, "so that CNI_NETNS is empty");
    let recovering = engine.clone();
    let report = node
        .run(async move { recovering.recover(&plan).await })
        .answer();
    assert_eq!(report.at_rest, [pod_id(1)]);
    assert_eq!(node.host.things(), []);
    nothing_wrong(&node, &engine);
    assert_eq!(remove(&node, &engine, pod_id(1)), Ok(()));
    nothing_left(&node, &engine);
}

/// Scenario 24: what was not on the platter of the host is of no matter.
#[test]
fn scenario_24_a_power_cut_amid_add_owes_its_del() {
    for kept in [0, usize::MAX] {
        for disk_lost in [false, true] {
            let crash = Crash::Power { kept, disk_lost };
            let node = dead_at(Setup::default(), "ConfigureCni.Apply.0.1", crash);
            let (engine, plan) = node.open().answer().unwrap();
            let owed = view(&engine, pod_id(1)).pod.count_owed();
            assert_eq!(owed, 1, "it is shown before it is tried");
            let recovering = engine.clone();
            let recovered = node.run(async move { recovering.recover(&plan).await });
            let _ = recovered.answer();
            let pod = view(&engine, pod_id(1)).pod;
            assert_eq!(pod.count_owed(), 0);
            assert_eq!(pod.status(Step::ConfigureCni), Status::Never);
            assert!(pod.released.is_some(), "DEL was done");
            nothing_wrong(&node, &engine);
        }
    }
}

/// Scenario 56: the platter had the record of DEL, but not what DEL did.
#[test]
fn scenario_56_a_release_that_the_disk_forgot_is_done_again_for_the_dead_too() {
    for removed in [false, true] {
        let (node, engine) = running(Setup::default());
        start_web(&node, &engine);
        node.pass(Duration::from_secs(600));
        match removed {
            false => stop(&node, &engine, pod_id(1)).unwrap(),
            true => remove(&node, &engine, pod_id(1)).unwrap(),
        }
        node.pass(Duration::from_secs(60));
        node.crash(Crash::Power {
            kept: 0,
            disk_lost: true,
        });
        assert_eq!(node.host.of(pod_id(1)), [Thing::Address(0)], "it is back");
        let (engine, plan) = node.open().answer().unwrap();
        assert_eq!(is_listed(&engine, pod_id(1)), !removed);
        let recovering = engine.clone();
        let report = node
            .run(async move { recovering.recover(&plan).await })
            .answer();
        assert_eq!(report.gone.len(), usize::from(removed));
        assert_eq!(node.host.things(), []);
        nothing_wrong(&node, &engine);
        assert_eq!(engine.graves().len(), usize::from(removed));
    }
}

/// One of those who come back keeps failing: in the ledger, in no list.
#[test]
fn scenario_56_one_that_came_back_and_owes_stays_unseen() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    remove(&node, &engine, pod_id(1)).unwrap();
    node.crash(Crash::Power {
        kept: 0,
        disk_lost: true,
    });
    let fail = Mishap::Fail { after: 0 };
    node.faults
        .add(Fault::for_ever(Step::ConfigureCni, Site::Undo, fail));
    let (engine, report) = node.boot().answer();
    assert_eq!(report.owing, [pod_id(1)]);
    assert!(!is_listed(&engine, pod_id(1)));
    node.faults.mend();
    let _ = node.until(|| engine.get(pod_id(1)).is_none());
    nothing_left(&node, &engine);
}

/// Scenario 57, on the machine: the end is the highest that was asked for.
#[test]
fn scenario_57_remove_stop_and_reboot_in_every_order_end_removed() {
    let fail = Mishap::Fail { after: 0 };
    for order in ["rsb", "rbs", "srb", "sbr", "brs", "bsr"] {
        let (node, mut engine) = running(Setup::default());
        start_web(&node, &engine);
        node.faults
            .add(Fault::for_ever(Step::ConfigureCni, Site::Undo, fail));
        for what in order.chars() {
            match what {
                'r' => drop(remove(&node, &engine, pod_id(1))),
                's' => drop(stop(&node, &engine, pod_id(1))),
                _ => {
                    node.reboot();
                    engine = node.boot().answer().0;
                }
            }
        }
        assert_eq!(view(&engine, pod_id(1)).pod.goal, Goal::Remove, "{order}");
        node.faults.mend();
        let _ = node.until(|| engine.get(pod_id(1)).is_none());
        nothing_left(&node, &engine);
    }
}

/// Scenario 53: half undone, then killed between an undo and its record.
#[test]
fn scenario_53_a_failed_start_goes_on_down_after_every_crash() {
    let fail = Fault::once(Step::Start, Site::Apply, Mishap::Fail { after: 1 });
    let walk = |node: &Node| {
        let (engine, _) = node.boot().answer();
        node.faults.add(fail.clone());
        let _ = ask_start(node, &engine, pod_id(1), pod_spec("web"));
        let _ = node.until(|| false);
    };
    let node = Node::new(Setup::default());
    walk(&node);
    let mut turned = 0;
    for point in 1..=node.points.passed() {
        let node = Node::new(Setup::default());
        node.arm(Some(point));
        let (engine, _) = node.boot().answer();
        node.faults.add(fail.clone());
        let _ = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
        let _ = node.until(|| false);
        node.crash(KILL);
        node.faults.mend();
        let pods = node.journal.contents().pods;
        let goal = |id| {
            node.journal
                .pod(id, podwalk_engine::ports::Durability::Process)
        };
        let turned_down = pods
            .iter()
            .any(|(id, _)| goal(*id).is_some_and(|p| p.goal > Goal::Run));
        let (engine, _) = node.boot().answer();
        node.host.let_strays_finish();
        nothing_wrong(&node, &engine);
        if turned_down {
            turned += 1;
            nothing_left(&node, &engine);
        }
    }
    assert!(turned > 20, "only {turned} crashes after the turn");
}

/// Rule 8, told step by step (scenario 58).
#[test]
fn scenario_58_a_start_that_has_used_the_network_up_climbs_from_created() {
    for point in ["Start.Apply.begun", "Start.Apply.1"] {
        let node = killed_at(
            Setup {
                consumes_network: true,
                ..Setup::default()
            },
            point,
        );
        let before = node.host.namespace(pod_id(1)).unwrap();
        let (engine, report) = node.boot().answer();
        assert_eq!(report.started, [pod_id(1)]);
        assert_ne!(node.host.namespace(pod_id(1)), Some(before), "a fresh one");
        nothing_wrong(&node, &engine);
    }
    // One that is there, complete, is kept as it is.
    let node = killed_at(
        Setup {
            consumes_network: true,
            ..Setup::default()
        },
        "Start.Apply.2",
    );
    let before = node.host.namespace(pod_id(1));
    let (engine, _) = node.boot().answer();
    assert_eq!(node.host.namespace(pod_id(1)), before);
    nothing_wrong(&node, &engine);
}

/// A look that finds nonsense is no reason to go on for ever.
#[test]
fn a_look_that_cannot_tell_undoes_and_does_again() {
    for mishap in [Mishap::Fail { after: 0 }, Mishap::Hang { after: 0 }] {
        let node = killed_at(Setup::default(), "MountNetns.Apply.1");
        node.faults
            .add(Fault::once(Step::MountNetns, Site::Probe, mishap));
        let (engine, report) = node.boot().answer();
        assert_eq!(report.started, [pod_id(1)]);
        nothing_wrong(&node, &engine);
    }
}

#[test]
fn owners_are_recovered_before_their_guests() {
    let (node, engine) = running(Setup::default());
    start(&node, &engine, pod_id(9), pod_spec("owner")).unwrap();
    let mut guest = pod_spec("guest");
    guest.network = NetworkMode::Pod(pod_id(9));
    start(&node, &engine, pod_id(1), guest).unwrap();
    node.crash(KILL);
    let (engine, report) = node.boot().answer();
    assert_eq!(report.started, [pod_id(9), pod_id(1)]);
    assert!(view(&engine, pod_id(1)).ready);
    // An owner that died takes its guests' readiness with it.
    node.crash(KILL);
    node.host.let_sandbox_die(pod_id(9));
    let (engine, _) = node.boot().answer();
    assert!(!view(&engine, pod_id(1)).ready);
    assert!(view(&engine, pod_id(1)).pod.is_started());
}

/// Scenarios 11, 40 and 48: set aside with its bytes, alone.
#[test]
fn scenario_11_a_pod_that_does_not_fold_stays_behind_alone() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    start(&node, &engine, pod_id(2), pod_spec("other")).unwrap();
    let (_, entries) = node.journal.contents().pods.remove(1);
    let mut twice = entries[3].clone();
    twice.sequence += 100;
    node.journal.plant(vec![twice]);
    node.crash(KILL);
    let (engine, report) = node.boot().answer();
    assert_eq!(report.started, [pod_id(1)]);
    let quarantined = engine.quarantined();
    assert_eq!(quarantined[0].0, pod_id(2));
    assert!(quarantined[0].1.contains("is missing"), "{quarantined:?}");
    assert!(
        node.host.has(pod_id(2), Thing::Sandbox),
        "nothing of it is touched"
    );
    assert_eq!(node.journal.contents().pods.len(), 2, "its bytes are kept");
    engine.leave_quarantine(pod_id(1));
    assert_eq!(engine.quarantined(), quarantined, "another one was dropped");
    engine.leave_quarantine(pod_id(2));
    assert_eq!(engine.quarantined(), []);
}

#[test]
fn recovering_twice_is_the_same_as_once() {
    let node = killed_at(Setup::default(), "Start.Apply.1");
    let (engine, plan) = node.open().answer().unwrap();
    for _ in 0..2 {
        let (recovering, plan) = (engine.clone(), plan.clone());
        let report = node.run(async move { recovering.recover(&plan).await });
        assert_eq!(report.answer().started, [pod_id(1)]);
    }
    assert_eq!(node.run(async {}), Ended::Answered(()));
    nothing_wrong(&node, &engine);
}

/// What is printed is what is done.
#[test]
fn the_plan_of_a_live_daemon_is_that_of_the_next_one() {
    let node = killed_at(Setup::default(), "ConfigureCni.Apply.0.1");
    let (engine, plan) = node.open().answer().unwrap();
    let asked = engine.clone();
    let live = node
        .run(async move { asked.plan().await })
        .answer()
        .unwrap();
    assert_eq!(live.pods[0].steps, plan.pods[0].steps);
    assert_eq!(live.pods[0].verdict, plan.pods[0].verdict);
}

/// What is known is not looked at again and again.
#[test]
fn a_pod_at_rest_is_left_alone() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    start(&node, &engine, pod_id(2), pod_spec("other")).unwrap();
    stop(&node, &engine, pod_id(2)).unwrap();
    left_alone(&node);
    // The same after it was recovered, adopted where its start was not recorded as done.
    node.crash(KILL);
    let (engine, report) = node.boot().answer();
    assert_eq!(report.started, [pod_id(1)]);
    left_alone(&node);
    nothing_wrong(&node, &engine);
    let node = killed_at(Setup::default(), "Start.Apply.end");
    let (engine, _) = node.boot().answer();
    assert!(view(&engine, pod_id(1)).ready);
    left_alone(&node);
}

#[track_caller]
fn left_alone(node: &Node) {
    node.arm(None);
    node.pass(std::time::Duration::from_secs(600));
    assert_eq!(node.points.passed(), 0, "something goes on");
}
