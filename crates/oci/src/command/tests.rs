use super::*;
use crate::process::{ProcessIdentity, ProcessWatch};
use podwalk_process::{OUTPUT_LIMIT, Spawned, Stdio, Unlisted};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use tokio::time::{sleep, timeout};

/// A directory with one program in it.
struct Program {
    directory: tempfile::TempDir,
}

impl Program {
    fn shell(script: &str) -> Self {
        Self::new(format!("#!/bin/sh\n{script}\n").as_bytes(), 0o755)
    }

    fn new(bytes: &[u8], mode: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = Self { directory };
        fs::write(program.path(), bytes).unwrap();
        fs::set_permissions(program.path(), fs::Permissions::from_mode(mode)).unwrap();
        program
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("runtime")
    }

    async fn run(&self, deadline: Duration, listen: bool) -> Result<Answer, OciError> {
        self.run_with(&Unlisted, deadline, listen).await
    }

    async fn run_with(
        &self,
        spawn: &dyn Spawn,
        deadline: Duration,
        listen: bool,
    ) -> Result<Answer, OciError> {
        let path = self.path();
        let args = vec![self.directory.path().as_os_str()];
        let call = Call {
            binary: &path,
            verb: Verb::State,
            id: "pod-1",
            args,
            deadline,
            listen,
            spawned: "oci.test.spawned",
            setting: Setting::default(),
        };
        call.run(spawn).await
    }

    /// Waits until the program has written its own pid and that of another.
    async fn pids(&self) -> Vec<ProcessIdentity> {
        let file = self.directory.path().join("pids");
        loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let pids: Vec<u32> = text
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect();
            if pids.len() == 2 && text.ends_with('\n') {
                let watch = |pid| ProcessWatch::of(pid).unwrap().unwrap().identity();
                return pids.into_iter().map(watch).collect();
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

const LONG: Duration = Duration::from_secs(60);
/// A leader and a member of its group that would both stay for ever; the member holds the pipes.
const HANG: &str = r#"sleep 10000 & echo $$ $! > "$1/pids.new"; mv "$1/pids.new" "$1/pids"; wait"#;

async fn until_gone(processes: Vec<ProcessIdentity>) {
    for process in processes {
        if let Some(watch) = ProcessWatch::open(process).unwrap() {
            timeout(LONG, watch.exited()).await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn hears_the_answer_the_messages_and_the_exit() {
    let program = Program::shell("echo '{\"pid\":7}'; echo oh no >&2; exit 3");
    let answer = program.run(LONG, true).await.unwrap();
    assert_eq!(answer.stdout, b"{\"pid\":7}\n");
    assert_eq!(answer.message, "oh no");
    assert_eq!(answer.exit.code(), Some(3));
}

#[tokio::test]
async fn nothing_of_our_environment_is_handed_on_but_path() {
    assert!(
        std::env::var_os("CARGO_MANIFEST_DIR").is_some(),
        "there is more of it"
    );
    let answer = Program::shell("env").run(LONG, true).await.unwrap();
    let environment = String::from_utf8(answer.stdout).unwrap();
    let names = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name);
    // The shell adds where it is.
    let mut names: Vec<&str> = names.filter(|name| *name != "PWD").collect();
    names.sort_unstable();
    assert_eq!(names, ["PATH", "_LIBCONTAINER_STATEDIR"]);
}

#[tokio::test]
async fn a_process_that_may_stay_gets_no_pipe() {
    let program =
        Program::shell(r#"readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 > "$1/fds""#);
    let answer = program.run(LONG, false).await.unwrap();
    assert!(answer.exit.success());
    let descriptors = fs::read_to_string(program.directory.path().join("fds")).unwrap();
    let descriptors: Vec<&str> = descriptors.lines().collect();
    // The second is the file that the shell has put there itself.
    assert_eq!((descriptors[0], descriptors[2]), ("/dev/null", "/dev/null"));
}

#[tokio::test]
async fn floods_are_bounded() {
    let wordy = Program::shell("head -c 3000000 /dev/zero >&2; echo end >&2");
    let answer = wordy.run(LONG, true).await.unwrap();
    assert!(answer.message.ends_with("end"), "{}", answer.message);
    let script = format!("head -c {} /dev/zero", OUTPUT_LIMIT + 1);
    let error = Program::shell(&script).run(LONG, true).await;
    let error = error.map(|_| ()).unwrap_err();
    assert!(matches!(&error, OciError::Lost { .. }), "{error}");
    assert!(!error.nothing_begun());
}

/// Runs a script that hangs to its deadline, which is longer each time until the script came
/// as far as writing down its two pids. Each of them is gone, or about to be.
async fn overrun(script: &str) {
    let program = Program::shell(script);
    let mut deadline = Duration::from_millis(200);
    while !program.directory.path().join("pids").exists() {
        let error = program.run(deadline, true).await.map(|_| ()).unwrap_err();
        assert!(
            matches!(error, OciError::Deadline { verb: Verb::State, after, .. } if after == deadline),
            "{error}"
        );
        assert!(error.to_string().contains("pod-1"), "{error}");
        deadline *= 2;
    }
    let written = fs::read_to_string(program.directory.path().join("pids")).unwrap();
    for pid in written.split_whitespace() {
        if let Some(watch) = ProcessWatch::of(pid.parse().unwrap()).unwrap() {
            timeout(LONG, watch.exited()).await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn at_the_deadline_the_whole_group_is_killed() {
    overrun(HANG).await;
}

#[tokio::test]
async fn a_leftover_that_holds_the_pipe_holds_nobody_and_lives_on() {
    let program = Program::shell(&HANG.replace("; wait", ""));
    let answer = program.run(LONG, true).await.unwrap();
    assert!(answer.exit.success());
    let written = fs::read_to_string(program.directory.path().join("pids")).unwrap();
    let left = written.split_whitespace().last().unwrap().parse().unwrap();
    let left = ProcessWatch::of(left)
        .unwrap()
        .expect("it may be a sandbox");
    left.kill().unwrap();
    timeout(LONG, left.exited()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_is_dropped_takes_its_group_with_it() {
    let program = Program::shell(HANG);
    let pids = tokio::select! {
        _ = program.run(LONG, true) => panic!("it hangs"),
        pids = program.pids() => pids,
    };
    until_gone(pids).await;
}

#[tokio::test]
async fn scenario_33_a_program_that_stays_open_is_an_error_in_the_end() {
    let program = Program::shell("exit 0");
    let _writer = File::options().append(true).open(program.path()).unwrap();
    let error = program.run(LONG, true).await.map(|_| ()).unwrap_err();
    assert!(matches!(&error, OciError::Exec { .. }), "{error}");
    assert!(error.nothing_begun());
}

#[tokio::test]
async fn scenario_33_what_is_no_program_is_named() {
    for (bytes, mode) in [
        (&b"\x7fELF rubbish"[..], 0o755),
        (b"#!/no/such/interpreter\n", 0o755),
        (b"", 0o755),
    ] {
        let program = Program::new(bytes, mode);
        let error = program.run(LONG, true).await.map(|_| ()).unwrap_err();
        assert!(
            matches!(&error, OciError::WrongFormat { path, .. } if *path == program.path()),
            "{error}"
        );
    }
    let program = Program::new(b"#!/bin/sh\n", 0o644);
    let error = program.run(LONG, true).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, OciError::NotExecutable { .. }), "{error}");
}

#[tokio::test]
async fn the_port_sees_the_whole_command_before_it_starts() {
    struct Sees(Mutex<Vec<String>>);
    impl Spawn for Sees {
        fn spawn(
            &self,
            id: &str,
            command: &Command<'_>,
            stdio: Stdio<'_>,
        ) -> Result<Spawned, NotSpawned> {
            let seen = format!("{id} {:?}", command.arguments);
            self.0.lock().unwrap().push(seen);
            Unlisted.spawn(id, command, stdio)
        }
    }
    let sees = Sees(Mutex::new(Vec::new()));
    let program = Program::shell("echo it ran");
    let answer = program.run_with(&sees, LONG, true).await.unwrap();
    assert_eq!(answer.stdout, b"it ran\n");
    let seen = sees.0.into_inner().unwrap();
    assert_eq!(seen, [format!("pod-1 [{:?}]", program.directory.path())]);
}

#[tokio::test]
async fn what_cannot_be_enlisted_is_not_started() {
    struct Refuses;
    impl Spawn for Refuses {
        fn spawn(
            &self,
            _id: &str,
            _command: &Command<'_>,
            _stdio: Stdio<'_>,
        ) -> Result<Spawned, NotSpawned> {
            Err(NotSpawned::Enlist(io::Error::other("no cgroup")))
        }
    }
    let program = Program::shell(r#"touch "$1/started""#);
    let error = program
        .run_with(&Refuses, LONG, true)
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, OciError::NotEnlisted { .. }), "{error}");
    assert!(!program.directory.path().join("started").exists());
}
