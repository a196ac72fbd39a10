use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::foreign::Foreign;

#[test]
fn a_placeholder_is_empty_read_only_and_may_be_made_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pod");
    place(&path).unwrap();
    place(&path).unwrap();
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.len(), 0);
    assert_eq!(metadata.permissions().mode() & 0o333, 0);
}

#[test]
fn what_is_no_placeholder_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let full = directory.path().join("full");
    std::fs::write(&full, "precious").unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&full, &link).unwrap();
    for (path, found) in [
        (&full, Foreign::NotEmpty { bytes: 8 }),
        (&link, Foreign::SymbolicLink),
        (&directory.path().to_path_buf(), Foreign::Directory),
    ] {
        for verb in [place, |path: &Path| pin(path).map(|_| ())] {
            match verb(path) {
                Err(Error::Foreign { found: seen, .. }) => assert_eq!(seen, found),
                other => panic!("{} gave {other:?}", path.display()),
            }
        }
    }
    assert_eq!(std::fs::read_to_string(&full).unwrap(), "precious");
}

#[test]
fn a_dangling_link_makes_no_file_at_its_target() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("target");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert!(place(&link).unwrap_err().is_foreign());
    assert!(!target.exists());
}

#[test]
fn without_a_directory_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/pod");
    let error = place(&path).unwrap_err();
    assert!(
        error.to_string().contains("make its directory first"),
        "{error}"
    );
    assert!(matches!(pin(&path), Err(Error::Missing { .. })));
}

#[test]
fn a_relative_path_is_refused() {
    assert!(matches!(
        place(Path::new("pod")),
        Err(Error::NotAbsolute { .. })
    ));
    assert!(matches!(
        pin(Path::new("pod")),
        Err(Error::NotAbsolute { .. })
    ));
}
