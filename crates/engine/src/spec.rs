//! What a client asks for.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::step::NetworkMode;

mod validate;

pub use validate::{InvalidSpec, MAX_SPEC_BYTES};

/// A pod as it was asked for: recorded once, never changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSpec {
    /// The name; with namespace and uid the key of the pod.
    pub name: String,
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The Kubernetes uid; may be empty.
    pub uid: String,
    /// Which attempt at this pod; not part of the key.
    pub attempt: u32,
    /// Whose network.
    pub network: NetworkMode,
    /// The runtime handler; empty for the default.
    pub runtime_handler: String,
    /// The host name in the sandbox; empty for one that follows from the name. In the host's network
    /// it is the host's, and must be empty here.
    pub hostname: String,
    /// Where the logs of the pod's containers go.
    pub log_directory: String,
    /// The parent cgroup; empty for the default.
    pub cgroup_parent: String,
    /// Name resolution.
    pub dns: Dns,
    /// Ports of the host that lead to the pod.
    pub ports: Vec<PortMapping>,
    /// The client's labels.
    pub labels: BTreeMap<String, String>,
    /// The client's annotations. Ours live elsewhere, so that none of these
    /// can override one of ours (design, S11).
    pub annotations: BTreeMap<String, String>,
    /// Sysctls, the network's and the sandbox's.
    pub sysctls: BTreeMap<String, String>,
    /// How far the sandbox is separated from the host.
    pub security: Security,
    /// Limits of the sandbox's cgroup.
    pub resources: Resources,
    /// What the runtime handler itself costs, beside the containers (a VM's memory). It is kept for
    /// handlers that size something by it, and limits nothing by itself: kubelet has counted it into
    /// the pod's cgroup.
    pub overhead: Resources,
}

/// Name resolution in the sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// A port of the host that leads to one of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortMapping {
    /// The protocol.
    pub protocol: Protocol,
    /// The pod's port.
    pub pod_port: u16,
    /// The host's port.
    pub host_port: u16,
    /// The host's address; empty for all.
    pub host_ip: String,
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Who shares a kernel namespace other than the network's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sharing {
    /// The pod has one of its own.
    #[default]
    Pod,
    /// Every container has one of its own.
    Container,
    /// The host's.
    Node,
}

/// How far the sandbox is separated from the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// The process id namespace.
    pub pid: Sharing,
    /// The IPC namespace.
    pub ipc: Sharing,
    /// The pod's own user namespace; none for the host's.
    pub user_namespace: Option<UserMappings>,
    /// Containers of this pod may be privileged.
    pub privileged: bool,
    /// The sandbox's root file system is read-only.
    pub readonly_rootfs: bool,
    /// The seccomp profile; a file's text is a filter in OCI's JSON.
    pub seccomp: Profile,
    /// The AppArmor profile; [`Profile::Localhost`] names one that is loaded.
    pub apparmor: Profile,
    /// The SELinux label; none lets the host decide.
    pub selinux: Option<SelinuxLabel>,
    /// The user that the sandbox runs as; none for one that owns nothing.
    pub run_as_user: Option<u32>,
    /// The group that the sandbox runs as; only with a user.
    pub run_as_group: Option<u32>,
    /// Supplementary groups.
    pub supplemental_groups: Vec<u32>,
    /// What they are added to.
    pub groups_policy: GroupsPolicy,
}

/// What confines the sandbox's process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Profile {
    /// The runtime's own.
    #[default]
    RuntimeDefault,
    /// Nothing.
    Unconfined,
    /// One of the host's: a file for seccomp, a loaded profile for AppArmor.
    Localhost(String),
}

/// A label of SELinux. Empty parts are the policy's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SelinuxLabel {
    /// The user.
    pub user: String,
    /// The role.
    pub role: String,
    /// The type.
    pub kind: String,
    /// The level.
    pub level: String,
}

/// Whether groups of the image's user are kept beside those that were asked for. A sandbox has
/// no image, so that this says something of the pod's containers only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GroupsPolicy {
    /// They are.
    #[default]
    Merge,
    /// They are not.
    Strict,
}

/// Which users and groups of the host stand for those of a user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserMappings {
    /// The users.
    pub uids: Vec<IdMapping>,
    /// The groups.
    pub gids: Vec<IdMapping>,
}

/// A run of ids (`user_namespaces(7)`, `uid_map`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdMapping {
    /// The first id inside.
    pub container_id: u32,
    /// The first id on the host.
    pub host_id: u32,
    /// How many there are.
    pub length: u32,
}

/// Limits of a cgroup; zero, or nothing, is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Relative weight of CPU time.
    pub cpu_shares: u64,
    /// CPU time per period, microseconds; -1 is no limit.
    pub cpu_quota: i64,
    /// The period, microseconds.
    pub cpu_period: u64,
    /// The CPUs that may be used, as in `cpuset(7)`: `0-3,8`.
    pub cpuset_cpus: String,
    /// The memory nodes that may be used.
    pub cpuset_mems: String,
    /// Memory, bytes; -1 is no limit.
    pub memory_limit: i64,
    /// Memory and swap together, bytes; -1 is no limit.
    pub memory_swap_limit: i64,
    /// How early the kernel kills the sandbox when memory is short, -1000 to 1000; none for a
    /// pause process's own, which is killed last.
    pub oom_score_adj: Option<i32>,
    /// Huge pages, bytes by the size of a page (`2MB`).
    pub hugepages: BTreeMap<String, u64>,
    /// Processes; -1 is no limit.
    pub pids_limit: i64,
    /// Files of a cgroup of version 2 and what is written into them.
    pub unified: BTreeMap<String, String>,
}

/// The key of a pod: at most one runs at a time (design, section 3, rule 11).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
}

impl PodSpec {
    /// The key.
    pub fn key(&self) -> PodKey {
        PodKey {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
        }
    }

    /// Whether both ask for the same, the attempt aside.
    pub fn same_but_attempt(&self, other: &PodSpec) -> bool {
        let mut other = other.clone();
        other.attempt = self.attempt;
        *self == other
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

impl fmt::Display for PortMapping {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.host_ip.is_empty() {
            write!(out, "{}:", self.host_ip)?;
        }
        write!(out, "{}/{}", self.host_port, self.protocol)
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)?;
        if self.uid.is_empty() {
            return Ok(());
        }
        write!(out, "/{}", self.uid)
    }
}
