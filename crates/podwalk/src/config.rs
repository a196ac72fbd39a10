//! The configuration file. Unknown keys are refused, with their line.
//!
//! Everything has a default, so that the daemon runs without a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;

mod check;

#[cfg(feature = "daemon")]
pub(crate) use check::check_socket;

/// Where the file is looked for when none is named.
pub const DEFAULT_PATH: &str = "/etc/podwalk/config.toml";

/// All of the configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The journal and the instance's name: must survive reboots.
    pub state_dir: PathBuf,
    /// Bundles and runtime state: gone after a reboot.
    pub run_dir: PathBuf,
    /// The daemon's socket.
    pub listen: PathBuf,
    /// Where namespaces are pinned.
    pub netns_dir: PathBuf,
    /// Start although our mounts will not outlive us, because this is not PID
    /// 1's mount namespace.
    pub private_mounts: bool,
    /// The CNI runtime.
    pub cni: Cni,
    /// The runtime handlers.
    pub runtime: Runtime,
    /// What happens with starts that a crash interrupted.
    pub recovery: Recovery,
    /// What happens with undos that fail.
    pub debts: Debts,
    /// Which sysctls pods may set.
    pub sysctls: Sysctls,
    /// Where cgroups are made.
    pub cgroup: Cgroup,
    /// How the daemon logs.
    pub log: Log,
    /// How long SIGTERM waits for effects under way, seconds.
    pub shutdown_seconds: u64,
}

/// The CNI runtime.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cni {
    /// Where conflists are.
    pub conf_dir: PathBuf,
    /// Where plugins are: the first directory that has one wins.
    pub bin_dirs: Vec<PathBuf>,
    /// Networks that nobody but this daemon uses: after a restart CNI GC is run
    /// there, and addresses that host-local has torn are given back.
    pub exclusive_networks: Vec<String>,
    /// How long one plugin may take, seconds.
    pub plugin_seconds: u64,
    /// How long all of a pod's plugins may take together, seconds.
    pub step_seconds: u64,
    /// Networks by name, where something is said of one.
    pub networks: BTreeMap<String, Network>,
}

/// What is said of one network: of all its attachments, or of those of one
/// handler's pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// When it is attached.
    pub attach: Option<Attach>,
}

/// When a network is attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// Before the sandbox starts, which then finds it.
    #[default]
    BeforeStart,
    /// When the sandbox runs; the pod is ready after it. Not for the default
    /// network.
    AfterStart,
}

/// The runtime handlers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// The handler of pods that name none.
    pub default: String,
    /// Handlers by name. Those that are known need no entry.
    pub handlers: BTreeMap<String, Handler>,
}

/// One runtime handler. What is left out is as it is known for a handler of this name, and
/// otherwise as for crun.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Handler {
    /// The runtime's binary, or the shim's: a path, or a name that is looked up in `PATH`.
    pub binary: PathBuf,
    /// How it is talked to; none for what is known of the name, and else the command line.
    pub kind: Option<Kind>,
    /// The runtime's own configuration file, which a shim is told of (Kata's).
    pub config_path: Option<PathBuf>,
    /// The OCI runtime behind containerd-shim-runc-v2.
    pub oci_runtime: Option<PathBuf>,
    /// By which of a shim's services sandboxes are made.
    pub api: Option<ShimService>,
    /// Arguments before the subcommand.
    pub arguments: Vec<String>,
    /// Whether the sandbox is a virtual machine, or a kernel of its own as gVisor's.
    pub vm: Option<bool>,
    /// Whether a start takes something away from the network namespace; none for: a virtual
    /// machine's does.
    pub consumes_network: Option<bool>,
    /// How long making a sandbox may take, seconds; none for the default of 30.
    pub start_seconds: Option<u64>,
    /// How long a killed sandbox may take to be gone, seconds; none for the default of 10.
    pub kill_seconds: Option<u64>,
    /// How long the runtime may take to forget it, seconds; none for the default of 20.
    pub delete_seconds: Option<u64>,
    /// Where the conflists of this handler's pods are; none for `cni.conf_dir`.
    pub cni_conf_dir: Option<PathBuf>,
    /// The parent of its sandboxes' cgroups, for pods that name none; none for `cgroup.parent`.
    pub cgroup_parent: Option<String>,
    /// What pods get that ask for the runtime's default seccomp profile.
    pub seccomp: DefaultSeccomp,
    /// Which of a pod's own annotations the runtime sees: names, or beginnings with a `*` behind
    /// them, such as `io.katacontainers.*`.
    pub annotations: Vec<String>,
    /// Networks by name, for the pods of this handler: this goes before what
    /// is said under `cni.networks`.
    pub networks: BTreeMap<String, Network>,
}

/// How a handler's program is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// By the command line of an OCI runtime.
    Oci,
    /// As a shim (containerd's runtime v2).
    Shim,
}

/// By which service a shim makes sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShimService {
    /// The task service, which every shim has.
    Task,
    /// The sandbox service.
    Sandbox,
    /// The sandbox service where there is one.
    Auto,
}

/// What stands for the runtime's default seccomp profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultSeccomp {
    /// Podwalk's own, which allows what a sandbox needs.
    #[default]
    Default,
    /// None: the runtime brings its own.
    Unconfined,
}

impl Handler {
    /// Its times in seconds, as far as they are given, by their keys.
    fn seconds(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let given = [
            ("start_seconds", self.start_seconds),
            ("kill_seconds", self.kill_seconds),
            ("delete_seconds", self.delete_seconds),
        ];
        given
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
    }
}

/// What happens with starts that a crash interrupted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recovery {
    /// Resume them; otherwise they are undone.
    pub resume: bool,
    /// How often one step may be begun.
    pub attempts: u32,
    /// How many pods recover at once.
    pub at_once: usize,
}

/// What happens with undos that fail.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Debts {
    /// How long Stop and Remove report a network debt, and how long a start waits for a sandbox that
    /// cannot be told, seconds.
    pub grace_seconds: u64,
}

/// Which sysctls pods may set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sysctls {
    /// Besides the safe ones: names, or patterns such as `net.core.*`.
    pub allowed_unsafe: Vec<String>,
}

/// Where cgroups are made.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cgroup {
    /// The parent of the sandboxes' cgroups, for pods that name none.
    pub parent: String,
    /// The cgroup of processes that an effect starts: plugins, runtimes.
    pub effects: String,
}

/// How the daemon logs, to stderr.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// A `tracing` filter, for example `info` or `podwalk=debug`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/podwalk".into(),
            run_dir: "/run/podwalk".into(),
            listen: "/run/podwalk/podwalk.sock".into(),
            netns_dir: "/var/run/netns".into(),
            private_mounts: false,
            cni: Cni::default(),
            runtime: Runtime::default(),
            recovery: Recovery::default(),
            debts: Debts::default(),
            sysctls: Sysctls::default(),
            cgroup: Cgroup::default(),
            log: Log::default(),
            shutdown_seconds: 20,
        }
    }
}

impl Default for Cni {
    fn default() -> Self {
        Self {
            conf_dir: "/etc/cni/net.d".into(),
            bin_dirs: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()],
            exclusive_networks: Vec::new(),
            plugin_seconds: 30,
            step_seconds: 60,
            networks: BTreeMap::new(),
        }
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            default: "crun".to_owned(),
            handlers: BTreeMap::new(),
        }
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            resume: true,
            attempts: 3,
            at_once: 16,
        }
    }
}

impl Default for Debts {
    fn default() -> Self {
        Self { grace_seconds: 120 }
    }
}

impl Default for Cgroup {
    fn default() -> Self {
        Self {
            parent: "podwalk".to_owned(),
            effects: "podwalk-effects".to_owned(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

impl Config {
    /// Reads a file; without one named, the default one if it is there.
    ///
    /// # Errors
    /// With the file's path, the line and the key.
    pub fn load(named: Option<&Path>) -> anyhow::Result<Self> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .with_context(|| format!("the configuration in {} is not valid", path.display())),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(error)
                .with_context(|| format!("the configuration in {} cannot be read", path.display())),
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// With the line and the key.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    /// The socket on which a shim's events are heard. Each handler has one, so that their listeners
    /// are not in each other's way.
    pub fn events_of(&self, handler: &str) -> PathBuf {
        self.run_dir.join(format!("{handler}.events"))
    }

    /// How long one plugin may take.
    pub fn plugin_deadline(&self) -> Duration {
        Duration::from_secs(self.cni.plugin_seconds)
    }
}

#[cfg(test)]
mod tests;
