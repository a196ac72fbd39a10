//! What is said of the sandbox's separation from the host.

use super::{InvalidSpec, refuse, shortened};
use crate::spec::{IdMapping, PodSpec, Profile, Security, SelinuxLabel, Sharing, UserMappings};

const USERNS: &str = "namespace_options.userns_options";
const UIDS: &str = "namespace_options.userns_options.uids";
const GIDS: &str = "namespace_options.userns_options.gids";
/// How many runs of ids one map of the kernel takes (`UID_GID_MAP_MAX_EXTENTS`).
const MAX_MAPPINGS: usize = 340;
/// The longest name of an AppArmor profile, as for a file: policies are kept under their names.
const MAX_PROFILE_NAME: usize = 255;
/// The id that none has: to the kernel -1 says "leave it as it is" (`setresuid(2)`).
const NO_ID: u32 = u32::MAX;

impl Security {
    pub(super) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let profiles = [("seccomp", &self.seccomp), ("apparmor", &self.apparmor)];
        let profiles = profiles
            .into_iter()
            .filter_map(|(field, profile)| match profile {
                Profile::Localhost(name) => Some((field, name.as_str())),
                Profile::RuntimeDefault | Profile::Unconfined => None,
            });
        profiles.chain(self.selinux.iter().flat_map(parts))
    }

    pub(super) fn number_bytes(&self) -> usize {
        let mappings = self.user_namespace.as_ref();
        let mappings = mappings.map_or(0, |both| both.uids.len() + both.gids.len());
        self.supplemental_groups.len() * 4 + mappings * 12
    }

    pub(super) fn check(&self) -> Result<(), InvalidSpec> {
        check_seccomp(&self.seccomp)?;
        check_apparmor(&self.apparmor)?;
        self.selinux.iter().try_for_each(check_selinux)?;
        self.check_ids()
    }

    fn check_ids(&self) -> Result<(), InvalidSpec> {
        if self.run_as_group.is_some() && self.run_as_user.is_none() {
            refuse(
                "run_as_group",
                "there is no run_as_user",
                "give the user too, or neither",
            )?;
        }
        for (field, id) in self.ids() {
            if id == NO_ID {
                refuse(field, format!("{NO_ID} is no id"), "an id below 4294967295")?;
            }
        }
        Ok(())
    }

    fn ids(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let user = self.run_as_user.map(|id| ("run_as_user", id));
        user.into_iter().chain(self.groups())
    }

    fn groups(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let group = self.run_as_group.map(|id| ("run_as_group", id));
        let others = self.supplemental_groups.iter();
        group
            .into_iter()
            .chain(others.map(|id| ("supplemental_groups", *id)))
    }

    /// The kernel would refuse these too, but only once everything else is there.
    fn check_ids_are_mapped(&self, mappings: &UserMappings) -> Result<(), InvalidSpec> {
        if let Some(id) = self.run_as_user {
            refuse_unmapped("run_as_user", id, &mappings.uids)?;
        }
        for (field, id) in self.groups() {
            refuse_unmapped(field, id, &mappings.gids)?;
        }
        Ok(())
    }
}

impl PodSpec {
    pub(super) fn check_user_namespace(&self) -> Result<(), InvalidSpec> {
        let Some(mappings) = &self.security.user_namespace else {
            return Ok(());
        };
        self.check_owned_by_user_namespace()?;
        check_mappings(UIDS, &mappings.uids)?;
        check_mappings(GIDS, &mappings.gids)?;
        self.security.check_ids_are_mapped(mappings)
    }

    /// A user namespace rules over the other namespaces only if it owns them: over the host's, or
    /// another pod's, its root would be nobody.
    fn check_owned_by_user_namespace(&self) -> Result<(), InvalidSpec> {
        if !self.network.has_own_namespace() {
            refuse(
                USERNS,
                format!(
                    "network mode {} has no namespace that the pod's user namespace could own",
                    self.network
                ),
                "use network mode cni or none, or the host's user namespace",
            )?;
        }
        for (field, sharing) in [("pid", self.security.pid), ("ipc", self.security.ipc)] {
            if sharing == Sharing::Node {
                refuse(
                    USERNS,
                    format!("namespace_options.{field} is the node's"),
                    "a namespace of the pod's own, or the host's user namespace",
                )?;
            }
        }
        if self.security.privileged {
            refuse(
                USERNS,
                "the pod is privileged, which a user namespace would take back",
                "leave privileged out, or use the host's user namespace",
            )?;
        }
        Ok(())
    }
}

fn check_mappings(field: &str, mappings: &[IdMapping]) -> Result<(), InvalidSpec> {
    if mappings.is_empty() {
        refuse(
            field,
            "nothing is mapped",
            "map at least the container's id 0",
        )?;
    }
    if mappings.len() > MAX_MAPPINGS {
        refuse(
            field,
            format!("there are {} mappings", mappings.len()),
            "at most 340, the kernel's limit",
        )?;
    }
    let container: Vec<Run> = mappings.iter().map(Run::in_container).collect();
    let host: Vec<Run> = mappings.iter().map(Run::on_host).collect();
    check_runs(field, "container_id", container)?;
    check_runs(field, "host_id", host)?;
    if find(mappings, 0).is_none() {
        refuse(
            field,
            "the container's id 0 is not mapped",
            "map it: the sandbox's own files are its",
        )?;
    }
    Ok(())
}

/// Ids from `first` on, below `end`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    first: u64,
    end: u64,
}

impl Run {
    fn in_container(mapping: &IdMapping) -> Run {
        Run::new(mapping.container_id, mapping.length)
    }

    fn on_host(mapping: &IdMapping) -> Run {
        Run::new(mapping.host_id, mapping.length)
    }

    fn new(first: u32, length: u32) -> Run {
        let first = u64::from(first);
        Run {
            first,
            end: first + u64::from(length),
        }
    }
}

fn check_runs(field: &str, side: &str, mut runs: Vec<Run>) -> Result<(), InvalidSpec> {
    runs.sort();
    for Run { first, end } in &runs {
        if first == end {
            refuse(
                field,
                format!("the mapping from {side} {first} has the length 0"),
                "a length of 1 or more",
            )?;
        }
        if *end > u64::from(NO_ID) {
            refuse(
                field,
                format!("the mapping from {side} {first} goes beyond the last id"),
                "ids up to 4294967294",
            )?;
        }
    }
    for (one, next) in runs.iter().zip(runs.iter().skip(1)) {
        if next.first < one.end {
            refuse(
                field,
                format!("{side} {} is mapped twice", next.first),
                "each id once",
            )?;
        }
    }
    Ok(())
}

fn find(mappings: &[IdMapping], id: u32) -> Option<&IdMapping> {
    let id = u64::from(id);
    mappings.iter().find(|mapping| {
        let run = Run::in_container(mapping);
        (run.first..run.end).contains(&id)
    })
}

fn refuse_unmapped(field: &str, id: u32, mappings: &[IdMapping]) -> Result<(), InvalidSpec> {
    match find(mappings, id) {
        Some(_) => Ok(()),
        None => refuse(
            field,
            format!("{id} is not mapped in the pod's user namespace"),
            "map it in namespace_options.userns_options, or ask for another",
        ),
    }
}

/// CRI's clients give the whole path of the file behind `localhost/`.
fn check_seccomp(profile: &Profile) -> Result<(), InvalidSpec> {
    let Profile::Localhost(path) = profile else {
        return Ok(());
    };
    let climbs = path.split('/').any(|part| part == "..");
    if path.starts_with('/') && !climbs && !path.contains(char::is_control) {
        return Ok(());
    }
    refuse(
        "seccomp",
        format!("'{}' is not the path of a profile", shortened(path)),
        "an absolute path in one line, without '..'",
    )
}

fn check_apparmor(profile: &Profile) -> Result<(), InvalidSpec> {
    let Profile::Localhost(name) = profile else {
        return Ok(());
    };
    let has_right_length = (1..=MAX_PROFILE_NAME).contains(&name.len());
    if has_right_length && !name.contains(is_blank) {
        return Ok(());
    }
    refuse(
        "apparmor",
        format!("'{}' is not the name of a profile", shortened(name)),
        "1 to 255 bytes without white space",
    )
}

fn parts(label: &SelinuxLabel) -> [(&'static str, &str); 4] {
    [
        ("selinux_options.user", &label.user),
        ("selinux_options.role", &label.role),
        ("selinux_options.type", &label.kind),
        ("selinux_options.level", &label.level),
    ]
}

/// A label is its parts, joined by ':'. Only the level, the last one, may have more of them.
fn check_selinux(label: &SelinuxLabel) -> Result<(), InvalidSpec> {
    for (field, part) in parts(label) {
        let splits = part.contains(':') && field != "selinux_options.level";
        if splits || part.contains(is_blank) {
            refuse(
                field,
                format!("'{}' is no part of a label", shortened(part)),
                "no white space, and ':' in the level only",
            )?;
        }
    }
    Ok(())
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}
