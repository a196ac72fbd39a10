//! A CNI plugin that records what it is given and answers as it is told.
//!
//! 1. A test puts it into a plugin directory under a name of its choice by [`install`], with a
//!    [`Script`]: for each verb a list of [`Answer`]s. The n-th call of a verb gets the n-th answer;
//!    the last one repeats.
//! 2. A runtime calls `<directory>/<name>`. The environment of plugins is clean, so script and
//!    record are found beside `argv[0]`: `<name>.script.json` and `<name>.record.jsonl`.
//! 3. Before anything else, the call is written to the record as one line of JSON.
//! 4. Then the answer is carried out in the order of its fields. A verb without an answer succeeds:
//!    ADD hands on its `prevResult` (or an empty result), VERSION names every version.
//! 5. The test reads the [`Record`]s by [`Installed::records`].
//!
//! What goes wrong inside the plugin itself (a script that does not read) ends it with status 97
//! and a word on stderr, which no answer does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The exit status that says that the plugin's own script or record failed.
pub const BROKEN: u8 = 97;

/// What to do at one call. The fields are carried out from top to bottom; what is not set is
/// not done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// Leaves stdin unread; the record then has no configuration.
    pub ignore_stdin: bool,
    /// Starts a child that keeps stdout and stderr open until it is killed, and goes on.
    pub grandchild: Option<Delegate>,
    /// Writes to stderr.
    pub stderr: Option<String>,
    /// Waits until this file exists.
    pub wait_for: Option<PathBuf>,
    /// Sleeps, in milliseconds.
    pub delay_ms: u64,
    /// Starts a child that does its part, and waits for it, as plugins do with IPAM.
    pub delegate: Option<Delegate>,
    /// Makes this file: an effect that a test can look for.
    pub touch: Option<PathBuf>,
    /// Writes this text to stdout.
    pub stdout: Option<String>,
    /// Writes this many bytes to stdout.
    pub flood: u64,
    /// Writes this JSON to stdout.
    pub result: Option<Value>,
    /// Says what it would say without an answer: ADD hands on its `prevResult`.
    pub succeed: bool,
    /// Writes this error object to stdout and ends with status 1.
    pub error: Option<Value>,
    /// Sleeps until it is killed.
    pub hang: bool,
    /// Ends by SIGABRT.
    pub abort: bool,
    /// Ends with this status.
    pub exit: Option<u8>,
}

/// What a child of the plugin does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delegate {
    /// Writes its process id here, so that a test can look for it.
    pub pid_file: Option<PathBuf>,
    /// Waits until this file exists; without it a grandchild waits for ever.
    pub wait_for: Option<PathBuf>,
    /// Sleeps, in milliseconds.
    pub delay_ms: u64,
    /// Makes this file in the end: the effect that comes too late.
    pub touch: Option<PathBuf>,
}

/// For each verb its answers, first call first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Script(BTreeMap<String, Vec<Answer>>);

impl Script {
    /// A script with which everything succeeds.
    pub fn new() -> Self {
        Script::default()
    }

    /// Adds an answer for the next call of `verb` (`ADD`, `DEL`, `CHECK`, `STATUS`, `VERSION`, `GC`).
    #[must_use]
    pub fn on(mut self, verb: &str, answer: Answer) -> Self {
        self.0.entry(verb.to_owned()).or_default().push(answer);
        self
    }

    /// The answer to the call of `verb` that comes after `earlier` others.
    pub fn answer(&self, verb: &str, earlier: usize) -> Option<&Answer> {
        let answers = self.0.get(verb)?;
        answers.get(earlier).or(answers.last())
    }
}

/// One call, as the plugin saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// CNI_COMMAND.
    pub command: String,
    /// The arguments after the name.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// The configuration; a string where it is no JSON, null where it was not read.
    pub stdin: Value,
    /// The process id.
    pub pid: u32,
    /// The network namespace that the plugin runs in, as `net:[…]`.
    pub netns: String,
}

/// A plugin that has been put into a directory.
#[derive(Debug, Clone)]
pub struct Installed {
    path: PathBuf,
}

/// Puts the plugin `binary` into `directory` as `name`, with its script.
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

/// Writes the script of the program at `path`. In one step: a call may read it at this moment.
pub(crate) fn write_script(path: &Path, script: &impl Serialize) -> io::Result<()> {
    let fresh = beside(path, ".script.new");
    std::fs::write(&fresh, serde_json::to_vec(script)?)?;
    std::fs::rename(fresh, beside(path, ".script.json"))
}

/// Reads what the program at `path` has recorded, in order.
pub(crate) fn read_records<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<T>> {
    let lines = crate::lines::whole(&beside(path, ".record.jsonl"))?;
    let records = lines.iter().map(|line| serde_json::from_str(line));
    records.map(|read| read.map_err(io::Error::from)).collect()
}

impl Installed {
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
    /// What the file system says, or a line that is no record.
    pub fn records(&self) -> io::Result<Vec<Record>> {
        read_records(&self.path)
    }

    /// The verbs of the calls so far, in order.
    ///
    /// # Errors
    /// As [`Installed::records`].
    pub fn commands(&self) -> io::Result<Vec<String>> {
        Ok(self.records()?.into_iter().map(|r| r.command).collect())
    }
}

/// The plugin's program.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = PathBuf::from(arguments.next().unwrap_or_default());
    let rest: Vec<OsString> = arguments.collect();
    let outcome = match rest.as_slice() {
        [flag, delegate] if flag == "--delegate" => run_delegate(&delegate.to_string_lossy()),
        _ => run_call(&name, &rest),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("scripted plugin {}: {error}", name.display());
        ExitCode::from(BROKEN)
    })
}

fn run_call(name: &Path, arguments: &[OsString]) -> io::Result<ExitCode> {
    let script: Script = match std::fs::read(beside(name, ".script.json")) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Script::new(),
        Err(error) => return Err(error),
    };
    let command = std::env::var("CNI_COMMAND").unwrap_or_default();
    let installed = Installed {
        path: name.to_owned(),
    };
    let earlier = installed.commands()?;
    let earlier = earlier.iter().filter(|verb| **verb == command).count();
    let answer = script.answer(&command, earlier);
    let ignored = answer.is_some_and(|answer| answer.ignore_stdin);
    let stdin = if ignored { Value::Null } else { read_stdin()? };
    write_record(name, &command, arguments, &stdin)?;
    match answer {
        Some(answer) => carry_out(answer, &command, &stdin),
        None => succeed(&command, &stdin),
    }
}

fn read_stdin() -> io::Result<Value> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))))
}

fn write_record(
    name: &Path,
    command: &str,
    arguments: &[OsString],
    stdin: &Value,
) -> io::Result<()> {
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let record = Record {
        command: command.to_owned(),
        arguments: arguments.iter().cloned().map(lossy).collect(),
        environment: std::env::vars_os()
            .map(|(key, value)| (lossy(key), lossy(value)))
            .collect(),
        stdin: stdin.clone(),
        pid: std::process::id(),
        netns: lossy(std::fs::read_link("/proc/self/ns/net")?.into_os_string()),
    };
    let mut line = serde_json::to_vec(&record)?;
    line.push(b'\n');
    // One write, so that lines of calls at the same time do not mix.
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(beside(name, ".record.jsonl"))?
        .write_all(&line)
}

fn succeed(command: &str, stdin: &Value) -> io::Result<ExitCode> {
    let version = stdin.get("cniVersion").cloned().unwrap_or(Value::Null);
    let said = match command {
        "ADD" => stdin
            .get("prevResult")
            .cloned()
            .unwrap_or_else(|| json!({ "cniVersion": version })),
        "VERSION" => json!({
            "cniVersion": "1.1.0",
            "supportedVersions": ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
        }),
        _ => return Ok(ExitCode::SUCCESS),
    };
    print(said.to_string().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn carry_out(answer: &Answer, command: &str, stdin: &Value) -> io::Result<ExitCode> {
    if let Some(grandchild) = &answer.grandchild {
        start_delegate(grandchild)?;
    }
    if let Some(text) = &answer.stderr {
        io::stderr().write_all(text.as_bytes())?;
    }
    await_file(answer.wait_for.as_deref());
    std::thread::sleep(Duration::from_millis(answer.delay_ms));
    if let Some(delegate) = &answer.delegate {
        start_delegate(delegate)?.wait()?;
    }
    touch(answer.touch.as_deref())?;
    speak(answer)?;
    if answer.succeed {
        succeed(command, stdin)?;
    }
    if answer.hang {
        sleep_for_ever();
    }
    if answer.abort {
        std::process::abort();
    }
    let status = match &answer.error {
        Some(_) => 1,
        None => 0,
    };
    Ok(ExitCode::from(answer.exit.unwrap_or(status)))
}

fn speak(answer: &Answer) -> io::Result<()> {
    if let Some(text) = &answer.stdout {
        print(text.as_bytes())?;
    }
    let block = [b'x'; 64 * 1024];
    let mut left = answer.flood;
    while left > 0 {
        let size = left.min(block.len() as u64);
        print(&block[..size as usize])?;
        left -= size;
    }
    for value in [&answer.result, &answer.error].into_iter().flatten() {
        print(value.to_string().as_bytes())?;
    }
    Ok(())
}

fn start_delegate(delegate: &Delegate) -> io::Result<std::process::Child> {
    Command::new(std::env::current_exe()?)
        .arg("--delegate")
        .arg(serde_json::to_string(delegate)?)
        .stdin(Stdio::null())
        .spawn()
}

fn run_delegate(delegate: &str) -> io::Result<ExitCode> {
    let delegate: Delegate = serde_json::from_str(delegate)?;
    if let Some(path) = &delegate.pid_file {
        // In one step: who sees the file sees the whole number.
        let fresh = beside(path, ".new");
        std::fs::write(&fresh, std::process::id().to_string())?;
        std::fs::rename(fresh, path)?;
    }
    if delegate.wait_for.is_none() && delegate.touch.is_none() && delegate.delay_ms == 0 {
        sleep_for_ever();
    }
    await_file(delegate.wait_for.as_deref());
    std::thread::sleep(Duration::from_millis(delegate.delay_ms));
    touch(delegate.touch.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn await_file(path: Option<&Path>) {
    while path.is_some_and(|path| !path.exists()) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn touch(path: Option<&Path>) -> io::Result<()> {
    match path {
        Some(path) => std::fs::write(path, b""),
        None => Ok(()),
    }
}

pub(crate) fn sleep_for_ever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

pub(crate) fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// The path with `suffix` after its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_follow_the_calls_and_the_last_repeats() {
        let exit = |status| Answer {
            exit: Some(status),
            ..Answer::default()
        };
        let script = Script::new().on("ADD", exit(1)).on("ADD", exit(2));
        assert_eq!(script.answer("ADD", 0), Some(&exit(1)));
        assert_eq!(script.answer("ADD", 1), Some(&exit(2)));
        assert_eq!(script.answer("ADD", 9), Some(&exit(2)));
        assert_eq!(script.answer("DEL", 0), None);
    }

    #[test]
    fn a_script_survives_its_file_and_refuses_what_it_does_not_know() {
        let script = Script::new().on(
            "DEL",
            Answer {
                error: Some(json!({"code": 3})),
                ..Answer::default()
            },
        );
        let text = serde_json::to_string(&script).unwrap();
        assert_eq!(serde_json::from_str::<Script>(&text).unwrap(), script);
        assert!(serde_json::from_str::<Script>(r#"{"ADD": [{"dely_ms": 1}]}"#).is_err());
    }
}
