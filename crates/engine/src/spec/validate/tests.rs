use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::fixture::{pod_id, spec};
use crate::spec::Protocol;
use crate::step::NetworkMode;

mod resources;
mod security;

fn valid() -> PodSpec {
    PodSpec {
        uid: "1f0c-22".to_owned(),
        hostname: "web-1.example".to_owned(),
        log_directory: "/var/log/pods/web".to_owned(),
        cgroup_parent: "kubepods.slice/pod.slice".to_owned(),
        ports: vec![port(8080, ""), port(8081, "127.0.0.1")],
        sysctls: [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("kernel/shm_rmid_forced", "1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
        ..spec(NetworkMode::Cni)
    }
}

fn port(host_port: u16, host_ip: &str) -> PortMapping {
    PortMapping {
        protocol: Protocol::Tcp,
        pod_port: 80,
        host_port,
        host_ip: host_ip.to_owned(),
    }
}

fn one(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

/// Changes one thing, and names the field that must be blamed.
fn refused(change: impl FnOnce(&mut PodSpec), field: &str) {
    let mut spec = valid();
    change(&mut spec);
    let error = spec.validate().unwrap_err();
    assert_eq!(error.field, field, "{error}");
    let told = error.to_string();
    assert!(
        told.len() < 400,
        "an error is bounded: {} bytes",
        told.len()
    );
    assert!(
        !told.contains(char::is_control),
        "an error is one line: {told:?}"
    );
    assert!(!error.remedy.is_empty());
}

#[test]
fn what_is_right_is_taken() {
    assert_eq!(valid().validate(), Ok(()));
    assert_eq!(spec(NetworkMode::Host).validate(), Ok(()));
    assert_eq!(spec(NetworkMode::Pod(pod_id(2))).validate(), Ok(()));
    for name in ["a", &"a".repeat(253), "A_b-c.d", "9"] {
        let mut spec = valid();
        spec.name = name.to_owned();
        assert_eq!(spec.validate(), Ok(()));
    }
}

#[test]
fn names_are_refused_that_are_empty_long_or_lead_elsewhere() {
    let names = [
        "",
        &"a".repeat(254),
        &"a".repeat(300),
        "../up",
        ".hidden",
        "a/b",
        "a b",
        "é",
        "a\nb",
    ];
    for name in names {
        refused(|spec| spec.name = name.to_owned(), "metadata.name");
        refused(
            |spec| spec.namespace = name.to_owned(),
            "metadata.namespace",
        );
        if !name.is_empty() {
            refused(|spec| spec.uid = name.to_owned(), "metadata.uid");
            refused(
                |spec| spec.runtime_handler = name.to_owned(),
                "runtime_handler",
            );
        }
    }
}

#[test]
fn a_nul_byte_is_refused_wherever_it_is() {
    let nul = || "a\0b".to_owned();
    refused(|spec| spec.name = nul(), "metadata.name");
    refused(|spec| spec.hostname = nul(), "hostname");
    refused(|spec| spec.log_directory = nul(), "log_directory");
    refused(|spec| spec.cgroup_parent = nul(), "cgroup_parent");
    refused(|spec| spec.labels = one("a\0", "b"), "labels");
    refused(|spec| spec.labels = one("a", "b\0"), "labels");
    refused(|spec| spec.annotations = one("a", "\0"), "annotations");
    refused(|spec| spec.annotations = one("\0", "a"), "annotations");
    refused(|spec| spec.sysctls = one("kernel.a", "\0"), "sysctls");
    refused(|spec| spec.dns.servers = vec![nul()], "dns_config.servers");
    refused(|spec| spec.dns.options = vec![nul()], "dns_config.options");
    refused(|spec| spec.ports[0].host_ip = nul(), "port_mappings");
}

#[test]
fn more_than_a_record_can_hold_is_refused_and_the_largest_field_is_named() {
    let mib = "x".repeat(1 << 20);
    refused(|spec| spec.annotations = one("note", &mib), "annotations");
    refused(|spec| spec.labels = one(&mib, "note"), "labels");
    refused(
        |spec| spec.log_directory = format!("/{mib}"),
        "log_directory",
    );
    // Many small ones are as large as a big one.
    let many = |spec: &mut PodSpec| {
        let ports = (1..=u16::MAX).map(|number| port(number, ""));
        spec.ports = ports.collect();
    };
    refused(many, largest());
    refused(
        |spec| spec.security.supplemental_groups = vec![0; 100_000],
        largest(),
    );
    let mut just_right = valid();
    just_right.annotations = one("note", &"x".repeat(MAX_SPEC_BYTES - 2048));
    assert_eq!(just_right.validate(), Ok(()));
}

/// A port is more than the text of its address.
#[test]
fn each_port_counts_with_its_numbers() {
    let with = |count: u16| {
        let mut spec = valid();
        spec.ports = (1..=count).map(|number| port(number, "")).collect();
        spec.validate()
    };
    assert_eq!(with(10_000), Ok(()));
    assert_eq!(with(11_000).unwrap_err().field, largest());
}

/// The field with the longest text of the valid spec.
fn largest() -> &'static str {
    "sysctls"
}

#[test]
fn ports_are_refused_that_are_none_or_taken_twice() {
    refused(|spec| spec.ports[0].host_port = 0, "port_mappings");
    refused(|spec| spec.ports[0].pod_port = 0, "port_mappings");
    refused(|spec| spec.ports.push(port(8080, "")), "port_mappings");
    refused(
        |spec| spec.ports.push(port(8080, "10.0.0.1")),
        "port_mappings",
    );
    refused(
        |spec| spec.ports.push(port(8081, "0.0.0.0")),
        "port_mappings",
    );
    refused(
        |spec| spec.ports[0].host_ip = "localhost".to_owned(),
        "port_mappings",
    );
    for mode in [
        NetworkMode::None,
        NetworkMode::Host,
        NetworkMode::Pod(pod_id(2)),
    ] {
        refused(
            |spec| {
                spec.network = mode;
                spec.sysctls.clear();
            },
            "port_mappings",
        );
    }
}

#[test]
fn the_same_port_of_another_protocol_or_address_is_another() {
    let mut spec = valid();
    let mut udp = port(8080, "");
    udp.protocol = Protocol::Udp;
    spec.ports = vec![
        port(8080, "10.0.0.1"),
        port(8080, "10.0.0.2"),
        udp,
        port(8080, "fd00::1"),
    ];
    assert_eq!(spec.validate(), Ok(()));
}

#[test]
fn an_address_is_the_same_in_every_spelling() {
    let same = ["fd00::1", "fd00:0:0:0:0:0:0:1", "FD00::0001"];
    for ip in same {
        assert!(port(80, ip).collides(&port(80, same[0])), "{ip}");
    }
    for all in ["", "0.0.0.0", "::", "0:0:0:0:0:0:0:0"] {
        assert!(port(80, all).collides(&port(80, "fd00::1")), "{all}");
        assert!(port(80, "10.0.0.1").collides(&port(80, all)), "{all}");
    }
    assert!(!port(80, "fd00::1").collides(&port(80, "fd00::2")));
}

#[test]
fn sysctls_are_refused_that_are_no_names_or_would_change_the_host() {
    for key in [
        "",
        "net..ipv4",
        "/etc/passwd",
        "net.ipv4/../../x",
        "a b",
        "kernel.",
        "é",
    ] {
        refused(|spec| spec.sysctls = one(key, "1"), "sysctls");
    }
    for mode in [NetworkMode::Host, NetworkMode::Pod(pod_id(2))] {
        for key in [
            "net.ipv4.ip_forward",
            "net/ipv4/ip_forward",
            "net.ipv4/ip_forward",
        ] {
            let change = |spec: &mut PodSpec| {
                spec.network = mode.clone();
                spec.ports.clear();
                spec.sysctls = one(key, "1");
            };
            refused(change, "sysctls");
        }
    }
}

#[test]
fn paths_that_climb_out_or_hang_in_the_air_are_refused() {
    refused(
        |spec| spec.log_directory = "/var/log/../../etc".to_owned(),
        "log_directory",
    );
    refused(
        |spec| spec.log_directory = "var/log".to_owned(),
        "log_directory",
    );
    refused(|spec| spec.cgroup_parent = "..".to_owned(), "cgroup_parent");
    refused(
        |spec| spec.cgroup_parent = "a/../b".to_owned(),
        "cgroup_parent",
    );
    let mut spec = valid();
    spec.log_directory = "/var/log/a..b".to_owned();
    assert_eq!(spec.validate(), Ok(()));
}

#[test]
fn names_of_hosts_and_resolvers_are_checked() {
    refused(|spec| spec.hostname = "a_b".to_owned(), "hostname");
    refused(|spec| spec.hostname = "a".repeat(65), "hostname");
    refused(|spec| spec.hostname = "a\nb".to_owned(), "hostname");
    let in_host_s = |spec: &mut PodSpec| {
        spec.network = NetworkMode::Host;
        spec.ports.clear();
        spec.sysctls.clear();
    };
    refused(in_host_s, "hostname");
    let mut unnamed = valid();
    in_host_s(&mut unnamed);
    unnamed.hostname.clear();
    assert_eq!(unnamed.validate(), Ok(()), "kubelet names none there");
    for server in [
        "resolver",
        "",
        "fe80::1%",
        "fe80::1%two words",
        "10.0.0.1%eth0",
    ] {
        refused(
            |spec| spec.dns.servers = vec![server.to_owned()],
            "dns_config.servers",
        );
    }
    let mut host_s = valid();
    host_s.dns.servers = ["10.0.0.1", "fd00::1", "fe80::1%eth0"]
        .map(str::to_owned)
        .into();
    assert_eq!(host_s.validate(), Ok(()), "kubelet passes the host's on");
    for word in ["", "two words", "line\nbreak"] {
        refused(
            |spec| spec.dns.searches = vec![word.to_owned()],
            "dns_config",
        );
        refused(
            |spec| spec.dns.options = vec![word.to_owned()],
            "dns_config",
        );
    }
}

proptest! {
    /// Whatever a client sends, the answer is one bounded line or a spec that
    /// leads nowhere else.
    #[test]
    fn any_text_is_taken_or_refused_in_one_line(text in "\\PC*|.{0,400}") {
        let mut spec = valid();
        spec.name = text.clone();
        match spec.validate() {
            Ok(()) => prop_assert!(!text.contains(['/', '\0']) && !text.starts_with('.')),
            Err(error) => prop_assert!(error.to_string().len() < 400),
        }
    }

    #[test]
    fn collision_does_not_depend_on_who_came_first(
        one in "(|0\\.0\\.0\\.0|::|10\\.0\\.0\\.[12]|fd00::[12])",
        other in "(|0\\.0\\.0\\.0|::|10\\.0\\.0\\.[12]|fd00::[12])",
    ) {
        let (one, other) = (port(80, &one), port(80, &other));
        prop_assert_eq!(one.collides(&other), other.collides(&one));
        prop_assert!(one.collides(&one));
    }

    #[test]
    fn ports_are_refused_exactly_when_two_of_them_collide(
        given in proptest::collection::vec(
            (1..3_u16, "(|::|10\\.0\\.0\\.[12]|fd00::1|fd00:0::1)"),
            0..5,
        ),
    ) {
        let mut spec = valid();
        spec.ports = given.iter().map(|(number, ip)| port(*number, ip)).collect();
        let ports = &spec.ports;
        let collides_with_one_before =
            |at: usize| ports[..at].iter().any(|other| ports[at].collides(other));
        let collide = (0..ports.len()).any(collides_with_one_before);
        prop_assert_eq!(spec.validate().is_err(), collide);
    }
}

#[test]
fn an_error_quotes_what_was_given_in_one_line_of_bounded_length() {
    let mut spec = valid();
    spec.hostname = format!("a\nb{}", "x".repeat(100));
    let refused = spec.validate().unwrap_err();
    let quoted = format!("'a?b{}' is not a host name", "x".repeat(57));
    assert_eq!(refused.problem, quoted);
}

#[test]
fn two_specs_are_the_same_whichever_attempt_they_are() {
    let one = valid();
    let mut again = one.clone();
    again.attempt += 1;
    assert!(one.same_but_attempt(&again) && again.same_but_attempt(&one));
    let mut other = again;
    other.hostname.push('x');
    assert!(!one.same_but_attempt(&other));
}
