use super::*;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Waker};

use rustix::process::Pid;

use crate::spawn::Unlisted;

/// A deadline that no test is meant to reach.
const LONG: Duration = Duration::from_secs(120);

struct Script {
    directory: tempfile::TempDir,
}

impl Script {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let script = Script { directory };
        std::fs::write(script.path("program"), format!("#!/bin/sh\n{text}\n")).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(script.path("program"), mode).unwrap();
        script
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn run(&self, input: &[u8], deadline: Duration) -> Result<Exit, Cut> {
        let program = self.path("program");
        let job = self.job(&program, deadline).input(input);
        run(&Unlisted, job, &|_| ()).await
    }

    fn job<'a>(&'a self, program: &'a Path, deadline: Duration) -> Job<'a> {
        let command = Command {
            program,
            arguments: Vec::new(),
            environment: vec![("PATH", std::env::var_os("PATH").unwrap())],
            directory: self.directory.path(),
        };
        Job::new(command, "c1", deadline)
    }

    /// Waits until the script has written a process id, and gives it.
    async fn pid(&self, name: &str) -> Pid {
        let path = self.path(name);
        tokio::time::timeout(LONG, async {
            loop {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                match text.strip_suffix('\n').and_then(|text| text.parse().ok()) {
                    Some(pid) => return Pid::from_raw(pid).unwrap(),
                    None => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        })
        .await
        .expect("the script never came that far")
    }
}

/// Waits until a process is gone or a zombie, which does nothing any more.
async fn gone(pid: Pid) {
    let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let alive = || {
        let text = std::fs::read_to_string(&stat).unwrap_or_default();
        let state = text
            .rsplit_once(") ")
            .map(|(_, rest)| rest.starts_with('Z'));
        state == Some(false)
    };
    tokio::time::timeout(LONG, async {
        while alive() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("the process lives on");
}

#[tokio::test]
async fn stdin_is_fed_stdout_is_taken_and_stderr_is_kept_apart() {
    let script = Script::new("cat; echo warned >&2; exit 3");
    let exit = script.run(b"config", LONG).await.unwrap();
    assert_eq!(exit.status.code(), Some(3));
    assert_eq!(exit.stdout, b"config");
    assert_eq!(exit.stderr, "warned");
}

#[tokio::test]
async fn a_configuration_larger_than_a_pipe_passes_while_output_flows() {
    let config = vec![b'c'; 700_000];
    let exit = Script::new("cat").run(&config, LONG).await.unwrap();
    assert_eq!(exit.stdout, config);
}

#[tokio::test]
async fn a_program_that_does_not_read_is_not_wrong() {
    let config = vec![b'c'; 700_000];
    let script = Script::new("exec <&-; echo fine");
    let exit = script.run(&config, LONG).await.unwrap();
    assert_eq!(
        (exit.status.code(), &*exit.stdout),
        (Some(0), &b"fine\n"[..])
    );
}

#[tokio::test]
async fn scenario_14_a_grandchild_with_stdout_open_holds_nobody_and_dies() {
    let script = Script::new("sleep 1000 & echo $! > child; echo '{}'");
    let exit = script.run(b"", LONG).await.unwrap();
    assert_eq!(exit.stdout, b"{}\n");
    gone(script.pid("child").await).await;
}

#[tokio::test]
async fn scenario_49_at_the_deadline_the_whole_group_is_killed() {
    let script = Script::new("echo waiting >&2; sleep 1000 & echo $! > child; wait");
    let cut = script.run(b"", Duration::from_secs(1)).await.err().unwrap();
    match cut {
        Cut::Deadline { survivors, .. } => assert!(!survivors),
        other => panic!("{other:?}"),
    }
    if script.path("child").exists() {
        gone(script.pid("child").await).await;
    }
}

#[tokio::test]
async fn dropping_the_future_kills_the_whole_group() {
    let script = Script::new("sleep 1000 & echo $! > child; echo $$ > self; wait");
    let (child, leader) = {
        let mut running = pin!(script.run(b"", LONG));
        tokio::select! {
            _ = &mut running => panic!("it ended"),
            pids = async { (script.pid("child").await, script.pid("self").await) } => pids,
        }
    };
    gone(child).await;
    gone(leader).await;
}

#[tokio::test]
async fn scenario_23_output_is_bounded() {
    let script = Script::new("yes");
    let cut = script.run(b"", LONG).await.err().unwrap();
    assert!(matches!(cut, Cut::TooMuchOutput { .. }), "{cut:?}");
    let words = Script::new("yes | head -c 10000000 >&2; echo last >&2");
    let exit = words.run(b"", LONG).await.unwrap();
    assert!(exit.stderr.len() <= STDERR_KEPT && exit.stderr.ends_with("last"));
}

#[tokio::test]
async fn a_signal_is_seen() {
    let exit = Script::new("kill -SEGV $$").run(b"", LONG).await.unwrap();
    assert_eq!(exit.status.signal(), Some(11));
}

#[tokio::test]
async fn scenario_33_a_binary_that_is_being_written_is_tried_again() {
    let script = Script::new("echo ran");
    let writer = std::fs::OpenOptions::new()
        .append(true)
        .open(script.path("program"))
        .unwrap();
    let cut = script.run(b"", LONG).await.err().unwrap();
    match cut {
        Cut::NotStarted(NotSpawned::Execute(error)) => {
            assert_eq!(error.kind(), ErrorKind::ExecutableFileBusy);
        }
        other => panic!("{other:?}"),
    }
    let mut running = pin!(script.run(b"", LONG));
    let mut context = Context::from_waker(Waker::noop());
    assert!(running.as_mut().poll(&mut context).is_pending());
    drop(writer);
    assert_eq!(running.await.unwrap().stdout, b"ran\n");
}

/// Refuses, or starts with the owner's name in the environment.
struct Enlisting(Option<ErrorKind>);

impl Spawn for Enlisting {
    fn spawn(
        &self,
        owner: &str,
        command: &Command<'_>,
        stdio: Stdio<'_>,
    ) -> Result<Spawned, NotSpawned> {
        if let Some(kind) = self.0 {
            return Err(NotSpawned::Enlist(kind.into()));
        }
        let mut command = command.clone();
        command.environment.push(("ENLISTED", owner.into()));
        Unlisted.spawn(owner, &command, stdio)
    }
}

#[tokio::test]
async fn a_process_is_enlisted_before_it_executes_or_not_started() {
    let script = Script::new("echo $ENLISTED; touch ran");
    let program = script.path("program");
    let refused = Enlisting(Some(ErrorKind::NotFound));
    let cut = run(&refused, script.job(&program, LONG), &|_| ()).await;
    let cut = cut.err().unwrap();
    assert!(
        matches!(cut, Cut::NotStarted(NotSpawned::Enlist(_))),
        "{cut:?}"
    );
    assert!(!script.path("ran").exists());
    let exit = run(&Enlisting(None), script.job(&program, LONG), &|_| ()).await;
    assert_eq!(exit.unwrap().stdout, b"c1\n");
}

#[tokio::test]
async fn what_may_stay_stays_and_holds_no_pipe() {
    let script = Script::new(
        "sleep 1000 & echo $! > child; readlink /proc/$!/fd/0 > fds; readlink /proc/$!/fd/2 >> fds",
    );
    let program = script.path("program");
    let mut job = script.job(&program, LONG);
    (job.listen, job.leaves) = (false, true);
    let exit = run(&Unlisted, job, &|_| ()).await.unwrap();
    assert!(exit.status.success());
    let child = script.pid("child").await;
    rustix::process::test_kill_process(child).expect("it lives");
    let fds = std::fs::read_to_string(script.path("fds")).unwrap();
    assert_eq!(fds, "/dev/null\n/dev/null\n");
    rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
    gone(child).await;
}

#[tokio::test]
async fn the_moments_are_told_in_their_order() {
    let told = Mutex::new(Vec::new());
    let tell = |moment| told.lock().unwrap().push(moment);
    let script = Script::new("cat; exec sleep $WAIT");
    let program = script.path("program");
    let mut job = script.job(&program, LONG).input(b"x");
    job.command.environment.push(("WAIT", "0".into()));
    run(&Unlisted, job.clone(), &tell).await.unwrap();
    let whole = [Moment::Spawned, Moment::Fed, Moment::Exited];
    assert_eq!(std::mem::take(&mut *told.lock().unwrap()), whole);
    job.command.environment.push(("WAIT", "1000".into()));
    job.deadline = Duration::from_millis(300);
    run(&Unlisted, job, &tell).await.unwrap_err();
    let told = told.into_inner().unwrap();
    assert_eq!(told.last(), Some(&Moment::CutOff));
    assert_eq!(told[0], Moment::Spawned);
}

/// The test runs itself again as whoever is started by a shell that ignores SIGCHLD.
#[tokio::test]
async fn a_signal_of_children_that_was_ignored_before_us_does_not_take_their_status() {
    let name =
        "run::tests::a_signal_of_children_that_was_ignored_before_us_does_not_take_their_status";
    if std::env::var_os("PODWALK_CHLD_IGNORED").is_some() {
        let exit = Script::new("exit 3").run(b"", LONG).await.unwrap();
        assert_eq!(exit.status.code(), Some(3));
        return;
    }
    let again = std::process::Command::new("/bin/sh")
        .args(["-c", "trap '' CHLD; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env("PODWALK_CHLD_IGNORED", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(
        again.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
