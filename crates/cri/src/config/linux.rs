//! What is particular to Linux, as clients write it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LinuxContainerResources, NamespaceMode, ProfileType, SupplementalGroupsPolicy};

/// What is particular to Linux.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinuxPodSandboxConfig {
    /// The parent cgroup: a path, or a slice of systemd. Empty for the default.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cgroup_parent: String,
    /// How far the sandbox is separated from the host.
    pub security_context: LinuxSandboxSecurityContext,
    /// Sysctls, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// What the runtime handler costs, beside the containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<LinuxContainerResources>,
    /// The sum of what the containers may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<LinuxContainerResources>,
}

/// How far the sandbox is separated from the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinuxSandboxSecurityContext {
    /// Whose namespaces.
    pub namespace_options: NamespaceOption,
    /// The SELinux label; none lets the host decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux_options: Option<SelinuxOption>,
    /// The user that the sandbox runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<Int64Value>,
    /// The group that the sandbox runs as; only with a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<Int64Value>,
    /// The sandbox's root file system is read-only.
    pub readonly_rootfs: bool,
    /// Supplementary groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supplemental_groups: Vec<i64>,
    /// What they are added to.
    pub supplemental_groups_policy: SupplementalGroupsPolicy,
    /// Containers may be privileged.
    pub privileged: bool,
    /// The seccomp profile. A `localhost_ref` is the absolute path of a filter in OCI's JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<SecurityProfile>,
    /// The AppArmor profile. A `localhost_ref` is the name of one that is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<SecurityProfile>,
    /// The seccomp profile as clients gave it before there was `seccomp`; **deprecated** in CRI. It is
    /// `unconfined`, `runtime/default` (of old, `docker/default`), or `localhost/` with an absolute
    /// path behind it. Empty is unset: CRI calls that `unconfined`, but no client means it so any
    /// more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub seccomp_profile_path: String,
}

/// Whose namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceOption {
    /// The network namespace: POD or NODE.
    pub network: NamespaceMode,
    /// The process id namespace.
    pub pid: NamespaceMode,
    /// The IPC namespace.
    pub ipc: NamespaceMode,
    /// The container whose namespaces are meant by TARGET; a pod has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target_id: String,
    /// The user namespace; none for the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userns_options: Option<UserNamespace>,
}

/// The user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserNamespace {
    /// POD for one of the pod's own, with mappings; NODE for the host's, without.
    pub mode: NamespaceMode,
    /// Users of the host that stand for the pod's.
    pub uids: Vec<IdMapping>,
    /// Groups of the host that stand for the pod's.
    pub gids: Vec<IdMapping>,
}

/// A run of ids (`user_namespaces(7)`, `uid_map`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdMapping {
    /// The first id on the host.
    pub host_id: u32,
    /// The first id inside.
    pub container_id: u32,
    /// How many there are.
    pub length: u32,
}

/// A label of SELinux. Empty parts are the policy's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelinuxOption {
    /// The user.
    pub user: String,
    /// The role.
    pub role: String,
    /// The type.
    pub r#type: String,
    /// The level.
    pub level: String,
}

/// A number that may also be absent, which 0 is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Int64Value {
    /// The number.
    pub value: i64,
}

/// What confines the sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityProfile {
    /// Which profile.
    pub profile_type: ProfileType,
    /// The name of one of the host's; only with [`ProfileType::Localhost`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub localhost_ref: String,
}
