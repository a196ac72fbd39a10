//! How much room the journal's disk has.

use std::io;
use std::path::Path;

/// What a new journal takes at once: sled lays out several segments.
const FRESH_BYTES: u64 = 48 << 20;
/// What opening an existing one may write: sled's snapshot of its page table,
/// and the first segment after it.
const OPENING_BYTES: u64 = 10 << 20;

/// Bytes that this process may still write on `path`'s file system.
///
/// # Errors
/// Those of `statvfs`.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes that an opening may write, the journal's file being `existing` bytes.
pub(crate) fn needed_to_open(existing: Option<u64>) -> u64 {
    existing.map_or(FRESH_BYTES, |bytes| OPENING_BYTES + bytes / 32)
}

/// Whether an error says that the disk (or a quota) is full.
pub(crate) fn is_full(error: &sled::Error) -> bool {
    match error {
        sled::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
