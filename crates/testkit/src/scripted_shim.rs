//! A shim (containerd's runtime v2) that records what it is asked and behaves as it is told: what
//! only a shim of virtual machines does, and what no shim should.
//!
//! 1. A test puts it into a directory under a name of its choice by [`install`], with a [`Script`].
//!    Script and record are found beside `argv[0]`: `<name>.script.json` and `<name>.record.jsonl`.
//! 2. `start` leaves a process that serves the task service, and the sandbox service if it is told
//!    to, on `<name>.<id>.sock`. Without a reader of the bundle's `log` it ends at once, as Kata's
//!    does.
//! 3. Create starts the "machine": a sleeper in the sandbox's network namespace and cgroup, whose
//!    pid is answered. It outlives a shim that is killed.
//! 4. `delete` ends what a dead shim left.
//!    The sandbox service is as strict as Kata's (`runtime-rs`): it takes no options but an encoded
//!    `runtime.v1.PodSandboxConfig`. Or it does nothing at all, as that of containerd's shim for runc.
//! 5. For each call (`start`, `delete`, `Create`, `StartSandbox`, …) the script has a list of
//!    [`Act`]s. The n-th call gets the n-th, the last one repeats; without any it behaves well.
//! 6. The test reads the calls by [`Installed::calls`].

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use serde::{Deserialize, Serialize};

use crate::scripted_plugin::{BROKEN, beside, read_records, write_script};

mod machine;
mod program;
mod sandbox;
mod serve;

/// How the shim behaves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The version that `start` answers in JSON; without one it prints its address alone.
    pub json: Option<u32>,
    /// Serves task v3 instead of v2.
    pub task_v3: bool,
    /// Serves the sandbox service besides.
    pub sandbox_api: bool,
    /// That service does nothing, and says that all went well, without a pid: what
    /// containerd-shim-runc-v2 serves since 1.7 (its `pauseService`). StopSandbox ends the shim.
    pub pause_service: bool,
    /// What is done at each call, by its name.
    pub on: BTreeMap<String, Vec<Act>>,
}

/// What to do at one call. The fields are carried out from top to bottom; what is not set is not
/// done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Act {
    /// Sleeps, in milliseconds.
    pub delay_ms: u64,
    /// Sleeps until it is killed.
    pub hang: bool,
    /// Ends by SIGKILL.
    pub die: bool,
    /// Fails with these words, and does nothing.
    pub fail: Option<String>,
    /// `start` only: leaves the shim behind, and prints this instead of its address.
    pub print: Option<String>,
    /// CreateSandbox only: makes the machine, and refuses the options nevertheless.
    pub make_first: bool,
    /// Start only: the machine ends, and that is told as an event, before the answer.
    pub exit_first: bool,
}

impl Script {
    /// One that behaves well, with task v2 and a plain answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what is done at the next call of `name`.
    #[must_use]
    pub fn on(mut self, name: &str, act: Act) -> Self {
        self.on.entry(name.to_owned()).or_default().push(act);
        self
    }

    fn act(&self, name: &str, earlier: usize) -> Act {
        let acts = self.on.get(name).map(Vec::as_slice).unwrap_or_default();
        acts.get(earlier)
            .or(acts.last())
            .cloned()
            .unwrap_or_default()
    }
}

/// One call, as the shim saw it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// `start`, `delete`, or a method.
    pub name: String,
    /// The process that was asked.
    pub pid: u32,
    /// The container.
    pub id: String,
    /// The type of the options that came with it, if any did.
    pub options: Option<String>,
    /// The message in them.
    pub message: Vec<u8>,
    /// The annotations that came with it.
    pub annotations: BTreeMap<String, String>,
    /// The arguments, of the program's calls.
    pub arguments: Vec<String>,
}

impl Call {
    /// The same, with these options.
    fn with(self, options: Option<&Any>) -> Self {
        Self {
            options: options.map(|any| any.type_url.clone()),
            message: options.map(|any| any.value.clone()).unwrap_or_default(),
            ..self
        }
    }
}

/// A shim that has been put into a directory.
#[derive(Debug, Clone)]
pub struct Installed {
    path: PathBuf,
}

/// Puts the shim `binary` into `directory` as `name`, with its script.
///
/// # Errors
/// What the file system says.
pub fn install(
    binary: &Path,
    directory: &Path,
    name: &str,
    script: &Script,
) -> io::Result<Installed> {
    let path = directory.join(name);
    std::os::unix::fs::symlink(binary, &path)?;
    let installed = Installed { path };
    installed.set_script(script)?;
    Ok(installed)
}

impl Installed {
    /// The program.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the script; calls already made still count.
    ///
    /// # Errors
    /// What the file system says.
    pub fn set_script(&self, script: &Script) -> io::Result<()> {
        write_script(&self.path, script)
    }

    /// The calls so far, in order.
    ///
    /// # Errors
    /// What the file system says, or a line that is no call.
    pub fn calls(&self) -> io::Result<Vec<Call>> {
        read_records(&self.path)
    }

    /// The names of the calls so far, in order.
    ///
    /// # Errors
    /// As [`Installed::calls`].
    pub fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.calls()?.into_iter().map(|call| call.name).collect())
    }

    /// Writes a call down, and says what is to be done at it.
    fn record(&self, call: &Call) -> io::Result<Act> {
        let script = self.script()?;
        let earlier = self.names()?;
        let earlier = earlier.iter().filter(|name| **name == call.name).count();
        let mut line = serde_json::to_vec(call)?;
        line.push(b'\n');
        // One write, so that lines of calls at the same time do not mix.
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(beside(&self.path, ".record.jsonl"))?
            .write_all(&line)?;
        Ok(script.act(&call.name, earlier))
    }

    fn script(&self) -> io::Result<Script> {
        match std::fs::read(beside(&self.path, ".script.json")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Script::new()),
            text => Ok(serde_json::from_slice(&text?)?),
        }
    }

    /// Where the shim of a sandbox listens.
    fn socket(&self, id: &str) -> PathBuf {
        beside(&self.path, &format!(".{id}.sock"))
    }
}

/// The shim's program.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().map(|text| text.to_string_lossy().into_owned());
    let path = PathBuf::from(arguments.next().unwrap_or_default());
    let rest: Vec<String> = arguments.collect();
    let shim = Installed { path };
    let done = match rest.first().map(String::as_str) {
        Some(machine::FLAG) => machine::run(),
        Some(serve::FLAG) => serve::serve(&shim, &rest),
        _ => program::call(&shim, &rest),
    };
    done.unwrap_or_else(|error| {
        eprintln!("scripted shim {}: {error}", shim.path.display());
        ExitCode::from(BROKEN)
    })
}

/// The value of a flag of the command line.
fn flag<'a>(arguments: &'a [String], name: &str) -> &'a str {
    let mut pairs = arguments.iter().zip(arguments.iter().skip(1));
    let found = pairs.find(|(flag, _)| *flag == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_follow_the_calls_and_the_last_repeats() {
        let fail = |why: &str| Act {
            fail: Some(why.to_owned()),
            ..Act::default()
        };
        let script = Script::new()
            .on("delete", fail("once"))
            .on("delete", Act::default());
        assert_eq!(script.act("delete", 0), fail("once"));
        assert_eq!(script.act("delete", 1), Act::default());
        assert_eq!(script.act("delete", 7), Act::default());
        assert_eq!(script.act("Create", 0), Act::default());
        let text = serde_json::to_string(&script).unwrap();
        assert_eq!(serde_json::from_str::<Script>(&text).unwrap(), script);
        assert!(serde_json::from_str::<Script>(r#"{"jsn": 3}"#).is_err());
    }
}
