use std::collections::BTreeSet;

use podwalk_engine::spec::{
    GroupsPolicy, IdMapping, Profile, Protocol, Resources, Security, SelinuxLabel, Sharing,
    UserMappings,
};
use serde_json::{Value, json};

use super::*;

mod any;
mod fields;
mod refusals;

/// Every field that a file can have and a pod can be granted, each unlike its default.
pub(crate) const ALL: &str = include_str!("tests/all.json");

fn spec(text: &str) -> Result<PodSpec, String> {
    let config = PodSandboxConfig::parse(text).map_err(|error| error.to_string())?;
    let spec = config.into_spec(None, String::new());
    spec.map_err(|error| error.to_string())
}

/// A configuration with one field, named by its path.
fn with(path: &str, value: Value) -> Value {
    path.rsplit('.')
        .fold(value, |inner, name| json!({ name: inner }))
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
    let all: Value = serde_json::from_str(ALL).unwrap();
    let yaml = serde_norway::to_string(&all).unwrap();
    assert_eq!(
        PodSandboxConfig::parse(&yaml).unwrap(),
        PodSandboxConfig::parse(ALL).unwrap()
    );
}

/// Shaped like `docs/examples/podsandbox-config.json` of cri-tools, and nydus's in YAML.
#[test]
fn files_as_the_documentation_of_crictl_has_them_are_read() {
    let file = r#"{
      "metadata": {
        "name": "sandbox",
        "namespace": "default",
        "attempt": 1,
        "uid": "c0ffee"
      },
      "log_directory": "/tmp",
      "linux": {
        "security_context": {
          "namespace_options": {
            "network": 2
          }
        }
      }
    }"#;
    let from_json = spec(file).unwrap();
    assert_eq!((from_json.name.as_str(), from_json.attempt), ("sandbox", 1));
    assert_eq!(from_json.network, NetworkMode::Host);
    assert_eq!(from_json.validate(), Ok(()));
    let file = "metadata:\n  attempt: 1\n  name: sandbox\n  namespace: default\n  uid: c0ffee\nlog_directory: /tmp\nlinux:\n  security_context:\n    namespace_options:\n      network: 2\n";
    assert_eq!(spec(file).unwrap(), from_json);
    let ordinary = spec(r#"{"metadata": {"name": "a"}, "log_directory": "/tmp", "linux": {}}"#);
    assert_eq!(ordinary.unwrap().network, NetworkMode::Cni);
}

#[test]
fn a_pod_of_which_nothing_is_said_is_an_ordinary_one() {
    let expected = PodSpec {
        namespace: "default".to_owned(),
        ..PodSpec::default()
    };
    for text in [
        "{}",
        "metadata: {}",
        "metadata: {namespace: ''}",
        r#"{"linux": {"security_context": {"namespace_options": {}}, "resources": {}, "overhead": {}}}"#,
        r#"{"linux": {"security_context": {"selinux_options": {}, "seccomp": {}, "apparmor": {}}}}"#,
    ] {
        assert_eq!(spec(text).as_ref(), Ok(&expected), "{text}");
    }
    let default = PodSandboxConfig::default();
    assert_eq!(default.into_spec(None, String::new()), Ok(expected));
}

#[test]
fn only_a_file_without_a_namespace_is_in_the_default_one() {
    let mut config = PodSandboxConfig::parse("metadata: {name: web}").unwrap();
    config.metadata.namespace.clear();
    let spec = config.into_spec(None, String::new()).unwrap();
    assert_eq!(spec.namespace, "");
    assert_eq!(spec.validate().unwrap_err().field, "metadata.namespace");
}

#[test]
fn what_was_asked_for_on_the_command_line_wins() {
    for mode in ["POD", "CONTAINER", "NODE"] {
        let options = with(
            "linux.security_context.namespace_options.network",
            json!(mode),
        );
        let config = PodSandboxConfig::parse(&options.to_string()).unwrap();
        let spec = config.into_spec(Some(NetworkMode::None), "runc".to_owned());
        let spec = spec.unwrap();
        assert_eq!(spec.network, NetworkMode::None);
        assert_eq!(spec.runtime_handler, "runc");
    }
}

#[test]
fn a_port_that_no_host_port_leads_to_is_no_mapping() {
    let ports = json!([
        {"container_port": 80},
        {"protocol": "SCTP", "container_port": 53, "host_port": 5353, "host_ip": "127.0.0.1"},
        {"container_port": 443, "host_port": 0},
        {"container_port": 0, "host_port": 65535},
    ]);
    let spec = spec(&json!({ "port_mappings": ports }).to_string()).unwrap();
    let expected = [
        spec::PortMapping {
            protocol: Protocol::Sctp,
            pod_port: 53,
            host_port: 5353,
            host_ip: "127.0.0.1".to_owned(),
        },
        spec::PortMapping {
            protocol: Protocol::Tcp,
            pod_port: 0,
            host_port: 65535,
            host_ip: String::new(),
        },
    ];
    assert_eq!(spec.ports, expected);
}

/// The API server gives each container port of such a pod its own number as host port, and kubelet
/// passes them on.
#[test]
fn a_port_of_the_host_s_network_that_leads_to_itself_is_no_mapping() {
    let ports = json!([
        {"container_port": 9100, "host_port": 9100, "host_ip": "127.0.0.1"},
        {"container_port": 80},
    ]);
    let text = |ports: &Value| {
        let options = json!({"namespace_options": {"network": "NODE"}});
        json!({"port_mappings": ports, "linux": {"security_context": options}}).to_string()
    };
    let unmapped = spec(&text(&ports)).unwrap();
    assert_eq!(unmapped.network, NetworkMode::Host);
    assert_eq!(unmapped.ports, []);
    let elsewhere = spec(&text(&json!([{"container_port": 80, "host_port": 9100}]))).unwrap();
    assert_eq!(elsewhere.ports.len(), 1);
}

#[test]
fn what_is_written_is_read_again() {
    for text in [ALL, "{}", "metadata: {name: web}"] {
        let config = PodSandboxConfig::parse(text).unwrap();
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(PodSandboxConfig::parse(&written).unwrap(), config);
    }
}

#[test]
fn a_misspelt_key_is_refused_by_its_name() {
    for (text, key) in [
        (r#"{"metadata": {"name": "x"}, "labls": {}}"#, "labls"),
        ("metadata: {name: x}\nlinux: {sysctl: {}}", "sysctl"),
        (
            "linux: {security_context: {run_as_username: x}}",
            "run_as_username",
        ),
        ("linux: {overhead: {memory: 1}}", "memory"),
        // A status has it; `podsandbox-config.yaml` of cri-tools says it all the same.
        ("linux: {namespaces: {options: {}}}", "namespaces"),
        ("linux: {security_context: {seccomp: {type: 1}}}", "type"),
    ] {
        let error = spec(text).unwrap_err();
        assert!(error.contains("unknown field"), "{error}");
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn a_text_that_does_not_read_is_told_with_its_place() {
    for text in [
        "{\"metadata\": ",
        "metadata: [",
        "{}{}",
        "metadata: {name: [7]}",
    ] {
        let error = PodSandboxConfig::parse(text).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
