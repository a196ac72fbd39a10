//! Names that are derived before they are used.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The state directory's own name: four random bytes, made once with it.
///
/// Every pod id ends with it, and every name on the host (namespace file,
/// container id, cgroup, bundle) is derived from a pod id. So whatever carries
/// ours and has no record is an orphan of ours, and never another instance's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(pub [u8; 4]);

/// A pod's id: twelve random bytes, then the instance id; 32 hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodId(pub [u8; 16]);

/// One boot of the kernel, as `/proc/sys/kernel/random/boot_id` names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootId(pub [u8; 16]);

/// A text that is not an id of 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a pod id: an id is 32 lower-case hex digits")]
pub struct NotAnId(pub String);

impl PodId {
    /// Joins twelve bytes of the caller's randomness with the instance's name.
    ///
    /// The core has no source of randomness of its own, so that tests can
    /// choose every id.
    pub fn new(random: [u8; 12], instance: InstanceId) -> Self {
        let mut bytes = [0; 16];
        bytes[..12].copy_from_slice(&random);
        bytes[12..].copy_from_slice(&instance.0);
        Self(bytes)
    }

    /// The instance that made this pod.
    pub fn instance(self) -> InstanceId {
        let [.., a, b, c, d] = self.0;
        InstanceId([a, b, c, d])
    }
}

impl FromStr for PodId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let refused = || NotAnId(text.chars().take(80).collect());
        if text.len() != 32
            || text
                .bytes()
                .any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(refused());
        }
        u128::from_str_radix(text, 16)
            .map(|number| Self(number.to_be_bytes()))
            .map_err(|_| refused())
    }
}

fn hex(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

macro_rules! shown_in_hex {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex(&self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}({self})", stringify!($name))
            }
        }
    )*};
}

shown_in_hex!(InstanceId, PodId, BootId);

#[cfg(test)]
mod tests;
