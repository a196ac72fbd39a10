//! What is heard of pods.

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
