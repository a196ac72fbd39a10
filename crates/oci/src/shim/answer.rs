//! What a shim's `start` answers.

use serde::Deserialize;

/// The first version of what is answered in JSON that means task v3.
const TASK_V3_SINCE: u64 = 3;

/// Where a shim listens, and what it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bootstrap {
    pub(crate) address: String,
    /// Whether it offered task v3 rather than v2.
    pub(crate) task_v3: bool,
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    version: u64,
    address: String,
    #[serde(default)]
    protocol: String,
}

/// Reads the answer: an address alone, as shims of task v2 print it, or an object with a
/// `version`, an `address` and a `protocol`.
pub(crate) fn parse(stdout: &[u8]) -> Result<Bootstrap, String> {
    let text = std::str::from_utf8(stdout).map_err(|_| "it is no text".to_owned())?;
    let text = text.trim();
    let (address, version) = match text.starts_with('{') {
        true => from_json(text)?,
        false => (text.to_owned(), 0),
    };
    match socket_path(&address) {
        Some(_) => Ok(Bootstrap {
            address,
            task_v3: version >= TASK_V3_SINCE,
        }),
        None => Err(format!("{:?} is no address of a socket", short(&address))),
    }
}

fn from_json(text: &str) -> Result<(String, u64), String> {
    let read: Parameters = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match read.protocol.as_str() {
        "" | "ttrpc" => Ok((read.address, read.version)),
        other => Err(format!("it speaks {:?}, and not ttrpc", short(other))),
    }
}

/// The file of an address, which is `unix://` and an absolute path of one line.
pub(crate) fn socket_path(address: &str) -> Option<&str> {
    let path = address.strip_prefix("unix://")?;
    let clean = path.starts_with('/') && !path.contains(char::is_control);
    clean.then_some(path)
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests;
