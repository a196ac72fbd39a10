//! A machine for one test: namespaces of its own around the test's own program.
//!
//! ```text
//! cargo test ── the test (outer) ── unshare ── podwalk-node-init, pid 1 ── the test (inner)
//!               makes the cgroups,             mounts, lo up,               the body,
//!               keeps the deadline,            reaps orphans,               in the new kernel
//!               prints the output again        ends when the test ends      world
//! ```
//!
//! The outer test starts its own executable again with its own name, `--exact`. Both run through the
//! same call of [`run`]: the inner one knows from its environment that it has arrived.
//!
//! Whatever happens, the node ends: pid 1 dies with `unshare`, which dies with the outer test's
//! thread, and the kernel kills what is left in a pid namespace without pid 1.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

pub mod cgroups;
pub mod init;

use cgroups::{Hierarchies, NodeCgroups};

/// Set to `1` inside a node.
pub const INSIDE: &str = "PODWALK_NODE";

/// Names a file that gets one line for each test that was skipped.
pub const SKIPPED_LOG: &str = "PODWALK_SKIPPED_LOG";

/// The exit code by which the body says that it came to its end. Test runners have no such code, so
/// that a name that selects no test is not taken for a success.
const PASSED: i32 = 87;

/// How long a node may live unless the test says otherwise.
const DEADLINE: Duration = Duration::from_secs(180);

/// The cgroup file systems that a node offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Version 1 on a directory for each hierarchy of the machine, without `unified`. Limits work.
    V1,
    /// Version 2 alone. Which controllers there are depends on the machine; often there are none.
    V2,
}

impl Layout {
    /// The word for it on a command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }

    /// The layout that [`word`](Self::word) stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::V1, Self::V2]
            .into_iter()
            .find(|layout| layout.word() == word)
    }
}

/// Runs `body` in a test node with this cgroup layout. Call it as the whole of a `#[test]` function.
///
/// Without root, and where the machine has no hierarchy of version 1 to offer, the test prints that
/// it is skipped and succeeds; where the variable `CI` is set, it fails.
///
/// # Errors
/// What `body` returns, its panic, the deadline, or that the node could not be made.
pub fn run<B: FnOnce() -> Result<()>>(layout: Layout, body: B) -> Result<()> {
    run_within(layout, DEADLINE, body)
}

/// [`run`] with a deadline for the whole node, in place of three minutes.
///
/// # Errors
/// As [`run`].
pub fn run_within<B: FnOnce() -> Result<()>>(
    layout: Layout,
    deadline: Duration,
    body: B,
) -> Result<()> {
    run_where(layout, deadline, || Ok(None), body)
}

/// [`run_within`], on a machine that has more than every test needs: `lacking` says what it lacks.
///
/// # Errors
/// As [`run_within`], or what `lacking` returns.
pub fn run_where<B: FnOnce() -> Result<()>>(
    layout: Layout,
    deadline: Duration,
    lacking: impl FnOnce() -> Result<Option<&'static str>>,
    body: B,
) -> Result<()> {
    if is_inside() {
        finish(body());
    }
    let name = test_name::<B>()?;
    let reason = match reason_to_skip(layout)? {
        None => lacking()?,
        reason => reason,
    };
    if let Some(reason) = reason {
        return skip(name, reason);
    }
    let cgroups = NodeCgroups::make(&Hierarchies::read()?)?;
    let ended = spawn(name, layout, &cgroups).and_then(|child| attend(child, deadline));
    let removed = cgroups.remove();
    judge(name, &ended?)?;
    removed
}

/// Whether this process is in a test node.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some_and(|value| value == "1")
}

/// A private directory that stands for the node's disk: it is not below `/run`'s own entries that a
/// reboot would take, and goes with the node. The test decides what it puts there.
#[must_use]
pub fn disk() -> &'static Path {
    Path::new(init::DISK)
}

/// The directory that holds the binaries cargo built beside this test.
///
/// # Errors
/// If the test's own path cannot be read.
pub fn binaries() -> Result<PathBuf> {
    // Asked once: who has entered a machine has no `/proc/self`.
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found.clone());
    }
    let own = std::env::current_exe().context("where this test's executable lies")?;
    let parent = own.parent().context("an executable lies in a directory")?;
    let is_deps = parent.file_name().is_some_and(|name| name == "deps");
    let directory = if is_deps {
        parent.parent()
    } else {
        Some(parent)
    };
    let found = directory.context("deps lies in a directory")?;
    Ok(FOUND.get_or_init(|| found.to_owned()).clone())
}

/// The path of the binary `name` of package `package`, built by cargo.
///
/// # Errors
/// If it was not built; the error says how to.
pub fn binary(name: &str, package: &str) -> Result<PathBuf> {
    let path = binaries()?.join(name);
    ensure!(
        path.is_file(),
        "{} is missing: run `cargo build -p {package} --bin {name}`",
        path.display()
    );
    Ok(path)
}

/// Ends the inner process with what the body said.
fn finish(result: Result<()>) -> ! {
    let code = match result {
        Ok(()) => PASSED,
        Err(error) => {
            eprintln!("Error: {error:#}");
            show_logs();
            1
        }
    };
    std::process::exit(code)
}

/// Prints the ends of the logs on the node's disk: they go with it.
fn show_logs() {
    let entries = std::fs::read_dir(disk()).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "log")
            && let Ok(log) = std::fs::read_to_string(&path)
        {
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("the end of {}:\n{end}", path.display());
        }
    }
}

/// The test's name as its runner spells it, from the name of the closure that it handed over. A
/// thread's name would do too, but only where the runner gives each test a thread.
fn test_name<B>() -> Result<&'static str> {
    let full = std::any::type_name::<B>();
    let path = full.split("::{{closure}}").next().unwrap_or(full);
    path.split_once("::")
        .map(|(_crate, name)| name)
        .with_context(|| format!("{full} is not a closure in a test"))
}

fn reason_to_skip(layout: Layout) -> Result<Option<&'static str>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Some("needs root"));
    }
    let has_v1 = Hierarchies::read()?.serves_v1();
    Ok((layout == Layout::V1 && !has_v1).then_some("needs cgroup version 1"))
}

/// Where `CI` is set, a test that is skipped is one that nobody runs: it fails.
fn skip(name: &str, reason: &str) -> Result<()> {
    ensure!(
        std::env::var_os("CI").is_none(),
        "{name} {reason}, and CI is set: no test may be skipped there"
    );
    println!("SKIPPED: {reason}: {name}");
    if let Some(log) = std::env::var_os(SKIPPED_LOG) {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("the list of skipped tests, {}", log.display()))?;
        std::io::Write::write_all(&mut file, format!("{reason}: {name}\n").as_bytes())?;
    }
    Ok(())
}

fn spawn(name: &str, layout: Layout, cgroups: &NodeCgroups) -> Result<Child> {
    let mut command = Command::new(binary("podwalk-node-init", "podwalk-tests")?);
    command.args(["enter", &std::process::id().to_string(), layout.word()]);
    for directory in cgroups.directories() {
        command.arg(directory);
    }
    command
        .arg("--")
        .arg(std::env::current_exe()?)
        .args([name, "--exact", "--nocapture", "--include-ignored"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().context("the node's first process")
}

/// What a node left: its exit, and everything that was written in it.
struct Ended {
    status: ExitStatus,
    /// The deadline, if the node was killed at it.
    killed_after: Option<Duration>,
}

/// Waits for the node's end, at most until the deadline, and prints its output again, so that the
/// runner attributes it to this test.
fn attend(mut child: Child, deadline: Duration) -> Result<Ended> {
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pidfd = pidfd_open(pid.context("a pid")?, PidfdFlags::empty())?;
    let in_time = is_readable_within(pidfd.as_fd(), deadline)?;
    if !in_time {
        // `unshare` takes pid 1 with it, and pid 1 everything else.
        pidfd_send_signal(&pidfd, Signal::KILL)?;
    }
    let status = child.wait()?;
    print!("{}", text(stdout)?);
    eprint!("{}", text(stderr)?);
    Ok(Ended {
        status,
        killed_after: (!in_time).then_some(deadline),
    })
}

fn drain<R: Read + Send + 'static>(pipe: Option<R>) -> Option<JoinHandle<Vec<u8>>> {
    let mut pipe = pipe?;
    Some(std::thread::spawn(move || {
        let mut all = Vec::new();
        // What was read before an error is still worth printing.
        let _ = pipe.read_to_end(&mut all);
        all
    }))
}

fn text(reader: Option<JoinHandle<Vec<u8>>>) -> Result<String> {
    let Some(reader) = reader else {
        return Ok(String::new());
    };
    let bytes = reader
        .join()
        .map_err(|_| anyhow::anyhow!("the thread that reads the node's output panicked"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for a descriptor, such as that of a process that ends.
pub(crate) fn is_readable_within(fd: BorrowedFd<'_>, within: Duration) -> Result<bool> {
    let end = Instant::now() + within;
    loop {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now()))?;
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).context("waiting for the node"),
        }
    }
}

fn judge(name: &str, ended: &Ended) -> Result<()> {
    if let Some(deadline) = ended.killed_after {
        bail!("{name}: the node was killed at its deadline of {deadline:?}");
    }
    match ended.status.code() {
        Some(PASSED) => Ok(()),
        Some(0) => bail!("{name}: the node's runner found no test of that name"),
        Some(init::FAILED) => bail!("{name}: the node could not be made, see above"),
        Some(code) => bail!("{name}: failed in its node with exit code {code}, see above"),
        None => bail!("{name}: the node ended by {}", ended.status),
    }
}
