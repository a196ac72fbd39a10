//! What a shim is told besides what every handler is.

use std::path::{Path, PathBuf};

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{CodedOutputStream, Message};
use containerd_shim_protos::shim::oci::Options;

/// The type of the options that only name a configuration file: containerd's, by its full name.
const RUNTIME_OPTIONS: &str = "runtimeoptions.v1.Options";
/// The number of `config_path` in it.
const CONFIG_PATH: u32 = 2;
/// The type of the options of containerd-shim-runc-v2.
const RUNC_OPTIONS: &str = "containerd.runc.v1.Options";

/// A handler's settings that only shims have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimSettings {
    /// The directory of bundles, in which a shim's bundle is found again by the sandbox's id.
    pub bundles: PathBuf,
    /// The socket on which shims report events. It is ours alone, and not longer than a socket's
    /// path may be (107 bytes). Its directory is made.
    pub events: PathBuf,
    /// The runtime's own options.
    pub options: ShimOptions,
    /// By which service sandboxes are made.
    pub api: ShimApi,
    /// The containerd namespace in which shims keep their sandboxes.
    pub namespace: String,
    /// A variable by which the port finds the processes of effects where there are no cgroups. A
    /// shim lives on after the effect that started it, so it must not have it.
    pub effect_variable: Option<String>,
}

impl ShimSettings {
    /// The task service, no options, the namespace `podwalk`.
    pub fn new(bundles: impl Into<PathBuf>, events: impl Into<PathBuf>) -> Self {
        Self {
            bundles: bundles.into(),
            events: events.into(),
            options: ShimOptions::None,
            api: ShimApi::Task,
            namespace: "podwalk".to_owned(),
            effect_variable: None,
        }
    }
}

/// Options of the runtime behind a shim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ShimOptions {
    /// None: it finds its configuration by itself.
    #[default]
    None,
    /// Those of containerd-shim-runc-v2. The runtime's state is kept in the handler's root.
    Runc {
        /// The runtime's program; `None` is runc.
        binary: Option<PathBuf>,
        /// Whether systemd makes the cgroups.
        systemd_cgroup: bool,
    },
    /// The path of a configuration file, as Kata takes it.
    ConfigPath(PathBuf),
}

impl ShimOptions {
    /// The message that `start` and Create take. `root` is where runc keeps its state.
    pub(crate) fn message(&self, root: &Path) -> Option<Any> {
        match self {
            Self::None => None,
            Self::Runc {
                binary,
                systemd_cgroup,
            } => {
                let options = Options {
                    binary_name: binary.as_deref().map(text).unwrap_or_default(),
                    root: text(root),
                    systemd_cgroup: *systemd_cgroup,
                    ..Options::default()
                };
                // Encoding fails only when memory or a limit of 2 GiB does.
                any(RUNC_OPTIONS, options.write_to_bytes().unwrap_or_default())
            }
            Self::ConfigPath(path) => any(RUNTIME_OPTIONS, config_path(&text(path))),
        }
    }

    /// Whether the runtime's state is in the handler's root, where it can be looked at.
    pub(crate) fn state_is_ours(&self) -> bool {
        matches!(self, Self::Runc { .. })
    }
}

/// By which service a shim makes sandboxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ShimApi {
    /// As a task: what every shim can.
    #[default]
    Task,
    /// By the sandbox service (`containerd.runtime.sandbox.v1`).
    Sandbox,
    /// By the sandbox service where it is served, and as a task otherwise.
    Auto,
}

fn any(type_url: &str, value: Vec<u8>) -> Option<Any> {
    Some(Any {
        type_url: type_url.to_owned(),
        value,
        ..Any::default()
    })
}

/// One field of text.
fn config_path(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut stream = CodedOutputStream::vec(&mut bytes);
    // A vector takes all that it is given.
    let written = stream.write_string(CONFIG_PATH, path);
    let flushed = written.and_then(|()| stream.flush());
    drop(stream);
    flushed.map(|()| bytes).unwrap_or_default()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
