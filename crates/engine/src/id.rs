//! Names that are derived before they are used.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The state directory's own name: four random bytes, made once with it.
///
/// Every pod id ends with it, and every name on the host (namespace file,
/// container id, cgroup, bundle) is derived from a pod id. So whatever carries
/// ours and has no record is an orphan of ours, and never another instance's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub [u8; 4]);

/// A pod's id: twelve random bytes, then the instance id; 32 hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId(pub [u8; 16]);

/// One boot of the kernel, as `/proc/sys/kernel/random/boot_id` names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
        from_hex(text)
            .map(Self)
            .ok_or_else(|| NotAnId(text.chars().take(80).collect()))
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

/// In formats for people an id is its hex digits, in others its bytes.
macro_rules! serialised {
    ($($name:ident: $length:literal),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match serializer.is_human_readable() {
                    true => serializer.collect_str(self),
                    false => self.0.serialize(serializer),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if !deserializer.is_human_readable() {
                    return <[u8; $length]>::deserialize(deserializer).map(Self);
                }
                let text = String::deserialize(deserializer)?;
                from_hex(&text).map(Self).ok_or_else(|| {
                    D::Error::custom(format!("'{text}' is not {} hex digits", 2 * $length))
                })
            }
        }
    )*};
}

serialised!(InstanceId: 4, PodId: 16, BootId: 16);

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| match pair[at] {
            digit @ b'0'..=b'9' => Some(digit - b'0'),
            digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
