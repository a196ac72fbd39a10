//! The socket: one daemon's, and nobody else's to read.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::{Context, bail};
use nix::sys::stat::{Mode, umask};
use tokio::net::UnixListener;

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
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    if !kind.is_socket() {
        bail!(
            "{} is not a socket, and is left alone (remove it, or listen elsewhere)",
            path.display()
        );
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => bail!(
            "another daemon answers on {} (stop it, or listen elsewhere with --listen)",
            path.display()
        ),
        Err(_) => std::fs::remove_file(path)
            .with_context(|| format!("the stale socket {} cannot be removed", path.display())),
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
        let error = listen(&path).unwrap_err().to_string();
        assert!(error.contains("another daemon"), "{error}");
        drop(listener);
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
