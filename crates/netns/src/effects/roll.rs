//! Who belongs to a pod's effects, by cgroup or by environment.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use super::Error;
use super::environment;
use super::group::Group;

/// The list of a pod's processes.
pub(crate) enum Roll<'a> {
    /// Who is in this cgroup or beneath it.
    Cgroup(Group),
    /// Whose environment names this pod.
    Environment(&'a str),
}

impl Roll<'_> {
    /// Who is on it now.
    pub(crate) fn members(&self) -> Result<BTreeSet<u32>, Error> {
        match self {
            Self::Cgroup(group) => group.members(),
            Self::Environment(pod) => environment::members(pod),
        }
    }

    /// Which of those that are held open are on it.
    pub(crate) fn confirm(&self, held: &[(u32, OwnedFd)]) -> Result<BTreeSet<u32>, Error> {
        match self {
            Self::Cgroup(group) => group.members(),
            Self::Environment(pod) => environment::belonging(held.iter().map(|(pid, _)| *pid), pod),
        }
    }

    /// Kills all on it in one stroke where there is a way; otherwise does nothing.
    pub(crate) fn kill_at_once(&self) -> Result<(), Error> {
        match self {
            Self::Cgroup(group) => group.kill_at_once(),
            Self::Environment(_) => Ok(()),
        }
    }
}
