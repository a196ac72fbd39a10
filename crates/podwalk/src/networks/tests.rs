use std::collections::BTreeMap;

use podwalk_cni::{ConfigDir, RuntimeOptions};
use podwalk_engine::id::InstanceId;
use podwalk_engine::spec::PortMapping;

use super::*;

/// Networks `a` (default), `b` and `c`, and a file that is broken.
fn networks() -> (tempfile::TempDir, Networks) {
    let directory = tempfile::tempdir().unwrap();
    for (order, name) in [(10, "a"), (20, "b"), (30, "c")] {
        let text = format!(
            r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{{"type":"x","capabilities":{{"portMappings":true}}}}]}}"#
        );
        std::fs::write(
            directory.path().join(format!("{order}-{name}.conflist")),
            text,
        )
        .unwrap();
    }
    std::fs::write(directory.path().join("90-bad.conflist"), "{").unwrap();
    let networks = of(directory.path());
    (directory, networks)
}

fn of(directory: &Path) -> Networks {
    let loaded = ConfigDir::new(directory).load();
    let runtime = Runtime::new(RuntimeOptions::new(vec!["/usr/lib/cni".into()]));
    Networks::new(runtime, loaded, directory.to_owned())
}

fn spec() -> PodSpec {
    PodSpec {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        uid: "u-1".to_owned(),
        ..PodSpec::default()
    }
}

fn asking_for(annotation: &str) -> PodSpec {
    let key = podwalk_cni::NETWORKS_ANNOTATION.to_owned();
    PodSpec {
        annotations: BTreeMap::from([(key, annotation.to_owned())]),
        ..spec()
    }
}

fn ordered(configuration: &str) -> (tempfile::TempDir, Networks) {
    let (directory, networks) = networks();
    let config = crate::config::Config::parse(configuration).unwrap();
    (directory, networks.in_order(Order::of(&config)))
}

/// Network, interface, and whether it is late.
fn told(plan: &[PlannedAttachment]) -> Vec<(&str, &str, bool)> {
    plan.iter()
        .map(|one| (one.network.as_str(), one.interface.as_str(), one.late))
        .collect()
}

#[test]
fn late_networks_come_last_and_keep_their_interfaces() {
    let (_directory, networks) = ordered("[cni.networks.b]\nattach = 'after-start'\n");
    let plan = networks.plan(&asking_for("b,c")).unwrap();
    let expected = [
        ("a", "eth0", false),
        ("c", "net2", false),
        ("b", "net1", true),
    ];
    assert_eq!(told(&plan), expected);
}

#[test]
fn a_handler_s_word_goes_before_the_network_s() {
    let text = "[runtime]\ndefault = 'runc'\n\
                [runtime.handlers.runc.networks.b]\nattach = 'after-start'\n\
                [runtime.handlers.crun.networks.c]\nattach = 'before-start'\n\
                [cni.networks.c]\nattach = 'after-start'\n";
    let (_directory, networks) = ordered(text);
    for (handler, late) in [
        ("runc", vec!["b", "c"]),
        // The default handler, by no name.
        ("", vec!["b", "c"]),
        ("crun", vec![]),
        ("youki", vec!["c"]),
    ] {
        let mut spec = asking_for("b,c");
        spec.runtime_handler = handler.to_owned();
        let plan = networks.plan(&spec).unwrap();
        let found: Vec<_> = plan.iter().filter(|planned| planned.late).collect();
        let names: Vec<_> = found.iter().map(|one| one.network.as_str()).collect();
        assert_eq!(names, late, "{handler}");
    }
}

#[test]
fn the_default_network_is_not_attached_late() {
    for (text, key) in [
        (
            "[cni.networks.a]\nattach = 'after-start'\n",
            "cni.networks.a.attach",
        ),
        (
            "[runtime.handlers.crun.networks.a]\nattach = 'after-start'\n",
            "runtime.handlers.crun.networks.a.attach",
        ),
    ] {
        let (_directory, networks) = ordered(text);
        let error = networks.plan(&spec()).unwrap_err().to_string();
        assert!(
            error.contains("network 'a'") && error.contains(key),
            "{error}"
        );
    }
    let (_directory, networks) =
        ordered("[runtime.handlers.runc.networks.a]\nattach = 'after-start'\n");
    assert!(networks.plan(&spec()).is_ok(), "another handler's word");
}

#[test]
fn the_first_conflist_is_the_default_network() {
    let (_directory, networks) = networks();
    let plan = networks.plan(&spec()).unwrap();
    assert_eq!(plan.len(), 1);
    assert_eq!(
        (plan[0].network.as_str(), plan[0].interface.as_str()),
        ("a", "eth0")
    );
    let pod = [
        ("K8S_POD_NAMESPACE", "shop"),
        ("K8S_POD_NAME", "web"),
        ("K8S_POD_UID", "u-1"),
    ];
    for (key, value) in pod {
        assert!(
            plan[0]
                .arguments
                .contains(&(key.to_owned(), value.to_owned())),
            "{key}"
        );
    }
}

#[test]
fn scenario_44_extra_networks_come_after_the_default_always() {
    let (_directory, networks) = networks();
    let plan = networks.plan(&asking_for("c,b@lan0")).unwrap();
    let plan = plan
        .iter()
        .map(|p| (p.network.as_str(), p.interface.as_str()));
    assert_eq!(
        plan.collect::<Vec<_>>(),
        [("a", "eth0"), ("c", "net1"), ("b", "lan0")]
    );
}

#[test]
fn ports_bandwidth_and_dns_are_offered_to_the_default_network_alone() {
    let (_directory, networks) = networks();
    let mut spec = asking_for("b");
    spec.ports = vec![PortMapping {
        protocol: Protocol::Sctp,
        pod_port: 80,
        host_port: 8080,
        host_ip: "127.0.0.1".to_owned(),
    }];
    let limit = (
        "kubernetes.io/egress-bandwidth".to_owned(),
        "10M".to_owned(),
    );
    spec.annotations.extend([limit]);
    spec.dns.servers = vec!["10.0.0.10".to_owned()];
    let plan = networks.plan(&spec).unwrap();
    let offered: Value = serde_json::from_str(&plan[0].capability_arguments).unwrap();
    let mapping = &offered["portMappings"][0];
    assert_eq!(mapping["hostPort"], 8080);
    assert_eq!(mapping["containerPort"], 80);
    assert_eq!(mapping["protocol"], "sctp");
    assert_eq!(mapping["hostIP"], "127.0.0.1");
    assert_eq!(offered["bandwidth"]["egressRate"], 10_000_000);
    assert_eq!(offered["dns"]["servers"][0], "10.0.0.10");
    assert_eq!(plan[1].capability_arguments, "{}");
}

#[test]
fn a_network_that_is_not_there_is_named_with_those_that_are() {
    let (_directory, networks) = networks();
    let error = networks.plan(&asking_for("d")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Environment);
    assert!(
        error.to_string().contains("'d'") && error.to_string().contains("a, b, c"),
        "{error}"
    );
}

#[test]
fn without_a_network_the_error_says_where_one_belongs_and_what_is_broken() {
    let directory = tempfile::tempdir().unwrap();
    let error = of(directory.path()).plan(&spec()).unwrap_err().to_string();
    assert!(
        error.contains(&directory.path().display().to_string()),
        "{error}"
    );
    std::fs::write(directory.path().join("1.conflist"), "{").unwrap();
    let error = of(directory.path()).plan(&spec()).unwrap_err().to_string();
    assert!(error.contains("1.conflist"), "{error}");
}

#[test]
fn other_modes_have_no_attachments_and_need_no_network() {
    let directory = tempfile::tempdir().unwrap();
    let networks = of(directory.path());
    for network in [NetworkMode::None, NetworkMode::Host] {
        let spec = PodSpec { network, ..spec() };
        assert_eq!(networks.plan(&spec), Ok(Vec::new()));
    }
}

#[test]
fn what_is_pinned_is_read_again_after_the_file_is_gone() {
    let (directory, networks) = networks();
    let plan = networks.plan(&asking_for(
        r#"[{"name":"b","mac":"c2:b0:57:49:47:f1","cni-args":{"k":1}}]"#,
    ));
    let plan = plan.unwrap();
    drop(directory);
    let id = PodId::new([1; 12], InstanceId([2; 4]));
    let pinned = Pinned::read(id, &plan[1], Some(Path::new("/run/netns/x"))).unwrap();
    assert_eq!(pinned.conflist.name(), "b");
    assert_eq!(pinned.attachment.container_id, id.to_string());
    assert_eq!(
        pinned.attachment.capability_args["mac"],
        "c2:b0:57:49:47:f1"
    );
    assert_eq!(pinned.attachment.config_args["k"], 1);
    let own = ("K8S_POD_INFRA_CONTAINER_ID".to_owned(), id.to_string());
    assert!(pinned.attachment.args.contains(&own));
}

#[test]
fn a_damaged_pin_is_an_error_that_names_the_pod() {
    let id = PodId::new([1; 12], InstanceId([2; 4]));
    let planned = PlannedAttachment {
        network: "a".to_owned(),
        interface: "eth0".to_owned(),
        conflist: b"{".to_vec(),
        arguments: Vec::new(),
        capability_arguments: "{}".to_owned(),
        configuration_arguments: "{}".to_owned(),
        late: false,
    };
    let error = Pinned::read(id, &planned, None).err().unwrap();
    assert!(error.to_string().contains(&id.to_string()), "{error}");
}

#[test]
fn a_configuration_that_differs_in_nothing_is_not_another() {
    let (directory, networks) = networks();
    let before = networks.loaded();
    let load = || Arc::new(ConfigDir::new(directory.path()).load());
    networks.replace(load());
    assert!(Arc::ptr_eq(&before, &networks.loaded()));
    std::fs::remove_file(directory.path().join("90-bad.conflist")).unwrap();
    networks.replace(load());
    assert!(!Arc::ptr_eq(&before, &networks.loaded()));
}
