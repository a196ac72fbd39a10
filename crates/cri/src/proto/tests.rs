use std::fmt::Debug;

use podwalk_engine::id::PodId;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::config::tests::ALL;

fn one(key: &str, value: &str) -> HashMap<String, String> {
    HashMap::from([(key.to_owned(), value.to_owned())])
}

/// What the file `all.json` says. Nothing is left to a default, so that a field which a newer
/// `k8s-cri` brings must be added here, to the file, and to the table that is held against it.
fn all() -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: "web".to_owned(),
            uid: "u-1".to_owned(),
            namespace: "shop".to_owned(),
            attempt: 2,
        }),
        hostname: "web-0".to_owned(),
        log_directory: "/var/log/pods/web".to_owned(),
        dns_config: Some(v1::DnsConfig {
            servers: vec!["10.0.0.10".to_owned()],
            searches: vec!["shop.svc".to_owned()],
            options: vec!["ndots:5".to_owned()],
        }),
        port_mappings: vec![v1::PortMapping {
            protocol: v1::Protocol::Udp.into(),
            container_port: 53,
            host_port: 5353,
            host_ip: "127.0.0.1".to_owned(),
        }],
        labels: one("app", "web"),
        annotations: one("a", "b"),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: "/kubepods/web".to_owned(),
            security_context: Some(context()),
            sysctls: one("net.ipv4.ip_unprivileged_port_start", "0"),
            overhead: Some(overhead()),
            resources: Some(resources()),
        }),
        windows: None,
    }
}

#[allow(deprecated, reason = "clients still send seccomp_profile_path")]
fn context() -> v1::LinuxSandboxSecurityContext {
    let localhost = |name: &str| v1::SecurityProfile {
        profile_type: v1::security_profile::ProfileType::Localhost.into(),
        localhost_ref: name.to_owned(),
    };
    v1::LinuxSandboxSecurityContext {
        namespace_options: Some(options()),
        selinux_options: Some(v1::SeLinuxOption {
            user: "system_u".to_owned(),
            role: "system_r".to_owned(),
            r#type: "container_t".to_owned(),
            level: "s0:c1,c2".to_owned(),
        }),
        run_as_user: Some(v1::Int64Value { value: 1000 }),
        run_as_group: Some(v1::Int64Value { value: 1001 }),
        readonly_rootfs: true,
        supplemental_groups: vec![7, 8],
        supplemental_groups_policy: v1::SupplementalGroupsPolicy::Strict.into(),
        privileged: true,
        seccomp: Some(localhost("/etc/seccomp/web.json")),
        apparmor: Some(localhost("podwalk-web")),
        seccomp_profile_path: "localhost//etc/seccomp/web.json".to_owned(),
    }
}

fn options() -> v1::NamespaceOption {
    let run = |host_id, container_id, length| {
        vec![v1::IdMapping {
            host_id,
            container_id,
            length,
        }]
    };
    v1::NamespaceOption {
        network: v1::NamespaceMode::Node.into(),
        pid: v1::NamespaceMode::Container.into(),
        ipc: v1::NamespaceMode::Node.into(),
        target_id: String::new(),
        userns_options: Some(v1::UserNamespace {
            mode: v1::NamespaceMode::Pod.into(),
            uids: run(100_000, 1, 65_536),
            gids: run(200_000, 2, 65_535),
        }),
    }
}

fn hugepages(size: &str, limit: u64) -> v1::HugepageLimit {
    v1::HugepageLimit {
        page_size: size.to_owned(),
        limit,
    }
}

fn overhead() -> v1::LinuxContainerResources {
    v1::LinuxContainerResources {
        cpu_period: 1,
        cpu_quota: 2,
        cpu_shares: 3,
        memory_limit_in_bytes: 4,
        oom_score_adj: 5,
        cpuset_cpus: "6".to_owned(),
        cpuset_mems: "7".to_owned(),
        hugepage_limits: vec![hugepages("8MB", 9)],
        unified: one("memory.min", "10"),
        memory_swap_limit_in_bytes: 11,
    }
}

fn resources() -> v1::LinuxContainerResources {
    v1::LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 1 << 20,
        oom_score_adj: -998,
        cpuset_cpus: "0-3".to_owned(),
        cpuset_mems: "0".to_owned(),
        hugepage_limits: vec![hugepages("2MB", 4 << 20), hugepages("1GB", 0)],
        unified: one("memory.high", "917504"),
        memory_swap_limit_in_bytes: 2 << 20,
    }
}

fn spec(given: v1::PodSandboxConfig) -> Result<PodSpec, ConfigError> {
    config::PodSandboxConfig::try_from(given)?.into_spec(None, "runc".to_owned())
}

#[test]
fn every_field_says_the_same_as_in_a_file() {
    let mut file = config::PodSandboxConfig::parse(ALL).unwrap();
    // Ours alone; CRI cannot say them.
    for ours in [&mut file.linux.resources, &mut file.linux.overhead] {
        let limits = ours.as_mut().unwrap();
        assert_ne!(limits.pids_limit, 0);
        limits.pids_limit = 0;
    }
    assert_eq!(config::PodSandboxConfig::try_from(all()), Ok(file));
}

#[test]
fn what_is_asked_for_is_told_back() {
    let spec = spec(all()).unwrap();
    assert_eq!(Some(metadata(&spec)), all().metadata);
    assert_eq!(namespace_options(&spec), options());
    assert_eq!(spec.runtime_handler, "runc");
}

/// What is said of a pod to a runtime that reads CRI's message asks for the same pod.
#[test]
fn a_pod_said_in_cri_s_words_is_the_same_pod() {
    for asked in [all(), v1::PodSandboxConfig::default()] {
        let asked = spec(asked).unwrap();
        let message = v1::PodSandboxConfig::decode(encoded(&asked).as_slice()).unwrap();
        assert_eq!(message, pod_sandbox_config(&asked));
        assert_eq!(spec(message), Ok(asked));
    }
}

/// Kata takes each number that is there for the machine's size.
#[test]
fn limits_that_nobody_asked_for_are_not_said() {
    let linux = pod_sandbox_config(&PodSpec::default()).linux.unwrap();
    assert_eq!((linux.resources, linux.overhead), (None, None));
}

#[test]
fn namespaces_are_told_back_in_every_mode() {
    let modes = [
        v1::NamespaceMode::Pod,
        v1::NamespaceMode::Container,
        v1::NamespaceMode::Node,
    ];
    for network in [v1::NamespaceMode::Pod, v1::NamespaceMode::Node] {
        for (pid, ipc) in modes.iter().flat_map(|pid| modes.map(|ipc| (*pid, ipc))) {
            let options = v1::NamespaceOption {
                network: network.into(),
                pid: pid.into(),
                ipc: ipc.into(),
                ..Default::default()
            };
            let spec = spec(asking(options.clone())).unwrap();
            assert_eq!(namespace_options(&spec), options);
        }
    }
    for (network, told) in [
        (NetworkMode::None, v1::NamespaceMode::Pod),
        (NetworkMode::Pod(PodId([1; 16])), v1::NamespaceMode::Pod),
    ] {
        let spec = PodSpec {
            network,
            ..PodSpec::default()
        };
        assert_eq!(namespace_options(&spec).network(), told);
    }
}

fn asking(options: v1::NamespaceOption) -> v1::PodSandboxConfig {
    let mut given = v1::PodSandboxConfig::default();
    context_of(&mut given).namespace_options = Some(options);
    given
}

#[test]
fn nothing_is_an_ordinary_pod_without_a_namespace() {
    let spec = spec(v1::PodSandboxConfig::default()).unwrap();
    let expected = PodSpec {
        runtime_handler: "runc".to_owned(),
        ..PodSpec::default()
    };
    assert_eq!(spec, expected);
    let named = v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: "web".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let refused = self::spec(named).unwrap().validate().unwrap_err();
    assert_eq!(refused.field, "metadata.namespace");
}

#[test]
fn windows_is_refused() {
    let given = v1::PodSandboxConfig {
        windows: Some(v1::WindowsPodSandboxConfig::default()),
        ..all()
    };
    assert_eq!(spec(given).unwrap_err().field, "windows");
}

type Bend = fn(&mut v1::PodSandboxConfig, i32);

fn context_of(given: &mut v1::PodSandboxConfig) -> &mut v1::LinuxSandboxSecurityContext {
    let linux = given.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default()
}

fn options_of(given: &mut v1::PodSandboxConfig) -> &mut v1::NamespaceOption {
    let context = context_of(given);
    context.namespace_options.get_or_insert_default()
}

#[test]
fn a_number_that_is_no_value_is_refused_by_its_field() {
    let cases: [(Bend, &str); 8] = [
        (
            |given, number| given.port_mappings[0].protocol = number,
            "port_mappings[0].protocol",
        ),
        (
            |given, number| options_of(given).network = number,
            "linux.security_context.namespace_options.network",
        ),
        (
            |given, number| options_of(given).pid = number,
            "linux.security_context.namespace_options.pid",
        ),
        (
            |given, number| options_of(given).ipc = number,
            "linux.security_context.namespace_options.ipc",
        ),
        (
            |given, number| {
                let userns = options_of(given).userns_options.get_or_insert_default();
                userns.mode = number;
            },
            "linux.security_context.namespace_options.userns_options.mode",
        ),
        (
            |given, number| context_of(given).supplemental_groups_policy = number,
            "linux.security_context.supplemental_groups_policy",
        ),
        (
            |given, number| {
                let profile = context_of(given).seccomp.get_or_insert_default();
                profile.profile_type = number;
            },
            "linux.security_context.seccomp.profile_type",
        ),
        (
            |given, number| {
                let profile = context_of(given).apparmor.get_or_insert_default();
                profile.profile_type = number;
            },
            "linux.security_context.apparmor.profile_type",
        ),
    ];
    for (bend, field) in cases {
        for number in [77, -1, i32::MIN, i32::MAX] {
            let mut given = all();
            bend(&mut given, number);
            let error = spec(given).unwrap_err();
            assert_eq!(error.field, field);
            let told = error.to_string();
            assert!(told.contains(&format!("{number} is no ")), "{told}");
        }
    }
}

/// CRI's own table of an enumeration is ours.
fn is_cri_s<T>(known: impl Fn(i32) -> Option<&'static str>)
where
    T: Enumeration + PartialEq + Debug,
{
    for number in -2..20 {
        let ours = T::of("a field", number);
        match known(number) {
            Some(name) => assert_eq!(ours, Ok(T::from_name(name).unwrap()), "{name}"),
            None => assert_eq!(ours.unwrap_err().field, "a field"),
        }
    }
}

#[test]
fn enumerations_have_cri_s_names_and_numbers() {
    use v1::security_profile::ProfileType;
    is_cri_s::<config::Protocol>(|n| Some(v1::Protocol::try_from(n).ok()?.as_str_name()));
    is_cri_s::<config::NamespaceMode>(|n| Some(v1::NamespaceMode::try_from(n).ok()?.as_str_name()));
    is_cri_s::<config::SupplementalGroupsPolicy>(|n| {
        Some(
            v1::SupplementalGroupsPolicy::try_from(n)
                .ok()?
                .as_str_name(),
        )
    });
    is_cri_s::<config::ProfileType>(|n| Some(ProfileType::try_from(n).ok()?.as_str_name()));
}

fn holds(bytes: &[u8]) {
    let Ok(given) = v1::PodSandboxConfig::decode(bytes) else {
        return;
    };
    let ports = given.port_mappings.len();
    match spec(given) {
        Ok(spec) => assert!(spec.ports.len() <= ports),
        Err(error) => {
            let told = error.to_string();
            assert!(!error.field.is_empty() && !error.remedy.is_empty());
            assert!(
                told.len() < 500 && !told.contains(char::is_control),
                "{told:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        holds(&bytes);
    }

    #[test]
    fn any_bytes_in_a_good_message_are_read_or_refused(
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        also in any::<proptest::sample::Index>(),
    ) {
        let mut message = all().encode_to_vec();
        let first = at.index(message.len());
        message[first] = byte;
        holds(&message);
        let second = also.index(message.len());
        message[second] = byte.wrapping_add(1);
        holds(&message);
    }
}
