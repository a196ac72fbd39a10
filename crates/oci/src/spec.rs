//! The OCI configuration of a sandbox, as a value.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Linux, LinuxCapabilities, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace,
    LinuxNamespaceType, Mount, Process, Root, Spec, User,
};

use crate::cgroup::{CgroupLayout, cgroup_layout};
use crate::config::{
    IdMapping, NET_SYSCTL_PREFIX, NamespaceScope, SandboxConfig, Seccomp, SelinuxLabel,
    UserNamespace,
};
use crate::config_error::ConfigError;
use crate::seccomp;

mod resources;

/// The version that is written. crun 1.8 refuses a newer one.
const OCI_VERSION: &str = "1.0.2";
/// The sandbox's program, in its root file system.
const PAUSE: &str = "/pause";
/// The same in a user namespace.
const LAYERED_PAUSE: &str = "/bin/pause";
/// The directory that holds it there: one of the bundle's, and the mount point in the root.
pub(crate) const LAYERED: &str = "bin";

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
        .set_annotations(Some(config.told_annotations().into_iter().collect()))
        .set_linux(Some(linux(config, facts)?));
    Ok(spec)
}

fn process(config: &SandboxConfig, facts: &HostFacts) -> Process {
    let groups = Some(config.supplemental_groups.clone()).filter(|groups| !groups.is_empty());
    let mut user = User::default();
    user.set_uid(config.user())
        .set_gid(config.group())
        .set_additional_gids(groups);
    let mut process = Process::default();
    process
        .set_terminal(None)
        .set_args(Some(vec![pause_path(config).to_owned()]))
        .set_env(Some(vec!["PATH=/".to_owned()]))
        .set_cwd(PathBuf::from("/"))
        .set_capabilities(Some(no_capabilities()))
        .set_rlimits(None)
        .set_no_new_privileges(Some(config.no_new_privileges))
        .set_apparmor_profile(config.apparmor.clone())
        .set_selinux_label(config.selinux.as_ref().map(SelinuxLabel::of_process))
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
    ];
    if may_mount_sys(config) {
        let options = ["nosuid", "noexec", "nodev", "ro"];
        mounts.push(mount("/sys", "sysfs", "sysfs", &options));
    }
    if config.ipc == NamespaceScope::Pod {
        mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &sealed));
    }
    mounts.push(pause_mount(config, bundle));
    mounts
}

/// The kernel lets the owner of a network namespace mount its `/sys`, and nobody else. Who asks
/// for a user namespace by its path names the owner; one that the runtime makes owns nothing.
fn may_mount_sys(config: &SandboxConfig) -> bool {
    let owns = |user: &UserNamespace| user.path.is_some() && config.netns.is_some();
    config.user_namespace.as_ref().is_none_or(owns)
}

/// Where the pause program is in the sandbox.
fn pause_path(config: &SandboxConfig) -> &'static str {
    match config.user_namespace {
        None => PAUSE,
        Some(_) => LAYERED_PAUSE,
    }
}

/// Where the bundle's file system is mounted noexec (Debian's /run is), the program could not be
/// started from it. A mount of its own has its own flags.
///
/// Not so a bind mount in a user namespace: the kernel lets nobody there lift a flag of what was
/// mounted outside, and runc fails on it. An overlay is no such mount. It must have two layers,
/// and the second is the empty mount point. (A tmpfs with `tmpcopyup` would do too, but a runc that
/// is killed meanwhile leaves a directory in the host's /tmp.)
fn pause_mount(config: &SandboxConfig, bundle: &Path) -> Mount {
    if config.user_namespace.is_none() {
        let source = bundle.join("rootfs/pause");
        let options = ["bind", "ro", "nosuid", "nodev", "exec"];
        return mount(PAUSE, "bind", &source.to_string_lossy(), &options);
    }
    let layers = [bundle.join(LAYERED), bundle.join("rootfs").join(LAYERED)];
    let layers = layers.map(|layer| overlay_escaped(&layer.to_string_lossy()));
    let layers = format!("lowerdir={}", layers.join(":"));
    let point = format!("/{LAYERED}");
    mount(
        &point,
        "overlay",
        "overlay",
        &["ro", "nosuid", "nodev", &layers],
    )
}

/// A path among the options of an overlay, where commas and colons separate.
fn overlay_escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for character in path.chars() {
        if matches!(character, '\\' | ':' | ',') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
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
    let user = config.user_namespace.as_ref();
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(config)))
        .set_uid_mappings(user.map(|user| mappings(&user.uids)))
        .set_gid_mappings(user.map(|user| mappings(&user.gids)))
        .set_mount_label(config.selinux.as_ref().map(SelinuxLabel::of_mounts))
        .set_resources(Some(resources::resources(
            &config.resources,
            facts.cgroups,
        )?))
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
    if let Some(user) = &config.user_namespace {
        namespaces.push(namespace(LinuxNamespaceType::User, user.path.clone()));
    }
    namespaces
}

fn namespace(kind: LinuxNamespaceType, path: Option<PathBuf>) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind).set_path(path);
    namespace
}

fn mappings(runs: &[IdMapping]) -> Vec<LinuxIdMapping> {
    let mapping = |run: &IdMapping| {
        let built = LinuxIdMappingBuilder::default()
            .container_id(run.container_id)
            .host_id(run.host_id)
            .size(run.length)
            .build();
        // The builder lacks nothing. An empty run would be refused by the kernel.
        built.unwrap_or_default()
    };
    runs.iter().map(mapping).collect()
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

#[cfg(test)]
mod tests;
