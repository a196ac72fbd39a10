//! What is heard of pods.

use std::time::Duration;

use futures_util::FutureExt;
use podwalk_engine::step::Step;
use podwalk_testkit::sim::{Crash, Ended, Fault, Mishap, Site};
use v1::ContainerEventType;

use super::*;

/// Of a pod that goes up and down.
const ONCE_EACH: [ContainerEventType; 4] = [
    ContainerEventType::ContainerCreatedEvent,
    ContainerEventType::ContainerStartedEvent,
    ContainerEventType::ContainerStoppedEvent,
    ContainerEventType::ContainerDeletedEvent,
];

fn words(heard: &[v1::ContainerEventResponse]) -> Vec<ContainerEventType> {
    let words = heard.iter().map(|event| event.container_event_type());
    words.collect()
}

#[test]
fn events_say_what_happened_with_the_pod_as_it_was() {
    let scene = scene();
    let listen = async |cri: Arc<Runtime>| cri.get_container_events(nothing()).await;
    let events = scene.ask(listen).unwrap();
    let id = scene.run(pod("web", 0), "").unwrap();
    scene.stop(&id).unwrap();
    scene.remove(&id).unwrap();
    let heard: Vec<_> = futures_executor::block_on(events.take(4).collect());
    let heard: Vec<_> = heard.into_iter().map(Result::unwrap).collect();
    assert_eq!(words(&heard), ONCE_EACH);
    for event in &heard {
        let status = event.pod_sandbox_status.as_ref().unwrap();
        assert_eq!(status.metadata.as_ref().unwrap().name, "web");
        assert_eq!(event.container_id, id);
    }
    let state =
        |event: &v1::ContainerEventResponse| event.pod_sandbox_status.as_ref().unwrap().state();
    assert_eq!(state(&heard[1]), v1::PodSandboxState::SandboxReady);
    assert_eq!(state(&heard[2]), v1::PodSandboxState::SandboxNotready);
}

#[test]
fn who_does_not_listen_is_told_to_list_anew() {
    let scene = scene();
    let listen = async |cri: Arc<Runtime>| cri.get_container_events(nothing()).await;
    let events = scene.ask(listen).unwrap();
    for _ in 0..200 {
        let id = scene.run(pod("web", 0), "").unwrap();
        scene.stop(&id).unwrap();
        scene.remove(&id).unwrap();
    }
    let heard: Vec<_> = futures_executor::block_on(events.collect());
    let last = heard.last().unwrap().as_ref().unwrap_err();
    assert_eq!(last.code(), Code::Aborted);
    assert!(heard[..heard.len() - 1].iter().all(Result::is_ok));
}

/// A sandbox that dies by itself is told once, not again when what is left of it is taken down.
#[test]
fn a_sandbox_that_exits_is_heard_of_before_anybody_asks() {
    let scene = scene();
    let listen = async |cri: Arc<Runtime>| cri.get_container_events(nothing()).await;
    let events = scene.ask(listen).unwrap();
    let id = scene.run(pod("web", 0), "").unwrap();
    let pod = id.parse().unwrap();
    let process = scene.machine.host.process(pod).unwrap();
    scene.machine.host.let_sandbox_die(pod);
    let engine = scene.runtime.engine.clone();
    let note = async move { engine.note_exit(pod, process, Some(137)).await };
    scene.machine.run(note).answer();
    let status = scene.status(&id).unwrap().status.unwrap();
    assert_eq!(status.state(), v1::PodSandboxState::SandboxNotready);
    scene.stop(&id).unwrap();
    scene.remove(&id).unwrap();
    let heard: Vec<_> = futures_executor::block_on(events.take(4).collect());
    let heard: Vec<_> = heard.into_iter().map(Result::unwrap).collect();
    assert_eq!(words(&heard), ONCE_EACH);
}

/// Whoever listens from now on.
fn listen(scene: &Scene) -> EventStream {
    let listen = async |cri: Arc<Runtime>| cri.get_container_events(nothing()).await;
    scene.ask(listen).unwrap()
}

/// What has come by now.
fn heard(events: &mut EventStream) -> Vec<ContainerEventType> {
    let next = || events.next().now_or_never().flatten();
    let heard: Vec<_> = std::iter::from_fn(next).map(Result::unwrap).collect();
    words(&heard)
}

fn listed(scene: &Scene) -> usize {
    scene.list(v1::PodSandboxFilter::default()).len()
}

const COMES_DOWN: [ContainerEventType; 2] = [
    ContainerEventType::ContainerCreatedEvent,
    ContainerEventType::ContainerStoppedEvent,
];
const GOES: [ContainerEventType; 1] = [ContainerEventType::ContainerDeletedEvent];

/// A machine on which every ADD fails, and a start that fails with it.
fn failed_start(dels_too: bool) -> (Scene, EventStream) {
    let scene = scene();
    let mut events = listen(&scene);
    let sites = [Some(Site::Apply), dels_too.then_some(Site::Undo)];
    for site in sites.into_iter().flatten() {
        let fault = Fault::for_ever(Step::ConfigureCni, site, Mishap::Fail { after: 0 });
        scene.machine.faults.add(fault.of_attachment(0));
    }
    scene.run(pod("web", 0), "").unwrap_err();
    assert_eq!(listed(&scene), usize::from(dels_too));
    assert_eq!(heard(&mut events), &COMES_DOWN[..2 * listed(&scene)]);
    (scene, events)
}

/// Waits until nobody knows the pod any more.
fn goes(scene: &Scene) {
    let gone = || scene.runtime.engine.list().is_empty();
    assert_eq!(scene.machine.until(gone), Ended::Answered(()));
}

#[test]
fn a_failed_start_that_owes_nothing_is_never_heard_of() {
    let (scene, mut events) = failed_start(false);
    goes(&scene);
    assert_eq!(heard(&mut events), []);
}

#[test]
fn a_failed_start_that_owes_comes_with_its_debt_and_goes_with_it() {
    let (scene, mut events) = failed_start(true);
    let mut younger = listen(&scene);
    scene.machine.faults.mend();
    goes(&scene);
    assert_eq!(heard(&mut events), GOES);
    assert_eq!(heard(&mut younger), GOES, "it has seen it in its list");
}

#[test]
fn a_failed_start_goes_when_its_remove_is_answered_owing() {
    let (scene, mut events) = failed_start(true);
    let id = pod_id(1).to_string();
    scene.stop(&id).unwrap_err();
    scene.remove(&id).unwrap_err();
    assert_eq!((listed(&scene), heard(&mut events)), (1, vec![]));
    scene.machine.pass(Duration::from_secs(180));
    scene.remove(&id).unwrap();
    assert_eq!((listed(&scene), heard(&mut events)), (0, GOES.to_vec()));
    scene.machine.faults.mend();
    goes(&scene);
    assert_eq!(heard(&mut events), [], "it had gone already");
}

#[test]
fn a_failed_start_goes_when_its_debt_is_forgiven() {
    let (scene, mut events) = failed_start(true);
    let engine = scene.runtime.engine.clone();
    let forgive = async move { engine.forgive_all(pod_id(1), "no plugin".to_owned()).await };
    scene.machine.run(forgive).answer().unwrap();
    goes(&scene);
    assert_eq!(heard(&mut events), GOES);
}

#[test]
fn a_debt_of_another_daemon_s_time_goes_with_an_event() {
    let (scene, _) = failed_start(true);
    scene.machine.crash(Crash::Kill { strays: false });
    let scene = scene_on(scene.machine, Lent::default());
    let mut events = listen(&scene);
    assert_eq!(listed(&scene), 1);
    scene.machine.faults.mend();
    goes(&scene);
    assert_eq!(heard(&mut events), GOES);
}

/// It is in the list as soon as it is to stop, and was in none before.
#[test]
fn a_pod_that_is_stopped_on_its_way_up_comes_as_stopped() {
    let scene = scene();
    let mut events = listen(&scene);
    let hang = Mishap::Hang { after: 0 };
    let hang = Fault::once(Step::ConfigureCni, Site::Apply, hang);
    scene.machine.faults.add(hang);
    let runtime = scene.runtime.clone();
    let request = v1::RunPodSandboxRequest {
        config: Some(pod("web", 0)),
        runtime_handler: String::new(),
    };
    let run = async move { runtime.run_pod_sandbox(Request::new(request)).await };
    let run = scene.machine.ask(run);
    scene.machine.settle();
    assert_eq!(heard(&mut events), []);
    let id = pod_id(1).to_string();
    scene.stop(&id).unwrap();
    let refused = scene.machine.wait_for(&run).answer().unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert_eq!(heard(&mut events), COMES_DOWN);
    scene.remove(&id).unwrap();
    assert_eq!(heard(&mut events), GOES);
}
