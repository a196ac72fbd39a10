//! What can be wrong with a configuration file.

use std::io;
use std::path::PathBuf;

use super::MAX_CONFIG_BYTES;

/// Why a configuration file gives no network. The caller reports it and goes on with the other
/// files; it goes away when someone changes the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file or directory cannot be read.
    #[error("{path}: cannot be read: {source}; check that it exists and may be read", path = path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than [`MAX_CONFIG_BYTES`].
    #[error("{path}: larger than {MAX_CONFIG_BYTES} bytes; split it or remove it", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is no JSON.
    #[error("{path}: not JSON: {source}; correct it there", path = path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The file is JSON, but no object.
    #[error("{path}: not a JSON object; write {{\"cniVersion\": …, \"name\": …, \"plugins\": […]}}", path = path.display())]
    NotAnObject {
        /// The file.
        path: PathBuf,
    },
    /// No network name.
    #[error("{path}: the network has no name; add \"name\"", path = path.display())]
    MissingName {
        /// The file.
        path: PathBuf,
    },
    /// The network's name is not allowed.
    #[error("{path}: network name {name:?} is not allowed; use letters, digits, '_', '.', '-', the first a letter or digit", path = path.display())]
    BadName {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// None of the versions is spoken here.
    #[error("{path}: none of the CNI versions {offered:?} is spoken here; use one of 0.1.0 to 1.1.0", path = path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What `cniVersion` and `cniVersions` say.
        offered: Vec<String>,
    },
    /// A boolean key holds something else.
    #[error("{path}: {key} must be true or false", path = path.display())]
    BadFlag {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// `plugins` is no list.
    #[error("{path}: \"plugins\" must be a list of objects", path = path.display())]
    PluginsNotAList {
        /// The file.
        path: PathBuf,
    },
    /// The network has no plugin, neither inlined nor in its directory.
    #[error("{path}: the network has no plugin; add \"plugins\", or set loadOnlyInlinedPlugins to false and put plugin objects as .conf files into the directory named after the network", path = path.display())]
    NoPlugins {
        /// The file.
        path: PathBuf,
    },
    /// A plugin object is not usable.
    #[error("{path}: plugins[{index}]: {fault}", path = path.display())]
    BadPlugin {
        /// The file: the list's, or that of the plugin object in the network's directory.
        path: PathBuf,
        /// Its place in the whole list, from 0.
        index: usize,
        /// What is wrong.
        fault: PluginFault,
    },
    /// An earlier file has a network of this name.
    #[error("{path}: network {name:?} is already configured by {first}; rename or remove one of them", path = path.display(), first = first.display())]
    DuplicateNetwork {
        /// The file that lost.
        path: PathBuf,
        /// The network's name.
        name: String,
        /// The file that is used.
        first: PathBuf,
    },
}

/// What is wrong with one plugin object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginFault {
    /// It is no JSON object.
    #[error("not an object; write {{\"type\": …}}")]
    NotAnObject,
    /// It has no `type`.
    #[error("no \"type\"; name the plugin's binary there")]
    NoType,
    /// Its `type` could point outside the search path.
    #[error("type {0:?} is not a plain file name")]
    BadType(String),
    /// `capabilities` is not a map of booleans.
    #[error("\"capabilities\" must be an object of true and false")]
    BadCapabilities,
}
