//! Torn addresses of the plugin host-local.
//!
//! host-local holds an address by a file of its name, and writes into it whose
//! it is. Of one that dies between the two, with the machine or by a signal,
//! an empty file is left: DEL looks for what the file says and never finds it.
//! host-local does both under the lock of the network's directory, so a file
//! that is empty while we hold the lock is nobody's. Only an operator may have
//! put one there to keep an address free, which is why nothing is touched in a
//! network that is not declared to be ours alone.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File, TryLockError};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use podwalk_cni::Conflist;
use serde_json::Value;

/// Where host-local keeps addresses when its configuration does not say.
const DATA_DIR: &str = "/var/lib/cni/networks";

/// The lock in a network's directory that host-local holds while it works.
const LOCK: &str = "lock";

/// How often, and how far apart, a lock that somebody holds is tried.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Gives back what host-local has torn in the network, and says so.
pub(super) async fn give_back(conflist: &Conflist) {
    for directory in directories(conflist) {
        if let Err(error) = give_back_in(&directory).await {
            let path = directory.display();
            tracing::warn!(network = conflist.name(), %path, %error, "torn addresses are not given back");
        }
    }
}

/// Where the host-locals of a conflist keep this network's addresses.
fn directories(conflist: &Conflist) -> BTreeSet<PathBuf> {
    let ipam = conflist
        .plugins()
        .iter()
        .filter_map(|plugin| plugin.object().get("ipam"));
    let host_local = ipam.filter(|ipam| ipam.get("type") == Some(&Value::from("host-local")));
    host_local
        .map(|ipam| match ipam.get("dataDir").and_then(Value::as_str) {
            Some(directory) if !directory.is_empty() => Path::new(directory),
            _ => Path::new(DATA_DIR),
        })
        .map(|data| data.join(conflist.name()))
        .collect()
}

/// Removes the empty files of addresses under host-local's lock.
async fn give_back_in(directory: &Path) -> io::Result<()> {
    let Some(_lock) = lock(directory).await? else {
        return Ok(());
    };
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if is_torn(&entry)? {
            let path = entry.path();
            fs::remove_file(&path)?;
            tracing::warn!(path = %path.display(), "given back: it was never written whose address this is");
        }
    }
    Ok(())
}

/// Whether this is an address that is nobody's.
fn is_torn(entry: &DirEntry) -> io::Result<bool> {
    let name = entry.file_name();
    let is_address = name
        .to_str()
        .is_some_and(|name| name.parse::<IpAddr>().is_ok());
    let metadata = entry.metadata()?;
    Ok(is_address && metadata.is_file() && metadata.len() == 0)
}

/// Takes the lock; `None` where host-local has never worked.
async fn lock(directory: &Path) -> io::Result<Option<File>> {
    let file = match File::open(directory.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    let text = "host-local's lock is held by a plugin that does not end";
    Err(io::Error::new(ErrorKind::WouldBlock, text))
}

#[cfg(test)]
mod tests;
