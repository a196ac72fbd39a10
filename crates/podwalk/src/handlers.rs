//! Runtime handlers by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use podwalk_engine::error::{ErrorKind, StepError};
use podwalk_engine::pod::Pod;
use podwalk_engine::record::Intent;
use podwalk_engine::step::Step;
use podwalk_oci::{CgroupParent, CgroupsPath, ConfigError, Handler, OciRuntime, SandboxId, Spawn};

use crate::config::{self, Config, DefaultSeccomp};

/// Handlers that need no configuration: their usual binaries.
const KNOWN: [&str; 4] = ["crun", "runc", "youki", "runsc"];

/// Of those, the ones whose sandbox is a kernel of its own. runsc takes the addresses off the
/// namespace's interfaces into its own stack.
const KNOWN_VMS: [&str; 1] = ["runsc"];

/// All handlers, and where their bundles and cgroups are.
pub struct Handlers {
    by_name: BTreeMap<String, OciRuntime>,
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
        for name in KNOWN {
            by_name.insert(name.to_owned(), known(name, &states));
        }
        for (name, configured) in &config.runtime.handlers {
            let handler = changed(name, by_name.remove(name), configured, &states)?;
            by_name.insert(name.clone(), handler);
        }
        anyhow::ensure!(
            by_name.contains_key(&config.runtime.default),
            "runtime.default = '{}' is no handler: configured are {}",
            config.runtime.default,
            names(&by_name)
        );
        let with_spawn = |(name, handler)| (name, OciRuntime::new(handler, spawn.clone()));
        Ok(Self {
            by_name: by_name.into_iter().map(with_spawn).collect(),
            configured: config.runtime.handlers.clone(),
            default: config.runtime.default.clone(),
            bundles: config.run_dir.join("bundles"),
            cgroup_parent: owned_parent(&config.cgroup.parent),
        })
    }

    /// The handler of this name; the default for an empty one.
    ///
    /// # Errors
    /// When there is none: the text names those that there are.
    pub fn find(&self, name: &str) -> Result<&OciRuntime, StepError> {
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
    /// As for [`Handlers::find`].
    pub fn of(&self, pod: &Pod) -> Result<&OciRuntime, StepError> {
        self.find(self.name_of(pod))
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

/// A handler as it is without configuration.
fn known(name: &str, states: &Path) -> Handler {
    let mut handler = Handler::new(name, name, states.join(name));
    handler.vm = KNOWN_VMS.contains(&name);
    handler.consumes_network = handler.vm;
    handler
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
