//! Where cgroups are, and the sandbox's own among them.
//!
//! A sandbox's processes are all in its cgroup, whatever the runtime remembers about them. So
//! the cgroup is the last word on whether any is alive, and it is removed only when empty.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config_error::ConfigError;
use crate::id::SandboxId;

const MOUNT_POINT: &str = "/sys/fs/cgroup";
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// How cgroups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupLayout {
    /// Hierarchies of version 1 only.
    V1,
    /// The one hierarchy of version 2.
    V2,
    /// Hierarchies of version 1, and version 2 on `unified` beside them. crun refuses it.
    Hybrid,
    /// No cgroups below `/sys/fs/cgroup`.
    None,
}

impl std::fmt::Display for CgroupLayout {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
            Self::None => "no cgroups",
        })
    }
}

/// The layout of this machine.
///
/// # Errors
/// If `/proc/self/mountinfo` cannot be read.
pub fn cgroup_layout() -> io::Result<CgroupLayout> {
    Ok(Cgroups::detect()?.layout)
}

/// Under which cgroup a sandbox's own is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupParent {
    /// Ours: it comes with the first sandbox and is removed with the last.
    Owned(String),
    /// Somebody else's, such as kubelet's cgroup of the pod; left as it is. A path, or the name
    /// of a systemd slice (`a-b.slice` is `/a.slice/a-b.slice`).
    Foreign(String),
}

impl Default for CgroupParent {
    /// `/podwalk`, ours.
    fn default() -> Self {
        Self::Owned("/podwalk".to_owned())
    }
}

/// A sandbox's cgroup, relative to where cgroups are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupsPath {
    path: String,
    parent_is_ours: bool,
}

impl CgroupsPath {
    /// The cgroup of `id` under `parent`.
    ///
    /// # Errors
    /// [`ConfigError::CgroupParent`] if the parent is no clean path.
    pub fn new(parent: &CgroupParent, id: &SandboxId) -> Result<Self, ConfigError> {
        let (given, parent_is_ours) = match parent {
            CgroupParent::Owned(given) => (given, true),
            CgroupParent::Foreign(given) => (given, false),
        };
        let directory = directory_of(given).ok_or_else(|| ConfigError::CgroupParent {
            parent: given.clone(),
        })?;
        Ok(Self {
            path: format!("{directory}/{id}"),
            parent_is_ours,
        })
    }

    /// The path, which starts with `/`.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// The cgroup of its shim, beside it: a shim in the sandbox's own would be counted, limited
    /// and frozen with it.
    pub(crate) fn of_shim(&self) -> Self {
        Self {
            path: format!("{}-shim", self.path),
            parent_is_ours: self.parent_is_ours,
        }
    }

    fn below(&self, root: &Path) -> PathBuf {
        root.join(self.path.trim_start_matches('/'))
    }
}

/// The directory that a parent's name means, without a slash at its end. A parent is never the
/// root: `/ID` could be anybody's.
fn directory_of(parent: &str) -> Option<String> {
    let clean = |part: &str| !part.is_empty() && part != "." && part != ".." && !has_odd(part);
    if let Some(slice) = parent
        .strip_suffix(".slice")
        .filter(|name| !name.contains('/'))
    {
        let parts: Vec<&str> = slice.split('-').collect();
        let nested = (1..=parts.len()).map(|count| format!("/{}.slice", parts[..count].join("-")));
        return parts
            .iter()
            .all(|part| clean(part))
            .then(|| nested.collect());
    }
    let path = parent.trim_start_matches('/').trim_end_matches('/');
    path.split('/').all(clean).then(|| format!("/{path}"))
}

fn has_odd(part: &str) -> bool {
    part.contains(|character: char| character.is_control() || character.is_whitespace())
}

/// The mounted hierarchies.
#[derive(Debug, Clone)]
pub(crate) struct Cgroups {
    /// How they are mounted.
    pub(crate) layout: CgroupLayout,
    /// Where each is.
    pub(crate) roots: Vec<PathBuf>,
}

impl Cgroups {
    /// What is mounted now.
    pub(crate) fn detect() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// Reads the layout from mountinfo, see proc_pid_mountinfo(5). A later mount hides an
    /// earlier one on the same directory.
    fn parse(mountinfo: &str) -> Self {
        let mut mounts: Vec<(&str, &str)> = Vec::new();
        for (point, kind) in mountinfo.lines().filter_map(mount) {
            let inside = |directory: &str| Path::new(directory).starts_with(MOUNT_POINT);
            if inside(point) {
                mounts.retain(|(earlier, _)| !Path::new(earlier).starts_with(point));
                mounts.push((point, kind));
            }
        }
        mounts.retain(|(_, kind)| matches!(*kind, "cgroup" | "cgroup2"));
        let is_v2 = |wanted: &str| mounts.contains(&(wanted, "cgroup2"));
        let v1 = mounts.iter().any(|(_, kind)| *kind == "cgroup");
        let layout = match (is_v2(MOUNT_POINT), is_v2(UNIFIED), v1) {
            (true, _, _) => CgroupLayout::V2,
            (false, true, _) => CgroupLayout::Hybrid,
            (false, false, true) => CgroupLayout::V1,
            (false, false, false) => CgroupLayout::None,
        };
        let roots = mounts
            .iter()
            .map(|(point, _)| PathBuf::from(point))
            .collect();
        Self { layout, roots }
    }

    /// Where the cgroup is, or would be, in each hierarchy.
    pub(crate) fn directories(&self, path: &CgroupsPath) -> Vec<PathBuf> {
        self.roots.iter().map(|root| path.below(root)).collect()
    }

    /// The processes in the cgroup and below it, in any hierarchy, each once. 0 stands for
    /// those that this process namespace does not show.
    pub(crate) fn members(&self, path: &CgroupsPath) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        for directory in self.directories(path) {
            collect_members(&directory, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Moves a process into the cgroup, which is made, in every hierarchy. What it starts from now
    /// on is born there. One that has ended is no error.
    pub(crate) fn admit(&self, path: &CgroupsPath, pid: u32) -> io::Result<()> {
        for (root, directory) in self.roots.iter().zip(self.directories(path)) {
            make(root, &directory)?;
            let procs = directory.join("cgroup.procs");
            let gone = rustix::io::Errno::SRCH.raw_os_error();
            match fs::write(procs, pid.to_string()) {
                Err(error) if error.raw_os_error() != Some(gone) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the cgroup with what is below it, and the parent if it is ours and empty.
    /// `may_remove_parent` is false while somebody may be about to make a cgroup in it.
    pub(crate) fn remove(&self, path: &CgroupsPath, may_remove_parent: bool) -> io::Result<()> {
        for directory in self.directories(path) {
            remove_tree(&directory)?;
            let parent = directory
                .parent()
                .filter(|_| path.parent_is_ours && may_remove_parent);
            // Another sandbox may still be in it: then this fails, and the last one does it.
            let _ = parent.map(fs::remove_dir);
        }
        Ok(())
    }
}

/// The mount point and the file system's type of a line.
fn mount(line: &str) -> Option<(&str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    Some((before.split(' ').nth(4)?, after.split(' ').next()?))
}

/// Makes a cgroup and those above it. One of version 1's cpuset takes no process before it has
/// CPUs and memory nodes: it gets those of the one above, where it has none.
fn make(root: &Path, directory: &Path) -> io::Result<()> {
    if directory == root || directory.is_dir() {
        return Ok(());
    }
    let above = directory.parent().unwrap_or(root);
    make(root, above)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(name);
        if fs::read_to_string(&own).is_ok_and(|held| held.trim().is_empty()) {
            let held = fs::read_to_string(above.join(name)).unwrap_or_default();
            if !held.trim().is_empty() {
                fs::write(&own, held.trim())?;
            }
        }
    }
    Ok(())
}

fn collect_members(directory: &Path, pids: &mut Vec<u32>) -> io::Result<()> {
    let procs = match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(procs) => procs,
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    pids.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()));
    for child in children(directory)? {
        collect_members(&child, pids)?;
    }
    Ok(())
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    for child in children(directory)? {
        remove_tree(&child)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(()),
    }
}

fn children(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// A cgroup that goes away while its files are read answers ENODEV.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    let no_device = rustix::io::Errno::NODEV.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(no_device)
}

#[cfg(test)]
mod tests;
