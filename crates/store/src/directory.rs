//! What a directory's names need to survive.

use std::fs::File;
use std::path::Path;

use crate::error::OpenError;

/// Puts a directory's entries on the platter.
///
/// # Errors
/// The file system's.
pub(crate) fn sync(path: &Path) -> Result<(), OpenError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(OpenError::io("sync", path))
}
