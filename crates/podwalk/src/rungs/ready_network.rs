//! ReadyNetwork: `lo` up, sysctls set, the network plan pinned. Undo: nothing
//! is left to do; the plan is data.

use std::collections::BTreeMap;
use std::time::Duration;

use podwalk_engine::error::StepError;
use podwalk_engine::pod::Pod;
use podwalk_engine::ports::{BoxFuture, Failure, Probe, ReadyNetwork, Rung};
use podwalk_engine::record::{ReadyNetworkIntent, ReadyNetworkOutput};
use podwalk_netns::{SysctlScope, check_sysctl};

use super::{Host, home, of_netns, of_sysctl};

pub(super) struct ReadyNetworkRung(pub(super) Host);

impl ReadyNetworkRung {
    async fn ready(&self, pod: &Pod) -> Result<ReadyNetworkOutput, StepError> {
        let (home, sysctls) = (home(pod)?, self.network_sysctls(pod)?);
        let work = move || {
            home.expect()?;
            podwalk_netns::lo_up(&home.path).map_err(of_netns)?;
            match sysctls.is_empty() {
                true => Ok(()),
                false => podwalk_netns::set_sysctls(&home.path, &sysctls).map_err(of_netns),
            }
        };
        self.0.effect(pod, work).await??;
        let plan = self.0.networks_of(&pod.spec).plan(&pod.spec)?;
        Ok(ReadyNetworkOutput { plan })
    }

    /// Those of the pod's sysctls that belong to its network namespace; the
    /// others are the runtime's to set.
    fn network_sysctls(&self, pod: &Pod) -> Result<BTreeMap<String, String>, StepError> {
        let mut sysctls = BTreeMap::new();
        for (name, value) in &pod.spec.sysctls {
            let scope = check_sysctl(name, &self.0.allowed_sysctls)
                .map_err(|refused| of_sysctl(&refused))?;
            if scope == SysctlScope::Network {
                sysctls.insert(name.clone(), value.clone());
            }
        }
        Ok(sysctls)
    }
}

impl Rung for ReadyNetworkRung {
    type Step = ReadyNetwork;

    fn deadline(&self, _pod: &Pod) -> Duration {
        Duration::from_secs(5)
    }

    fn quiet<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            self.0.thread_ended(pod).await;
            Ok(())
        })
    }

    fn probe<'a>(
        &'a self,
        _pod: &'a Pod,
        _intent: &'a ReadyNetworkIntent,
    ) -> BoxFuture<'a, Probe<ReadyNetworkOutput>> {
        // Done twice it is the same, so there is nothing to look for; and an
        // unrecorded plan is made anew.
        Box::pin(std::future::ready(Probe::Absent))
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        _intent: &'a ReadyNetworkIntent,
    ) -> BoxFuture<'a, Result<ReadyNetworkOutput, Failure>> {
        Box::pin(async move { self.ready(pod).await.map_err(Failure::not_done) })
    }

    fn undo<'a>(
        &'a self,
        _pod: &'a Pod,
        _attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
