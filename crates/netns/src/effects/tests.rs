use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::*;

/// Starts a shell script; what it says goes to `output`.
fn start(
    effects: &Effects,
    pod: &str,
    script: &str,
    output: BorrowedFd<'_>,
) -> Result<Spawned, Error> {
    let nothing = std::fs::File::open("/dev/null").unwrap();
    let command = Command {
        program: Path::new("/bin/sh"),
        arguments: vec![OsStr::new("-c"), OsStr::new(script)],
        environment: vec![("PATH", std::env::var_os("PATH").unwrap())],
        directory: Path::new("/"),
    };
    let stdio = Stdio {
        input: nothing.as_fd(),
        output,
        errors: output,
    };
    effects.spawn(pod, &command, stdio)
}

/// The exit code of a child that ends by itself.
fn exit_code(spawned: &Spawned) -> Option<i32> {
    let ended = waitid(WaitId::PidFd(spawned.pidfd.as_fd()), WaitIdOptions::EXITED);
    ended.unwrap().unwrap().exit_status()
}

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
        let started = start(&effects, bad, "true", std::io::stdout().as_fd());
        assert!(matches!(started, Err(Error::Name { .. })), "{bad:?}");
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
    let error = start(&effects, "pod-1", "true", std::io::stdout().as_fd()).unwrap_err();
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
fn the_child_has_the_variable_and_a_process_group_of_its_own() {
    let script = "echo $PODWALK_EFFECT; cut -d' ' -f1,5 /proc/$$/stat; pwd; exit 3";
    let (mut ours, theirs) = std::io::pipe().unwrap();
    let child = start(&without_cgroups(), "pod-2", script, theirs.as_fd()).unwrap();
    drop(theirs);
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[2]), ("pod-2", "/"));
    let (pid, group) = lines[1].split_once(' ').unwrap();
    assert_eq!((pid, group), (&*child.pid.to_string(), pid));
    assert_eq!(exit_code(&child), Some(3));
}

#[test]
fn what_cannot_be_executed_says_why_and_leaves_no_child() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("program");
    let nothing = std::fs::File::open("/dev/null").unwrap();
    let stdio = Stdio {
        input: nothing.as_fd(),
        output: nothing.as_fd(),
        errors: nothing.as_fd(),
    };
    let command = Command {
        program: &path,
        arguments: Vec::new(),
        environment: Vec::new(),
        directory: Path::new("/"),
    };
    let refused = |command: &Command<'_>| match without_cgroups()
        .spawn("pod-3", command, stdio)
        .unwrap_err()
    {
        Error::Start {
            program, source, ..
        } => {
            assert_eq!(program, path);
            source
        }
        other => panic!("{other}"),
    };
    assert_eq!(refused(&command).kind(), std::io::ErrorKind::NotFound);
    std::fs::write(&path, "no program").unwrap();
    assert_eq!(
        refused(&command).kind(),
        std::io::ErrorKind::PermissionDenied
    );
    let elsewhere = directory.path().join("elsewhere");
    let lost = Command {
        directory: &elsewhere,
        ..command
    };
    let error = without_cgroups().spawn("pod-3", &lost, stdio).unwrap_err();
    assert!(
        matches!(&error, Error::Directory { path, .. } if *path == elsewhere),
        "{error}"
    );
    let torn = Command {
        arguments: vec![OsStr::new("a\0b")],
        directory: Path::new("/"),
        ..lost
    };
    assert_eq!(refused(&torn).kind(), std::io::ErrorKind::InvalidInput);
}
