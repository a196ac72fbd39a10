//! What is known of a shim, in its bundle: a successor finds it there.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::answer::socket_path;
use crate::process::ProcessIdentity;

/// Ours.
const RECORD: &str = "shim.json";
/// The shim's own, see the README of containerd's runtime v2.
const ADDRESS: &str = "address";
/// No record is longer.
const LIMIT: u64 = 64 * 1024;

/// A shim that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Where it listens.
    pub(crate) address: String,
    /// Whether it offered task v3.
    pub(crate) task_v3: bool,
    /// Whether the sandbox is made by the sandbox service.
    pub(crate) sandbox_api: bool,
    /// Its process.
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
    /// Whether it may have been asked to create the sandbox.
    pub(crate) asked: bool,
}

impl Record {
    pub(crate) fn process(&self) -> ProcessIdentity {
        ProcessIdentity {
            pid: self.pid,
            start_time: self.start_time,
        }
    }

    /// Reads the record of a bundle. One that does not read is none: then its processes are found
    /// by their cgroup and their mark.
    pub(crate) fn read(bundle: &Path) -> io::Result<Option<Self>> {
        let text = read(&bundle.join(RECORD))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Writes it in one step.
    pub(crate) fn write(&self, bundle: &Path) -> io::Result<()> {
        put(&bundle.join(RECORD), &serde_json::to_vec(self)?)
    }
}

/// The address in a bundle, as the shim left it there.
pub(crate) fn read_address(bundle: &Path) -> io::Result<Option<String>> {
    let text = read(&bundle.join(ADDRESS))?;
    let text = text.map(|text| text.trim().to_owned());
    Ok(text.filter(|text| socket_path(text).is_some()))
}

/// Leaves the address where a shim would, if this one has not.
pub(crate) fn note_address(bundle: &Path, address: &str) -> io::Result<()> {
    match bundle.join(ADDRESS).exists() {
        true => Ok(()),
        false => put(&bundle.join(ADDRESS), address.as_bytes()),
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let opened = match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    io::read_to_string(io::Read::take(opened, LIMIT)).map(Some)
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    fs::write(&fresh, bytes)?;
    fs::rename(fresh, path)
}
