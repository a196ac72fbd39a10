//! A copy of sled's snapshot while sled puts another in its place.
//!
//! Every opening lets sled write a new snapshot of its page table. sled renames
//! it, deletes the old one, and at once overwrites the segments of which the
//! new one says that nobody needs them, without a sync of the directory in
//! between. Where power fails then, and the file system has written the
//! deletion and not yet the new name, no snapshot is left, and sled takes the
//! rest for an empty store. So a copy of the old one lies in the journal's own
//! directory until sled's is synced, and an opening that finds no snapshot puts
//! it back: what only the old one needs was overwritten with what it can do
//! without.

use std::fs::{self, File};
use std::path::Path;

use crate::directory;
use crate::error::OpenError;

/// How sled names its snapshots.
const SNAPSHOT: &str = "snap.";
/// What stands before that in the name of a copy.
const KEPT: &str = "kept.";
/// How the name of one ends that is being written; an opening deletes it.
const UNFINISHED: &str = "generating";

/// Puts back a snapshot that was lost, or else copies the one that is there.
/// sled's directory must be synced before.
///
/// # Errors
/// The file system's.
pub(crate) fn keep(dir: &Path, sled_dir: &Path) -> Result<(), OpenError> {
    let Some(name) = names(sled_dir, SNAPSHOT)?.pop() else {
        return put_back(dir, sled_dir);
    };
    copy(&sled_dir.join(&name), &dir.join(format!("{KEPT}{name}")))?;
    directory::sync(dir)
}

/// Deletes the copies, now that sled's own snapshot is on the platter. A
/// deletion that power loss takes back does no harm: there is a newer one.
///
/// # Errors
/// The file system's.
pub(crate) fn release(dir: &Path) -> Result<(), OpenError> {
    for name in names(dir, KEPT)? {
        let path = dir.join(name);
        fs::remove_file(&path).map_err(OpenError::io("delete", path))?;
    }
    Ok(())
}

fn put_back(dir: &Path, sled_dir: &Path) -> Result<(), OpenError> {
    let Some(kept) = names(dir, KEPT)?.pop() else {
        // A young store: it has never had one.
        return Ok(());
    };
    let path = sled_dir.join(kept.trim_start_matches(KEPT));
    let unfinished = path.with_extension(UNFINISHED);
    copy(&dir.join(&kept), &unfinished)?;
    fs::rename(&unfinished, &path).map_err(OpenError::io("rename", unfinished))?;
    directory::sync(sled_dir)
}

fn copy(from: &Path, to: &Path) -> Result<(), OpenError> {
    let bytes = fs::read(from).map_err(OpenError::io("read", from))?;
    fs::write(to, bytes).map_err(OpenError::io("write", to))?;
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(OpenError::io("sync", to))
}

/// The names of whole snapshots with this beginning, oldest first: the rest of
/// a name is a place in the log, in hexadecimal digits of a fixed number.
fn names(dir: &Path, beginning: &str) -> Result<Vec<String>, OpenError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(OpenError::io("read", dir))? {
        let entry = entry.map_err(OpenError::io("read", dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(beginning) && !name.ends_with(UNFINISHED) {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
