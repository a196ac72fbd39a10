//! One call of a runtime's program: started, listened to, and ended for certain.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use podwalk_process::{Command, Cut, Job, Moment, NotSpawned, Spawn, run};

use crate::error::{OciError, Verb};
use crate::log;
use crate::point;

/// Where crun mounts its own program read-only for a moment, before it runs from there, so that
/// a container cannot overwrite it. The default is /tmp, and a crun that is killed in that moment
/// leaves a file and a mount on it. Where no file can be made it runs from a sealed copy in
/// memory, which leaves nothing. (runc sets the variable itself.)
const CLONE_DIRECTORY: &str = "_LIBCONTAINER_STATEDIR";
const NO_CLONES: &str = "/proc";

/// The program that starts another with a variable less: coreutils' and busybox's.
const ENV: &str = "/usr/bin/env";

/// Where a program runs, and what it gets besides its arguments.
pub(crate) struct Setting<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) environment: Vec<(&'a str, OsString)>,
    /// Without any its input is `/dev/null`.
    pub(crate) input: Option<&'a [u8]>,
    /// A variable that it, and what it leaves behind, must not have, although the port sets it.
    pub(crate) without: Option<&'a str>,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Self {
            directory: Path::new("/"),
            environment: Vec::new(),
            input: None,
            without: None,
        }
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
    pub(crate) setting: Setting<'a>,
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
        // Of the daemon's environment only the search path: with NOTIFY_SOCKET, `run` would
        // wait for a READY=1 that no pause process ever sends.
        let path = std::env::var_os("PATH").map(|path| ("PATH", path));
        let environment = path
            .into_iter()
            .chain([(CLONE_DIRECTORY, NO_CLONES.into())])
            .chain(self.setting.environment.iter().cloned());
        let (program, arguments) = self.command_line();
        let command = Command {
            program,
            arguments,
            environment: environment.collect(),
            directory: self.setting.directory,
        };
        let mut job = Job::new(command, self.id, self.deadline);
        job.listen = self.listen;
        job.input = self.setting.input;
        // A sandbox may be in its runtime's process group.
        job.leaves = true;
        let observe = |moment| {
            if moment == Moment::Spawned {
                point::reached(self.spawned);
            }
        };
        let exit = run(spawn, job, &observe).await;
        let exit = exit.map_err(|cut| self.explain(cut))?;
        Ok(Answer {
            exit: exit.status,
            stdout: exit.stdout,
            message: log::messages(exit.stderr.as_bytes()),
        })
    }

    fn command_line(&self) -> (&Path, Vec<&OsStr>) {
        let Some(variable) = self.setting.without else {
            return (self.binary, self.args.clone());
        };
        let before = ["-u", variable].map(OsStr::new);
        let before = before.into_iter().chain([self.binary.as_os_str()]);
        (Path::new(ENV), before.chain(self.args.clone()).collect())
    }

    fn explain(&self, cut: Cut) -> OciError {
        let id = self.id.to_owned();
        match cut {
            Cut::NotStarted(NotSpawned::Enlist(source)) => OciError::NotEnlisted {
                verb: self.verb,
                id,
                source,
            },
            Cut::NotStarted(NotSpawned::Execute(source)) => self.exec_error(source),
            Cut::Deadline { .. } => OciError::Deadline {
                binary: self.binary.to_owned(),
                verb: self.verb,
                id,
                after: self.deadline,
            },
            Cut::Pipe { .. } | Cut::TooMuchOutput { .. } => OciError::Lost {
                binary: self.binary.to_owned(),
                verb: self.verb,
                id,
                why: cut.to_string(),
            },
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

fn is_format_error(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error())
}

#[cfg(test)]
mod tests;
