//! Version 1 of `podwalk_engine::spec`.

use std::collections::BTreeMap;

use podwalk_engine::{spec, step};

use super::common::PodId;
use super::{frozen_enum, frozen_struct};

frozen_struct! {
    PodSpec = spec::PodSpec {
        name: String,
        namespace: String,
        uid: String,
        attempt: u32,
        network: NetworkMode,
        runtime_handler: String,
        hostname: String,
        log_directory: String,
        cgroup_parent: String,
        dns: Dns,
        ports: Vec<PortMapping>,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        sysctls: BTreeMap<String, String>,
        security: Security,
        resources: Resources,
        overhead: Resources,
    }

    Dns = spec::Dns { servers: Vec<String>, searches: Vec<String>, options: Vec<String> }

    PortMapping = spec::PortMapping {
        protocol: Protocol,
        pod_port: u16,
        host_port: u16,
        host_ip: String,
    }

    Security = spec::Security {
        pid: Sharing,
        ipc: Sharing,
        user_namespace: Option<UserMappings>,
        privileged: bool,
        readonly_rootfs: bool,
        seccomp: Profile,
        apparmor: Profile,
        selinux: Option<SelinuxLabel>,
        run_as_user: Option<u32>,
        run_as_group: Option<u32>,
        supplemental_groups: Vec<u32>,
        groups_policy: GroupsPolicy,
    }

    SelinuxLabel = spec::SelinuxLabel { user: String, role: String, kind: String, level: String }

    UserMappings = spec::UserMappings { uids: Vec<IdMapping>, gids: Vec<IdMapping> }

    IdMapping = spec::IdMapping { container_id: u32, host_id: u32, length: u32 }

    Resources = spec::Resources {
        cpu_shares: u64,
        cpu_quota: i64,
        cpu_period: u64,
        cpuset_cpus: String,
        cpuset_mems: String,
        memory_limit: i64,
        memory_swap_limit: i64,
        oom_score_adj: Option<i32>,
        hugepages: BTreeMap<String, u64>,
        pids_limit: i64,
        unified: BTreeMap<String, String>,
    }
}

frozen_enum! {
    NetworkMode = step::NetworkMode { Cni, None, Host, Pod(owner: PodId) }

    Protocol = spec::Protocol { Tcp, Udp, Sctp }

    Sharing = spec::Sharing { Pod, Container, Node }

    Profile = spec::Profile { RuntimeDefault, Unconfined, Localhost(name: String) }

    GroupsPolicy = spec::GroupsPolicy { Merge, Strict }
}
