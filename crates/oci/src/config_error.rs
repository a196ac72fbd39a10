//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

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
