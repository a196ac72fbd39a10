//! Users and groups, and whom they stand for on the host.

use super::super::{IdMapping, NamespaceScope, SandboxConfig, UserNamespace};
use crate::config_error::ConfigError;

/// The highest id that runc takes, and Kubernetes.
const HIGHEST: u32 = i32::MAX.cast_unsigned();
/// The most lines that the kernel takes in a `uid_map`, user_namespaces(7).
const MOST_MAPPINGS: usize = 340;

pub(super) fn check(config: &SandboxConfig) -> Result<(), ConfigError> {
    let namespace = config.user_namespace.as_ref();
    if let Some(namespace) = namespace {
        user_namespace(config, namespace)
            .map_err(|(field, why)| ConfigError::UserNamespace { field, why })?;
    }
    let uids = namespace.map(|namespace| &namespace.uids);
    let gids = namespace.map(|namespace| &namespace.gids);
    process_id("user", config.user(), uids)?;
    process_id("group", config.group(), gids)?;
    config
        .supplemental_groups
        .iter()
        .try_for_each(|group| process_id("supplemental group", *group, gids))
}

fn process_id(
    field: &'static str,
    id: u32,
    mappings: Option<&Vec<IdMapping>>,
) -> Result<(), ConfigError> {
    let why = if id > HIGHEST {
        "give at most 2147483647"
    } else if mappings.is_some_and(|mappings| !maps(mappings, id)) {
        "it is not mapped in the user namespace; map it, or give another"
    } else {
        return Ok(());
    };
    Err(ConfigError::UserId { field, id, why })
}

fn user_namespace(
    config: &SandboxConfig,
    namespace: &UserNamespace,
) -> Result<(), (&'static str, &'static str)> {
    if let Some(path) = &namespace.path
        && (!path.is_absolute() || path.as_os_str().as_encoded_bytes().contains(&0))
    {
        return Err(("path", "give an absolute path"));
    }
    if config.pid == NamespaceScope::Node {
        return Err((
            "pid",
            "its root may not mount the /proc of the host's process ids; give the sandbox its own",
        ));
    }
    mappings(&namespace.uids).map_err(|why| ("uids", why))?;
    mappings(&namespace.gids).map_err(|why| ("gids", why))
}

/// What the kernel would refuse, and a runtime's need of a root.
fn mappings(mappings: &[IdMapping]) -> Result<(), &'static str> {
    if mappings.len() > MOST_MAPPINGS {
        return Err("the kernel takes at most 340 ranges");
    }
    let sound = |first: u32, length: u32| length > 0 && first.checked_add(length).is_some();
    if !mappings
        .iter()
        .all(|run| sound(run.container_id, run.length) && sound(run.host_id, run.length))
    {
        return Err("a range is empty, or ends above the highest id");
    }
    if !maps(mappings, 0) {
        return Err("the id 0 is not mapped, and a runtime needs a root inside");
    }
    let inside = mappings.iter().map(|run| (run.container_id, run.length));
    let outside = mappings.iter().map(|run| (run.host_id, run.length));
    if overlap(inside.collect()) || overlap(outside.collect()) {
        return Err("two ranges overlap");
    }
    Ok(())
}

/// Whether two of the ranges, each with its first id and its length, have an id in common. None
/// ends above the highest id.
fn overlap(mut ranges: Vec<(u32, u32)>) -> bool {
    ranges.sort_unstable();
    ranges
        .windows(2)
        .any(|pair| pair[0].0 + pair[0].1 > pair[1].0)
}

fn maps(mappings: &[IdMapping], id: u32) -> bool {
    mappings.iter().any(|run| run.maps(id))
}

#[cfg(test)]
mod tests;
