//! One plugin process: started, fed, listened to, and never left behind.
//!
//! 1. The process leads a group of its own, so that it and what it starts can be killed at once.
//! 2. Its configuration goes to its stdin while its stdout and stderr are read, all bounded.
//! 3. Its end is seen through a pidfd, before it is reaped. Until then its id cannot be given to
//!    another process, so killing the group then hits nobody else: a child that it leaves behind,
//!    with stdout open, neither holds us nor lives on.
//! 4. What it wrote before it ended is in the pipes; it is read without waiting. Then it is reaped.
//!
//! Invariant: when [`run`] returns or is dropped, the group has been killed.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::error::Verb;
use crate::points;
use crate::spawn::Spawn;

mod tail;

use tail::Tail;

/// The most that is taken from a plugin's stdout, in bytes.
pub(crate) const STDOUT_LIMIT: usize = 1024 * 1024;
/// How much of the end of a plugin's stderr is kept, in bytes.
pub(crate) const STDERR_KEPT: usize = 16 * 1024;
/// How often a binary that is still being written is tried.
const BUSY_ATTEMPTS: u32 = 8;
/// How long killed processes are given to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// What to run.
pub(crate) struct Job<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) container_id: &'a str,
    pub(crate) verb: Verb,
    pub(crate) deadline: Duration,
}

/// How it ended by itself.
pub(crate) struct Exit {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// How it did not.
#[derive(Debug)]
pub(crate) enum Cut {
    /// The process was not started.
    NotStarted(io::Error),
    /// The process was not enlisted, and not started.
    NotEnlisted(io::Error),
    /// A pipe failed.
    Pipe(io::Error, String),
    /// It took too long.
    Deadline { survivors: bool, stderr: String },
    /// It printed too much.
    TooMuchOutput { stderr: String },
}

/// Runs a plugin to its end, its deadline, or its limit of output.
pub(crate) async fn run(spawn: &dyn Spawn, job: Job<'_>) -> Result<Exit, Cut> {
    let mut running = Running::start(spawn, &job).await?;
    points::spawned(job.verb);
    let talk = running.talk(&job.stdin, job.verb);
    match tokio::time::timeout(job.deadline, talk).await {
        Ok(Ok(())) => running.finish(job.verb).await,
        Ok(Err(stop)) => Err(running.abort(stop, job.verb).await),
        Err(_elapsed) => Err(running.abort(Stop::Deadline, job.verb).await),
    }
}

/// Why a plugin is not listened to any longer.
enum Stop {
    Deadline,
    TooMuchOutput,
    Pipe(io::Error),
}

/// Kills the process group of a leader that has not been reaped.
struct Group {
    leader: Pid,
    reaped: bool,
}

impl Group {
    fn kill(&self) {
        if !self.reaped {
            // It fails only when nobody is left in the group.
            let _ = rustix::process::kill_process_group(self.leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Running {
    // Dropped first: the group is killed while its leader is still ours.
    group: Group,
    child: Child,
    pidfd: AsyncFd<OwnedFd>,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    output: Vec<u8>,
    words: Tail,
}

impl Running {
    async fn start(spawn: &dyn Spawn, job: &Job<'_>) -> Result<Running, Cut> {
        let mut command = Command::new(job.binary);
        command
            .env_clear()
            .envs(job.environment.iter().map(|(key, value)| (key, value)))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        spawn
            .enlist(job.container_id, command.as_std_mut())
            .map_err(Cut::NotEnlisted)?;
        let child = spawn_settled(&mut command).await.map_err(Cut::NotStarted)?;
        // The process runs already; when it cannot be held it is killed, and may have done something.
        Running::hold(child).map_err(|error| Cut::Pipe(error, String::new()))
    }

    fn hold(mut child: Child) -> io::Result<Running> {
        let leader = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the process has no id"))?;
        let group = Group {
            leader,
            reaped: false,
        };
        let pidfd = rustix::process::pidfd_open(leader, PidfdFlags::empty())?;
        Ok(Running {
            group,
            pidfd: watched(pidfd)?,
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            child,
            output: Vec::new(),
            words: Tail::new(STDERR_KEPT),
        })
    }

    /// Feeds and listens until the process has ended. It is not reaped here.
    async fn talk(&mut self, config: &[u8], verb: Verb) -> Result<(), Stop> {
        let mut rest = config;
        let mut said = Vec::with_capacity(4096);
        loop {
            tokio::select! {
                wrote = feed(&mut self.stdin, rest), if self.stdin.is_some() => {
                    rest = self.fed(rest, wrote, verb);
                }
                read = listen(&mut self.stdout, &mut self.output), if self.stdout.is_some() => {
                    self.heard(read.map_err(Stop::Pipe)?)?;
                }
                read = listen(&mut self.stderr, &mut said), if self.stderr.is_some() => {
                    self.warned(read.map_err(Stop::Pipe)?, &mut said);
                }
                ended = self.pidfd.readable() => {
                    drop(ended.map_err(Stop::Pipe)?);
                    return Ok(());
                }
            }
        }
    }

    /// Gives what is left of the configuration, and closes stdin after its end. A plugin that does
    /// not read is not wrong: VERSION needs no configuration.
    fn fed<'a>(&mut self, rest: &'a [u8], wrote: usize, verb: Verb) -> &'a [u8] {
        let rest = rest.get(wrote..).unwrap_or_default();
        if wrote == 0 || rest.is_empty() {
            self.stdin = None;
            points::fed(verb);
        }
        rest
    }

    fn heard(&mut self, read: usize) -> Result<(), Stop> {
        if read == 0 {
            self.stdout = None;
        }
        match self.output.len() > STDOUT_LIMIT {
            true => Err(Stop::TooMuchOutput),
            false => Ok(()),
        }
    }

    fn warned(&mut self, read: usize, said: &mut Vec<u8>) {
        if read == 0 {
            self.stderr = None;
        }
        self.words.push(said);
        said.clear();
    }

    /// After the end: takes what is in the pipes, and reaps.
    async fn finish(mut self, verb: Verb) -> Result<Exit, Cut> {
        points::exited(verb);
        self.group.kill();
        let drained = self.drain();
        let (status, gone) = self.reap().await;
        if !gone {
            tracing::warn!(
                group = self.group.leader.as_raw_nonzero().get(),
                "a process that a plugin left behind was killed, and is not gone yet"
            );
        }
        let stderr = self.words.text();
        if let Err(error) = drained {
            return Err(Cut::Pipe(error, stderr));
        }
        if self.output.len() > STDOUT_LIMIT {
            return Err(Cut::TooMuchOutput { stderr });
        }
        match status {
            Ok(status) => Ok(Exit {
                status,
                stdout: std::mem::take(&mut self.output),
                stderr,
            }),
            Err(error) => Err(Cut::Pipe(error, stderr)),
        }
    }

    /// Before the end: kills the group, and sees it gone as far as can be.
    async fn abort(mut self, stop: Stop, verb: Verb) -> Cut {
        self.group.kill();
        let (_status, gone) = self.reap().await;
        points::cut_off(verb);
        // What it said last may say why; a pipe that fails now has nothing to add.
        let _ = self.drain();
        let stderr = self.words.text();
        match stop {
            Stop::Deadline => Cut::Deadline {
                survivors: !gone,
                stderr,
            },
            Stop::TooMuchOutput => Cut::TooMuchOutput { stderr },
            Stop::Pipe(error) => Cut::Pipe(error, stderr),
        }
    }

    /// Reads what is there, without waiting for those who still hold the other end.
    fn drain(&mut self) -> io::Result<()> {
        let (output, words) = (&mut self.output, &mut self.words);
        if let Some(stdout) = &self.stdout {
            read_present(stdout, STDOUT_LIMIT + 1, |chunk| {
                output.extend_from_slice(chunk)
            })?;
        }
        if let Some(stderr) = &self.stderr {
            read_present(stderr, STDOUT_LIMIT, |chunk| words.push(chunk))?;
        }
        Ok(())
    }

    /// Reaps the leader, and looks until the group is empty. A process in an uninterruptible
    /// sleep does not go when it is killed, so neither wait is without end.
    async fn reap(&mut self) -> (io::Result<ExitStatus>, bool) {
        let Ok(status) = tokio::time::timeout(GONE_WITHIN, self.child.wait()).await else {
            let late = io::Error::new(io::ErrorKind::TimedOut, "killed, but not gone");
            return (Err(late), false);
        };
        self.group.reaped = true;
        let mut pause = Duration::from_micros(100);
        let mut waited = Duration::ZERO;
        // The group's id is not given away while it has members, so this asks about nobody else.
        while rustix::process::test_kill_process_group(self.group.leader).is_ok() {
            if waited >= GONE_WITHIN {
                return (status, false);
            }
            tokio::time::sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        (status, true)
    }
}

/// Registers a pidfd for its end.
#[allow(
    deprecated,
    reason = "the safe constructor is sound for an OwnedFd, which never changes its descriptor; \
              its successor is unsafe, and this crate has no unsafe code"
)]
fn watched(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// Starts a binary that may still be open for writing: a fork elsewhere holds the descriptor of
/// whoever just wrote it until its own exec.
async fn spawn_settled(command: &mut Command) -> io::Result<Child> {
    let mut pause = Duration::from_millis(2);
    for _ in 1..BUSY_ATTEMPTS {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            started => return started,
        }
    }
    command.spawn()
}

/// Writes some of `bytes`; 0 means that nobody reads, or that nothing is left.
async fn feed(stdin: &mut Option<ChildStdin>, bytes: &[u8]) -> usize {
    match stdin {
        Some(stdin) => stdin.write(bytes).await.unwrap_or(0),
        None => 0,
    }
}

async fn listen(
    pipe: &mut Option<impl AsyncRead + Unpin>,
    buffer: &mut Vec<u8>,
) -> io::Result<usize> {
    match pipe {
        Some(pipe) => pipe.read_buf(buffer).await,
        None => Ok(0),
    }
}

/// Reads a non-blocking pipe until it is empty or closed, at most about `limit` bytes.
fn read_present(pipe: &impl AsFd, limit: usize, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut chunk = [0u8; 8192];
    let mut total = 0;
    while total < limit {
        match rustix::io::read(pipe, &mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                take(chunk.get(..read).unwrap_or_default());
                total += read;
            }
            Err(rustix::io::Errno::AGAIN) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
