//! Pods whose state the compiler knows.

use podwalk_engine::pod::Status;
use podwalk_engine::step::{NetworkMode, State, Step};
use podwalk_testkit::sim::{Crash, Fault, Mishap, Site};

use super::*;

#[test]
fn a_typed_pod_climbs_one_step_at_a_time_and_rests_between() {
    let (node, engine) = running(Setup::default());
    let creating = engine.clone();
    let created = node.run(async move { creating.create(pod_id(1), pod_spec("web")).await });
    let created = created.answer().unwrap();
    assert_eq!(created.id(), pod_id(1));
    let state = || view(&engine, pod_id(1)).pod.state();
    assert_eq!(state(), State::Created);
    assert!(!is_listed(&engine, pod_id(1)));
    let mounted = node.run(created.mount_netns()).answer().unwrap();
    assert_eq!(state(), State::NetnsMounted);
    let ready = node.run(mounted.ready_network()).answer().unwrap();
    assert_eq!(state(), State::NetworkReady);
    let configured = node.run(ready.configure_cni()).answer().unwrap();
    assert_eq!(state(), State::CniConfigured);
    assert_eq!(node.journal.unsynced(), 0, "every step is on the platter");
    let started = node.run(configured.start()).answer().unwrap();
    assert_eq!(state(), State::Started);
    nothing_wrong(&node, &engine);
    let stopped = node.run(started.stop()).answer().unwrap();
    assert!(view(&engine, pod_id(1)).pod.is_down());
    node.run(stopped.remove()).answer().unwrap();
    nothing_left(&node, &engine);
}

#[test]
fn each_typed_step_is_on_the_platter_when_it_is_answered() {
    let (node, engine) = running(Setup::default());
    let creating = engine.clone();
    let created = node.run(async move { creating.create(pod_id(1), pod_spec("web")).await });
    let created = created.answer().unwrap();
    assert_eq!(node.journal.unsynced(), 0);
    let mounted = node.run(created.mount_netns()).answer().unwrap();
    assert_eq!(node.journal.unsynced(), 0);
    let stopped = node.run(mounted.stop()).answer().unwrap();
    assert_eq!(node.journal.unsynced(), 0);
    let _ = node.run(stopped.stop()).answer().unwrap();
    assert_eq!(node.journal.unsynced(), 0);
}

#[test]
fn in_modes_without_a_namespace_the_steps_between_hold_of_themselves() {
    let (node, engine) = running(Setup::default());
    let mut spec = pod_spec("web");
    spec.network = NetworkMode::Host;
    let walked = node.run(async move {
        let created = engine.create(pod_id(1), spec).await?;
        let configured = created.mount_netns().await?.ready_network().await?;
        configured.configure_cni().await?.start().await
    });
    assert_eq!(walked.answer().unwrap().id(), pod_id(1));
}

/// A start with the key of a pod that is held half way up takes all of it up.
#[test]
fn a_start_joins_a_typed_walk_and_lifts_its_hold() {
    let (node, engine) = running(Setup::default());
    let creating = engine.clone();
    let created = node.run(async move { creating.create(pod_id(1), pod_spec("web")).await });
    let created = created.answer().unwrap();
    let joined = start(&node, &engine, pod_id(2), pod_spec("web")).unwrap();
    assert_eq!((joined.id, joined.joined), (pod_id(1), true));
    assert!(view(&engine, pod_id(1)).ready);
    // The holder's own next step is there already.
    let _ = node.run(created.mount_netns()).answer().unwrap();
}

#[test]
fn a_typed_walk_is_never_joined_to_another() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let creating = engine.clone();
    let create = async move { creating.create(pod_id(2), pod_spec("web")).await.map(drop) };
    let error = node.run(create).answer().unwrap_err();
    assert!(matches!(error, EngineError::AlreadyExists { id, .. } if id == pod_id(1)));
}

#[test]
fn a_typed_step_that_fails_undoes_all_of_the_pod() {
    let (node, engine) = running(Setup::default());
    let fail = Mishap::Fail { after: 0 };
    node.faults
        .add(Fault::once(Step::ReadyNetwork, Site::Apply, fail));
    let walking = engine.clone();
    let walked = node.run(async move {
        let created = walking.create(pod_id(1), pod_spec("web")).await?;
        created.mount_netns().await?.ready_network().await.map(drop)
    });
    let error = walked.answer().unwrap_err();
    assert!(matches!(
        error,
        EngineError::StartFailed {
            step: Step::ReadyNetwork,
            ..
        }
    ));
    nothing_left(&node, &engine);
}

/// A handle does not survive its process; the pod's goal does.
#[test]
fn a_typed_pod_that_is_left_half_way_up_is_resumed_by_the_next_daemon() {
    let (node, engine) = running(Setup::default());
    let created =
        node.run(async move { engine.create(pod_id(1), pod_spec("web")).await.map(drop) });
    created.answer().unwrap();
    node.crash(Crash::Kill { strays: false });
    let (engine, report) = node.boot().answer();
    assert_eq!(report.started, [pod_id(1)]);
    assert_eq!(
        view(&engine, pod_id(1)).pod.status(Step::Start),
        Status::Done
    );
}
