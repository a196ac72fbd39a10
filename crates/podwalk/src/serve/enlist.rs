//! Puts the processes of effects where they are found again.

use std::io;
use std::sync::Arc;

use podwalk_engine::id::InstanceId;
use podwalk_netns::effects::{Effects, Error};
use podwalk_process::{Command, NotSpawned, Spawn, Spawned, Stdio};

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
}

impl Spawn for Enlist {
    fn spawn(
        &self,
        owner: &str,
        command: &Command<'_>,
        stdio: Stdio<'_>,
    ) -> Result<Spawned, NotSpawned> {
        let place = match owner.is_empty() {
            true => &self.of_no_pod,
            false => owner,
        };
        let spawned = self.effects.spawn(place, command, stdio);
        spawned.map_err(|error| match error {
            Error::Start { source, .. } => NotSpawned::Execute(source),
            other => NotSpawned::Enlist(io::Error::other(other)),
        })
    }
}
