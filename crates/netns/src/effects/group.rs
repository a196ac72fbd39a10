//! One cgroup and what lies beneath it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::error::Pids;
use super::{Error, PAUSE, is_over};
use crate::point;

/// The file that lists a cgroup's processes.
const PROCS: &str = "cgroup.procs";

/// The file of version 1 that a single thread joins by. A child before exec has but one, and for a
/// thread that moves itself the kernel (since 5.5) does not stop all of the machine's forks and
/// exits, which takes a grace period of RCU: 0.05 ms instead of 7 to 10, for each process of an
/// effect.
const TASKS: &str = "tasks";

/// The file that kills a cgroup with all beneath it (version 2, kernel 5.14).
const KILL: &str = "cgroup.kill";

/// A cgroup, which need not exist.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
}

/// How a process comes into a cgroup.
#[derive(Debug)]
pub(crate) enum Entrance {
    /// By writing to this file (version 1).
    File(OwnedFd),
    /// By being born there: the directory (version 2).
    Directory(OwnedFd),
}

impl Group {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn child(&self, name: &str) -> Self {
        Self::at(self.path.join(name))
    }

    /// Makes the cgroup and those above it; returns the way in.
    pub(crate) fn make(&self) -> Result<Entrance, Error> {
        fs::create_dir_all(&self.path)
            .map_err(|source| Error::cgroup("make the cgroup", &self.path, source))?;
        point::reached("netns.effect_group_made");
        let tasks = self.path.join(TASKS);
        let file = unless_gone(fs::OpenOptions::new().write(true).open(&tasks))
            .map_err(|source| Error::cgroup("open", &tasks, source))?;
        if let Some(file) = file {
            return Ok(Entrance::File(file.into()));
        }
        let directory = fs::File::open(&self.path)
            .map_err(|source| Error::cgroup("open", &self.path, source))?;
        Ok(Entrance::Directory(directory.into()))
    }

    /// The processes in it and beneath it.
    pub(crate) fn members(&self) -> Result<BTreeSet<u32>, Error> {
        let mut members = BTreeSet::new();
        for group in self.family()? {
            let procs = group.join(PROCS);
            // Whoever owned a cgroup beneath may remove it while we look.
            let Some(text) = unless_gone(fs::read_to_string(&procs))
                .map_err(|source| Error::cgroup("read", &procs, source))?
            else {
                continue;
            };
            for line in text.lines() {
                let bad =
                    |_| Error::cgroup("read", &procs, io::Error::from(ErrorKind::InvalidData));
                members.insert(line.parse().map_err(bad)?);
            }
        }
        Ok(members)
    }

    /// Kills it with all beneath it at once, where the kernel has a file for that.
    pub(crate) fn kill_at_once(&self) -> Result<(), Error> {
        let kill = self.path.join(KILL);
        let file = unless_gone(fs::OpenOptions::new().write(true).open(&kill));
        let written = file.and_then(|file| match file {
            Some(mut file) => unless_gone(io::Write::write_all(&mut file, b"1")).map(|_| ()),
            None => Ok(()),
        });
        written.map_err(|source| Error::cgroup("write to", &kill, source))
    }

    /// Removes it with all beneath it. A process that was seen gone may count for a moment longer,
    /// so a busy one is tried again until `end`.
    pub(crate) fn remove(&self, pod: &str, end: Option<Instant>) -> Result<(), Error> {
        let mut removed = false;
        for group in self.family()?.iter().rev() {
            while let Err(source) = fs::remove_dir(group) {
                match source.kind() {
                    ErrorKind::NotFound => break,
                    ErrorKind::ResourceBusy if !is_over(end) => std::thread::sleep(PAUSE),
                    ErrorKind::ResourceBusy => return self.busy(pod, source),
                    _ => return Err(Error::cgroup("remove the cgroup", group, source)),
                }
            }
            removed = true;
        }
        if removed {
            point::reached("netns.effect_group_removed");
        }
        Ok(())
    }

    /// Removes it if it is empty; one that is gone is success.
    pub(crate) fn remove_empty(&self) -> Result<(), Error> {
        unless_gone(fs::remove_dir(&self.path))
            .map(|_| ())
            .map_err(|source| Error::cgroup("remove the cgroup", &self.path, source))
    }

    /// The names of the cgroups right beneath it, sorted.
    pub(crate) fn children(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = directories(&self.path)?
            .iter()
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    /// It and all cgroups beneath it, each after the one it lies in; empty if it does not exist.
    fn family(&self) -> Result<Vec<PathBuf>, Error> {
        let mut family = Vec::new();
        if self.path.exists() {
            family.push(self.path.clone());
        }
        let mut next = 0;
        while let Some(group) = family.get(next) {
            let beneath = directories(group)?;
            family.extend(beneath);
            next += 1;
        }
        Ok(family)
    }

    /// Busy at the deadline: because somebody is in it, or for a reason of the kernel's.
    fn busy(&self, pod: &str, source: io::Error) -> Result<(), Error> {
        let pids: Vec<u32> = self.members()?.into_iter().collect();
        if pids.is_empty() {
            return Err(Error::cgroup("remove the cgroup", &self.path, source));
        }
        Err(Error::Alive {
            pod: pod.to_owned(),
            pids: Pids(pids),
        })
    }
}

/// The directories in `path`; none if it is gone.
fn directories(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::cgroup("list the cgroup", path, source);
    let Some(entries) = unless_gone(fs::read_dir(path)).map_err(failed)? else {
        return Ok(Vec::new());
    };
    let mut directories = Vec::new();
    for entry in entries {
        let Some(entry) = unless_gone(entry).map_err(failed)? else {
            continue;
        };
        if entry.file_type().map_err(failed)?.is_dir() {
            directories.push(entry.path());
        }
    }
    Ok(directories)
}

/// `None` where the cgroup is gone: ENOENT, or ENODEV from a file that was open when it went.
fn unless_gone<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}
