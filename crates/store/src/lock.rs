//! The lock file: one process per journal, and it says who.
//!
//! sled has a lock of its own, which does not say who holds it, and which is
//! taken only after sled has begun to write.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::OpenError;

/// Who holds a journal, by the words of its lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holder {
    /// The pid, in its own pid namespace.
    pub pid: Option<u32>,
    /// Its start time, in clock ticks since boot (field 22 of
    /// `/proc/PID/stat`).
    pub start_time: Option<u64>,
    /// The host's name.
    pub host: Option<String>,
}

impl Holder {
    fn this_process() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let nodename = rustix::system::uname().nodename().to_string_lossy().into();
        Self {
            pid: Some(std::process::id()),
            start_time: start_time(&stat),
            host: Some(nodename),
        }
    }

    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        Self {
            pid: field("pid").and_then(|pid| pid.parse().ok()),
            start_time: field("start").and_then(|start| start.parse().ok()),
            host: field("host").map(str::to_owned),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                text.push_str(&format!("{name} {value}\n"));
            }
        };
        line("pid", self.pid.map(|pid| pid.to_string()));
        line("start", self.start_time.map(|start| start.to_string()));
        line("host", self.host.clone());
        text
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(pid) = self.pid else {
            return out.write_str("a process that has not said its pid yet");
        };
        write!(out, "pid {pid}")?;
        if let Some(start) = self.start_time {
            write!(out, " (started at tick {start})")?;
        }
        if let Some(host) = &self.host {
            write!(out, " on {host}")?;
        }
        Ok(())
    }
}

/// Field 22 of `/proc/PID/stat`: the twentieth after the command's name, which
/// is in parentheses and may contain anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A lock that is held until it is dropped. The file stays: deleting it would
/// let two processes lock two files of one name.
#[derive(Debug)]
pub(crate) struct LockFile {
    _file: File,
}

impl LockFile {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(path: &Path) -> Result<Self, OpenError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(OpenError::io("open", path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(locked(path.to_owned(), &mut file)),
            Err(error) => return Err(OpenError::io("lock", path)(error.into())),
        }
        sign(&mut file).map_err(OpenError::io("write", path))?;
        Ok(Self { _file: file })
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(Holder::this_process().text().as_bytes())
}

fn locked(path: PathBuf, file: &mut File) -> OpenError {
    let mut text = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(4096).read_to_string(&mut text));
    // Unreadable is as good as not yet written: the lock is what counts.
    if read.is_err() {
        text.clear();
    }
    OpenError::Locked {
        path,
        holder: Holder::parse(&text),
    }
}

#[cfg(test)]
mod tests;
