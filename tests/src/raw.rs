//! The daemon's socket without Podwalk's own client: what anybody may send.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long an answer may take. A guard against a hang, no measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends bytes as they are and nothing after them, and gives what comes until the daemon closes;
/// empty if it only closes.
///
/// # Errors
/// If nobody listens, or the daemon neither answers nor closes.
pub fn send(socket: &Path, bytes: &[u8]) -> Result<String> {
    let mut stream = connect(socket)?;
    // The daemon may close before it has read everything: its answer is what counts.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    answer(stream)
}

fn connect(socket: &Path) -> Result<UnixStream> {
    let stream = UnixStream::connect(socket).context("the daemon's socket")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn answer(mut stream: UnixStream) -> Result<String> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err(error).context("no answer to what was sent")
        }
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

/// Sends one request of HTTP/1.1 and gives the status and the body.
///
/// # Errors
/// As [`send`], or if what comes is no answer of HTTP.
pub fn request(socket: &Path, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: podwalk\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    let mut stream = connect(socket)?;
    // A refusal may come before all of a large body is read.
    let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
    let answer = answer(stream)?;
    let status = answer.strip_prefix("HTTP/1.1 ");
    let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.with_context(|| format!("no answer of HTTP: {answer:?}"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}
