//! Mounts, and what lies in directories.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use super::Places;
use crate::outside;

/// All mounts, each as often as it is stacked; the namespace directory's own one excepted.
pub(super) fn mounts(places: &Places, seen: &mut BTreeSet<String>) -> Result<()> {
    for mount in outside::mounts()? {
        if Path::new(&mount.target) == places.netns_dir && mount.kind != "nsfs" {
            continue;
        }
        let line = format!("mount {} ({}, {})", mount.target, mount.kind, mount.source);
        // The same thing twice on one place is two mounts.
        let numbered = (2..).map(|number| format!("{line}, number {number}"));
        let mut lines = std::iter::once(line.clone()).chain(numbered);
        let free = lines.find(|line| !seen.contains(line));
        seen.extend(free);
    }
    Ok(())
}

/// The entries of the directories that hold one thing for each pod.
pub(super) fn entries(places: &Places, seen: &mut BTreeSet<String>) -> Result<()> {
    for directory in &places.directories {
        for entry in list(directory)? {
            // All bundles share one copy of the sandbox's program, which stays.
            if entry.file_name() != ".pause" {
                seen.insert(format!("file {}", entry.path().display()));
            }
        }
    }
    Ok(())
}

/// host-local's files that are named after an address.
pub(super) fn addresses(places: &Places, seen: &mut BTreeSet<String>) -> Result<()> {
    for network in list(&places.networks_dir)? {
        for entry in list(&network.path())? {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name == "lock" || name.starts_with("last_reserved_ip.") {
                continue;
            }
            seen.insert(format!(
                "address {name} of network {}",
                network.file_name().display()
            ));
        }
    }
    Ok(())
}

/// Every cgroup of every hierarchy that is mounted, but the parents that the daemon keeps.
pub(super) fn cgroups(places: &Places, seen: &mut BTreeSet<String>) -> Result<()> {
    for mount in outside::mounts()? {
        if mount.kind == "cgroup" || mount.kind == "cgroup2" {
            let root = Path::new(&mount.target);
            below(root, seen)?;
            for kept in &places.kept_groups {
                seen.remove(&named(&root.join(kept)));
            }
        }
    }
    Ok(())
}

fn named(group: &Path) -> String {
    format!("cgroup {}", group.display())
}

fn below(group: &Path, seen: &mut BTreeSet<String>) -> Result<()> {
    for entry in list(group)? {
        // An entry that went between the two looks is not there.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            seen.insert(named(&entry.path()));
            below(&entry.path(), seen)?;
        }
    }
    Ok(())
}

/// A directory's entries; none if it is not there.
fn list(directory: &Path) -> Result<Vec<DirEntry>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_absent(error.kind()) => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| directory.display().to_string()),
    };
    let mut found = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => found.push(entry),
            // A cgroup that is removed while it is read.
            Err(error) if is_absent(error.kind()) => {}
            Err(error) => return Err(error).with_context(|| directory.display().to_string()),
        }
    }
    Ok(found)
}

fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}
