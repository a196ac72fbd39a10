use super::*;

#[test]
fn where_nothing_is_mounted_unpin_succeeds_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("empty"), "").unwrap();
    std::fs::write(at("full"), "precious").unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    std::os::unix::fs::symlink("/proc/self/ns/net", at("link")).unwrap();
    for name in [
        "empty",
        "full",
        "directory",
        "link",
        "missing",
        "no/such/file",
    ] {
        unpin(&at(name)).unwrap();
        unpin(&at(name)).unwrap();
    }
    assert_eq!(std::fs::read_to_string(at("full")).unwrap(), "precious");
    assert!(at("directory").is_dir());
    assert!(at("link").is_symlink());
}

#[test]
fn an_empty_file_is_removed_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pod");
    std::fs::write(&path, "").unwrap();
    unlink(&path).unwrap();
    assert!(!path.exists());
    unlink(&path).unwrap();
    unlink(&directory.path().join("no/such/file")).unwrap();
}

#[test]
fn what_is_not_ours_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("full"), "precious").unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    std::os::unix::fs::symlink("/proc/self/ns/net", at("link")).unwrap();
    for name in ["full", "directory", "link"] {
        assert!(unlink(&at(name)).unwrap_err().is_foreign(), "{name}");
        assert!(std::fs::symlink_metadata(at(name)).is_ok(), "{name}");
    }
}

#[test]
fn a_relative_path_is_refused() {
    assert!(matches!(
        unpin(Path::new("pod")),
        Err(Error::NotAbsolute { .. })
    ));
    assert!(matches!(
        unlink(Path::new("pod")),
        Err(Error::NotAbsolute { .. })
    ));
}
