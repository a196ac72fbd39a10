//! The services over the engine's own code on a simulated machine.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::{io, iter};

use futures_util::StreamExt;
use podwalk_engine::ports::BoxFuture;
use podwalk_testkit::sim::{self, Setup, pod_id};

use super::*;
use crate::node::{CpuUsage, Handler, LinkUsage, MemoryUsage, Traffic, Usage};

/// A machine that lends what the tests ask for.
#[derive(Default)]
struct Lent {
    ids: Mutex<u32>,
    network: Option<Condition>,
    cidr: Mutex<String>,
    silent: bool,
}

impl Node for Lent {
    fn fresh_id(&self) -> io::Result<PodId> {
        let mut last = self.ids.lock().unwrap();
        *last += 1;
        Ok(pod_id(*last))
    }

    fn version(&self) -> String {
        "1.2.3".to_owned()
    }

    fn seen(&self, view: PodView) -> PodView {
        view
    }

    fn addresses(&self, view: &PodView) -> Vec<IpAddr> {
        let ready = view.ready.then_some(["10.0.0.2", "fd00::2"]);
        let told = ready.into_iter().flatten();
        told.map(|text| text.parse().unwrap()).collect()
    }

    fn inspect(&self, view: &PodView) -> serde_json::Value {
        serde_json::json!({ "id": view.pod.id.to_string() })
    }

    fn handlers(&self) -> Vec<Handler> {
        let handler = |name: &str, user_namespaces| Handler {
            name: name.to_owned(),
            user_namespaces,
        };
        vec![
            handler("", true),
            handler("crun", true),
            handler("vm", false),
        ]
    }

    fn cgroup_driver(&self) -> CgroupDriver {
        CgroupDriver::Cgroupfs
    }

    fn network(&self) -> BoxFuture<'_, Condition> {
        let ready = Condition {
            holds: true,
            reason: String::new(),
            message: String::new(),
        };
        Box::pin(std::future::ready(self.network.clone().unwrap_or(ready)))
    }

    fn usage<'a>(&'a self, _view: &'a PodView) -> BoxFuture<'a, io::Result<Usage>> {
        let traffic = |bytes| Traffic {
            bytes,
            packets: 2,
            errors: 3,
            dropped: 4,
        };
        let link = |name: &str| LinkUsage {
            name: name.to_owned(),
            received: traffic(100),
            sent: traffic(200),
        };
        let usage = Usage {
            at: 7,
            cpu: Some(CpuUsage { total: 1000 }),
            memory: Some(MemoryUsage {
                usage: 64,
                working_set: 48,
                rss: 32,
                limit: Some(50),
                page_faults: 5,
                major_page_faults: 1,
            }),
            processes: Some(1),
            links: Some(vec![link("eth0"), link("eth1")]),
        };
        Box::pin(std::future::ready(match self.silent {
            true => Err(io::Error::other("the kernel says nothing")),
            false => Ok(usage),
        }))
    }

    fn image_directory(&self) -> PathBuf {
        PathBuf::from("/var/lib/podwalk")
    }

    fn set_pod_cidr(&self, cidr: String) {
        *self.cidr.lock().unwrap() = cidr;
    }
}

/// A machine, its daemon's engine, and the services.
struct Scene {
    machine: sim::Node,
    runtime: Arc<Runtime>,
    lent: Arc<Lent>,
}

fn scene_with(lent: Lent) -> Scene {
    let machine = sim::Node::new(Setup::default());
    let (engine, _) = machine.boot().answer();
    let lent = Arc::new(lent);
    let runtime = Arc::new(Runtime {
        engine,
        node: lent.clone(),
    });
    Scene {
        machine,
        runtime,
        lent,
    }
}

fn scene() -> Scene {
    scene_with(Lent::default())
}

impl Scene {
    /// A call that is answered at once.
    fn ask<T>(&self, call: impl AsyncFnOnce(Arc<Runtime>) -> Answer<T>) -> Result<T, Status> {
        let runtime = self.runtime.clone();
        futures_executor::block_on(call(runtime)).map(Response::into_inner)
    }

    /// A call that a walk stands behind.
    fn walk<T: Send + 'static>(
        &self,
        call: impl Future<Output = Answer<T>> + Send + 'static,
    ) -> Result<T, Status> {
        self.machine.run(call).answer().map(Response::into_inner)
    }

    fn run(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String, Status> {
        let runtime = self.runtime.clone();
        let request = v1::RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: handler.to_owned(),
        };
        let ran = self.walk(async move { runtime.run_pod_sandbox(Request::new(request)).await });
        ran.map(|ran| ran.pod_sandbox_id)
    }

    fn stop(&self, id: &str) -> Result<(), Status> {
        let runtime = self.runtime.clone();
        let request = v1::StopPodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        let stopped =
            self.walk(async move { runtime.stop_pod_sandbox(Request::new(request)).await });
        stopped.map(drop)
    }

    fn remove(&self, id: &str) -> Result<(), Status> {
        let runtime = self.runtime.clone();
        let request = v1::RemovePodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        let removed =
            self.walk(async move { runtime.remove_pod_sandbox(Request::new(request)).await });
        removed.map(drop)
    }

    fn status(&self, id: &str) -> Result<v1::PodSandboxStatusResponse, Status> {
        let request = v1::PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: true,
        };
        self.ask(async move |cri| cri.pod_sandbox_status(Request::new(request)).await)
    }

    fn list(&self, filter: v1::PodSandboxFilter) -> Vec<String> {
        let request = v1::ListPodSandboxRequest {
            filter: Some(filter),
        };
        let listed = self.ask(async move |cri| cri.list_pod_sandbox(Request::new(request)).await);
        let items = listed.unwrap().items.into_iter();
        items.map(|item| item.metadata.unwrap().name).collect()
    }
}

fn pod(name: &str, attempt: u32) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            uid: String::new(),
            namespace: "tests".to_owned(),
            attempt,
        }),
        labels: [("app".to_owned(), name.to_owned())].into(),
        ..Default::default()
    }
}

fn id_filter(id: &str) -> v1::PodSandboxFilter {
    v1::PodSandboxFilter {
        id: id.to_owned(),
        ..Default::default()
    }
}

#[test]
fn a_pod_goes_up_and_down() {
    let scene = scene();
    let id = scene.run(pod("web", 0), "crun").unwrap();
    let told = scene.status(&id).unwrap();
    assert_eq!(told.info["info"], format!("{{\"id\":\"{id}\"}}"));
    let status = told.status.unwrap();
    assert_eq!(status.state(), v1::PodSandboxState::SandboxReady);
    assert_eq!(status.runtime_handler, "crun");
    let network = status.network.unwrap();
    assert_eq!(network.ip, "10.0.0.2");
    assert_eq!(network.additional_ips[0].ip, "fd00::2");
    assert_eq!(scene.list(Default::default()), ["web"]);
    scene.stop(&id).unwrap();
    let status = scene.status(&id).unwrap().status.unwrap();
    assert_eq!(status.state(), v1::PodSandboxState::SandboxNotready);
    scene.stop(&id).unwrap();
    scene.remove(&id).unwrap();
    scene.remove(&id).unwrap();
    scene.stop(&id).unwrap();
    assert_eq!(scene.status(&id).unwrap_err().code(), Code::NotFound);
    assert!(scene.machine.host.things().is_empty());
}

#[test]
fn a_retry_joins_and_another_spec_does_not() {
    let scene = scene();
    let id = scene.run(pod("web", 0), "").unwrap();
    assert_eq!(scene.run(pod("web", 0), "").unwrap(), id);
    assert_eq!(
        scene.run(pod("web", 5), "").unwrap(),
        id,
        "with any attempt"
    );
    let mut other = pod("web", 0);
    other.hostname = "elsewhere".to_owned();
    let refused = scene.run(other, "").unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(refused.message().contains(&id), "{refused:?}");
}

#[test]
fn what_is_asked_for_wrongly_is_named() {
    let scene = scene();
    let nothing = v1::RunPodSandboxRequest::default();
    let runtime = scene.runtime.clone();
    let refused = scene.walk(async move { runtime.run_pod_sandbox(Request::new(nothing)).await });
    assert!(refused.unwrap_err().message().contains("metadata"));
    let mut nameless = pod("", 0);
    let refused = scene.run(nameless.clone(), "").unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("metadata.name"), "{refused:?}");
    nameless.metadata = None;
    let refused = scene.run(nameless, "").unwrap_err();
    assert!(refused.message().contains("metadata"), "{refused:?}");
    let refused = scene.run(pod("web", 0), "kta").unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let message = refused.message();
    assert!(
        message.contains("'kta'") && message.contains("crun, vm"),
        "{message}"
    );
    assert!(scene.runtime.engine.list().is_empty());
}

#[test]
fn an_id_may_be_a_unique_prefix_and_nothing_else() {
    let scene = scene();
    let one = scene.run(pod("one", 0), "").unwrap();
    let two = scene.run(pod("two", 0), "").unwrap();
    let length = iter::zip(one.chars(), two.chars())
        .take_while(|(a, b)| a == b)
        .count();
    let status = |id: &str| scene.status(id).map(|told| told.status.unwrap().id);
    assert_eq!(status(&one[..=length]).unwrap(), one);
    assert!(length > 0, "{one} and {two} begin differently");
    let refused = status(&one[..length]).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let message = refused.message();
    assert!(
        message.contains(&one) && message.contains(&two),
        "{message}"
    );
    for call in [scene.stop(""), scene.remove(""), scene.status("").map(drop)] {
        assert_eq!(call.unwrap_err().code(), Code::InvalidArgument);
    }
    let long = "x".repeat(100_000);
    scene.stop(&long).unwrap();
    scene.remove("web\0\n").unwrap();
    let refused = scene.status(&long).unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().len() < 200, "{refused:?}");
    // A name is no id.
    assert_eq!(status("one").unwrap_err().code(), Code::NotFound);
}

#[test]
fn a_list_is_filtered_by_id_state_and_labels() {
    let scene = scene();
    let one = scene.run(pod("one", 0), "").unwrap();
    let two = scene.run(pod("two", 0), "").unwrap();
    scene.stop(&two).unwrap();
    assert_eq!(scene.list(Default::default()).len(), 2);
    assert_eq!(scene.list(id_filter(&one)), ["one"]);
    assert_eq!(scene.list(id_filter(&two[..two.len() - 1])).len(), 1);
    assert!(scene.list(id_filter("nobody")).is_empty());
    let state = |state: v1::PodSandboxState| v1::PodSandboxFilter {
        state: Some(v1::PodSandboxStateValue {
            state: state.into(),
        }),
        ..Default::default()
    };
    assert_eq!(
        scene.list(state(v1::PodSandboxState::SandboxReady)),
        ["one"]
    );
    assert_eq!(
        scene.list(state(v1::PodSandboxState::SandboxNotready)),
        ["two"]
    );
    let labels = |value: &str| v1::PodSandboxFilter {
        label_selector: [("app".to_owned(), value.to_owned())].into(),
        ..Default::default()
    };
    assert_eq!(scene.list(labels("two")), ["two"]);
    assert!(scene.list(labels("three")).is_empty());
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
    use v1::ContainerEventType as Type;
    let words: Vec<_> = heard
        .iter()
        .map(|event| event.container_event_type())
        .collect();
    let expected = [
        Type::ContainerCreatedEvent,
        Type::ContainerStartedEvent,
        Type::ContainerStoppedEvent,
        Type::ContainerDeletedEvent,
    ];
    assert_eq!(words, expected);
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

#[test]
fn the_node_s_condition_has_a_reason() {
    let told = |scene: &Scene| {
        let ask = async |cri: Arc<Runtime>| cri.status(nothing()).await;
        scene.ask(ask).unwrap()
    };
    let ready = told(&scene());
    assert!(
        ready
            .status
            .unwrap()
            .conditions
            .iter()
            .all(|one| one.status)
    );
    let features: Vec<_> = ready
        .runtime_handlers
        .iter()
        .map(|handler| {
            (
                handler.name.as_str(),
                handler.features.unwrap().user_namespaces,
            )
        })
        .collect();
    assert_eq!(features, [("", true), ("crun", true), ("vm", false)]);
    let without = scene_with(Lent {
        network: Some(Condition {
            holds: false,
            reason: "NetworkPluginNotReady".to_owned(),
            message: "there is none".to_owned(),
        }),
        ..Lent::default()
    });
    let conditions = told(&without).status.unwrap().conditions;
    let network = conditions
        .iter()
        .find(|one| one.r#type == "NetworkReady")
        .unwrap();
    assert!(!network.status && network.message == "there is none");
    assert!(
        conditions
            .iter()
            .any(|one| one.r#type == "RuntimeReady" && one.status)
    );
}

#[test]
fn statistics_and_metrics_say_the_same() {
    let scene = scene();
    let id = scene.run(pod("web", 0), "").unwrap();
    let request = v1::PodSandboxStatsRequest {
        pod_sandbox_id: id.clone(),
    };
    let ask = async move |cri: Arc<Runtime>| cri.pod_sandbox_stats(Request::new(request)).await;
    let stats = scene.ask(ask).unwrap().stats.unwrap().linux.unwrap();
    let memory = stats.memory.unwrap();
    assert_eq!(
        memory.available_bytes.unwrap().value,
        2,
        "limit less working set"
    );
    let network = stats.network.unwrap();
    assert_eq!(network.default_interface.unwrap().name, "eth0");
    assert_eq!(network.interfaces[0].name, "eth1");
    let all = async |cri: Arc<Runtime>| cri.list_pod_sandbox_metrics(nothing()).await;
    let metrics = scene.ask(all).unwrap().pod_metrics.remove(0).metrics;
    assert_eq!(metrics.len(), 5 + 2 * 8);
    let all = async |cri: Arc<Runtime>| cri.list_metric_descriptors(nothing()).await;
    let described = scene.ask(all).unwrap().descriptors;
    for metric in &metrics {
        let keys = described
            .iter()
            .find(|one| one.name == metric.name)
            .unwrap();
        assert_eq!(
            keys.label_keys.len(),
            metric.label_values.len(),
            "{}",
            metric.name
        );
        assert_eq!((metric.timestamp, &metric.label_values[0]), (7, &id));
    }
    let sent = metrics.iter().find(|metric| {
        metric.name == "container_network_transmit_bytes_total" && metric.label_values[1] == "eth1"
    });
    assert_eq!(sent.unwrap().value.unwrap().value, 200);
}

#[test]
fn a_kernel_that_says_nothing_holds_no_list() {
    let scene = scene_with(Lent {
        silent: true,
        ..Lent::default()
    });
    let id = scene.run(pod("web", 0), "").unwrap();
    let request = v1::PodSandboxStatsRequest { pod_sandbox_id: id };
    let ask = async move |cri: Arc<Runtime>| cri.pod_sandbox_stats(Request::new(request)).await;
    assert!(
        scene
            .ask(ask)
            .unwrap_err()
            .message()
            .contains("says nothing")
    );
    let all = async |cri: Arc<Runtime>| cri.list_pod_sandbox_stats(nothing()).await;
    assert!(scene.ask(all).unwrap().stats.is_empty());
}

#[test]
fn kubelet_s_first_questions_are_answered() {
    let scene = scene();
    let ask = async |cri: Arc<Runtime>| cri.version(nothing()).await;
    let version = scene.ask(ask).unwrap();
    assert_eq!(version.version, "0.1.0");
    assert_eq!(
        (
            version.runtime_name.as_str(),
            version.runtime_version.as_str()
        ),
        ("podwalk", "1.2.3")
    );
    let ask = async |cri: Arc<Runtime>| cri.runtime_config(nothing()).await;
    let driver = scene.ask(ask).unwrap().linux.unwrap().cgroup_driver();
    assert_eq!(driver, v1::CgroupDriver::Cgroupfs);
    let request = v1::UpdateRuntimeConfigRequest {
        runtime_config: Some(v1::RuntimeConfig {
            network_config: Some(v1::NetworkConfig {
                pod_cidr: "10.1.0.0/24".to_owned(),
            }),
        }),
    };
    let ask = async move |cri: Arc<Runtime>| cri.update_runtime_config(Request::new(request)).await;
    scene.ask(ask).unwrap();
    assert_eq!(*scene.lent.cidr.lock().unwrap(), "10.1.0.0/24");
}

#[test]
fn containers_are_not_there_and_clients_can_live_with_it() {
    let scene = scene();
    let ask = async |cri: Arc<Runtime>| cri.list_containers(nothing()).await;
    assert!(scene.ask(ask).unwrap().containers.is_empty());
    let ask = async |cri: Arc<Runtime>| cri.stop_container(nothing()).await;
    scene.ask(ask).unwrap();
    let ask = async |cri: Arc<Runtime>| cri.remove_container(nothing()).await;
    scene.ask(ask).unwrap();
    let ask = async |cri: Arc<Runtime>| cri.container_status(nothing()).await;
    assert_eq!(scene.ask(ask).unwrap_err().code(), Code::NotFound);
    let ask = async |cri: Arc<Runtime>| cri.create_container(nothing()).await;
    let refused = scene.ask(ask).unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(
        refused
            .message()
            .starts_with("CreateContainer is not there yet")
    );
}

fn nothing<T: Default>() -> Request<T> {
    Request::new(T::default())
}
