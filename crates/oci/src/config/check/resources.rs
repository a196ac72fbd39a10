//! Limits of a cgroup. What only the kernel can judge, such as whether a CPU exists, is left to it.

use super::super::Resources;
use crate::config_error::ConfigError;

pub(super) fn check(resources: &Resources) -> Result<(), ConfigError> {
    id_list("cpuset_cpus", resources.cpuset_cpus.as_deref())?;
    id_list("cpuset_mems", resources.cpuset_mems.as_deref())?;
    swap(resources)?;
    for (size, limit) in &resources.hugepages {
        huge_page(size, *limit)?;
    }
    for (file, value) in &resources.unified {
        unified(file, value)?;
    }
    Ok(())
}

/// The list format of cpuset(7).
fn id_list(field: &'static str, list: Option<&str>) -> Result<(), ConfigError> {
    match list {
        Some(list) if !list.split(',').all(is_range) => Err(refused(
            field,
            list,
            "give numbers and ranges, such as 0-3,8",
        )),
        _ => Ok(()),
    }
}

fn is_range(range: &str) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
}

/// Digits alone: Rust would also take a sign.
fn number(digits: &str) -> Option<u32> {
    let all = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| all)
}

/// Both versions of cgroups count swap on top of memory, so that without a limit of the one
/// there is none of the other.
fn swap(resources: &Resources) -> Result<(), ConfigError> {
    let why = match (resources.memory_swap_limit, resources.memory_limit) {
        (Some(_), None) => "give a memory limit too",
        (Some(swap), Some(memory)) if swap >= 0 && memory < 0 => "memory itself has no limit",
        (Some(swap), Some(memory)) if swap >= 0 && swap < memory => {
            "it includes memory, whose limit is higher"
        }
        _ => return Ok(()),
    };
    let swap = resources.memory_swap_limit.unwrap_or_default();
    Err(refused("memory_swap_limit", &swap.to_string(), why))
}

/// The sizes are named as in the runtime specification, which is how cgroups name their files.
fn huge_page(size: &str, limit: u64) -> Result<(), ConfigError> {
    let count = ["KB", "MB", "GB"]
        .iter()
        .find_map(|unit| size.strip_suffix(unit));
    if count.and_then(number).is_none_or(|count| count == 0) {
        let why = "give the size of a page, such as 2MB";
        return Err(refused("hugepages", size, why));
    }
    if i64::try_from(limit).is_err() {
        let why = "give at most 9223372036854775807 bytes";
        return Err(refused("hugepages", &limit.to_string(), why));
    }
    Ok(())
}

/// A file of the sandbox's own cgroup, and not of its parent's.
fn unified(file: &str, value: &str) -> Result<(), ConfigError> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if file.is_empty() || file.starts_with('.') || !file.chars().all(is_name) {
        let why = "give the name of a file, such as memory.high";
        return Err(refused("unified", file, why));
    }
    if value.contains('\0') {
        return Err(refused("unified", value, "there is a NUL in it"));
    }
    Ok(())
}

fn refused(field: &'static str, value: &str, why: &'static str) -> ConfigError {
    ConfigError::Resource {
        field,
        value: value.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests;
