//! Which cgroup hierarchy this machine offers.

use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::error::Error;
use crate::mountinfo::{self, Mount};

/// The hierarchies of version 1 that will do, the likeliest to be there first. Any one serves: it is
/// only asked who is in a group. A runtime moves the sandbox in every hierarchy that is mounted.
const WANTED: [&str; 4] = ["pids", "freezer", "memory", "name=systemd"];

/// Where effects' processes can be kept together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupLayout {
    /// Version 1, also where version 2 is mounted beside it (the hybrid layout).
    V1 {
        /// The mount point of one hierarchy.
        hierarchy: PathBuf,
    },
    /// Version 2 alone.
    V2 {
        /// The mount point.
        root: PathBuf,
    },
    /// No cgroup file system that can be written: processes are found by their environment.
    None,
}

impl CgroupLayout {
    /// Finds out, from the mount table. What another mount hides or what is read-only is not there.
    ///
    /// # Errors
    /// [`Error::System`] or [`Error::MountTable`] if the table cannot be read.
    pub fn detect() -> Result<Self, Error> {
        Ok(choose(&mountinfo::read()?, is_on_top))
    }
}

/// Chooses among the mounts of which `usable` is true.
fn choose(table: &[Mount], usable: impl Fn(&Mount) -> bool) -> CgroupLayout {
    let found = |kind: &str, option: Option<&str>| {
        let has = |mount: &Mount| {
            option.is_none_or(|option| mount.super_options.split(',').any(|one| one == option))
        };
        let fits = |mount: &&Mount| mount.kind == kind && !mount.read_only && has(mount);
        table
            .iter()
            .filter(fits)
            .find(|mount| usable(mount))
            .map(|mount| mount.point.clone())
    };
    if let Some(hierarchy) = WANTED
        .iter()
        .find_map(|option| found("cgroup", Some(option)))
    {
        return CgroupLayout::V1 { hierarchy };
    }
    match found("cgroup2", None) {
        Some(root) => CgroupLayout::V2 { root },
        None => CgroupLayout::None,
    }
}

/// Whether a look at the mount's point sees this mount, and not one that lies over it.
fn is_on_top(mount: &Mount) -> bool {
    let seen = statx(CWD, &mount.point, AtFlags::empty(), StatxFlags::MNT_ID);
    seen.is_ok_and(|seen| seen.stx_mnt_id == mount.id)
}

#[cfg(test)]
mod tests;
