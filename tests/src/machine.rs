//! A machine in a node, which can be rebooted.
//!
//! ```text
//! node ── the test
//!          ├─ podwalk-node-init boot, pid 1 of the machine: own pid, mount, net, IPC, UTS, time
//!          └─ the daemon, in all of these ── sandboxes, plugins
//! ```
//!
//! The plug is pulled by killing the machine's pid 1: the kernel kills every process of its pid
//! namespace at once, and takes its mounts, its interfaces and its rules with the last of them. What
//! is kept is what stands for disks: [`node::disk`], `/etc/cni` and `/var/lib/cni`. Everything else
//! is new after [`Machine::reboot`]: an empty `/run`, no cgroups, another boot id over the kernel's,
//! and clocks that begin again, by a time namespace.
//!
//! The test itself stays outside, in the node. It looks in by [`Machine::enter`], and asks the
//! machine's daemon through [`Machine::client`].

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{ClockId, clock_gettime};

use crate::daemon::{Client, Config, Daemon};
use crate::node::{self, Layout};
use crate::{outside, plugins};

/// A guard against a hang, no measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the clocks show when the machine is up.
const UPTIME: i64 = 5;

/// The machine.
#[derive(Debug)]
pub struct Machine {
    layout: Layout,
    boots: u32,
    running: Running,
}

/// One boot.
#[derive(Debug)]
struct Running {
    unshare: Child,
    init: OwnedFd,
    /// Pid 1, as the node knows it.
    pid: i32,
}

impl Machine {
    /// Boots it for the first time. Call it in a node of the same layout.
    ///
    /// # Errors
    /// What its first process complains of.
    pub fn boot(layout: Layout) -> Result<Self> {
        Ok(Self {
            layout,
            boots: 1,
            running: Running::boot(layout, 1)?,
        })
    }

    /// Pulls the plug while this daemon, if there is one, and whatever else is in there runs, and
    /// boots again.
    ///
    /// # Errors
    /// If something outlives that, or as [`boot`](Self::boot).
    pub fn reboot(&mut self, daemon: Option<Daemon>) -> Result<()> {
        self.reboot_after(daemon, || Ok(()))
    }

    /// [`reboot`](Self::reboot), and `while_off` happens while it is off.
    ///
    /// # Errors
    /// As [`reboot`](Self::reboot), or what `while_off` returns.
    pub fn reboot_after(
        &mut self,
        daemon: Option<Daemon>,
        while_off: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        // It takes pid 1 with it.
        self.running.unshare.kill()?;
        self.running.unshare.wait()?;
        // Pid 1 is gone only when all others are, and the daemon only when its parent, which is the
        // test, has waited for it.
        drop(daemon);
        let ended = node::is_readable_within(self.running.init.as_fd(), PATIENCE)?;
        ensure!(ended, "something in the machine does not die");
        remove_cgroups()?;
        while_off()?;
        self.boots += 1;
        self.running = Running::boot(self.layout, self.boots)?;
        Ok(())
    }

    /// Runs `body` in the machine: it sees the machine's files, processes and network, and what it
    /// starts is in there. It cannot start threads, and `/proc/self` is not there.
    ///
    /// # Errors
    /// What `body` returns, or that the machine is not running.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        // The path of the test's own program cannot be asked for in there.
        node::binaries()?;
        // A thread of its own, which ends there: no other one is ever in the machine.
        std::thread::scope(|scope| {
            let visitor = scope.spawn(|| {
                self.running.join()?;
                body()
            });
            let ended = visitor.join();
            ended.unwrap_or_else(|_| Err(anyhow!("it panicked in the machine")))
        })
    }

    /// How often it was booted.
    #[must_use]
    pub fn boots(&self) -> u32 {
        self.boots
    }

    /// Starts a daemon in the machine, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start(&self, config: &Config) -> Result<Daemon> {
        let (mut daemon, ready) = self.spawn(config)?;
        daemon.await_ready(&ready)?;
        Ok(daemon)
    }

    /// Starts a daemon in the machine without waiting.
    ///
    /// # Errors
    /// As [`Daemon::spawn`].
    pub fn spawn(&self, config: &Config) -> Result<(Daemon, UnixDatagram)> {
        self.enter(|| Daemon::spawn(&by_its_clocks(config)?))
    }

    /// A path in the machine as it is reached from the node.
    #[must_use]
    pub fn path(&self, inside: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.running.pid));
        root.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// A client, in the node, of a daemon in the machine.
    #[must_use]
    pub fn client(&self, config: &Config) -> Client {
        Client::at(self.path(&config.socket()))
    }
}

impl Running {
    fn boot(layout: Layout, number: u32) -> Result<Self> {
        let boot_id = node::disk().join("boot-id");
        fs::write(&boot_id, format!("00000000-0000-4000-8000-{number:012}\n"))?;
        let offset = |clock| (UPTIME - clock_gettime(clock).tv_sec).min(0).to_string();
        let mut unshare = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--ipc", "--uts", "--time"])
            .args(["--boottime", &offset(ClockId::Boottime)])
            .args(["--monotonic", &offset(ClockId::Monotonic)])
            .args(["--fork", "--kill-child"])
            .arg(node::binary("podwalk-node-init", "podwalk-tests")?)
            .args(["boot", "--", layout.word()])
            .arg(boot_id)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare, from util-linux")?;
        let stdout = unshare.stdout.take().context("its stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.context("the machine does not boot, see above")?;
        Ok(Self {
            unshare,
            init: pidfd_open(pid, PidfdFlags::empty())?,
            pid: pid.as_raw_pid(),
        })
    }

    /// Takes the calling thread there.
    fn join(&self) -> Result<()> {
        // A thread that shares its root directory with others cannot have another one.
        unshare(CloneFlags::CLONE_FS)?;
        let all = CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS;
        setns(&self.init, all).context("the machine's namespaces")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What is left of it goes with the node; here it is only ended.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

/// The configuration with which a daemon runs by the machine's clocks: only a process that has one
/// thread can be taken there, so that is done by one that then becomes the daemon.
fn by_its_clocks(config: &Config) -> Result<Config> {
    let mut config = config.clone();
    let program = match config.program.take() {
        Some(program) => program,
        None => node::binary("podwalk", "podwalk")?,
    };
    let wrapper = node::disk().join("by-the-machine-s-clocks");
    let script = format!(
        "exec nsenter --time=/proc/1/ns/time -- '{}' \"$@\"",
        program.display()
    );
    plugins::write_program(&wrapper, &script)?;
    config.program = Some(wrapper);
    Ok(config)
}

/// No cgroup outlives a reboot; the kernel below this machine keeps those that are empty.
fn remove_cgroups() -> Result<()> {
    for mount in outside::mounts()? {
        if mount.kind != "cgroup" && mount.kind != "cgroup2" {
            continue;
        }
        for entry in fs::read_dir(&mount.target).context(mount.target)? {
            let entry = entry?;
            // The node's own processes are in there, where it has one hierarchy.
            if entry.file_type()?.is_dir() && entry.file_name() != "init.scope" {
                node::cgroups::remove(&entry.path())?;
            }
        }
    }
    Ok(())
}
