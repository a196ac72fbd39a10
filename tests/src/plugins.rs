//! A directory of CNI plugins in which some do as a test tells them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use podwalk_testkit::scripted_plugin::{Installed, Script, install};

use crate::daemon::Config;
use crate::node;

/// A plugin directory of the test's own, which a daemon searches before Debian's.
#[derive(Debug, Clone)]
pub struct Plugins {
    directory: PathBuf,
}

impl Plugins {
    /// Makes the directory, and puts it in front of those of `config`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn before(config: &mut Config) -> Result<Self> {
        let directory = node::disk().join("plugins");
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        config.cni_bin_dirs.insert(0, directory.clone());
        Ok(Self { directory })
    }

    /// Where a plugin of this name lies, or would lie.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Installs a scripted plugin.
    ///
    /// # Errors
    /// If it was not built, or what the file system says.
    pub fn scripted(&self, name: &str, script: &Script) -> Result<Installed> {
        let binary = node::binary("podwalk-scripted-plugin", "podwalk-testkit")?;
        install(&binary, &self.directory, name, script).with_context(|| name.to_owned())
    }

    /// Installs a shell script as a plugin.
    ///
    /// # Errors
    /// What the file system says.
    pub fn shell(&self, name: &str, script: &str) -> Result<PathBuf> {
        let path = self.path(name);
        write_program(&path, script)?;
        Ok(path)
    }
}

/// Writes a shell script that can be executed.
///
/// # Errors
/// What the file system says.
pub fn write_program(path: &Path, script: &str) -> Result<()> {
    // Under another name first, so that nobody executes a file that is still open for writing.
    let fresh = path.with_extension("new");
    let shown = || path.display().to_string();
    fs::write(&fresh, format!("#!/bin/sh\n{script}\n")).with_context(shown)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).with_context(shown)?;
    fs::rename(&fresh, path).with_context(shown)
}
