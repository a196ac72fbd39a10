//! What ADD answers: reading it, and writing it in another version.
//!
//! Three shapes exist: `ip4`/`ip6` (0.1, 0.2), `ips` with a `version` each (0.3, 0.4), and `ips`
//! without (1.0, 1.1). All are read. The raw JSON stays the truth that is kept and handed to
//! later plugins, so that what is not understood here is not lost on the way.

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::cidr::Cidr;
use crate::conflist::Conflist;
use crate::version::{SpecVersion, UnknownVersion};

mod convert;

pub(crate) use convert::convert;

/// The result of ADD, read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParsedResult {
    /// The interfaces that were made, those of the host first in most plugins.
    pub interfaces: Vec<Interface>,
    /// The addresses, in the plugin's order.
    pub ips: Vec<IpConfig>,
    /// The routes.
    pub routes: Vec<Route>,
    /// Name resolution.
    pub dns: Dns,
}

/// An interface of a result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Interface {
    /// Its name.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Its hardware address, "" when not told.
    #[serde(deserialize_with = "nullable")]
    pub mac: String,
    /// Its MTU in bytes, 0 when not told (from 1.1.0).
    #[serde(deserialize_with = "nullable")]
    pub mtu: u32,
    /// The namespace that it is in, as CNI_NETNS had it; "" for the host's.
    #[serde(deserialize_with = "nullable")]
    pub sandbox: String,
    /// A socket that stands for it, "" for none (from 1.1.0).
    #[serde(deserialize_with = "nullable")]
    pub socket_path: String,
    /// Its PCI device, "" for none (from 1.1.0).
    #[serde(rename = "pciID", deserialize_with = "nullable")]
    pub pci_id: String,
}

/// An address of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpConfig {
    /// The address with its prefix length.
    pub address: Cidr,
    /// The gateway of its subnet.
    #[serde(default, deserialize_with = "address_or_none")]
    pub gateway: Option<IpAddr>,
    /// The index of its interface in [`ParsedResult::interfaces`].
    #[serde(default)]
    pub interface: Option<usize>,
}

/// A route of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination.
    pub dst: Cidr,
    /// The next hop; none means the gateway of the address.
    #[serde(default, deserialize_with = "address_or_none")]
    pub gw: Option<IpAddr>,
    /// The path's MTU in bytes (from 1.1.0).
    #[serde(default)]
    pub mtu: Option<u32>,
    /// The maximal segment size that is told to peers, in bytes (from 1.1.0).
    #[serde(default)]
    pub advmss: Option<u32>,
    /// The priority (from 1.1.0).
    #[serde(default)]
    pub priority: Option<u32>,
    /// The table (from 1.1.0).
    #[serde(default)]
    pub table: Option<u32>,
    /// The scope (from 1.1.0).
    #[serde(default)]
    pub scope: Option<u32>,
}

/// Name resolution of a result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of name servers.
    #[serde(deserialize_with = "nullable")]
    pub nameservers: Vec<String>,
    /// The local domain, "" for none.
    #[serde(deserialize_with = "nullable")]
    pub domain: String,
    /// Search domains.
    #[serde(deserialize_with = "nullable")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(deserialize_with = "nullable")]
    pub options: Vec<String>,
}

/// Why a result cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// No JSON object.
    #[error("no JSON object: {0}")]
    NotJson(serde_json::Error),
    /// Its version is not known.
    #[error("{0}")]
    Version(#[from] UnknownVersion),
    /// A part has another shape than its version says.
    #[error("{part}: {source}")]
    Shape {
        /// The key.
        part: &'static str,
        /// What is wrong there.
        source: serde_json::Error,
    },
    /// An address names an interface that is not there.
    #[error("ips[{ip}] is on interface {interface}, but there are {count} interfaces")]
    NoSuchInterface {
        /// The address's index.
        ip: usize,
        /// The interface's index.
        interface: usize,
        /// How many interfaces there are.
        count: usize,
    },
}

/// The pod's end of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxView<'a> {
    /// The interface in the pod's namespace; none when the result tells of none (below 0.3).
    pub interface: Option<&'a Interface>,
    /// The pod's addresses in order.
    pub addresses: Vec<&'a IpConfig>,
}

impl SandboxView<'_> {
    /// The first IPv4 address.
    pub fn ipv4(&self) -> Option<&IpConfig> {
        self.addresses
            .iter()
            .copied()
            .find(|ip| ip.address.address.is_ipv4())
    }

    /// The first IPv6 address.
    pub fn ipv6(&self) -> Option<&IpConfig> {
        self.addresses
            .iter()
            .copied()
            .find(|ip| ip.address.address.is_ipv6())
    }

    /// The interface's hardware address, "" when not told.
    pub fn mac(&self) -> &str {
        self.interface.map_or("", |interface| &interface.mac)
    }
}

impl ParsedResult {
    /// Reads a result. `fallback` is its version when it names none: that of the configuration.
    ///
    /// # Errors
    /// [`ResultError`] names the part that does not read.
    pub fn parse(bytes: &[u8], fallback: SpecVersion) -> Result<ParsedResult, ResultError> {
        let object = read_object(bytes)?;
        let version = version_of(&object, fallback)?;
        ParsedResult::read(&convert(object, version, SpecVersion::NEWEST))
    }

    /// Reads a result of the newest shape.
    pub(crate) fn read(object: &Map<String, Value>) -> Result<ParsedResult, ResultError> {
        let result = ParsedResult {
            interfaces: part(object, "interfaces")?,
            ips: part(object, "ips")?,
            routes: part(object, "routes")?,
            dns: part(object, "dns")?,
        };
        let count = result.interfaces.len();
        for (ip, config) in result.ips.iter().enumerate() {
            match config.interface {
                Some(interface) if interface >= count => {
                    return Err(ResultError::NoSuchInterface {
                        ip,
                        interface,
                        count,
                    });
                }
                _ => {}
            }
        }
        Ok(result)
    }

    /// What the pod sees: its addresses are those whose interface is in `netns`, in order; its
    /// interface is the one called `ifname` there, or the first. A result that tells of no
    /// interfaces at all is taken to be about the pod alone, so all addresses are its own.
    pub fn for_sandbox(&self, netns: &Path, ifname: &str) -> SandboxView<'_> {
        if self.interfaces.is_empty() {
            return SandboxView {
                interface: None,
                addresses: self.ips.iter().collect(),
            };
        }
        let ours = |interface: &&Interface| same_netns(Path::new(&interface.sandbox), netns);
        let inside = || self.interfaces.iter().filter(ours);
        let named = inside().find(|interface| interface.name == ifname);
        let belongs = |ip: &&IpConfig| {
            ip.interface
                .and_then(|index| self.interfaces.get(index))
                .is_some_and(|interface| ours(&interface))
        };
        SandboxView {
            interface: named.or_else(|| inside().next()),
            addresses: self.ips.iter().filter(belongs).collect(),
        }
    }

    /// The addresses of the interface called `name` in a sandbox, in order; those without an
    /// interface too.
    pub fn addresses_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Cidr> {
        let is_its = move |index: usize| {
            let interface = self.interfaces.get(index);
            interface.is_some_and(|one| one.name == name && !one.sandbox.is_empty())
        };
        let its = self
            .ips
            .iter()
            .filter(move |ip| ip.interface.is_none_or(is_its));
        its.map(|ip| &ip.address)
    }

    /// The name of the bridge on the host, where the network has one: the interface outside any
    /// sandbox that a plugin of the list names as its `bridge` (`cni0` where the bridge plugin
    /// names none).
    pub fn host_bridge(&self, conflist: &Conflist) -> Option<&str> {
        let bridges: Vec<&str> = conflist
            .plugins()
            .iter()
            .filter_map(|plugin| match plugin.object().get("bridge") {
                Some(Value::String(name)) if !name.is_empty() => Some(name.as_str()),
                _ if plugin.kind() == "bridge" => Some("cni0"),
                _ => None,
            })
            .collect();
        self.interfaces
            .iter()
            .filter(|interface| interface.sandbox.is_empty())
            .map(|interface| interface.name.as_str())
            .find(|name| bridges.contains(name))
    }
}

/// Writes a result as version `to` has it: the `prevResult` of a plugin of that version. What that
/// version has no room for is left out. `fallback` as for [`ParsedResult::parse`].
///
/// # Errors
/// [`ResultError`] when it is no JSON object, or of a version that is not known. Its parts are not
/// looked at.
pub fn rewrite_result(
    bytes: &[u8],
    fallback: SpecVersion,
    to: SpecVersion,
) -> Result<Vec<u8>, ResultError> {
    let object = read_object(bytes)?;
    let from = version_of(&object, fallback)?;
    let written = Value::Object(convert(object, from, to));
    Ok(written.to_string().into_bytes())
}

/// Reads the JSON object of a result.
pub(crate) fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, ResultError> {
    serde_json::from_slice(bytes).map_err(ResultError::NotJson)
}

/// The version of a result; one without is taken to be of the configuration's version.
pub(crate) fn version_of(
    object: &Map<String, Value>,
    fallback: SpecVersion,
) -> Result<SpecVersion, ResultError> {
    match object.get("cniVersion") {
        None | Some(Value::Null) => Ok(fallback),
        Some(Value::String(text)) if text.is_empty() => Ok(fallback),
        Some(Value::String(text)) => Ok(text.parse()?),
        Some(other) => Err(UnknownVersion(other.to_string()).into()),
    }
}

fn part<T: serde::de::DeserializeOwned + Default>(
    object: &Map<String, Value>,
    part: &'static str,
) -> Result<T, ResultError> {
    match object.get(part) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => T::deserialize(value).map_err(|source| ResultError::Shape { part, source }),
    }
}

/// `/var/run` is `/run` on every system that has both.
fn same_netns(one: &Path, other: &Path) -> bool {
    fn plain(path: &Path) -> std::path::PathBuf {
        match path.strip_prefix("/var/run") {
            Ok(rest) => Path::new("/run").join(rest),
            Err(_) => path.to_owned(),
        }
    }
    one == other || plain(one) == plain(other)
}

/// Some plugins write null where they have nothing.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Some plugins write "" where they have no address.
fn address_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests;
