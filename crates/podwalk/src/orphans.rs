//! Namespace files that carry this daemon's name and belong to no pod: what is left when a pod in
//! quarantine was dropped, or when the journal has lost its last records.
//!
//! Only what is provably ours is touched (design, section 3, rule 10): the name ends with this state
//! directory's instance id, which no other daemon has, and no pod and no quarantine knows it. An id is
//! made once, and the engine knows it before its file is there and until that is gone, so that a file
//! found first, unknown then, and still there, is nobody's for ever. While a process lives in the
//! namespace, or carries the id in its cgroup or, as effects do where there are no cgroups, in its
//! environment, it is told and kept: a sandbox may be alive.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use podwalk_engine::engine::Engine;
use podwalk_engine::id::{InstanceId, PodId};
use rustix::io::Errno;

use crate::api::Orphan;

/// Where a daemon's orphans would be.
#[derive(Clone)]
pub struct Orphans {
    engine: Engine,
    instance: InstanceId,
    netns_dir: PathBuf,
}

impl Orphans {
    /// Of the daemon with this engine and instance.
    pub fn new(engine: Engine, instance: InstanceId, netns_dir: PathBuf) -> Self {
        Self {
            engine,
            instance,
            netns_dir,
        }
    }

    /// Looks for them. It blocks.
    ///
    /// # Errors
    /// When the directory or the process table cannot be read.
    pub fn find(&self) -> io::Result<Vec<Orphan>> {
        let names = named_by(self.instance, &self.netns_dir)?;
        // After the directory: what is known is not made meanwhile.
        let quarantined = self.engine.quarantined().into_iter();
        let quarantined: BTreeSet<PodId> = quarantined.map(|(id, _)| id).collect();
        let unknown = |id: &PodId| self.engine.get(*id).is_none() && !quarantined.contains(id);
        let path = |id: &PodId| self.netns_dir.join(id.to_string());
        // One that was being removed is unknown by now, and its file is gone.
        let is_there = |id: &PodId| fs::symlink_metadata(path(id)).is_ok();
        let unknown = names.into_iter().filter(unknown).filter(is_there);
        let unknown: Vec<PodId> = unknown.collect();
        let mut alive = living(&unknown, &self.netns_dir, Path::new("/proc"))?;
        let orphans = unknown.into_iter().map(|id| Orphan {
            id: id.to_string(),
            path: path(&id).display().to_string(),
            processes: alive.remove(&id).unwrap_or_default(),
            removed: false,
            error: String::new(),
        });
        Ok(orphans.collect())
    }

    /// Unpins and removes those in which nobody lives. It blocks.
    ///
    /// # Errors
    /// As for [`Orphans::find`]; one that cannot be removed says so itself.
    pub fn remove(&self) -> io::Result<Vec<Orphan>> {
        let mut orphans = self.find()?;
        for orphan in orphans.iter_mut().filter(|one| one.processes.is_empty()) {
            let swept = podwalk_netns::sweep(&self.netns_dir, |name| name == orphan.id);
            let swept = swept.map_err(io::Error::other)?;
            let found = !swept.is_empty();
            let failed = swept.into_iter().find_map(|file| file.outcome.err());
            orphan.removed = found && failed.is_none();
            orphan.error = failed.map_or(String::new(), |error| error.to_string());
            tracing::warn!(pod = %orphan.id, path = %orphan.path, removed = orphan.removed, error = %orphan.error, "an orphan");
        }
        Ok(orphans)
    }
}

/// The ids in a directory that this instance has made.
fn named_by(instance: InstanceId, directory: &Path) -> io::Result<BTreeSet<PodId>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| name.parse::<PodId>().ok());
        ids.extend(id.filter(|id| id.instance() == instance));
    }
    Ok(ids)
}

/// The processes that live in one of these pods' namespaces, or carry its id in their cgroup or
/// environment. One that cannot be looked at is an error: it may be one of them.
fn living(
    ids: &[PodId],
    directory: &Path,
    processes: &Path,
) -> io::Result<BTreeMap<PodId, Vec<u32>>> {
    let mut living: BTreeMap<PodId, Vec<u32>> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(living);
    }
    let mut namespaces = BTreeMap::new();
    for id in ids {
        // Of a placeholder it is the file's own, in which nobody lives.
        if let Some(found) = there(&directory.join(id.to_string()), |path| fs::metadata(path))? {
            namespaces.insert((found.dev(), found.ino()), *id);
        }
    }
    for entry in fs::read_dir(processes)? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let process = processes.join(&name);
        let inside = there(&process.join("ns/net"), |path| fs::metadata(path))?;
        let inside = inside.and_then(|found| namespaces.get(&(found.dev(), found.ino())));
        let cgroups = there(&process.join("cgroup"), |path| fs::read_to_string(path))?;
        let environment = there(&process.join("environ"), |path| fs::read(path))?;
        let marks = [
            cgroups.unwrap_or_default().into_bytes(),
            environment.unwrap_or_default(),
        ];
        let carries = |id: &&PodId| {
            let id = id.to_string().into_bytes();
            let mut all = marks.iter().flat_map(|mark| mark.windows(id.len()));
            all.any(|part| part == id)
        };
        if let Some(id) = inside.or_else(|| ids.iter().find(carries)) {
            living.entry(*id).or_default().push(pid);
        }
    }
    Ok(living)
}

/// What was read, unless it has gone meanwhile, as processes do.
fn there<T>(path: &Path, read: impl Fn(&Path) -> io::Result<T>) -> io::Result<Option<T>> {
    let is_gone = |error: &io::Error| {
        let gone = [Errno::NOENT, Errno::SRCH].map(|errno| Some(errno.raw_os_error()));
        gone.contains(&error.raw_os_error())
    };
    match read(path) {
        Ok(read) => Ok(Some(read)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => {
            let told = format!("{}: {error}", path.display());
            Err(io::Error::new(error.kind(), told))
        }
    }
}

#[cfg(test)]
mod tests;
