//! Runtime handlers by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use podwalk_engine::error::{ErrorKind, StepError};
use podwalk_engine::pod::{Pod, Status};
use podwalk_engine::record::Intent;
use podwalk_engine::step::Step;
use podwalk_netns::effects::{CgroupLayout, ENVIRONMENT};
use podwalk_oci::{
    Bundle, CgroupParent, CgroupsPath, ConfigError, Handler, OciRuntime, Runtime, SandboxId,
    ShimApi, ShimOptions, ShimRuntime, ShimSettings, Spawn,
};

use crate::config::{self, Config, DefaultSeccomp, Kind, ShimService};

/// A handler that needs no configuration.
struct Known {
    name: &'static str,
    binary: &'static str,
    kind: Kind,
    /// Its sandbox is a virtual machine, or a kernel of its own, which takes over what is in the
    /// network namespace: runsc the addresses, Kata the devices.
    vm: bool,
}

const KNOWN: [Known; 6] = [
    Known::oci("crun", false),
    Known::oci("runc", false),
    Known::oci("youki", false),
    Known::oci("runsc", true),
    Known::shim("shim-runc", SHIM_RUNC, false),
    Known::shim("kata", "containerd-shim-kata-v2", true),
];

/// The program of containerd's shim for runc.
const SHIM_RUNC: &str = "containerd-shim-runc-v2";

/// How long a virtual machine may take to boot, where nothing else is configured. It boots in 0.5 to 3
/// seconds on hardware. With what a shim is asked besides ([`Runtime::start_deadline`]) and the
/// network's deadline a start that hangs everywhere takes less than kubelet's four minutes for
/// RunPodSandbox; a caller that gives up sooner joins it with its next try.
const BOOT: Duration = Duration::from_secs(60);

/// All handlers, and where their bundles and cgroups are.
pub struct Handlers {
    by_name: BTreeMap<String, Runtime>,
    configured: BTreeMap<String, config::Handler>,
    default: String,
    bundles: PathBuf,
    cgroup_parent: CgroupParent,
}

impl Handlers {
    /// Those that are known, and those that are configured. A binary that is
    /// missing fails only when its handler is asked for.
    ///
    /// # Errors
    /// When the default is none of them, or one has no binary.
    pub fn new(config: &Config, spawn: Arc<dyn Spawn>) -> anyhow::Result<Self> {
        let states = config.run_dir.join("runtimes");
        let mut by_name = BTreeMap::new();
        for known in KNOWN {
            let shim = (known.kind == Kind::Shim).then(|| ShimSettings {
                options: known.options(),
                ..unknown_shim(known.name, config)
            });
            by_name.insert(known.name.to_owned(), (known.handler(&states), shim));
        }
        for (name, configured) in &config.runtime.handlers {
            let (known, shim) = by_name.remove(name).unzip();
            let handler = changed(name, known, configured, &states)?;
            let shim = shim_of(name, shim.flatten(), config, configured)?;
            by_name.insert(name.clone(), (handler, shim));
        }
        anyhow::ensure!(
            by_name.contains_key(&config.runtime.default),
            "runtime.default = '{}' is no handler: configured are {}",
            config.runtime.default,
            names(&by_name)
        );
        let with_spawn = |(name, (handler, shim))| {
            let runtime = match shim {
                None => Runtime::Oci(OciRuntime::new(handler, spawn.clone())),
                Some(shim) => Runtime::Shim(ShimRuntime::new(handler, shim, spawn.clone())),
            };
            (name, runtime)
        };
        Ok(Self {
            by_name: by_name.into_iter().map(with_spawn).collect(),
            configured: config.runtime.handlers.clone(),
            default: config.runtime.default.clone(),
            bundles: bundles(config),
            cgroup_parent: owned_parent(&config.cgroup.parent),
        })
    }

    /// The handler of this name; the default for an empty one.
    ///
    /// # Errors
    /// When there is none: the text names those that there are.
    pub fn find(&self, name: &str) -> Result<&Runtime, StepError> {
        let name = self.or_default(name);
        self.by_name.get(name).ok_or_else(|| {
            StepError::new(
                ErrorKind::Environment,
                format!("there is no runtime handler '{name}'"),
            )
            .remedy(format!(
                "configured are {}; others stand in the configuration under runtime.handlers",
                names(&self.by_name)
            ))
        })
    }

    /// The handler of a pod: the one that its start recorded, and before that the
    /// one that it asks for. So a sandbox is ended by whom it was started, also
    /// when another handler has become the default.
    ///
    /// # Errors
    /// As for [`Handlers::find`]; and when the handler is talked to in another way now than when it
    /// started the sandbox, since it could not end it.
    pub fn of(&self, pod: &Pod) -> Result<&Runtime, StepError> {
        let name = self.name_of(pod);
        let runtime = self.find(name)?;
        let by_shim = self.is_by_shim(pod);
        if by_shim.is_some_and(|by_shim| by_shim != matches!(runtime, Runtime::Shim(_))) {
            let message =
                format!("the kind of runtime handler '{name}' was changed under this pod");
            return Err(
                StepError::new(ErrorKind::Environment, message).remedy(format!(
                    "set runtime.handlers.{name}.kind back until its pods are gone"
                )),
            );
        }
        Ok(runtime)
    }

    /// Whether a pod's sandbox was made by a shim: recorded, and where a start was cut before that,
    /// as its bundle tells.
    fn is_by_shim(&self, pod: &Pod) -> Option<bool> {
        match &pod.sandbox {
            Some(sandbox) => Some(sandbox.shim_address.is_some()),
            None if pod.status(Step::Start) == Status::Never => None,
            None => Bundle::begun_by_shim(&self.bundles, &SandboxId::new(pod.id.to_string()).ok()?),
        }
    }

    /// The names of all handlers, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// A name, or the default one's for an empty one.
    pub fn or_default<'a>(&'a self, name: &'a str) -> &'a str {
        match name.is_empty() {
            true => &self.default,
            false => name,
        }
    }

    /// Whether pods of this handler that ask for the runtime's default seccomp profile get one of
    /// ours.
    pub fn has_default_seccomp(&self, name: &str) -> bool {
        let configured = self.configured.get(self.or_default(name));
        configured.is_none_or(|handler| handler.seccomp == DefaultSeccomp::Default)
    }

    /// Which of their own annotations the runtime of this handler's pods sees.
    pub fn passed_annotations(&self, name: &str) -> &[String] {
        let configured = self.configured.get(self.or_default(name));
        configured.map_or(&[], |handler| &handler.annotations)
    }

    /// The name of the default one.
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// Whether pods of this handler may have a user namespace of their own: a virtual machine's
    /// processes are not the host kernel's to map.
    pub fn has_user_namespaces(&self, name: &str) -> bool {
        self.find(name).is_ok_and(|runtime| !runtime.handler().vm)
    }

    /// Whether a handler's program is there.
    pub fn is_present(&self, name: &str) -> bool {
        let found = self.find(name);
        found.is_ok_and(|runtime| runtime.handler().locate().is_ok())
    }

    /// The cgroup of a pod's sandbox.
    ///
    /// # Errors
    /// When the pod's parent is no cgroup's name.
    pub fn cgroup(&self, pod: &Pod) -> Result<CgroupsPath, ConfigError> {
        CgroupsPath::new(
            &self.cgroup_parent(pod),
            &SandboxId::new(pod.id.to_string())?,
        )
    }

    /// The directory of bundles.
    pub fn bundles(&self) -> &Path {
        &self.bundles
    }

    /// The parent cgroup of a pod's sandbox: the pod's own choice, then its handler's.
    pub fn cgroup_parent(&self, pod: &Pod) -> CgroupParent {
        let asked = &pod.spec.cgroup_parent;
        if !asked.is_empty() {
            return CgroupParent::Foreign(asked.clone());
        }
        let configured = self.configured.get(self.name_of(pod));
        match configured.and_then(|handler| handler.cgroup_parent.as_ref()) {
            Some(parent) => owned_parent(parent),
            None => self.cgroup_parent.clone(),
        }
    }

    /// The name of a pod's handler, whether there is one of that name or not; see
    /// [`of`](Self::of).
    fn name_of<'a>(&'a self, pod: &'a Pod) -> &'a str {
        self.or_default(recorded_handler(pod))
    }
}

/// The handler that a pod's start recorded, and before that the one that it asks for; empty for the
/// default.
pub fn recorded_handler(pod: &Pod) -> &str {
    match &pod.slot(Step::Start).intent {
        Some(Intent::Start(start)) => &start.handler,
        _ => &pod.spec.runtime_handler,
    }
}

impl Known {
    const fn oci(name: &'static str, vm: bool) -> Self {
        Self {
            name,
            binary: name,
            kind: Kind::Oci,
            vm,
        }
    }

    const fn shim(name: &'static str, binary: &'static str, vm: bool) -> Self {
        Self {
            name,
            binary,
            kind: Kind::Shim,
            vm,
        }
    }

    /// As it is without configuration.
    fn handler(&self, states: &Path) -> Handler {
        let mut handler = Handler::new(self.name, self.binary, states.join(self.name));
        handler.vm = self.vm;
        handler.consumes_network = self.vm;
        if self.vm && self.kind == Kind::Shim {
            handler.deadlines.create = BOOT;
        }
        handler
    }

    /// A shim's options: containerd-shim-runc-v2 must be told where runc keeps its state, and Kata
    /// finds its configuration by itself.
    fn options(&self) -> ShimOptions {
        match self.vm {
            true => ShimOptions::None,
            false => runc(None),
        }
    }
}

fn runc(binary: Option<PathBuf>) -> ShimOptions {
    ShimOptions::Runc {
        binary,
        systemd_cgroup: false,
    }
}

/// The directory of bundles.
fn bundles(config: &Config) -> PathBuf {
    config.run_dir.join("bundles")
}

/// A shim of which nothing is known.
fn unknown_shim(name: &str, config: &Config) -> ShimSettings {
    let without_cgroups = matches!(CgroupLayout::detect(), Ok(CgroupLayout::None));
    ShimSettings {
        effect_variable: without_cgroups.then(|| ENVIRONMENT.to_owned()),
        ..ShimSettings::new(bundles(config), config.events_of(name))
    }
}

/// What a handler has as a shim, `None` if it is none: what is known of it, as the configuration
/// changes it.
fn shim_of(
    name: &str,
    known: Option<ShimSettings>,
    config: &Config,
    configured: &config::Handler,
) -> anyhow::Result<Option<ShimSettings>> {
    let is_shim = match configured.kind {
        Some(kind) => kind == Kind::Shim,
        None => known.is_some(),
    };
    if is_shim {
        let socket = config.events_of(name);
        config::check_socket(&format!("run_dir, for runtime.handlers.{name}"), &socket)?;
        let known = known.unwrap_or_else(|| unknown_shim(name, config));
        return changed_shim(name, known, configured).map(Some);
    }
    let of_shims = [
        ("config_path", configured.config_path.is_some()),
        ("oci_runtime", configured.oci_runtime.is_some()),
        ("api", configured.api.is_some()),
    ];
    for (key, given) in of_shims {
        anyhow::ensure!(
            !given,
            "runtime.handlers.{name}.{key} is a shim's (set kind = 'shim' if it is one)"
        );
    }
    Ok(None)
}

/// A shim's settings as the configuration says, which changes what is known of it.
fn changed_shim(
    name: &str,
    mut known: ShimSettings,
    configured: &config::Handler,
) -> anyhow::Result<ShimSettings> {
    // Under whatever name: its runtime's state must be where it is looked for.
    if configured.binary.file_name() == Some(SHIM_RUNC.as_ref()) {
        known.options = runc(None);
    }
    let is_runc = matches!(known.options, ShimOptions::Runc { .. });
    anyhow::ensure!(
        configured.config_path.is_none() || !is_runc,
        "runtime.handlers.{name}.config_path: {SHIM_RUNC} takes none (oci_runtime names its runtime)"
    );
    if let Some(runtime) = &configured.oci_runtime {
        anyhow::ensure!(
            is_runc,
            "runtime.handlers.{name}.oci_runtime: only {SHIM_RUNC} has an OCI runtime behind it, and \
             this is another shim; leave it out, or set binary to that one's path"
        );
        known.options = runc(Some(runtime.clone()));
    }
    if let Some(path) = &configured.config_path {
        known.options = ShimOptions::ConfigPath(path.clone());
    }
    if let Some(service) = configured.api {
        known.api = match service {
            ShimService::Task => ShimApi::Task,
            ShimService::Sandbox => ShimApi::Sandbox,
            ShimService::Auto => ShimApi::Auto,
        };
    }
    Ok(known)
}

/// A handler as the configuration says, which changes what is known of it.
fn changed(
    name: &str,
    known: Option<Handler>,
    configured: &config::Handler,
    states: &Path,
) -> anyhow::Result<Handler> {
    let has_binary = !configured.binary.as_os_str().is_empty();
    anyhow::ensure!(
        known.is_some() || has_binary,
        "runtime.handlers.{name} has no binary (set binary = '…')"
    );
    let mut handler = known.unwrap_or_else(|| Handler::new(name, name, states.join(name)));
    if has_binary {
        handler.binary.clone_from(&configured.binary);
    }
    handler.global_args = configured.arguments.iter().map(Into::into).collect();
    if let Some(vm) = configured.vm {
        handler.vm = vm;
        handler.consumes_network = vm;
    }
    if let Some(consumes) = configured.consumes_network {
        handler.consumes_network = consumes;
    }
    let deadlines = &mut handler.deadlines;
    let seconds = [
        (&mut deadlines.create, configured.start_seconds),
        (&mut deadlines.kill, configured.kill_seconds),
        (&mut deadlines.delete, configured.delete_seconds),
    ];
    for (deadline, seconds) in seconds {
        *deadline = seconds.map_or(*deadline, Duration::from_secs);
    }
    Ok(handler)
}

fn owned_parent(name: &str) -> CgroupParent {
    CgroupParent::Owned(format!("/{}", name.trim_matches('/')))
}

fn names<T>(handlers: &BTreeMap<String, T>) -> String {
    let names: Vec<_> = handlers.keys().map(String::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
