//! A CRI v1 PodSandboxConfig in JSON or YAML: what `crictl runp` takes.
//!
//! Keys are CRI's, in snake case. An unknown one is refused, so that a
//! misspelt limit is not silently none.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use podwalk_engine::spec::{Dns, PodSpec, PortMapping, Protocol, Resources, Security, Sharing};
use podwalk_engine::step::NetworkMode;
use serde::{Deserialize, Serialize};

/// A PodSandboxConfig (CRI v1 `runtime.v1.PodSandboxConfig`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PodSandboxConfig {
    /// Who the pod is.
    pub metadata: Metadata,
    /// The host name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Where the logs of the pod's containers go.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub log_directory: String,
    /// Name resolution.
    pub dns_config: DnsConfig,
    /// Ports of the host that lead to the pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<Mapping>,
    /// The client's labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The client's annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is particular to Linux.
    pub linux: Linux,
}

/// A PodSandboxMetadata.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metadata {
    /// The pod's name.
    pub name: String,
    /// Its uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Its Kubernetes namespace; `default` when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Which attempt this is.
    pub attempt: u32,
}

/// A DNSConfig.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsConfig {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// A PortMapping.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
    /// The protocol.
    pub protocol: ProtocolName,
    /// The pod's port.
    pub container_port: i32,
    /// The host's port; 0, or none, is no mapping.
    pub host_port: i32,
    /// The host's address; empty for all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
}

/// A LinuxPodSandboxConfig.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Linux {
    /// The parent cgroup.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cgroup_parent: String,
    /// How far the sandbox is separated from the host.
    pub security_context: SecurityContext,
    /// Sysctls.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Limits of the sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<LinuxResources>,
}

/// A LinuxSandboxSecurityContext, as far as pods without containers use it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityContext {
    /// Whose namespaces.
    pub namespace_options: NamespaceOptions,
    /// The sandbox's root file system is read-only.
    pub readonly_rootfs: bool,
    /// Supplementary groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supplemental_groups: Vec<i64>,
    /// Containers may be privileged.
    pub privileged: bool,
    /// The seccomp profile: empty, `unconfined`, or `localhost/<path>`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub seccomp_profile_path: String,
}

/// A NamespaceOption.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceOptions {
    /// The network namespace.
    pub network: NamespaceMode,
    /// The process id namespace.
    pub pid: NamespaceMode,
    /// The IPC namespace.
    pub ipc: NamespaceMode,
}

/// A LinuxContainerResources, as far as it applies to a sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinuxResources {
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds.
    pub cpu_quota: i64,
    /// Relative weight.
    pub cpu_shares: i64,
    /// Bytes.
    pub memory_limit_in_bytes: i64,
    /// Processes.
    pub pids_limit: i64,
}

/// A protocol, as a name or by CRI's number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum ProtocolName {
    /// 0.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// 1.
    #[serde(rename = "UDP")]
    Udp,
    /// 2.
    #[serde(rename = "SCTP")]
    Sctp,
}

/// A NamespaceMode, as a name or by CRI's number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum NamespaceMode {
    /// 0.
    #[default]
    Pod,
    /// 1.
    Container,
    /// 2.
    Node,
}

/// An enumeration of CRI in a file: clients write the number or the name.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrName {
    Number(i64),
    Name(String),
}

fn named<'de, D: serde::Deserializer<'de>, T: Copy>(
    deserializer: D,
    what: &str,
    values: [(&str, T); 3],
) -> Result<T, D::Error> {
    let given = NumberOrName::deserialize(deserializer)?;
    let found = match &given {
        NumberOrName::Number(number) => usize::try_from(*number)
            .ok()
            .and_then(|index| values.get(index)),
        NumberOrName::Name(name) => {
            let name = name.to_ascii_uppercase();
            values.iter().find(|(known, _)| *known == name)
        }
    };
    let shown = match &given {
        NumberOrName::Number(number) => number.to_string(),
        NumberOrName::Name(name) => name.clone(),
    };
    found.map(|(_, value)| *value).ok_or_else(|| {
        let [(a, _), (b, _), (c, _)] = values;
        serde::de::Error::custom(format!("'{shown}' is no {what}: {a}, {b} or {c}"))
    })
}

impl<'de> Deserialize<'de> for ProtocolName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = [("TCP", Self::Tcp), ("UDP", Self::Udp), ("SCTP", Self::Sctp)];
        named(deserializer, "protocol", values)
    }
}

impl<'de> Deserialize<'de> for NamespaceMode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = [
            ("POD", Self::Pod),
            ("CONTAINER", Self::Container),
            ("NODE", Self::Node),
        ];
        named(deserializer, "namespace mode", values)
    }
}

impl From<ProtocolName> for Protocol {
    fn from(name: ProtocolName) -> Self {
        match name {
            ProtocolName::Tcp => Protocol::Tcp,
            ProtocolName::Udp => Protocol::Udp,
            ProtocolName::Sctp => Protocol::Sctp,
        }
    }
}

impl From<NamespaceMode> for Sharing {
    fn from(mode: NamespaceMode) -> Self {
        match mode {
            NamespaceMode::Pod => Sharing::Pod,
            NamespaceMode::Container => Sharing::Container,
            NamespaceMode::Node => Sharing::Node,
        }
    }
}

impl PodSandboxConfig {
    /// Reads JSON or YAML.
    ///
    /// # Errors
    /// With the line and the key.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        match text.trim_start().starts_with('{') {
            true => Ok(serde_json::from_str(text)?),
            false => Ok(serde_norway::from_str(text)?),
        }
    }

    /// The same as the engine's spec.
    ///
    /// # Errors
    /// A number that is out of its range, or CONTAINER for the network.
    pub fn into_spec(
        self,
        network: Option<NetworkMode>,
        handler: String,
    ) -> anyhow::Result<PodSpec> {
        let security = self.linux.security_context;
        let network = match (network, security.namespace_options.network) {
            (Some(network), _) => network,
            (None, NamespaceMode::Pod) => NetworkMode::Cni,
            (None, NamespaceMode::Node) => NetworkMode::Host,
            (None, NamespaceMode::Container) => {
                bail!(
                    "namespace_options.network: CONTAINER is no mode of a pod's network (use POD or NODE)"
                )
            }
        };
        // kubelet lists container ports that no host port leads to with 0.
        let mapped = self.port_mappings.into_iter().filter(|m| m.host_port != 0);
        let ports = mapped.map(Mapping::into_port).collect::<Result<_, _>>()?;
        let namespace = match self.metadata.namespace.is_empty() {
            true => "default".to_owned(),
            false => self.metadata.namespace,
        };
        Ok(PodSpec {
            name: self.metadata.name,
            namespace,
            uid: self.metadata.uid,
            attempt: self.metadata.attempt,
            network,
            runtime_handler: handler,
            hostname: self.hostname,
            log_directory: self.log_directory,
            cgroup_parent: self.linux.cgroup_parent,
            dns: Dns {
                servers: self.dns_config.servers,
                searches: self.dns_config.searches,
                options: self.dns_config.options,
            },
            ports,
            labels: self.labels,
            annotations: self.annotations,
            sysctls: self.linux.sysctls,
            security: security.into_security()?,
            resources: resources(self.linux.resources.unwrap_or_default())?,
        })
    }
}

impl Mapping {
    fn into_port(self) -> anyhow::Result<PortMapping> {
        let port = |name: &str, value: i32| {
            u16::try_from(value)
                .with_context(|| format!("port_mappings: {name} {value} is not 0 to 65535"))
        };
        Ok(PortMapping {
            protocol: self.protocol.into(),
            pod_port: port("container_port", self.container_port)?,
            host_port: port("host_port", self.host_port)?,
            host_ip: self.host_ip,
        })
    }
}

impl SecurityContext {
    fn into_security(self) -> anyhow::Result<Security> {
        let groups = self.supplemental_groups.iter().map(|group| {
            u32::try_from(*group)
                .with_context(|| format!("supplemental_groups: {group} is no group id"))
        });
        Ok(Security {
            pid: self.namespace_options.pid.into(),
            ipc: self.namespace_options.ipc.into(),
            privileged: self.privileged,
            readonly_rootfs: self.readonly_rootfs,
            seccomp: self.seccomp_profile_path,
            supplemental_groups: groups.collect::<Result<_, _>>()?,
        })
    }
}

fn resources(given: LinuxResources) -> anyhow::Result<Resources> {
    let positive = |name: &str, value: i64| {
        u64::try_from(value).with_context(|| format!("resources: {name} {value} is negative"))
    };
    Ok(Resources {
        cpu_shares: positive("cpu_shares", given.cpu_shares)?,
        cpu_quota: given.cpu_quota,
        cpu_period: positive("cpu_period", given.cpu_period)?,
        memory_limit: given.memory_limit_in_bytes,
        pids_limit: given.pids_limit,
    })
}

#[cfg(test)]
mod tests;
