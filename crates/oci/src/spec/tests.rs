use super::*;
use crate::cgroup::CgroupParent;
use crate::id::SandboxId;
use serde_json::{Value, json};

const FACTS: HostFacts = HostFacts {
    cgroups: CgroupLayout::V1,
    oom_score_adj: 0,
    may_lower_oom_score_adj: false,
};

fn config() -> SandboxConfig {
    let mut config = SandboxConfig::new(SandboxId::new("pod-1").unwrap());
    config.netns = Some(PathBuf::from("/run/netns/pod"));
    config.hostname = Some("web-0".to_owned());
    config
}

fn json_of(config: &SandboxConfig, facts: &HostFacts) -> Value {
    let spec = spec(config, facts, Path::new("/run/bundles/pod-1")).unwrap();
    serde_json::to_value(spec).unwrap()
}

fn written(config: &SandboxConfig) -> Value {
    json_of(config, &FACTS)
}

fn namespace_types(config: &SandboxConfig) -> Vec<String> {
    let value = written(config);
    let namespaces = value["linux"]["namespaces"].as_array().unwrap();
    namespaces
        .iter()
        .map(|namespace| namespace["type"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_usual_sandbox_is_exactly_this() {
    let mut value = written(&config());
    // It has its own tests.
    let seccomp = value["linux"]["seccomp"].take();
    assert_eq!(seccomp["defaultAction"], "SCMP_ACT_ERRNO");
    let expected = json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "web-0",
        "annotations": {},
        "process": {
            "user": {"uid": 65535, "gid": 65535},
            "args": ["/pause"],
            "env": ["PATH=/"],
            "cwd": "/",
            "capabilities": {
                "bounding": [], "effective": [], "inheritable": [], "permitted": [], "ambient": []
            },
            "noNewPrivileges": true,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "noexec", "strictatime", "mode=755", "size=64k"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/pause", "type": "bind", "source": "/run/bundles/pod-1/rootfs/pause",
             "options": ["bind", "ro", "nosuid", "nodev", "exec"]},
        ],
        "linux": {
            "cgroupsPath": "/podwalk/pod-1",
            "resources": {},
            "sysctl": {},
            "seccomp": null,
            "namespaces": [
                {"type": "mount"},
                {"type": "network", "path": "/run/netns/pod"},
                {"type": "uts"}, {"type": "ipc"}, {"type": "pid"},
            ],
            "maskedPaths": MASKED,
            "readonlyPaths": READONLY,
        },
    });
    assert_eq!(value, expected, "{value:#}");
}

#[test]
fn the_same_arguments_give_the_same_value() {
    let twice = [(); 2].map(|()| spec(&config(), &FACTS, Path::new("/b")).unwrap());
    assert_eq!(twice[0], twice[1]);
}

#[test]
fn the_hosts_network_is_not_named_at_all() {
    let mut config = config();
    config.netns = None;
    assert_eq!(namespace_types(&config), ["mount", "uts", "ipc", "pid"]);
    config.hostname = None;
    assert_eq!(
        namespace_types(&config),
        ["mount", "ipc", "pid"],
        "the host's name"
    );
    assert_eq!(written(&config).get("hostname"), None);
}

#[test]
fn shared_namespaces_are_left_out() {
    let mut config = config();
    (config.pid, config.ipc) = (NamespaceScope::Node, NamespaceScope::Node);
    assert_eq!(namespace_types(&config), ["mount", "network", "uts"]);
    let mounts = written(&config)["mounts"].to_string();
    assert!(
        !mounts.contains("mqueue"),
        "it would be the host's: {mounts}"
    );
}

#[test]
fn a_privileged_sandbox_has_no_filter_and_no_capability_even_so() {
    let config = SandboxConfig {
        privileged: true,
        ..config()
    };
    let value = written(&config);
    for lifted in ["seccomp", "maskedPaths", "readonlyPaths"] {
        assert_eq!(value["linux"].get(lifted), None, "{lifted}");
    }
    assert_eq!(value["process"]["capabilities"]["bounding"], json!([]));
}

#[test]
fn a_seccomp_profile_is_the_default_none_or_the_operators() {
    let mut config = config();
    config.seccomp = Seccomp::Unconfined;
    assert_eq!(written(&config)["linux"].get("seccomp"), None);
    let profile = serde_json::from_value(json!({"defaultAction": "SCMP_ACT_LOG"})).unwrap();
    config.seccomp = Seccomp::Profile(Box::new(profile));
    assert_eq!(
        written(&config)["linux"]["seccomp"]["defaultAction"],
        "SCMP_ACT_LOG"
    );
}

#[test]
fn sysctls_of_the_network_are_left_to_its_maker() {
    let mut config = config();
    for name in ["net.ipv4.ip_forward", "kernel.shmmax", "fs.mqueue.msg_max"] {
        config.sysctls.insert(name.to_owned(), "1".to_owned());
    }
    let expected = json!({"kernel.shmmax": "1", "fs.mqueue.msg_max": "1"});
    assert_eq!(written(&config)["linux"]["sysctl"], expected);
}

#[test]
fn scenario_17_a_users_annotation_never_wins_and_is_not_passed_unasked() {
    let mut config = config();
    config
        .annotations
        .insert("io.podwalk.sandbox".to_owned(), "ours".to_owned());
    for key in [
        "io.podwalk.sandbox",
        "run.oci.hooks.stdout",
        "example.com/a",
        "example.com",
        "exact",
    ] {
        config
            .user_annotations
            .insert(key.to_owned(), "theirs".to_owned());
    }
    assert_eq!(
        written(&config)["annotations"],
        json!({"io.podwalk.sandbox": "ours"})
    );
    config.passed_annotations = ["example.com/*", "exact", "io.podwalk.*"]
        .map(str::to_owned)
        .to_vec();
    let expected =
        json!({"io.podwalk.sandbox": "ours", "example.com/a": "theirs", "exact": "theirs"});
    assert_eq!(written(&config)["annotations"], expected);
}

#[test]
fn a_cgroup_is_named_where_there_are_cgroups() {
    let mut config = config();
    config.cgroup_parent = CgroupParent::Foreign("pods-a.slice".to_owned());
    for cgroups in [CgroupLayout::V1, CgroupLayout::V2, CgroupLayout::Hybrid] {
        let value = json_of(&config, &HostFacts { cgroups, ..FACTS });
        assert_eq!(
            value["linux"]["cgroupsPath"],
            "/pods.slice/pods-a.slice/pod-1"
        );
    }
    let value = json_of(
        &config,
        &HostFacts {
            cgroups: CgroupLayout::None,
            ..FACTS
        },
    );
    assert_eq!(value["linux"].get("cgroupsPath"), None);
}

#[test]
fn a_score_that_may_not_be_given_is_left_out() {
    let score = |wanted: Option<i32>, facts: HostFacts| {
        let config = SandboxConfig {
            oom_score_adj: wanted,
            ..config()
        };
        json_of(&config, &facts)["process"]
            .get("oomScoreAdj")
            .cloned()
    };
    let may = HostFacts {
        may_lower_oom_score_adj: true,
        ..FACTS
    };
    let inherits_100 = HostFacts {
        oom_score_adj: 100,
        ..FACTS
    };
    assert_eq!(score(None, FACTS), None);
    assert_eq!(score(Some(0), FACTS), Some(json!(0)));
    assert_eq!(score(Some(-998), FACTS), None);
    assert_eq!(score(Some(-998), may), Some(json!(-998)));
    assert_eq!(score(Some(99), inherits_100), None);
    assert_eq!(score(Some(100), inherits_100), Some(json!(100)));
}

#[test]
fn runs_as_the_user_and_groups_that_were_given() {
    let mut config = config();
    config.run_as_user = Some(0);
    assert_eq!(
        written(&config)["process"]["user"],
        json!({"uid": 0, "gid": 65535})
    );
    config.run_as_group = Some(7);
    config.supplemental_groups = vec![9, 8];
    assert_eq!(
        written(&config)["process"]["user"],
        json!({"uid": 0, "gid": 7, "additionalGids": [9, 8]})
    );
}

#[test]
fn security_modules_are_told_what_was_asked_for() {
    let mut config = config();
    config.apparmor = Some("podwalk".to_owned());
    config.selinux = Some(SelinuxLabel {
        level: "s0:c1,c2".to_owned(),
        ..SelinuxLabel::default()
    });
    let value = written(&config);
    assert_eq!(value["process"]["apparmorProfile"], "podwalk");
    let label = &value["process"]["selinuxLabel"];
    assert_eq!(label, "system_u:system_r:container_t:s0:c1,c2");
    let label = &value["linux"]["mountLabel"];
    assert_eq!(label, "system_u:object_r:container_file_t:s0:c1,c2");
}

fn mapped(path: Option<&str>) -> SandboxConfig {
    let mapping = |host_id| IdMapping {
        container_id: 0,
        host_id,
        length: 65536,
    };
    SandboxConfig {
        user_namespace: Some(UserNamespace {
            path: path.map(PathBuf::from),
            uids: vec![mapping(100_000)],
            gids: vec![mapping(200_000)],
        }),
        ..config()
    }
}

/// runc 1.1 refuses a path without mappings.
#[test]
fn a_user_namespace_is_written_with_its_mappings_joined_or_made() {
    for (path, expected) in [
        (None, json!({"type": "user"})),
        (
            Some("/proc/7/fd/9"),
            json!({"type": "user", "path": "/proc/7/fd/9"}),
        ),
    ] {
        let linux = written(&mapped(path))["linux"].take();
        let namespaces = linux["namespaces"].as_array().unwrap();
        assert_eq!(namespaces.last(), Some(&expected));
        assert_eq!(
            linux["uidMappings"],
            json!([{"containerID": 0, "hostID": 100_000, "size": 65536}])
        );
        assert_eq!(
            linux["gidMappings"],
            json!([{"containerID": 0, "hostID": 200_000, "size": 65536}])
        );
    }
}

/// Nobody in a user namespace may lift noexec from a mount of the host's.
#[test]
fn the_program_is_laid_over_in_a_user_namespace() {
    let value = written(&mapped(None));
    assert_eq!(value["process"]["args"], json!(["/bin/pause"]));
    let mounts = value["mounts"].as_array().unwrap();
    assert!(mounts.iter().all(|mount| mount["type"] != "bind"));
    let layers = "lowerdir=/run/bundles/pod-1/bin:/run/bundles/pod-1/rootfs/bin";
    let expected = json!({
        "destination": "/bin", "type": "overlay", "source": "overlay",
        "options": ["ro", "nosuid", "nodev", layers],
    });
    assert_eq!(mounts.last(), Some(&expected));
}

#[test]
fn separators_in_the_path_of_a_layer_are_escaped() {
    assert_eq!(overlay_escaped(r"/a:b/c,d/e\f g"), r"/a\:b/c\,d/e\\f g");
}

#[test]
fn sys_is_mounted_by_who_owns_the_network() {
    let has_sys = |config: &SandboxConfig| written(config)["mounts"].to_string().contains("sysfs");
    assert!(has_sys(&config()));
    assert!(has_sys(&mapped(Some("/proc/7/fd/9"))));
    assert!(
        !has_sys(&mapped(None)),
        "a new user namespace owns no old network"
    );
    let mut host_network = mapped(Some("/proc/7/fd/9"));
    host_network.netns = None;
    assert!(!has_sys(&host_network));
    host_network.user_namespace = None;
    assert!(has_sys(&host_network));
}

#[test]
fn what_this_machine_cannot_limit_is_refused() {
    let mut config = config();
    let limit = ("memory.high".to_owned(), "1".to_owned());
    config.resources.unified.extend([limit]);
    let refused = spec(&config, &FACTS, Path::new("/b"));
    assert!(matches!(refused, Err(ConfigError::Unified { .. })));
}

#[test]
fn what_is_not_sound_is_no_configuration() {
    let config = SandboxConfig {
        hostname: Some(String::new()),
        ..config()
    };
    let refused = spec(&config, &FACTS, Path::new("/b"));
    assert!(matches!(refused, Err(ConfigError::Hostname { .. })));
}

#[test]
fn the_capability_is_read_from_its_bit() {
    assert!(has_sys_resource("Name:\tx\nCapEff:\t000001ffffffffff\n"));
    assert!(has_sys_resource("CapEff:\t0000000001000000\n"));
    assert!(!has_sys_resource("CapEff:\t000001fffeffffff\n"));
    assert!(!has_sys_resource("CapPrm:\t000001ffffffffff\n"));
    assert!(!has_sys_resource("CapEff:\tnone\n"));
}

#[test]
fn the_facts_of_this_machine_can_be_read() {
    let facts = HostFacts::read().unwrap();
    assert!((-1000..=1000).contains(&facts.oom_score_adj));
}
