//! CRI's `PodSandboxConfig`: what a client asks for, and what the engine makes of it.
//!
//! 1. It comes as a file in JSON or YAML ([`PodSandboxConfig::parse`], what `crictl runp` takes), in
//!    the JSON of the admin API, or over gRPC (`TryFrom` of the generated type, feature `server`).
//! 2. [`PodSandboxConfig::into_spec`] says the same in the engine's words. **Every field is carried
//!    over or refused by name; none is ignored.** An unknown key of a file is refused too, so that a
//!    misspelt limit is not silently none.
//! 3. Whether values make sense, each and together, is the engine's to say ([`PodSpec::validate`]).
//!    Here only that is refused which a [`PodSpec`] cannot say.
//!
//! Types and fields have CRI's names. In a file an enumeration is its number or its name.
//!
//! | field | becomes |
//! |---|---|
//! | `metadata.{name, uid, attempt}` | the same of [`PodSpec`] |
//! | `metadata.namespace` | the same; where there is none, `default` in a file, and refused by the engine over gRPC |
//! | `hostname`, `log_directory`, `labels`, `annotations` | the same of [`PodSpec`] |
//! | `dns_config` | [`PodSpec::dns`] |
//! | `port_mappings` | [`PodSpec::ports`]; one with `host_port` 0 is none, as kubelet lists what no host port leads to |
//! | `windows` | refused |
//! | `linux.cgroup_parent`, `linux.sysctls` | the same of [`PodSpec`] |
//! | `linux.resources`, `linux.overhead` | [`PodSpec::resources`], [`PodSpec::overhead`]; 0 and empty are unset, `oom_score_adj` 0 too; `pids_limit` is ours, and in files only |
//! | `….namespace_options.network` | [`PodSpec::network`]: POD is `cni`, NODE is `host`, else refused |
//! | `….namespace_options.{pid, ipc}` | [`Security::pid`], [`Security::ipc`]; TARGET is refused |
//! | `….namespace_options.target_id` | refused: it is a container's |
//! | `….namespace_options.userns_options` | [`Security::user_namespace`]: POD with mappings of users and groups; NODE, or none at all, is the host's; else refused |
//! | `….selinux_options` | [`Security::selinux`]; all parts empty are none |
//! | `….{run_as_user, run_as_group}` | the same of [`Security`] |
//! | `….{readonly_rootfs, privileged, supplemental_groups}` | the same of [`Security`] |
//! | `….supplemental_groups_policy` | [`Security::groups_policy`] |
//! | `….seccomp`, `….apparmor` | the same of [`Security`]; unset is the runtime's default |
//! | `….seccomp_profile_path` (deprecated) | as `seccomp` says it; both only if they agree |

use std::collections::BTreeMap;

use podwalk_engine::spec::{self, Dns, PodSpec};
use podwalk_engine::step::NetworkMode;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

mod enums;
mod error;
mod linux;
mod resources;
mod security;

#[cfg(feature = "server")]
pub(crate) use enums::Enumeration;
pub use enums::{NamespaceMode, ProfileType, Protocol, SupplementalGroupsPolicy};
pub use error::{ConfigError, ParseError};
pub use linux::{
    IdMapping, Int64Value, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceOption,
    SecurityProfile, SelinuxOption, UserNamespace,
};
pub use resources::{HugepageLimit, LinuxContainerResources};

#[cfg(doc)]
use podwalk_engine::spec::Security;

/// The namespace of a pod whose file names none.
const DEFAULT_NAMESPACE: &str = "default";

/// What a client asks for (CRI v1 `runtime.v1.PodSandboxConfig`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PodSandboxConfig {
    /// Who the pod is.
    pub metadata: PodSandboxMetadata,
    /// The host name; empty for the pod's name. In the host's network it is the host's, and must be
    /// empty here.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Where the logs of the pod's containers go.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub log_directory: String,
    /// Name resolution.
    pub dns_config: DnsConfig,
    /// Ports of the host that lead to the pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMapping>,
    /// The client's labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The client's annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is particular to Linux.
    pub linux: LinuxPodSandboxConfig,
    /// What is particular to Windows; a pod here has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowsPodSandboxConfig>,
}

/// Who a pod is. By default in the namespace `default`, which is what a file means that names none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PodSandboxMetadata {
    /// The pod's name.
    pub name: String,
    /// Its uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Its Kubernetes namespace; in a file, empty is `default`.
    #[serde(deserialize_with = "namespace_of_a_file")]
    pub namespace: String,
    /// Which attempt this is.
    pub attempt: u32,
}

/// Name resolution, as in `resolv.conf(5)`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsConfig {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// A port of the host that leads to one of the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PortMapping {
    /// The protocol.
    pub protocol: Protocol,
    /// The pod's port.
    pub container_port: i32,
    /// The host's port; 0, or none, is no mapping.
    pub host_port: i32,
    /// The host's address; empty for all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
}

/// What is particular to Windows. That it is there is all that is kept of it: it is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WindowsPodSandboxConfig {}

impl PodSandboxConfig {
    /// Reads JSON or YAML. What begins with `{` is JSON.
    ///
    /// # Errors
    /// With the line and the key.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        match text.trim_start().starts_with('{') {
            true => Ok(serde_json::from_str(text)?),
            false => Ok(serde_norway::from_str(text)?),
        }
    }

    /// The same in the engine's words. `network`, if given, overrides the network that is asked for;
    /// `handler` is the runtime handler, which CRI gives beside the configuration.
    ///
    /// # Errors
    /// The first field that no pod here can have, or whose number is out of its range.
    pub fn into_spec(
        self,
        network: Option<NetworkMode>,
        handler: String,
    ) -> Result<PodSpec, ConfigError> {
        // Taken apart by name, here and below, so that a new field cannot be forgotten.
        let Self {
            metadata,
            hostname,
            log_directory,
            dns_config,
            port_mappings,
            labels,
            annotations,
            linux,
            windows,
        } = self;
        if windows.is_some() {
            return Err(ConfigError::new(
                "windows",
                "this node runs pods of Linux",
                "leave it out",
            ));
        }
        let LinuxPodSandboxConfig {
            cgroup_parent,
            security_context,
            sysctls,
            overhead,
            resources,
        } = linux;
        let network = match network {
            Some(network) => network,
            None => security_context.namespace_options.network_mode()?,
        };
        let overhead = overhead.unwrap_or_default();
        let resources = resources.unwrap_or_default();
        Ok(PodSpec {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            attempt: metadata.attempt,
            ports: ports(port_mappings, &network)?,
            network,
            runtime_handler: handler,
            hostname,
            log_directory,
            cgroup_parent,
            dns: dns_config.into(),
            labels,
            annotations,
            sysctls,
            security: security_context.into_security()?,
            resources: resources.into_resources("linux.resources")?,
            overhead: overhead.into_resources("linux.overhead")?,
        })
    }
}

/// What is a mapping. kubelet lists a container port that no host port leads to with 0; and one of a
/// pod in the host's network as that host port, which leads there without anybody's doing.
fn ports(
    mappings: Vec<PortMapping>,
    network: &NetworkMode,
) -> Result<Vec<spec::PortMapping>, ConfigError> {
    let listed = mappings.into_iter().enumerate();
    let ports = listed.map(|(index, mapping)| mapping.into_port(index));
    let is_mapped = |port: &spec::PortMapping| {
        let is_itself = *network == NetworkMode::Host && port.host_port == port.pod_port;
        port.host_port != 0 && !is_itself
    };
    ports
        .filter(|port| port.as_ref().map_or(true, is_mapped))
        .collect()
}

impl PortMapping {
    /// The mapping that stands at `index` in the list.
    fn into_port(self, index: usize) -> Result<spec::PortMapping, ConfigError> {
        let Self {
            protocol,
            container_port,
            host_port,
            host_ip,
        } = self;
        let number = |name: &str, value: i32| {
            let field = format!("port_mappings[{index}].{name}");
            error::fitting(field, i64::from(value), "0 to 65535")
        };
        Ok(spec::PortMapping {
            protocol: protocol.into(),
            pod_port: number("container_port", container_port)?,
            host_port: number("host_port", host_port)?,
            host_ip,
        })
    }
}

impl From<DnsConfig> for Dns {
    fn from(config: DnsConfig) -> Self {
        let DnsConfig {
            servers,
            searches,
            options,
        } = config;
        Self {
            servers,
            searches,
            options,
        }
    }
}

impl Default for PodSandboxMetadata {
    fn default() -> Self {
        Self {
            name: String::new(),
            uid: String::new(),
            namespace: DEFAULT_NAMESPACE.to_owned(),
            attempt: 0,
        }
    }
}

fn namespace_of_a_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let given = String::deserialize(deserializer)?;
    Ok(match given.is_empty() {
        true => DEFAULT_NAMESPACE.to_owned(),
        false => given,
    })
}

impl<'de> Deserialize<'de> for WindowsPodSandboxConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self {})
    }
}

#[cfg(test)]
pub(crate) mod tests;
