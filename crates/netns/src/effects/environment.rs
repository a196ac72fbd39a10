//! Processes found by their environment, where there are no cgroups.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::{ENVIRONMENT, Error};
use crate::process;

/// Where the processes are listed.
const PROC: &str = "/proc";

/// What a process's environment says.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// That the process belongs to an effect of this pod.
    Of(String),
    /// Nothing: it is of no effect, or it runs no program any more.
    Nobody,
    /// Nothing yet: the process is in exec, between its old environment and the new one.
    Unsettled,
}

impl Standing {
    /// Whether it says that it is of `pod`: who is killed must say so.
    fn is_of(&self, pod: &str) -> bool {
        matches!(self, Self::Of(found) if found == pod)
    }

    /// Whether it does not deny it: who is overlooked must deny it.
    fn may_be_of(&self, pod: &str) -> bool {
        self.is_of(pod) || *self == Self::Unsettled
    }
}

/// The processes that may belong to an effect of `pod`: those whose environment names it, and those
/// that are in exec, of which it cannot be told yet.
///
/// Two looks in a row must find none before none is believed: a process can start another behind the
/// look and end before it.
pub(crate) fn members(pod: &str) -> Result<BTreeSet<u32>, Error> {
    let first = candidates(pod)?;
    if first.is_empty() {
        return candidates(pod);
    }
    Ok(first)
}

/// Those of `pids` whose environment says that they belong to an effect of `pod`.
pub(crate) fn belonging(
    pids: impl IntoIterator<Item = u32>,
    pod: &str,
) -> Result<BTreeSet<u32>, Error> {
    select(
        pids,
        |standing| matches!(standing, Standing::Of(found) if found == pod),
    )
}

/// The pods that some process's environment names, sorted.
pub(crate) fn pods() -> Result<Vec<String>, Error> {
    let mut pods = BTreeSet::new();
    for pid in processes()? {
        if let Standing::Of(pod) = standing(pid)? {
            pods.insert(pod);
        }
    }
    Ok(pods.into_iter().collect())
}

fn candidates(pod: &str) -> Result<BTreeSet<u32>, Error> {
    select(processes()?, |standing| standing.may_be_of(pod))
}

fn select(
    pids: impl IntoIterator<Item = u32>,
    wanted: impl Fn(&Standing) -> bool,
) -> Result<BTreeSet<u32>, Error> {
    let mut selected = BTreeSet::new();
    for pid in pids {
        if wanted(&standing(pid)?) {
            selected.insert(pid);
        }
    }
    Ok(selected)
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

/// What the environment of the process says.
///
/// An empty one is believed only if the process has none: that is also how a process looks that
/// execs, be it that its old program is gone while we read or that the new one has none yet.
fn standing(pid: u32) -> Result<Standing, Error> {
    let block = environment(pid)?;
    if !block.is_empty() {
        return Ok(value(&block).map_or(Standing::Nobody, Standing::Of));
    }
    Ok(match process::stat(pid)? {
        Some(stat) if !stat.zombie && !stat.without_program && !stat.bare => Standing::Unsettled,
        _ => Standing::Nobody,
    })
}

/// The environment block of the process; empty if it is gone.
///
/// It is read in one call, however long it is, because a process that execs meanwhile cuts off what
/// a second call would read.
fn environment(pid: u32) -> Result<Vec<u8>, Error> {
    let path = format!("{PROC}/{pid}/environ");
    let mut room = 64 * 1024;
    loop {
        let mut block = vec![0; room];
        match fs::File::open(&path).and_then(|mut file| file.read(&mut block)) {
            Ok(length) if length < room => {
                block.truncate(length);
                return Ok(block);
            }
            Ok(_) => room *= 2,
            Err(error) if is_gone(&error) => return Ok(Vec::new()),
            Err(error) => return Err(Error::process_table(Path::new(&path), error)),
        }
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
