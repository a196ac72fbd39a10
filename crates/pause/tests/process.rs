//! The process itself, started: how it ends, and that it reaps.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podwalk_pause::PAUSE;

/// A guard against a hang, not a measure: nothing here takes more than milliseconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// A child that does not outlive its test, also when that fails. It is not reaped twice.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Installed {
    directory: tempfile::TempDir,
}

impl Installed {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = fs::OpenOptions::new();
        let path = directory.path().join("pause");
        options
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(path)
            .unwrap()
            .write_all(PAUSE)
            .unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("pause")
    }

    /// Spawns, and repeats while another thread's fork still holds the file open for writing.
    fn spawn(&self) -> Child {
        let started = Instant::now();
        loop {
            match Command::new(self.path()).stdin(Stdio::null()).spawn() {
                Ok(child) => return child,
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                    assert!(started.elapsed() < DEADLINE, "{error}");
                    thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn status_field(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line[name.len()..].trim_matches([':', '\t', ' ']).to_owned()
}

/// Waits until the process is in the system call where it stays for ever. Until then a signal
/// may meet it before it has blocked anything.
fn wait_until_it_pauses(pid: u32) {
    let rt_sigtimedwait = if cfg!(target_arch = "x86_64") {
        "128 "
    } else {
        "137 "
    };
    until("it pauses", || {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
        call.starts_with(rt_sigtimedwait)
    });
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "waited in vain until {what}");
        thread::yield_now();
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("it did not end");
        }
        thread::yield_now();
    }
}

fn ends_with_zero_on(signal: Signal) {
    let installed = Installed::new();
    let mut child = Ended(installed.spawn());
    wait_until_it_pauses(child.0.id());
    kill(Pid::from_raw(child.0.id().cast_signed()), signal).unwrap();
    let status = wait(&mut child.0);
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

#[test]
fn ends_with_zero_on_sigterm() {
    ends_with_zero_on(Signal::SIGTERM);
}

#[test]
fn ends_with_zero_on_sigint() {
    ends_with_zero_on(Signal::SIGINT);
}

#[test]
fn lives_through_sigchld_and_dies_of_sigkill() {
    let installed = Installed::new();
    let mut child = Ended(installed.spawn());
    wait_until_it_pauses(child.0.id());
    let pid = Pid::from_raw(child.0.id().cast_signed());
    kill(pid, Signal::SIGCHLD).unwrap();
    // A signal that is not taken stays in the set of pending ones.
    let nothing = format!("{:016x}", 0);
    until("SIGCHLD is taken", || {
        status_field(child.0.id(), "ShdPnd") == nothing
    });
    assert!(child.0.try_wait().unwrap().is_none());
    kill(pid, Signal::SIGKILL).unwrap();
    assert_eq!(wait(&mut child.0).signal(), Some(Signal::SIGKILL as i32));
}

/// As process 1 of a namespace it gets the orphans. The shell leaves one that reads from our
/// pipe, and becomes the pause process itself.
#[test]
fn reaps_orphans_as_process_one_and_still_obeys_sigterm() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        eprintln!("SKIPPED: needs root");
        return;
    }
    let installed = Installed::new();
    let unshare = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--", "sh", "-c"])
        .arg(r#"exec 3<&0; (cat <&3 >/dev/null &); exec "$1" 3<&- </dev/null"#)
        .arg("sh")
        .arg(installed.path())
        .stdin(Stdio::piped())
        .spawn();
    let mut unshare = Ended(unshare.unwrap());
    until("process 1 exists", || {
        children_of(unshare.0.id()).len() == 1
    });
    let init = children_of(unshare.0.id())[0];
    until("it is the pause process", || {
        status_field(init, "Name") == "pause"
    });
    wait_until_it_pauses(init);
    until("only the orphan is left", || children_of(init).len() == 1);
    let orphan = children_of(init)[0];

    drop(unshare.0.stdin.take());
    // An ended process that nobody waits for stays in /proc as a zombie.
    until("the orphan is reaped", || {
        !Path::new(&format!("/proc/{orphan}")).exists()
    });
    assert_eq!(children_of(init), [0; 0]);

    kill(Pid::from_raw(init.cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(
        wait(&mut unshare.0).code(),
        Some(0),
        "unshare passes on the status of process 1"
    );
}

fn children_of(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    listed
        .split_whitespace()
        .map(|child| child.parse().unwrap())
        .collect()
}
