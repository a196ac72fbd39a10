//! Who holds a journal, in words.

use std::fmt;

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
    /// This process.
    pub(crate) fn this_process() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let nodename = rustix::system::uname().nodename().to_string_lossy().into();
        Self {
            pid: Some(std::process::id()),
            start_time: start_time(&stat),
            host: Some(nodename),
        }
    }

    /// Whether that process is known to have ended: no process has its pid, or
    /// another one, or it is dead and not yet reaped.
    pub(crate) fn has_ended(&self) -> bool {
        let Some(pid) = self.pid else {
            return false;
        };
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => is_dead(&stat) || start_time(&stat) != self.start_time,
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        }
    }

    /// By the words of a lock file; what it does not say is none.
    pub(crate) fn parse(text: &str) -> Self {
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

    /// As a lock file says it.
    pub(crate) fn text(&self) -> String {
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

/// Field 3 of `/proc/PID/stat`, the first after the name: Z and X are dead.
fn is_dead(stat: &str) -> bool {
    let state = stat.rsplit_once(')').map(|(_, fields)| fields.trim_start());
    state.is_some_and(|state| state.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests;
