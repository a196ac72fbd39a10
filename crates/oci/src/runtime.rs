//! The verbs of a handler: make a sandbox, look at it, end it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::RwLock;
use tokio::time::{Duration, Instant, timeout};

use crate::bundle::{Bundle, is_pause};
use crate::cgroup::Cgroups;
use podwalk_process::Spawn;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::command::{Answer, Call, Setting};
use crate::error::{OciError, Verb};
use crate::handler::Handler;
use crate::id::SandboxId;
use crate::log;
use crate::point;
use crate::process::{ProcessIdentity, ProcessWatch};
use crate::target::Target;

mod end;
mod probe;

pub(crate) use end::remove_leftover;
pub use probe::Probe;
pub(crate) use probe::is_alive;

/// Read while a runtime may be making a cgroup in a parent that several sandboxes share; with
/// it written no such parent is removed under a runtime's hands. One for all handlers of the
/// process, because they share parents.
pub(crate) static PARENT_IN_USE: RwLock<()> = RwLock::const_new(());

/// The magic number of the file system of namespaces, see statfs(2).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// How often to look whether a process has executed its program, which nothing announces.
const EXEC_POLL: Duration = Duration::from_millis(1);

/// The same for the first moments, and how often then.
const EARLY_POLL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000,
};
const EARLY_LOOKS: u32 = 40;

/// A sandbox that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Its process.
    pub process: ProcessIdentity,
    /// Where its shim listens; `None` without a shim.
    pub shim_address: Option<String>,
}

/// What a runtime says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Where its program is.
    pub binary: PathBuf,
    /// The first line that it prints, such as `crun version 1.8.1`.
    pub line: String,
}

/// A handler at work.
#[derive(Clone)]
pub struct OciRuntime {
    handler: Handler,
    spawn: Arc<dyn Spawn>,
}

impl std::fmt::Debug for OciRuntime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("OciRuntime");
        shown
            .field("handler", &self.handler)
            .finish_non_exhaustive()
    }
}

impl OciRuntime {
    /// Takes a handler, and the port by which its processes can be found after a crash. Nothing
    /// is looked at yet: a runtime that is missing fails when it is used.
    pub fn new(handler: Handler, spawn: Arc<dyn Spawn>) -> Self {
        Self { handler, spawn }
    }

    /// The handler.
    pub fn handler(&self) -> &Handler {
        &self.handler
    }

    /// Makes the sandbox of `bundle` and starts it. Its process is alive on success.
    ///
    /// Must not be called while the runtime knows a sandbox of this id: probe first. After an
    /// error, or when the future was dropped, the outcome is unknown unless
    /// [`OciError::nothing_begun`], and [`delete`](Self::delete) undoes what was done.
    ///
    /// # Errors
    /// Each of [`OciError`] but `StillAlive`; nothing is cleaned up.
    pub async fn create_and_start(&self, bundle: &Bundle) -> Result<Sandbox, OciError> {
        bundle.netns().map_or(Ok(()), refuse_plain_file)?;
        bundle.user_namespace().map_or(Ok(()), refuse_plain_file)?;
        let binary = self.handler.locate()?;
        let process = self.run_detached(&binary, bundle).await?;
        point::reached("oci.ran");
        self.see_it_running(bundle, process).await?;
        point::reached("oci.started");
        Ok(Sandbox {
            process,
            shim_address: None,
        })
    }

    /// `run --detach`, which is `create` and `start` with one program less to load. It is the only
    /// call whose process leaves one that lives on, so it gets no pipe of ours. What it has to say
    /// is in its log.
    async fn run_detached(
        &self,
        binary: &Path,
        bundle: &Bundle,
    ) -> Result<ProcessIdentity, OciError> {
        let id = bundle.id();
        let (log, pid_file) = (bundle.log_file(), bundle.pid_file());
        for old in [&log, &pid_file] {
            remove_file(old).map_err(file_failed("remove", old, id))?;
        }
        let making = PARENT_IN_USE.read().await;
        let args = vec![
            OsStr::new("--log"),
            log.as_os_str(),
            OsStr::new("run"),
            OsStr::new("--bundle"),
            bundle.dir().as_os_str(),
            OsStr::new("--pid-file"),
            pid_file.as_os_str(),
            OsStr::new("--detach"),
            OsStr::new(id.as_str()),
        ];
        let call = self.call(binary, Verb::Run, id.as_str(), args);
        let mut answer = call.run(&*self.spawn).await?;
        drop(making);
        if !answer.exit.success() {
            answer.message = log_messages(&log);
            return Err(self.refusal(binary, Verb::Run, id.as_str(), answer));
        }
        let written = fs::read_to_string(&pid_file).map_err(file_failed("read", &pid_file, id))?;
        let pid = written
            .trim()
            .parse::<u32>()
            .map_err(|_| OciError::Answer {
                binary: binary.to_owned(),
                verb: Verb::Run,
                id: id.to_string(),
                why: format!("its pid is {written:?}"),
            })?;
        let watch = ProcessWatch::of(pid).map_err(failed("watch", id, pid))?;
        let gone = || OciError::EndedAtOnce { id: id.to_string() };
        watch.map(|watch| watch.identity()).ok_or_else(gone)
    }

    /// Waits until the process executes the pause program. A runtime only lets the process go;
    /// whether it gets to exec (seccomp, a missing file) shows afterwards. A virtual
    /// machine's monitor executes something else: there the runtime is asked.
    async fn see_it_running(
        &self,
        bundle: &Bundle,
        process: ProcessIdentity,
    ) -> Result<(), OciError> {
        let id = bundle.id();
        let end = Instant::now() + self.handler.deadlines.start;
        let watch = ProcessWatch::open(process).map_err(failed("watch", id, process.pid))?;
        let Some(watch) = watch else {
            return Err(OciError::EndedAtOnce { id: id.to_string() });
        };
        if self.handler.vm {
            return match self.state(id).await?.is_running() {
                true => Ok(()),
                false => Err(OciError::NeverRan {
                    id: id.to_string(),
                    pid: process.pid,
                }),
            };
        }
        see_pause(id, &watch, end).await
    }

    /// What the runtime says of itself.
    ///
    /// # Errors
    /// If it is missing, cannot be executed, or fails.
    pub async fn version(&self) -> Result<Version, OciError> {
        let binary = self.handler.locate()?;
        let call = Call {
            binary: &binary,
            verb: Verb::Version,
            id: "",
            args: vec![OsStr::new("--version")],
            deadline: self.handler.deadlines.query,
            listen: true,
            spawned: "oci.version.spawned",
            setting: Setting::default(),
        };
        let answer = self.succeed(call).await?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let line = text.lines().next().unwrap_or_default().trim().to_owned();
        Ok(Version { binary, line })
    }

    fn cgroups(&self, target: &Target) -> Result<Cgroups, OciError> {
        Cgroups::detect().map_err(cgroup_failed("find", target))
    }

    /// A call with what goes before every verb.
    fn call<'a>(
        &'a self,
        binary: &'a Path,
        verb: Verb,
        id: &'a str,
        verb_args: Vec<&'a OsStr>,
    ) -> Call<'a> {
        let handler = &self.handler;
        let mut args: Vec<&OsStr> = vec![OsStr::new("--root"), handler.root.as_os_str()];
        args.extend([OsStr::new("--log-format"), OsStr::new("json")]);
        args.extend(handler.global_args.iter().map(AsRef::<OsStr>::as_ref));
        args.extend(verb_args);
        let deadlines = &handler.deadlines;
        let (deadline, spawned) = match verb {
            Verb::Run | Verb::Start => (deadlines.create, "oci.run.spawned"),
            Verb::Kill => (deadlines.kill, "oci.kill.spawned"),
            Verb::Delete => (deadlines.delete, "oci.delete.spawned"),
            Verb::State | Verb::Version => (deadlines.query, "oci.state.spawned"),
        };
        Call {
            binary,
            verb,
            id,
            args,
            deadline,
            listen: verb != Verb::Run,
            spawned,
            setting: Setting::default(),
        }
    }

    /// Runs a call that must succeed.
    async fn succeed(&self, call: Call<'_>) -> Result<Answer, OciError> {
        let (binary, verb, id) = (call.binary, call.verb, call.id);
        let answer = call.run(&*self.spawn).await?;
        if answer.exit.success() {
            return Ok(answer);
        }
        Err(self.refusal(binary, verb, id, answer))
    }

    /// What a failure means.
    fn refusal(&self, binary: &Path, verb: Verb, id: &str, answer: Answer) -> OciError {
        let binary = binary.to_owned();
        let message = answer.message;
        match Cgroups::detect() {
            Ok(cgroups) if is_cgroup_refusal(&message) => OciError::CgroupLayoutRefused {
                binary,
                layout: cgroups.layout,
                message,
            },
            _ => OciError::Failed {
                binary,
                verb,
                id: id.to_owned(),
                exit: answer.exit,
                message,
            },
        }
    }
}

/// Waits until a process executes the pause program.
pub(crate) async fn see_pause(
    id: &SandboxId,
    watch: &ProcessWatch,
    end: Instant,
) -> Result<(), OciError> {
    let pid = watch.identity().pid;
    if became_pause_soon(watch).await {
        return Ok(());
    }
    while !is_pause(pid) {
        if Instant::now() >= end {
            let id = id.to_string();
            return Err(OciError::NeverRan { id, pid });
        }
        if let Ok(exited) = timeout(EXEC_POLL, watch.exited()).await {
            exited.map_err(failed("watch", id, pid))?;
            return Err(OciError::EndedAtOnce { id: id.to_string() });
        }
    }
    Ok(())
}

/// Whether a process executes the pause program within the first moments. Most do when their
/// runtime ends, and nearly all others in less time than the timer can tell, so a thread looks.
async fn became_pause_soon(watch: &ProcessWatch) -> bool {
    let pid = watch.identity().pid;
    if is_pause(pid) {
        return true;
    }
    let Ok(pidfd) = watch.as_fd().try_clone_to_owned() else {
        return false;
    };
    let look = move || {
        let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
        (0..EARLY_LOOKS)
            .any(|_| is_pause(pid) || matches!(poll(&mut ended, Some(&EARLY_POLL)), Ok(1..)))
            && is_pause(pid)
    };
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}

/// Naming a plain file as a namespace makes some runtimes start the sandbox elsewhere.
pub(crate) fn refuse_plain_file(path: &Path) -> Result<(), OciError> {
    let path_buf = || path.to_owned();
    let found = rustix::fs::statfs(path).map_err(|errno| OciError::Namespace {
        path: path_buf(),
        source: errno.into(),
    })?;
    if u64::try_from(found.f_type).is_ok_and(|kind| kind == NSFS_MAGIC) {
        return Ok(());
    }
    Err(OciError::NotANamespace { path: path_buf() })
}

/// The words that crun and runc have for a layout, or a controller, that is not there.
fn is_cgroup_refusal(message: &str) -> bool {
    let about_cgroups = message.contains("cgroup");
    let missing_file = message.contains("/sys/fs/cgroup/") && message.contains("no such file");
    let words = [
        "not supported",
        "controller",
        "cgroup mountpoint",
        "invalid cgroup",
    ];
    about_cgroups && (missing_file || words.iter().any(|word| message.contains(word)))
}

fn log_messages(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => log::messages(&bytes[bytes.len().saturating_sub(log::KEPT)..]),
        Err(_) => "it said nothing".to_owned(),
    }
}

pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn failed(
    verb: &'static str,
    id: &SandboxId,
    pid: u32,
) -> impl FnOnce(io::Error) -> OciError {
    let id = id.to_string();
    move |source| OciError::Process {
        verb,
        id,
        pid,
        source,
    }
}

pub(crate) fn file_failed(
    verb: &'static str,
    path: &Path,
    id: &SandboxId,
) -> impl FnOnce(io::Error) -> OciError + use<> {
    let (path, id) = (path.to_owned(), id.to_string());
    move |source| OciError::File {
        verb,
        path,
        id,
        source,
    }
}

pub(crate) fn cgroup_failed(
    verb: &'static str,
    target: &Target,
) -> impl FnOnce(io::Error) -> OciError + use<> {
    file_failed(verb, Path::new(target.cgroup.as_str()), &target.id)
}

#[cfg(test)]
mod tests;
