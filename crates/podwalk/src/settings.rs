//! NetworkSettings, key by key as the seed's schema has them.
//!
//! Every key is always there; what it holds when there is nothing stands in
//! the schema's own words: an empty string, zero, an empty list.

use std::collections::BTreeMap;
use std::path::Path;

use podwalk_cni::{Conflist, ParsedResult, SandboxView, SpecVersion};
use podwalk_engine::pod::{Pod, Status};
use podwalk_engine::record::{AttachmentResult, PlannedAttachment};
use podwalk_engine::spec::{PortMapping, Protocol};
use podwalk_engine::step::Step;
use serde::{Deserialize, Serialize};

/// What `inspect` tells of a pod's network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// The bridge of the default network.
    pub bridge: String,
    /// The pod's id.
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    /// The default interface's `fe80::` address.
    #[serde(rename = "LinkLocalIPv6Address")]
    pub link_local_ipv6_address: String,
    /// Its prefix length.
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    pub link_local_ipv6_prefix_len: u8,
    /// The port mappings by "80/tcp".
    pub ports: BTreeMap<String, PortBindings>,
    /// The port mappings as the plugins get them.
    #[serde(rename = "CNIPorts")]
    pub cni_ports: Vec<CniPort>,
    /// The path of the namespace file.
    pub sandbox_key: String,
    /// Derived from pod, network and interface.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// The first IPv4 address's gateway.
    pub gateway: String,
    /// The first IPv6 address.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// Its prefix length.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    /// The first IPv4 address.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// Its prefix length.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    /// The first IPv6 address's gateway.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// The default interface's hardware address.
    pub mac_address: String,
    /// A namespace is pinned on the sandbox key.
    pub activation: bool,
    /// One entry per attachment, by network; a second one to the same network is
    /// under `NETWORK/INTERFACE`.
    pub networks: BTreeMap<String, Endpoint>,
}

/// The host's side of a port.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PortBindings {
    /// Where the host listens.
    pub host: Vec<HostPort>,
}

/// One port of the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostPort {
    /// Its address; empty for all.
    #[serde(rename = "HostIP")]
    pub host_ip: String,
    /// Its number.
    pub host_port: String,
}

/// One port mapping as a plugin gets it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CniPort {
    /// The host's port.
    pub host_port: u16,
    /// The pod's port.
    pub container_port: u16,
    /// The protocol.
    pub protocol: String,
    /// The host's address; empty for all.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
}

/// One attachment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Endpoint {
    /// Always empty.
    pub links: Vec<String>,
    /// Always empty.
    pub alias: Vec<String>,
    /// The network's name.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// Derived from pod, network and interface.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// The first IPv4 address's gateway.
    pub gateway: String,
    /// The first IPv4 address.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// Its prefix length.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    /// The first IPv6 address's gateway.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// The first IPv6 address.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// Its prefix length.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    /// The interface's hardware address.
    pub mac_address: String,
    /// The interface's name in the namespace.
    #[serde(rename = "IFName")]
    pub if_name: String,
    /// Always empty.
    pub driver_opts: BTreeMap<String, String>,
}

impl NetworkSettings {
    /// The addresses of the default network, version 4 first, as other runtimes do: clients take the
    /// first for the pod's.
    pub fn addresses(&self) -> Vec<std::net::IpAddr> {
        let told = [&self.ip_address, &self.global_ipv6_address];
        told.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// Those of a pod; `owner` is the owner of its network, in mode `pod:`.
    pub fn of(pod: &Pod, owner: Option<&Pod>) -> Self {
        let network = owner.unwrap_or(pod);
        let mut settings = Self::of_attachments(network);
        settings.sandbox_id = pod.id.to_string();
        settings.sandbox_key = network.sandbox_key.clone().unwrap_or_default();
        settings.activation = network.status(Step::MountNetns) == Status::Done;
        settings.ports = ports(&pod.spec.ports);
        settings.cni_ports = pod.spec.ports.iter().map(CniPort::of).collect();
        settings
    }

    fn of_attachments(pod: &Pod) -> Self {
        let mut settings = Self::default();
        let Some(key) = pod.sandbox_key.as_deref().map(Path::new) else {
            return settings;
        };
        let attachments = pod.plan.iter().zip(&pod.attachments);
        for (index, (planned, status)) in attachments.enumerate() {
            let Some(result) = status.result.as_ref().filter(|_| !status.released) else {
                continue;
            };
            let endpoint = Endpoint::of(pod, planned, result, key);
            // The default network is the first, always.
            if index == 0 {
                settings.take_default(planned, result, &endpoint);
            }
            settings.insert(planned, endpoint);
        }
        settings
    }

    /// By the network's name; what is attached to one network once more, by the
    /// interface's too.
    fn insert(&mut self, planned: &PlannedAttachment, endpoint: Endpoint) {
        let name = planned.network.clone();
        let key = match self.networks.contains_key(&name) {
            true => format!("{name}/{}", planned.interface),
            false => name,
        };
        self.networks.insert(key, endpoint);
    }

    fn take_default(
        &mut self,
        planned: &PlannedAttachment,
        result: &AttachmentResult,
        endpoint: &Endpoint,
    ) {
        let conflist = Conflist::parse(&planned.conflist, Path::new("journal")).ok();
        let parsed = parsed(result);
        if let (Some(conflist), Some(parsed)) = (conflist, parsed) {
            self.bridge = parsed.host_bridge(&conflist).unwrap_or_default().to_owned();
        }
        if let Some((address, prefix)) = &result.link_local {
            self.link_local_ipv6_address = address.clone();
            self.link_local_ipv6_prefix_len = *prefix;
        }
        self.endpoint_id = endpoint.endpoint_id.clone();
        self.gateway = endpoint.gateway.clone();
        self.ip_address = endpoint.ip_address.clone();
        self.ip_prefix_len = endpoint.ip_prefix_len;
        self.ipv6_gateway = endpoint.ipv6_gateway.clone();
        self.global_ipv6_address = endpoint.global_ipv6_address.clone();
        self.global_ipv6_prefix_len = endpoint.global_ipv6_prefix_len;
        self.mac_address = endpoint.mac_address.clone();
    }
}

impl Endpoint {
    fn of(pod: &Pod, planned: &PlannedAttachment, result: &AttachmentResult, key: &Path) -> Self {
        let mut endpoint = Self {
            network_id: planned.network.clone(),
            endpoint_id: endpoint_id(pod, planned),
            if_name: planned.interface.clone(),
            ..Self::default()
        };
        if let Some(parsed) = parsed(result) {
            endpoint.take(&parsed.for_sandbox(key, &planned.interface));
        }
        endpoint
    }

    fn take(&mut self, view: &SandboxView<'_>) {
        let text =
            |address: Option<std::net::IpAddr>| address.map_or(String::new(), |a| a.to_string());
        if let Some(ip) = view.ipv4() {
            self.ip_address = ip.address.address.to_string();
            self.ip_prefix_len = ip.address.prefix;
            self.gateway = text(ip.gateway);
        }
        if let Some(ip) = view.ipv6() {
            self.global_ipv6_address = ip.address.address.to_string();
            self.global_ipv6_prefix_len = ip.address.prefix;
            self.ipv6_gateway = text(ip.gateway);
        }
        self.mac_address = view.mac().to_owned();
    }
}

/// A recorded result is in its conflist's version and says so itself.
fn parsed(result: &AttachmentResult) -> Option<ParsedResult> {
    ParsedResult::parse(result.result.as_bytes(), SpecVersion::NEWEST).ok()
}

/// The same for the same pod, network and interface, and for no others.
fn endpoint_id(pod: &Pod, planned: &PlannedAttachment) -> String {
    format!("{}-{}-{}", pod.id, planned.network, planned.interface)
}

fn ports(mappings: &[PortMapping]) -> BTreeMap<String, PortBindings> {
    let mut ports: BTreeMap<String, PortBindings> = BTreeMap::new();
    for mapping in mappings {
        let key = format!("{}/{}", mapping.pod_port, mapping.protocol);
        ports.entry(key).or_default().host.push(HostPort {
            host_ip: mapping.host_ip.clone(),
            host_port: mapping.host_port.to_string(),
        });
    }
    ports
}

impl CniPort {
    fn of(mapping: &PortMapping) -> Self {
        Self {
            host_port: mapping.host_port,
            container_port: mapping.pod_port,
            protocol: match mapping.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
                Protocol::Sctp => "sctp",
            }
            .to_owned(),
            host_ip: mapping.host_ip.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
