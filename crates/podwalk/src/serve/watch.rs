//! Sandboxes and their shims are watched by their pidfds: an exit is noticed at once.

use podwalk_engine::engine::Engine;
use tokio::sync::mpsc;

use crate::rungs::Watched;

/// Watches what the rungs hand over, until they are gone.
pub(super) async fn watch(engine: Engine, mut watched: mpsc::UnboundedReceiver<Watched>) {
    while let Some(sandbox) = watched.recv().await {
        tokio::spawn(note_exit(engine.clone(), sandbox));
    }
}

async fn note_exit(engine: Engine, sandbox: Watched) {
    if let Err(error) = sandbox.pidfd.exited().await {
        tracing::error!(pod = %sandbox.pod, %error, "a sandbox cannot be watched");
        return;
    }
    let ended = sandbox.pidfd.id();
    let code = match ended.pid == sandbox.process.pid {
        // Known only where the kernel keeps it for a held pidfd (6.15).
        true => sandbox.pidfd.exit_code().ok().flatten(),
        // Its shim's end says nothing of how the sandbox ends, if it has.
        false => None,
    };
    engine.note_exit(sandbox.pod, sandbox.process, code).await;
}
