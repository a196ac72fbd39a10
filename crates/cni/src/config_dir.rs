//! A directory of network configurations, read and watched.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::conflist::{ConfigError, Conflist, list_files};

mod watch;

pub use watch::{ConfigWatch, WatchError};

/// A directory of network configurations, `/etc/cni/net.d` on most machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigDir {
    path: PathBuf,
}

/// What a directory held at one moment.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The networks in order; the first is the default network. Names are distinct.
    pub networks: Vec<Conflist>,
    /// The files that give no network, and why.
    pub broken: Vec<(PathBuf, ConfigError)>,
}

impl Loaded {
    /// The network that pods are attached to first.
    pub fn default_network(&self) -> Option<&Conflist> {
        self.networks.first()
    }

    /// The network of this name.
    pub fn network(&self, name: &str) -> Option<&Conflist> {
        self.networks.iter().find(|network| network.name() == name)
    }

    /// Whether two moments differ in nothing that anyone would notice.
    pub fn same_as(&self, other: &Loaded) -> bool {
        let told = |loaded: &Loaded| -> Vec<(PathBuf, String)> {
            let tell = |(path, error): &(PathBuf, ConfigError)| (path.clone(), error.to_string());
            loaded.broken.iter().map(tell).collect()
        };
        self.networks == other.networks && told(self) == told(other)
    }
}

impl ConfigDir {
    /// The directory at `path`; it need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        ConfigDir { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads every `.conflist`, then every `.conf` and `.json`, each group in lexical order. Of
    /// two networks of one name the earlier file wins and the later is reported. A directory
    /// that is not there has no networks; one that cannot be read is reported as broken.
    pub fn load(&self) -> Loaded {
        let mut loaded = Loaded::default();
        let mut owners: HashMap<String, PathBuf> = HashMap::new();
        for group in [&["conflist"][..], &["conf", "json"]] {
            match list_files(&self.path, group) {
                Ok(files) => files.iter().for_each(|file| loaded.take(file, &mut owners)),
                Err(error) => {
                    loaded.broken.push((self.path.clone(), error));
                    return loaded;
                }
            }
        }
        loaded
    }
}

impl Loaded {
    fn take(&mut self, file: &Path, owners: &mut HashMap<String, PathBuf>) {
        let network = match Conflist::load(file) {
            Ok(network) => network,
            Err(error) => return self.broken.push((file.to_owned(), error)),
        };
        match owners.get(network.name()) {
            Some(first) => {
                let error = ConfigError::DuplicateNetwork {
                    path: file.to_owned(),
                    name: network.name().to_owned(),
                    first: first.clone(),
                };
                self.broken.push((file.to_owned(), error));
            }
            None => {
                owners.insert(network.name().to_owned(), file.to_owned());
                self.networks.push(network);
            }
        }
    }
}

#[cfg(test)]
mod tests;
