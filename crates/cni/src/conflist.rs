//! A network configuration list: what a network is made of, and the bytes that are pinned.
//!
//! A list is read once, from a file with the plugin objects of its sibling directory appended
//! ([`Conflist::load`]), and written out in one normal form ([`Conflist::bytes`]). Those bytes are
//! what a journal keeps, so that DEL runs with what ADD ran with, whatever happened to the file
//! ([`Conflist::parse`] takes them back without touching the disk). Invariant:
//! `parse(list.bytes())` gives the same list, with the same bytes.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::names::is_identifier;
use crate::version::{self, SpecVersion};

mod error;

pub use error::{ConfigError, PluginFault};

/// The largest configuration file that is read, in bytes. The pinned bytes go into a journal
/// record, which has a limit of its own above this one.
pub const MAX_CONFIG_BYTES: u64 = 256 * 1024;

/// Keys of a plugin object that the runtime writes at each call; found in a file, they are left out.
const RESERVED: [&str; 3] = ["runtimeConfig", "args", "prevResult"];

/// A network configuration list that has been checked and is ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflist {
    name: String,
    cni_version: SpecVersion,
    plugins: Vec<Plugin>,
    disable_check: bool,
    disable_gc: bool,
    bytes: Vec<u8>,
    path: PathBuf,
    ignored: Vec<String>,
}

/// One plugin object of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    kind: String,
    object: Map<String, Value>,
    capabilities: Vec<String>,
}

impl Plugin {
    /// The object's `type`: the name of the plugin's binary.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The object as the file has it, without the keys that are the runtime's.
    pub fn object(&self) -> &Map<String, Value> {
        &self.object
    }

    /// The capabilities that the object declares as true.
    pub fn capabilities(&self) -> &[String] {
        &self.capabilities
    }
}

impl Conflist {
    /// Reads a list from its bytes alone: the pinned bytes of an attachment, or a file whose
    /// sibling directory does not matter. A single plugin object (`.conf`) becomes a list of one.
    ///
    /// # Errors
    /// [`ConfigError`], which names `origin` and what to change there.
    pub fn parse(bytes: &[u8], origin: &Path) -> Result<Conflist, ConfigError> {
        let document = Document::read(bytes, origin)?;
        document.finish(Vec::new())
    }

    /// Reads a list from a file, and appends the plugin objects of the sibling directory
    /// `<directory>/<network name>/*.conf`, unless `loadOnlyInlinedPlugins` is true.
    ///
    /// # Errors
    /// [`ConfigError`], which names the file (of the list or of the plugin object) and what to
    /// change there.
    pub fn load(path: &Path) -> Result<Conflist, ConfigError> {
        let document = Document::read(&read_bounded(path)?, path)?;
        let appended = match document.only_inlined {
            true => Vec::new(),
            false => read_siblings(path, &document.name)?,
        };
        document.finish(appended)
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version that every plugin of the list is run with.
    pub fn cni_version(&self) -> SpecVersion {
        self.cni_version
    }

    /// The plugins in the order of ADD; never empty.
    pub fn plugins(&self) -> &[Plugin] {
        &self.plugins
    }

    /// CHECK is switched off for this network.
    pub fn disable_check(&self) -> bool {
        self.disable_check
    }

    /// GC is switched off for this network.
    pub fn disable_gc(&self) -> bool {
        self.disable_gc
    }

    /// The normalised, fully aggregated list in JSON: what an attachment pins.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file that the list came from, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keys that stood in the file and were left out because they are the runtime's, as
    /// `plugins[0].runtimeConfig`.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }
}

/// A list that has been read, before its plugins are complete.
struct Document<'a> {
    path: &'a Path,
    name: String,
    cni_version: SpecVersion,
    disable_check: bool,
    disable_gc: bool,
    only_inlined: bool,
    inlined: Vec<Value>,
}

impl<'a> Document<'a> {
    fn read(bytes: &[u8], path: &'a Path) -> Result<Self, ConfigError> {
        let mut object = read_object(bytes, path)?;
        let single = object.contains_key("type") && !object.contains_key("plugins");
        let name = read_name(&object, path)?;
        let versions = (object.get("cniVersion"), object.get("cniVersions"));
        let cni_version =
            version::choose(versions.0, versions.1).map_err(|offered| ConfigError::Version {
                path: path.to_owned(),
                offered,
            })?;
        let only_inlined = single || flag(&object, "loadOnlyInlinedPlugins", path)?;
        Ok(Document {
            path,
            name,
            cni_version,
            disable_check: flag(&object, "disableCheck", path)?,
            disable_gc: flag(&object, "disableGC", path)?,
            only_inlined,
            inlined: match single {
                true => vec![Value::Object(object)],
                false => inlined(object.remove("plugins"), path)?,
            },
        })
    }

    fn finish(self, appended: Vec<(PathBuf, Value)>) -> Result<Conflist, ConfigError> {
        let inlined = self.inlined.into_iter().map(|v| (self.path.to_owned(), v));
        let mut plugins = Vec::new();
        let mut ignored = Vec::new();
        for (index, (path, value)) in inlined.chain(appended).enumerate() {
            plugins.push(read_plugin(value, index, &path, &mut ignored)?);
        }
        if plugins.is_empty() {
            return Err(ConfigError::NoPlugins {
                path: self.path.to_owned(),
            });
        }
        let mut list = Conflist {
            name: self.name,
            cni_version: self.cni_version,
            plugins,
            disable_check: self.disable_check,
            disable_gc: self.disable_gc,
            bytes: Vec::new(),
            path: self.path.to_owned(),
            ignored,
        };
        list.bytes = normal_form(&list);
        Ok(list)
    }
}

/// The one way a list is written. The chosen version is the only one left, and the plugins are
/// said to be complete, so that the bytes mean the same on any machine at any time.
fn normal_form(list: &Conflist) -> Vec<u8> {
    let plugins: Vec<Value> = list
        .plugins
        .iter()
        .map(|plugin| Value::Object(plugin.object.clone()))
        .collect();
    let document = serde_json::json!({
        "cniVersion": list.cni_version.as_str(),
        "name": list.name,
        "disableCheck": list.disable_check,
        "disableGC": list.disable_gc,
        "loadOnlyInlinedPlugins": true,
        "plugins": plugins,
    });
    document.to_string().into_bytes()
}

fn read_object(bytes: &[u8], path: &Path) -> Result<Map<String, Value>, ConfigError> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ConfigError::NotAnObject {
            path: path.to_owned(),
        }),
        Err(source) => Err(ConfigError::NotJson {
            path: path.to_owned(),
            source,
        }),
    }
}

fn read_name(object: &Map<String, Value>, path: &Path) -> Result<String, ConfigError> {
    match object.get("name") {
        Some(Value::String(name)) if is_identifier(name) => Ok(name.clone()),
        Some(Value::String(name)) => Err(ConfigError::BadName {
            path: path.to_owned(),
            name: name.clone(),
        }),
        _ => Err(ConfigError::MissingName {
            path: path.to_owned(),
        }),
    }
}

/// Reads a boolean that may also be written as the text "true" or "false".
fn flag(object: &Map<String, Value>, key: &'static str, path: &Path) -> Result<bool, ConfigError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        Some(_) => Err(ConfigError::BadFlag {
            path: path.to_owned(),
            key,
        }),
    }
}

fn inlined(plugins: Option<Value>, path: &Path) -> Result<Vec<Value>, ConfigError> {
    match plugins {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(plugins)) => Ok(plugins),
        Some(_) => Err(ConfigError::PluginsNotAList {
            path: path.to_owned(),
        }),
    }
}

fn read_plugin(
    value: Value,
    index: usize,
    path: &Path,
    ignored: &mut Vec<String>,
) -> Result<Plugin, ConfigError> {
    let bad = |fault| ConfigError::BadPlugin {
        path: path.to_owned(),
        index,
        fault,
    };
    let Value::Object(mut object) = value else {
        return Err(bad(PluginFault::NotAnObject));
    };
    let kind = match object.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        _ => return Err(bad(PluginFault::NoType)),
    };
    if kind.is_empty() || kind == "." || kind == ".." || kind.contains(['/', '\\', '\0']) {
        return Err(bad(PluginFault::BadType(kind)));
    }
    let capabilities = read_capabilities(&object).map_err(bad)?;
    object.retain(|key, _| {
        let reserved = RESERVED.contains(&key.as_str()) || key.starts_with("cni.dev/");
        if reserved {
            ignored.push(format!("plugins[{index}].{key}"));
        }
        !reserved
    });
    Ok(Plugin {
        kind,
        object,
        capabilities,
    })
}

fn read_capabilities(object: &Map<String, Value>) -> Result<Vec<String>, PluginFault> {
    let declared = match object.get("capabilities") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(declared)) => declared,
        Some(_) => return Err(PluginFault::BadCapabilities),
    };
    let mut capabilities = Vec::new();
    for (name, wanted) in declared {
        match wanted {
            Value::Bool(true) => capabilities.push(name.clone()),
            Value::Bool(false) => {}
            _ => return Err(PluginFault::BadCapabilities),
        }
    }
    Ok(capabilities)
}

fn read_siblings(path: &Path, name: &str) -> Result<Vec<(PathBuf, Value)>, ConfigError> {
    // `name` is an identifier, so that the directory cannot lie elsewhere.
    let directory = path.parent().unwrap_or(Path::new("")).join(name);
    let mut plugins = Vec::new();
    for file in list_files(&directory, &["conf"])? {
        let object = read_object(&read_bounded(&file)?, &file)?;
        plugins.push((file, Value::Object(object)));
    }
    Ok(plugins)
}

/// The files of a directory with one of the extensions, in lexical order. No directory, no files.
pub(crate) fn list_files(
    directory: &Path,
    extensions: &[&str],
) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: directory.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let extension = path.extension().and_then(OsStr::to_str);
        // A dangling link is listed, so that reading it says what is wrong.
        if extension.is_some_and(|e| extensions.contains(&e)) && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let file = open_regular(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    match bytes.len() as u64 > MAX_CONFIG_BYTES {
        true => Err(ConfigError::TooLarge {
            path: path.to_owned(),
        }),
        false => Ok(bytes),
    }
}

/// Opens a regular file; a fifo or a device in the directory must not hold the reader for ever.
fn open_regular(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "not a regular file",
        )),
    }
}

#[cfg(test)]
mod tests;
