//! One call of a runtime's program: started, listened to, and ended for certain.
//!
//! Each call is a process group. Its leader is not waited for before it has been listened to
//! the end, so that until then the group's number cannot be anybody else's; at the deadline,
//! or when the future is dropped, the whole group is killed.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use crate::error::{OciError, Verb};
use crate::log;
use crate::point;

/// The most that a runtime may answer, in bytes: a state holds a sandbox's annotations.
const ANSWER_LIMIT: u64 = 1024 * 1024;
/// How long a program may stay open for writing before that is an error (ETXTBSY).
const BUSY_FOR: Duration = Duration::from_secs(2);
const BUSY_RETRY: Duration = Duration::from_millis(5);
/// How long a killed process may take to be gone before it is left to the kernel.
const REAP_FOR: Duration = Duration::from_secs(2);

/// Where crun mounts its own program read-only for a moment, before it runs from there, so that
/// a container cannot overwrite it. The default is /tmp, and a crun that is killed in that moment
/// leaves a file and a mount on it. Where no file can be made it runs from a sealed copy in
/// memory, which leaves nothing. (runc sets the variable itself.)
const CLONE_DIRECTORY: &str = "_LIBCONTAINER_STATEDIR";
const NO_CLONES: &str = "/proc";

/// Takes hold of a runtime's processes before they execute, so that they can be found after a
/// crash: they outlive their caller.
pub trait Spawn: Send + Sync {
    /// Prepares `command`, which is complete and about to be started for the sandbox `id`.
    ///
    /// # Errors
    /// Whatever keeps the process from being enlisted; it is then not started.
    fn enlist(&self, id: &str, command: &mut Command) -> io::Result<()>;
}

/// Leaves the processes where they are: for embedders that have nothing to recover.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlisted;

impl Spawn for Unlisted {
    fn enlist(&self, _id: &str, _command: &mut Command) -> io::Result<()> {
        Ok(())
    }
}

/// What to call.
pub(crate) struct Call<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) verb: Verb,
    /// The sandbox, "" for none.
    pub(crate) id: &'a str,
    pub(crate) args: Vec<&'a OsStr>,
    pub(crate) deadline: Duration,
    /// Whether the process may inherit pipes of ours. What becomes the sandbox must not: it
    /// would hold them for all its life.
    pub(crate) listen: bool,
    /// Reached once the process exists.
    pub(crate) spawned: &'static str,
}

/// What came of it.
pub(crate) struct Answer {
    pub(crate) exit: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) message: String,
}

impl Call<'_> {
    /// Runs it to its end or its deadline.
    pub(crate) async fn run(self, spawn: &dyn Spawn) -> Result<Answer, OciError> {
        // The group is declared after the child, and so is killed before it is let go.
        let mut child = self.start(spawn).await?;
        let mut group = Group::of(&child);
        point::reached(self.spawned);
        match timeout(self.deadline, listen(&mut child)).await {
            Ok(heard) => {
                group.reaped();
                heard.map_err(|source| self.exec_error(source))
            }
            Err(_elapsed) => {
                group.kill();
                if timeout(REAP_FOR, child.wait()).await.is_ok() {
                    group.reaped();
                }
                Err(OciError::Deadline {
                    binary: self.binary.to_owned(),
                    verb: self.verb,
                    id: self.id.to_owned(),
                    after: self.deadline,
                })
            }
        }
    }

    async fn start(&self, spawn: &dyn Spawn) -> Result<Child, OciError> {
        let pipe = || {
            if self.listen {
                Stdio::piped()
            } else {
                Stdio::null()
            }
        };
        let mut command = Command::new(self.binary);
        command
            .args(&self.args)
            // Of the daemon's environment only the search path: with NOTIFY_SOCKET, `start` would
            // wait for a READY=1 that no pause process ever sends.
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env(CLONE_DIRECTORY, NO_CLONES)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(pipe())
            .stderr(pipe())
            .process_group(0);
        spawn
            .enlist(self.id, &mut command)
            .map_err(|source| OciError::NotEnlisted {
                verb: self.verb,
                id: self.id.to_owned(),
                source,
            })?;
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        let give_up = Instant::now() + BUSY_FOR;
        loop {
            match command.spawn() {
                Err(error) if is_busy(&error) && Instant::now() < give_up => {
                    sleep(BUSY_RETRY).await
                }
                other => return other.map_err(|source| self.exec_error(source)),
            }
        }
    }

    fn exec_error(&self, source: io::Error) -> OciError {
        let path = self.binary.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => OciError::NotExecutable { path, source },
            // The file is there; what is not is the interpreter that it names.
            io::ErrorKind::NotFound => OciError::WrongFormat { path, source },
            _ if is_format_error(&source) => OciError::WrongFormat { path, source },
            _ => OciError::Exec { path, source },
        }
    }
}

fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ExecutableFileBusy
}

fn is_format_error(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error())
}

/// Hears what it says, then waits for it.
async fn listen(child: &mut Child) -> io::Result<Answer> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::join!(first(stdout), last(stderr));
    let exit = child.wait().await?;
    Ok(Answer {
        exit,
        stdout: stdout?,
        message: log::messages(&stderr?),
    })
}

/// The beginning of what is said, to the limit. Who says more meets a closed pipe.
async fn first(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut heard = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(ANSWER_LIMIT).read_to_end(&mut heard).await?;
    }
    Ok(heard)
}

/// The end of what is said.
async fn last(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut heard = Vec::new();
    let Some(mut pipe) = pipe else {
        return Ok(heard);
    };
    let mut piece = [0; 4096];
    loop {
        match pipe.read(&mut piece).await? {
            0 => return Ok(heard),
            count => heard.extend_from_slice(&piece[..count]),
        }
        let excess = heard.len().saturating_sub(log::KEPT);
        heard.drain(..excess);
    }
}

/// A process group whose leader has not been waited for.
struct Group {
    leader: Option<Pid>,
}

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            leader: id.and_then(Pid::from_raw),
        }
    }

    /// From now on the number may be another group's.
    fn reaped(&mut self) {
        self.leader = None;
    }

    fn kill(&self) {
        if let Some(leader) = self.leader {
            // It fails only when nobody is left in the group.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests;
