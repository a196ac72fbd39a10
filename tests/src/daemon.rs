//! The real daemon and the real client, as an operator would start them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

use crate::node;

/// How long a daemon may take to say that it is ready, or to end when it was asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a daemon keeps its things, and how it is started.
#[derive(Debug, Clone)]
pub struct Config {
    /// `--state-dir`: what survives a reboot.
    pub state_dir: PathBuf,
    /// `--run-dir`: what does not.
    pub run_dir: PathBuf,
    /// `--netns-dir`. `ip -n` knows no other than `/run/netns`.
    pub netns_dir: PathBuf,
    /// `--cni-conf-dir`.
    pub cni_conf_dir: PathBuf,
    /// `--cni-bin-dir`, each.
    pub cni_bin_dirs: Vec<PathBuf>,
    /// The text of the configuration file; without one, none is named.
    pub file: Option<String>,
    /// The binary that serves; without one, the real `podwalk`.
    pub program: Option<PathBuf>,
    /// Further arguments of `serve`.
    pub arguments: Vec<String>,
    /// Further variables of its environment.
    pub environment: Vec<(String, String)>,
}

impl Default for Config {
    /// A daemon on the node's disk, with the usual directories otherwise.
    fn default() -> Self {
        Self::named("podwalk")
    }
}

impl Config {
    /// A daemon with state and run directories of its own, which may be one of several.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            state_dir: node::disk().join(name),
            run_dir: Path::new("/run").join(name),
            netns_dir: PathBuf::from("/run/netns"),
            cni_conf_dir: PathBuf::from("/etc/cni/net.d"),
            cni_bin_dirs: vec![PathBuf::from("/usr/lib/cni")],
            file: None,
            program: None,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// The default one with the text of a configuration file.
    #[must_use]
    pub fn with_file(text: impl Into<String>) -> Self {
        Self {
            file: Some(text.into()),
            ..Self::default()
        }
    }

    /// The socket on which the daemon listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("podwalk.sock")
    }

    /// The file that gets what the daemon writes to stderr, over all its lives.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.state_dir.with_extension("log")
    }

    /// A client of the daemon, which need not be there.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::at(self.socket())
    }

    /// The command `podwalk serve` with all of this.
    ///
    /// # Errors
    /// If the binary was not built, or the configuration file cannot be written.
    pub fn command(&self) -> Result<Command> {
        let mut command = match &self.program {
            Some(program) => Command::new(program),
            None => Command::new(podwalk()?),
        };
        command.arg("serve");
        if let Some(text) = &self.file {
            let path = self.state_dir.with_extension("toml");
            fs::write(&path, text).with_context(|| path.display().to_string())?;
            command.arg("--config").arg(path);
        }
        let directories = [
            ("--state-dir", &self.state_dir),
            ("--run-dir", &self.run_dir),
            ("--netns-dir", &self.netns_dir),
            ("--cni-conf-dir", &self.cni_conf_dir),
        ];
        for (option, directory) in directories {
            command.arg(option).arg(directory);
        }
        for directory in &self.cni_bin_dirs {
            command.arg("--cni-bin-dir").arg(directory);
        }
        command.arg("--listen").arg(self.socket());
        command.args(&self.arguments);
        command.envs(self.environment.iter().cloned());
        Ok(command)
    }
}

/// A running `podwalk serve`. Dropping it kills it; its pods are left to whoever ends the node.
#[derive(Debug)]
pub struct Daemon {
    config: Config,
    child: Child,
}

impl Daemon {
    /// Starts the daemon and waits until it says `READY=1`.
    ///
    /// # Errors
    /// If the binary was not built, if the daemon ends before it is ready (with the end of its log),
    /// or if it is not ready after a minute.
    pub fn start(config: &Config) -> Result<Self> {
        let mut daemon = Self::spawn(config)?;
        daemon.0.await_ready(&daemon.1)?;
        Ok(daemon.0)
    }

    /// Starts the daemon without waiting; the socket is the one it will announce itself on.
    ///
    /// # Errors
    /// As [`start`](Self::start), readiness excepted.
    pub fn spawn(config: &Config) -> Result<(Self, UnixDatagram)> {
        let notify = config.state_dir.with_extension("notify");
        let _ = fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify).context("the readiness socket")?;
        let log = File::options().create(true).append(true).open(config.log());
        let child = config
            .command()?
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.context("the daemon's log")?)
            .spawn()
            .context("podwalk serve")?;
        let config = config.clone();
        Ok((Self { config, child }, socket))
    }

    /// The daemon's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it was started.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self) -> Client {
        self.config.client()
    }

    /// What it has written to stderr so far, in all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.config.log()).unwrap_or_default()
    }

    /// Expects that no daemon has panicked that wrote this log: a panic ends one task or one
    /// connection, and nobody else may notice.
    ///
    /// # Errors
    /// The log, if one has.
    pub fn has_not_panicked(&self) -> Result<()> {
        let log = self.log();
        ensure!(!log.contains("panicked"), "{log}");
        Ok(())
    }

    /// Kills it with SIGKILL, as a crash would, and sees it gone.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill9(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for its end.
    ///
    /// # Errors
    /// If it does not end within a minute.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        kill_process(pid_of(&self.child)?, Signal::TERM)?;
        match self.await_end(PATIENCE)? {
            Some(status) => Ok(status),
            None => bail!("SIGTERM did not end the daemon:\n{}", tail(&self.log())),
        }
    }

    /// Waits until it ends by itself; `None` if it has not by then.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn await_end(&mut self, within: Duration) -> Result<Option<ExitStatus>> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(status));
        }
        let pidfd = pidfd_open(pid_of(&self.child)?, PidfdFlags::empty())?;
        let ended = await_any(&mut [PollFd::new(&pidfd, PollFlags::IN)], within)?;
        Ok(if ended {
            Some(self.child.wait()?)
        } else {
            None
        })
    }

    /// Ends it as [`kill9`](Self::kill9) does and starts another with the same configuration.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn crash_and_restart(self) -> Result<Self> {
        let config = self.config.clone();
        self.kill9()?;
        Self::start(&config)
    }

    /// Waits for `READY=1` on the socket.
    ///
    /// # Errors
    /// If the daemon ends first or the time is over.
    pub fn await_ready(&mut self, socket: &UnixDatagram) -> Result<()> {
        let pidfd = pidfd_open(pid_of(&self.child)?, PidfdFlags::empty())?;
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut fds = [
                PollFd::new(socket, PollFlags::IN),
                PollFd::new(&pidfd, PollFlags::IN),
            ];
            ensure!(
                await_any(&mut fds, left)?,
                "the daemon is not ready after {PATIENCE:?}:\n{}",
                tail(&self.log())
            );
            if fds[0].revents().contains(PollFlags::IN) {
                let mut message = [0; 4096];
                let length = socket.recv(&mut message)?;
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                if text.lines().any(|line| line == "READY=1") {
                    return Ok(());
                }
            } else {
                let status = self.child.wait()?;
                bail!("the daemon ended, {status}:\n{}", tail(&self.log()));
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill and the wait returns at once.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the end of the daemon's log:\n{}", tail(&self.log()));
        }
    }
}

/// A caller of the client commands.
#[derive(Debug, Clone)]
pub struct Client {
    address: PathBuf,
}

/// How a client command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The exit code, or 128 and the signal's number.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Answer {
    /// What comes of a command, which is run to its end.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn of(command: &mut Command) -> Result<Self> {
        let ran = command.output().context("podwalk")?;
        let status = ran.status;
        let signal = status.signal().map_or(-1, |signal| 128 + signal);
        Ok(Self {
            code: status.code().unwrap_or(signal),
            stdout: String::from_utf8_lossy(&ran.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
        })
    }

    /// Itself, if the command succeeded.
    ///
    /// # Errors
    /// Its exit code and stderr, if not.
    pub fn done(self) -> Result<Self> {
        ensure!(
            self.code == 0,
            "exit code {}: {}{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }
}

impl Client {
    /// A client of whoever listens there.
    #[must_use]
    pub fn at(address: PathBuf) -> Self {
        Self { address }
    }

    /// The daemon's socket.
    #[must_use]
    pub fn address(&self) -> &Path {
        &self.address
    }

    /// The command `podwalk ARGUMENTS` that talks to this daemon.
    ///
    /// # Errors
    /// If the binary was not built.
    pub fn command<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Command> {
        let mut command = Command::new(podwalk()?);
        command
            .args(arguments)
            .env("PODWALK_ADDRESS", &self.address)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs `podwalk ARGUMENTS` to its end.
    ///
    /// # Errors
    /// If it cannot be run; that it fails is in the answer.
    pub fn call<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Answer> {
        Answer::of(&mut self.command(arguments)?)
    }

    /// Runs `podwalk ARGUMENTS --output json`, which must succeed, and reads what it printed.
    ///
    /// # Errors
    /// If it fails or prints something else.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [arguments, &["--output", "json"]].concat();
        let answer = self.call(&arguments)?.done();
        let answer = answer.with_context(|| format!("podwalk {}", arguments.join(" ")))?;
        serde_json::from_str(&answer.stdout).with_context(|| answer.stdout.clone())
    }

    /// `podwalk run ARGUMENTS`, which must succeed: the pod's id.
    ///
    /// # Errors
    /// If it fails or does not print one line.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let answer = self.call([&["run"], arguments].concat())?.done();
        let answer = answer.with_context(|| format!("podwalk run {}", arguments.join(" ")))?;
        let id = answer.stdout.trim();
        let is_id = !id.is_empty() && id.split_whitespace().count() == 1;
        ensure!(is_id, "run printed {id:?} in place of an id");
        Ok(id.to_owned())
    }

    /// `podwalk inspect POD`.
    ///
    /// # Errors
    /// If there is no such pod.
    pub fn inspect(&self, pod: &str) -> Result<Value> {
        self.json(&["inspect", pod])
    }

    /// `podwalk ps`, with `-a` if `all`: its rows.
    ///
    /// # Errors
    /// If it fails or prints no array.
    pub fn list(&self, all: bool) -> Result<Vec<Value>> {
        let arguments: &[&str] = if all { &["ps", "-a"] } else { &["ps"] };
        let Value::Array(rows) = self.json(arguments)? else {
            bail!("ps printed no array");
        };
        Ok(rows)
    }

    /// `podwalk stop POD`, which must succeed.
    ///
    /// # Errors
    /// If it does not.
    pub fn stop(&self, pod: &str) -> Result<()> {
        self.call(["stop", pod])?.done().map(drop)
    }

    /// `podwalk rm POD`, which must succeed.
    ///
    /// # Errors
    /// If it does not.
    pub fn remove(&self, pod: &str) -> Result<()> {
        self.call(["rm", pod])?.done().map(drop)
    }
}

fn podwalk() -> Result<PathBuf> {
    node::binary("podwalk", "podwalk")
}

/// Names the release binary, for the tests that are of it and no other.
pub const RELEASE: &str = "PODWALK_RELEASE_BINARY";

/// The daemon as it is released; where nobody says where that is, and `CI` is not set, the one that
/// was built for tests.
///
/// # Errors
/// If it is not where the environment says, or the environment does not say and `CI` is set.
pub fn released() -> Result<PathBuf> {
    let Some(path) = std::env::var_os(RELEASE).map(PathBuf::from) else {
        ensure!(
            std::env::var_os("CI").is_none(),
            "{RELEASE} is not set: build it by `cargo build --release -p podwalk`, and name it"
        );
        return podwalk();
    };
    ensure!(
        path.is_file(),
        "{RELEASE}: {} is missing: run `cargo build --release -p podwalk`",
        path.display()
    );
    Ok(path)
}

fn pid_of(child: &Child) -> Result<Pid> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.context("a pid")
}

fn await_any(fds: &mut [PollFd<'_>], within: Duration) -> Result<bool> {
    let end = Instant::now() + within;
    loop {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now()))?;
        match poll(fds, Some(&left)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).context("poll"),
        }
    }
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
