//! Looking for a sandbox: what its shim says, held against what the kernel says.

use super::session::State;
use super::{ShimRuntime, place};
use crate::cgroup::Cgroups;
use crate::error::OciError;
use crate::process::ProcessWatch;
use crate::runtime::{Probe, cgroup_failed, failed, is_alive};
use crate::target::Target;

impl ShimRuntime {
    /// Looks for the sandbox, and changes nothing of it. One that runs is taken up as
    /// [`adopt`](Self::adopt) does.
    ///
    /// The processes of an interrupted effect must be gone: one that goes on makes the answer
    /// stale.
    ///
    /// # Errors
    /// The answer is unknown: the shim is there and hangs or fails, or the kernel cannot be asked.
    pub async fn probe(&self, target: &Target) -> Result<Probe, OciError> {
        let Some(session) = self.session(target).await? else {
            return self.probe_without_shim(target);
        };
        let state = match session.state().await {
            // It may have ended just now, with our connection waiting to be taken.
            Err(OciError::Rpc { .. }) if self.session(target).await?.is_none() => {
                return self.probe_without_shim(target);
            }
            state => state?,
        };
        let Some((state, pid)) = state else {
            let what = "its shim listens, and knows no such sandbox".to_owned();
            return Ok(Probe::Partial { what });
        };
        let watch = ProcessWatch::of(pid).map_err(failed("watch", &target.id, pid))?;
        match (state, watch.map(|watch| watch.identity())) {
            (State::Created, Some(process)) => Ok(Probe::Created { process }),
            (State::Running, Some(process)) => Ok(Probe::Running { process }),
            _ if is_alive(target)? => {
                let what = "the recorded process lives, and the shim takes it for dead".to_owned();
                Ok(Probe::Partial { what })
            }
            _ => Ok(Probe::Stopped),
        }
    }

    /// Nobody listens: it is absent when nothing of it lives and nothing was left.
    fn probe_without_shim(&self, target: &Target) -> Result<Probe, OciError> {
        let partial = |what: String| Ok(Probe::Partial { what });
        if is_alive(target)? {
            return partial("its process lives, and its shim does not".to_owned());
        }
        let cgroups = Cgroups::detect().map_err(cgroup_failed("find", target))?;
        let members = cgroups.members(&target.cgroup);
        let members = members.map_err(cgroup_failed("read", target))?;
        if !members.is_empty() {
            return partial(format!(
                "processes {members:?} are in its cgroup, and no shim listens"
            ));
        }
        let shim = place::living(target)?;
        if !shim.is_empty() {
            return partial(format!("its shim lives as {shim:?}, and does not listen"));
        }
        if self.address(target)?.is_some() || self.has_state(&target.id) {
            return partial("its shim is gone, and has left something".to_owned());
        }
        Ok(Probe::Absent)
    }
}
