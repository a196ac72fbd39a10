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

use crate::config::Config;

/// Handlers that need no configuration: their usual binaries.
const KNOWN: [&str; 3] = ["crun", "runc", "youki"];

/// All handlers, and where their bundles and cgroups are.
pub struct Handlers {
    by_name: BTreeMap<String, OciRuntime>,
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
            by_name.insert(name.to_owned(), Handler::new(name, name, states.join(name)));
        }
        for (name, configured) in &config.runtime.handlers {
            let handler = by_name.remove(name);
            let binary = &configured.binary;
            let mut handler = match (handler, binary.as_os_str().is_empty()) {
                (Some(known), true) => known,
                (_, false) => Handler::new(name, binary, states.join(name)),
                (None, true) => {
                    anyhow::bail!("runtime.handlers.{name} has no binary (set binary = '…')")
                }
            };
            handler.global_args = configured.arguments.iter().map(Into::into).collect();
            if let Some(seconds) = configured.start_seconds {
                handler.deadlines.create = Duration::from_secs(seconds);
            }
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
            default: config.runtime.default.clone(),
            bundles: config.run_dir.join("bundles"),
            cgroup_parent: CgroupParent::Owned(format!(
                "/{}",
                config.cgroup.parent.trim_matches('/')
            )),
        })
    }

    /// The handler of this name; the default for an empty one.
    ///
    /// # Errors
    /// When there is none: the text names those that there are.
    pub fn find(&self, name: &str) -> Result<&OciRuntime, StepError> {
        let name = match name.is_empty() {
            true => &self.default,
            false => name,
        };
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
        match &pod.slot(Step::Start).intent {
            Some(Intent::Start(start)) => self.find(&start.handler),
            _ => self.find(&pod.spec.runtime_handler),
        }
    }

    /// The names of all handlers, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
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
        let parent = self.cgroup_parent(&pod.spec.cgroup_parent);
        CgroupsPath::new(&parent, &SandboxId::new(pod.id.to_string())?)
    }

    /// The directory of bundles.
    pub fn bundles(&self) -> &Path {
        &self.bundles
    }

    /// The parent cgroup of a pod's sandbox.
    pub fn cgroup_parent(&self, asked: &str) -> CgroupParent {
        match asked.is_empty() {
            true => self.cgroup_parent.clone(),
            false => CgroupParent::Foreign(asked.to_owned()),
        }
    }
}

fn names<T>(handlers: &BTreeMap<String, T>) -> String {
    let names: Vec<_> = handlers.keys().map(String::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use podwalk_oci::Unlisted;

    use super::*;

    fn handlers(text: &str) -> anyhow::Result<Handlers> {
        Handlers::new(&Config::parse(text).unwrap(), Arc::new(Unlisted))
    }

    #[test]
    fn the_usual_ones_need_no_configuration() {
        let handlers = handlers("").unwrap();
        assert_eq!(handlers.find("").unwrap().handler().name, "crun");
        assert_eq!(handlers.find("runc").unwrap().handler().name, "runc");
    }

    #[test]
    fn an_unknown_one_is_refused_by_name_with_those_there_are() {
        let error = handlers("").unwrap().find("kta").unwrap_err().to_string();
        assert!(
            error.contains("'kta'") && error.contains("crun, runc, youki"),
            "{error}"
        );
    }

    #[test]
    fn a_handler_is_added_or_changed_by_configuration() {
        let handlers = handlers(
            "[runtime]\ndefault = 'mine'\n[runtime.handlers.mine]\nbinary = '/opt/mine'\n\
             [runtime.handlers.crun]\nstart_seconds = 7\n",
        )
        .unwrap();
        assert_eq!(
            handlers.find("").unwrap().handler().binary,
            Path::new("/opt/mine")
        );
        let crun = handlers.find("crun").unwrap().handler();
        assert_eq!(crun.deadlines.create, Duration::from_secs(7));
        assert_eq!(crun.binary, Path::new("crun"));
    }

    #[test]
    fn a_sandbox_stays_with_the_handler_that_started_it() {
        use podwalk_engine::clock::Stamp;
        use podwalk_engine::id::{BootId, InstanceId, PodId};
        use podwalk_engine::record::{
            Cause, CreateIntent, CreateOutput, Entry, Goal, Output, Record, StartIntent,
        };
        let start = StartIntent {
            handler: "crun".to_owned(),
            consumes_network: false,
            network: None,
        };
        let records = [
            Record::Goal {
                goal: Goal::Run,
                cause: Cause::Request,
            },
            Record::Intent(Intent::Create(Box::new(CreateIntent {
                spec: Default::default(),
                sandbox_key: None,
            }))),
            Record::Done(Output::Create(CreateOutput {})),
            Record::Intent(Intent::Start(start)),
        ];
        let entries: Vec<Entry> = (0..)
            .zip(records)
            .map(|(sequence, record)| Entry {
                pod: PodId::new([1; 12], InstanceId([2; 4])),
                sequence,
                stamp: Stamp {
                    boot: BootId([9; 16]),
                    wall_ns: 1,
                    boottime_ns: 1,
                },
                record,
            })
            .collect();
        let handlers = handlers("[runtime]\ndefault = 'runc'").unwrap();
        let of = |records: usize| {
            let pod = podwalk_engine::pod::fold(&entries[..records]).unwrap();
            handlers.of(&pod).unwrap().handler().name.clone()
        };
        assert_eq!(of(3), "runc", "what would start it now");
        assert_eq!(of(4), "crun", "what has started it");
    }

    #[test]
    fn a_default_that_is_none_and_a_handler_without_binary_are_refused() {
        let error = handlers("[runtime]\ndefault = 'x'").err().unwrap();
        assert!(error.to_string().contains("'x'"), "{error}");
        let error = handlers("[runtime.handlers.mine]\n").err().unwrap();
        assert!(
            error.to_string().contains("runtime.handlers.mine"),
            "{error}"
        );
    }
}
