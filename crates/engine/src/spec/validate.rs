//! What a spec must look like before anything is done for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use crate::spec::{PodSpec, PortMapping};
use crate::step::NetworkMode;

mod resources;
mod security;

/// The largest spec that is taken in, bytes of all its text together. Below
/// the journal's limit for one record, so that what is valid can be recorded.
pub const MAX_SPEC_BYTES: usize = 256 << 10;
/// The longest name, as for a DNS subdomain (RFC 1123), which Kubernetes uses.
const MAX_NAME: usize = 253;
/// The longest host name Linux takes (`HOST_NAME_MAX`).
const MAX_HOSTNAME: usize = 64;

/// A spec that cannot be granted as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem} ({remedy})")]
pub struct InvalidSpec {
    /// The field, as clients write it.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub remedy: &'static str,
}

fn refuse(
    field: impl Into<String>,
    problem: impl Into<String>,
    remedy: &'static str,
) -> Result<(), InvalidSpec> {
    Err(InvalidSpec {
        field: field.into(),
        problem: problem.into(),
        remedy,
    })
}

impl PodSpec {
    /// Checks everything that can be checked without looking at the host.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn validate(&self) -> Result<(), InvalidSpec> {
        self.check_size()?;
        self.check_text()?;
        name("metadata.name", &self.name, true)?;
        name("metadata.namespace", &self.namespace, true)?;
        name("metadata.uid", &self.uid, false)?;
        name("runtime_handler", &self.runtime_handler, false)?;
        self.check_hostname()?;
        self.check_paths()?;
        self.check_dns()?;
        self.check_ports()?;
        self.check_sysctls()?;
        self.security.check()?;
        self.check_user_namespace()?;
        self.check_name_in_hosts_network()?;
        resources::SANDBOX.check(&self.resources)?;
        resources::OVERHEAD.check(&self.overhead)
    }

    fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let plain = [
            ("metadata.name", &self.name),
            ("metadata.namespace", &self.namespace),
            ("metadata.uid", &self.uid),
            ("runtime_handler", &self.runtime_handler),
            ("hostname", &self.hostname),
            ("log_directory", &self.log_directory),
            ("cgroup_parent", &self.cgroup_parent),
        ];
        let maps = [
            ("labels", &self.labels),
            ("annotations", &self.annotations),
            ("sysctls", &self.sysctls),
        ];
        let dns = [
            ("dns_config.servers", &self.dns.servers),
            ("dns_config.searches", &self.dns.searches),
            ("dns_config.options", &self.dns.options),
        ];
        plain
            .into_iter()
            .map(|(field, text)| (field, text.as_str()))
            .chain(maps.into_iter().flat_map(|(field, map)| {
                map.iter()
                    .flat_map(move |(key, value)| [(field, key.as_str()), (field, value.as_str())])
            }))
            .chain(
                dns.into_iter()
                    .flat_map(|(field, list)| list.iter().map(move |text| (field, text.as_str()))),
            )
            .chain(
                self.ports
                    .iter()
                    .map(|port| ("port_mappings", port.host_ip.as_str())),
            )
            .chain(self.security.texts())
            .chain(resources::SANDBOX.texts(&self.resources))
            .chain(resources::OVERHEAD.texts(&self.overhead))
    }

    /// What lists of numbers take, beside all text, as the journal writes them.
    fn number_bytes(&self) -> usize {
        self.ports.len() * 16
            + self.security.number_bytes()
            + self.resources.number_bytes()
            + self.overhead.number_bytes()
    }

    fn check_size(&self) -> Result<(), InvalidSpec> {
        // Each text costs its length field too.
        let bytes: usize = self.texts().map(|(_, text)| text.len() + 8).sum();
        let bytes = bytes + self.number_bytes();
        if bytes <= MAX_SPEC_BYTES {
            return Ok(());
        }
        let largest = self.texts().max_by_key(|(_, text)| text.len());
        refuse(
            largest.map_or("spec", |(field, _)| field),
            format!("the spec has {bytes} bytes, {MAX_SPEC_BYTES} are allowed"),
            "make labels and annotations smaller",
        )
    }

    fn check_text(&self) -> Result<(), InvalidSpec> {
        let control = |c: char| c == '\0';
        match self.texts().find(|(_, text)| text.contains(control)) {
            None => Ok(()),
            Some((field, _)) => refuse(field, "it has a NUL byte", "leave it out"),
        }
    }

    fn check_hostname(&self) -> Result<(), InvalidSpec> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if self.hostname.len() <= MAX_HOSTNAME && self.hostname.bytes().all(allowed) {
            return Ok(());
        }
        refuse(
            "hostname",
            format!("'{}' is not a host name", shortened(&self.hostname)),
            "at most 64 letters, digits, '-' and '.'",
        )
    }

    /// The host's network comes with the host's UTS namespace, whose name is not a pod's to set.
    fn check_name_in_hosts_network(&self) -> Result<(), InvalidSpec> {
        if self.network != NetworkMode::Host || self.hostname.is_empty() {
            return Ok(());
        }
        refuse(
            "hostname",
            format!("'{}' for a pod in the host's network", self.hostname),
            "leave it out: such a pod has the host's name",
        )
    }

    fn check_paths(&self) -> Result<(), InvalidSpec> {
        for (field, path) in [
            ("log_directory", &self.log_directory),
            ("cgroup_parent", &self.cgroup_parent),
        ] {
            if path.split('/').any(|part| part == "..") {
                refuse(
                    field,
                    format!("'{}' climbs out by '..'", shortened(path)),
                    "name the path itself",
                )?;
            }
        }
        let absolute = self.log_directory.is_empty() || self.log_directory.starts_with('/');
        if !absolute {
            refuse("log_directory", "it is not absolute", "begin with '/'")?;
        }
        Ok(())
    }

    fn check_dns(&self) -> Result<(), InvalidSpec> {
        for server in &self.dns.servers {
            if !is_resolver(server) {
                refuse(
                    "dns_config.servers",
                    format!("'{}' is not an address", shortened(server)),
                    "an IPv4 or IPv6 address, the latter with its zone if it needs one",
                )?;
            }
        }
        let words = self.dns.searches.iter().chain(&self.dns.options);
        for word in words {
            if word.is_empty() || word.contains(char::is_whitespace) {
                refuse(
                    "dns_config",
                    format!("'{}' is not one word", shortened(word)),
                    "no white space, not empty",
                )?;
            }
        }
        Ok(())
    }

    fn check_ports(&self) -> Result<(), InvalidSpec> {
        let mut claimed: BTreeMap<_, BTreeSet<Option<IpAddr>>> = BTreeMap::new();
        for port in &self.ports {
            check_port(port)?;
            // Not each with each: there may be thousands of them.
            let others = claimed.entry((port.protocol, port.host_port));
            let (others, address) = (others.or_default(), port.host_address());
            let twice = match address {
                None => !others.is_empty(),
                Some(_) => others.contains(&None) || others.contains(&address),
            };
            others.insert(address);
            if twice {
                refuse(
                    "port_mappings",
                    format!("host port {port} is mapped twice"),
                    "each host port once per protocol and address",
                )?;
            }
        }
        if !self.ports.is_empty() && self.network != NetworkMode::Cni {
            refuse(
                "port_mappings",
                format!("network mode {} has no port mappings", self.network),
                "leave them out, or use network mode cni",
            )?;
        }
        Ok(())
    }

    fn check_sysctls(&self) -> Result<(), InvalidSpec> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
        for key in self.sysctls.keys() {
            let wrong = key.is_empty()
                || !key.bytes().all(allowed)
                || key.split(['.', '/']).any(str::is_empty);
            if wrong {
                refuse(
                    "sysctls",
                    format!("'{}' is not the name of a sysctl", shortened(key)),
                    "for example net.ipv4.ip_unprivileged_port_start",
                )?;
            }
        }
        let shares_host = !self.network.has_own_namespace();
        // Both spellings are the kernel's own.
        let of_the_network = |key: &&String| key.starts_with("net.") || key.starts_with("net/");
        match self.sysctls.keys().find(of_the_network) {
            Some(key) if shares_host => refuse(
                "sysctls",
                format!("'{key}' cannot be set in network mode {}", self.network),
                "net sysctls need a namespace of the pod's own",
            ),
            _ => Ok(()),
        }
    }
}

/// A resolver's address as resolv.conf(5) has it. kubelet passes the host's on, among which may be a
/// router's link-local one with its interface (RFC 4007, section 11).
fn is_resolver(text: &str) -> bool {
    match text.split_once('%') {
        None => text.parse::<IpAddr>().is_ok(),
        Some((address, zone)) => {
            let is_word = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_graphic());
            is_word && address.parse::<Ipv6Addr>().is_ok()
        }
    }
}

fn check_port(port: &PortMapping) -> Result<(), InvalidSpec> {
    if port.pod_port == 0 || port.host_port == 0 {
        refuse("port_mappings", "port 0 is none", "1 to 65535")?;
    }
    if !port.host_ip.is_empty() && port.host_ip.parse::<IpAddr>().is_err() {
        refuse(
            "port_mappings",
            format!("'{}' is not an address", shortened(&port.host_ip)),
            "an IPv4 or IPv6 address, or none for all",
        )?;
    }
    Ok(())
}

fn name(field: &str, text: &str, required: bool) -> Result<(), InvalidSpec> {
    if text.is_empty() {
        return match required {
            true => refuse(field, "it is empty", "give it a name"),
            false => Ok(()),
        };
    }
    if text.len() > MAX_NAME {
        return refuse(
            field,
            format!("it has {} bytes", text.len()),
            "at most 253 bytes",
        );
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.bytes().all(allowed) && !text.starts_with('.') {
        return Ok(());
    }
    refuse(
        field,
        format!("'{}' is not a name", shortened(text)),
        "letters, digits, '-', '_' and '.', not beginning with '.'",
    )
}

/// What of a client's text stands in an error: bounded, without line breaks.
fn shortened(text: &str) -> String {
    text.chars()
        .take(60)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

impl PortMapping {
    /// Whether both claim the same port of the host: the same number and
    /// protocol, and the same address or one that stands for all.
    pub fn collides(&self, other: &PortMapping) -> bool {
        let (one, another) = (self.host_address(), other.host_address());
        self.protocol == other.protocol
            && self.host_port == other.host_port
            && (one.is_none() || another.is_none() || one == another)
    }

    /// The host's address, which has many spellings; none for all of them.
    fn host_address(&self) -> Option<IpAddr> {
        let address = self.host_ip.parse().ok();
        address.filter(|ip: &IpAddr| !ip.is_unspecified())
    }
}

#[cfg(test)]
mod tests;
