//! What can go wrong when a plugin is called, told so that someone can act on it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::attachment::AttachmentError;
use crate::result::ResultError;
use crate::version::SpecVersion;

/// What a plugin is asked to do (CNI_COMMAND).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Attach a container.
    Add,
    /// Detach a container.
    Del,
    /// Look whether an attachment is as it was made.
    Check,
    /// Say whether the plugin is ready.
    Status,
    /// Say which versions the plugin speaks.
    Version,
    /// Remove what belongs to no valid attachment.
    Gc,
}

impl Verb {
    /// The value of CNI_COMMAND.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Add => "ADD",
            Verb::Del => "DEL",
            Verb::Check => "CHECK",
            Verb::Status => "STATUS",
            Verb::Version => "VERSION",
            Verb::Gc => "GC",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A call that did not do what it should. It names the verb, the network, the plugin and its
/// binary, what happened, the plugin's last words on stderr, and the remedy.
///
/// What a caller decides by: [`CniError::outcome_unknown`] (the effect may or may not be there),
/// [`CniError::retry_later`], [`CniError::network_not_ready`], and [`CniError::kind`].
/// Whatever failed during ADD, a DEL is owed, except where [`CniError::nothing_ran`].
#[derive(Debug)]
pub struct CniError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    verb: Verb,
    network: String,
    plugin: Option<String>,
    binary: Option<PathBuf>,
    kind: Failure,
    stderr: String,
    then: Option<CniError>,
}

/// What happened.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No directory of the search path has the binary.
    #[error(
        "the plugin's binary is in none of {searched:?}; install it there, or add its directory to the plugin directories"
    )]
    PluginMissing {
        /// The search path.
        searched: Vec<PathBuf>,
    },
    /// The binary has no permission to be executed, or its file system forbids it.
    #[error(
        "the binary is not executable; chmod +x it, and check that its file system is not mounted noexec"
    )]
    NotExecutable,
    /// The binary is for another machine, or no program at all.
    #[error("the binary cannot run here: {found}; install it for this architecture")]
    WrongFormat {
        /// What it is instead.
        found: String,
    },
    /// The process could not be started.
    #[error(
        "the plugin could not be started: {0}; check the limits on processes, memory and open files"
    )]
    NotStarted(io::Error),
    /// The process was started and could not be followed: a pipe or its pidfd failed. It was killed.
    #[error(
        "the plugin's process could not be followed: {0}; check the limits on memory and open files"
    )]
    Process(io::Error),
    /// The process could not be put where it can be found after a crash.
    #[error("the plugin's process could not be enlisted: {0}; check the cgroup of the pod")]
    Enlist(io::Error),
    /// The deadline passed. The process group was killed.
    #[error("no end within {after:?}: the plugin's process group was killed{}; see what the plugin waits for", if *.survivors { ", but is not gone yet" } else { "" })]
    Deadline {
        /// The deadline.
        after: Duration,
        /// Members of the process group were still there after the kill.
        survivors: bool,
    },
    /// A signal ended the process.
    #[error(
        "the plugin was ended by signal {signal}; if it was the kernel, the machine is short of memory"
    )]
    Killed {
        /// The signal's number.
        signal: i32,
    },
    /// The plugin says that it failed.
    #[error("{}{msg}{}{}", code_prefix(*.code, *.exit), details_suffix(.details), remedy(*.code, .msg))]
    Failed {
        /// The code of the error object; none when there was no such object.
        code: Option<u64>,
        /// What the plugin says, or what could be made of its output.
        msg: String,
        /// More of what it says, "" for none.
        details: String,
        /// The exit status.
        exit: i32,
    },
    /// The plugin ended with success and its answer cannot be read.
    #[error(
        "the plugin ended well, but its result cannot be read: {reason}; its output begins {head:?}; update or replace the plugin"
    )]
    Garbage {
        /// Why.
        reason: ResultError,
        /// The first lines of the output.
        head: String,
    },
    /// The plugin printed more than is taken.
    #[error(
        "the plugin printed more than {limit} bytes and was killed; update or replace the plugin"
    )]
    TooMuchOutput {
        /// The limit in bytes.
        limit: usize,
    },
    /// The attachment cannot be given to a plugin.
    #[error("{0}")]
    Attachment(#[from] AttachmentError),
    /// ADD or CHECK without a namespace.
    #[error("no network namespace is named; make one and name its file")]
    NoNetns,
    /// The namespace's file cannot be looked at.
    #[error("the network namespace {path}: {source}; make it before the network is configured", path = path.display())]
    NetnsUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there, but no namespace is pinned on it.
    #[error("{path} is not a network namespace, but a plain file; mount one on it before the network is configured", path = path.display())]
    NotANamespace {
        /// The file.
        path: PathBuf,
    },
    /// An ADD for this container and interface was begun, and no DEL succeeded since.
    #[error(
        "interface {ifname} of container {container_id} is attached already, or a DEL is owed for it; run DEL first"
    )]
    AlreadyAttached {
        /// The container.
        container_id: String,
        /// The interface.
        ifname: String,
    },
    /// CHECK of something that is not attached.
    #[error(
        "interface {ifname} of container {container_id} is not attached; CHECK comes after ADD and before DEL (after a restart, adopt the attachment first)"
    )]
    NotAttached {
        /// The container.
        container_id: String,
        /// The interface.
        ifname: String,
    },
    /// The verb does not exist in the network's version.
    #[error(
        "{verb} exists from CNI {needs}, but the network is run with {has}; raise its cniVersion"
    )]
    NotInVersion {
        /// The verb.
        verb: Verb,
        /// The version it came with.
        needs: SpecVersion,
        /// The network's version.
        has: SpecVersion,
    },
    /// The recorded result of the ADD does not read, so there is nothing to check against.
    #[error("the recorded result cannot be read: {0}; detach and attach the container anew")]
    RecordedResult(ResultError),
}

fn code_prefix(code: Option<u64>, exit: i32) -> String {
    match code {
        Some(code) => format!("failed with code {code} ({}): ", code_meaning(code)),
        None => format!("failed with exit status {exit} and no error object: "),
    }
}

fn details_suffix(details: &str) -> String {
    match details.is_empty() {
        true => String::new(),
        false => format!(" ({details})"),
    }
}

/// What a code means (*Error*): 0 to 99 are the specification's, above are the plugin's own.
pub(crate) fn code_meaning(code: u64) -> &'static str {
    match code {
        1 => "incompatible CNI version",
        2 => "unsupported field in the configuration",
        3 => "unknown container",
        4 => "invalid environment",
        5 => "I/O failure",
        6 => "content that does not decode",
        7 => "invalid network configuration",
        11 => "try again later",
        50 => "the plugin is not available",
        51 => "the plugin is not available, and existing pods may have limited connectivity",
        0..=99 => "reserved by the specification",
        _ => "the plugin's own",
    }
}

fn remedy(code: Option<u64>, msg: &str) -> &'static str {
    match code {
        // EXFULL, in which nobody recognises the limit that was met.
        _ if msg.ends_with("exchange full") => {
            "; the bridge has no free port: the kernel gives one 1023, so attach further pods to \
             another network"
        }
        Some(1) => "; set cniVersion to one that all plugins of the network speak",
        Some(2 | 7) => "; correct the network's configuration",
        Some(11 | 50 | 51) => "; see why the plugin is not ready",
        _ => "",
    }
}

impl CniError {
    pub(crate) fn new(verb: Verb, network: &str, kind: Failure) -> Self {
        CniError(Box::new(Inner {
            verb,
            network: network.to_owned(),
            plugin: None,
            binary: None,
            kind,
            stderr: String::new(),
            then: None,
        }))
    }

    pub(crate) fn of_plugin(mut self, plugin: &str, binary: Option<&Path>) -> Self {
        self.0.plugin = Some(plugin.to_owned());
        self.0.binary = binary.map(Path::to_owned);
        self
    }

    pub(crate) fn with_stderr(mut self, stderr: String) -> Self {
        self.0.stderr = stderr;
        self
    }

    /// Adds what cleaning up met; the first cause stays the first.
    pub(crate) fn and_then_met(mut self, then: CniError) -> Self {
        self.0.then = Some(then);
        self
    }

    /// What happened.
    pub fn kind(&self) -> &Failure {
        &self.0.kind
    }

    /// What was asked for.
    pub fn verb(&self) -> Verb {
        self.0.verb
    }

    /// The network, "" for VERSION.
    pub fn network(&self) -> &str {
        &self.0.network
    }

    /// The plugin (its `type`) that failed; none when the call was refused before any ran.
    pub fn plugin(&self) -> Option<&str> {
        self.0.plugin.as_deref()
    }

    /// The plugin's binary, where it was found.
    pub fn binary(&self) -> Option<&Path> {
        self.0.binary.as_deref()
    }

    /// The plugin's last words on stderr, bounded.
    pub fn stderr(&self) -> &str {
        &self.0.stderr
    }

    /// What cleaning up after the failure met in turn.
    pub fn then(&self) -> Option<&CniError> {
        self.0.then.as_ref()
    }

    /// The code of the plugin's error object.
    pub fn code(&self) -> Option<u64> {
        match &self.0.kind {
            Failure::Failed { code, .. } => *code,
            _ => None,
        }
    }

    /// Whether the effect may have happened all the same: the plugin was cut off, or ended well
    /// and said something that cannot be read.
    pub fn outcome_unknown(&self) -> bool {
        matches!(
            self.0.kind,
            Failure::Deadline { .. }
                | Failure::Killed { .. }
                | Failure::Garbage { .. }
                | Failure::TooMuchOutput { .. }
                | Failure::Process(_)
        )
    }

    /// Whether the plugin asked to be called again later (code 11).
    pub fn retry_later(&self) -> bool {
        self.code() == Some(11)
    }

    /// Whether the plugin says that no container can be attached now (codes 50 and 51).
    pub fn network_not_ready(&self) -> bool {
        matches!(self.code(), Some(50 | 51))
    }

    /// Whether the call was refused before any plugin ran: nothing is owed on its account.
    pub fn nothing_ran(&self) -> bool {
        self.0.plugin.is_none()
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(formatter, "{}", inner.verb)?;
        if !inner.network.is_empty() {
            write!(formatter, " in network {}", inner.network)?;
        }
        if let Some(plugin) = &inner.plugin {
            write!(formatter, ", plugin {plugin}")?;
        }
        if let Some(binary) = &inner.binary {
            write!(formatter, " ({})", binary.display())?;
        }
        write!(formatter, ": {}", inner.kind)?;
        if !inner.stderr.is_empty() {
            write!(formatter, "; stderr: {}", last_lines(&inner.stderr))?;
        }
        match &inner.then {
            Some(then) => write!(formatter, "; then, cleaning up: {then}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CniError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.kind {
            Failure::NotStarted(source) | Failure::Process(source) | Failure::Enlist(source) => {
                Some(source)
            }
            Failure::NetnsUnreadable { source, .. } => Some(source),
            Failure::Garbage { reason, .. } => Some(reason),
            Failure::RecordedResult(source) => Some(source),
            _ => None,
        }
    }
}

/// The last three lines, at most 400 characters: a message is read by people.
fn last_lines(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().rev().take(3).collect();
    let text = lines.into_iter().rev().collect::<Vec<_>>().join(" | ");
    let skip = text.chars().count().saturating_sub(400);
    text.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests;
