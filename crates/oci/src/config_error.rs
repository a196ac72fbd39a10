//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

use crate::cgroup::CgroupLayout;

/// A sandbox was asked for that cannot be. Nothing was written or started; the caller must
/// change what it asks for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The id cannot name a directory, a cgroup and an argument.
    #[error("the sandbox id {id:?} cannot be used: {why}")]
    Id {
        /// What was given.
        id: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The host name is none.
    #[error(
        "the host name {hostname:?} cannot be used: give 1 to 64 letters, digits, '-', '_' and '.'"
    )]
    Hostname {
        /// What was given.
        hostname: String,
    },
    /// The namespace's path does not stand alone.
    #[error("the network namespace {path:?} cannot be named to a runtime: give an absolute path")]
    Netns {
        /// What was given.
        path: PathBuf,
    },
    /// An entry would not be one word in `resolv.conf`.
    #[error("the DNS {field} {entry:?} cannot be used: give one word")]
    Dns {
        /// `server`, `search` or `option`.
        field: &'static str,
        /// What was given.
        entry: String,
    },
    /// The parent is not a clean path.
    #[error(
        "the cgroup parent {parent:?} cannot be used: give a path such as /kubepods/pod1, \
         or a slice such as pods-one.slice, without '..'"
    )]
    CgroupParent {
        /// What was given.
        parent: String,
    },
    /// A kernel setting that is not the sandbox's alone.
    #[error("the sysctl {name:?} cannot be set: {why}")]
    Sysctl {
        /// Its dotted name.
        name: String,
        /// Whom it would change, or what is wrong with it.
        why: &'static str,
    },
    /// An annotation that is no text.
    #[error("the annotation {key:?} cannot be used: its key is empty, or there is a NUL in it")]
    Annotation {
        /// Its key.
        key: String,
    },
    /// A score outside of the kernel's range.
    #[error("the OOM score adjustment {value} cannot be used: give -1000 to 1000")]
    OomScoreAdj {
        /// What was given.
        value: i32,
    },
    /// A user or group that a process cannot have.
    #[error("the {field} {id} cannot be used: {why}")]
    UserId {
        /// `user`, `group` or `supplemental group`.
        field: &'static str,
        /// What was given.
        id: u32,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The user namespace cannot be made or joined.
    #[error("the user namespace cannot be used: {field}: {why}")]
    UserNamespace {
        /// `path`, `uids`, `gids` or `pid`.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The AppArmor profile's name is none.
    #[error("the AppArmor profile {profile:?} cannot be used: give the name of a loaded profile")]
    Apparmor {
        /// What was given.
        profile: String,
    },
    /// A part of the SELinux label is none.
    #[error(
        "the SELinux {part} {value:?} cannot be used: give letters, digits, '_', '-' and '.', \
         and in a level ':' and ','"
    )]
    Selinux {
        /// `user`, `role`, `type` or `level`.
        part: &'static str,
        /// What was given.
        value: String,
    },
    /// A limit that no cgroup could have.
    #[error("the resource {field} {value:?} cannot be used: {why}")]
    Resource {
        /// The field of `Resources`.
        field: &'static str,
        /// What was given.
        value: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A file of cgroups of version 2 was named, and this machine has version 1.
    #[error(
        "the unified resource {file:?} cannot be set: cgroups are mounted as {layout} here, and \
         only version 2 has such files; leave it out, or mount version 2 alone"
    )]
    Unified {
        /// The first such file.
        file: String,
        /// How cgroups are mounted.
        layout: CgroupLayout,
    },
    /// The seccomp profile cannot be read.
    #[error("cannot read the seccomp profile {}: {source}", path.display())]
    SeccompFile {
        /// The profile.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The seccomp profile is none.
    #[error("the seccomp profile {} is not one: {source}", path.display())]
    SeccompJson {
        /// The profile.
        path: PathBuf,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
}
