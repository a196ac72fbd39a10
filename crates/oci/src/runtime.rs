//! The verbs of a handler: make a sandbox, look at it, end it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::RwLock;
use tokio::time::{Duration, Instant, timeout};

use crate::bundle::Bundle;
use crate::cgroup::{Cgroups, CgroupsPath};
use crate::command::{Answer, Call, Spawn};
use crate::error::{OciError, Verb};
use crate::handler::Handler;
use crate::id::SandboxId;
use crate::log;
use crate::point;
use crate::process::{ProcessIdentity, ProcessWatch};

mod end;

/// Read while a runtime may be making a cgroup in a parent that several sandboxes share; with
/// it written no such parent is removed under a runtime's hands. One for all handlers of the
/// process, because they share parents.
static PARENT_IN_USE: RwLock<()> = RwLock::const_new(());

/// The magic number of the file system of namespaces, see statfs(2).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// How often to look whether a process has executed its program, which nothing announces.
const EXEC_POLL: Duration = Duration::from_micros(500);

/// What the owner of a sandbox knows about it, from its own records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub id: SandboxId,
    /// Its cgroup.
    pub cgroup: CgroupsPath,
    /// Its process, if it was recorded.
    pub process: Option<ProcessIdentity>,
}

/// A sandbox that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sandbox {
    /// Its process.
    pub process: ProcessIdentity,
}

/// What was found of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// Nothing: no state, no process.
    Absent,
    /// Something that is no sandbox and will not become one: a state that is half written, or
    /// processes without a state.
    Partial {
        /// What there is, for a message.
        what: String,
    },
    /// It was made, and waits to be started.
    Created {
        /// Its process.
        process: ProcessIdentity,
    },
    /// It runs. Whether it is the process that was recorded is for the caller to compare.
    Running {
        /// Its process.
        process: ProcessIdentity,
    },
    /// The runtime remembers it, and its process is gone.
    Stopped,
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
        let binary = self.handler.locate()?;
        let process = self.create(&binary, bundle).await?;
        point::reached("oci.created");
        let id = bundle.id();
        let args = vec![OsStr::new("start"), OsStr::new(id.as_str())];
        let call = self.call(&binary, Verb::Start, id.as_str(), args);
        self.succeed(call).await?;
        self.see_it_running(bundle, process).await?;
        point::reached("oci.started");
        Ok(Sandbox { process })
    }

    /// `create`: the only call whose process leaves one that lives on, so it gets no pipe of
    /// ours. What it has to say is in its log.
    async fn create(&self, binary: &Path, bundle: &Bundle) -> Result<ProcessIdentity, OciError> {
        let id = bundle.id();
        let (log, pid_file) = (bundle.log_file(), bundle.pid_file());
        for old in [&log, &pid_file] {
            remove_file(old).map_err(file_failed("remove", old, id))?;
        }
        let making = PARENT_IN_USE.read().await;
        let args = vec![
            OsStr::new("--log"),
            log.as_os_str(),
            OsStr::new("create"),
            OsStr::new("--bundle"),
            bundle.dir().as_os_str(),
            OsStr::new("--pid-file"),
            pid_file.as_os_str(),
            OsStr::new(id.as_str()),
        ];
        let call = self.call(binary, Verb::Create, id.as_str(), args);
        let mut answer = call.run(&*self.spawn).await?;
        drop(making);
        if !answer.exit.success() {
            answer.message = log_messages(&log);
            return Err(self.refusal(binary, Verb::Create, id.as_str(), answer));
        }
        let written = fs::read_to_string(&pid_file).map_err(file_failed("read", &pid_file, id))?;
        let pid = written
            .trim()
            .parse::<u32>()
            .map_err(|_| OciError::Answer {
                binary: binary.to_owned(),
                verb: Verb::Create,
                id: id.to_string(),
                why: format!("its pid is {written:?}"),
            })?;
        let watch = ProcessWatch::of(pid).map_err(failed("watch", id, pid))?;
        let gone = || OciError::EndedAtOnce { id: id.to_string() };
        watch.map(|watch| watch.identity()).ok_or_else(gone)
    }

    /// Waits until the process executes the pause program. A runtime's `start` only lets the
    /// process go; whether it gets to exec (seccomp, a missing file) shows afterwards. A virtual
    /// machine's monitor executes something else.
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
        while !self.handler.vm && !bundle.is_executed_by(process.pid) {
            if Instant::now() >= end {
                return Err(OciError::NeverRan {
                    id: id.to_string(),
                    pid: process.pid,
                });
            }
            if let Ok(exited) = timeout(EXEC_POLL, watch.exited()).await {
                exited.map_err(failed("watch", id, process.pid))?;
                return Err(OciError::EndedAtOnce { id: id.to_string() });
            }
        }
        Ok(())
    }

    /// Looks for the sandbox, and changes nothing.
    ///
    /// The processes of an interrupted `create` must be gone: one that goes on makes the answer
    /// stale.
    ///
    /// # Errors
    /// The answer is unknown: the runtime is missing, fails or hangs, and something is there
    /// that only it can explain.
    pub async fn probe(&self, target: &Target) -> Result<Probe, OciError> {
        if !self.has_state(&target.id)? {
            return self.probe_without_state(target);
        }
        let state = match self.state(&target.id).await {
            Ok(state) => state,
            Err(OciError::Failed { message, .. }) if !is_alive(target)? => {
                let what = format!("the runtime cannot read its state: {message}");
                return Ok(Probe::Partial { what });
            }
            Err(error) => return Err(error),
        };
        let watch =
            ProcessWatch::of(state.pid()).map_err(failed("watch", &target.id, state.pid()))?;
        let found = match (state.status.as_str(), watch.map(|watch| watch.identity())) {
            ("created", Some(process)) => Probe::Created { process },
            ("running" | "paused", Some(process)) => Probe::Running { process },
            ("stopped" | "created" | "running" | "paused", _) if is_alive(target)? => {
                Probe::Partial {
                    what: "the recorded process lives, and the runtime takes it for dead"
                        .to_owned(),
                }
            }
            ("stopped" | "created" | "running" | "paused", _) => Probe::Stopped,
            (other, _) => Probe::Partial {
                what: format!("the runtime's state is {other:?}"),
            },
        };
        Ok(found)
    }

    fn probe_without_state(&self, target: &Target) -> Result<Probe, OciError> {
        if is_alive(target)? {
            let what = "its process lives, and the runtime has no state of it".to_owned();
            return Ok(Probe::Partial { what });
        }
        let members = self.cgroups(target)?.members(&target.cgroup);
        let members = members.map_err(cgroup_failed("read", target))?;
        if members.is_empty() {
            return Ok(Probe::Absent);
        }
        Ok(Probe::Partial {
            what: format!("processes {members:?} are in its cgroup, and the runtime has no state"),
        })
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
        };
        let answer = self.succeed(call).await?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let line = text.lines().next().unwrap_or_default().trim().to_owned();
        Ok(Version { binary, line })
    }

    async fn state(&self, id: &SandboxId) -> Result<State, OciError> {
        let binary = self.handler.locate()?;
        let args = vec![OsStr::new("state"), OsStr::new(id.as_str())];
        let answer = self
            .succeed(self.call(&binary, Verb::State, id.as_str(), args))
            .await?;
        serde_json::from_slice(&answer.stdout).map_err(|error| OciError::Answer {
            binary,
            verb: Verb::State,
            id: id.to_string(),
            why: error.to_string(),
        })
    }

    /// Whether the runtime keeps anything under this id.
    fn has_state(&self, id: &SandboxId) -> Result<bool, OciError> {
        Ok(!self.state_entries(id)?.is_empty())
    }

    /// What the runtime keeps under this id. Runtimes name their entry after the id, some with a
    /// suffix.
    fn state_entries(&self, id: &SandboxId) -> Result<Vec<PathBuf>, OciError> {
        let root = &self.handler.root;
        let failed = || file_failed("read the state", root, id);
        let entries = match fs::read_dir(root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed()(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed())?;
            if belongs_to(&entry.file_name().to_string_lossy(), id.as_str()) {
                found.push(entry.path());
            }
        }
        Ok(found)
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
            Verb::Create => (deadlines.create, "oci.create.spawned"),
            Verb::Start => (deadlines.start, "oci.start.spawned"),
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
            listen: verb != Verb::Create,
            spawned,
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

/// The part of a runtime's `state` that we use.
#[derive(Deserialize)]
struct State {
    status: String,
    pid: Option<u32>,
}

impl State {
    /// 0 if there is none, which no process has.
    fn pid(&self) -> u32 {
        self.pid.unwrap_or(0)
    }
}

/// Naming a plain file as a namespace makes some runtimes start the sandbox elsewhere.
fn refuse_plain_file(path: &Path) -> Result<(), OciError> {
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

/// Whether the process that was recorded lives.
fn is_alive(target: &Target) -> Result<bool, OciError> {
    match target.process {
        Some(process) => ProcessWatch::open(process)
            .map(|watch| watch.is_some())
            .map_err(failed("watch", &target.id, process.pid)),
        None => Ok(false),
    }
}

fn belongs_to(entry: &str, id: &str) -> bool {
    let Some(rest) = entry.strip_prefix(id) else {
        return false;
    };
    rest.is_empty() || rest == ".state" || rest.starts_with("_sandbox:")
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

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(verb: &'static str, id: &SandboxId, pid: u32) -> impl FnOnce(io::Error) -> OciError {
    let id = id.to_string();
    move |source| OciError::Process {
        verb,
        id,
        pid,
        source,
    }
}

fn file_failed(
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

fn cgroup_failed(
    verb: &'static str,
    target: &Target,
) -> impl FnOnce(io::Error) -> OciError + use<> {
    file_failed(verb, Path::new(target.cgroup.as_str()), &target.id)
}

#[cfg(test)]
mod tests;
