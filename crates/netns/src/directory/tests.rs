use super::*;

#[test]
fn the_topmost_mount_is_the_one_without_another_on_it() {
    let table = mountinfo::parse(
        b"40 22 0:30 / /run rw - tmpfs tmpfs rw\n\
          41 40 0:30 / /run/netns rw - tmpfs tmpfs rw\n\
          42 41 0:30 / /run/netns rw shared:1 - tmpfs tmpfs rw\n",
    )
    .unwrap();
    let top = |point: &str| topmost_on(&table, Path::new(point)).map(|mount| mount.id);
    assert_eq!(top("/run/netns"), Some(42));
    assert_eq!(top("/run"), Some(40));
    assert_eq!(top("/run/other"), None);
}

#[test]
fn a_sweep_takes_only_what_belongs_and_goes_on_after_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["ours-a", "ours-c", "theirs"] {
        std::fs::write(at(name), "").unwrap();
    }
    std::fs::write(at("ours-b"), "precious").unwrap();
    let swept = sweep(directory.path(), |name| name.starts_with("ours-")).unwrap();
    let outcomes: Vec<_> = swept
        .iter()
        .map(|one| (one.path.clone(), one.outcome.is_ok()))
        .collect();
    assert_eq!(
        outcomes,
        [
            (at("ours-a"), true),
            (at("ours-b"), false),
            (at("ours-c"), true)
        ]
    );
    assert!(!at("ours-a").exists() && at("ours-b").exists() && at("theirs").exists());
}

#[test]
fn a_missing_directory_is_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    assert!(
        sweep(&directory.path().join("missing"), |_| true)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_directory_that_is_a_file_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = sweep(file.path(), |_| true).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&file.path().display().to_string())
    );
}
