//! Limits, as clients write them.

use std::collections::BTreeMap;

use podwalk_engine::spec::Resources;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::error::{fitting, shortened};

/// Limits. As everywhere in protobuf, 0 and empty are 'not said'.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinuxContainerResources {
    /// The period of CPU time, microseconds.
    pub cpu_period: i64,
    /// CPU time per period, microseconds; -1 is no limit.
    pub cpu_quota: i64,
    /// Relative weight of CPU time.
    pub cpu_shares: i64,
    /// Memory, bytes; -1 is no limit.
    pub memory_limit_in_bytes: i64,
    /// How early the kernel kills the sandbox when memory is short, -1000 to 1000. 0 cannot be asked
    /// for, since it is how protobuf says nothing.
    pub oom_score_adj: i64,
    /// The CPUs that may be used, as in `cpuset(7)`: `0-3,8`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cpuset_cpus: String,
    /// The memory nodes that may be used.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cpuset_mems: String,
    /// Huge pages, one limit for each size of page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// Files of a cgroup of version 2 and what is written into them: `memory.high`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unified: BTreeMap<String, String>,
    /// Memory and swap together, bytes; -1 is no limit.
    pub memory_swap_limit_in_bytes: i64,
    /// Processes; -1 is no limit. It is ours: CRI has no such field, so that only files have it.
    pub pids_limit: i64,
}

/// A limit of huge pages of one size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HugepageLimit {
    /// The size of a page, as the kernel names its files: `2MB`, `1GB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

impl LinuxContainerResources {
    /// The same in the engine's words; `at` is where they stand in the configuration.
    pub(super) fn into_resources(self, at: &str) -> Result<Resources, ConfigError> {
        let Self {
            cpu_period,
            cpu_quota,
            cpu_shares,
            memory_limit_in_bytes,
            oom_score_adj,
            cpuset_cpus,
            cpuset_mems,
            hugepage_limits,
            unified,
            memory_swap_limit_in_bytes,
            pids_limit,
        } = self;
        let unsigned =
            |name: &str, value| fitting(format!("{at}.{name}"), value, "0, or more than 0");
        let score = |value| fitting(format!("{at}.oom_score_adj"), value, "-1000 to 1000");
        Ok(Resources {
            cpu_shares: unsigned("cpu_shares", cpu_shares)?,
            cpu_quota,
            cpu_period: unsigned("cpu_period", cpu_period)?,
            cpuset_cpus,
            cpuset_mems,
            memory_limit: memory_limit_in_bytes,
            memory_swap_limit: memory_swap_limit_in_bytes,
            oom_score_adj: match oom_score_adj {
                0 => None,
                value => Some(score(value)?),
            },
            hugepages: hugepages(at, hugepage_limits)?,
            pids_limit,
            unified,
        })
    }
}

/// One limit for each size; which of two was meant cannot be known.
fn hugepages(at: &str, limits: Vec<HugepageLimit>) -> Result<BTreeMap<String, u64>, ConfigError> {
    let mut by_size = BTreeMap::new();
    for HugepageLimit { page_size, limit } in limits {
        if by_size.contains_key(&page_size) {
            return Err(ConfigError::new(
                format!("{at}.hugepage_limits"),
                format!("page_size '{}' is limited twice", shortened(&page_size)),
                "each size once",
            ));
        }
        by_size.insert(page_size, limit);
    }
    Ok(by_size)
}
