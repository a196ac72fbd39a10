//! Who is let in: keyed starts, what others hold, owners of a network.

use podwalk_engine::engine::EngineErrorKind;
use podwalk_engine::record::Goal;
use podwalk_engine::spec::{PortMapping, Protocol};
use podwalk_engine::step::{NetworkMode, Step};
use podwalk_testkit::sim::{Crash, Fault, Mishap, Site, Thing};

use super::*;

fn fail_for_ever(node: &Node, step: Step) {
    let fail = Mishap::Fail { after: 0 };
    node.faults.add(Fault::for_ever(step, Site::Undo, fail));
}

fn with_port(name: &str, host_port: u16) -> PodSpec {
    PodSpec {
        ports: vec![PortMapping {
            protocol: Protocol::Tcp,
            pod_port: 80,
            host_port,
            host_ip: String::new(),
        }],
        ..pod_spec(name)
    }
}

/// Scenario 10: a retry joins the walk, whatever its attempt, at every moment.
#[test]
fn scenario_10_a_retried_request_joins_and_gets_the_same_id() {
    let (node, engine) = running(Setup::default());
    node.arm(None);
    start_web(&node, &engine);
    for moment in 1..=node.points.passed() {
        let (node, engine) = running(Setup::default());
        node.arm(None);
        let now = node.points.at(moment);
        let first = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
        let retried = engine.clone();
        let retry = node.ask(async move {
            now.await.expect("the moment comes");
            let mut spec = pod_spec("web");
            spec.attempt = 3;
            retried.start(pod_id(2), spec).await
        });
        let first = node.wait_for(&first).answer().unwrap();
        let retry = node.wait_for(&retry).answer().unwrap();
        assert_eq!((first.id, first.joined), (pod_id(1), false));
        assert_eq!((retry.id, retry.joined), (pod_id(1), true), "at {moment}");
        assert_eq!(engine.list().len(), 1);
        nothing_wrong(&node, &engine);
    }
}

/// One attempt that goes takes nothing of the next one along.
#[test]
fn a_key_leads_to_its_pod_when_an_earlier_attempt_is_removed() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    stop(&node, &engine, pod_id(1)).unwrap();
    let next = start(&node, &engine, pod_id(2), pod_spec("web")).unwrap();
    assert_eq!((next.id, next.joined), (pod_id(2), false));
    remove(&node, &engine, pod_id(1)).unwrap();
    let again = start(&node, &engine, pod_id(3), pod_spec("web")).unwrap();
    assert_eq!((again.id, again.joined), (pod_id(2), true));
    nothing_wrong(&node, &engine);
}

/// Of two pods of a key the later one is the younger one, for whoever sorts them by their age.
#[test]
fn a_later_pod_of_a_key_is_younger_whatever_the_wall_clock_does() {
    let (node, engine) = running(Setup::default());
    let mut ages = Vec::new();
    let mut begin = |number, attempt, wall_ns| {
        node.clock.set_wall(wall_ns);
        let spec = PodSpec {
            attempt,
            ..pod_spec("web")
        };
        let asked = ask_start(&node, &engine, pod_id(number), spec);
        let id = node.wait_for(&asked).answer().unwrap().id;
        ages.push(engine.get(id).unwrap().pod.created.wall_ns);
        stop(&node, &engine, id).unwrap();
    };
    begin(1, 0, 5_000);
    begin(2, 1, 300);
    begin(3, 2, 5_000_000);
    assert!(ages.is_sorted_by(|a, b| a < b), "{ages:?}");
    assert!(ages[1] < 6_000_000, "no younger than it must be: {ages:?}");
    assert!(ages[2] >= 5_000_000, "a clock that goes on is believed");
    // What is gone makes nobody older than he was.
    remove(&node, &engine, pod_id(1)).unwrap();
    assert_eq!(engine.get(pod_id(2)).unwrap().pod.created.wall_ns, ages[1]);
}

/// Scenario 59: also across a restart.
#[test]
fn scenario_59_a_retry_after_a_restart_joins_too() {
    for restart in 1..40 {
        let (node, engine) = running(Setup::default());
        node.arm(Some(restart));
        let _ = ask_start(&node, &engine, pod_id(1), pod_spec("web"));
        let _ = node.until(|| false);
        node.crash(Crash::Kill { strays: true });
        let known = !node.journal.is_empty();
        let (engine, plan) = node.open().answer().unwrap();
        let mut spec = pod_spec("web");
        spec.attempt = 1;
        // The client is back before recovery has done anything.
        let retry = ask_start(&node, &engine, pod_id(2), spec);
        let recovering = engine.clone();
        node.run(async move { recovering.recover(&plan).await })
            .answer();
        let started = node.wait_for(&retry).answer().unwrap();
        let id = if known { pod_id(1) } else { pod_id(2) };
        assert_eq!(started.id, id, "killed at {restart}");
        let ready = engine.list().into_iter().filter(|view| view.ready);
        assert_eq!(ready.count(), 1, "killed at {restart}");
        nothing_wrong(&node, &engine);
    }
}

#[test]
fn a_failed_walk_is_answered_to_all_who_have_joined() {
    let (node, engine) = running(Setup::default());
    let fail = Fault::once(Step::Start, Site::Apply, Mishap::Fail { after: 0 });
    node.faults.add(fail);
    let asked: Vec<_> = (1..=5)
        .map(|number| ask_start(&node, &engine, pod_id(number), pod_spec("web")))
        .collect();
    for one in asked {
        let error = node.wait_for(&one).answer().unwrap_err();
        assert!(
            matches!(error, EngineError::StartFailed { id, .. } if id == pod_id(1)),
            "{error}"
        );
    }
    nothing_left(&node, &engine);
}

#[test]
fn another_spec_with_the_same_key_already_exists() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let mut other = pod_spec("web");
    other.hostname = "elsewhere".to_owned();
    let error = start(&node, &engine, pod_id(2), other.clone()).unwrap_err();
    assert!(matches!(&error, EngineError::AlreadyExists { id, .. } if *id == pod_id(1)));
    assert_eq!(error.kind(), EngineErrorKind::Conflict);
    // Another uid or namespace is another key.
    other.uid = "7".to_owned();
    start(&node, &engine, pod_id(2), other.clone()).unwrap();
    other.namespace = "elsewhere".to_owned();
    start(&node, &engine, pod_id(3), other).unwrap();
    nothing_wrong(&node, &engine);
}

#[test]
fn a_stopped_pod_makes_room_for_the_next_of_its_key() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    stop(&node, &engine, pod_id(1)).unwrap();
    let next = start(&node, &engine, pod_id(2), pod_spec("web")).unwrap();
    assert_eq!((next.id, next.joined), (pod_id(2), false));
    assert_eq!(view(&engine, pod_id(1)).pod.goal, Goal::Stop);
    nothing_wrong(&node, &engine);
}

/// An id names one pod for ever; its records are never continued by another's.
#[test]
fn an_id_that_is_or_was_another_pods_is_refused() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let taken = |engine: &Engine| {
        let error = start(&node, engine, pod_id(1), pod_spec("other")).unwrap_err();
        assert!(matches!(error, EngineError::IdTaken { .. }), "{error}");
    };
    taken(&engine);
    assert!(view(&engine, pod_id(1)).ready);
    remove(&node, &engine, pod_id(1)).unwrap();
    taken(&engine);
    node.crash(Crash::Kill { strays: false });
    let (engine, _) = node.boot().answer();
    taken(&engine);
    nothing_left(&node, &engine);
}

#[test]
fn a_spec_that_is_not_valid_leaves_no_trace() {
    let (node, engine) = running(Setup::default());
    let mut spec = pod_spec("web");
    spec.annotations = [("note".to_owned(), "x".repeat(1 << 20))].into();
    let error = start(&node, &engine, pod_id(1), spec).unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Invalid);
    assert!(error.to_string().contains("annotations"), "{error}");
    assert!(node.journal.is_empty());
    nothing_left(&node, &engine);
}

#[test]
fn a_host_port_is_held_until_the_network_has_let_go() {
    let (node, engine) = running(Setup::default());
    start(&node, &engine, pod_id(1), with_port("web", 80)).unwrap();
    let next = |id| start(&node, &engine, pod_id(id), with_port("next", 80));
    let held = |error: EngineError| {
        assert!(matches!(&error, EngineError::Held { holder, .. } if *holder == pod_id(1)));
        assert!(error.to_string().contains("host port 80/tcp"), "{error}");
        error.to_string()
    };
    held(next(2).unwrap_err());
    start(&node, &engine, pod_id(3), with_port("other", 81)).unwrap();

    fail_for_ever(&node, Step::ConfigureCni);
    stop(&node, &engine, pod_id(1)).unwrap_err();
    let told = held(next(4).unwrap_err());
    assert!(
        told.contains("still owes the undo of ConfigureCni"),
        "{told}"
    );
    node.faults.mend();
    stop(&node, &engine, pod_id(1)).unwrap();
    next(5).unwrap();
    nothing_wrong(&node, &engine);
}

/// Two requests for one port at the same moment: one gets it.
#[test]
fn a_host_port_is_given_once_however_many_ask() {
    let (node, engine) = running(Setup::default());
    let asked: Vec<_> = (1..=4)
        .map(|number| {
            let spec = with_port(&format!("web{number}"), 80);
            ask_start(&node, &engine, pod_id(number), spec)
        })
        .collect();
    let answers = asked.iter().map(|one| node.wait_for(one).answer());
    assert_eq!(answers.filter(Result::is_ok).count(), 1);
    nothing_wrong(&node, &engine);
}

#[test]
fn a_name_is_held_by_a_debt_and_a_cri_key_never() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    let mut cri = pod_spec("kube");
    cri.uid = "4711".to_owned();
    start(&node, &engine, pod_id(2), cri.clone()).unwrap();
    fail_for_ever(&node, Step::ConfigureCni);
    stop(&node, &engine, pod_id(1)).unwrap_err();
    stop(&node, &engine, pod_id(2)).unwrap_err();

    let held = start(&node, &engine, pod_id(3), pod_spec("web")).unwrap_err();
    assert!(held.to_string().contains("the name web"), "{held}");
    assert!(held.to_string().contains("ConfigureCni"), "{held}");
    cri.attempt = 1;
    assert_eq!(start(&node, &engine, pod_id(4), cri).unwrap().id, pod_id(4));
}

fn guest_of(owner: PodId) -> PodSpec {
    PodSpec {
        network: NetworkMode::Pod(owner),
        ..pod_spec("guest")
    }
}

#[test]
fn a_network_is_shared_while_its_owner_is_started() {
    let (node, engine) = running(Setup::default());
    let missing = start(&node, &engine, pod_id(2), guest_of(pod_id(1))).unwrap_err();
    assert_eq!(missing, EngineError::OwnerNotStarted { owner: pod_id(1) });
    start_web(&node, &engine);
    start(&node, &engine, pod_id(2), guest_of(pod_id(1))).unwrap();
    assert!(view(&engine, pod_id(2)).ready);
    assert_eq!(
        node.host.of(pod_id(2)),
        [Thing::RuntimeState, Thing::Sandbox]
    );
    // Neither a guest nor a pod of the host's network owns one.
    let mut of_guest = guest_of(pod_id(2));
    of_guest.name = "guest-of-a-guest".to_owned();
    let refused = start(&node, &engine, pod_id(3), of_guest).unwrap_err();
    assert_eq!(refused, EngineError::OwnerNotStarted { owner: pod_id(2) });
    let mut on_host = pod_spec("on-host");
    on_host.network = NetworkMode::Host;
    start(&node, &engine, pod_id(5), on_host).unwrap();
    let mut of_host = guest_of(pod_id(5));
    of_host.name = "guest-of-the-host".to_owned();
    let refused = start(&node, &engine, pod_id(3), of_host).unwrap_err();
    assert_eq!(refused, EngineError::OwnerNotStarted { owner: pod_id(5) });
    remove(&node, &engine, pod_id(5)).unwrap();

    stop(&node, &engine, pod_id(1)).unwrap();
    assert!(!view(&engine, pod_id(2)).ready, "its network is gone");
    assert!(is_listed(&engine, pod_id(2)));
    let mut late = guest_of(pod_id(1));
    late.name = "late".to_owned();
    let refused = start(&node, &engine, pod_id(4), late).unwrap_err();
    assert_eq!(refused, EngineError::OwnerNotStarted { owner: pod_id(1) });
    remove(&node, &engine, pod_id(2)).unwrap();
    remove(&node, &engine, pod_id(1)).unwrap();
    nothing_left(&node, &engine);
}

#[test]
fn a_guest_whose_owner_stops_while_it_starts_fails_and_is_undone() {
    let (node, engine) = running(Setup::default());
    start_web(&node, &engine);
    node.arm(None);
    let now = node.points.at_next("Create.Apply.before");
    let guest = ask_start(&node, &engine, pod_id(2), guest_of(pod_id(1)));
    let stopping = engine.clone();
    let stop = node.ask(async move {
        now.await.expect("the moment comes");
        stopping.stop(pod_id(1)).await
    });
    assert_eq!(node.wait_for(&stop).answer(), Ok(()));
    let error = node.wait_for(&guest).answer().unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Conflict);
    assert!(engine.get(pod_id(2)).is_none());
    nothing_wrong(&node, &engine);
}
