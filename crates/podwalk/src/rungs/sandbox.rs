//! A pod's spec as its sandbox's configuration: pure, but for what a profile's file and the host's
//! security modules say.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use podwalk_engine::error::{ErrorKind, StepError};
use podwalk_engine::pod::Pod;
use podwalk_engine::record::StartIntent;
use podwalk_engine::spec::{IdMapping, PodSpec, Profile, Sharing, UserMappings};
use podwalk_netns::{SysctlScope, check_sysctl};
use podwalk_oci::{
    CgroupParent, Dns, NamespaceScope, Resources, Runtime, SandboxConfig, SandboxId, Seccomp,
    SelinuxLabel, ShimApi, ShimOptions, ShimSettings, UserNamespace,
};

use super::{Host, of_netns};
use crate::settings::NetworkSettings;

/// Who a sandbox is, to a runtime: the annotations of CRI runtimes. They are
/// ours, and a user's never override them.
const ANNOTATION_PREFIX: &str = "io.kubernetes.cri";

/// The annotation by which Kata is told of its configuration file.
const KATA_CONFIG_PATH: &str = "io.katacontainers.config_path";

/// Where the kernel tells which AppArmor profiles are loaded.
const APPARMOR_PROFILES: &str = "/sys/kernel/security/apparmor/profiles";

/// Where SELinux is mounted.
const SELINUX: &str = "/sys/fs/selinux";

/// A sandbox to be, and what must stay open until its runtime has read it.
pub(super) struct Prepared {
    /// Its configuration.
    pub(super) config: SandboxConfig,
    /// The user namespace, which the configuration names by this descriptor.
    pub(super) user_namespace: Option<OwnedFd>,
}

/// Reads what a sandbox needs. It may block.
pub(super) fn prepare(host: &Host, pod: &Pod, intent: &StartIntent) -> Result<Prepared, StepError> {
    let spec = &pod.spec;
    let key = intent.network.as_ref().map(|n| Path::new(&n.sandbox_key));
    let owned = spec.security.user_namespace.as_ref().zip(key);
    let (user_namespace, mapped) = match owned {
        Some((mappings, key)) => {
            let owner = podwalk_netns::user_namespace(key).map_err(of_netns)?;
            let mapped = mapped(mappings, &owner);
            (Some(owner), Some(mapped))
        }
        None => (None, None),
    };
    let mut config = config(host, pod, intent)?;
    config.seccomp = match &spec.security.seccomp {
        Profile::RuntimeDefault if !host.handlers.has_default_seccomp(&intent.handler) => {
            Seccomp::Unconfined
        }
        asked => seccomp(asked)?,
    };
    config.user_namespace = mapped;
    if let Ok(Runtime::Shim(shim)) = host.handlers.find(&intent.handler) {
        tell_shim(&mut config, spec, shim.settings());
    }
    config.check().map_err(|error| invalid(&error))?;
    Ok(Prepared {
        config,
        user_namespace,
    })
}

/// What must be there before anything is made for the pod. It may block.
pub(super) fn check(spec: &PodSpec) -> Result<(), StepError> {
    check_on(spec, Path::new(SELINUX))
}

fn check_on(spec: &PodSpec, selinux: &Path) -> Result<(), StepError> {
    let security = &spec.security;
    seccomp(&security.seccomp)?;
    if let Profile::Localhost(name) = &security.apparmor
        && !is_loaded(name)
    {
        let message = format!("the AppArmor profile '{name}' is not loaded");
        return Err(StepError::new(ErrorKind::Environment, message)
            .remedy("load it with apparmor_parser, or ask for another"));
    }
    if security.selinux.is_some() && !selinux.join("enforce").exists() {
        let message = "a SELinux label was asked for, and this kernel runs without SELinux";
        return Err(StepError::new(ErrorKind::Environment, message)
            .remedy("leave selinux_options out, or enable SELinux"));
    }
    Ok(())
}

fn is_loaded(name: &str) -> bool {
    let profiles = std::fs::read_to_string(APPARMOR_PROFILES).unwrap_or_default();
    // One per line: NAME (enforce).
    let mut names = profiles.lines().filter_map(|line| line.rsplit_once(" ("));
    names.any(|(loaded, _)| loaded == name)
}

/// What only shims read. By the sandbox service Kata is told neither of the runtime's options nor of
/// the bundle: where its configuration is must stand among the annotations, and what the sandbox is in
/// a configuration as CRI has it.
fn tell_shim(config: &mut SandboxConfig, spec: &PodSpec, shim: &ShimSettings) {
    if let ShimOptions::ConfigPath(path) = &shim.options {
        let path = path.to_string_lossy().into_owned();
        config.annotations.insert(KATA_CONFIG_PATH.to_owned(), path);
    }
    if shim.api == ShimApi::Task {
        return;
    }
    let (CgroupParent::Owned(parent) | CgroupParent::Foreign(parent)) = &config.cgroup_parent;
    let told = PodSpec {
        hostname: config.hostname.clone().unwrap_or_default(),
        annotations: config.told_annotations(),
        cgroup_parent: parent.clone(),
        ..spec.clone()
    };
    config.pod_sandbox_config = podwalk_cri::proto::encoded(&told);
}

fn config(host: &Host, pod: &Pod, intent: &StartIntent) -> Result<SandboxConfig, StepError> {
    let (spec, security) = (&pod.spec, &pod.spec.security);
    let id = SandboxId::new(pod.id.to_string()).map_err(|error| invalid(&error))?;
    let mut config = SandboxConfig::new(id);
    let hostname = Some(spec.hostname.clone()).filter(|name| !name.is_empty());
    config.hostname = match intent.network {
        Some(_) => hostname.or_else(|| Some(hostname_of(&spec.name))),
        None => None,
    };
    config.netns = intent
        .network
        .as_ref()
        .map(|n| PathBuf::from(&n.sandbox_key));
    config.addresses = NetworkSettings::of(pod, None).addresses();
    config.dns = dns(spec);
    config.cgroup_parent = host.handlers.cgroup_parent(pod);
    config.sysctls = runtime_sysctls(host, spec)?;
    config.annotations = annotations(&pod.id.to_string(), spec);
    config.user_annotations = spec.annotations.clone();
    config.passed_annotations = host.handlers.passed_annotations(&intent.handler).to_owned();
    config.pid = scope(security.pid);
    config.ipc = scope(security.ipc);
    config.privileged = security.privileged;
    config.readonly_rootfs = security.readonly_rootfs;
    config.run_as_user = security.run_as_user;
    config.run_as_group = security.run_as_group;
    config.supplemental_groups = security.supplemental_groups.clone();
    config.apparmor = apparmor(&security.apparmor);
    config.selinux = security.selinux.as_ref().map(|label| SelinuxLabel {
        user: label.user.clone(),
        role: label.role.clone(),
        kind: label.kind.clone(),
        level: label.level.clone(),
    });
    config.resources = resources(spec);
    if let Some(asked) = spec.resources.oom_score_adj {
        config.oom_score_adj = Some(asked);
    }
    Ok(config)
}

/// Those that are not the network namespace's: they are set there already.
fn runtime_sysctls(host: &Host, spec: &PodSpec) -> Result<BTreeMap<String, String>, StepError> {
    let mut sysctls = BTreeMap::new();
    for (name, value) in &spec.sysctls {
        let scope = check_sysctl(name, &host.allowed_sysctls).map_err(|e| invalid(&e))?;
        if scope != SysctlScope::Network {
            sysctls.insert(name.clone(), value.clone());
        }
    }
    Ok(sysctls)
}

/// The namespace that owns the pod's network, as a runtime can open it.
fn mapped(mappings: &UserMappings, owner: &OwnedFd) -> UserNamespace {
    let path = format!("/proc/{}/fd/{}", std::process::id(), owner.as_raw_fd());
    let runs = |runs: &[IdMapping]| runs.iter().map(run).collect();
    UserNamespace {
        path: Some(PathBuf::from(path)),
        uids: runs(&mappings.uids),
        gids: runs(&mappings.gids),
    }
}

fn run(mapping: &IdMapping) -> podwalk_oci::IdMapping {
    podwalk_oci::IdMapping {
        container_id: mapping.container_id,
        host_id: mapping.host_id,
        length: mapping.length,
    }
}

fn hostname_of(name: &str) -> String {
    let allowed = |c: char| if c == '_' { '-' } else { c };
    name.chars().map(allowed).take(63).collect()
}

fn dns(spec: &PodSpec) -> Option<Dns> {
    let dns = &spec.dns;
    let nothing = dns.servers.is_empty() && dns.searches.is_empty() && dns.options.is_empty();
    (!nothing).then(|| Dns {
        servers: dns.servers.clone(),
        searches: dns.searches.clone(),
        options: dns.options.clone(),
    })
}

fn annotations(id: &str, spec: &PodSpec) -> BTreeMap<String, String> {
    let asked = &spec.resources;
    let signed = |value: i64| (value != 0).then(|| value.to_string());
    let unsigned = |value: u64| (value != 0).then(|| value.to_string());
    let text = |text: &str| Some(text.to_owned());
    // Shims of virtual machines size them by the last four.
    [
        ("container-type", text("sandbox")),
        ("sandbox-id", text(id)),
        ("sandbox-name", text(&spec.name)),
        ("sandbox-namespace", text(&spec.namespace)),
        ("sandbox-uid", text(&spec.uid)),
        ("sandbox-cpu-period", unsigned(asked.cpu_period)),
        ("sandbox-cpu-quota", signed(asked.cpu_quota)),
        ("sandbox-cpu-shares", unsigned(asked.cpu_shares)),
        ("sandbox-memory", signed(asked.memory_limit)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((format!("{ANNOTATION_PREFIX}.{key}"), value?)))
    .collect()
}

fn scope(sharing: Sharing) -> NamespaceScope {
    match sharing {
        Sharing::Pod | Sharing::Container => NamespaceScope::Pod,
        Sharing::Node => NamespaceScope::Node,
    }
}

fn seccomp(profile: &Profile) -> Result<Seccomp, StepError> {
    match profile {
        Profile::RuntimeDefault => Ok(Seccomp::Default),
        Profile::Unconfined => Ok(Seccomp::Unconfined),
        Profile::Localhost(path) => {
            Seccomp::from_file(Path::new(path)).map_err(|error| invalid(&error))
        }
    }
}

/// The default profile of other runtimes is for containers that run programs; a sandbox has one
/// program, without a capability, and needs none.
fn apparmor(profile: &Profile) -> Option<String> {
    match profile {
        Profile::RuntimeDefault => None,
        Profile::Unconfined => Some("unconfined".to_owned()).filter(|_| is_loaded_at_all()),
        Profile::Localhost(name) => Some(name.clone()),
    }
}

/// Whether this kernel has AppArmor: a runtime that is told a profile without it refuses.
fn is_loaded_at_all() -> bool {
    Path::new(APPARMOR_PROFILES).exists()
}

fn resources(spec: &PodSpec) -> Resources {
    let asked = &spec.resources;
    let unsigned = |value: u64| Some(value).filter(|value| *value != 0);
    let signed = |value: i64| Some(value).filter(|value| *value != 0);
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Resources {
        cpu_shares: unsigned(asked.cpu_shares),
        cpu_quota: signed(asked.cpu_quota),
        cpu_period: unsigned(asked.cpu_period),
        cpuset_cpus: text(&asked.cpuset_cpus),
        cpuset_mems: text(&asked.cpuset_mems),
        memory_limit: signed(asked.memory_limit),
        memory_swap_limit: signed(asked.memory_swap_limit),
        hugepages: asked.hugepages.clone(),
        pids_limit: signed(asked.pids_limit),
        unified: asked.unified.clone(),
    }
}

/// What was asked for cannot be.
pub(super) fn invalid(error: &dyn std::error::Error) -> StepError {
    StepError::new(ErrorKind::Invalid, error.to_string())
}

#[cfg(test)]
mod tests;
