//! The port that starts a program, and what goes through it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// What is to be executed.
#[derive(Debug, Clone)]
pub struct Command<'a> {
    /// The path of the program's file, with a `/` in it: no place is searched.
    pub program: &'a Path,
    /// Its arguments, without its own name.
    pub arguments: Vec<&'a OsStr>,
    /// All of its environment.
    pub environment: Vec<(&'a str, OsString)>,
    /// Its working directory.
    pub directory: &'a Path,
}

/// The three descriptors that it is given, and no others.
#[derive(Debug, Clone, Copy)]
pub struct Stdio<'a> {
    /// Descriptor 0.
    pub input: BorrowedFd<'a>,
    /// Descriptor 1.
    pub output: BorrowedFd<'a>,
    /// Descriptor 2.
    pub errors: BorrowedFd<'a>,
}

/// A program that was started: a child of this process, and not reaped by anybody yet.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid, which is its process group's too.
    pub pid: u32,
    /// The same, held.
    pub pidfd: OwnedFd,
}

/// A program that was not started.
#[derive(Debug, thiserror::Error)]
pub enum NotSpawned {
    /// There is no place for it: whoever enlists processes could not enlist it.
    #[error("it cannot be enlisted: {0}")]
    Enlist(io::Error),
    /// It cannot be executed.
    #[error("it cannot be executed: {0}")]
    Execute(io::Error),
}

/// Starts a program where it can be found after a crash of ours.
///
/// A program, and what it starts in turn, outlives its caller; so the daemon implements this by a
/// cgroup named after the pod.
pub trait Spawn: Send + Sync {
    /// Executes `command` for the pod `owner` ("" for none), as the leader of a process group of its
    /// own, with no signal blocked and SIGPIPE as it is by default.
    ///
    /// # Errors
    /// When nothing was executed.
    fn spawn(
        &self,
        owner: &str,
        command: &Command<'_>,
        stdio: Stdio<'_>,
    ) -> Result<Spawned, NotSpawned>;
}

/// Starts a program where the caller is: for embedders that have nothing to recover.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlisted;

impl Spawn for Unlisted {
    fn spawn(
        &self,
        _owner: &str,
        command: &Command<'_>,
        stdio: Stdio<'_>,
    ) -> Result<Spawned, NotSpawned> {
        let start = || {
            let mut child = std::process::Command::new(command.program)
                .args(&command.arguments)
                .env_clear()
                .envs(
                    command
                        .environment
                        .iter()
                        .map(|(name, value)| (name, value)),
                )
                .current_dir(command.directory)
                .stdin(stdio.input.try_clone_to_owned()?)
                .stdout(stdio.output.try_clone_to_owned()?)
                .stderr(stdio.errors.try_clone_to_owned()?)
                .process_group(0)
                .spawn()?;
            hold(child.id()).inspect_err(|_| {
                // It runs, and cannot be held. That it is gone already is as good.
                let _ = child.kill();
                let _ = child.wait();
            })
        };
        start().map_err(NotSpawned::Execute)
    }
}

/// Holds a child that was not reaped, so that the pid is its own.
fn hold(pid: u32) -> io::Result<Spawned> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| io::Error::other("the process has no id"))?;
    let pidfd = pidfd_open(number, PidfdFlags::empty())?;
    Ok(Spawned { pid, pidfd })
}
