//! Reading a journal without holding it: from a copy.

use std::fs;
use std::path::Path;
use std::time::Duration;

use podwalk_engine::id::PodId;
use podwalk_engine::ports::{JournalError, Replay};
use podwalk_engine::record::Entry;
use tempfile::TempDir;

use crate::error::{OpenError, OpenReport, Warning};
use crate::graves::Graves;
use crate::handle::{Handle, RawRecord};
use crate::open::{self, OpenOptions};

/// A copy of a running daemon's file can be cut anywhere; then it is taken
/// again.
const ATTEMPTS: u32 = 5;
/// How long one copy may take to open and be read.
const DEADLINE: Duration = Duration::from_secs(60);
/// The page cache for a copy, bytes.
const CACHE_BYTES: u64 = 16 << 20;

/// A journal as it was at one moment; nothing can be written to it.
///
/// The copy lies in a temporary directory and goes with this value.
#[derive(Debug)]
pub struct JournalCopy {
    // Closed before its directory is deleted.
    handle: Handle,
    graves: Graves,
    report: OpenReport,
    _directory: TempDir,
}

/// Copies the journal in `dir`, that of a daemon which is down or up, and
/// opens the copy. No lock is taken, and nothing in `dir` is touched.
///
/// # Errors
/// [`OpenError`]: nothing is there, or the copy does not open.
pub fn copy_for_reading(dir: &Path) -> Result<JournalCopy, OpenError> {
    let mut attempt = 1;
    loop {
        match take_copy(dir) {
            Ok(copy) if copy.is_whole() || attempt == ATTEMPTS => return Ok(copy),
            Err(error @ (OpenError::Missing { .. } | OpenError::Io { .. })) => return Err(error),
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Ok(_) | Err(_) => attempt += 1,
        }
    }
}

fn take_copy(dir: &Path) -> Result<JournalCopy, OpenError> {
    let options = OpenOptions::new(dir);
    let original = options.sled_dir();
    if !original.join("db").exists() {
        return Err(OpenError::Missing {
            path: dir.to_owned(),
        });
    }
    let directory = tempfile::Builder::new()
        .prefix("podwalk-journal-")
        .tempdir()
        .map_err(OpenError::io("make a directory in", std::env::temp_dir()))?;
    // Before the files: they are at least as far.
    let mark = open::read_mark(&options)?;
    copy_files(&original, directory.path())?;
    open::prepare(directory.path())?;
    let loaded = open::load(directory.path(), CACHE_BYTES, DEADLINE)?;
    let warnings = open::examine(&loaded, true, &mark);
    Ok(JournalCopy {
        report: open::report(&loaded.scan, warnings),
        graves: loaded.scan.graves,
        handle: Handle::new(loaded.db),
        _directory: directory,
    })
}

/// All plain files. One that has gone meanwhile was an old snapshot of sled's
/// page table, without which it reads its log from an earlier place.
fn copy_files(from: &Path, to: &Path) -> Result<(), OpenError> {
    let entries = fs::read_dir(from).map_err(OpenError::io("read", from))?;
    for entry in entries {
        let entry = entry.map_err(OpenError::io("read", from))?;
        let path = entry.path();
        if !path.is_file() {
            continue;
        }
        match fs::copy(&path, to.join(entry.file_name())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(OpenError::io("copy", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

impl JournalCopy {
    /// Reads everything.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`].
    pub fn replay(&self) -> Result<Replay, JournalError> {
        self.handle.replay()
    }

    /// Reads one pod's records, in order; none if there is no such pod.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`], also for a pod in quarantine.
    pub fn read(&self, pod: PodId) -> Result<Vec<Entry>, JournalError> {
        self.handle.read(pod, &self.graves)
    }

    /// The records of a pod in quarantine, byte for byte; empty for a pod that
    /// is not.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`].
    pub fn quarantined(&self, pod: PodId) -> Result<Vec<RawRecord>, JournalError> {
        self.handle.quarantined(pod, &self.graves)
    }

    /// What the opening of the copy found.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Whether the copy is of one moment.
    fn is_whole(&self) -> bool {
        !self.report.warnings.iter().any(Warning::is_loss)
    }
}
