//! The generated types of CRI v1, and the way between them and [`config`].
//!
//! A message is taken apart by its fields' names, so that one that comes with a newer `k8s-cri` does
//! not compile before it is said what becomes of it. An enumeration's number is checked here; all
//! else is [`config::PodSandboxConfig::into_spec`]'s to refuse. A message that is absent is an empty
//! one, as everywhere in protobuf.

use std::collections::{BTreeMap, HashMap};

pub use k8s_cri::v1;
use podwalk_engine::spec::{IdMapping, PodSpec, Sharing, UserMappings};
use podwalk_engine::step::NetworkMode;

use crate::config::{self, ConfigError, Enumeration};

mod pod;

pub use pod::{encoded, pod_sandbox_config};

impl TryFrom<v1::PodSandboxConfig> for config::PodSandboxConfig {
    type Error = ConfigError;

    /// # Errors
    /// An enumeration's number that CRI does not know, with its field.
    fn try_from(given: v1::PodSandboxConfig) -> Result<Self, ConfigError> {
        let v1::PodSandboxConfig {
            metadata,
            hostname,
            log_directory,
            dns_config,
            port_mappings,
            labels,
            annotations,
            linux,
            windows,
        } = given;
        let ports = port_mappings.into_iter().enumerate();
        let ports = ports.map(|(index, mapping)| port(index, mapping));
        Ok(Self {
            metadata: metadata.unwrap_or_default().into(),
            hostname,
            log_directory,
            dns_config: dns_config.unwrap_or_default().into(),
            port_mappings: ports.collect::<Result<_, _>>()?,
            labels: sorted(labels),
            annotations: sorted(annotations),
            linux: linux.unwrap_or_default().try_into()?,
            windows: windows.map(|_| config::WindowsPodSandboxConfig {}),
        })
    }
}

fn sorted(map: HashMap<String, String>) -> BTreeMap<String, String> {
    map.into_iter().collect()
}

impl From<v1::PodSandboxMetadata> for config::PodSandboxMetadata {
    fn from(given: v1::PodSandboxMetadata) -> Self {
        let v1::PodSandboxMetadata {
            name,
            uid,
            namespace,
            attempt,
        } = given;
        Self {
            name,
            uid,
            namespace,
            attempt,
        }
    }
}

impl From<v1::DnsConfig> for config::DnsConfig {
    fn from(given: v1::DnsConfig) -> Self {
        let v1::DnsConfig {
            servers,
            searches,
            options,
        } = given;
        Self {
            servers,
            searches,
            options,
        }
    }
}

/// The mapping that stands at `index` in the list.
fn port(index: usize, given: v1::PortMapping) -> Result<config::PortMapping, ConfigError> {
    let v1::PortMapping {
        protocol,
        container_port,
        host_port,
        host_ip,
    } = given;
    let field = format!("port_mappings[{index}].protocol");
    Ok(config::PortMapping {
        protocol: config::Protocol::of(&field, protocol)?,
        container_port,
        host_port,
        host_ip,
    })
}

impl TryFrom<v1::LinuxPodSandboxConfig> for config::LinuxPodSandboxConfig {
    type Error = ConfigError;

    fn try_from(given: v1::LinuxPodSandboxConfig) -> Result<Self, ConfigError> {
        let v1::LinuxPodSandboxConfig {
            cgroup_parent,
            security_context,
            sysctls,
            overhead,
            resources,
        } = given;
        Ok(Self {
            cgroup_parent,
            security_context: security_context.unwrap_or_default().try_into()?,
            sysctls: sorted(sysctls),
            overhead: overhead.map(Into::into),
            resources: resources.map(Into::into),
        })
    }
}

impl TryFrom<v1::LinuxSandboxSecurityContext> for config::LinuxSandboxSecurityContext {
    type Error = ConfigError;

    #[allow(deprecated, reason = "clients still send seccomp_profile_path")]
    fn try_from(given: v1::LinuxSandboxSecurityContext) -> Result<Self, ConfigError> {
        let v1::LinuxSandboxSecurityContext {
            namespace_options,
            selinux_options,
            run_as_user,
            run_as_group,
            readonly_rootfs,
            supplemental_groups,
            supplemental_groups_policy,
            privileged,
            seccomp,
            apparmor,
            seccomp_profile_path,
        } = given;
        let policy = config::SupplementalGroupsPolicy::of(
            "linux.security_context.supplemental_groups_policy",
            supplemental_groups_policy,
        );
        let seccomp = seccomp.map(|given| profile("seccomp", given));
        let apparmor = apparmor.map(|given| profile("apparmor", given));
        let number = |v1::Int64Value { value }| config::Int64Value { value };
        Ok(Self {
            namespace_options: namespace_options.unwrap_or_default().try_into()?,
            selinux_options: selinux_options.map(Into::into),
            run_as_user: run_as_user.map(number),
            run_as_group: run_as_group.map(number),
            readonly_rootfs,
            supplemental_groups,
            supplemental_groups_policy: policy?,
            privileged,
            seccomp: seccomp.transpose()?,
            apparmor: apparmor.transpose()?,
            seccomp_profile_path,
        })
    }
}

impl TryFrom<v1::NamespaceOption> for config::NamespaceOption {
    type Error = ConfigError;

    fn try_from(given: v1::NamespaceOption) -> Result<Self, ConfigError> {
        let v1::NamespaceOption {
            network,
            pid,
            ipc,
            target_id,
            userns_options,
        } = given;
        Ok(Self {
            network: mode("network", network)?,
            pid: mode("pid", pid)?,
            ipc: mode("ipc", ipc)?,
            target_id,
            userns_options: userns_options.map(TryInto::try_into).transpose()?,
        })
    }
}

fn mode(name: &str, number: i32) -> Result<config::NamespaceMode, ConfigError> {
    let field = format!("linux.security_context.namespace_options.{name}");
    config::NamespaceMode::of(&field, number)
}

impl TryFrom<v1::UserNamespace> for config::UserNamespace {
    type Error = ConfigError;

    fn try_from(given: v1::UserNamespace) -> Result<Self, ConfigError> {
        let v1::UserNamespace {
            mode: number,
            uids,
            gids,
        } = given;
        Ok(Self {
            mode: mode("userns_options.mode", number)?,
            uids: uids.into_iter().map(Into::into).collect(),
            gids: gids.into_iter().map(Into::into).collect(),
        })
    }
}

impl From<v1::IdMapping> for config::IdMapping {
    fn from(given: v1::IdMapping) -> Self {
        let v1::IdMapping {
            host_id,
            container_id,
            length,
        } = given;
        Self {
            host_id,
            container_id,
            length,
        }
    }
}

impl From<v1::SeLinuxOption> for config::SelinuxOption {
    fn from(given: v1::SeLinuxOption) -> Self {
        let v1::SeLinuxOption {
            user,
            role,
            r#type,
            level,
        } = given;
        Self {
            user,
            role,
            r#type,
            level,
        }
    }
}

fn profile(name: &str, given: v1::SecurityProfile) -> Result<config::SecurityProfile, ConfigError> {
    let v1::SecurityProfile {
        profile_type,
        localhost_ref,
    } = given;
    let field = format!("linux.security_context.{name}.profile_type");
    Ok(config::SecurityProfile {
        profile_type: config::ProfileType::of(&field, profile_type)?,
        localhost_ref,
    })
}

impl From<v1::LinuxContainerResources> for config::LinuxContainerResources {
    fn from(given: v1::LinuxContainerResources) -> Self {
        let v1::LinuxContainerResources {
            cpu_period,
            cpu_quota,
            cpu_shares,
            memory_limit_in_bytes,
            oom_score_adj,
            cpuset_cpus,
            cpuset_mems,
            hugepage_limits,
            unified,
            memory_swap_limit_in_bytes,
        } = given;
        let limit =
            |v1::HugepageLimit { page_size, limit }| config::HugepageLimit { page_size, limit };
        Self {
            cpu_period,
            cpu_quota,
            cpu_shares,
            memory_limit_in_bytes,
            oom_score_adj,
            cpuset_cpus,
            cpuset_mems,
            hugepage_limits: hugepage_limits.into_iter().map(limit).collect(),
            unified: sorted(unified),
            memory_swap_limit_in_bytes,
            pids_limit: 0,
        }
    }
}

/// A pod's metadata, as it was asked for.
pub fn metadata(spec: &PodSpec) -> v1::PodSandboxMetadata {
    v1::PodSandboxMetadata {
        name: spec.name.clone(),
        uid: spec.uid.clone(),
        namespace: spec.namespace.clone(),
        attempt: spec.attempt,
    }
}

/// Whose namespaces a pod has, as it was asked for: kubelet starts a pod anew whose network is not
/// told back as it wants it.
///
/// The host's user namespace is told by nothing, also to a client that asked for it by NODE. What
/// only our own clients can ask for, `none` and another pod's network, is told as POD: it is not the
/// host's.
pub fn namespace_options(spec: &PodSpec) -> v1::NamespaceOption {
    let network = match spec.network {
        NetworkMode::Host => v1::NamespaceMode::Node,
        NetworkMode::Cni | NetworkMode::None | NetworkMode::Pod(_) => v1::NamespaceMode::Pod,
    };
    v1::NamespaceOption {
        network: network.into(),
        pid: shared(spec.security.pid).into(),
        ipc: shared(spec.security.ipc).into(),
        target_id: String::new(),
        userns_options: spec.security.user_namespace.as_ref().map(user_namespace),
    }
}

fn shared(sharing: Sharing) -> v1::NamespaceMode {
    match sharing {
        Sharing::Pod => v1::NamespaceMode::Pod,
        Sharing::Container => v1::NamespaceMode::Container,
        Sharing::Node => v1::NamespaceMode::Node,
    }
}

fn user_namespace(mappings: &UserMappings) -> v1::UserNamespace {
    let run = |mapping: &IdMapping| v1::IdMapping {
        host_id: mapping.host_id,
        container_id: mapping.container_id,
        length: mapping.length,
    };
    v1::UserNamespace {
        mode: v1::NamespaceMode::Pod.into(),
        uids: mappings.uids.iter().map(run).collect(),
        gids: mappings.gids.iter().map(run).collect(),
    }
}

#[cfg(test)]
mod tests;
