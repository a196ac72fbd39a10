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
        privileged: bool,
        readonly_rootfs: bool,
        seccomp: String,
        supplemental_groups: Vec<u32>,
    }

    Resources = spec::Resources {
        cpu_shares: u64,
        cpu_quota: i64,
        cpu_period: u64,
        memory_limit: i64,
        pids_limit: i64,
    }
}

frozen_enum! {
    NetworkMode = step::NetworkMode { Cni, None, Host, Pod(owner: PodId) }

    Protocol = spec::Protocol { Tcp, Udp, Sctp }

    Sharing = spec::Sharing { Pod, Container, Node }
}
