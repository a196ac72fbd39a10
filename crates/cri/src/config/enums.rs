//! CRI's enumerations. Over gRPC a value is a number; in a file it is the number or the name, in
//! letters of any case.

use podwalk_engine::spec::{self, GroupsPolicy};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

#[cfg(feature = "server")]
use super::ConfigError;
use super::error::shortened;

/// The protocol of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// 0.
    #[default]
    Tcp,
    /// 1.
    Udp,
    /// 2.
    Sctp,
}

/// Whose a namespace is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum NamespaceMode {
    /// 0: the pod's.
    #[default]
    Pod,
    /// 1: each container's own.
    Container,
    /// 2: the host's.
    Node,
    /// 3: another container's; no pod can have it.
    Target,
}

/// Whether groups of an image's user are kept beside those that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum SupplementalGroupsPolicy {
    /// 0: they are.
    #[default]
    Merge,
    /// 1: they are not.
    Strict,
}

/// Which profile confines a sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum ProfileType {
    /// 0: the runtime's own.
    #[default]
    RuntimeDefault,
    /// 1: none.
    Unconfined,
    /// 2: one of the host's, which `localhost_ref` names.
    Localhost,
}

/// What all of them have.
pub(crate) trait Enumeration: Copy + 'static {
    /// What a value is.
    const WHAT: &'static str;
    /// CRI's names, each at the place of its number.
    const VALUES: &'static [(&'static str, Self)];
    /// Those that a pod can have, in words.
    const REMEDY: &'static str;

    fn from_number(number: i64) -> Option<Self> {
        let value = Self::VALUES.get(usize::try_from(number).ok()?);
        value.map(|(_, value)| *value)
    }

    fn from_name(name: &str) -> Option<Self> {
        let same = |(known, _): &&(&str, Self)| known.eq_ignore_ascii_case(name);
        Self::VALUES.iter().find(same).map(|(_, value)| *value)
    }

    /// A number as it comes over gRPC.
    ///
    /// # Errors
    /// One that CRI does not know, or did not when this was written.
    #[cfg(feature = "server")]
    fn of(field: &str, number: i32) -> Result<Self, ConfigError> {
        let unknown = || {
            let problem = format!("{number} is no {}", Self::WHAT);
            ConfigError::new(field, problem, Self::REMEDY)
        };
        Self::from_number(number.into()).ok_or_else(unknown)
    }
}

impl Enumeration for Protocol {
    const WHAT: &'static str = "protocol";
    const VALUES: &'static [(&'static str, Self)] =
        &[("TCP", Self::Tcp), ("UDP", Self::Udp), ("SCTP", Self::Sctp)];
    const REMEDY: &'static str = "TCP, UDP or SCTP";
}

impl Enumeration for NamespaceMode {
    const WHAT: &'static str = "namespace mode";
    const VALUES: &'static [(&'static str, Self)] = &[
        ("POD", Self::Pod),
        ("CONTAINER", Self::Container),
        ("NODE", Self::Node),
        ("TARGET", Self::Target),
    ];
    const REMEDY: &'static str = "POD, CONTAINER or NODE";
}

impl Enumeration for SupplementalGroupsPolicy {
    const WHAT: &'static str = "policy of supplemental groups";
    const VALUES: &'static [(&'static str, Self)] =
        &[("Merge", Self::Merge), ("Strict", Self::Strict)];
    const REMEDY: &'static str = "Merge or Strict";
}

impl Enumeration for ProfileType {
    const WHAT: &'static str = "profile type";
    const VALUES: &'static [(&'static str, Self)] = &[
        ("RuntimeDefault", Self::RuntimeDefault),
        ("Unconfined", Self::Unconfined),
        ("Localhost", Self::Localhost),
    ];
    const REMEDY: &'static str = "RuntimeDefault, Unconfined or Localhost";
}

impl From<Protocol> for spec::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
            Protocol::Sctp => Self::Sctp,
        }
    }
}

impl From<SupplementalGroupsPolicy> for GroupsPolicy {
    fn from(policy: SupplementalGroupsPolicy) -> Self {
        match policy {
            SupplementalGroupsPolicy::Merge => Self::Merge,
            SupplementalGroupsPolicy::Strict => Self::Strict,
        }
    }
}

/// A value as a file has it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "it must be the number or the name of a value")]
enum NumberOrName {
    Number(i64),
    Name(String),
}

fn read<'de, D: Deserializer<'de>, T: Enumeration>(deserializer: D) -> Result<T, D::Error> {
    let (found, shown) = match NumberOrName::deserialize(deserializer)? {
        NumberOrName::Number(number) => (T::from_number(number), number.to_string()),
        NumberOrName::Name(name) => (T::from_name(&name), shortened(&name)),
    };
    let unknown = || D::Error::custom(format!("'{shown}' is no {} ({})", T::WHAT, T::REMEDY));
    found.ok_or_else(unknown)
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer)
    }
}

impl<'de> Deserialize<'de> for NamespaceMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer)
    }
}

impl<'de> Deserialize<'de> for SupplementalGroupsPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer)
    }
}

impl<'de> Deserialize<'de> for ProfileType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer)
    }
}

#[cfg(test)]
mod tests;
