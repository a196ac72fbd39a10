//! Files that others append lines to while they are read.

use std::io;
use std::path::Path;

/// The lines of a file that are whole by now: one that is being written is none yet. There are none
/// in a file that does not exist.
///
/// # Errors
/// What the file system says, or that a line is no UTF-8.
pub fn whole(path: &Path) -> io::Result<Vec<String>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        bytes => bytes?,
    };
    let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let text = str::from_utf8(&bytes[..end]).map_err(io::Error::other)?;
    Ok(text.lines().map(ToOwned::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_none_until_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        let cases: [(&[u8], &[&str]); 5] = [
            (b"", &[]),
            (b"on", &[]),
            (b"one\n", &["one"]),
            (b"one\n\ntwo\nthr", &["one", "", "two"]),
            (b"one\n\xc3", &["one"]),
        ];
        assert_eq!(whole(&path).unwrap(), Vec::<String>::new());
        for (bytes, lines) in cases {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(whole(&path).unwrap(), lines, "{bytes:?}");
        }
        std::fs::write(&path, b"\xc3\n").unwrap();
        assert!(whole(&path).is_err());
    }
}
