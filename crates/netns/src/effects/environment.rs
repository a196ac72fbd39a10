//! Processes found by their environment, where there are no cgroups.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::{ENVIRONMENT, Error};

/// Where the processes are listed.
const PROC: &str = "/proc";

/// The processes whose environment says that they belong to an effect of `pod`.
///
/// Two looks in a row must find none before none is believed: a process can start another behind the
/// look and end before it.
pub(crate) fn members(pod: &str) -> Result<BTreeSet<u32>, Error> {
    let first = belonging(processes()?, pod)?;
    if first.is_empty() {
        return belonging(processes()?, pod);
    }
    Ok(first)
}

/// Those of `pids` whose environment says that they belong to an effect of `pod`.
pub(crate) fn belonging(
    pids: impl IntoIterator<Item = u32>,
    pod: &str,
) -> Result<BTreeSet<u32>, Error> {
    let mut belonging = BTreeSet::new();
    for pid in pids {
        if pod_of(pid)?.is_some_and(|found| found == pod) {
            belonging.insert(pid);
        }
    }
    Ok(belonging)
}

/// The pods that some process's environment names, sorted.
pub(crate) fn pods() -> Result<Vec<String>, Error> {
    let mut pods = BTreeSet::new();
    for pid in processes()? {
        pods.extend(pod_of(pid)?);
    }
    Ok(pods.into_iter().collect())
}

/// Every process but ourselves: who quiets is never part of what is quieted.
fn processes() -> Result<Vec<u32>, Error> {
    let failed = |source| Error::process_table(Path::new(PROC), source);
    let mut pids = Vec::new();
    for entry in fs::read_dir(PROC).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        pids.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    pids.retain(|pid| *pid != std::process::id());
    Ok(pids)
}

/// The pod that the environment of the process names. A process that goes meanwhile, a zombie and a
/// kernel thread have none.
fn pod_of(pid: u32) -> Result<Option<String>, Error> {
    let path = format!("{PROC}/{pid}/environ");
    match fs::read(&path) {
        Ok(environment) => Ok(value(&environment)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(Error::process_table(Path::new(&path), error)),
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

/// The variable's value in an environment block: `NAME=VALUE`, each ended by NUL. The first counts,
/// as it does for `getenv(3)`.
fn value(environment: &[u8]) -> Option<String> {
    let value = environment.split(|byte| *byte == 0).find_map(|entry| {
        entry
            .strip_prefix(ENVIRONMENT.as_bytes())?
            .strip_prefix(b"=")
    })?;
    String::from_utf8(value.to_vec()).ok()
}

#[cfg(test)]
mod tests;
