//! What is told of the node, and of what pods use.

use super::*;

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
    let update = |cidr: &str| {
        let request = v1::UpdateRuntimeConfigRequest {
            runtime_config: Some(v1::RuntimeConfig {
                network_config: Some(v1::NetworkConfig {
                    pod_cidr: cidr.to_owned(),
                }),
            }),
        };
        scene.ask(async move |cri| cri.update_runtime_config(Request::new(request)).await)
    };
    update("10.1.0.0/24").unwrap();
    let refused = update("nonsense").unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("pod_cidr: it is none"),
        "{refused:?}"
    );
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
