//! A node's own cgroups: one in each hierarchy of the machine, below the one this process is in.
//!
//! cgroups are not private to a mount namespace. A node whose first process is moved into groups of
//! its own **before** it makes a cgroup namespace, though, sees those groups as the roots of all
//! hierarchies, and what it mounts as `/sys/fs/cgroup` starts there. That was tried with version 1,
//! with version 2 alone, with crun and with runc.
//!
//! The groups do not go with the namespaces: the outer process removes them. Their names carry its
//! pid and start time, so that a later node finds the groups of one that was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait;

/// What every node's group is called, before its maker's pid and start time.
const PREFIX: &str = "podwalk-node-";

/// The hierarchies of version 1 without which a runtime cannot work.
const NEEDED: [&str; 3] = ["pids", "devices", "freezer"];

/// How long a group may take to become removable after its last process has gone.
const REMOVAL: Duration = Duration::from_secs(20);

/// One hierarchy of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// The controllers as `/proc/self/cgroup` lists them, such as `cpu,cpuacct` or `name=systemd`;
    /// empty for version 2.
    pub controllers: String,
    /// The directory of the group that this process is in.
    pub own: PathBuf,
}

/// All mounted hierarchies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hierarchies(pub Vec<Hierarchy>);

impl Hierarchies {
    /// Reads them from `/proc`.
    ///
    /// # Errors
    /// If `/proc/self` cannot be read.
    pub fn read() -> Result<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").context("/proc/self/cgroup")?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
        Ok(Self::parse(&groups, &mounts))
    }

    /// Puts together what the two files say. A hierarchy that is not mounted is left out.
    #[must_use]
    pub fn parse(groups: &str, mountinfo: &str) -> Self {
        let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
        let found = groups.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let mount = mounts.iter().find(|mount| mount.carries(controllers))?;
            let below = Path::new(path).strip_prefix(mount.root).ok()?;
            Some(Hierarchy {
                controllers: controllers.to_owned(),
                own: Path::new(mount.point).join(below),
            })
        });
        Self(found.collect())
    }

    /// Whether a node with version 1 can be made of them.
    #[must_use]
    pub fn serves_v1(&self) -> bool {
        NEEDED.iter().all(|needed| {
            self.0
                .iter()
                .any(|one| one.controllers.split(',').any(|name| name == *needed))
        })
    }
}

/// One line of mountinfo that is a cgroup file system.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    is_v2: bool,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let mut right = right.split(' ');
        let kind = right.next()?;
        matches!(kind, "cgroup" | "cgroup2").then_some(())?;
        Some(Self {
            root: left.next()?,
            point: left.next()?,
            is_v2: kind == "cgroup2",
            options: right.nth(1)?,
        })
    }

    fn carries(&self, controllers: &str) -> bool {
        if controllers.is_empty() {
            return self.is_v2;
        }
        let has = |wanted: &str| self.options.split(',').any(|option| option == wanted);
        !self.is_v2 && controllers.split(',').all(has)
    }
}

/// The groups of one node.
#[derive(Debug)]
pub struct NodeCgroups {
    directories: Vec<PathBuf>,
}

impl NodeCgroups {
    /// Makes one group in each hierarchy, and removes those of nodes whose makers died.
    ///
    /// # Errors
    /// If a group cannot be made, for example because cgroups are mounted read-only.
    pub fn make(hierarchies: &Hierarchies) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let own = std::process::id();
        let started = start_time(own).context("the start time of this process")?;
        let mut made = Self {
            directories: Vec::new(),
        };
        for hierarchy in &hierarchies.0 {
            sweep(&hierarchy.own);
            let path = hierarchy
                .own
                .join(format!("{PREFIX}{own}-{started}-{number}"));
            fs::create_dir(&path).with_context(|| {
                format!(
                    "making {}: a test node needs a cgroup file system that can be written",
                    path.display()
                )
            })?;
            inherit_cpuset(&hierarchy.own, &path)?;
            made.directories.push(path);
        }
        Ok(made)
    }

    /// Where the node's first process has to go.
    #[must_use]
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Removes the groups and all below them, after the node has ended.
    ///
    /// # Errors
    /// If one is still in use after twenty seconds.
    pub fn remove(&self) -> Result<()> {
        self.directories.iter().try_for_each(|path| remove(path))
    }
}

/// Removes a group and all below it, whose processes have ended.
///
/// # Errors
/// If it is still in use after twenty seconds.
pub fn remove(group: &Path) -> Result<()> {
    let gone = wait::until(REMOVAL, || {
        remove_tree(group);
        Ok((!group.exists()).then_some(()))
    })?;
    gone.with_context(|| format!("{} is still in use", group.display()))
}

/// A new cpuset of version 1 has no processors and takes no process until it is given some.
fn inherit_cpuset(from: &Path, to: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (from.join(file), to.join(file));
        // Version 2 inherits by itself, and has the file only where the controller is on.
        if to.exists() && fs::read_to_string(&to)?.trim().is_empty() {
            let value = fs::read_to_string(&from)?;
            fs::write(&to, value.trim()).with_context(|| to.display().to_string())?;
        }
    }
    Ok(())
}

/// Removes the groups of nodes whose makers are gone. That one cannot be removed is nobody's
/// business here: another node may be doing the same.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(is_abandoned) {
            remove_tree(&entry.path());
        }
    }
}

fn is_abandoned(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    let mut fields = rest.split('-').map(str::parse::<u64>);
    let (Some(Ok(pid)), Some(Ok(started))) = (fields.next(), fields.next()) else {
        return false;
    };
    u32::try_from(pid).ok().and_then(start_time) != Some(started)
}

/// The process's start in clock ticks since boot; `None` if there is no such process.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses that may hold anything; start time is field 22.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

/// Removes a group after those below it, as far as that can be done.
fn remove_tree(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
}

#[cfg(test)]
mod tests;
