//! The OCI configuration of a sandbox, as a value.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Linux, LinuxCapabilities, LinuxCpu, LinuxMemory, LinuxNamespace, LinuxNamespaceType, LinuxPids,
    LinuxResources, Mount, Process, Root, Spec, User,
};

use crate::cgroup::{CgroupLayout, cgroup_layout};
use crate::config::{NET_SYSCTL_PREFIX, NamespaceScope, SandboxConfig, Seccomp};
use crate::config_error::ConfigError;
use crate::seccomp;

/// The version that is written. crun 1.8 refuses a newer one.
const OCI_VERSION: &str = "1.0.2";
/// The user of the pause process, who owns no file.
const NOBODY: u32 = 65535;
/// The sandbox's program, in its root file system.
pub(crate) const PAUSE_PATH: &str = "/pause";

/// What a sandbox's configuration depends on besides what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFacts {
    /// How cgroups are mounted.
    pub cgroups: CgroupLayout,
    /// Our own OOM score adjustment, which a process inherits.
    pub oom_score_adj: i32,
    /// Whether a process of ours may get a lower one than we have (CAP_SYS_RESOURCE).
    pub may_lower_oom_score_adj: bool,
}

impl HostFacts {
    /// Reads them from `/proc/self`.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn read() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let adjustment = fs::read_to_string("/proc/self/oom_score_adj")?;
        Ok(Self {
            cgroups: cgroup_layout()?,
            oom_score_adj: adjustment.trim().parse().unwrap_or(0),
            may_lower_oom_score_adj: has_sys_resource(&status),
        })
    }

    /// The adjustment to ask the runtime for. One that we may not give is left out, since the
    /// kernel would refuse the whole sandbox for it.
    pub(crate) fn oom_score_adj(&self, wanted: Option<i32>) -> Option<i32> {
        wanted.filter(|wanted| self.may_lower_oom_score_adj || *wanted >= self.oom_score_adj)
    }
}

/// Reads the effective capabilities from `/proc/PID/status`.
fn has_sys_resource(status: &str) -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> CAP_SYS_RESOURCE & 1 == 1)
}

/// The configuration that a runtime gets. It has no clock, no file and no process: the same
/// arguments give the same value. `bundle` is the directory that it will stand in.
///
/// # Errors
/// A [`ConfigError`] if `config` is not sound.
pub fn spec(config: &SandboxConfig, facts: &HostFacts, bundle: &Path) -> Result<Spec, ConfigError> {
    config.check()?;
    let mut root = Root::default();
    root.set_path(PathBuf::from("rootfs"))
        .set_readonly(Some(config.readonly_rootfs));
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(root))
        .set_mounts(Some(mounts(config, bundle)))
        .set_process(Some(process(config, facts)))
        .set_hostname(config.hostname.clone())
        .set_annotations(Some(annotations(config)))
        .set_linux(Some(linux(config, facts)?));
    Ok(spec)
}

fn process(config: &SandboxConfig, facts: &HostFacts) -> Process {
    let mut user = User::default();
    user.set_uid(NOBODY).set_gid(NOBODY);
    let mut process = Process::default();
    process
        .set_terminal(None)
        .set_args(Some(vec![PAUSE_PATH.to_owned()]))
        .set_env(Some(vec!["PATH=/".to_owned()]))
        .set_cwd(PathBuf::from("/"))
        .set_capabilities(Some(no_capabilities()))
        .set_rlimits(None)
        .set_no_new_privileges(Some(config.no_new_privileges))
        .set_oom_score_adj(facts.oom_score_adj(config.oom_score_adj));
    process.set_user(user);
    process
}

/// Five empty sets. An absent set would leave the choice to the runtime.
fn no_capabilities() -> LinuxCapabilities {
    let mut none = LinuxCapabilities::default();
    none.set_bounding(Some(Default::default()))
        .set_effective(Some(Default::default()))
        .set_inheritable(Some(Default::default()))
        .set_permitted(Some(Default::default()))
        .set_ambient(Some(Default::default()));
    none
}

fn mounts(config: &SandboxConfig, bundle: &Path) -> Vec<Mount> {
    let sealed = ["nosuid", "noexec", "nodev"];
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &sealed),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "noexec", "strictatime", "mode=755", "size=64k"],
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", "ro"],
        ),
    ];
    if config.ipc == NamespaceScope::Pod {
        mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &sealed));
    }
    // Where the bundle's file system is mounted noexec (Debian's /run is), the program could
    // not be started from it. A mount of its own has its own flags.
    let pause = bundle.join("rootfs/pause");
    let options = ["bind", "ro", "nosuid", "nodev", "exec"];
    mounts.push(mount(
        PAUSE_PATH,
        "bind",
        &pause.to_string_lossy(),
        &options,
    ));
    mounts
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(destination))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(PathBuf::from(source)))
        .set_options(Some(options.iter().map(ToString::to_string).collect()));
    mount
}

fn annotations(config: &SandboxConfig) -> HashMap<String, String> {
    let may_pass = |key: &str| {
        config
            .passed_annotations
            .iter()
            .any(|passed| match passed.strip_suffix('*') {
                Some(prefix) => key.starts_with(prefix),
                None => key == passed,
            })
    };
    let passed = config
        .user_annotations
        .iter()
        .filter(|(key, _)| may_pass(key));
    // Ours come last, so that a user's never wins.
    let all = passed.chain(&config.annotations);
    all.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn linux(config: &SandboxConfig, facts: &HostFacts) -> Result<Linux, ConfigError> {
    let has_cgroups = facts.cgroups != CgroupLayout::None;
    let cgroups_path = config.cgroups_path()?;
    let confined = !config.privileged;
    let paths = |paths: &[&str]| confined.then(|| paths.iter().map(ToString::to_string).collect());
    let profile = match &config.seccomp {
        Seccomp::Default => Some(seccomp::default_profile()),
        Seccomp::Unconfined => None,
        Seccomp::Profile(profile) => Some((**profile).clone()),
    };
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(config)))
        .set_resources(Some(resources(config)))
        .set_cgroups_path(has_cgroups.then(|| PathBuf::from(cgroups_path.as_str())))
        .set_sysctl(Some(sysctls(config)))
        .set_seccomp(profile.filter(|_| confined))
        .set_masked_paths(paths(&MASKED))
        .set_readonly_paths(paths(&READONLY));
    Ok(linux)
}

/// What tells about the machine, or changes it.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The namespaces that are the sandbox's own; what is not named is the host's.
fn namespaces(config: &SandboxConfig) -> Vec<LinuxNamespace> {
    let own_name = config.netns.is_some() || config.hostname.is_some();
    let mut namespaces = vec![namespace(LinuxNamespaceType::Mount, None)];
    if let Some(netns) = &config.netns {
        namespaces.push(namespace(LinuxNamespaceType::Network, Some(netns.clone())));
    }
    let own = [
        (own_name, LinuxNamespaceType::Uts),
        (config.ipc == NamespaceScope::Pod, LinuxNamespaceType::Ipc),
        (config.pid == NamespaceScope::Pod, LinuxNamespaceType::Pid),
    ];
    let own = own.into_iter().filter(|(own, _)| *own);
    namespaces.extend(own.map(|(_, kind)| namespace(kind, None)));
    namespaces
}

fn namespace(kind: LinuxNamespaceType, path: Option<PathBuf>) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind).set_path(path);
    namespace
}

/// Those of the network were set when its namespace was made.
fn sysctls(config: &SandboxConfig) -> HashMap<String, String> {
    let others = config
        .sysctls
        .iter()
        .filter(|(name, _)| !name.starts_with(NET_SYSCTL_PREFIX));
    others
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The limits that were asked for and no others: a runtime fails on one without a controller.
/// The object is there even when it is empty, because Kata's shim needs it.
fn resources(config: &SandboxConfig) -> LinuxResources {
    let wanted = &config.resources;
    let mut resources = LinuxResources::default();
    resources.set_devices(None);
    if wanted.cpu_shares.or(wanted.cpu_period).is_some() || wanted.cpu_quota.is_some() {
        let mut cpu = LinuxCpu::default();
        cpu.set_shares(wanted.cpu_shares)
            .set_quota(wanted.cpu_quota)
            .set_period(wanted.cpu_period);
        resources.set_cpu(Some(cpu));
    }
    if wanted.memory_limit.is_some() {
        let mut memory = LinuxMemory::default();
        memory.set_limit(wanted.memory_limit);
        resources.set_memory(Some(memory));
    }
    if let Some(limit) = wanted.pids_limit {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    resources
}

#[cfg(test)]
mod tests;
