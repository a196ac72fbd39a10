//! Sandboxes and their shims are watched by their pidfds: an exit is noticed at once.

use std::fmt::Display;
use std::time::Duration;

use podwalk_engine::PodId;
use podwalk_engine::engine::Engine;
use podwalk_engine::pod::Status;
use podwalk_engine::step::Step;
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
    let is_wanted = || {
        engine.get(sandbox.pod).is_some_and(|view| {
            // Of a start that is not recorded yet it is not known.
            let known = view.pod.sandbox.as_ref();
            let is_it = known.is_none_or(|known| known.process == sandbox.process);
            is_it && view.pod.status(Step::Start) != Status::Never
        })
    };
    if !until_told(sandbox.pod, || sandbox.pidfd.exited(), is_wanted).await {
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

/// Waits for an end as often as it takes, since nobody else would notice it, and as long as it is
/// wanted; whether it came.
async fn until_told<E, W>(pod: PodId, exited: impl Fn() -> W, is_wanted: impl Fn() -> bool) -> bool
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
        if !is_wanted() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
