//! Puts the processes of effects where they are found again.

use std::io;
use std::process::Command;
use std::sync::Arc;

use podwalk_netns::effects::Effects;

/// Where calls go that are for no pod: STATUS, VERSION and GC.
pub(super) const OF_NO_POD: &str = "node";

/// One place for the plugins' and the runtimes' processes alike.
pub(crate) struct Enlist(pub(super) Arc<Effects>);

impl Enlist {
    fn put(&self, pod: &str, command: &mut Command) -> io::Result<()> {
        let place = match pod.is_empty() {
            true => OF_NO_POD,
            false => pod,
        };
        self.0.enlist(place, command).map_err(io::Error::other)
    }
}

impl podwalk_cni::Spawn for Enlist {
    fn enlist(&self, container_id: &str, command: &mut Command) -> io::Result<()> {
        self.put(container_id, command)
    }
}

impl podwalk_oci::Spawn for Enlist {
    fn enlist(&self, id: &str, command: &mut Command) -> io::Result<()> {
        self.put(id, command)
    }
}
