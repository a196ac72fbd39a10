//! What a runtime says when it fails.

use serde::Deserialize;

/// The most that is kept of it, in bytes; the end tells the cause.
pub(crate) const KEPT: usize = 16 * 1024;
const LINES: usize = 5;
const SHOWN: usize = 2 * 1024;

#[derive(Deserialize)]
struct Line {
    msg: String,
    #[serde(default)]
    level: String,
}

/// The last messages in a log in JSON lines (what we ask runtimes for) or in plain text (what
/// they print before they have read that), joined by `; `. Where there are errors, warnings
/// are left out.
pub(crate) fn messages(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<Line> = text.lines().filter_map(parse).collect();
    let is_error = |line: &&Line| matches!(line.level.as_str(), "error" | "fatal" | "panic" | "");
    let has_errors = lines.iter().any(|line| is_error(&line));
    let wanted = lines.iter().filter(|line| !has_errors || is_error(line));
    let wanted: Vec<&str> = wanted.map(|line| line.msg.as_str()).collect();
    let last = wanted[wanted.len().saturating_sub(LINES)..].join("; ");
    truncate(last)
}

fn parse(line: &str) -> Option<Line> {
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    let plain = || Line {
        msg: line.to_owned(),
        level: String::new(),
    };
    Some(serde_json::from_str(line).unwrap_or_else(|_| plain()))
}

/// Cuts in the middle of nothing, and keeps control characters out of our own log.
fn truncate(text: String) -> String {
    let shown = text.chars().filter(|character| !character.is_control());
    let mut kept: String = shown.take(SHOWN).collect();
    if kept.len() < text.len() && kept.chars().count() == SHOWN {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests;
