//! What a sandbox is asked to be.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxSeccomp;
use rustix::fs::{Mode, OFlags};

use crate::cgroup::{CgroupParent, CgroupsPath};
use crate::config_error::ConfigError;
use crate::id::SandboxId;
use crate::target::Target;

mod check;
mod isolation;

pub(crate) use check::NET_SYSCTL_PREFIX;
pub use isolation::{IdMapping, SelinuxLabel, UserNamespace};

/// The user and group of a sandbox for which none was given: they own no file.
const NOBODY: u32 = 65535;

/// A sandbox, as its owner wants it. [`SandboxConfig::new`] gives the strictest one.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxConfig {
    /// The id under which the runtime keeps it.
    pub id: SandboxId,
    /// The name in its own UTS namespace. `None` in the host's network means the host's name.
    pub hostname: Option<String>,
    /// The file on which its network namespace is pinned; `None` is the host's network.
    pub netns: Option<PathBuf>,
    /// The pod's addresses, for which `/etc/hosts` gives the host name.
    pub addresses: Vec<IpAddr>,
    /// What `/etc/resolv.conf` says; `None` copies the host's.
    pub dns: Option<Dns>,
    /// Under which cgroup its own is made.
    pub cgroup_parent: CgroupParent,
    /// Kernel settings by their dotted names. Those of the network are left to whoever made the
    /// namespace: they are ignored here if `netns` is given, and refused if it is not.
    pub sysctls: BTreeMap<String, String>,
    /// Annotations of ours. They win over `user_annotations` of the same key.
    pub annotations: BTreeMap<String, String>,
    /// Annotations of the user's. The runtime sees only those in `passed_annotations`, because
    /// to a runtime some are commands (crun's `run.oci.*`, Kata's `io.katacontainers.*`).
    pub user_annotations: BTreeMap<String, String>,
    /// Which of the user's annotations the runtime may see: keys, or prefixes that end in `*`.
    pub passed_annotations: Vec<String>,
    /// The pod as its client asked for it, an encoded `runtime.v1.PodSandboxConfig` (CRI v1). A shim
    /// that is asked by the sandbox service reads it in place of `config.json`, so it says the same
    /// as the fields beside it: the host name, and [`told_annotations`](Self::told_annotations).
    /// Nobody else sees it.
    pub pod_sandbox_config: Vec<u8>,
    /// Whose processes it sees.
    pub pid: NamespaceScope,
    /// Whose System V IPC objects and message queues it sees.
    pub ipc: NamespaceScope,
    /// Its own user namespace; `None` is the host's.
    pub user_namespace: Option<UserNamespace>,
    /// The user that it runs as, as its user namespace counts; `None` is 65535, who owns nothing.
    pub run_as_user: Option<u32>,
    /// The group that it runs as; `None` is 65535, whatever the user.
    pub run_as_group: Option<u32>,
    /// Further groups that it is in.
    pub supplemental_groups: Vec<u32>,
    /// Whether its root file system is read-only.
    pub readonly_rootfs: bool,
    /// Lifts the seccomp profile and the masked and read-only paths. The sandbox's own process
    /// gets no capability even so: it runs no code of the pod's.
    pub privileged: bool,
    /// Whether it and its children can never gain privileges by exec.
    pub no_new_privileges: bool,
    /// Which system calls it may use.
    pub seccomp: Seccomp,
    /// The AppArmor profile of its process, by the name under which the kernel has loaded it.
    /// `None` writes none, and leaves what the runtime inherits.
    pub apparmor: Option<String>,
    /// The SELinux label of its process; its mounts get the matching one. `None` writes none.
    /// runc refuses a label on a host without SELinux.
    pub selinux: Option<SelinuxLabel>,
    /// Limits of its cgroup.
    pub resources: Resources,
    /// How early the kernel kills it when memory runs out, -1000 (never) to 1000; `None` leaves
    /// what it inherits.
    pub oom_score_adj: Option<i32>,
}

impl SandboxConfig {
    /// The strictest sandbox: the host's network is the only thing that it shares, since no
    /// other namespace was named yet.
    pub fn new(id: SandboxId) -> Self {
        Self {
            id,
            hostname: None,
            netns: None,
            addresses: Vec::new(),
            dns: None,
            cgroup_parent: CgroupParent::default(),
            sysctls: BTreeMap::new(),
            annotations: BTreeMap::new(),
            user_annotations: BTreeMap::new(),
            passed_annotations: Vec::new(),
            pod_sandbox_config: Vec::new(),
            pid: NamespaceScope::Pod,
            ipc: NamespaceScope::Pod,
            user_namespace: None,
            run_as_user: None,
            run_as_group: None,
            supplemental_groups: Vec::new(),
            readonly_rootfs: true,
            privileged: false,
            no_new_privileges: true,
            seccomp: Seccomp::Default,
            apparmor: None,
            selinux: None,
            resources: Resources::default(),
            oom_score_adj: None,
        }
    }

    /// The sandbox's cgroup, relative to where cgroups are mounted.
    ///
    /// # Errors
    /// [`ConfigError::CgroupParent`] if the parent is no clean path.
    pub fn cgroups_path(&self) -> Result<CgroupsPath, ConfigError> {
        CgroupsPath::new(&self.cgroup_parent, &self.id)
    }

    /// What probing, killing and deleting the sandbox need to know, its process aside.
    ///
    /// # Errors
    /// [`ConfigError::CgroupParent`] if the parent is no clean path.
    pub fn target(&self) -> Result<Target, ConfigError> {
        Ok(Target {
            id: self.id.clone(),
            cgroup: self.cgroups_path()?,
            process: None,
            shim_address: None,
        })
    }

    /// The annotations that the runtime sees: ours, and of the user's those that may pass.
    pub fn told_annotations(&self) -> BTreeMap<String, String> {
        let may_pass = |key: &str| {
            let mut patterns = self.passed_annotations.iter();
            patterns.any(|passed| match passed.strip_suffix('*') {
                Some(prefix) => key.starts_with(prefix),
                None => key == passed,
            })
        };
        let passed = self
            .user_annotations
            .iter()
            .filter(|(key, _)| may_pass(key));
        // Ours come last, so that a user's never wins.
        let all = passed.chain(&self.annotations);
        all.map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// The user of its process.
    pub(crate) fn user(&self) -> u32 {
        self.run_as_user.unwrap_or(NOBODY)
    }

    /// The group of its process.
    pub(crate) fn group(&self) -> u32 {
        self.run_as_group.unwrap_or(NOBODY)
    }

    /// Refuses what contradicts itself, would reach the host, or would be two lines in a file
    /// where one was meant. Everything that is written or handed on has passed it.
    ///
    /// # Errors
    /// A [`ConfigError`] for the first field that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        check::check(self)
    }
}

/// Whose namespace a sandbox uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceScope {
    /// One of its own, which the pod's containers share.
    Pod,
    /// The host's.
    Node,
}

/// The resolver's configuration, see resolv.conf(5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dns {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Domains that are tried for short names.
    pub searches: Vec<String>,
    /// Options, such as `ndots:5`.
    pub options: Vec<String>,
}

/// Which system calls a sandbox may use.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Seccomp {
    /// What the pause process and a runtime on its way to it need.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// A profile of the operator's, in the form of the OCI specification.
    Profile(Box<LinuxSeccomp>),
}

impl Seccomp {
    /// Reads a profile from a JSON file of at most 1 MiB. The path may be a user's: what would
    /// block or never end (a pipe, a device) is refused. Blocks on the file system only.
    ///
    /// # Errors
    /// [`ConfigError::SeccompFile`] if it cannot be read, [`ConfigError::SeccompJson`] if it is
    /// no profile.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read_profile(path).map_err(|source| ConfigError::SeccompFile {
            path: path.to_owned(),
            source,
        })?;
        let profile =
            serde_json::from_slice(&bytes).map_err(|source| ConfigError::SeccompJson {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self::Profile(Box::new(profile)))
    }
}

/// The largest profile, bytes; those in use have some ten thousand.
const PROFILE_LIMIT: u64 = 1024 * 1024;

fn read_profile(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no plain file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(PROFILE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > PROFILE_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it has more than 1 MiB",
        ));
    }
    Ok(bytes)
}

/// Limits of a sandbox's cgroup. What is `None` or empty is not written at all, so that a sandbox
/// without limits starts where the kernel has no controllers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// Relative weight, 2 to 262144; 1024 is usual.
    pub cpu_shares: Option<u64>,
    /// CPU time per period, in microseconds; negative is no limit.
    pub cpu_quota: Option<i64>,
    /// The period, in microseconds.
    pub cpu_period: Option<u64>,
    /// The CPUs that it may run on, in the list format of cpuset(7): `0-3,8`.
    pub cpuset_cpus: Option<String>,
    /// The memory nodes that it may use, in the same format.
    pub cpuset_mems: Option<String>,
    /// Memory, in bytes; negative is no limit.
    pub memory_limit: Option<i64>,
    /// Memory and swap together, in bytes; negative is no limit. Only with a memory limit, and
    /// not below it.
    pub memory_swap_limit: Option<i64>,
    /// Huge pages, in bytes, by the size of a page: `2MB`, `1GB`.
    pub hugepages: BTreeMap<String, u64>,
    /// Number of processes and threads; negative is no limit.
    pub pids_limit: Option<i64>,
    /// Files of a cgroup of version 2, such as `memory.high`, and what is written into them.
    /// Refused on version 1, which has no such files.
    pub unified: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests;
