//! The socket: one daemon's, and nobody else's to read.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::stat::{Mode, umask};
use tokio::net::UnixListener;

/// How long a daemon that may be there has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens on `path`, mode 0600. A socket that nobody answers on is of a
/// daemon that was killed, and is replaced; whatever else is there stays.
pub(super) fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    let shown = || format!("the socket {} cannot be opened", path.display());
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).with_context(shown)?;
    }
    clear_stale(path)?;
    // Nothing else makes files yet, so the process's mask can be borrowed.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    listener.with_context(shown)
}

fn clear_stale(path: &Path) -> anyhow::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    if !kind.is_socket() {
        bail!(
            "{} is not a socket, and is left alone (remove it, or listen elsewhere)",
            path.display()
        );
    }
    if somebody_answers(path) {
        bail!(
            "another daemon answers on {} (stop it, or listen elsewhere with --listen)",
            path.display()
        );
    }
    std::fs::remove_file(path)
        .with_context(|| format!("the stale socket {} cannot be removed", path.display()))
}

/// Whether a question gets an answer, or at least does not come back at once.
/// That a connection is made says nothing: a child of a daemon that was killed
/// holds its socket until it executes its own program.
fn somebody_answers(path: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(path) else {
        return false;
    };
    let asked = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.write_all(b"GET /v1/version HTTP/1.0\r\n\r\n"));
    let mut byte = [0];
    match asked.and_then(|()| stream.read(&mut byte)) {
        Ok(read) => read > 0,
        // Who holds the connection and says nothing may be busy: not stale.
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// Removes the socket's file, so that clients are told at once.
pub(super) fn close(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::debug!(%error, path = %path.display(), "the socket's file stays");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        drop(listen(&path).unwrap());
        let listener = listen(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // One who listens and answers nothing may be busy.
        let again = path.clone();
        let second = tokio::task::spawn_blocking(move || somebody_answers(&again));
        let (mut taken, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut taken, b"HTTP/1.0 200 OK\r\n")
            .await
            .unwrap();
        assert!(second.await.unwrap());
        // One who hangs up is gone.
        let again = path.clone();
        let second = tokio::task::spawn_blocking(move || somebody_answers(&again));
        drop(listener.accept().await.unwrap());
        assert!(!second.await.unwrap());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        let error = listen(&path).unwrap_err().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
    }
}
