//! A pod as CRI says it: the way back from a [`PodSpec`], for runtimes that take a
//! `runtime.v1.PodSandboxConfig` themselves.

use std::collections::{BTreeMap, HashMap};

use podwalk_engine::spec::{
    Dns, GroupsPolicy, PodSpec, PortMapping, Profile, Protocol, Resources, Security, SelinuxLabel,
};
use prost::Message;

use super::{metadata, namespace_options, v1};

/// A pod's configuration, encoded. It asks for the same as the spec, but for what CRI has no words
/// for: the network modes `none` and `pod:ID`, and a limit of processes.
pub fn encoded(spec: &PodSpec) -> Vec<u8> {
    pod_sandbox_config(spec).encode_to_vec()
}

/// The same, as a message. The handler stands beside it in CRI.
pub fn pod_sandbox_config(spec: &PodSpec) -> v1::PodSandboxConfig {
    let Dns {
        servers,
        searches,
        options,
    } = spec.dns.clone();
    v1::PodSandboxConfig {
        metadata: Some(metadata(spec)),
        hostname: spec.hostname.clone(),
        log_directory: spec.log_directory.clone(),
        dns_config: Some(v1::DnsConfig {
            servers,
            searches,
            options,
        }),
        port_mappings: spec.ports.iter().map(port).collect(),
        labels: unsorted(&spec.labels),
        annotations: unsorted(&spec.annotations),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: spec.cgroup_parent.clone(),
            security_context: Some(security_context(spec)),
            sysctls: unsorted(&spec.sysctls),
            overhead: limits(&spec.overhead),
            resources: limits(&spec.resources),
        }),
        windows: None,
    }
}

fn unsorted(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.clone().into_iter().collect()
}

fn port(mapping: &PortMapping) -> v1::PortMapping {
    let protocol = match mapping.protocol {
        Protocol::Tcp => v1::Protocol::Tcp,
        Protocol::Udp => v1::Protocol::Udp,
        Protocol::Sctp => v1::Protocol::Sctp,
    };
    v1::PortMapping {
        protocol: protocol.into(),
        container_port: mapping.pod_port.into(),
        host_port: mapping.host_port.into(),
        host_ip: mapping.host_ip.clone(),
    }
}

#[allow(deprecated, reason = "the message has the field, which is left empty")]
fn security_context(spec: &PodSpec) -> v1::LinuxSandboxSecurityContext {
    let Security {
        pid: _,
        ipc: _,
        user_namespace: _,
        privileged,
        readonly_rootfs,
        seccomp,
        apparmor,
        selinux,
        run_as_user,
        run_as_group,
        supplemental_groups,
        groups_policy,
    } = &spec.security;
    let policy = match groups_policy {
        GroupsPolicy::Merge => v1::SupplementalGroupsPolicy::Merge,
        GroupsPolicy::Strict => v1::SupplementalGroupsPolicy::Strict,
    };
    let number = |value: u32| v1::Int64Value {
        value: value.into(),
    };
    v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespace_options(spec)),
        selinux_options: selinux.as_ref().map(label),
        run_as_user: run_as_user.map(number),
        run_as_group: run_as_group.map(number),
        readonly_rootfs: *readonly_rootfs,
        supplemental_groups: supplemental_groups.iter().map(|id| (*id).into()).collect(),
        supplemental_groups_policy: policy.into(),
        privileged: *privileged,
        seccomp: Some(profile(seccomp)),
        apparmor: Some(profile(apparmor)),
        seccomp_profile_path: String::new(),
    }
}

fn label(label: &SelinuxLabel) -> v1::SeLinuxOption {
    v1::SeLinuxOption {
        user: label.user.clone(),
        role: label.role.clone(),
        r#type: label.kind.clone(),
        level: label.level.clone(),
    }
}

fn profile(profile: &Profile) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    let (kind, name) = match profile {
        Profile::RuntimeDefault => (ProfileType::RuntimeDefault, ""),
        Profile::Unconfined => (ProfileType::Unconfined, ""),
        Profile::Localhost(name) => (ProfileType::Localhost, name.as_str()),
    };
    v1::SecurityProfile {
        profile_type: kind.into(),
        localhost_ref: name.to_owned(),
    }
}

/// `None` where nothing is limited: Kata takes numbers that are there for the machine's size, zeros
/// too.
fn limits(resources: &Resources) -> Option<v1::LinuxContainerResources> {
    if *resources == Resources::default() {
        return None;
    }
    let Resources {
        cpu_shares,
        cpu_quota,
        cpu_period,
        cpuset_cpus,
        cpuset_mems,
        memory_limit,
        memory_swap_limit,
        oom_score_adj,
        hugepages,
        pids_limit: _,
        unified,
    } = resources;
    // Each came from a number of this width.
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let page = |(size, limit): (&String, &u64)| v1::HugepageLimit {
        page_size: size.clone(),
        limit: *limit,
    };
    Some(v1::LinuxContainerResources {
        cpu_period: signed(*cpu_period),
        cpu_quota: *cpu_quota,
        cpu_shares: signed(*cpu_shares),
        memory_limit_in_bytes: *memory_limit,
        oom_score_adj: oom_score_adj.unwrap_or_default().into(),
        cpuset_cpus: cpuset_cpus.clone(),
        cpuset_mems: cpuset_mems.clone(),
        hugepage_limits: hugepages.iter().map(page).collect(),
        unified: unsorted(unified),
        memory_swap_limit_in_bytes: *memory_swap_limit,
    })
}
