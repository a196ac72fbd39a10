//! What a reader is told when sled does not answer.

use tempfile::TempDir;

use super::*;

#[test]
fn a_full_disk_is_told_from_any_other_failure() {
    let dir = TempDir::new().unwrap();
    let handle = Handle::new(sled::open(dir.path()).unwrap());
    for (kind, is_full) in [
        (std::io::ErrorKind::StorageFull, true),
        (std::io::ErrorKind::PermissionDenied, false),
    ] {
        let refused = handle.reading::<()>(|_| Err(sled::Error::Io(kind.into())));
        let text = refused.unwrap_err().to_string();
        assert_eq!(text.contains("its disk is full"), is_full, "{text}");
    }
}
