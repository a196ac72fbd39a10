//! Puts the processes of effects where they are found again.

use std::io;
use std::process::Command;
use std::sync::Arc;

use podwalk_engine::id::InstanceId;
use podwalk_netns::effects::Effects;

/// Where calls go that are for no pod: STATUS, VERSION and GC. It carries the
/// instance's name, as a pod's id does, so that no other daemon's are ended.
pub(super) fn of_no_pod(instance: InstanceId) -> String {
    format!("node-{instance}")
}

/// One place for the plugins' and the runtimes' processes alike.
pub(super) struct Enlist {
    effects: Arc<Effects>,
    of_no_pod: String,
}

impl Enlist {
    /// In the places of this instance.
    pub(super) fn new(effects: Arc<Effects>, instance: InstanceId) -> Self {
        Self {
            effects,
            of_no_pod: of_no_pod(instance),
        }
    }

    fn put(&self, pod: &str, command: &mut Command) -> io::Result<()> {
        let place = match pod.is_empty() {
            true => &self.of_no_pod,
            false => pod,
        };
        self.effects
            .enlist(place, command)
            .map_err(io::Error::other)
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
