//! What `/proc` tells of a sandbox.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// Which namespace a process is in.
pub(crate) fn namespace(pid: u32, kind: &str) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/{kind}"))
        .unwrap()
        .ino()
}

/// A field of `/proc/PID/status`.
pub(crate) fn status(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

/// The words of a file of `/proc/PID`.
pub(crate) fn words(pid: u32, file: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The type of the file system that is mounted on a directory of the sandbox's.
pub(crate) fn mounted(pid: u32, point: &str) -> Option<String> {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let line = mounts
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(point))?;
    let (_, kind) = line.split_once(" - ").unwrap();
    kind.split(' ').next().map(str::to_owned)
}
