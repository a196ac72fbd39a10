//! Limits, as far as they were asked for: a runtime fails on one without a controller.

use std::collections::{BTreeMap, HashMap};

use oci_spec::runtime::{LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxPids, LinuxResources};

use crate::cgroup::CgroupLayout;
use crate::config::Resources;
use crate::config_error::ConfigError;

/// The limits that were asked for and no others. The object is there even when it is empty,
/// because Kata's shim needs it.
pub(super) fn resources(
    wanted: &Resources,
    layout: CgroupLayout,
) -> Result<LinuxResources, ConfigError> {
    let mut resources = LinuxResources::default();
    let pids = wanted.pids_limit.map(|limit| {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        pids
    });
    resources
        .set_devices(None)
        .set_cpu(cpu(wanted))
        .set_memory(memory(wanted))
        .set_hugepage_limits(hugepages(&wanted.hugepages))
        .set_pids(pids)
        .set_unified(unified(&wanted.unified, layout)?);
    Ok(resources)
}

fn cpu(wanted: &Resources) -> Option<LinuxCpu> {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(wanted.cpu_shares)
        .set_quota(wanted.cpu_quota)
        .set_period(wanted.cpu_period)
        .set_cpus(wanted.cpuset_cpus.clone())
        .set_mems(wanted.cpuset_mems.clone());
    Some(cpu).filter(|cpu| *cpu != LinuxCpu::default())
}

fn memory(wanted: &Resources) -> Option<LinuxMemory> {
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(wanted.memory_limit)
        .set_swap(wanted.memory_swap_limit);
    Some(memory).filter(|memory| *memory != LinuxMemory::default())
}

fn hugepages(wanted: &BTreeMap<String, u64>) -> Option<Vec<LinuxHugepageLimit>> {
    let limits = wanted.iter().map(|(size, bytes)| {
        let mut limit = LinuxHugepageLimit::default();
        // The configuration's check refuses more.
        let bytes = i64::try_from(*bytes).unwrap_or(i64::MAX);
        limit.set_page_size(size.clone()).set_limit(bytes);
        limit
    });
    (!wanted.is_empty()).then(|| limits.collect())
}

/// Files of version 2. On version 1 the runtimes refuse them too, but in other words each, and when
/// they have begun.
fn unified(
    wanted: &BTreeMap<String, String>,
    layout: CgroupLayout,
) -> Result<Option<HashMap<String, String>>, ConfigError> {
    let Some(file) = wanted.keys().next() else {
        return Ok(None);
    };
    match layout {
        CgroupLayout::V1 | CgroupLayout::Hybrid => Err(ConfigError::Unified {
            file: file.clone(),
            layout,
        }),
        CgroupLayout::V2 | CgroupLayout::None => Ok(Some(wanted.clone().into_iter().collect())),
    }
}

#[cfg(test)]
mod tests;
