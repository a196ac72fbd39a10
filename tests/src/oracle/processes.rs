//! Processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Places;

/// Every process of the node but this one, pid 1 and the spared executables. A node has a pid
/// namespace of its own, so `/proc` shows no others.
pub(super) fn processes(places: &Places, seen: &mut BTreeSet<String>) -> Result<()> {
    // Who looks into a machine from outside is not in its `/proc`, and has no number there.
    let own = fs::read_link("/proc/self").ok();
    let own = own.and_then(|link| link.to_str()?.parse::<u32>().ok());
    for entry in fs::read_dir("/proc").context("/proc")? {
        let entry = entry.context("/proc")?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        if Some(pid) == own || pid == 1 {
            continue;
        }
        // A process that ends between the two looks is not there.
        if let Some(line) = describe(pid, &entry.path(), &places.spared) {
            seen.insert(line);
        }
    }
    Ok(())
}

fn describe(pid: u32, directory: &Path, spared: &[PathBuf]) -> Option<String> {
    let executable = fs::read_link(directory.join("exe")).ok();
    // The kernel says so of a program that was built anew while it runs.
    let executable = executable.map(|path| match path.to_str() {
        Some(text) => text.trim_end_matches(" (deleted)").into(),
        None => path,
    });
    let is_spared = |path: &PathBuf| spared.contains(path);
    if executable.as_ref().is_some_and(is_spared) {
        return None;
    }
    let name = fs::read_to_string(directory.join("comm")).ok()?;
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let (state, parent) = (fields.next()?, fields.next()?);
    Some(format!(
        "process {pid} {} (state {state}, child of {parent})",
        name.trim()
    ))
}
