//! What each field becomes.

use super::*;

/// A field's path, a value that is not its default, and what of the spec it must become.
type Field = (&'static str, Value, Box<dyn Fn(&mut PodSpec)>);

fn field(path: &'static str, value: Value, becomes: impl Fn(&mut PodSpec) + 'static) -> Field {
    (path, value, Box::new(becomes))
}

fn security(path: &'static str, value: Value, becomes: impl Fn(&mut Security) + 'static) -> Field {
    field(path, value, move |spec| becomes(&mut spec.security))
}

fn one(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn texts(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

fn pod_fields() -> Vec<Field> {
    vec![
        field("metadata.name", json!("web"), |s| s.name = "web".to_owned()),
        field("metadata.uid", json!("u"), |s| s.uid = "u".to_owned()),
        field("metadata.namespace", json!("shop"), |s| {
            s.namespace = "shop".to_owned();
        }),
        field("metadata.attempt", json!(3), |s| s.attempt = 3),
        field("hostname", json!("h"), |s| s.hostname = "h".to_owned()),
        field("log_directory", json!("/l"), |s| {
            s.log_directory = "/l".to_owned();
        }),
        field("dns_config.servers", json!(["10.0.0.1"]), |s| {
            s.dns.servers = texts("10.0.0.1");
        }),
        field("dns_config.searches", json!(["svc"]), |s| {
            s.dns.searches = texts("svc");
        }),
        field("dns_config.options", json!(["ndots:5"]), |s| {
            s.dns.options = texts("ndots:5");
        }),
        field(
            "port_mappings",
            json!([{"protocol": "UDP", "container_port": 1, "host_port": 2, "host_ip": "::1"}]),
            |s| {
                s.ports = vec![spec::PortMapping {
                    protocol: Protocol::Udp,
                    pod_port: 1,
                    host_port: 2,
                    host_ip: "::1".to_owned(),
                }];
            },
        ),
        field("labels", json!({"a": "b"}), |s| s.labels = one("a", "b")),
        field("annotations", json!({"c": "d"}), |s| {
            s.annotations = one("c", "d");
        }),
        field("linux.cgroup_parent", json!("/k"), |s| {
            s.cgroup_parent = "/k".to_owned();
        }),
        field("linux.sysctls", json!({"kernel.shmmax": "1"}), |s| {
            s.sysctls = one("kernel.shmmax", "1");
        }),
    ]
}

fn run(host_id: u32, container_id: u32, length: u32) -> Vec<IdMapping> {
    vec![IdMapping {
        container_id,
        host_id,
        length,
    }]
}

fn namespace_fields() -> Vec<Field> {
    vec![
        field(
            "linux.security_context.namespace_options.network",
            json!("NODE"),
            |s| {
                s.network = NetworkMode::Host;
            },
        ),
        security(
            "linux.security_context.namespace_options.pid",
            json!("CONTAINER"),
            |s| s.pid = Sharing::Container,
        ),
        security(
            "linux.security_context.namespace_options.ipc",
            json!(2),
            |s| s.ipc = Sharing::Node,
        ),
        security(
            "linux.security_context.namespace_options.userns_options",
            json!({
                "mode": "POD",
                "uids": [{"host_id": 1, "container_id": 2, "length": 3}],
                "gids": [{"host_id": 4, "container_id": 5, "length": 6}],
            }),
            |s| {
                s.user_namespace = Some(UserMappings {
                    uids: run(1, 2, 3),
                    gids: run(4, 5, 6),
                });
            },
        ),
    ]
}

fn security_fields() -> Vec<Field> {
    vec![
        security(
            "linux.security_context.selinux_options",
            json!({"user": "u", "role": "r", "type": "t", "level": "l"}),
            |s| {
                s.selinux = Some(SelinuxLabel {
                    user: "u".to_owned(),
                    role: "r".to_owned(),
                    kind: "t".to_owned(),
                    level: "l".to_owned(),
                });
            },
        ),
        security(
            "linux.security_context.run_as_user",
            json!({"value": 0}),
            |s| {
                s.run_as_user = Some(0);
            },
        ),
        security(
            "linux.security_context.run_as_group",
            json!({"value": 9}),
            |s| {
                s.run_as_group = Some(9);
            },
        ),
        security("linux.security_context.readonly_rootfs", json!(true), |s| {
            s.readonly_rootfs = true;
        }),
        security(
            "linux.security_context.supplemental_groups",
            json!([3, 0]),
            |s| s.supplemental_groups = vec![3, 0],
        ),
        security(
            "linux.security_context.supplemental_groups_policy",
            json!("Strict"),
            |s| s.groups_policy = GroupsPolicy::Strict,
        ),
        security("linux.security_context.privileged", json!(true), |s| {
            s.privileged = true;
        }),
        security(
            "linux.security_context.seccomp",
            json!({"profile_type": "Localhost", "localhost_ref": "/s"}),
            |s| s.seccomp = Profile::Localhost("/s".to_owned()),
        ),
        security(
            "linux.security_context.apparmor",
            json!({"profile_type": 1}),
            |s| s.apparmor = Profile::Unconfined,
        ),
        security(
            "linux.security_context.seccomp_profile_path",
            json!("localhost//p"),
            |s| s.seccomp = Profile::Localhost("/p".to_owned()),
        ),
    ]
}

/// Those of `linux.resources` or `linux.overhead`, which `of` picks from a spec.
fn resource_fields(
    paths: [&'static str; 11],
    of: fn(&mut PodSpec) -> &mut Resources,
) -> Vec<Field> {
    type Becomes = fn(&mut Resources);
    let values: [(Value, Becomes); 11] = [
        (json!(1), |r| r.cpu_period = 1),
        (json!(-1), |r| r.cpu_quota = -1),
        (json!(3), |r| r.cpu_shares = 3),
        (json!(4), |r| r.memory_limit = 4),
        (json!(-5), |r| r.oom_score_adj = Some(-5)),
        (json!("0-6"), |r| r.cpuset_cpus = "0-6".to_owned()),
        (json!("7"), |r| r.cpuset_mems = "7".to_owned()),
        (json!([{"page_size": "2MB", "limit": 0}]), |r| {
            r.hugepages = BTreeMap::from([("2MB".to_owned(), 0)]);
        }),
        (json!({"io.weight": "9"}), |r| {
            r.unified = one("io.weight", "9")
        }),
        (json!(-1), |r| r.memory_swap_limit = -1),
        (json!(11), |r| r.pids_limit = 11),
    ];
    let fields = paths.into_iter().zip(values);
    fields
        .map(|(path, (value, becomes))| field(path, value, move |spec| becomes(of(spec))))
        .collect()
}

macro_rules! resource_paths {
    ($at:literal) => {
        [
            concat!($at, ".cpu_period"),
            concat!($at, ".cpu_quota"),
            concat!($at, ".cpu_shares"),
            concat!($at, ".memory_limit_in_bytes"),
            concat!($at, ".oom_score_adj"),
            concat!($at, ".cpuset_cpus"),
            concat!($at, ".cpuset_mems"),
            concat!($at, ".hugepage_limits"),
            concat!($at, ".unified"),
            concat!($at, ".memory_swap_limit_in_bytes"),
            concat!($at, ".pids_limit"),
        ]
    };
}

fn fields() -> Vec<Field> {
    let mut fields = pod_fields();
    fields.extend(namespace_fields());
    fields.extend(security_fields());
    fields.extend(resource_fields(resource_paths!("linux.resources"), |s| {
        &mut s.resources
    }));
    fields.extend(resource_fields(resource_paths!("linux.overhead"), |s| {
        &mut s.overhead
    }));
    fields
}

#[test]
fn each_field_becomes_what_it_says_and_nothing_else() {
    for (path, value, becomes) in fields() {
        let ordinary = spec("{}").unwrap();
        let mut expected = ordinary.clone();
        becomes(&mut expected);
        assert_ne!(expected, ordinary, "{path}: it says what is so anyway");
        let text = with(path, value).to_string();
        assert_eq!(spec(&text).as_ref(), Ok(&expected), "{text}");
        let config = PodSandboxConfig::parse(&text).unwrap();
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(spec(&written).as_ref(), Ok(&expected), "{written}");
    }
}

/// Messages whose fields are named one by one; what else is a value is one for the table.
const MESSAGES: [&str; 7] = [
    "metadata",
    "dns_config",
    "linux",
    "linux.security_context",
    "linux.security_context.namespace_options",
    "linux.resources",
    "linux.overhead",
];

fn paths_of(at: &str, value: &Value, found: &mut BTreeSet<String>) {
    for (name, inner) in value.as_object().unwrap() {
        let path = match at {
            "" => name.clone(),
            _ => format!("{at}.{name}"),
        };
        match MESSAGES.contains(&path.as_str()) {
            true => paths_of(&path, inner, found),
            false => _ = found.insert(path),
        }
    }
}

/// [`ALL`] is held against CRI's own types in `proto`, so that no field is missing in it.
#[test]
fn no_field_is_left_out_of_the_table() {
    let mut all = BTreeSet::new();
    paths_of("", &serde_json::from_str(ALL).unwrap(), &mut all);
    let table = fields().into_iter().map(|(path, _, _)| path.to_owned());
    assert_eq!(table.collect::<BTreeSet<_>>(), all);
}

#[test]
fn all_fields_together_are_all_there() {
    let spec = spec(ALL).unwrap();
    assert_eq!((spec.name.as_str(), spec.attempt), ("web", 2));
    assert_eq!(spec.network, NetworkMode::Host);
    let security = &spec.security;
    assert_eq!(security.run_as_group, Some(1001));
    assert_eq!(security.supplemental_groups, [7, 8]);
    assert_eq!(
        security.seccomp,
        Profile::Localhost("/etc/seccomp/web.json".to_owned())
    );
    let mappings = security.user_namespace.as_ref().unwrap();
    assert_eq!(mappings.uids, run(100_000, 1, 65_536));
    assert_eq!(mappings.gids, run(200_000, 2, 65_535));
    assert_eq!(spec.resources.hugepages["2MB"], 4 << 20);
    assert_eq!(spec.resources.hugepages["1GB"], 0);
    assert_eq!(spec.resources.oom_score_adj, Some(-998));
    assert_eq!(spec.overhead.memory_swap_limit, 11);
}

#[test]
fn each_spelling_of_a_profile() {
    let localhost = |name: &str| Profile::Localhost(name.to_owned());
    let seccomp = [
        (json!({"seccomp": {}}), Profile::RuntimeDefault),
        (
            json!({"seccomp": {"profile_type": "unconfined"}}),
            Profile::Unconfined,
        ),
        (json!({"seccomp_profile_path": ""}), Profile::RuntimeDefault),
        (
            json!({"seccomp_profile_path": "unconfined"}),
            Profile::Unconfined,
        ),
        (
            json!({"seccomp_profile_path": "runtime/default"}),
            Profile::RuntimeDefault,
        ),
        (
            json!({"seccomp_profile_path": "docker/default"}),
            Profile::RuntimeDefault,
        ),
        (
            json!({"seccomp_profile_path": "localhost//a/b"}),
            localhost("/a/b"),
        ),
        (
            json!({"seccomp_profile_path": "docker/default", "seccomp": {"profile_type": 0}}),
            Profile::RuntimeDefault,
        ),
        (
            json!({"seccomp_profile_path": "unconfined", "seccomp": {"profile_type": 1}}),
            Profile::Unconfined,
        ),
        (
            json!({"seccomp_profile_path": "", "seccomp": {"profile_type": 1}}),
            Profile::Unconfined,
        ),
    ];
    for (context, expected) in seccomp {
        let text = with("linux.security_context", context).to_string();
        assert_eq!(spec(&text).unwrap().security.seccomp, expected, "{text}");
    }
}

#[test]
fn the_host_s_user_namespace_is_none_of_the_pod_s() {
    let path = "linux.security_context.namespace_options.userns_options";
    for value in [
        json!({"mode": "NODE"}),
        json!({"mode": 2, "uids": [], "gids": []}),
    ] {
        let spec = spec(&with(path, value).to_string()).unwrap();
        assert_eq!(spec.security.user_namespace, None);
    }
}

#[test]
fn an_oom_score_of_zero_is_unset() {
    for (score, expected) in [
        (0, None),
        (1, Some(1)),
        (-1000, Some(-1000)),
        (1000, Some(1000)),
    ] {
        let text = with("linux.resources.oom_score_adj", json!(score)).to_string();
        assert_eq!(spec(&text).unwrap().resources.oom_score_adj, expected);
    }
}
