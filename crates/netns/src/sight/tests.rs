use super::*;

fn foreign(path: &Path) -> Foreign {
    match look(path).unwrap().unwrap().kind(path).unwrap() {
        Kind::Foreign(foreign) => foreign,
        Kind::Placeholder => panic!("{} is taken for a placeholder", path.display()),
        Kind::Namespace(_) => panic!("{} is taken for a namespace", path.display()),
    }
}

#[test]
fn each_kind_of_object_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("full"), "three").unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    std::os::unix::fs::symlink(at("full"), at("link")).unwrap();
    std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    assert_eq!(foreign(&at("full")), Foreign::NotEmpty { bytes: 5 });
    assert_eq!(foreign(&at("directory")), Foreign::Directory);
    assert_eq!(foreign(&at("link")), Foreign::SymbolicLink);
    assert_eq!(foreign(&at("socket")), Foreign::Special);
}

#[test]
fn an_empty_file_is_a_placeholder() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("empty");
    std::fs::write(&path, "").unwrap();
    let sight = look(&path).unwrap().unwrap();
    assert!(!sight.mounted);
    assert!(matches!(sight.kind(&path).unwrap(), Kind::Placeholder));
}

#[test]
fn nothing_is_nothing_with_and_without_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    assert!(look(&directory.path().join("missing")).unwrap().is_none());
    assert!(
        look(&directory.path().join("no/such/file"))
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_dangling_link_is_seen_as_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dangling");
    std::os::unix::fs::symlink("/nonexistent/target", &path).unwrap();
    assert_eq!(foreign(&path), Foreign::SymbolicLink);
}

#[test]
fn only_an_absolute_path_with_a_name_is_taken() {
    for bad in ["netns/a", "", "/", "/run/netns/.."] {
        assert!(
            matches!(resolve(Path::new(bad)), Err(Error::NotAbsolute { .. })),
            "{bad}"
        );
    }
}

#[test]
fn the_directory_is_resolved_and_the_name_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().canonicalize().unwrap().join("real");
    std::fs::create_dir(&real).unwrap();
    let alias = directory.path().join("alias");
    std::os::unix::fs::symlink(&real, &alias).unwrap();
    std::os::unix::fs::symlink("/etc", real.join("pod")).unwrap();
    let place = resolve(&alias.join("pod")).unwrap().unwrap();
    assert_eq!(place.resolved, real.join("pod"));
}

#[test]
fn namespaces_of_other_kinds_are_named() {
    let names = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWTIME,
        0,
    ]
    .map(kind_name);
    assert_eq!(
        names,
        [
            "mnt", "cgroup", "uts", "ipc", "user", "pid", "time", "unknown"
        ]
    );
}
