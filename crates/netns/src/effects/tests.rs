use super::*;

fn without_cgroups() -> Effects {
    Effects::new(CgroupLayout::None, "podwalk-test").unwrap()
}

#[test]
fn a_name_is_one_directory() {
    let effects = without_cgroups();
    for bad in [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "../etc",
        "a\0b",
        "a\nb",
        "cgroup.procs",
        &"x".repeat(256),
    ] {
        let mut command = Command::new("true");
        assert!(
            matches!(effects.enlist(bad, &mut command), Err(Error::Name { .. })),
            "{bad:?}"
        );
        assert!(
            matches!(effects.quiet(bad, Duration::ZERO), Err(Error::Name { .. })),
            "{bad:?}"
        );
        assert!(
            matches!(
                Effects::new(CgroupLayout::None, bad),
                Err(Error::Name { .. })
            ),
            "{bad:?}"
        );
    }
}

#[test]
fn the_alive_error_names_pod_and_pids() {
    let error = Error::Alive {
        pod: "pod-1".into(),
        pids: error::Pids(vec![12, 34]),
    };
    let text = error.to_string();
    assert!(text.contains("pod pod-1 do not end: 12, 34; "), "{text}");
}

#[test]
fn a_cgroup_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let root = file.path().to_path_buf();
    let effects = Effects::new(CgroupLayout::V2 { root: root.clone() }, "podwalk-test").unwrap();
    let error = effects
        .enlist("pod-1", &mut Command::new("true"))
        .unwrap_err();
    let path = root.join("podwalk-test/pod-1");
    assert!(
        error.to_string().contains(&path.display().to_string()),
        "{error}"
    );
}

#[test]
fn a_layout_whose_files_are_missing_holds_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_path_buf();
    let effects = Effects::new(CgroupLayout::V2 { root }, "podwalk-test").unwrap();
    assert_eq!(effects.quiet("pod-1", Duration::ZERO).unwrap(), 0);
    assert!(effects.leftovers().unwrap().is_empty());
    effects.disband().unwrap();
}

#[test]
fn the_child_has_the_variable_a_process_group_of_its_own_and_no_death_signal() {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo $PODWALK_EFFECT; cut -d' ' -f1,5 /proc/$$/stat"]);
    without_cgroups().enlist("pod-2", &mut command).unwrap();
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "pod-2");
    let (pid, group) = lines[1].split_once(' ').unwrap();
    assert_eq!(pid, group);
}
