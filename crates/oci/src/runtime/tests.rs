//! The verbs over a scripted runtime. Real ones are in `tests/kernel`.

use super::probe::belongs_to;
use super::*;
use crate::config::SandboxConfig;
use podwalk_process::Unlisted;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

/// A runtime that is a shell script, with a directory of state.
struct Scripted {
    directory: tempfile::TempDir,
    runtime: OciRuntime,
}

impl Scripted {
    /// `script` sees the verb's arguments, from the verb on; its state is in `$ROOT`.
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (binary, root) = (
            directory.path().join("runtime"),
            directory.path().join("root"),
        );
        let common = "while [ $# -gt 0 ]; do case $1 in --root) ROOT=$2; shift 2;; \
                      --log-format) shift 2;; --log) LOG=$2; shift 2;; *) break;; esac; done";
        fs::write(&binary, format!("#!/bin/sh\n{common}\n{script}\n")).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(&root).unwrap();
        let runtime = OciRuntime::new(Handler::new("scripted", binary, root), Arc::new(Unlisted));
        Self { directory, runtime }
    }

    fn state(&self, entry: &str) -> PathBuf {
        let path = self.directory.path().join("root").join(entry);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sleeper() -> (Ended, ProcessIdentity) {
    let child = std::process::Command::new("sleep")
        .arg("1000")
        .stdin(Stdio::null())
        .spawn();
    let child = Ended(child.unwrap());
    let identity = ProcessWatch::of(child.0.id()).unwrap().unwrap().identity();
    (child, identity)
}

fn target(process: Option<ProcessIdentity>) -> Target {
    // No test of a scripted runtime makes this cgroup.
    let config = SandboxConfig::new(SandboxId::new("oci-scripted-never-made").unwrap());
    Target {
        process,
        ..config.target().unwrap()
    }
}

fn answers(status: &str, pid: impl std::fmt::Display) -> String {
    format!(r#"[ $1 = state ] && echo '{{"id":"x","status":"{status}","pid":{pid},"more":{{}}}}'"#)
}

async fn probe(script: &str, process: Option<ProcessIdentity>) -> Result<Probe, OciError> {
    let scripted = Scripted::new(script);
    scripted.state(target(None).id.as_str());
    scripted.runtime.probe(&target(process)).await
}

#[tokio::test]
async fn without_state_and_process_there_is_nothing_and_nobody_is_asked() {
    let scripted = Scripted::new("exit 1");
    scripted.state("oci-scripted-never-made2");
    assert_eq!(
        scripted.runtime.probe(&target(None)).await.unwrap(),
        Probe::Absent
    );
}

#[tokio::test]
async fn a_live_process_without_state_is_partial() {
    let scripted = Scripted::new("exit 1");
    let (_child, process) = sleeper();
    let found = scripted
        .runtime
        .probe(&target(Some(process)))
        .await
        .unwrap();
    assert!(matches!(found, Probe::Partial { .. }), "{found:?}");
}

#[tokio::test]
async fn what_was_not_recorded_and_executes_something_else_has_not_begun() {
    let (_child, process) = sleeper();
    let mut scripted = Scripted::new(&answers("running", process.pid));
    scripted.state(target(None).id.as_str());
    let found = scripted.runtime.probe(&target(None)).await.unwrap();
    assert_eq!(found, Probe::Created { process });
    // What a virtual machine's monitor executes says nothing.
    scripted.runtime.handler.vm = true;
    let found = scripted.runtime.probe(&target(None)).await.unwrap();
    assert_eq!(found, Probe::Running { process });
}

#[tokio::test]
async fn a_state_is_believed_as_far_as_its_process_lives() {
    let (child, process) = sleeper();
    let pid = process.pid;
    assert_eq!(
        probe(&answers("created", pid), None).await.unwrap(),
        Probe::Created { process }
    );
    for status in ["running", "paused"] {
        let found = probe(&answers(status, pid), Some(process)).await.unwrap();
        assert_eq!(found, Probe::Running { process }, "{status}");
    }
    drop(child);
    for status in ["created", "running", "paused", "stopped"] {
        assert_eq!(
            probe(&answers(status, pid), None).await.unwrap(),
            Probe::Stopped,
            "{status}"
        );
    }
    // Runtimes have two ways to say that there is no process.
    for none in [0, -1] {
        assert_eq!(
            probe(&answers("stopped", none), None).await.unwrap(),
            Probe::Stopped
        );
    }
}

#[tokio::test]
async fn stopped_with_a_live_recorded_process_is_partial() {
    let (_child, process) = sleeper();
    for status in ["stopped", "running"] {
        let found = probe(&answers(status, 0), Some(process)).await.unwrap();
        assert!(matches!(found, Probe::Partial { .. }), "{found:?}");
    }
}

#[tokio::test]
async fn a_half_written_state_is_partial_unless_the_recorded_process_lives() {
    let failing = r#"echo '{"msg":"error opening status","level":"error"}' >&2; exit 1"#;
    let found = probe(failing, None).await.unwrap();
    assert!(
        matches!(&found, Probe::Partial { what } if what.contains("error opening status")),
        "{found:?}"
    );
    let (_child, process) = sleeper();
    let unknown = probe(failing, Some(process)).await.unwrap_err();
    assert!(
        matches!(
            unknown,
            OciError::Failed {
                verb: Verb::State,
                ..
            }
        ),
        "{unknown}"
    );
}

#[tokio::test]
async fn an_unknown_status_is_partial_and_an_unreadable_answer_an_error() {
    let found = probe(&answers("creating", 1), None).await.unwrap();
    assert!(matches!(found, Probe::Partial { .. }), "{found:?}");
    let error = probe("echo garbage", None).await.unwrap_err();
    assert!(
        matches!(
            error,
            OciError::Answer {
                verb: Verb::State,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn kill_ends_the_recorded_process_without_the_runtime() {
    let scripted = Scripted::new("exit 1");
    let (_child, process) = sleeper();
    scripted.runtime.kill(&target(Some(process))).await.unwrap();
    assert!(ProcessWatch::open(process).unwrap().is_none());
    scripted.runtime.kill(&target(Some(process))).await.unwrap();
}

#[tokio::test]
async fn kill_ends_the_process_that_the_runtime_names() {
    let (_child, process) = sleeper();
    let scripted = Scripted::new(&answers("running", process.pid));
    scripted.state(target(None).id.as_str());
    scripted.runtime.kill(&target(None)).await.unwrap();
    assert!(ProcessWatch::open(process).unwrap().is_none());
}

#[tokio::test]
async fn kill_never_ends_another_that_has_the_recorded_pid() {
    let scripted = Scripted::new("exit 1");
    let (_child, process) = sleeper();
    let recycled = ProcessIdentity {
        start_time: process.start_time - 1,
        ..process
    };
    scripted
        .runtime
        .kill(&target(Some(recycled)))
        .await
        .unwrap();
    assert!(ProcessWatch::open(process).unwrap().is_some());
}

#[tokio::test]
async fn delete_asks_the_runtime_only_where_it_has_a_state() {
    let scripted =
        Scripted::new(r#"echo "$@" >> "$ROOT/../calls"; [ $1 = delete ] && rmdir "$ROOT/$3""#);
    scripted.state(target(None).id.as_str());
    for _ in 0..2 {
        scripted.runtime.delete(&target(None)).await.unwrap();
    }
    let calls = fs::read_to_string(scripted.directory.path().join("calls")).unwrap();
    assert_eq!(
        calls
            .matches("delete --force oci-scripted-never-made\n")
            .count(),
        1,
        "{calls}"
    );
}

#[tokio::test]
async fn what_a_runtime_leaves_is_removed_for_it_and_nothing_else() {
    let scripted = Scripted::new("exit 0");
    let id = target(None).id;
    let left = scripted.state(id.as_str());
    fs::write(left.join("runc.123456"), "").unwrap();
    fs::write(
        scripted
            .directory
            .path()
            .join("root")
            .join(format!("{id}.state")),
        "",
    )
    .unwrap();
    let other = scripted.state("another");
    scripted.runtime.delete(&target(None)).await.unwrap();
    assert!(!scripted.runtime.has_state(&id).unwrap());
    assert!(other.exists());
}

#[tokio::test]
async fn a_delete_that_fails_tells_why() {
    let scripted = Scripted::new("echo 'device busy' >&2; exit 3");
    scripted.state(target(None).id.as_str());
    let error = scripted.runtime.delete(&target(None)).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("delete of sandbox") && text.contains("device busy") && text.contains('3'),
        "{text}"
    );
}

#[tokio::test]
async fn a_failed_start_with_a_missing_runtime_can_be_undone() {
    let handler = Handler::new("gone", "/nowhere/crun", "/nowhere/root");
    let runtime = OciRuntime::new(handler, Arc::new(Unlisted));
    let bundles = tempfile::tempdir().unwrap();
    let config = SandboxConfig::new(target(None).id);
    let bundle = Bundle::write(&config, bundles.path()).unwrap();
    let error = runtime.create_and_start(&bundle).await.unwrap_err();
    assert!(matches!(error, OciError::RuntimeMissing { .. }), "{error}");
    assert!(error.nothing_begun());
    assert_eq!(runtime.probe(&target(None)).await.unwrap(), Probe::Absent);
    runtime.delete(&target(None)).await.unwrap();
}

/// Runs `create_and_start` with a scripted runtime.
async fn start(script: &str) -> (Result<Sandbox, OciError>, Scripted) {
    let scripted = Scripted::new(script);
    let config = SandboxConfig::new(target(None).id);
    let bundles = scripted.directory.path().join("bundles");
    let bundle = Bundle::write(&config, &bundles).unwrap();
    (scripted.runtime.create_and_start(&bundle).await, scripted)
}

#[tokio::test]
async fn why_it_failed_is_in_its_log() {
    let (result, _) = start(r#"echo '{"msg":"no rootfs","level":"error"}' > "$LOG"; exit 1"#).await;
    let error = result.unwrap_err();
    assert!(
        matches!(&error, OciError::Failed { message, .. } if message == "no rootfs"),
        "{error}"
    );
    let (result, _) = start("exit 1").await;
    assert!(result.unwrap_err().to_string().contains("it said nothing"));
}

#[tokio::test]
async fn a_run_without_a_pid_is_an_answer_that_cannot_be_read() {
    let (result, _) = start(r#"echo junk > "$5"; exit 0"#).await;
    let error = result.unwrap_err();
    assert!(
        matches!(&error, OciError::Answer { why, .. } if why.contains("junk")),
        "{error}"
    );
    let (result, _) = start("exit 0").await;
    assert!(matches!(
        result.unwrap_err(),
        OciError::File { verb: "read", .. }
    ));
}

#[tokio::test]
async fn a_sandbox_that_ends_at_once_is_no_success() {
    let (result, _) = start(r#"[ $1 = run ] && { true & echo $! > "$5"; wait; }; exit 0"#).await;
    assert!(matches!(result.unwrap_err(), OciError::EndedAtOnce { .. }));
}

#[tokio::test]
async fn a_sandbox_that_does_not_get_to_its_program_is_no_success() {
    // What runs is another program than the bundle's.
    let script = r#"[ $1 = run ] && { sleep 10000 > /dev/null 2>&1 & echo $! > "$5"; }; exit 0"#;
    let scripted = Scripted::new(script);
    let mut handler = scripted.runtime.handler().clone();
    handler.deadlines.start = Duration::from_secs(2);
    let runtime = OciRuntime::new(handler, Arc::new(Unlisted));
    let config = SandboxConfig::new(target(None).id);
    let bundle = Bundle::write(&config, &scripted.directory.path().join("bundles")).unwrap();
    let error = runtime.create_and_start(&bundle).await.unwrap_err();
    let OciError::NeverRan { pid, .. } = error else {
        panic!("{error}");
    };
    let process = ProcessWatch::of(pid).unwrap().unwrap().identity();
    runtime.kill(&target(Some(process))).await.unwrap();
}

#[tokio::test]
async fn a_virtual_machine_whose_runtime_hangs_over_its_end_is_killed_nevertheless() {
    let (child, process) = sleeper();
    let scripted = Scripted::new("[ $1 = kill ] && sleep 1000; exit 1");
    scripted.state(target(None).id.as_str());
    let mut handler = scripted.runtime.handler().clone();
    handler.vm = true;
    handler.deadlines.kill = Duration::from_secs(1);
    let runtime = OciRuntime::new(handler, Arc::new(Unlisted));
    runtime.kill(&target(Some(process))).await.unwrap();
    assert!(ProcessWatch::open(process).unwrap().is_none(), "it lives");
    drop(child);
}

/// What a machine's monitor executes says nothing: its runtime does.
#[tokio::test]
async fn a_virtual_machine_runs_when_its_runtime_says_so() {
    for (status, runs) in [("running", true), ("created", false)] {
        let (child, process) = sleeper();
        let pid = process.pid;
        let made = format!(r#"[ $1 = run ] && {{ echo {pid} > "$5"; exit 0; }}"#);
        let scripted = Scripted::new(&format!("{made}\n{}\nexit 0", answers(status, pid)));
        let mut handler = scripted.runtime.handler().clone();
        handler.vm = true;
        let runtime = OciRuntime::new(handler, Arc::new(Unlisted));
        let config = SandboxConfig::new(target(None).id);
        let bundle = Bundle::write(&config, &scripted.directory.path().join("bundles")).unwrap();
        match runtime.create_and_start(&bundle).await {
            Ok(sandbox) => assert!(runs && sandbox.process == process),
            Err(error) => assert!(
                !runs && matches!(error, OciError::NeverRan { .. }),
                "{error}"
            ),
        }
        drop(child);
    }
}

#[tokio::test]
async fn a_version_is_the_first_line() {
    let scripted = Scripted::new("echo 'crun version 1.8.1'; echo commit");
    let version = scripted.runtime.version().await.unwrap();
    assert_eq!(version.line, "crun version 1.8.1");
    assert_eq!(version.binary, scripted.directory.path().join("runtime"));
}

#[test]
fn only_namespaces_are_namespaces() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(
        refuse_plain_file(file.path()),
        Err(OciError::NotANamespace { .. })
    ));
    assert!(matches!(
        refuse_plain_file(Path::new("/proc")),
        Err(OciError::NotANamespace { .. })
    ));
    assert!(matches!(
        refuse_plain_file(Path::new("/no/such")),
        Err(OciError::Namespace { .. })
    ));
    refuse_plain_file(Path::new("/proc/self/ns/net")).unwrap();
}

#[test]
fn entries_are_the_sandboxs_by_name_or_by_suffix() {
    for entry in ["pod-1", "pod-1.state", "pod-1_sandbox:pod-1.state"] {
        assert!(belongs_to(entry, "pod-1"), "{entry}");
    }
    for entry in ["pod-10", "pod", "pod-1.5", "pod-1_2", "x-pod-1"] {
        assert!(!belongs_to(entry, "pod-1"), "{entry}");
    }
}

#[test]
fn refusals_of_cgroups_are_told_from_other_failures() {
    let refusals = [
        "cgroups in hybrid mode not supported",
        "the requested cgroup controller `pids` is not available",
        "error setting cgroup config for procHooks process: openat2 \
         /sys/fs/cgroup/podwalk/x/pids.max: no such file or directory",
    ];
    for message in refusals {
        assert!(is_cgroup_refusal(message), "{message}");
    }
    for message in [
        "exec `/pause`: no such file",
        "cannot remove cgroup: device busy",
        "mount not supported",
    ] {
        assert!(!is_cgroup_refusal(message), "{message}");
    }
}
