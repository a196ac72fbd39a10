//! One request to a daemon that may die at any moment.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::raw;

/// A guard against a hang, no measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of a request.
#[derive(Debug)]
pub enum Heard {
    /// It was granted.
    Granted(Value),
    /// It was not; why.
    Refused(Value),
    /// Nobody knows: the daemon died over it.
    Lost,
    /// Nobody was there to ask.
    Down,
}

impl Heard {
    /// Whether the daemon is gone, or about to be.
    #[must_use]
    pub fn is_the_end(&self) -> bool {
        match self {
            Self::Granted(_) => false,
            Self::Refused(why) => says(why, "about to end"),
            Self::Lost | Self::Down => true,
        }
    }
}

/// Whether a refusal's message holds `part`.
#[must_use]
pub fn says(refusal: &Value, part: &str) -> bool {
    let message = refusal["message"].as_str();
    message.is_some_and(|message| message.contains(part))
}

/// Asks and listens.
///
/// # Errors
/// If no answer comes from a daemon that lives.
pub fn call(socket: &Path, method: &str, path: &str, body: &str) -> Result<Heard> {
    heard(raw::request(socket, method, path, body))
}

fn heard(answer: Result<(u16, String)>) -> Result<Heard> {
    let (status, body) = match answer {
        Ok(answer) => answer,
        Err(error) => return why_not(error),
    };
    Ok(match serde_json::from_str(&body) {
        // The daemon died while it answered.
        Err(_) => Heard::Lost,
        Ok(value) if status == 200 => Heard::Granted(value),
        Ok(value) => Heard::Refused(value),
    })
}

fn why_not(error: anyhow::Error) -> Result<Heard> {
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Err(error),
        Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(Heard::Down),
        _ => Ok(Heard::Lost),
    }
}

/// Asks and does not wait for the answer; false if nobody was there to ask.
#[must_use]
pub fn whisper(socket: &Path, path: &str, body: &str) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return false;
    };
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: podwalk\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream
        .write_all(&[head.as_bytes(), body.as_bytes()].concat())
        .is_ok()
}

/// The daemon's events, from now on.
#[derive(Debug)]
pub struct Events(BufReader<UnixStream>);

impl Events {
    /// Begins to listen.
    ///
    /// # Errors
    /// If nobody is there.
    pub fn listen(socket: &Path) -> Result<Self> {
        let mut stream = UnixStream::connect(socket).context("the daemon's socket")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: podwalk\r\n\r\n")?;
        let mut events = BufReader::new(stream);
        // The answer's head: from here on nothing is missed.
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if events.read_line(&mut line)? == 0 {
                bail!("no events");
            }
        }
        Ok(Self(events))
    }

    /// Waits until so many have happened.
    ///
    /// # Errors
    /// If nothing happens any more, or the stream ends.
    pub fn pass(&mut self, count: u64) -> Result<()> {
        for _ in 0..count {
            self.next()?;
        }
        Ok(())
    }

    /// Waits until this has happened to the pod with this id.
    ///
    /// # Errors
    /// As [`pass`](Self::pass), or if a line is no event.
    pub fn until(&mut self, pod: &str, what: &str) -> Result<()> {
        loop {
            let event: Value = serde_json::from_str(&self.next()?)?;
            if event["event"] == what && event["pod"]["id"] == pod {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<String> {
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line);
            if read.context("no event comes any more")? == 0 {
                bail!("the events end");
            }
            // Between them stand the lengths of chunks.
            if line.starts_with('{') {
                return Ok(line);
            }
        }
    }
}
