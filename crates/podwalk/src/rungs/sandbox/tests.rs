use podwalk_cri::proto::v1;
use podwalk_engine::spec;
use prost::Message;

use super::*;

#[test]
fn limits_are_those_that_were_asked_for() {
    let mut spec = PodSpec::default();
    assert_eq!(resources(&spec), Resources::default());
    spec.resources.cpu_quota = -1;
    spec.resources.cpu_period = 50_000;
    spec.resources.cpuset_cpus = "0-1".to_owned();
    spec.resources.hugepages.insert("2MB".to_owned(), 4 << 20);
    let limits = resources(&spec);
    assert_eq!(limits.cpu_quota, Some(-1));
    assert_eq!(limits.cpuset_cpus.as_deref(), Some("0-1"));
    assert_eq!(limits.cpuset_mems, None);
    assert_eq!((limits.cpu_period, limits.cpu_shares), (Some(50_000), None));
    assert_eq!(limits.hugepages["2MB"], 4 << 20);
    spec.resources.cpuset_mems = "1".to_owned();
    assert_eq!(resources(&spec).cpuset_mems.as_deref(), Some("1"));
}

#[test]
fn a_profile_that_is_not_there_is_refused_before_anything_is_made() {
    let mut spec = PodSpec::default();
    assert_eq!(check(&spec), Ok(()));
    spec.security.apparmor = Profile::Localhost("podwalk-none".to_owned());
    let error = check(&spec).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Environment);
    assert!(error.to_string().contains("'podwalk-none'"), "{error}");
    spec.security.apparmor = Profile::RuntimeDefault;
    spec.security.seccomp = Profile::Localhost("/nowhere/profile.json".to_owned());
    let error = check(&spec).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(
        error.to_string().contains("/nowhere/profile.json"),
        "{error}"
    );
}

/// The kernel shows `enforce`, in the mode 0 too, where it runs with SELinux; an empty mount point is
/// there without it.
#[test]
fn a_selinux_label_is_refused_on_a_kernel_without_selinux() {
    let selinux = tempfile::tempdir().unwrap();
    let mut spec = PodSpec::default();
    assert_eq!(check_on(&spec, selinux.path()), Ok(()), "none asked for");
    spec.security.selinux = Some(spec::SelinuxLabel {
        level: "s0:c1,c2".to_owned(),
        ..spec::SelinuxLabel::default()
    });
    for absent in [selinux.path(), &selinux.path().join("nowhere")] {
        let error = check_on(&spec, absent).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Environment);
        let told = error.to_string();
        assert!(told.contains("this kernel runs without SELinux"), "{told}");
        assert!(
            error.remedy.contains("leave selinux_options out"),
            "{error:?}"
        );
    }
    std::fs::write(selinux.path().join("enforce"), "0").unwrap();
    assert_eq!(check_on(&spec, selinux.path()), Ok(()));
}

#[test]
fn a_user_namespace_is_named_by_a_descriptor_of_ours() {
    let mappings = UserMappings {
        uids: vec![IdMapping {
            container_id: 0,
            host_id: 100_000,
            length: 65_536,
        }],
        gids: vec![],
    };
    let owner = OwnedFd::from(std::fs::File::open("/proc/self/ns/user").unwrap());
    let named = mapped(&mappings, &owner);
    let path = named.path.unwrap();
    assert!(path.starts_with(format!("/proc/{}/fd", std::process::id())));
    let target = std::fs::read_link(&path).unwrap();
    assert!(target.to_string_lossy().starts_with("user:["), "{target:?}");
    assert_eq!(named.uids[0].host_id, 100_000);
}

#[test]
fn a_host_name_is_made_of_the_pod_s() {
    assert_eq!(hostname_of("web_1"), "web-1");
    assert_eq!(hostname_of(&"x".repeat(80)).len(), 63);
}

/// A shim of virtual machines reads from them whose sandbox it is, and how large.
#[test]
fn annotations_name_the_sandbox_and_its_size_where_one_was_asked_for() {
    let mut spec = PodSpec {
        name: "web".to_owned(),
        namespace: "default".to_owned(),
        uid: "u-1".to_owned(),
        ..PodSpec::default()
    };
    let get = |spec: &PodSpec, key: &str| {
        let key = format!("io.kubernetes.cri.{key}");
        annotations("id-1", spec).get(&key).cloned()
    };
    assert_eq!(
        get(&spec, "container-type").as_deref(),
        Some("sandbox"),
        "what it is"
    );
    assert_eq!(get(&spec, "sandbox-id").as_deref(), Some("id-1"));
    assert_eq!(get(&spec, "sandbox-namespace").as_deref(), Some("default"));
    for size in ["cpu-period", "cpu-quota", "cpu-shares", "memory"] {
        assert_eq!(get(&spec, &format!("sandbox-{size}")), None, "{size}");
    }
    spec.resources.cpu_quota = 200_000;
    spec.resources.cpu_period = 100_000;
    spec.resources.cpu_shares = 2048;
    spec.resources.memory_limit = 1 << 30;
    assert_eq!(get(&spec, "sandbox-cpu-quota").as_deref(), Some("200000"));
    assert_eq!(get(&spec, "sandbox-cpu-period").as_deref(), Some("100000"));
    assert_eq!(get(&spec, "sandbox-cpu-shares").as_deref(), Some("2048"));
    assert_eq!(get(&spec, "sandbox-memory").as_deref(), Some("1073741824"));
}

/// By the sandbox service Kata reads nothing but this.
#[test]
fn a_shim_is_told_of_the_pod_as_its_sandbox_is() {
    let mut settings = ShimSettings::new("/bundles", "/events");
    settings.options = ShimOptions::ConfigPath("/etc/kata.toml".into());
    settings.api = ShimApi::Auto;
    let spec = PodSpec {
        name: "web".to_owned(),
        annotations: [("mine", "x"), ("io.katacontainers.y", "z")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..PodSpec::default()
    };
    let mut config = SandboxConfig::new(SandboxId::new("id-1").unwrap());
    config.hostname = Some("web".to_owned());
    config.annotations = annotations("id-1", &spec);
    config.user_annotations = spec.annotations.clone();
    config.passed_annotations = vec!["io.katacontainers.*".to_owned()];
    config.cgroup_parent = CgroupParent::Owned("/machines".to_owned());
    tell_shim(&mut config, &spec, &settings);
    assert_eq!(config.annotations[KATA_CONFIG_PATH], "/etc/kata.toml");
    let told = v1::PodSandboxConfig::decode(config.pod_sandbox_config.as_slice()).unwrap();
    assert_eq!(told.hostname, "web");
    assert_eq!(told.metadata.unwrap().name, "web");
    assert_eq!(told.linux.unwrap().cgroup_parent, "/machines");
    assert!(!told.annotations.contains_key("mine"), "it may not pass");
    let passed = [
        ("io.katacontainers.y", "z"),
        (KATA_CONFIG_PATH, "/etc/kata.toml"),
    ];
    for (name, value) in passed {
        assert_eq!(told.annotations[name], value);
    }
    for (name, value) in config.annotations {
        assert_eq!(told.annotations[&name], value);
    }
}
