//! The name of a sandbox.

use std::fmt;
use std::str::FromStr;

use crate::config_error::ConfigError;

/// The longest id, in bytes. It becomes a file name with a prefix, and a cgroup's name.
const LONGEST: usize = 128;

/// The id of a sandbox, as the runtime gets it.
///
/// It becomes a directory, a cgroup and an argument of a command line, so it consists of ASCII
/// letters, digits, `_`, `-` and `.`, starts with a letter or digit, and has 1 to 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SandboxId(String);

impl SandboxId {
    /// Takes `id` if it can be a sandbox's.
    ///
    /// # Errors
    /// [`ConfigError::Id`] with the rule that it breaks.
    pub fn new(id: impl Into<String>) -> Result<Self, ConfigError> {
        let id = id.into();
        let why = if id.is_empty() {
            "it is empty"
        } else if id.len() > LONGEST {
            "it is longer than 128 bytes"
        } else if !id.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            "it does not start with a letter or digit"
        } else if !id.bytes().all(is_allowed) {
            "it has other characters than letters, digits, '_', '-' and '.'"
        } else {
            return Ok(Self(id));
        };
        Err(ConfigError::Id { id, why })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

impl fmt::Display for SandboxId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for SandboxId {
    type Err = ConfigError;

    fn from_str(id: &str) -> Result<Self, ConfigError> {
        Self::new(id)
    }
}

#[cfg(test)]
mod tests;
