//! A program, from its start to its end, its deadline, or its limit of output.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::signal::unix::{SignalKind, signal};

use crate::child::Child;
use crate::spawn::{Command, NotSpawned, Spawn, Spawned, Stdio};

mod tail;

use tail::Tail;

/// The most that is taken from a program's output, in bytes.
pub const OUTPUT_LIMIT: usize = 1024 * 1024;
/// How much of the end of what it says to stderr is kept, in bytes.
pub const STDERR_KEPT: usize = 16 * 1024;
/// How often a program that is still being written is tried (`ETXTBSY`): a fork elsewhere holds the
/// descriptor of whoever just wrote it until its own exec.
const BUSY_ATTEMPTS: u32 = 10;
/// How long killed processes are given to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// What is executed.
    pub command: Command<'a>,
    /// The pod that it is for, "" for none.
    pub owner: &'a str,
    /// What it is given; without any, its input is `/dev/null`.
    pub input: Option<&'a [u8]>,
    /// Whether its outputs are pipes of ours; otherwise they are `/dev/null`. What leaves a process
    /// that stays must have none: that one would hold them for all its life.
    pub listen: bool,
    /// Whether what it leaves in its process group lives on after its own end.
    pub leaves: bool,
    /// How long it may take once it was started. A program that is just being written is tried for
    /// about a second before that.
    pub deadline: Duration,
}

impl<'a> Job<'a> {
    /// Without input, listened to, leaving nobody.
    pub fn new(command: Command<'a>, owner: &'a str, deadline: Duration) -> Self {
        Self {
            command,
            owner,
            input: None,
            listen: true,
            leaves: false,
            deadline,
        }
    }

    /// Gives it this input.
    #[must_use]
    pub fn input(mut self, input: &'a [u8]) -> Self {
        self.input = Some(input);
        self
    }
}

/// How it ended by itself.
#[derive(Debug)]
pub struct Exit {
    /// Its status.
    pub status: ExitStatus,
    /// All of its output.
    pub stdout: Vec<u8>,
    /// The end of what it said besides.
    pub stderr: String,
}

/// How it did not.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// It was not started.
    #[error(transparent)]
    NotStarted(NotSpawned),
    /// One of its pipes failed.
    #[error("a pipe failed: {error}")]
    Pipe {
        /// How.
        error: io::Error,
        /// What it had said.
        stderr: String,
    },
    /// It took too long, and its group was killed.
    #[error("it took too long")]
    Deadline {
        /// Whether somebody of the group is not gone in spite of that.
        survivors: bool,
        /// What it had said.
        stderr: String,
    },
    /// It printed more than [`OUTPUT_LIMIT`], and its group was killed.
    #[error("it printed more than {OUTPUT_LIMIT} bytes")]
    TooMuchOutput {
        /// What it had said.
        stderr: String,
    },
}

/// A moment of a run at which a crash would leave something different behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The process exists.
    Spawned,
    /// It has all of its input.
    Fed,
    /// It has ended, and nobody has looked at how.
    Exited,
    /// It was killed before its end, and nobody has been told.
    CutOff,
}

/// Runs a program to its end, its deadline, or its limit of output, and tells `observe` how far it
/// is. When the future is dropped the process group is killed.
///
/// # Errors
/// [`Cut`], when it did not end by itself. That it failed is no error here: see [`Exit::status`].
pub async fn run(
    spawn: &dyn Spawn,
    job: Job<'_>,
    observe: &(dyn Fn(Moment) + Sync),
) -> Result<Exit, Cut> {
    let mut running = Running::start(spawn, &job, observe).await?;
    observe(Moment::Spawned);
    let talk = running.talk(job.input.unwrap_or_default());
    match tokio::time::timeout(job.deadline, talk).await {
        Ok(Ok(())) => running.finish(job.leaves).await,
        Ok(Err(stop)) => Err(running.abort(stop).await),
        Err(_elapsed) => Err(running.abort(Stop::Deadline).await),
    }
}

/// Why a program is not listened to any longer.
enum Stop {
    Deadline,
    TooMuchOutput,
    Pipe(io::Error),
}

struct Running<'a> {
    // Dropped first: the group is killed while its leader is still ours.
    child: Child,
    stdin: Option<Sender>,
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    output: Vec<u8>,
    words: Tail,
    observe: &'a (dyn Fn(Moment) + Sync),
}

impl<'a> Running<'a> {
    async fn start(
        spawn: &dyn Spawn,
        job: &Job<'_>,
        observe: &'a (dyn Fn(Moment) + Sync),
    ) -> Result<Running<'a>, Cut> {
        let no_pipe = |error: io::Error| Cut::NotStarted(NotSpawned::Execute(error));
        keep_status_of_children().map_err(no_pipe)?;
        let ends = Ends::make(job.input.is_some(), job.listen).map_err(no_pipe)?;
        let spawned = spawn_settled(spawn, job, &ends).await;
        let spawned = spawned.map_err(Cut::NotStarted)?;
        // The process runs already; when it cannot be held it is killed, and may have done something.
        let unheld = |error| Cut::Pipe {
            error,
            stderr: String::new(),
        };
        let child = Child::new(spawned).map_err(unheld)?;
        let sender = |end: Option<OwnedFd>| end.map(Sender::from_owned_fd).transpose();
        let receiver = |end: Option<OwnedFd>| end.map(Receiver::from_owned_fd).transpose();
        Ok(Running {
            child,
            stdin: sender(ends.input.ours).map_err(unheld)?,
            stdout: receiver(ends.output.ours).map_err(unheld)?,
            stderr: receiver(ends.errors.ours).map_err(unheld)?,
            output: Vec::new(),
            words: Tail::new(STDERR_KEPT),
            observe,
        })
    }

    /// Feeds and listens until the process has ended. It is not reaped here.
    async fn talk(&mut self, input: &[u8]) -> Result<(), Stop> {
        let mut rest = input;
        let mut said = Vec::with_capacity(4096);
        loop {
            tokio::select! {
                wrote = feed(&mut self.stdin, rest), if self.stdin.is_some() => {
                    rest = self.fed(rest, wrote);
                }
                read = listen(&mut self.stdout, &mut self.output), if self.stdout.is_some() => {
                    self.heard(read.map_err(Stop::Pipe)?)?;
                }
                read = listen(&mut self.stderr, &mut said), if self.stderr.is_some() => {
                    self.warned(read.map_err(Stop::Pipe)?, &mut said);
                }
                ended = self.child.ended() => return ended.map_err(Stop::Pipe),
            }
        }
    }

    /// Gives what is left of the input, and closes it after its end. A program that does not read is
    /// not wrong.
    fn fed<'b>(&mut self, rest: &'b [u8], wrote: usize) -> &'b [u8] {
        let rest = rest.get(wrote..).unwrap_or_default();
        if wrote == 0 || rest.is_empty() {
            self.stdin = None;
            (self.observe)(Moment::Fed);
        }
        rest
    }

    fn heard(&mut self, read: usize) -> Result<(), Stop> {
        if read == 0 {
            self.stdout = None;
        }
        match self.output.len() > OUTPUT_LIMIT {
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
    async fn finish(mut self, leaves: bool) -> Result<Exit, Cut> {
        (self.observe)(Moment::Exited);
        if !leaves {
            self.child.kill();
        }
        let drained = self.drain();
        let (status, gone) = self.reap(leaves).await;
        let mut stderr = self.words.text();
        if !gone {
            stderr.push_str(" (a process that it left behind was killed, and is not gone yet)");
        }
        let status = match (drained, status) {
            (Ok(()), Ok(status)) => status,
            (Err(error), _) | (_, Err(error)) => return Err(Cut::Pipe { error, stderr }),
        };
        if self.output.len() > OUTPUT_LIMIT {
            return Err(Cut::TooMuchOutput { stderr });
        }
        Ok(Exit {
            status,
            stdout: std::mem::take(&mut self.output),
            stderr,
        })
    }

    /// Before the end: kills the group, and sees it gone as far as can be.
    async fn abort(mut self, stop: Stop) -> Cut {
        self.child.kill();
        let (_status, gone) = self.reap(false).await;
        (self.observe)(Moment::CutOff);
        // What it said last may say why; a pipe that fails now has nothing to add.
        let _ = self.drain();
        let stderr = self.words.text();
        match stop {
            Stop::Deadline => Cut::Deadline {
                survivors: !gone,
                stderr,
            },
            Stop::TooMuchOutput => Cut::TooMuchOutput { stderr },
            Stop::Pipe(error) => Cut::Pipe { error, stderr },
        }
    }

    /// Reads what is there, without waiting for those who still hold the other end.
    fn drain(&mut self) -> io::Result<()> {
        let (output, words) = (&mut self.output, &mut self.words);
        if let Some(stdout) = &self.stdout {
            read_present(stdout, OUTPUT_LIMIT + 1, |chunk| {
                output.extend_from_slice(chunk)
            })?;
        }
        if let Some(stderr) = &self.stderr {
            read_present(stderr, OUTPUT_LIMIT, |chunk| words.push(chunk))?;
        }
        Ok(())
    }

    /// Reaps the leader, and looks until the group is empty, unless some of it may stay. A process in
    /// an uninterruptible sleep does not go when it is killed, so neither wait is without end.
    async fn reap(&mut self, leaves: bool) -> (io::Result<ExitStatus>, bool) {
        let Ok(status) = tokio::time::timeout(GONE_WITHIN, self.child.reap()).await else {
            let late = io::Error::new(io::ErrorKind::TimedOut, "killed, but not gone");
            return (Err(late), false);
        };
        let mut pause = Duration::from_micros(100);
        let mut waited = Duration::ZERO;
        while !leaves && self.child.group_lives() {
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

/// Sees to it that SIGCHLD is not ignored, as whoever started us may have left it: then the kernel
/// reaps every child by itself, and neither its status nor its number is ours. A handler of tokio's
/// takes the place, and stays.
fn keep_status_of_children() -> io::Result<()> {
    static HEARD: OnceLock<()> = OnceLock::new();
    if HEARD.get().is_none() {
        drop(signal(SignalKind::child())?);
        HEARD.get_or_init(|| ());
    }
    Ok(())
}

/// The two ends of one of a program's descriptors; ours only where there is a pipe.
struct End {
    theirs: OwnedFd,
    ours: Option<OwnedFd>,
}

impl End {
    fn of(theirs: OwnedFd, ours: OwnedFd) -> Self {
        Self {
            theirs,
            ours: Some(ours),
        }
    }

    fn null() -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        Ok(Self {
            theirs: open("/dev/null", flags, Mode::empty())?,
            ours: None,
        })
    }
}

/// All three of them.
struct Ends {
    input: End,
    output: End,
    errors: End,
}

impl Ends {
    fn make(fed: bool, listen: bool) -> io::Result<Self> {
        let output = || match listen {
            true => pipe_with(PipeFlags::CLOEXEC).map(|(ours, theirs)| End::of(theirs, ours)),
            false => End::null(),
        };
        let input = match fed {
            true => pipe_with(PipeFlags::CLOEXEC).map(|(theirs, ours)| End::of(theirs, ours)),
            false => End::null(),
        };
        Ok(Self {
            input: input?,
            output: output()?,
            errors: output()?,
        })
    }

    fn theirs(&self) -> Stdio<'_> {
        Stdio {
            input: self.input.theirs.as_fd(),
            output: self.output.theirs.as_fd(),
            errors: self.errors.theirs.as_fd(),
        }
    }
}

/// Starts a program that may still be open for writing.
async fn spawn_settled(
    spawn: &dyn Spawn,
    job: &Job<'_>,
    ends: &Ends,
) -> Result<Spawned, NotSpawned> {
    let mut pause = Duration::from_millis(2);
    for _ in 1..BUSY_ATTEMPTS {
        match spawn.spawn(job.owner, &job.command, ends.theirs()) {
            Err(NotSpawned::Execute(error))
                if error.kind() == io::ErrorKind::ExecutableFileBusy =>
            {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            started => return started,
        }
    }
    spawn.spawn(job.owner, &job.command, ends.theirs())
}

/// Writes some of `bytes`; 0 means that nobody reads, or that nothing is left.
async fn feed(stdin: &mut Option<Sender>, bytes: &[u8]) -> usize {
    match stdin {
        Some(stdin) => stdin.write(bytes).await.unwrap_or(0),
        None => 0,
    }
}

async fn listen(pipe: &mut Option<Receiver>, buffer: &mut Vec<u8>) -> io::Result<usize> {
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
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
