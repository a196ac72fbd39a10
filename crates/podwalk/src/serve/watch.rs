//! Sandboxes and their shims are watched by their pidfds: an exit is noticed at once.

use std::fmt::Display;
use std::time::Duration;

use podwalk_engine::PodId;
use podwalk_engine::engine::Engine;
use tokio::sync::mpsc;

use crate::rungs::Watched;

/// What keeps a watch from being set, such as a want of descriptors, passes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Watches what the rungs hand over, until they are gone.
pub(super) async fn watch(engine: Engine, mut watched: mpsc::UnboundedReceiver<Watched>) {
    while let Some(sandbox) = watched.recv().await {
        tokio::spawn(note_exit(engine.clone(), sandbox));
    }
}

async fn note_exit(engine: Engine, sandbox: Watched) {
    until_told(sandbox.pod, || sandbox.pidfd.exited()).await;
    let ended = sandbox.pidfd.id();
    let code = match ended.pid == sandbox.process.pid {
        // Known only where the kernel keeps it for a held pidfd (6.15).
        true => sandbox.pidfd.exit_code().ok().flatten(),
        // Its shim's end says nothing of how the sandbox ends, if it has.
        false => None,
    };
    engine.note_exit(sandbox.pod, sandbox.process, code).await;
}

/// Waits for an end as often as it takes: nobody else would notice it.
async fn until_told<E, W>(pod: PodId, exited: impl Fn() -> W)
where
    E: Display,
    W: Future<Output = Result<(), E>>,
{
    let mut told = false;
    while let Err(error) = exited().await {
        if !told {
            tracing::error!(%pod, %error, "a sandbox cannot be watched yet");
            told = true;
        }
        tokio::time::sleep(PATIENCE).await;
    }
}

#[cfg(test)]
mod tests;
