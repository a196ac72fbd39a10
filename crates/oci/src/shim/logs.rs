//! What shims write to their logs: a fifo in each bundle, which must have a reader before the shim
//! starts. Kata's shim ends at once without one.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::task::AbortHandle;

use crate::bundle::SHIM_LOG;
use crate::id::SandboxId;

/// The most of a line that is told, in bytes. What a longer one has is dropped.
const LINE: usize = 2 * 1024;

/// The readers, one for each sandbox.
#[derive(Default)]
pub(crate) struct Logs {
    readers: Mutex<HashMap<SandboxId, AbortHandle>>,
}

impl Logs {
    /// Makes the fifo, if it is not there, and reads it until [`Logs::close`].
    pub(crate) fn open(&self, id: &SandboxId, bundle: &Path) -> io::Result<()> {
        let path = bundle.join(SHIM_LOG);
        match mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0) {
            Err(errno) if errno.kind() != ErrorKind::AlreadyExists => return Err(errno.into()),
            _ => {}
        }
        // Held open for writing too: so it has no end when a shim or its runtime closes it.
        let mut options = pipe::OpenOptions::new();
        let pipe = options.read_write(true).open_receiver(&path)?;
        let reader = tokio::spawn(tell(id.clone(), pipe)).abort_handle();
        if let Some(earlier) = self.lock().insert(id.clone(), reader) {
            earlier.abort();
        }
        Ok(())
    }

    /// The same for a sandbox that an earlier life of ours started.
    pub(crate) fn reopen(&self, id: &SandboxId, bundle: &Path) -> io::Result<()> {
        match self.lock().contains_key(id) || !bundle.join(SHIM_LOG).exists() {
            true => Ok(()),
            false => self.open(id, bundle),
        }
    }

    pub(crate) fn close(&self, id: &SandboxId) {
        if let Some(reader) = self.lock().remove(id) {
            reader.abort();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SandboxId, AbortHandle>> {
        // Each change is one call, so that a panic in between left nothing half done.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn tell(id: SandboxId, mut pipe: pipe::Receiver) {
    let mut chunk = [0; 4096];
    let mut line = Vec::new();
    while let Ok(read) = pipe.read(&mut chunk).await {
        for byte in chunk.iter().take(read) {
            match byte {
                b'\n' => {
                    let text = String::from_utf8_lossy(&line);
                    tracing::debug!(sandbox = %id, line = ?text, "its shim says");
                    line.clear();
                }
                byte if line.len() < LINE => line.push(*byte),
                _ => {}
            }
        }
    }
}
