//! Capability arguments: what a pod offers to plugins that declare a capability.
//!
//! The keys and shapes are those of the CNI conventions. A plugin is given only what it declares
//! ([`crate::Plugin::capabilities`]); that cut is made when it is called, so that what is kept
//! here is the pod's whole offer.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cidr::Cidr;
use crate::quantity::{QuantityError, parse_quantity};

/// The annotation that limits what a pod receives.
pub const INGRESS_ANNOTATION: &str = "kubernetes.io/ingress-bandwidth";
/// The annotation that limits what a pod sends.
pub const EGRESS_ANNOTATION: &str = "kubernetes.io/egress-bandwidth";

/// The burst that goes with a rate from an annotation, in bits: annotations name none, and the
/// bandwidth plugin refuses a rate without one. This is the value other runtimes give.
const ANNOTATION_BURST: u64 = u32::MAX as u64;

/// The rates that Kubernetes takes for reasonable, in bits per second.
const REASONABLE_RATES: std::ops::RangeInclusive<u64> = 1_000..=1_000_000_000_000_000;

/// The transport protocol of a port mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The name as plugins take it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .find(|protocol| protocol.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| CapabilityError::Protocol(text.to_owned()))
    }
}

/// One port of the host that leads to one port of the pod (`portMappings`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// The host's port, not 0.
    pub host_port: u16,
    /// The pod's port, not 0.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address that is listened on; none means all.
    #[serde(rename = "hostIP", default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}

/// Limits of a pod's traffic (`bandwidth`), seen from the pod; 0 means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Bandwidth {
    /// Receiving, bits per second.
    pub ingress_rate: u64,
    /// Receiving in one burst, bits.
    pub ingress_burst: u64,
    /// Sending, bits per second.
    pub egress_rate: u64,
    /// Sending in one burst, bits.
    pub egress_burst: u64,
}

/// Name resolution that a pod wants (`dns`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsOffer {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// One range to take addresses from (an element of `ipRanges`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpRange {
    /// The subnet.
    pub subnet: Cidr,
    /// The first address of the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_start: Option<IpAddr>,
    /// The last address of the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_end: Option<IpAddr>,
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// Why an offer is refused. The caller answers whoever wrote the pod's specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// Port 0.
    #[error("port mapping {host}:{container}/{protocol}: a port must be 1 to 65535")]
    PortZero {
        /// The host's port.
        host: u16,
        /// The pod's port.
        container: u16,
        /// The protocol.
        protocol: Protocol,
    },
    /// One host port is mapped twice.
    #[error("host port {port}/{protocol} is mapped twice on the same address: remove one")]
    PortTwice {
        /// The host's port.
        port: u16,
        /// The protocol.
        protocol: Protocol,
    },
    /// Not a protocol.
    #[error("{0:?} is not a protocol: use tcp, udp or sctp")]
    Protocol(String),
    /// Not a hardware address.
    #[error("{0:?} is not a hardware address: write six octets, such as c2:b0:57:49:47:f1")]
    Mac(String),
    /// An annotation's value is no quantity.
    #[error("annotation {annotation}: {source}")]
    Quantity {
        /// The annotation's key.
        annotation: &'static str,
        /// What is wrong with it.
        source: QuantityError,
    },
    /// An annotation's rate is out of bounds.
    #[error("annotation {annotation}: {rate} bit/s is out of bounds: use 1k to 1P")]
    Rate {
        /// The annotation's key.
        annotation: &'static str,
        /// Its value, bits per second.
        rate: u64,
    },
}

impl Bandwidth {
    /// Reads the two Kubernetes annotations; none of them gives none.
    ///
    /// # Errors
    /// [`CapabilityError::Quantity`] and [`CapabilityError::Rate`], which name the annotation.
    pub fn from_annotations(
        annotations: &BTreeMap<String, String>,
    ) -> Result<Option<Bandwidth>, CapabilityError> {
        let ingress = annotated_rate(annotations, INGRESS_ANNOTATION)?;
        let egress = annotated_rate(annotations, EGRESS_ANNOTATION)?;
        if ingress.is_none() && egress.is_none() {
            return Ok(None);
        }
        let burst = |rate: Option<u64>| rate.map_or(0, |_| ANNOTATION_BURST);
        Ok(Some(Bandwidth {
            ingress_rate: ingress.unwrap_or(0),
            ingress_burst: burst(ingress),
            egress_rate: egress.unwrap_or(0),
            egress_burst: burst(egress),
        }))
    }
}

fn annotated_rate(
    annotations: &BTreeMap<String, String>,
    annotation: &'static str,
) -> Result<Option<u64>, CapabilityError> {
    let Some(text) = annotations.get(annotation) else {
        return Ok(None);
    };
    let rate =
        parse_quantity(text).map_err(|source| CapabilityError::Quantity { annotation, source })?;
    match REASONABLE_RATES.contains(&rate) {
        true => Ok(Some(rate)),
        false => Err(CapabilityError::Rate { annotation, rate }),
    }
}

/// Collects a pod's offer, one capability after the other; what is empty is not offered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CapabilityArgs(Map<String, Value>);

impl CapabilityArgs {
    /// An offer of nothing.
    pub fn new() -> Self {
        CapabilityArgs::default()
    }

    /// Offers `portMappings`.
    ///
    /// # Errors
    /// A port that is 0, or a host port that is mapped twice on overlapping addresses.
    pub fn port_mappings(self, mappings: &[PortMapping]) -> Result<Self, CapabilityError> {
        let mut seen: HashSet<(u16, Protocol, Option<IpAddr>)> = HashSet::new();
        for mapping in mappings {
            let (port, protocol) = (mapping.host_port, mapping.protocol);
            if port == 0 || mapping.container_port == 0 {
                return Err(CapabilityError::PortZero {
                    host: port,
                    container: mapping.container_port,
                    protocol,
                });
            }
            let overlaps = seen
                .iter()
                .any(|(p, q, ip)| (*p, *q) == (port, protocol) && overlap(*ip, mapping.host_ip));
            if overlaps {
                return Err(CapabilityError::PortTwice { port, protocol });
            }
            seen.insert((port, protocol, mapping.host_ip));
        }
        Ok(self.offer("portMappings", json!(mappings), mappings.is_empty()))
    }

    /// Offers `bandwidth`.
    pub fn bandwidth(self, bandwidth: Bandwidth) -> Self {
        self.offer(
            "bandwidth",
            json!(bandwidth),
            bandwidth == Bandwidth::default(),
        )
    }

    /// Offers `ips`: the addresses that the pod wants, with or without a prefix length.
    pub fn ips(self, ips: &[String]) -> Self {
        self.offer("ips", json!(ips), ips.is_empty())
    }

    /// Offers `mac`: the hardware address that the pod wants.
    ///
    /// # Errors
    /// [`CapabilityError::Mac`] when the text is none.
    pub fn mac(self, mac: &str) -> Result<Self, CapabilityError> {
        let octet = |text: &str| text.len() == 2 && u8::from_str_radix(text, 16).is_ok();
        let octets: Vec<&str> = mac.split(':').collect();
        if octets.len() != 6 || !octets.into_iter().all(octet) || mac.contains('+') {
            return Err(CapabilityError::Mac(mac.to_owned()));
        }
        Ok(self.offer("mac", json!(mac), false))
    }

    /// Offers `dns`.
    pub fn dns(self, dns: &DnsOffer) -> Self {
        self.offer("dns", json!(dns), *dns == DnsOffer::default())
    }

    /// Offers `ipRanges`: one list of ranges for each address that is wanted.
    pub fn ip_ranges(self, ranges: &[Vec<IpRange>]) -> Self {
        self.offer("ipRanges", json!(ranges), ranges.is_empty())
    }

    /// Offers `aliases`: names of the pod in this network.
    pub fn aliases(self, aliases: &[String]) -> Self {
        self.offer("aliases", json!(aliases), aliases.is_empty())
    }

    /// Offers `infinibandGUID`.
    pub fn infiniband_guid(self, guid: &str) -> Self {
        self.offer("infinibandGUID", json!(guid), guid.is_empty())
    }

    /// Offers `deviceID`: the network device that was allocated to the pod.
    pub fn device_id(self, id: &str) -> Self {
        self.offer("deviceID", json!(id), id.is_empty())
    }

    /// Offers `cgroupPath`: the pod's cgroup.
    pub fn cgroup_path(self, path: &str) -> Self {
        self.offer("cgroupPath", json!(path), path.is_empty())
    }

    /// Adds what another offer has; where both have a capability, the other one's stays.
    pub fn merge(mut self, other: Map<String, Value>) -> Self {
        self.0.extend(other);
        self
    }

    /// The offer as [`crate::Attachment::capability_args`] takes it.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }

    fn offer(mut self, capability: &str, value: Value, empty: bool) -> Self {
        if !empty {
            self.0.insert(capability.to_owned(), value);
        }
        self
    }
}

/// Whether two host addresses can be reached by one packet: the unspecified address of a family
/// stands for all of that family, none for both.
fn overlap(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            one == other
                || (one.is_ipv4() == other.is_ipv4()
                    && (one.is_unspecified() || other.is_unspecified()))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
