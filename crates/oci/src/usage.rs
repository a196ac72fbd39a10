//! What a sandbox uses, by the files of its cgroup.
//!
//! The two versions of cgroups tell the same in different files, units and words:
//!
//! | figure | version 1 | version 2 |
//! |---|---|---|
//! | CPU time | `cpuacct.usage`, ns | `usage_usec` of `cpu.stat`, µs |
//! | memory | `memory.usage_in_bytes` | `memory.current` |
//! | its limit | `memory.limit_in_bytes`, huge for none | `memory.max`, `max` for none |
//! | inactive file pages | `total_inactive_file` of `memory.stat` | `inactive_file` |
//! | anonymous memory | `total_rss` | `anon` |
//! | page faults | `total_pgfault`, `total_pgmajfault` | `pgfault`, `pgmajfault` |
//! | processes | `pids.current` | `pids.current` |
//!
//! A controller that is not mounted, or not handed down to the cgroup, has no files. Then its
//! figures are absent; zero would be a figure. The kernel sums up what `memory.stat` says every two
//! seconds or so: of a cgroup that was just made, all but its usage may still be zero.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cgroup::{CgroupLayout, Cgroups, CgroupsPath, is_gone};

/// Without a limit version 1 has the largest number of bytes in whole pages, which depends on
/// the size of a page: at most 64 KiB on what Linux runs on.
const NO_LIMIT_V1: u64 = i64::MAX.cast_unsigned() - 0xffff;

/// What a cgroup uses, with all below it. What has no controller is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CgroupUsage {
    /// CPU time since the cgroup was made, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Memory.
    pub memory: Option<MemoryUsage>,
    /// Number of processes and threads.
    pub pids: Option<u64>,
}

/// Memory that a cgroup uses, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUsage {
    /// All that is charged to it, the page cache included.
    pub usage: u64,
    /// Of that, what cannot be given back at once: inactive file pages are left out.
    pub working_set: u64,
    /// Anonymous memory.
    pub rss: u64,
    /// Its own limit, whatever its parents have; `None` is no limit.
    pub limit: Option<u64>,
    /// Page faults since the cgroup was made, minor and major.
    pub page_faults: u64,
    /// Those that had to wait for a disk.
    pub major_page_faults: u64,
}

impl CgroupsPath {
    /// What the cgroup uses now. Nothing is known of one that is not there (any more): all
    /// figures are absent. Blocks on the kernel's files only.
    ///
    /// # Errors
    /// A file that cannot be read, or says something else than these kernels do; its path is in
    /// the message.
    pub fn usage(&self) -> io::Result<CgroupUsage> {
        read(&Cgroups::detect()?, self)
    }
}

fn read(cgroups: &Cgroups, path: &CgroupsPath) -> io::Result<CgroupUsage> {
    let files = Files(cgroups.directories(path));
    let usage = match cgroups.layout {
        // The hybrid layout has its controllers in version 1.
        CgroupLayout::V1 | CgroupLayout::Hybrid => CgroupUsage {
            cpu_ns: files.number("cpuacct.usage")?,
            memory: memory(&files, &V1)?,
            pids: files.number("pids.current")?,
        },
        CgroupLayout::V2 => CgroupUsage {
            cpu_ns: files.read("cpu.stat", cpu_ns)?,
            memory: memory(&files, &V2)?,
            pids: files.number("pids.current")?,
        },
        CgroupLayout::None => CgroupUsage::default(),
    };
    Ok(usage)
}

/// What the memory controller of a version calls its files and figures.
struct MemoryNames {
    usage: &'static str,
    limit: &'static str,
    parse_limit: fn(&str) -> Option<Option<u64>>,
    inactive_file: &'static str,
    rss: &'static str,
    page_faults: &'static str,
    major_page_faults: &'static str,
}

/// The figures with `total_` include the cgroups below.
const V1: MemoryNames = MemoryNames {
    usage: "memory.usage_in_bytes",
    limit: "memory.limit_in_bytes",
    parse_limit: limit_v1,
    inactive_file: "total_inactive_file",
    rss: "total_rss",
    page_faults: "total_pgfault",
    major_page_faults: "total_pgmajfault",
};

const V2: MemoryNames = MemoryNames {
    usage: "memory.current",
    limit: "memory.max",
    parse_limit: limit_v2,
    inactive_file: "inactive_file",
    rss: "anon",
    page_faults: "pgfault",
    major_page_faults: "pgmajfault",
};

/// The three files belong to one controller: where one is missing, the cgroup is going away.
fn memory(files: &Files, names: &MemoryNames) -> io::Result<Option<MemoryUsage>> {
    let Some(usage) = files.number(names.usage)? else {
        return Ok(None);
    };
    let Some(limit) = files.read(names.limit, names.parse_limit)? else {
        return Ok(None);
    };
    files.read("memory.stat", |stat| {
        Some(MemoryUsage {
            usage,
            working_set: usage.saturating_sub(keyed(stat, names.inactive_file)?),
            rss: keyed(stat, names.rss)?,
            limit,
            page_faults: keyed(stat, names.page_faults)?,
            major_page_faults: keyed(stat, names.major_page_faults)?,
        })
    })
}

/// A cgroup's directories, one for each hierarchy. A file of a controller is in one of them.
struct Files(Vec<PathBuf>);

impl Files {
    fn number(&self, name: &str) -> io::Result<Option<u64>> {
        self.read(name, number)
    }

    /// Reads the file, absent if there is none, and parses it.
    fn read<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> io::Result<Option<T>> {
        for path in self.0.iter().map(|directory| directory.join(name)) {
            match fs::read_to_string(&path) {
                Ok(text) => return parse(&text).map(Some).ok_or_else(|| odd(&path)),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(named(&path, &error)),
            }
        }
        Ok(None)
    }
}

fn odd(path: &Path) -> io::Error {
    let message = format!("{} does not say what was expected", path.display());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot read {}: {error}", path.display()),
    )
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn limit_v1(text: &str) -> Option<Option<u64>> {
    number(text).map(|limit| Some(limit).filter(|limit| *limit < NO_LIMIT_V1))
}

fn limit_v2(text: &str) -> Option<Option<u64>> {
    match text.trim() {
        "max" => Some(None),
        limit => number(limit).map(Some),
    }
}

/// CPU time from `cpu.stat` of version 2, which every cgroup but the root has.
fn cpu_ns(stat: &str) -> Option<u64> {
    keyed(stat, "usage_usec").map(|microseconds| microseconds.saturating_mul(1000))
}

/// A figure of a file with `KEY VALUE` in each line.
fn keyed(text: &str, key: &str) -> Option<u64> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| number(value))
}

#[cfg(test)]
mod tests;
