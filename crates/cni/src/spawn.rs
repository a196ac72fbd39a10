//! The port through which the owner of the processes takes hold of them.

use std::io;
use std::process::Command;

/// Puts a plugin's process where it can be found after a crash of ours, before it executes.
///
/// A plugin, and what it starts in turn, outlives its caller. Whoever recovers must be able to
/// find all of it; so the daemon implements this by a cgroup named after the pod.
pub trait Spawn: Send + Sync {
    /// Prepares `command`, which is complete and about to be started. `container_id` is that of
    /// the attachment, and "" for calls that belong to no container (STATUS, VERSION, GC).
    ///
    /// # Errors
    /// Whatever keeps the process from being enlisted; the plugin is then not started.
    fn enlist(&self, container_id: &str, command: &mut Command) -> io::Result<()>;
}

/// Leaves the process where it is: for embedders that have nothing to recover.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlisted;

impl Spawn for Unlisted {
    fn enlist(&self, _container_id: &str, _command: &mut Command) -> io::Result<()> {
        Ok(())
    }
}
