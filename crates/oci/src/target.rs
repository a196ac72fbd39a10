//! What a sandbox's owner brings to every look and every end.

use crate::cgroup::CgroupsPath;
use crate::id::SandboxId;
use crate::process::ProcessIdentity;

/// What the owner of a sandbox knows about it, from its own records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub id: SandboxId,
    /// Its cgroup.
    pub cgroup: CgroupsPath,
    /// Its process, if it was recorded.
    pub process: Option<ProcessIdentity>,
    /// Where its shim listens, if it was recorded.
    pub shim_address: Option<String>,
}
