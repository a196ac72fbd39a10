//! Limits of a cgroup, the sandbox's and the overhead's.

use super::{InvalidSpec, refuse, shortened};
use crate::spec::Resources;

/// The resources of the sandbox.
pub(super) const SANDBOX: Fields = Fields {
    owner: "resources",
    texts: [
        "resources.cpuset_cpus",
        "resources.cpuset_mems",
        "resources.hugepage_limits",
        "resources.unified",
    ],
};

/// What its runtime handler costs.
pub(super) const OVERHEAD: Fields = Fields {
    owner: "overhead",
    texts: [
        "overhead.cpuset_cpus",
        "overhead.cpuset_mems",
        "overhead.hugepage_limits",
        "overhead.unified",
    ],
};

/// The periods that the kernel takes, microseconds.
const PERIODS: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
/// The least quota that the kernel takes, microseconds.
const LEAST_QUOTA: i64 = 1_000;
/// What the kernel takes for `oom_score_adj` (`proc_pid_oom_score_adj(5)`).
const OOM_SCORES: std::ops::RangeInclusive<i32> = -1_000..=1_000;

/// How clients write the fields of one of a spec's resources.
pub(super) struct Fields {
    owner: &'static str,
    /// Those with text: CPUs, memory nodes, huge pages, files.
    texts: [&'static str; 4],
}

impl Resources {
    /// A limit of huge pages is a number beside its text.
    pub(super) fn number_bytes(&self) -> usize {
        self.hugepages.len() * 8
    }
}

impl Fields {
    pub(super) fn texts<'a>(
        &self,
        of: &'a Resources,
    ) -> impl Iterator<Item = (&'static str, &'a str)> + use<'a> {
        let [cpus, mems, hugepages, unified] = self.texts;
        let sets = [
            (cpus, of.cpuset_cpus.as_str()),
            (mems, of.cpuset_mems.as_str()),
        ];
        let sizes = of.hugepages.keys();
        let files = of.unified.iter().flat_map(|(file, text)| [file, text]);
        sets.into_iter()
            .chain(sizes.map(move |size| (hugepages, size.as_str())))
            .chain(files.map(move |text| (unified, text.as_str())))
    }

    pub(super) fn check(&self, of: &Resources) -> Result<(), InvalidSpec> {
        self.check_cpu(of)?;
        self.check_sets(of)?;
        self.check_memory(of)?;
        self.check_oom_score(of)?;
        self.check_hugepages(of)?;
        self.check_limit("pids_limit", of.pids_limit)?;
        self.check_unified(of)
    }

    fn check_limit(&self, field: &str, limit: i64) -> Result<(), InvalidSpec> {
        if limit >= -1 {
            return Ok(());
        }
        refuse(
            self.named(field),
            format!("{limit} is no limit"),
            "a positive number; -1 or 0 for none",
        )
    }

    fn check_cpu(&self, of: &Resources) -> Result<(), InvalidSpec> {
        self.check_limit("cpu_quota", of.cpu_quota)?;
        if (1..LEAST_QUOTA).contains(&of.cpu_quota) {
            refuse(
                self.named("cpu_quota"),
                format!("{} microseconds are too few", of.cpu_quota),
                "1000 or more; -1 or 0 for none",
            )?;
        }
        if of.cpu_period == 0 || PERIODS.contains(&of.cpu_period) {
            return Ok(());
        }
        refuse(
            self.named("cpu_period"),
            format!("{} microseconds are no period", of.cpu_period),
            "1000 to 1000000, or 0 for the default",
        )
    }

    fn check_sets(&self, of: &Resources) -> Result<(), InvalidSpec> {
        for (field, list) in [
            ("cpuset_cpus", &of.cpuset_cpus),
            ("cpuset_mems", &of.cpuset_mems),
        ] {
            if !list.is_empty() && !list.split(',').all(is_range) {
                refuse(
                    self.named(field),
                    format!("'{}' is not a list of numbers", shortened(list)),
                    "for example 0-3,8",
                )?;
            }
        }
        Ok(())
    }

    fn check_memory(&self, of: &Resources) -> Result<(), InvalidSpec> {
        self.check_limit("memory_limit_in_bytes", of.memory_limit)?;
        self.check_limit("memory_swap_limit_in_bytes", of.memory_swap_limit)?;
        let (memory, both) = (of.memory_limit, of.memory_swap_limit);
        if both <= 0 || (1..=both).contains(&memory) {
            return Ok(());
        }
        refuse(
            self.named("memory_swap_limit_in_bytes"),
            format!("it is {both}, with a memory_limit_in_bytes of {memory}"),
            "it counts memory and swap together: limit memory too, to no more than this",
        )
    }

    fn check_oom_score(&self, of: &Resources) -> Result<(), InvalidSpec> {
        match of.oom_score_adj {
            Some(score) if !OOM_SCORES.contains(&score) => refuse(
                self.named("oom_score_adj"),
                format!("{score} is out of range"),
                "-1000 to 1000",
            ),
            _ => Ok(()),
        }
    }

    fn check_hugepages(&self, of: &Resources) -> Result<(), InvalidSpec> {
        match of.hugepages.keys().find(|size| !is_page_size(size)) {
            None => Ok(()),
            Some(size) => refuse(
                self.named("hugepage_limits"),
                format!("'{}' is not the size of a page", shortened(size)),
                "for example 2MB, 1GB or 64KB",
            ),
        }
    }

    fn check_unified(&self, of: &Resources) -> Result<(), InvalidSpec> {
        for (file, text) in &of.unified {
            if !is_cgroup_file(file) {
                refuse(
                    self.named("unified"),
                    format!("'{}' is not a file of a cgroup", shortened(file)),
                    "for example memory.high",
                )?;
            }
            if text.contains(char::is_control) {
                refuse(
                    self.named("unified"),
                    format!("the value of {} is not one line", shortened(file)),
                    "one line of text",
                )?;
            }
        }
        Ok(())
    }

    fn named(&self, field: &str) -> String {
        format!("{}.{field}", self.owner)
    }
}

/// `3`, or `0-3` with the lower one first.
fn is_range(text: &str) -> bool {
    match text.split_once('-') {
        None => number(text).is_some(),
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) => first <= last,
            _ => false,
        },
    }
}

/// Digits alone: `u32::from_str` would take a sign.
fn number(text: &str) -> Option<u32> {
    let is_digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_digits)
}

fn is_page_size(text: &str) -> bool {
    let units = ["KB", "MB", "GB"];
    let size = units.iter().find_map(|unit| text.strip_suffix(unit));
    let plain = |size: &str| !size.starts_with('0') && number(size).is_some();
    size.is_some_and(plain)
}

/// `controller.file`, in the cgroup's own directory. What is `cgroup.` is no limit: it moves, freezes
/// and kills processes, which is the runtime's.
fn is_cgroup_file(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_');
    let has_parts = name.contains('.') && !name.split('.').any(str::is_empty);
    has_parts && name.bytes().all(allowed) && !name.starts_with("cgroup.")
}
