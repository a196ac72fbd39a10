//! Where a shim is, so that it can be found whatever it says.
//!
//! A shim is born among the processes of the effect that starts it, and lives on after it; so it
//! is moved into a cgroup of its own as soon as its pid is known. Besides, all that `start` leaves
//! behind carries a mark in its environment: by that it is found where there are no cgroups, and
//! in the moment before the move.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use tokio::time::{Instant, sleep};

use crate::cgroup::Cgroups;
use crate::ending::{AGAIN, Ending};
use crate::error::OciError;
use crate::id::SandboxId;
use crate::process::ProcessWatch;
use crate::runtime::{cgroup_failed, failed, file_failed};
use crate::target::Target;

/// The variable that names the sandbox in the environment of its shim.
pub(crate) const MARK: &str = "PODWALK_SHIM";

/// Moves the shim, and what it may have started, out of the effect's cgroup.
pub(crate) fn move_out(target: &Target, shim: u32) -> Result<(), OciError> {
    let cgroups = Cgroups::detect().map_err(cgroup_failed("find", target))?;
    let place = target.cgroup.of_shim();
    // The shim first: what it starts from then on is born in the right place.
    for pid in [shim].into_iter().chain(marked(&target.id)?) {
        let moved = cgroups.admit(&place, pid);
        moved.map_err(file_failed(
            "move the shim into",
            Path::new(place.as_str()),
            &target.id,
        ))?;
    }
    Ok(())
}

/// Who of the shim's lives: in its cgroup, or by its mark.
pub(crate) fn living(target: &Target) -> Result<Vec<u32>, OciError> {
    let cgroups = Cgroups::detect().map_err(cgroup_failed("find", target))?;
    let members = cgroups.members(&target.cgroup.of_shim());
    let mut pids = members.map_err(cgroup_failed("read", target))?;
    pids.extend(marked(&target.id)?);
    Ok(pids)
}

/// Ends all of them. Two looks in a row must find nobody: a process can start another behind the
/// first one, and end before it.
pub(crate) async fn end(ending: &Ending<'_>, end: Instant) -> Result<(), OciError> {
    let target = ending.target;
    let mut empty = 0;
    while empty < 2 {
        ending.members(&target.cgroup.of_shim(), end).await?;
        let pids = marked(&target.id)?;
        empty = if pids.is_empty() { empty + 1 } else { 0 };
        for pid in pids {
            if Instant::now() >= end {
                return Err(ending.still_alive(pid));
            }
            let watch = ProcessWatch::of(pid).map_err(failed("watch", &target.id, pid))?;
            // Between the look and this its number may have become another's.
            if is_marked(pid, &target.id) {
                ending.process(watch, end).await?;
            }
        }
        if empty == 1 {
            sleep(AGAIN).await;
        }
    }
    Ok(())
}

/// Whether a process carries the mark of this sandbox.
pub(crate) fn is_marked(pid: u32, id: &SandboxId) -> bool {
    let mark = format!("{MARK}={id}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|entry| entry == mark.as_bytes())
}

/// Those that carry it and have not ended.
fn marked(id: &SandboxId) -> Result<Vec<u32>, OciError> {
    let found = processes().map_err(file_failed("look for the shim in", Path::new("/proc"), id))?;
    Ok(found
        .into_iter()
        .filter(|pid| is_marked(*pid, id))
        .collect())
}

/// Every process but ourselves.
fn processes() -> io::Result<Vec<u32>> {
    let mut pids: Vec<u32> = Vec::new();
    for entry in fs::read_dir("/proc")? {
        match entry {
            Ok(entry) => {
                let name = entry.file_name();
                pids.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    pids.retain(|pid| *pid != std::process::id());
    Ok(pids)
}

#[cfg(test)]
mod tests;
