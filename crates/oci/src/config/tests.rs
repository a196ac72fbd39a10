use super::*;

fn sound() -> SandboxConfig {
    let mut config = SandboxConfig::new(SandboxId::new("pod-1").unwrap());
    config.netns = Some(PathBuf::from("/run/netns/pod"));
    config.hostname = Some("web-0".to_owned());
    config
}

fn with_sysctl(change: impl FnOnce(&mut SandboxConfig), name: &str) -> Result<(), ConfigError> {
    let mut config = sound();
    config.sysctls.insert(name.to_owned(), "1".to_owned());
    change(&mut config);
    config.check()
}

#[test]
fn the_usual_sandbox_is_sound() {
    sound().check().unwrap();
    SandboxConfig::new(SandboxId::new("a").unwrap())
        .check()
        .unwrap();
}

#[test]
fn starts_as_the_strictest() {
    let config = SandboxConfig::new(SandboxId::new("a").unwrap());
    assert!(config.readonly_rootfs && config.no_new_privileges && !config.privileged);
    assert_eq!(config.seccomp, Seccomp::Default);
    assert_eq!(
        (config.pid, config.ipc),
        (NamespaceScope::Pod, NamespaceScope::Pod)
    );
}

#[test]
fn refuses_host_names_that_are_none() {
    let long = "x".repeat(65);
    for hostname in ["", "a b", "a\nb", "a\0", "ä", long.as_str()] {
        let config = SandboxConfig {
            hostname: Some(hostname.to_owned()),
            ..sound()
        };
        assert!(
            matches!(config.check(), Err(ConfigError::Hostname { .. })),
            "{hostname:?}"
        );
    }
}

#[test]
fn refuses_a_namespace_without_an_absolute_path() {
    for path in ["", "netns", "./x", "/run/a\0b"] {
        let config = SandboxConfig {
            netns: Some(path.into()),
            ..sound()
        };
        assert!(
            matches!(config.check(), Err(ConfigError::Netns { .. })),
            "{path:?}"
        );
    }
}

#[test]
fn refuses_dns_entries_that_would_be_two() {
    let one = |entry: &str| vec![entry.to_owned()];
    for entry in ["", "a b", "a\nnameserver 6.6.6.6", "a\tb", "\0"] {
        let fields = [
            (
                "server",
                Dns {
                    servers: one(entry),
                    ..Dns::default()
                },
            ),
            (
                "search",
                Dns {
                    searches: one(entry),
                    ..Dns::default()
                },
            ),
            (
                "option",
                Dns {
                    options: one(entry),
                    ..Dns::default()
                },
            ),
        ];
        for (expected, dns) in fields {
            let config = SandboxConfig {
                dns: Some(dns),
                ..sound()
            };
            let error = config.check().unwrap_err();
            assert!(
                matches!(error, ConfigError::Dns { field, .. } if field == expected),
                "{error}"
            );
        }
    }
}

#[test]
fn takes_sysctls_of_the_sandboxs_own_namespaces() {
    for name in [
        "kernel.shmmax",
        "kernel.sem",
        "fs.mqueue.msg_max",
        "kernel.domainname",
        "net.core.somaxconn",
    ] {
        with_sysctl(|_| (), name).unwrap();
    }
}

#[test]
fn refuses_sysctls_of_the_whole_machine() {
    let machine = [
        "kernel.core_pattern",
        "kernel.shmmax2",
        "vm.swappiness",
        "fs.file-max",
        "fs.mqueue./../../kernel/core_pattern",
        "fs.mqueue...kernel",
        "",
        "kernel.shmmax.",
    ];
    for name in machine {
        let error = with_sysctl(|_| (), name).unwrap_err();
        assert!(
            matches!(error, ConfigError::Sysctl { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn refuses_sysctls_of_namespaces_that_are_the_hosts() {
    let host_ipc = |config: &mut SandboxConfig| config.ipc = NamespaceScope::Node;
    assert!(with_sysctl(host_ipc, "kernel.shmmax").is_err());
    assert!(with_sysctl(host_ipc, "fs.mqueue.msg_max").is_err());
    let host_network = |config: &mut SandboxConfig| config.netns = None;
    assert!(with_sysctl(host_network, "net.core.somaxconn").is_err());
    assert!(
        with_sysctl(host_network, "kernel.domainname").is_ok(),
        "its host name is its own"
    );
    let all = |config: &mut SandboxConfig| (config.netns, config.hostname) = (None, None);
    assert!(with_sysctl(all, "kernel.domainname").is_err());
}

#[test]
fn refuses_values_that_are_not_one_line() {
    let mut config = sound();
    config
        .sysctls
        .insert("kernel.shmmax".to_owned(), "1\n2".to_owned());
    let error = config.check().unwrap_err();
    assert!(error.to_string().contains("kernel.shmmax"), "{error}");
}

#[test]
fn refuses_annotations_that_are_no_text() {
    for (key, value) in [("", "x"), ("a\0", "x"), ("a", "\0")] {
        for ours in [true, false] {
            let mut config = sound();
            let map = if ours {
                &mut config.annotations
            } else {
                &mut config.user_annotations
            };
            map.insert(key.to_owned(), value.to_owned());
            assert!(
                matches!(config.check(), Err(ConfigError::Annotation { .. })),
                "{key:?}"
            );
        }
    }
}

#[test]
fn refuses_a_score_that_the_kernel_has_not() {
    for (value, sound_value) in [(-1000, true), (1000, true), (-1001, false), (1001, false)] {
        let config = SandboxConfig {
            oom_score_adj: Some(value),
            ..sound()
        };
        assert_eq!(config.check().is_ok(), sound_value, "{value}");
    }
}

#[test]
fn refuses_names_of_profiles_that_are_none() {
    for (profile, is_sound) in [
        ("podwalk", true),
        ("/usr/bin/x//child (a)", true),
        ("", false),
        ("a\nb", false),
        ("\0", false),
    ] {
        let config = SandboxConfig {
            apparmor: Some(profile.to_owned()),
            ..sound()
        };
        let refused = matches!(config.check(), Err(ConfigError::Apparmor { .. }));
        assert_eq!(refused, !is_sound, "{profile:?}");
    }
}

#[test]
fn refuses_parts_of_a_label_that_would_be_two() {
    type Change = fn(&mut SelinuxLabel, String);
    let label = |change: Change, value: &str| {
        let mut label = SelinuxLabel::default();
        change(&mut label, value.to_owned());
        let selinux = Some(label);
        SandboxConfig { selinux, ..sound() }.check()
    };
    label(|label, value| label.level = value, "s0-s0:c1,c3.c5").unwrap();
    label(|label, value| label.kind = value, "spc_t").unwrap();
    let parts: [(&str, Change); 4] = [
        ("user", |label, value| label.user = value),
        ("role", |label, value| label.role = value),
        ("type", |label, value| label.kind = value),
        ("level", |label, value| label.level = value),
    ];
    for (expected, change) in parts {
        for value in ["a b", "a\n", "\0", "a/b", "a:b"] {
            let checked = label(change, value);
            let may = expected == "level" && value == "a:b";
            let is_refused =
                matches!(checked, Err(ConfigError::Selinux { part, .. }) if part == expected);
            assert_eq!(is_refused, !may, "{expected} {value:?}");
        }
    }
}

#[test]
fn refuses_a_cgroup_parent_that_climbs() {
    let cgroup_parent = CgroupParent::Foreign("/../..".to_owned());
    let config = SandboxConfig {
        cgroup_parent,
        ..sound()
    };
    assert!(matches!(
        config.check(),
        Err(ConfigError::CgroupParent { .. })
    ));
    assert!(config.target().is_err());
}

#[test]
fn a_target_follows_from_the_configuration() {
    let target = sound().target().unwrap();
    assert_eq!(target.id.as_str(), "pod-1");
    assert_eq!(target.cgroup.as_str(), "/podwalk/pod-1");
    assert_eq!(target.process, None);
}

#[test]
fn a_seccomp_profile_is_read_or_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profile.json");
    let missing = Seccomp::from_file(&path).unwrap_err();
    assert!(
        matches!(missing, ConfigError::SeccompFile { .. }),
        "{missing}"
    );
    std::fs::write(&path, "{").unwrap();
    let broken = Seccomp::from_file(&path).unwrap_err();
    assert!(broken.to_string().contains("profile.json"), "{broken}");
    std::fs::write(&path, r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#).unwrap();
    assert!(matches!(
        Seccomp::from_file(&path).unwrap(),
        Seccomp::Profile(_)
    ));
}

#[test]
fn a_seccomp_profile_that_would_block_or_never_end_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let permissions = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, permissions, 0).unwrap();
    let large = directory.path().join("large");
    std::fs::File::create(&large)
        .unwrap()
        .set_len(PROFILE_LIMIT + 1)
        .unwrap();
    for path in [&pipe, &large, Path::new("/dev/zero"), directory.path()] {
        let error = Seccomp::from_file(path).unwrap_err();
        assert!(matches!(error, ConfigError::SeccompFile { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()));
    }
}
