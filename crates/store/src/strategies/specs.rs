//! Arbitrary specs.

use podwalk_engine::spec::*;
use podwalk_engine::step::NetworkMode;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::{pod_id, text, text_map, texts};

fn network_mode() -> impl Strategy<Value = NetworkMode> + Clone {
    prop_oneof![
        Just(NetworkMode::Cni),
        Just(NetworkMode::None),
        Just(NetworkMode::Host),
        pod_id().prop_map(NetworkMode::Pod),
    ]
}

fn dns() -> BoxedStrategy<Dns> {
    (texts(), texts(), texts())
        .prop_map(|(servers, searches, options)| Dns {
            servers,
            searches,
            options,
        })
        .boxed()
}

fn port() -> impl Strategy<Value = PortMapping> + Clone {
    let protocol = proptest::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let fields = (protocol, any::<u16>(), any::<u16>(), text());
    fields.prop_map(|(protocol, pod_port, host_port, host_ip)| PortMapping {
        protocol,
        pod_port,
        host_port,
        host_ip,
    })
}

fn profile() -> BoxedStrategy<Profile> {
    prop_oneof![
        Just(Profile::RuntimeDefault),
        Just(Profile::Unconfined),
        text().prop_map(Profile::Localhost),
    ]
    .boxed()
}

fn selinux() -> BoxedStrategy<SelinuxLabel> {
    (text(), text(), text(), text())
        .prop_map(|(user, role, kind, level)| SelinuxLabel {
            user,
            role,
            kind,
            level,
        })
        .boxed()
}

fn mappings() -> BoxedStrategy<UserMappings> {
    let mapping = any::<(u32, u32, u32)>();
    let mapping = mapping.prop_map(|(container_id, host_id, length)| IdMapping {
        container_id,
        host_id,
        length,
    });
    (vec(mapping.clone(), 0..3), vec(mapping, 0..3))
        .prop_map(|(uids, gids)| UserMappings { uids, gids })
        .boxed()
}

fn security() -> BoxedStrategy<Security> {
    let sharing = proptest::sample::select(vec![Sharing::Pod, Sharing::Container, Sharing::Node]);
    let spaces = (sharing.clone(), sharing, option::of(mappings()));
    let profiles = (profile(), profile(), option::of(selinux()));
    let policy = proptest::sample::select(vec![GroupsPolicy::Merge, GroupsPolicy::Strict]);
    let groups = (vec(any::<u32>(), 0..3), policy);
    let ids = any::<(Option<u32>, Option<u32>)>();
    (spaces, any::<(bool, bool)>(), profiles, ids, groups)
        .prop_map(|(spaces, flags, profiles, ids, groups)| Security {
            pid: spaces.0,
            ipc: spaces.1,
            user_namespace: spaces.2,
            privileged: flags.0,
            readonly_rootfs: flags.1,
            seccomp: profiles.0,
            apparmor: profiles.1,
            selinux: profiles.2,
            run_as_user: ids.0,
            run_as_group: ids.1,
            supplemental_groups: groups.0,
            groups_policy: groups.1,
        })
        .boxed()
}

fn resources() -> BoxedStrategy<Resources> {
    let cpu = any::<(u64, i64, u64)>();
    let memory = any::<(i64, i64, Option<i32>, i64)>();
    let texts = (text(), text());
    let maps = (btree_map(text(), any::<u64>(), 0..3), text_map());
    (cpu, memory, texts, maps)
        .prop_map(|(cpu, memory, texts, maps)| Resources {
            cpu_shares: cpu.0,
            cpu_quota: cpu.1,
            cpu_period: cpu.2,
            cpuset_cpus: texts.0,
            cpuset_mems: texts.1,
            memory_limit: memory.0,
            memory_swap_limit: memory.1,
            oom_score_adj: memory.2,
            hugepages: maps.0,
            pids_limit: memory.3,
            unified: maps.1,
        })
        .boxed()
}

/// Any spec.
pub(crate) fn spec() -> BoxedStrategy<PodSpec> {
    let names = (text(), text(), text(), any::<u32>(), network_mode(), text());
    let places = (text(), text(), text(), dns(), vec(port(), 0..3));
    let maps = (text_map(), text_map(), text_map());
    let limits = (resources(), resources());
    (names, places, maps, security(), limits)
        .prop_map(|(names, places, maps, security, limits)| PodSpec {
            name: names.0,
            namespace: names.1,
            uid: names.2,
            attempt: names.3,
            network: names.4,
            runtime_handler: names.5,
            hostname: places.0,
            log_directory: places.1,
            cgroup_parent: places.2,
            dns: places.3,
            ports: places.4,
            labels: maps.0,
            annotations: maps.1,
            sysctls: maps.2,
            security,
            resources: limits.0,
            overhead: limits.1,
        })
        .boxed()
}
