//! ConfigureCni: ADD for every attachment that is not late, in order. Undo:
//! DEL, one by one.

use std::time::Duration;

use podwalk_engine::error::StepError;
use podwalk_engine::pod::Pod;
use podwalk_engine::ports::{BoxFuture, ConfigureCni, Failure, Probe, Rung};
use podwalk_engine::record::{ConfigureCniIntent, ConfigureCniOutput};
use podwalk_engine::step::Step;

use super::Host;
use super::attach::GRACE;

pub(super) struct ConfigureCniRung(pub(super) Host);

impl Rung for ConfigureCniRung {
    type Step = ConfigureCni;

    fn deadline(&self, _pod: &Pod) -> Duration {
        self.0.cni_deadline
    }

    fn quiet<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(self.0.quiet_after(pod, GRACE))
    }

    fn probe<'a>(
        &'a self,
        pod: &'a Pod,
        _intent: &'a ConfigureCniIntent,
    ) -> BoxFuture<'a, Probe<ConfigureCniOutput>> {
        // Only a plugin could tell what ADD has done, and none is asked to:
        // what may be there is taken down before ADD is run again.
        Box::pin(std::future::ready(match pod.plan.is_empty() {
            true => Probe::Complete(ConfigureCniOutput::default()),
            false => Probe::Unknown,
        }))
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        _intent: &'a ConfigureCniIntent,
    ) -> BoxFuture<'a, Result<ConfigureCniOutput, Failure>> {
        Box::pin(async move {
            let results = self.0.attach(pod, Step::ConfigureCni).await?;
            Ok(ConfigureCniOutput { results })
        })
    }

    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            match attachment {
                Some(attachment) => self.0.detach(pod, attachment).await,
                // All is let go: the place of its processes goes too.
                None => self.0.quiet(pod).await,
            }
        })
    }
}
