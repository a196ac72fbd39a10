use super::*;

const CRICTL: &str = r#"{
    "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "attempt": 2},
    "hostname": "web-0",
    "log_directory": "/var/log/pods/web",
    "dns_config": {"servers": ["10.0.0.10"], "searches": ["shop.svc"], "options": ["ndots:5"]},
    "port_mappings": [
        {"protocol": 1, "container_port": 53, "host_port": 5353, "host_ip": "127.0.0.1"},
        {"container_port": 80}
    ],
    "labels": {"app": "web"},
    "annotations": {"a": "b"},
    "linux": {
        "cgroup_parent": "/kubepods/web",
        "sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"},
        "security_context": {
            "namespace_options": {"network": 0, "pid": 1, "ipc": "NODE"},
            "supplemental_groups": [7],
            "seccomp_profile_path": "unconfined"
        },
        "resources": {"cpu_shares": 512, "memory_limit_in_bytes": 1048576}
    }
}"#;

fn spec(text: &str) -> anyhow::Result<PodSpec> {
    PodSandboxConfig::parse(text)?.into_spec(None, String::new())
}

#[test]
fn every_field_of_crictls_json_arrives() {
    let spec = spec(CRICTL).unwrap();
    assert_eq!(
        (spec.name.as_str(), spec.namespace.as_str()),
        ("web", "shop")
    );
    assert_eq!((spec.uid.as_str(), spec.attempt), ("u-1", 2));
    assert_eq!(spec.hostname, "web-0");
    assert_eq!(spec.log_directory, "/var/log/pods/web");
    assert_eq!(spec.dns.servers, ["10.0.0.10"]);
    assert_eq!(spec.dns.searches, ["shop.svc"]);
    assert_eq!(spec.dns.options, ["ndots:5"]);
    assert_eq!(spec.labels["app"], "web");
    assert_eq!(spec.annotations["a"], "b");
    assert_eq!(spec.cgroup_parent, "/kubepods/web");
    assert_eq!(spec.sysctls["net.ipv4.ip_unprivileged_port_start"], "0");
    assert_eq!(
        (spec.security.pid, spec.security.ipc),
        (Sharing::Container, Sharing::Node)
    );
    assert_eq!(spec.security.supplemental_groups, [7]);
    assert_eq!(spec.security.seccomp, "unconfined");
    assert_eq!(
        (spec.resources.cpu_shares, spec.resources.memory_limit),
        (512, 1 << 20)
    );
    assert_eq!(spec.network, NetworkMode::Cni);
}

#[test]
fn a_port_that_no_host_port_leads_to_is_no_mapping() {
    let ports = spec(CRICTL).unwrap().ports;
    let expected = PortMapping {
        protocol: Protocol::Udp,
        pod_port: 53,
        host_port: 5353,
        host_ip: "127.0.0.1".to_owned(),
    };
    assert_eq!(ports, [expected]);
}

#[test]
fn yaml_is_the_same() {
    let yaml = "metadata:\n  name: web\nlinux:\n  security_context:\n    namespace_options:\n      network: NODE\n";
    let spec = spec(yaml).unwrap();
    assert_eq!(
        (spec.name.as_str(), spec.namespace.as_str()),
        ("web", "default")
    );
    assert_eq!(spec.network, NetworkMode::Host);
}

#[test]
fn what_was_asked_for_on_the_command_line_wins() {
    let config = PodSandboxConfig::parse("metadata: {name: web}").unwrap();
    let spec = config
        .into_spec(Some(NetworkMode::None), "runc".to_owned())
        .unwrap();
    assert_eq!(
        (spec.network, spec.runtime_handler.as_str()),
        (NetworkMode::None, "runc")
    );
}

#[test]
fn a_misspelt_key_is_refused_by_its_name() {
    let text = format!(
        "{:#}",
        spec(r#"{"metadata": {"name": "x"}, "labls": {}}"#).unwrap_err()
    );
    assert!(text.contains("labls"), "{text}");
    let text = format!(
        "{:#}",
        spec("metadata: {name: x}\nlinux: {sysctl: {}}").unwrap_err()
    );
    assert!(text.contains("sysctl"), "{text}");
}

#[test]
fn numbers_out_of_range_are_refused_by_their_field() {
    for (text, field) in [
        (
            r#"{"port_mappings": [{"container_port": 70000, "host_port": 1}]}"#,
            "container_port 70000",
        ),
        (
            r#"{"port_mappings": [{"container_port": 1, "host_port": -1}]}"#,
            "host_port -1",
        ),
        (
            r#"{"port_mappings": [{"protocol": 9}]}"#,
            "'9' is no protocol",
        ),
        (
            r#"{"linux": {"resources": {"cpu_shares": -2}}}"#,
            "cpu_shares -2",
        ),
        (
            r#"{"linux": {"security_context": {"supplemental_groups": [-1]}}}"#,
            "-1",
        ),
        (
            r#"{"linux": {"security_context": {"namespace_options": {"network": 1}}}}"#,
            "CONTAINER",
        ),
        (
            r#"{"linux": {"security_context": {"namespace_options": {"network": "X"}}}}"#,
            "'X'",
        ),
    ] {
        let error = format!("{:#}", spec(text).unwrap_err());
        assert!(error.contains(field), "{text}: {error}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    let config = PodSandboxConfig::parse(CRICTL).unwrap();
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(PodSandboxConfig::parse(&written).unwrap(), config);
}
